//! What several suites need: the binary as a person runs it, components built from their sources, and outside systems
//! that a test starts for itself.
pub(crate) mod bundle;
pub(crate) mod client;
pub(crate) mod disk;
pub(crate) mod pool;
pub(crate) mod random;
pub(crate) mod secret;
pub(crate) mod slurm;
pub(crate) mod sshd;
pub(crate) mod terminal;
pub(crate) mod view;
mod wait;
pub(crate) mod world;

pub(crate) use wait::{LONG, until, until_within};

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The guests in Rust.
const GUESTS: [&str; 5] = ["hostile", "hostile-operator", "loop-rust", "robot-rust", "steps"];

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where the programs of jobs and of scripts are found: the links to what `cargo xtask test` installs, or Debian's
/// places where it has made none yet.
pub(crate) fn path() -> String {
    let links = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("path");
    if links.is_dir() { links.display().to_string() } else { "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned() }
}

/// Python with the optimisers that `cargo xtask test --slow` installs.
pub(crate) fn optimisers() -> PathBuf {
    python_of("optimisers")
}

/// Python with the packages of a list of `cargo xtask test`.
pub(crate) fn python_of(list: &str) -> PathBuf {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(format!("tools/{list}/bin/python"));
    assert!(python.exists(), "{}: `cargo xtask test` makes it, or with `--slow`", python.display());
    python
}

/// The script that looks through a page for what shuts readers out, which `cargo xtask test` installs.
pub(crate) fn axe() -> String {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools");
    let script = tools.join("axe-core-4.14.1/node_modules/axe-core/axe.min.js");
    fs::read_to_string(&script)
        .unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask test` makes it", script.display()))
}

/// The supervisors of a run, by their process ids.
pub(crate) fn supervisors(run: &Path) -> Vec<String> {
    let directory = run.canonicalize().expect("a run").to_string_lossy().into_owned();
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").expect("processes").flatten() {
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        if command.contains("__supervise") && command.contains(&directory) {
            found.push(process.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

/// The component of a guest, by the name of its folder in `tests/guests`.
pub(crate) fn guest(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let packages = || GUESTS.iter().map(|guest| format!("guest-{guest}")).collect::<Vec<_>>();
    BUILT.get_or_init(|| build(&packages())).join(format!("guest_{}.wasm", name.replace('-', "_")))
}

/// The core module of a guest in Rust, as a tool chain leaves it that makes no components. What it depends on is built
/// already; it is compiled aside, so that nobody finds it in the component's place.
pub(crate) fn core_module(name: &str, aside: &Path) -> PathBuf {
    let component = guest(name);
    let guests = component.ancestors().nth(3).expect("a target directory");
    let own = [name.to_owned(), name.replace('-', "_")].map(|name| (format!("guest-{name}"), format!("guest_{name}")));
    let is_own = |file: &str| own.iter().any(|(one, other)| file.contains(one) || file.contains(other));
    link_tree(guests, aside, &is_own);
    let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    cargo.current_dir(root()).args(["rustc", "--quiet", "--profile", "guest", "--target", "wasm32-wasip2", "--lib"]);
    cargo.args(["--package", &format!("guest-{name}"), "--target-dir"]).arg(aside);
    let done = without_cargo(&mut cargo).args(["--", "-C", "link-arg=--skip-wit-component"]).status().expect("cargo");
    assert!(done.success(), "the core module of `{name}` does not build");
    aside.join("wasm32-wasip2/guest").join(format!("guest_{}.wasm", name.replace('-', "_")))
}

/// Links what cargo has built, but for some files; what it may write into is copied.
fn link_tree(from: &Path, to: &Path, left_out: &dyn Fn(&str) -> bool) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry")) {
        let (source, place) = (entry.path(), to.join(entry.file_name()));
        let name = entry.file_name().to_string_lossy().into_owned();
        if left_out(&name) {
            continue;
        }
        if source.is_dir() {
            link_tree(&source, &place, left_out);
            continue;
        }
        let written = source.components().any(|part| part.as_os_str() == ".fingerprint") || name.starts_with('.');
        if !written {
            fs::hard_link(&source, &place).expect("a link");
            continue;
        }
        fs::copy(&source, &place).expect("a copy");
        // by their times cargo tells what is as it was
        let modified = entry.metadata().and_then(|metadata| metadata.modified()).expect("a time");
        let file = File::options().write(true).open(&place).expect("the copy");
        file.set_modified(modified).expect("a time");
    }
}

/// The runner of scripts in a language.
pub(crate) fn runner(language: &str) -> PathBuf {
    let sources = [format!("plugins/runners/{language}"), format!("plugins/sdk/{language}")];
    built(&format!("runners/{language}.wasm"), &sources.each_ref().map(String::as_str))
}

/// A component that `cargo xtask test` has built below the target directory, from these sources as they are.
pub(crate) fn built(file: &str, sources: &[&str]) -> PathBuf {
    // <target>/tmp is cargo's scratch directory for tests
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(file);
    let built = fs::metadata(&path).and_then(|metadata| metadata.modified());
    let built = built.unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask test` builds it", path.display()));
    for source in sources.iter().copied().chain(["wit"]) {
        let message = "is older than its sources; `cargo xtask test` builds it again";
        assert!(built >= last_change(&root().join(source)), "{} {message}", path.display());
    }
    path
}

/// When the newest file was changed, without what Python leaves beside the sources.
fn last_change(place: &Path) -> SystemTime {
    if place.is_file() {
        return place.metadata().and_then(|metadata| metadata.modified()).expect("a time");
    }
    let entries = fs::read_dir(place).expect("sources").map(|entry| entry.expect("an entry").path());
    let sources = entries.filter(|path| !path.ends_with("__pycache__"));
    sources.map(|path| last_change(&path)).max().expect("a source")
}

/// The component of a package of this repository.
pub(crate) fn component(package: &str) -> PathBuf {
    build(&[package.to_owned()]).join(format!("{}.wasm", package.replace('-', "_")))
}

/// Builds packages under a lock, so that test processes at once build them once.
fn build(packages: &[String]) -> PathBuf {
    // <target>/tmp is cargo's scratch directory for tests
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target directory").join("guests");
    fs::create_dir_all(&target).expect("target directory");
    let lock = File::create(target.join("tests.lock")).expect("lock file");
    lock.lock().expect("lock");
    let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    cargo.current_dir(root()).args(["build", "--quiet", "--profile", "guest", "--target", "wasm32-wasip2"]);
    cargo.arg("--target-dir").arg(&target);
    for package in packages {
        cargo.args(["--package", package]);
    }
    assert!(without_cargo(&mut cargo).status().expect("cargo").success(), "{packages:?} do not build");
    target.join("wasm32-wasip2/guest")
}

/// Without what the cargo that runs the suite says to it.
fn without_cargo(cargo: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_") && text != "CARGO_HOME" || text == "RUSTFLAGS" {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Processor time of this thread, in seconds: what a busy machine does not add to.
pub(crate) fn thread_cpu_s() -> f64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}
