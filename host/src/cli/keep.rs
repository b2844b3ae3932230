//! Commands about runs as things that are kept: notes, what they take of the disk, and their end.
use super::output::{print, print_json, table, tell};
use super::runs::hold;
use super::subject::{LATEST, runs_of};
use super::{Session, backend};
use crate::failure::Failure;
use crate::model::act::Verb;
use crate::model::pattern::{Dots, Pattern, Patterns};
use crate::tick;
use crate::workspace::{self, Access, Cleaning, Unwanted, Usage, act, refuse_removal, usage};
use clap::Args;
use serde_json::json;
use std::path::Path;

#[derive(Debug, Args)]
pub(super) struct RmArgs {
    /// The runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<String>,
    /// Also those whose results other runs took, or that kept outputs on a cluster
    #[arg(long)]
    anyway: bool,
    /// Say what would be removed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct CleanArgs {
    /// The runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<String>,
    #[command(flatten)]
    what: CleanWhat,
    /// Also where other runs took results
    #[arg(long)]
    anyway: bool,
    /// Say what would be removed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct CleanWhat {
    /// Directories of attempts after which their task has completed again
    #[arg(long)]
    superseded: bool,
    /// Directories of attempts that failed or were cancelled, of tasks that have ended
    #[arg(long)]
    failed: bool,
    /// Outputs that this pattern names, of a run that has ended; also several
    #[arg(long, value_name = "GLOB")]
    outputs: Vec<String>,
    /// What tasks of a run that has ended kept on clusters, and their directories there
    #[arg(long)]
    remote: bool,
}

pub(super) fn clean(session: &Session, arguments: &CleanArgs) -> Result<u8, Failure> {
    let CleanArgs { runs, what: CleanWhat { superseded, failed, outputs, remote }, anyway, dry_run } = arguments;
    let patterns = outputs.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>, _>>();
    let patterns = patterns.map_err(|error| Failure::input(format!("--outputs: {error}")))?;
    let unwanted = Unwanted {
        superseded: *superseded,
        failed: *failed,
        outputs: (!patterns.is_empty()).then(|| Patterns::new(patterns, Dots::Written)),
        remote: *remote,
    };
    let (workspaces, mut cleaned) = (session.workspaces()?, Vec::new());
    for name in runs {
        let words = json!({"superseded": superseded, "failed": failed, "outputs": outputs, "remote": remote});
        let mut held = hold(session, name, Access::Own)?;
        let run = held.run.dir.address().to_owned();
        let done = workspace::clean(&mut held.run, &unwanted, &workspaces, (*anyway, *dry_run), words)?;
        let Cleaning { directories, outputs, remote: kept, bytes: size } = done;
        if *remote && !dry_run {
            backend::tidy(&held.run, true)?;
        }
        let there = if *remote { format!("; and {kept} outputs kept on clusters") } else { String::new() };
        let tried = if *dry_run { "dry run, nothing is changed: " } else { "" };
        tell(&format!(
            "{tried}run `{run}`: {directories} directories of attempts and {outputs} outputs are removed, {}{there}",
            bytes(size)
        ));
        let id = held.run.dir.id();
        cleaned
            .push(json!({"run_id": id, "directories": directories, "outputs": outputs, "remote": kept, "bytes": size}));
    }
    if session.json {
        print_json(&cleaned)?;
    }
    Ok(0)
}

pub(super) fn note(session: &Session, words: Vec<String>) -> Result<u8, Failure> {
    let (run, text) = match <[String; 2]>::try_from(words) {
        Ok([run, text]) => (run, text),
        Err(words) => (LATEST.to_owned(), words.into_iter().next().unwrap_or_default()),
    };
    if text.trim().is_empty() {
        let run = session.run(&run)?;
        let hint = format!("put it in quotes: `matterstack note {} 'TEXT'`", run.address());
        return Err(Failure::input("a note without words").hint(hint));
    }
    let mut held = hold(session, &run, Access::Own)?;
    tick::note(&mut held.run, &act(Verb::Note, json!({"text": text}), None))?;
    let run = held.run.dir.address();
    tell(&format!("run `{run}`: noted; `matterstack evidence {run}` has it with all that was done to the run"));
    if session.json {
        print_json(&json!({"run_id": held.run.dir.id(), "text": text}))?;
    }
    Ok(0)
}

pub(super) fn du(session: &Session, names: &[String]) -> Result<u8, Failure> {
    let runs = match names {
        [] => session.workspaces()?.runs().into_iter().map(|(_, run)| run).collect(),
        names => runs_of(session, names, None)?,
    };
    let mut found = runs.iter().map(|dir| Ok((dir, usage(dir)?))).collect::<Result<Vec<_>, Failure>>()?;
    found.sort_by_key(|(_, usage)| std::cmp::Reverse(usage.total));
    if session.json {
        let rows = found.iter().map(|(dir, usage)| {
            let Usage { total, database, plugins, inputs, attempts, files } = usage;
            json!({
                "run_id": dir.id(), "path": dir.root(), "total": total, "database": database, "plugins": plugins,
                "inputs": inputs, "attempts": attempts, "files": files,
            })
        });
        return print_json(&rows.collect::<Vec<_>>()).map(|()| 0);
    }
    let rows = found.iter().map(|(dir, usage)| {
        let Usage { total, database, plugins, inputs, attempts, files } = *usage;
        let mut cells = vec![dir.address().to_owned()];
        cells.extend([total, attempts, database, inputs, plugins].map(bytes));
        cells.push(files.to_string());
        cells
    });
    print(&table(&["RUN", "TOTAL", "ATTEMPTS", "DATABASE", "INPUTS", "PLUGINS", "FILES"], rows))?;
    Ok(0)
}

/// A number of bytes in its largest unit.
fn bytes(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let (mut number, mut unit) = (bytes as f64 / 1000.0, 0);
    while number >= 1000.0 && unit + 1 < units.len() {
        (number, unit) = (number / 1000.0, unit + 1);
    }
    format!("{number:.1} {}", units[unit])
}

pub(super) fn rm(session: &Session, arguments: &RmArgs) -> Result<u8, Failure> {
    let RmArgs { runs, anyway, dry_run } = arguments;
    if let Some(link) = runs.iter().find(|name| Path::new(name).is_symlink()) {
        return Err(Failure::input(format!("`{link}` is a link and no run")).hint("name the run by its id"));
    }
    let workspaces = session.workspaces()?;
    let dirs = runs_of(session, runs, None)?;
    // all are looked at before any is removed
    dirs.iter().try_for_each(|dir| refuse_removal(dir, &workspaces, *anyway))?;
    let mut removed = Vec::new();
    for dir in &dirs {
        let Usage { total, files, .. } = usage(dir)?;
        if !dry_run {
            workspace::remove(dir, dir.patience())?;
        }
        let tried = if *dry_run { "dry run, nothing is changed: " } else { "" };
        tell(&format!("{tried}run `{}` is removed: {files} files, {}", dir.address(), bytes(total)));
        removed.push(json!({"run_id": dir.id(), "path": dir.root(), "files": files, "bytes": total}));
    }
    if session.json {
        print_json(&removed)?;
    }
    Ok(0)
}
