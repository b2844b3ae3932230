//! Builds the standard plugins for `wasm32-wasip2` and hands them to `plugin::builtin`, so that the binary needs no
//! other file.
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
    for source in ["plugins", "wit", "host/document", "host/pattern", "Cargo.lock", "Cargo.toml"] {
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
        table += &format!("    ({name:?}, include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\"))),\n");
    }
    fs::write(out.join("builtins.rs"), table + "]\n")?;
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
    for (_, package) in BUILTINS {
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
