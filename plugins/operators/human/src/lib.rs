//! `builtin:human`, the operator that asks a person.
//!
//! `prepare` writes `instructions.md` and `schema.json` into the attempt directory; the answer is `response.json`
//! there, written by hand or by `matterstack respond`. The first valid answer counts. What is no valid answer is set
//! aside with a note, and the question stays open.
mod form;

use form::{Form, Judgement};
use matterstack_sdk::work::{self, Document, Letter, Seen};
use matterstack_sdk::{
    Attempt, Collected, Detail, Error, Found, Operator, Status, StatusReport, Submitted, json, lifecycle,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The largest answer, in bytes.
const ANSWER_MAX: u64 = 1024 * 1024;
/// How long a file that is not JSON must stay the same before it is no longer taken for half of one, in milliseconds.
const SETTLE_MS: u64 = 10_000;
/// When to look again while nothing has come; the host looks earlier when the directory changes.
const QUIET_MS: u64 = 60_000;
/// When to look again at a file that may be half of one.
const SOON_MS: u64 = 2_000;
/// The person's files, which are not outputs of the task.
const OWN_FILES: [&str; 5] = ["instructions.md", "schema.json", "response.*", ".*", ".*/**"];

/// The operator.
pub struct Human;

matterstack_sdk::export_operator!(Human, manifest: concat!(
    r#"{"format": 1, "name": "human", "version": ""#,
    env!("CARGO_PKG_VERSION"),
    r#""}"#
));

/// What is remembered from one look to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Handle {
    own_files: Vec<String>,
    /// When the question was put, by the file system's clock; only where there is a deadline.
    #[serde(default)]
    asked_ms: Option<u64>,
    #[serde(default)]
    seen: Option<Seen>,
    /// The last answer that was set aside. `matterstack respond` reads why.
    #[serde(default)]
    set_aside: Option<SetAside>,
    /// The output document, once an answer counts.
    #[serde(default)]
    result: Option<Value>,
}

/// An answer that was set aside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SetAside {
    /// What is wrong with it.
    why: String,
    /// The file that says so.
    note: String,
}

impl SetAside {
    fn sentence(&self) -> String {
        format!("an answer was set aside: {} (see `{}`)", self.why, self.note)
    }
}

/// Who answered, as `matterstack respond` leaves it beside the answer, or the host if the answer came by hand.
#[derive(Debug, Deserialize)]
struct By {
    user: String,
    uid: u64,
    host: String,
    at: String,
    /// Of the answer's bytes: a note that belongs to another answer says nothing.
    sha256: String,
    #[serde(default)]
    by_hand: bool,
}

impl Operator for Human {
    fn prepare(attempt: &Attempt) -> Result<Option<String>, Error> {
        let form = Form::of(attempt)?;
        form.check()?;
        work::write(&work::path("instructions.md"), form.instructions.as_bytes())?;
        let schema = serde_json::to_string_pretty(&form.schema)? + "\n";
        work::write(&work::path("schema.json"), schema.as_bytes())?;
        Ok(None)
    }

    fn submit(attempt: &Attempt) -> Result<Submitted, Error> {
        let asked_ms = Form::of(attempt)?.deadline_ms.map(|_| work::now_ms(&work::path(""))).transpose()?;
        let own_files = OWN_FILES.map(str::to_owned).to_vec();
        let handle = Handle { own_files, asked_ms, seen: None, set_aside: None, result: None };
        Ok(Submitted::new(serde_json::to_string(&handle)?))
    }

    /// Putting a question has no effect but the files that `prepare` wrote.
    fn reconcile(attempt: &Attempt) -> Result<Found, Error> {
        Ok(Found::Yes(Self::submit(attempt)?))
    }

    fn check_status(attempt: &Attempt) -> Result<StatusReport, Error> {
        let mut handle: Handle = serde_json::from_str(attempt.handle()?)?;
        let before = handle.clone();
        let form = Form::of(attempt)?;
        let (status, poll_after_ms) = look(&form, &mut handle)?;
        let handle = (handle != before).then(|| serde_json::to_string(&handle)).transpose()?;
        Ok(StatusReport { status, handle, poll_after_ms: Some(poll_after_ms) })
    }

    fn collect_results(attempt: &Attempt) -> Result<Collected, Error> {
        let handle: Handle = serde_json::from_str(attempt.handle()?)?;
        Ok(handle.result.map(|result| Collected::output(result.to_string())).unwrap_or_default())
    }

    /// Nothing runs that could be stopped: `check_status` gives the question up.
    fn cancel(_: &Attempt) -> Result<(), Error> {
        Ok(())
    }
}

