//! `builtin:javascript`: QuickJS. It is a workspace of its own, so that what builds the host needs no clang.
use crate::guests::{JAVASCRIPT_SDK, newer_than_all};
use crate::project::{GUEST_TARGET, Project, run, say};
use anyhow::{Context, Result};
use std::fs;
use std::process::Command;

const SOURCE: &str = "plugins/runners/javascript";
/// What it is made of beside that.
const PARTS: [&str; 4] = [JAVASCRIPT_SDK, "plugins/sdk/rust", "host/document", "wit"];

/// Builds the runner.
pub(super) fn build(project: &Project) -> Result<()> {
    let component = project.target.join("runners/javascript.wasm");
    let source = project.root.join(SOURCE);
    let parts = PARTS.map(|part| project.root.join(part));
    let sources: Vec<_> = std::iter::once(source.as_path()).chain(parts.iter().map(|part| part.as_path())).collect();
    if newer_than_all(&component, &sources)? {
        return Ok(());
    }
    say("building the runner of scripts in JavaScript");
    let target = project.target.join("runners-build");
    let arguments = ["build", "--quiet", "--locked", "--profile", "guest", "--target", GUEST_TARGET, "--target-dir"];
    let mut cargo = project.cargo(arguments);
    // the configuration that says how C is compiled is found from there
    run(cargo.arg(&target).current_dir(&source))?;
    let built = target.join(GUEST_TARGET).join("guest/runner_javascript.wasm");
    fs::create_dir_all(project.target.join("runners")).context("the directory of the runners cannot be made")?;
    // put in place when it is whole: a build that was cut short leaves nothing that looks new
    let aside = component.with_extension("part.wasm");
    fs::copy(&built, &aside).with_context(|| format!("`{}` cannot be copied", built.display()))?;
    fs::rename(&aside, &component).with_context(|| format!("`{}` cannot be put in place", component.display()))
}

/// A cargo command that tests the runner natively, with scripts that a test makes up.
pub(super) fn tests(project: &Project) -> Command {
    let mut cargo = project.cargo(["test", "--locked", "--lib", "--target-dir"]);
    cargo.arg(project.target.join("runners-build")).current_dir(project.root.join(SOURCE));
    cargo
}

/// Cargo commands that check its format and its lints.
pub(super) fn lints(project: &Project) -> [Command; 2] {
    let mut format = project.cargo(["fmt", "--check"]);
    format.current_dir(project.root.join(SOURCE));
    let mut clippy = project.cargo(["clippy", "--quiet", "--locked", "--all-targets", "--target-dir"]);
    clippy.arg(project.target.join("runners-build")).current_dir(project.root.join(SOURCE));
    clippy.args(["--", "--deny", "warnings"]);
    [format, clippy]
}

/// Its own manifest.
pub(super) fn manifest() -> String {
    format!("{SOURCE}/Cargo.toml")
}
