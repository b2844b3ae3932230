//! `builtin:python`: CPython, with the part of its library that scripts may import.
use crate::guests::{PYTHON_SDK, componentize};
use crate::project::Project;
use crate::tools::COMPONENTIZE_PY;
use anyhow::{Context, Result};
use std::path::Path;

const SOURCE: &str = "plugins/runners/python";

/// Builds the runner. Without WASI it would end in a trap wherever a script looks for a file or a clock.
pub(super) fn build(project: &Project) -> Result<()> {
    let program = COMPONENTIZE_PY.program(project).context("bug: componentize-py has no path")?;
    let component = project.target.join("runners/python.wasm");
    let sources = [SOURCE, PYTHON_SDK].map(Path::new);
    componentize(project, "the runner of scripts in Python", &program, &sources, &component, |command, aside| {
        command.args(["-d", "wit", "-w", "runner", "componentize", "-p", SOURCE, "-p", PYTHON_SDK, "app", "-o"]);
        command.arg(aside);
    })
}
