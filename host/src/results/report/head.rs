//! What a page begins with: which run it is of, where that stands, and what was noted of it.
use super::seen::Seen;
use crate::model::states::{RunState, TaskCounts};
use crate::model::time::{since, span};
use minijinja::{Value, context};

/// What the part is made from.
pub(super) fn view(seen: &Seen) -> Value {
    let run = &seen.run;
    let state_class = match run.state {
        RunState::Completed => "completed",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
        RunState::Active | RunState::Paused | RunState::Held | RunState::Cancelling => "live",
    };
    let notes = seen.acts.iter().filter(|act| act.verb == "note").map(|note| {
        let text = note.arguments["text"].as_str();
        context! { text, user => &note.by.user, at => note.at.to_string(), after => since(run.created_at, note.at) }
    });
    context! {
        name => run.label.as_ref().map_or_else(|| run.run_id.clone(), |label| format!("{label} ({})", run.run_id)),
        workspace => &run.workspace,
        run_id => &run.run_id,
        label => &run.label,
        state => run.state.as_str(),
        state_class,
        reason => &run.reason,
        made_by => seen.acts.first().map(|first| context! { user => &first.by.user, host => &first.by.host }),
        made_at => run.created_at.to_string(),
        ended_at => run.ended_at.map(|ended| ended.to_string()),
        took => run.ended_at.map(|ended| span(ended.0 - run.created_at.0)),
        tasks => counted(&run.tasks),
        notes => notes.collect::<Vec<_>>(),
    }
}

/// How many tasks there are, and in which states.
fn counted(counts: &TaskCounts) -> String {
    let words = [
        (counts.completed, "completed"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
        (counts.skipped, "skipped"),
        (counts.running, "running"),
        (counts.pending, "pending"),
    ];
    let words = words.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    let words = words.collect::<Vec<_>>().join(", ");
    format!("{}{}{words}", counts.total, if words.is_empty() { "" } else { ": " })
}