/// Looks for an answer; returns where the attempt stands and when to look again.
fn look(form: &Form, handle: &mut Handle) -> Result<(Status, u64), Error> {
    if lifecycle::cancelled() {
        return Ok((Status::Cancelled, 0));
    }
    let place = work::path("response.json");
    match work::letter(&place, ANSWER_MAX, SETTLE_MS, &mut handle.seen)? {
        Letter::None => unanswered(form, handle),
        Letter::NotYet(why) => Ok((waits(&format!("`response.json` cannot be read yet ({why})")), SOON_MS)),
        Letter::Wrong(why) => refuse(&why, handle),
        Letter::Document(document) => match form.judge(&document.value) {
            Judgement::Invalid(why) => refuse(&why, handle),
            Judgement::Valid => {
                handle.result = Some(result(&document, None));
                Ok((Status::Succeeded, 0))
            }
            Judgement::Rejected(comment) => {
                let result = result(&document, Some(&comment));
                let summary = result["summary"].as_str().unwrap_or("rejected").to_owned();
                handle.result = Some(result);
                let rejected = Status::Failed(Detail::new("rejected", summary));
                Ok((if form.rejection_is_a_result { Status::Succeeded } else { rejected }, 0))
            }
        },
    }
}

fn waits(detail: &str) -> Status {
    Status::Waiting { kind: "person".to_owned(), detail: detail.to_owned() }
}

fn refuse(why: &str, handle: &mut Handle) -> Result<(Status, u64), Error> {
    let help = "The question is still open: answer with `matterstack respond`, or write `response.json` again as \
                `schema.json` asks.";
    let note = work::set_aside(&work::path("response.json"), why, help)?;
    let set_aside = SetAside { why: shortened(why), note };
    let text = set_aside.sentence();
    handle.seen = None;
    handle.set_aside = Some(set_aside);
    Ok((waits(&text), QUIET_MS))
}

/// The beginning of a long explanation; the note in the attempt directory has all of it.
fn shortened(text: &str) -> String {
    const MOST: usize = 400;
    let cut = text.char_indices().nth(MOST).map(|(at, _)| at);
    cut.map_or_else(|| text.to_owned(), |at| format!("{}…", &text[..at]))
}

fn unanswered(form: &Form, handle: &Handle) -> Result<(Status, u64), Error> {
    let detail = handle.set_aside.as_ref().map_or_else(|| form.question(), SetAside::sentence);
    let (Some(limit_ms), Some(asked_ms)) = (form.deadline_ms, handle.asked_ms) else {
        return Ok((waits(&detail), QUIET_MS));
    };
    let waited = work::now_ms(&work::path(""))?.saturating_sub(asked_ms);
    if waited >= limit_ms {
        let text = format!("nobody answered within {} s", limit_ms as f64 / 1000.0);
        return Ok((Status::Failed(Detail::new("deadline", text)), 0));
    }
    Ok((waits(&detail), QUIET_MS.min(limit_ms - waited)))
}

/// The output document: the answer, who gave it, when, and its hash.
fn result(document: &Document, rejection: Option<&str>) -> Value {
    let sha256 = work::sha256(&document.bytes);
    let by = signature(&sha256);
    let at = by.as_ref().map_or_else(|| time(document.modified_ms), |by| by.at.clone());
    let by_hand = by.as_ref().is_none_or(|by| by.by_hand);
    let name = by
        .as_ref()
        .map_or_else(|| "in `response.json`,".to_owned(), |by| format!("by {}@{} (uid {})", by.user, by.host, by.uid));
    let who = if by_hand { format!("by hand, {name}") } else { name };
    let word = if rejection.is_some() { "rejected" } else { "answered" };
    let comment = rejection.filter(|text| !text.is_empty()).map(|text| format!(": {text}")).unwrap_or_default();
    let by = by.map(|by| json!({"user": by.user, "uid": by.uid, "host": by.host}));
    json!({
        "answer": document.value, "by": by, "by_hand": by_hand, "at": at, "sha256": sha256, "rejected": rejection.is_some(),
        "summary": format!("{word} {who} at {at}, sha256 {}{comment}", &sha256[..12]),
    })
}

/// Who gave the answer with this hash, if that is noted.
fn signature(sha256: &str) -> Option<By> {
    let letter = work::letter(&work::path("response.by.json"), 64 * 1024, 0, &mut None).ok()?;
    let Letter::Document(document) = letter else { return None };
    serde_json::from_value(document.value).ok().filter(|by: &By| by.sha256 == sha256)
}

fn time(ms: u64) -> String {
    format!("{:.3}", jiff::Timestamp::from_millisecond(ms as i64).unwrap_or_default())
}

#[cfg(test)]
mod tests;
