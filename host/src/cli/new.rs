//! `new`: a workspace to begin with.
use super::output::{print, print_json, tell};
use super::{Session, shown};
use crate::failure::Failure;
use crate::ground::words::positional;
use crate::workspace::{NewWorkspace, make_workspace, workspaces_or_new};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// What to call it: its path below the workspaces root
    #[arg(value_name = "DIR", required_unless_present = "example")]
    place: Option<PathBuf>,
    /// A worked example in place of the plain workspace, by its name or the beginning of it
    #[arg(long, value_name = "NAME")]
    example: Option<String>,
}

pub(super) fn new(session: &Session, arguments: &NewArgs) -> Result<u8, Failure> {
    let here = std::env::current_dir().map_err(|error| Failure::machine("the current directory", error))?;
    let workspaces = workspaces_or_new(session.workspaces.as_deref(), &here)?;
    let made = make_workspace(&workspaces, arguments.place.as_deref(), arguments.example.as_deref())?;
    let NewWorkspace { slug, directory, example } = made;
    if session.json {
        return print_json(&json!({"workspace": slug, "path": directory, "example": example})).map(|()| 0);
    }
    print(&format!("{slug}\n"))?;
    let (first, says) = match example {
        Some(_) => ("README.md", "what it does and needs"),
        None => ("config.json", "what it does"),
    };
    tell(&format!("`{}` says {says}", shown(&directory.join(first))));
    tell(&format!("`matterstack run {0}` runs it, and `matterstack table` shows what came out", positional(&slug)));
    Ok(0)
}
