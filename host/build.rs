//! Builds the standard plugins for `wasm32-wasip2` and hands them to `plugin::builtin`, and the examples with their
//! campaigns to `workspace::new`, and beginnings of plugins to `author::new`, so that the binary needs no other file.
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// The standard plugins: the name after `builtin:`, and the crate.
const BUILTINS: [(&str, &str); 7] = [
    ("ask-tell", "campaign-ask-tell"),
    ("compute", "operator-compute"),
    ("experiment", "operator-experiment"),
    ("human", "operator-human"),
    ("manual-hpc", "operator-manual-hpc"),
    ("sweep", "campaign-sweep"),
    ("workflow", "campaign-workflow"),
];
/// The runners of scripts, by the name after `builtin:`.
const RUNNERS: [&str; 2] = ["javascript", "python"];
/// The examples: the folder below `workspaces`, and the crate of its campaign with the place of the component, if it
/// has one of its own.
const EXAMPLES: [(&str, Option<(&str, &str)>); 5] = [
    ("battery_screening", Some(("campaign-battery", "campaign/battery.wasm"))),
    ("catalyst_human_in_loop", Some(("campaign-catalyst", "campaign/catalyst.wasm"))),
    ("coatings_active_learning", Some(("campaign-coatings", "campaign/coatings.wasm"))),
    ("solar_cells_ask_tell", None),
    ("thin_film_lab", Some(("campaign-thin-film", "campaign/thin_film.wasm"))),
];
/// What of an example's folder is no part of the example: what was made there, and what its campaign is made from.
const LEFT_OUT: [&str; 5] = ["runs", "campaign", "venv", "__pycache__", ".gitignore"];
/// What new plugins begin with, by the folder in `plugins/templates`.
const TEMPLATES: [&str; 10] = [
    "javascript",
    "javascript-operator",
    "python",
    "python-operator",
    "rust",
    "rust-operator",
    "typescript",
    "typescript-operator",
    // what a script needs to become a component
    "sdk-javascript",
    "sdk-python",
];
/// What of an SDK's folder is not the SDK itself: its own tests and pages.
const NO_SDK: [&str; 4] = ["README.md", "example.ts", "test.mjs", "test_matterstack.py"];
const TARGET: &str = "wasm32-wasip2";

/// What the outer cargo says to this crate and would change how the guests are built.
const LEAKING: [&str; 4] = ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTDOCFLAGS"];
const LEAKING_PREFIXES: [&str; 9] = [
    "CARGO_BUILD_",
    "CARGO_CFG_",
    "CARGO_ENCODED_",
    "CARGO_FEATURE_",
    "CARGO_INCREMENTAL",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    for source in ["plugins", "wit", "host/document", "host/pattern", "host/schema", "Cargo.lock", "Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", root.join(source).display());
    }
    check_target()?;
    // <target>/<profile>/build/<package>/out: the guests are the same for every profile of the host
    let guests = out.ancestors().nth(4).ok_or("bug: OUT_DIR is not below a target directory")?.join("guests");
    build_guests(&root, &guests)?;

    let mut table = String::from("&[\n");
    for (name, package) in BUILTINS {
        let file = format!("{}.wasm", package.replace('-', "_"));
        fs::copy(guests.join(TARGET).join("guest").join(&file), out.join(&file))?;
        table += &format!("    ({name:?}, Plain(include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\")))),\n");
    }
    table += &runners(&guests.with_file_name("runners"))?;
    fs::write(out.join("builtins.rs"), table + "]\n")?;
    fs::write(out.join("templates.rs"), templates(&root)?)?;
    fs::write(out.join("examples.rs"), examples(&root, &guests.join(TARGET).join("guest"), &out)?)?;
    Ok(())
}

/// The runners that were made before the host, for the table of the standard plugins: compressed if that was done
/// since, else as they are. There may be none.
fn runners(directory: &Path) -> Result<String, Box<dyn Error>> {
    // the directory, so that one which is made later is seen; what is missing cargo takes for changed each time
    fs::create_dir_all(directory)?;
    println!("cargo:rerun-if-changed={}", directory.display());
    let mut table = String::new();
    for name in RUNNERS {
        let plain = directory.join(name).with_extension("wasm");
        let (packed, told) =
            (directory.join(name).with_extension("wasm.zst"), directory.join(name).with_extension("txt"));
        let Ok(made) = fs::metadata(&plain).and_then(|metadata| metadata.modified()) else { continue };
        let current = [&packed, &told]
            .into_iter()
            .all(|file| fs::metadata(file).and_then(|metadata| metadata.modified()).is_ok_and(|packed| packed > made));
        let content = match current.then(|| fs::read_to_string(&told)).transpose()? {
            Some(told) => {
                let (sha256, size) = told.trim().split_once(' ').ok_or("a runner's digest and size cannot be read")?;
                let size: u64 = size.parse()?;
                let packed = packed.display().to_string();
                format!("Packed {{ bytes: include_bytes!({packed:?}), sha256: {sha256:?}, size: {size} }}")
            }
            None => format!("Plain(include_bytes!({:?}))", plain.display().to_string()),
        };
        table += &format!("    ({name:?}, {content}),\n");
    }
    Ok(table)
}

