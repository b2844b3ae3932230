//! Commands by which a person mends a run: `amend … task`, `… file`, `… environment`, and `rerun`.
use super::Session;
use super::control::{How, say_count};
use super::runs::take;
use super::subject::{Choice, arguments, with_selection};
use crate::failure::Failure;
use crate::model::act::{Act, Verb};
use crate::model::config::{BackendConfig, RunConfig};
use crate::model::selection::Selection;
use crate::model::states::RunState;
use crate::model::workflow::TaskChange;
use crate::run::Run;
use crate::store::{Durability, NewEnvironment, StoreError, Writer};
use crate::tick::{self, Mended, Rerun};
use crate::workspace::{self, Exchanged, SET, act, refuse_twice};
use clap::{Args, Subcommand};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

/// Files that a sentence names.
const NAMED: usize = 3;

#[derive(Debug, Args)]
#[command(override_usage = "matterstack rerun [OPTIONS] [RUN] [TASK]")]
pub(super) struct RerunArgs {
    /// The run [default: latest], and a task or a pattern of ids [default: every failed task]
    #[arg(num_args = 0..=2, value_names = ["RUN", "TASK"])]
    pub(super) of: Vec<String>,
    /// Also what completed or failed after them
    #[arg(long)]
    recursive: bool,
    #[command(flatten)]
    choice: Choice,
    /// Change the tasks first, as `amend … task` does
    #[arg(long = "set", value_name = "K=V")]
    sets: Vec<String>,
    /// Take the workspace's copy of a pinned file first, as `amend … file` does
    #[arg(long = "file", value_name = "PATH", conflicts_with_all = ["changed", "pinned"])]
    files: Vec<String>,
    /// Take the workspace's copy of every file that the tasks name and that differs there
    #[arg(long, conflicts_with = "pinned")]
    changed: bool,
    /// Run with the copies that the run has, whatever stands in the workspace
    #[arg(long)]
    pinned: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
#[command(override_usage = "matterstack amend [RUN] config|task|file|plugin|environment …")]
pub(super) struct AmendArgs {
    /// The run
    #[arg(default_value = "latest")]
    run: String,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", global = true)]
    reason: Option<String>,
    /// Say what it would come to, and change nothing
    #[arg(long, global = true)]
    dry_run: bool,
    #[command(subcommand)]
    what: AmendCommand,
}

#[derive(Debug, Subcommand)]
enum AmendCommand {
    /// Change the configuration: limits, operators, backends, reuse, notify, evidence, campaign.params
    Config {
        /// A value to change; JSON if it parses, else text; dots separate keys
        #[arg(required = true, value_name = "K=V")]
        sets: Vec<String>,
    },
    /// Change tasks: command, files, env, resources, retry, outputs, operator, priority, input, depends_on
    ///
    /// What has not started runs as changed; what is live goes on as it was begun, and a further attempt is as changed;
    /// what has ended stays until `rerun`.
    Task {
        /// A task's id, or a pattern of ids
        #[arg(value_name = "PATTERN")]
        pattern: String,
        /// A value to change, such as resources.walltime_s=3600; `null` takes the key away
        #[arg(required = true, value_name = "K=V")]
        sets: Vec<String>,
        #[command(flatten)]
        choice: Choice,
    },
    /// Take the workspace's present copy of a file into the run
    ///
    /// The old copy stays in the run, and tasks that completed on it are stale until they run again.
    File {
        /// Its path in the workspace
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<String>,
    },
    /// Put another plugin in the place of the campaign's or an operator's, and let a run it held go on
    ///
    /// With --dry-run it says what the plugin asks for beside the one before, and asks a campaign for every recorded
    /// decision again: which it would have made otherwise, and the first difference.
    ///
    /// With --json beside what every change has: sha256; with --dry-run also asks and leaves (interfaces), and
    /// decisions: {made, agreed, differing (numbers), left_out, removed, first: as of `replay`}, or null for an
    /// operator.
    Plugin {
        /// The .wasm file, the script, or builtin:NAME
        file: PathBuf,
        /// The operator whose plugin it is [default: the campaign's]
        #[arg(long, value_name = "KEY")]
        operator: Option<String>,
    },
    /// Let local jobs inherit what this shell has, from now on
    ///
    /// What jobs inherit is pinned when the run is made: the variables that docs/environment.md lists, with their
    /// values.
    Environment,
}

pub(super) fn amend(session: &Session, given: AmendArgs) -> Result<u8, Failure> {
    let AmendArgs { run, reason, dry_run, what } = given;
    let how = &How { reason, dry_run };
    match what {
        AmendCommand::Config { sets } => super::control::amend(session, &run, &sets, how),
        AmendCommand::Task { pattern, sets, choice } => {
            amend_task(session, &run, &choice.of(Some(pattern)), &sets, how)
        }
        AmendCommand::File { paths } => amend_file(session, &run, &paths, how),
        AmendCommand::Plugin { file, operator } => {
            super::plugin::amend_plugin(session, &run, &file, operator.as_deref(), how)
        }
        AmendCommand::Environment => amend_environment(session, &run, how),
    }
}

fn amend_environment(session: &Session, run: &str, how: &How) -> Result<u8, Failure> {
    let mut held = take(session, run, how.dry_run)?;
    let run = &mut held.run;
    if !run.config.backends.values().any(|backend| matches!(backend, BackendConfig::Local(_))) {
        return Err(Failure::input(format!(
            "run `{}` has no local backend, and other jobs inherit nothing",
            run.dir.id()
        ))
        .hint("`setup` of a cluster's backend says what its jobs find"));
    }
    let here = workspace::environment_here(&run.config, &run.dir)?;
    let before = run.machine.pinned.take();
    let changed = before.as_ref().map(|before| changed_variables(before, &here));
    let told_otherwise = before.as_ref().is_some_and(|before| before.recorded != here.recorded);
    if changed.as_ref().is_some_and(Vec::is_empty) && !told_otherwise {
        return Err(Failure::input("nothing is changed: local jobs have what this shell has already")
            .hint("change the variable in this shell first; docs/environment.md lists those that jobs inherit"));
    }
    let act = act(Verb::Amend, json!({"environment": changed}), how.reason.as_deref());
    run.store.transaction(Durability::Full, |writer| {
        let number = writer.add_act(&act)?;
        writer.set_environment(&here, number)
    })?;
    let text = match &changed {
        None => format!("what this shell has is pinned for local jobs on {}, which start here from now on", here.host),
        Some(changed) if changed.is_empty() => "what `record` tells here now is recorded".to_owned(),
        Some(changed) => {
            format!("{} of this shell is inherited by every local job that is handed in from now on", named(changed))
        }
    };
    say_count(session, run, &text, ("variables", changed.map_or(here.variables.len(), |changed| changed.len()) as u64))
}

/// The variables that differ.
fn changed_variables(before: &NewEnvironment, here: &NewEnvironment) -> Vec<String> {
    let names: BTreeSet<&String> = before.variables.keys().chain(here.variables.keys()).collect();
    let differs = |name: &&String| before.variables.get(*name) != here.variables.get(*name);
    names.into_iter().filter(differs).cloned().collect()
}

/// Reads what is to be changed of tasks.
fn changes(sets: &[String], option: &str) -> Result<Vec<TaskChange>, Failure> {
    refuse_twice(sets, option)?;
    let read = |set: &String| {
        TaskChange::parse(set).map_err(|(what, hint)| Failure::input(format!("`{set}`: {what}")).hint(hint))
    };
    sets.iter().map(read).collect()
}

fn amend_task(session: &Session, run: &str, selection: &Selection, sets: &[String], how: &How) -> Result<u8, Failure> {
    let changes = changes(sets, "")?;
    let mut held = take(session, run, how.dry_run)?;
    let act = act(Verb::Amend, with_selection(selection, json!({"set": sets})), how.reason.as_deref());
    let mended = tick::mend(&mut held.run, selection, &changes, &act)?;
    let text = reached(&mended, selection, held.run.dir.address());
    say_count(session, &held.run, &text, ("amended", mended.waiting + mended.live + mended.ended))
}

/// What a change of tasks comes to, in words.
fn reached(mended: &Mended, selection: &Selection, run: &str) -> String {
    let mut parts = Vec::new();
    if mended.waiting > 0 {
        parts.push(format!("{} task(s) that have not started run as changed", mended.waiting));
    }
    if mended.live > 0 {
        parts.push(format!("{} go on as they were begun, and a further attempt is as changed", mended.live));
    }
    if mended.ended > 0 {
        let command = format!("matterstack rerun {run}{}", arguments(selection));
        parts.push(format!("{} have ended and stay as they are: `{command}` runs them again", mended.ended));
    }
    if mended.unchanged > 0 {
        parts.push(format!("{} were so already", mended.unchanged));
    }
    format!("amended; {}", parts.join("; "))
}

fn amend_file(session: &Session, run: &str, paths: &[String], how: &How) -> Result<u8, Failure> {
    let mut held = take(session, run, how.dry_run)?;
    let run = &mut held.run;
    let mut config = run.config.clone();
    let exchanged = workspace::take_files(&run.dir, &mut config, paths)?;
    if exchanged.is_empty() {
        return Err(Failure::input(format!("nothing is changed: the run has {} as in the workspace", named(paths)))
            .hint("edit the file in the workspace first"));
    }
    let act = act(Verb::Amend, json!({"files": exchanged}), how.reason.as_deref());
    if workspace::lists_otherwise(run, &config) {
        let (run, added) = workspace::grow(held.run, config, &act)?;
        return say_count(session, &run, &super::control::grown(added), ("added", added));
    }
    let stale = workspace::write_config_with(run, config, &act, |writer, _| mark_stale(writer, &exchanged))?;
    let paths: Vec<String> = exchanged.iter().map(|one| one.path.clone()).collect();
    let mut text = format!("{} is taken from the workspace for every attempt from now on", named(&paths));
    if stale > 0 {
        text += &format!(
            "; {stale} completed task(s) used the old file and stay: `matterstack rerun {} --state stale --recursive` runs them \
             again",
            run.dir.address()
        );
    }
    say_count(session, run, &text, ("stale", stale))
}

fn mark_stale(writer: &Writer<'_>, exchanged: &[Exchanged]) -> Result<u64, StoreError> {
    exchanged.iter().map(|one| writer.stale_by_file(&one.path, &one.after)).sum()
}

/// Names of files, for a sentence.
fn named(paths: &[String]) -> String {
    let mut shown: Vec<String> = paths.iter().take(NAMED).map(|path| format!("`{path}`")).collect();
    if paths.len() > NAMED {
        shown.push(format!("{} more", paths.len() - NAMED));
    }
    shown.join(", ")
}

pub(super) fn rerun(session: &Session, run: &str, task: Option<String>, given: &RerunArgs) -> Result<u8, Failure> {
    let changes = changes(&given.sets, SET)?;
    let selection = Selection { recursive: given.recursive, ..given.choice.clone().of(task) };
    let mut held = take(session, run, given.how.dry_run)?;
    let run = &mut held.run;
    let mut chosen = Rerun::of(run, &selection)?;
    let mut config = run.config.clone();
    let files = files(run, &chosen, given)?;
    let exchanged = workspace::take_files(&run.dir, &mut config, &files)?;
    chosen.change(run, &config, &changes)?;
    let arguments = json!({"recursive": selection.recursive, "set": given.sets, "files": exchanged});
    let arguments = with_selection(&selection, arguments);
    let (count, stale) =
        carry_out(run, &chosen, (config, &exchanged), &act(Verb::Rerun, arguments, given.how.reason.as_deref()))?;
    let row = run.store.run()?;
    let next = match row.state {
        RunState::Held if !row.also_paused => "the next `step` or `loop` starts them",
        RunState::Active => "the next `step` or `loop` starts them",
        RunState::Paused
        | RunState::Held
        | RunState::Cancelling
        | RunState::Completed
        | RunState::Failed
        | RunState::Cancelled => "the run needs `resume` before they start",
    };
    let mut text = format!("{count} task(s) are pending again; {next}");
    if chosen.changed() > 0 {
        text += &format!("; {} were changed", chosen.changed());
    }
    if !exchanged.is_empty() {
        let paths: Vec<String> = exchanged.iter().map(|one| one.path.clone()).collect();
        text += &format!("; {} is taken from the workspace", named(&paths));
    }
    if stale > 0 {
        text += &format!("; {stale} completed task(s) used what has changed and stay: --recursive, or --state stale");
    }
    say_count(session, run, &text, ("pending_again", count))
}

/// Brings the chosen tasks back in one act, with the files and changes it comes with. Returns how many came back, and
/// how many completed tasks are stale now.
fn carry_out(
    run: &mut Run,
    chosen: &Rerun,
    (config, exchanged): (RunConfig, &[Exchanged]),
    act: &Act,
) -> Result<(u64, u64), Failure> {
    let count = if exchanged.is_empty() {
        chosen.carry_out(run, act)?
    } else {
        workspace::write_config_with(run, config, act, |writer, number| {
            mark_stale(writer, exchanged)?;
            chosen.bring_back(writer, number, act.at_ms)
        })?
    };
    Ok((count, run.store.stale_tasks()?))
}

/// The files that are to be taken from the workspace first. Where a file that the tasks name differs there, nobody can
/// know which copy is meant.
fn files(run: &Run, chosen: &Rerun, given: &RerunArgs) -> Result<Vec<String>, Failure> {
    if given.pinned || !given.files.is_empty() {
        return Ok(given.files.clone());
    }
    let used = chosen.files(run)?;
    let mut differ = if used.is_empty() { Vec::new() } else { workspace::changed_files(&run.dir, &run.config, true) };
    differ.retain(|path| used.contains(path));
    if differ.is_empty() || given.changed || wants_the_workspaces(&differ)? {
        return Ok(differ);
    }
    Ok(Vec::new())
}

/// Asks at a terminal which copies are to be used.
fn wants_the_workspaces(differ: &[String]) -> Result<bool, Failure> {
    let what = format!("{} differs from the copy that the run has", named(differ));
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::input(what).hint(
            "say --changed to take the workspace's copy into the run, or --pinned to run with the copy that it has",
        ));
    }
    super::output::tell(&format!("{what}; take the workspace's copy? [y/n]"));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Failure::machine("the answer cannot be read", error))?;
    match answer.trim() {
        "y" | "yes" => Ok(true),
        "n" | "no" => Ok(false),
        _ => Err(Failure::input("neither yes nor no; nothing is changed")),
    }
}
