//! Where the contract's types meet the host's own. Nothing a plugin says is believed before it was checked here:
//! documents are JSON of a bounded size, words are words, sentences fit on a screen and cannot command a terminal.
use super::PluginErrorKind;
use super::bindings::campaign::exports::matterstack::plugin::campaign_calls as campaign_wit;
use super::bindings::campaign::matterstack::plugin::{campaign_types, types};
use super::bindings::operator::exports::matterstack::plugin::operator_calls as operator_wit;
use super::bindings::operator::matterstack::plugin::operator_types;
use crate::ground::words;
use crate::model::contract::{
    AttemptRequest, Collected, Context, Decision, Detail, Folded, Found, GuestError, Next, Status, StatusReport,
    Submitted,
};
use crate::model::document;
use crate::model::open::{DecisionMore, DetailData, Usage};
use crate::model::result::Summary;
use crate::model::time::DELAY_MAX_MS;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The longest word by which programs tell causes apart, in bytes.
const WORD_MAX: usize = 64;
/// The longest sentence for a person, in bytes.
const SENTENCE_MAX: usize = 4_000;
/// The largest handle, note or progress document, in bytes.
const NOTE_MAX: usize = 64 * 1024;

type Checked<T> = Result<T, PluginErrorKind>;

/// A text of a plugin as a person may be shown it: without control characters, and not endless.
pub(super) fn sentence(text: &str) -> String {
    let end = (0..=SENTENCE_MAX.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    let mut shown = words::one_line(&text[..end]);
    if end < text.len() {
        shown.push_str(" …");
    }
    match shown.trim() {
        "" => "no reason was given".to_owned(),
        text => text.to_owned(),
    }
}

/// A word for programs; what is none becomes `other`.
fn word(text: String) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if (1..=WORD_MAX).contains(&text.len()) && text.chars().all(plain) { text } else { "other".to_owned() }
}

/// Refuses what is no document, or is larger than `most` bytes.
fn document(what: &str, text: String, most: usize) -> Checked<String> {
    if text.len() > most {
        return Err(PluginErrorKind::BadOutput(format!("{what} has {} bytes; at most {most} are allowed", text.len())));
    }
    match document::check(&text) {
        Ok(()) => Ok(text),
        Err(error) => Err(PluginErrorKind::BadOutput(format!("{what} is not JSON: {error}"))),
    }
}

/// What `more` may hold where nothing is known in it yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NothingMore {}

/// Reads an open object of a plugin, in which every key must be known.
fn more<T: DeserializeOwned>(what: &str, text: &str) -> Checked<T> {
    object(text).map_err(|error| PluginErrorKind::BadOutput(format!("`more` of {what}: {error}")))
}

/// Reads an object, and nothing but an object: serde would take a list for one too.
fn object<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    let map: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)?;
    serde_json::from_value(map.into())
}

fn nothing_more(what: &str, text: Option<&String>) -> Checked<()> {
    text.map_or(Ok(()), |text| more::<NothingMore>(what, text).map(|_| ()))
}

fn detail_to_wit(detail: Detail) -> types::Detail {
    let data = detail.data.map(|data| data.to_string());
    types::Detail { code: detail.code, message: detail.message, data }
}

