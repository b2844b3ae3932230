//! Tells a person what only a person can move, what failed for good, and what is waited for very long. News counts as
//! told before anything is sent: a crash between the two loses a message, and none is sent twice. Nobody waits for what
//! is sent: a process of its own does that.
use super::{Moment, Run, TickError};
use crate::backend::send_news;
use crate::ground::files::read_regular;
use crate::ground::machine;
use crate::ground::words::{json, positional, quoted};
use crate::model::code::Code;
use crate::model::time::Time;
use crate::run::outside_command;
use crate::store::{Durability, News, Topic};
use serde_json::{Value, json};

/// The longest instructions that are sent along, in bytes.
const INSTRUCTIONS_MAX: u64 = 16 * 1024;

/// Sends news if there is any since it was last told. It is marked as told first. Returns what went wrong, for the
/// person at the terminal.
pub(super) fn tell(run: &mut Run, moment: Moment<'_>) -> Result<Option<String>, TickError> {
    let Some(notify) = run.config.notify.clone() else { return Ok(None) };
    let late_ms = moment.now_ms.saturating_sub(i64::try_from(notify.after_s.saturating_mul(1000)).unwrap_or(i64::MAX));
    let found = run.store.news(late_ms)?;
    if found.news.is_empty() {
        return Ok(None);
    }
    let row = run.store.run()?;
    run.store.transaction(Durability::Full, |writer| writer.set_told(&found))?;
    let root = run.dir.root();
    let directory = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned()).display().to_string();
    let address = quoted(&directory);
    let news: Vec<Value> = found.news.iter().map(|news| told(run, news, &address)).collect();
    let document = json!({
        "run_id": row.run_id, "workspace": row.workspace, "state": row.state, "reason": row.reason,
        "directory": directory, "machine": machine::host_name(), "news": news, "more": found.more,
    });
    let sent = send_news(&notify, root, &json(&document.to_string()));
    Ok(sent.err().map(|error| format!("the news cannot be sent: {error}")))
}

/// One piece of news, with what helps.
fn told(run: &Run, news: &News, address: &str) -> Value {
    let task = news.task.as_deref();
    let of = task.map(positional).unwrap_or_default();
    let command = match (news.topic, task) {
        (Topic::Run, _) | (_, None) => format!("matterstack explain {address}"),
        (Topic::Failed, Some(_)) => format!("matterstack explain {address} {of}"),
        (Topic::Waits | Topic::Lasts, Some(_)) if news.word().is_some_and(|word| word.is(Code::Lost)) => {
            format!("matterstack explain {address} {of}")
        }
        (Topic::Waits | Topic::Lasts, Some(task)) => outside_command(news.word().as_ref(), address, task),
    };
    let instructions = news.directory.as_ref().and_then(|directory| instructions(run, directory));
    json!({
        "task": news.task, "topic": news.topic, "state": news.state, "reason": news.reason,
        "since": news.since_ms.map(Time), "instructions": instructions, "command": command,
    })
}

/// What a person is asked to do, as the operator wrote it.
fn instructions(run: &Run, directory: &str) -> Option<String> {
    let place = run.dir.join(directory).join("instructions.md");
    let bytes = read_regular(&place, INSTRUCTIONS_MAX).ok().flatten()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
