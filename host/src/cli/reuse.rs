//! `reuse`: a person's word on results that later runs would take.
use super::Session;
use super::control::say_with;
use super::runs::hold;
use crate::failure::Failure;
use crate::ground::words::positional;
use crate::model::act::Verb;
use crate::tick;
use crate::workspace::{Access, act};
use clap::Subcommand;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum ReuseCommand {
    /// Let no later run take what the last completed attempt at a task left
    ///
    /// The task keeps its results in this run, and whoever has taken them keeps them; of those no later run takes them
    /// either. Who said so, and why, is recorded.
    ///
    /// With --json: run_id, state of the run, and reason (why it is in that state, or null).
    Reject {
        /// The run
        run: String,
        /// The task
        task: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

pub(super) fn reuse(session: &Session, command: &ReuseCommand) -> Result<u8, Failure> {
    let ReuseCommand::Reject { run, task, reason } = command;
    let mut held = hold(session, run, Access::Own)?;
    tick::reject(&mut held.run, task, &act(Verb::ReuseReject, json!({"task": task}), reason.as_deref()))?;
    let address = held.run.dir.address().to_owned();
    let text = format!(
        "no later run takes the results of task `{task}`; `matterstack rerun {address} {}` computes them anew here",
        positional(task)
    );
    say_with(session, &held.run, &text, Vec::new())
}