/// Whether a sentence names a line of a file.
fn said_at(message: &str, file: &str, line: u64) -> bool {
    let place = format!("{file}:{line}");
    message.match_indices(&place).any(|(at, _)| !message[at + place.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

/// A detail with what is to be believed of its `data`.
fn with_data(detail: types::Detail, data: DetailData) -> Detail {
    let place = data.place();
    // an exception's sentence says more of its place already
    let known = data.file.as_ref().zip(data.line).is_some_and(|(file, line)| said_at(&detail.message, file, line));
    let message = sentence(&format!("{}{}", sentence(&detail.message), if known { "" } else { &place }));
    let data = serde_json::to_value(&data).ok().filter(|data| data.as_object().is_some_and(|data| !data.is_empty()));
    Detail { code: word(detail.code), message, data }
}

/// A detail of a failure, of which what cannot be read is dropped: the failure itself must not be lost.
fn detail_from_wit(detail: types::Detail) -> Detail {
    let data = detail.data.as_deref().filter(|text| text.len() <= NOTE_MAX);
    let data = data.and_then(|text| object(text).ok()).unwrap_or_default();
    with_data(detail, data)
}

/// A detail that is an answer, of which every part must hold.
fn answered_detail(detail: types::Detail) -> Checked<Detail> {
    let bad = |why: String| PluginErrorKind::BadOutput(format!("`data` of a detail: {why}"));
    let data = match detail.data.as_deref() {
        None => DetailData::default(),
        Some(text) if text.len() > NOTE_MAX => {
            return Err(bad(format!("it has {} bytes; at most {NOTE_MAX} are allowed", text.len())));
        }
        Some(text) => object(text).map_err(|error| bad(error.to_string()))?,
    };
    Ok(with_data(detail, data))
}

fn pause(ms: u64) -> u64 {
    ms.min(DELAY_MAX_MS)
}

/// A backend's error as the contract has it.
pub(super) fn to_wit(error: GuestError) -> types::Error {
    match error {
        GuestError::Invalid(detail) => types::Error::Invalid(detail_to_wit(detail)),
        GuestError::Rejected(detail) => types::Error::Rejected(detail_to_wit(detail)),
        GuestError::Transient { detail, retry_after_ms } => {
            types::Error::Transient(types::Delay { detail: detail_to_wit(detail), retry_after_ms })
        }
        GuestError::Denied(detail) => types::Error::Denied(detail_to_wit(detail)),
        GuestError::Ambiguous(detail) => types::Error::Ambiguous(detail_to_wit(detail)),
        GuestError::Other(detail) => types::Error::Other(detail_to_wit(detail)),
    }
}

/// A plugin's error as the host's own.
pub(super) fn from_wit(error: types::Error) -> GuestError {
    match error {
        types::Error::Invalid(detail) => GuestError::Invalid(detail_from_wit(detail)),
        types::Error::Rejected(detail) => GuestError::Rejected(detail_from_wit(detail)),
        types::Error::Transient(delay) => {
            let (detail, retry_after_ms) = (detail_from_wit(delay.detail), delay.retry_after_ms.map(pause));
            GuestError::Transient { detail, retry_after_ms }
        }
        types::Error::Denied(detail) => GuestError::Denied(detail_from_wit(detail)),
        types::Error::Ambiguous(detail) => GuestError::Ambiguous(detail_from_wit(detail)),
        types::Error::Other(detail) => GuestError::Other(detail_from_wit(detail)),
    }
}

/// A backend's answer to `submit` as the contract has it.
pub(super) fn submitted_to_wit(submitted: Submitted) -> operator_types::Submitted {
    operator_types::Submitted { handle: submitted.handle, external_id: submitted.external_id, more: None }
}

/// A plugin's answer to `submit` as the store may keep it.
pub(super) fn submitted_from_wit(submitted: operator_types::Submitted) -> Checked<Submitted> {
    nothing_more("`submitted`", submitted.more.as_ref())?;
    let handle = document("the handle", submitted.handle, NOTE_MAX)?;
    Ok(Submitted { handle, external_id: submitted.external_id.map(|id| sentence(&id)) })
}

/// A backend's answer to `find` as the contract has it.
pub(super) fn found_to_wit(found: Found) -> operator_types::Found {
    match found {
        Found::Yes(submitted) => operator_types::Found::Yes(submitted_to_wit(submitted)),
        Found::No => operator_types::Found::No,
        Found::Unknown { note, poll_after_ms } => {
            operator_types::Found::Unknown(operator_types::Undecided { note, poll_after_ms })
        }
    }
}

/// A plugin's answer to `reconcile` as the host's own.
pub(super) fn found_from_wit(found: operator_types::Found) -> Checked<Found> {
    Ok(match found {
        operator_types::Found::Yes(submitted) => Found::Yes(submitted_from_wit(submitted)?),
        operator_types::Found::No => Found::No,
        operator_types::Found::Unknown(undecided) => {
            let note = document("the note", undecided.note, NOTE_MAX)?;
            Found::Unknown { note, poll_after_ms: pause(undecided.poll_after_ms) }
        }
    })
}

/// What `prepare` returned, as the store may keep it.
pub(super) fn prepared_from_wit(prepared: Option<String>) -> Checked<Option<String>> {
    prepared.map(|text| document("what `prepare` returned", text, NOTE_MAX)).transpose()
}

/// What an ended attempt brought; the size of the output document was looked at before.
pub(super) fn collected_from_wit(collected: operator_types::Collected) -> Checked<Collected> {
    nothing_more("`collected`", collected.more.as_ref())?;
    let output = collected.output.map(|text| document("the output document", text, usize::MAX)).transpose()?;
    let usage = collected.usage.map(|text| document("`usage`", text, NOTE_MAX)).transpose()?;
    if let Some(text) = &usage {
        object::<Usage>(text).map_err(|error| PluginErrorKind::BadOutput(format!("`usage`: {error}")))?;
    }
    Ok(Collected { output, usage })
}

/// A backend's answer to `status` as the contract has it.
pub(super) fn report_to_wit(report: StatusReport) -> operator_types::StatusReport {
    use operator_types::Status as Wit;
    let status = match report.status {
        Status::Queued => Wit::Queued,
        Status::Running(progress) => Wit::Running(progress),
        Status::Waiting { kind, detail } => Wit::Waiting(operator_types::Waiting { kind, detail, more: None }),
        Status::Succeeded => Wit::Succeeded,
        Status::Failed(detail) => Wit::Failed(detail_to_wit(detail)),
        Status::Cancelled => Wit::Cancelled,
        Status::NotStarted(detail) => Wit::NotStarted(detail_to_wit(detail)),
        Status::Lost(detail) => Wit::Lost(detail_to_wit(detail)),
        Status::Unavailable(detail) => Wit::Unavailable(detail_to_wit(detail)),
    };
    operator_types::StatusReport { status, handle: report.handle, poll_after_ms: report.poll_after_ms, more: None }
}

/// A plugin's answer to `check-status` as the host's own.
pub(super) fn report_from_wit(report: operator_types::StatusReport) -> Checked<StatusReport> {
    use operator_types::Status as Wit;
    let status = match report.status {
        Wit::Queued => Status::Queued,
        Wit::Running(progress) => {
            Status::Running(progress.map(|text| document("the progress", text, NOTE_MAX)).transpose()?)
        }
        Wit::Waiting(waiting) => {
            nothing_more("`waiting`", waiting.more.as_ref())?;
            Status::Waiting { kind: word(waiting.kind), detail: sentence(&waiting.detail) }
        }
        Wit::Succeeded => Status::Succeeded,
        Wit::Failed(detail) => Status::Failed(detail_from_wit(detail)),
        Wit::Cancelled => Status::Cancelled,
        Wit::NotStarted(detail) => Status::NotStarted(detail_from_wit(detail)),
        Wit::Lost(detail) => Status::Lost(detail_from_wit(detail)),
        Wit::Unavailable(detail) => Status::Unavailable(detail_from_wit(detail)),
    };
    nothing_more("`status-report`", report.more.as_ref())?;
    let handle = report.handle.map(|handle| document("the handle", handle, NOTE_MAX)).transpose()?;
    Ok(StatusReport { status, handle, poll_after_ms: report.poll_after_ms.map(pause) })
}

/// What a decision may depend on, as the contract has it.
pub(super) fn context_to_wit(context: &Context, more: &str) -> campaign_wit::Context {
    campaign_wit::Context {
        decision: context.decision,
        iteration: context.iteration,
        now_ms: context.now_ms,
        seed: context.seed,
        asked: context.asked.clone(),
        open_tasks: context.open_tasks,
        more: more.to_owned(),
    }
}

/// An attempt as the contract has it.
pub(super) fn attempt_to_wit(attempt: &AttemptRequest, more: &str) -> operator_wit::Attempt {
    operator_wit::Attempt {
        run_id: attempt.run_id.0.clone(),
        attempt_id: attempt.attempt_id.0.clone(),
        number: attempt.number,
        task: attempt.task.clone(),
        submit_key: attempt.attempt_id.0.clone(),
        prepared: attempt.prepared.clone(),
        handle: attempt.handle.clone(),
        note: attempt.note.clone(),
        config: attempt.config.clone(),
        more: more.to_owned(),
    }
}

/// How far a campaign has come, in the keys that are known of it.
fn summary(text: Option<String>) -> Checked<Option<String>> {
    let Some(text) = text else { return Ok(None) };
    if text.len() > NOTE_MAX {
        let why = format!("the summary has {} bytes; at most {NOTE_MAX} are allowed", text.len());
        return Err(PluginErrorKind::BadOutput(why));
    }
    let bad = |error: String| PluginErrorKind::BadOutput(format!("the summary: {error}"));
    object::<Summary>(&text).map_err(|error| bad(error.to_string()))?;
    document::canonical(&text).map(Some).map_err(|error| bad(error.to_string()))
}

/// A plan as the host's own. Its documents are checked where they are read, which is once.
pub(super) fn decision_from_wit(decision: campaign_wit::Decision) -> Checked<Decision> {
    use campaign_types::Next as Wit;
    let campaign_wit::Decision { state, next, cancel, wake_at_ms, summary: said, reason, more: said_more } = decision;
    if reason.len() > SENTENCE_MAX {
        let text = format!("the reason has {} bytes; at most {SENTENCE_MAX} are allowed", reason.len());
        return Err(PluginErrorKind::BadOutput(text));
    }
    let said_more: DecisionMore = said_more.map(|text| more("`decision`", &text)).transpose()?.unwrap_or_default();
    let next = match next {
        Wit::Workflow(tasks) => Next::Workflow(tasks),
        Wit::Wait => Next::Wait,
        Wit::Complete(document) => Next::Complete(document),
        Wit::Fail(why) => Next::Fail(answered_detail(why)?),
        Wit::Hold(why) => Next::Hold(answered_detail(why)?),
    };
    let skips_known = said_more.known.is_some();
    let summary = summary(said)?;
    Ok(Decision { state, next, cancel, wake_at_ms, summary, reason: sentence(&reason), skips_known })
}

/// An answer of `analyze` as the host's own. Its state is checked where it is read, which is once.
pub(super) fn folded_from_wit(folded: campaign_wit::Folded) -> Checked<Folded> {
    nothing_more("`folded`", folded.more.as_ref())?;
    Ok(Folded { state: folded.state, summary: summary(folded.summary)? })
}
