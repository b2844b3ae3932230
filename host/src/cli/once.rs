//! `run`: from nothing to results in one line.
use super::logs::{Which, logs};
use super::output::tell;
use super::runs::{InitArgs, drive_made, duration, init_run};
use super::{Session, table};
use crate::failure::Failure;
use crate::run::RunDir;
use crate::workspace::{MadeOnce, Once, make_once, read_store, workspaces_or_new};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The workspace
    #[arg(conflicts_with_all = ["command", "each", "file", "output"], required_unless_present = "command")]
    workspace: Option<String>,
    /// A table; the command is run for each of its rows
    #[arg(long, value_name = "FILE")]
    each: Option<PathBuf>,
    /// A file that goes with the command; also several
    #[arg(long, value_name = "FILE")]
    file: Vec<String>,
    /// A pattern of files that the command leaves, beside its standard output; also several
    #[arg(long, value_name = "PATTERN")]
    output: Vec<String>,
    /// A value of the configuration that overrides all others
    #[arg(long = "set", value_name = "K=V")]
    sets: Vec<String>,
    /// What to call the run beside its id
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Wait for people, instruments and kits too
    #[arg(long)]
    wait: bool,
    /// Stop after this time, such as 90s, 30m or 12h
    #[arg(long, value_name = "D", value_parser = duration)]
    timeout: Option<Duration>,
    /// The command
    #[arg(last = true)]
    command: Vec<String>,
}

pub(super) fn run(session: &Session, arguments: RunArgs) -> Result<u8, Failure> {
    let RunArgs { workspace, each, file, output, sets, label, wait, timeout, command } = arguments;
    let Some(workspace) = workspace else {
        let here = std::env::current_dir().map_err(|error| Failure::machine("the current directory", error))?;
        let workspaces = workspaces_or_new(session.workspaces.as_deref(), &here)?;
        let once = Once { here: &here, command: &command, files: &file, outputs: &output, rows: each.as_deref() };
        let MadeOnce { slug, notes } = make_once(&workspaces, &once)?;
        notes.iter().for_each(|note| tell(note));
        let session = Session { workspaces: Some(workspaces.root().to_owned()), json: session.json };
        let dir = init_run(&session, &InitArgs::of(slug, sets, label))?.dir;
        let code = drive_made(&session, &dir, wait, timeout)?;
        if !session.json {
            match each {
                Some(_) => table::table(&session, &table::TableArgs::of(&dir)).map(drop)?,
                None => show_output(&session, &dir)?,
            }
        }
        return Ok(code);
    };
    let dir = init_run(session, &InitArgs::of(workspace, sets, label))?.dir;
    let code = drive_made(session, &dir, wait, timeout)?;
    if !session.json {
        tell(&format!("`matterstack table {}` shows the results", dir.address()));
    }
    Ok(code)
}

/// Passes on what the only task of a run printed.
fn show_output(session: &Session, dir: &RunDir) -> Result<(), Failure> {
    let task = read_store(dir)?.first_tasks(1)?.pop();
    let shown = task.map(|task| logs(session, &dir.root().display().to_string(), &task.id, Which::default()));
    shown.transpose().map(drop)
}
