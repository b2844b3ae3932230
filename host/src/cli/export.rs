//! `export`: copies of chosen outputs under names that people can read.
use super::output::{print, print_json, tell};
use super::subject::{Choice, run_or_task};
use super::tasks::wrong_selection;
use super::{Session, shown};
use crate::failure::{Failure, FailureKind};
use crate::model::pattern::{Dots, Pattern, Patterns};
use crate::results;
use crate::workspace::read_store;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(override_usage = "matterstack export [OPTIONS] --out <DIR> [RUN] [TASK]")]
pub(super) struct ExportArgs {
    /// The run [default: latest], and a task or a pattern of ids
    #[arg(num_args = 0..=2, value_names = ["RUN", "TASK"])]
    of: Vec<String>,
    #[command(flatten)]
    choice: Choice,
    /// Only outputs that this pattern names; also several [default: all]
    #[arg(long = "output", value_name = "PATTERN")]
    outputs: Vec<String>,
    /// Where to: a directory that is new or empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(super) fn export(session: &Session, arguments: ExportArgs) -> Result<u8, Failure> {
    let ExportArgs { of, choice, outputs, out } = arguments;
    let (run, task) = run_or_task(session, of)?;
    let patterns = outputs.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>, _>>();
    let patterns = patterns.map_err(|error| Failure::input(format!("--output: {error}")))?;
    let patterns = (!patterns.is_empty()).then(|| Patterns::new(patterns, Dots::Written));
    let dir = session.run(&run)?;
    let store = read_store(&dir)?;
    let selection = choice.of(task);
    let chosen = store.chosen(&selection).map_err(|error| wrong_selection(&dir, &store, error))?;
    let ends = chosen.iter().map(|task| store.task_end(task.key)).collect::<Result<Vec<_>, _>>()?;
    let export = results::export(&dir, &store, &ends, patterns.as_ref(), &out)?;
    export.left_out.iter().for_each(|why| tell(&format!("warning: {why}")));
    let bytes: u64 = export.files.iter().map(|file| file.size).sum();
    if session.json {
        print_json(&json!({
            "run_id": dir.id(), "path": out, "files": export.files.len(), "bytes": bytes, "left_out": export.left_out,
        }))?;
    } else {
        print(&format!("{}: {} files, {bytes} bytes\n", shown(&out), export.files.len()))?;
    }
    match export.left_out.len() {
        0 => Ok(0),
        count => Err(Failure::of(FailureKind::Machine, format!("{count} outputs could not be exported"))
            .hint(format!("`matterstack doctor {}` compares every file with its record", dir.address()))),
    }
}
