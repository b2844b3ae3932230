//! The wheel: binary, pages and completions, and the modules for Python.
use super::{Parts, STATIC, copy};
use crate::guests::PYTHON_SDK;
use crate::project::{Project, run, say};
use crate::tools::MATURIN;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

const PYPROJECT: &str = include_str!("pyproject.toml");
/// What stands in the wheel beside the binary, of the SDK.
const MODULES: [&str; 4] = ["README.md", "matterstack.py", "matterstack_component", "matterstack_runs.py"];

/// Makes it. maturin asks cargo for the binary in the words in which it was just built.
pub(super) fn make(project: &Project, parts: &Parts) -> Result<PathBuf> {
    say("packing the wheel");
    let folder = parts.directory.join("wheel");
    let data = folder.join("data/data/share");
    fs::create_dir_all(&data).with_context(|| format!("`{}` cannot be made", data.display()))?;
    copy(&parts.share(), &data)?;
    for module in MODULES {
        copy(&project.root.join(PYTHON_SDK).join(module), &folder.join(module))?;
    }
    copy(&project.root.join("LICENSE"), &folder.join("LICENSE"))?;
    let manifest = project.root.join("host/Cargo.toml");
    let place = folder.join("pyproject.toml");
    fs::write(&place, PYPROJECT.replace("MANIFEST", &manifest.display().to_string()))
        .with_context(|| format!("`{}` cannot be written", place.display()))?;
    let mut maturin = project.command(MATURIN.program(project).context("bug: maturin has no path")?);
    // cargo looks for its configuration upward from there: the target directory may lie outside of the clone
    let configuration = project.root.join(".cargo/config.toml");
    maturin.current_dir(&folder).env("CARGO_TARGET_DIR", &project.target);
    maturin.args(["build", "--quiet", "--release", "--locked", "--config"]).arg(configuration);
    run(maturin.arg("--out").arg(&parts.directory).arg("--").args(STATIC))?;
    let entries = fs::read_dir(&parts.directory).context("what maturin made")?;
    let mut made = entries.flatten().map(|entry| entry.path());
    made.find(|path| path.extension().is_some_and(|extension| extension == "whl")).context("maturin made no wheel")
}
