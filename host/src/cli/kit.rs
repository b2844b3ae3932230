//! `kit export` and `kit import`: for clusters that the host cannot reach.
use super::output::{print, print_json, tell};
use super::respond::short_reason;
use super::{Session, shown};
use crate::failure::{Failure, refuse_bundle};
use crate::people::kit;
use crate::run::RunDir;
use crate::workspace::{now_ms, read_store};
use clap::Subcommand;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum KitCommand {
    /// Bundle the kits that are to be carried to a cluster, and print the bundle's path
    ///
    /// With --json: path (the bundle), and tasks (their ids).
    Export {
        /// The run
        run: String,
        /// The tasks [default: every task that waits for its kit]
        tasks: Vec<String>,
        /// The bundle [default: kits-RUN.tar.gz]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check what came back from a cluster, and give it to its run; may be repeated
    ///
    /// With --json: a list of what was taken, each with run_id, task, attempt_id, files (how many), and repeated (it
    /// had been imported before).
    Import {
        /// What `return.sh` made
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The run it belongs to [default: the run that it names]
        #[arg(long, value_name = "RUN")]
        run: Option<String>,
        /// What one return may unpack to, in MiB
        #[arg(long, value_name = "N", default_value_t = 16 * 1024)]
        max_mb: u64,
        /// Why, for the record
        #[arg(long, value_name = "TEXT", value_parser = short_reason)]
        reason: Option<String>,
    },
}

pub(super) fn kit(session: &Session, command: &KitCommand) -> Result<u8, Failure> {
    match command {
        KitCommand::Export { run, tasks, out } => export(session, run, tasks, out.as_deref()),
        KitCommand::Import { files, run, max_mb, reason } => {
            import(session, files, run.as_deref(), max_mb.saturating_mul(1024 * 1024), reason.as_deref())
        }
    }
}

fn export(session: &Session, run: &str, tasks: &[String], out: Option<&Path>) -> Result<u8, Failure> {
    let dir = session.run(run)?;
    refuse_bundle(&dir)?;
    let store = read_store(&dir)?;
    let out = out.map_or_else(|| PathBuf::from(format!("kits-{}.tar.gz", dir.id())), Path::to_owned);
    let exported = kit::export(&dir, &store, tasks, &out)?;
    if session.json {
        return print_json(&exported).map(|()| 0);
    }
    tell(&format!("{} kit(s); the README.md inside says how they go on", exported.tasks.len()));
    print(&format!("{}\n", shown(&exported.path)))?;
    Ok(0)
}

/// Imports each file; those that are refused do not keep the others from being taken.
fn import(
    session: &Session,
    files: &[PathBuf],
    run: Option<&str>,
    bytes_max: u64,
    reason: Option<&str>,
) -> Result<u8, Failure> {
    run.map_or(Ok(()), |run| refuse_bundle(&session.run(run)?))?;
    let runs = |id: &str| -> Result<Vec<RunDir>, Failure> {
        if let Some(run) = run {
            return Ok(vec![session.run(run)?]);
        }
        Ok(session.workspaces()?.runs().into_iter().map(|(_, dir)| dir).filter(|dir| dir.id() == id).collect())
    };
    let (mut taken, mut code) = (Vec::new(), 0);
    for file in files {
        match kit::import(file, &runs, bytes_max, reason, now_ms()) {
            Ok(imported) => {
                let done = if imported.repeated { "had been imported before" } else { "is imported" };
                tell(&format!("run `{}`: `{}` of task `{}` {done}", imported.run_id, file.display(), imported.task));
                taken.push(imported);
            }
            Err(failure) => code = code.max(super::report::report(&failure)),
        }
    }
    if session.json {
        print_json(&taken)?;
    }
    Ok(code)
}