/// The table of the examples: name, and files by their paths.
fn examples(root: &Path, components: &Path, out: &Path) -> Result<String, Box<dyn Error>> {
    let mut table = String::from("&[\n");
    for (name, campaign) in EXAMPLES {
        table += &format!("    ({name:?}, &[\n");
        let folder = fs::canonicalize(root.join("workspaces").join(name))?;
        let mut files = Vec::new();
        collect(&folder, &mut files)?;
        files.sort();
        for file in &files {
            let path = file.strip_prefix(&folder)?.to_str().ok_or("a file of an example has no name in UTF-8")?;
            table += &format!("        ({path:?}, include_bytes!({:?})),\n", file.display().to_string());
        }
        if let Some((package, place)) = campaign {
            let file = format!("{}.wasm", package.replace('-', "_"));
            fs::copy(components.join(&file), out.join(&file))?;
            table += &format!("        ({place:?}, include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\"))),\n");
            println!("cargo:rerun-if-changed={}", folder.join("campaign/src").display());
            println!("cargo:rerun-if-changed={}", folder.join("campaign/Cargo.toml").display());
        }
        table += "    ]),\n";
    }
    Ok(table + "]\n")
}

/// The table of what new plugins begin with: the folder's name in `plugins/templates`, and files by their paths. What
/// is written in Rust takes the SDK along, as it lies here: no registry has it.
fn templates(root: &Path) -> Result<String, Box<dyn Error>> {
    let folder = fs::canonicalize(root.join("plugins/templates"))?;
    let mut table = String::from("&[\n");
    for template in TEMPLATES {
        table += &format!("    ({template:?}, &[\n");
        let mut places = Vec::new();
        if !template.starts_with("sdk-") {
            places.push((folder.join(template), PathBuf::new()));
        }
        places.extend(sdk(template).iter().map(|(from, to)| (root.join(from), PathBuf::from(to))));
        for (from, to) in places {
            let from = fs::canonicalize(from)?;
            let mut files = Vec::new();
            if from.is_dir() {
                collect(&from, &mut files)?
            } else {
                files.push(from.clone())
            }
            files.retain(|file| !file.file_name().is_some_and(|name| NO_SDK.iter().any(|no| name == *no)));
            files.sort();
            for file in &files {
                let below = file.strip_prefix(&from)?;
                let path = if below.as_os_str().is_empty() { to.clone() } else { to.join(below) };
                let path = path.to_str().ok_or("a file of a template has no name in UTF-8")?;
                table += &format!("        ({path:?}, include_bytes!({:?})),\n", file.display().to_string());
            }
        }
        table += "    ]),\n";
    }
    Ok(table + "]\n")
}

/// What lies beside a new plugin: from where in the repository, and where it is put.
fn sdk(template: &str) -> &'static [(&'static str, &'static str)] {
    match template.trim_end_matches("-operator") {
        "sdk-python" => &[("plugins/sdk/python", ""), ("wit", "wit")],
        "sdk-javascript" => &[("plugins/sdk/javascript", "sdk"), ("wit", "wit")],
        "rust" => &[
            ("plugins/templates/vendor/Cargo.toml", "vendor/matterstack/Cargo.toml"),
            ("host/document", "vendor/matterstack/host/document"),
            ("plugins/sdk/rust", "vendor/matterstack/plugins/sdk/rust"),
            ("wit", "vendor/matterstack/wit"),
        ],
        "python" => &[("plugins/sdk/python/matterstack.py", "matterstack.py")],
        _ => {
            &[("plugins/sdk/javascript", "vendor/matterstack"), ("plugins/templates/shim", "node_modules/matterstack")]
        }
    }
}

/// The files of an example in a folder, and has this script run again when one changes.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    let ignored = fs::read_to_string(folder.join(".gitignore")).unwrap_or_default();
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_end_matches('/')).collect();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if LEFT_OUT.contains(&name) || ignored.contains(&name) {
            continue;
        }
        println!("cargo:rerun-if-changed={}", path.display());
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn check_target() -> Result<(), Box<dyn Error>> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let answer = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output()?;
    let libraries = String::from_utf8(answer.stdout)?;
    if answer.status.success() && Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    Err(format!("the target `{TARGET}` is missing, which the plugins are built for; run `rustup target add {TARGET}`")
        .into())
}

fn build_guests(root: &Path, target_dir: &Path) -> Result<(), Box<dyn Error>> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).stdout(Stdio::null());
    cargo.args(["build", "--profile", "guest", "--target", TARGET, "--target-dir"]).arg(target_dir);
    let campaigns = EXAMPLES.iter().filter_map(|(_, campaign)| campaign.map(|(package, _)| package));
    for package in BUILTINS.iter().map(|(_, package)| *package).chain(campaigns) {
        cargo.args(["--package", package]);
    }
    for (name, _) in env::vars_os() {
        let leaks = name.to_str().is_some_and(|name| {
            LEAKING.contains(&name) || LEAKING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        });
        if leaks {
            cargo.env_remove(name);
        }
    }
    if cargo.status()?.success() { Ok(()) } else { Err("the standard plugins do not build".into()) }
}
