//! What several suites need: the guests, built once.
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The guests in Rust.
const GUESTS: [&str; 3] = ["hostile", "hostile-operator", "loop-rust"];

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The path of a guest's component, by the name of its folder in `tests/guests`.
pub(crate) fn guest(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).join(format!("guest_{}.wasm", name.replace('-', "_")))
}

/// Builds the guests under a lock, so that test processes at once build them once.
fn build() -> PathBuf {
    // <target>/tmp is cargo's scratch directory for tests
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target directory").join("guests");
    fs::create_dir_all(&target).expect("target directory");
    let lock = File::create(target.join("tests.lock")).expect("lock file");
    lock.lock().expect("lock");
    let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    cargo.current_dir(root()).args(["build", "--quiet", "--profile", "guest", "--target", "wasm32-wasip2"]);
    cargo.arg("--target-dir").arg(&target);
    for guest in GUESTS {
        cargo.args(["--package", &format!("guest-{guest}")]);
    }
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_") && text != "CARGO_HOME" || text == "RUSTFLAGS" {
            cargo.env_remove(&name);
        }
    }
    assert!(cargo.status().expect("cargo").success(), "the guests do not build");
    target.join("wasm32-wasip2/guest")
}
