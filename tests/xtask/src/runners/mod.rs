//! The runners, which answer for plain scripts: an interpreter each, built as a component and put into the host.
mod javascript;
mod pack;
mod python;

use crate::project::Project;
use crate::tools;
use anyhow::Result;
use std::process::Command;

/// Makes the runners where they are missing or older than what they are made of, so that a host that is built next
/// carries them. What builds them is installed first.
pub(crate) fn build(project: &Project) -> Result<()> {
    tools::ensure(project, tools::FOR_RUNNERS)?;
    javascript::build(project)?;
    python::build(project)?;
    pack::pack(project)
}

/// Commands that run the runners' own tests, as cargo prints them.
pub(crate) fn tests(project: &Project) -> Vec<Command> {
    vec![javascript::tests(project)]
}

/// Commands that check what no check of the whole workspace reaches.
pub(crate) fn lints(project: &Project) -> Vec<Command> {
    javascript::lints(project).into()
}

/// The manifests of the workspaces that runners are.
pub(crate) fn manifests() -> Vec<String> {
    vec![javascript::manifest()]
}
