//! `backend check` and `backend clean`.
use super::Session;
use super::output::{one_line, print, print_json, tell};
use super::runs::{duration, hold};
use crate::backend::{Check, Cleaned, Left, Step, check};
use crate::failure::Failure;
use crate::model::code::Code;
use crate::model::workflow::Task;
use crate::run::Run;
use crate::workspace::{Access, backend_config, user_config};
use clap::Subcommand;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(super) enum BackendCommand {
    /// Try everything once that a run needs of a backend, and say for each step what would help
    ///
    /// For a cluster: login, clock, programs, sacct if it is set, remote_root and its free space, sbatch of a tiny job,
    /// poll, fetch, clean up. A login that asks for a password or a one-time code works once you have opened the
    /// connection yourself; the step `login` prints the command.
    Check {
        /// The backend's name in the configuration
        name: String,
        /// The workspace whose configuration to read [default: your own configuration]
        #[arg(long, value_name = "W", conflicts_with = "config")]
        workspace: Option<String>,
        /// The configuration file to read
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// How long the job may take, such as 90s or 10m
        #[arg(long, value_name = "D", default_value = "5m", value_parser = duration)]
        timeout: Duration,
    },
    /// Remove a run's attempt directories from its clusters; those of live attempts stay, and those a retry goes on
    /// from
    Clean {
        /// The run
        run: String,
        /// Also remove files that tasks left there with "keep": "remote"
        #[arg(long)]
        kept: bool,
    },
}

pub(super) fn backend(session: &Session, command: &BackendCommand) -> Result<u8, Failure> {
    match command {
        BackendCommand::Check { name, workspace, config, timeout } => {
            let file = match (config, workspace) {
                (Some(file), _) => Some(file.clone()),
                (None, Some(slug)) => Some(session.workspaces()?.workspace(slug)?.join("config.json")),
                (None, None) => None,
            };
            check_backend(session, name, file, *timeout)
        }
        BackendCommand::Clean { run, kept } => clean(session, run, *kept),
    }
}

fn check_backend(session: &Session, name: &str, file: Option<PathBuf>, patience: Duration) -> Result<u8, Failure> {
    let config = backend_config(name, file.as_deref(), user_config().as_deref())?;
    // here, because a cluster that shares files shares this directory rather than one for temporary files
    let place = std::env::current_dir()
        .map_err(|error| Failure::machine("the current directory", error))?
        .join(format!(".matterstack-check-{}", std::process::id()));
    std::fs::create_dir(&place)
        .map_err(|error| Failure::machine(format!("`{}` cannot be made", place.display()), error))?;
    let mut trouble = None;
    let steps = check(&Check { name, config: &config, place: &place, patience }, &mut |step| {
        if !session.json && trouble.is_none() {
            trouble = print(&shown(step)).err();
        }
    });
    let removed = std::fs::remove_dir_all(&place);
    trouble.map_or(Ok(()), Err)?;
    removed.map_err(|error| Failure::machine(format!("`{}` cannot be removed", place.display()), error))?;
    if session.json {
        print_json(&steps)?;
    }
    let sound = steps.iter().all(|step| step.ok);
    tell(&if sound { format!("backend `{name}` works") } else { format!("backend `{name}` does not work") });
    Ok(if sound { 0 } else { 74 })
}

fn shown(step: &Step) -> String {
    let word = if step.ok { "ok" } else { "TROUBLE" };
    let seconds = step.took_ms as f64 / 1000.0;
    let mut line = format!("{word:<8} {:<12} {seconds:>7.2} s  {}\n", step.step, one_line(&step.detail));
    if let Some(remedy) = &step.remedy {
        line.push_str(&format!("         what helps: {}\n", one_line(remedy)));
    }
    line
}

fn clean(session: &Session, name: &str, kept: bool) -> Result<u8, Failure> {
    let cleaned = tidy(&hold(session, name, Access::Own)?.run, kept)?;
    if session.json {
        print_json(&cleaned)?;
    }
    Ok(0)
}

/// Removes attempt directories of a run from its clusters, and says so.
pub(super) fn tidy(run: &Run, kept: bool) -> Result<Vec<Cleaned>, Failure> {
    let open: BTreeSet<String> = run.store.open_tasks(u32::MAX)?.into_iter().map(|task| task.id).collect();
    let mut attempts = HashMap::new();
    for attempt in run.store.all_attempts()? {
        let carries =
            || serde_json::from_str::<Task>(&attempt.task_json).is_ok_and(|task| !task.retry.carry.is_empty());
        let left = Left {
            is_live: !attempt.state.ended(),
            is_carried: open.contains(&attempt.task_id) && carries(),
            is_elsewhere: attempt.reason_code.as_ref().is_some_and(|word| word.is(Code::Adopted)),
            keeps_outputs: run.store.outputs(attempt.key)?.iter().any(|output| output.remote.is_some()),
        };
        attempts.insert(attempt.id, left);
    }
    let cleaned = run.backends.clean(&attempts, kept).map_err(|error| {
        let what = error.to_string();
        Failure::machine(what, error.cause).hint("repeat it later")
    })?;
    for Cleaned { backend, removed, bytes } in &cleaned {
        tell(&format!("backend `{backend}`: {removed} directories removed, {bytes} bytes freed"));
    }
    if cleaned.is_empty() {
        tell("no backend of this run has directories of its own");
    }
    Ok(cleaned)
}
