//! Tells a person what only a person can move, by a program that the configuration names. News counts as told before
//! the program starts: a crash between the two loses a message, and none is sent twice.
use super::{Run, TickError};
use crate::backend::start_and_leave;
use crate::ground::words;
use crate::store::Durability;
use serde_json::json;

/// Starts the notification program if there is news since it was last started. The news is marked as told first: a
/// crash in between loses a message, and never sends one twice. Returns what went wrong, for the person at the
/// terminal.
pub(super) fn tell(run: &mut Run) -> Result<Option<String>, TickError> {
    let Some(notify) = run.config.notify.clone() else { return Ok(None) };
    let (upto, news) = run.store.news()?;
    if news.is_empty() {
        return Ok(None);
    }
    let row = run.store.run()?;
    run.store.transaction(Durability::Full, |writer| writer.set_notified(upto))?;
    let document = json!({
        "run_id": row.run_id, "workspace": row.workspace, "state": row.state, "reason": row.reason, "news": news,
    });
    let started = start_and_leave(&notify.command, run.dir.root(), words::json(&document.to_string()).as_bytes());
    Ok(started.err().map(|error| {
        let program = notify.command.first().map_or("", String::as_str);
        format!("notification program `{program}` cannot be started: {error}")
    }))
}
