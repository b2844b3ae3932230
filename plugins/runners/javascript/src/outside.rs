//! What an operator answers, and what `compute` answers it, as documents.
use matterstack_sdk::{Collected, Detail, Found, Status, StatusReport, Submitted, Value, decision, json};
use serde::Deserialize;

/// Takes an answer for what it is, or says what is wrong with it.
fn read<'a, T: Deserialize<'a>>(answer: &'a Value) -> Result<T, String> {
    T::deserialize(answer).map_err(|error| error.to_string())
}

/// `{handle, external_id?}`.
pub(crate) fn submitted(answer: &Value) -> Result<Submitted, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        handle: Value,
        #[serde(default)]
        external_id: Option<String>,
    }
    let Written { handle, external_id } = read(answer)?;
    Ok(Submitted { handle: handle.to_string(), external_id })
}

/// `{found: "yes" | "no" | "unknown", …}`.
pub(crate) fn found(answer: &Value) -> Result<Found, String> {
    #[derive(Deserialize)]
    #[serde(tag = "found", rename_all = "kebab-case", deny_unknown_fields)]
    enum Written {
        Yes {
            handle: Value,
            #[serde(default)]
            external_id: Option<String>,
        },
        No {},
        Unknown {
            note: Value,
            poll_after_ms: u64,
        },
    }
    Ok(match read(answer)? {
        Written::Yes { handle, external_id } => Found::Yes(Submitted { handle: handle.to_string(), external_id }),
        Written::No {} => Found::No,
        Written::Unknown { note, poll_after_ms } => Found::Unknown { note: note.to_string(), poll_after_ms },
    })
}

/// `{status, progress? | waiting? | detail?, handle?, poll_after_ms?}`.
pub(crate) fn report(answer: &Value) -> Result<StatusReport, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        status: String,
        #[serde(default)]
        progress: Option<Value>,
        #[serde(default)]
        waiting: Option<Waiting>,
        #[serde(default)]
        detail: Option<Value>,
        #[serde(default)]
        handle: Option<Value>,
        #[serde(default)]
        poll_after_ms: Option<u64>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Waiting {
        kind: String,
        detail: String,
    }
    let Written { status, progress, waiting, detail, handle, poll_after_ms } = read(answer)?;
    let needs = |key: &str| format!("`{status}` needs `{key}`");
    let told = || detail.clone().ok_or_else(|| needs("detail")).and_then(said);
    let (made, used) = match status.as_str() {
        "queued" => (Status::Queued, ""),
        "running" => (Status::Running(progress.as_ref().map(Value::to_string)), "progress"),
        "waiting" => {
            let Waiting { kind, detail } = waiting.ok_or_else(|| needs("waiting"))?;
            (Status::Waiting { kind, detail }, "waiting")
        }
        "succeeded" => (Status::Succeeded, ""),
        "failed" => (Status::Failed(told()?), "detail"),
        "cancelled" => (Status::Cancelled, ""),
        "not-started" => (Status::NotStarted(told()?), "detail"),
        "lost" => (Status::Lost(told()?), "detail"),
        "unavailable" => (Status::Unavailable(told()?), "detail"),
        other => return Err(format!("`{other}` is no status; there are {STATUSES}")),
    };
    let parts = ["progress", "waiting", "detail"];
    match parts.into_iter().find(|part| *part != used && !answer[part].is_null()) {
        Some(part) => Err(format!("`{status}` has no `{part}`")),
        None => Ok(StatusReport { status: made, handle: handle.map(|handle| handle.to_string()), poll_after_ms }),
    }
}

const STATUSES: &str = "`queued`, `running`, `waiting`, `succeeded`, `failed`, `cancelled`, `not-started`, `lost` and \
                        `unavailable`";

fn said(detail: Value) -> Result<Detail, String> {
    decision::detail(detail).map_err(|why| format!("`detail`: {why}"))
}

/// `{output?, usage?}`, or nothing.
pub(crate) fn collected(answer: Option<&Value>) -> Result<Collected, String> {
    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields)]
    struct Written {
        #[serde(default)]
        output: Option<Value>,
        #[serde(default)]
        usage: Option<Value>,
    }
    let Written { output, usage } = answer.map_or(Ok(Written::default()), read)?;
    Ok(Collected { output: output.map(|output| output.to_string()), usage: usage.map(|usage| usage.to_string()) })
}

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// The document of a submit that took effect.
pub(crate) fn of_submitted(submitted: &Submitted) -> Value {
    let mut answer = json!({"handle": document(&submitted.handle)});
    if let Some(id) = &submitted.external_id {
        answer["external_id"] = json!(id);
    }
    answer
}

/// The document of what the outside knows of a submit key.
pub(crate) fn of_found(found: &Found) -> Value {
    match found {
        Found::Yes(submitted) => {
            let mut answer = of_submitted(submitted);
            answer["found"] = json!("yes");
            answer
        }
        Found::No => json!({"found": "no"}),
        Found::Unknown { note, poll_after_ms } => {
            json!({"found": "unknown", "note": document(note), "poll_after_ms": poll_after_ms})
        }
    }
}

/// The document of where an attempt stands.
pub(crate) fn of_report(report: &StatusReport) -> Value {
    let told = |word: &str, detail: &Detail| {
        let mut said = json!({"code": detail.code, "message": detail.message});
        if let Some(data) = &detail.data {
            said["data"] = data.clone();
        }
        json!({"status": word, "detail": said})
    };
    let mut answer = match &report.status {
        Status::Queued => json!({"status": "queued"}),
        Status::Running(None) => json!({"status": "running"}),
        Status::Running(Some(progress)) => json!({"status": "running", "progress": document(progress)}),
        Status::Waiting { kind, detail } => {
            json!({"status": "waiting", "waiting": {"kind": kind, "detail": detail}})
        }
        Status::Succeeded => json!({"status": "succeeded"}),
        Status::Failed(detail) => told("failed", detail),
        Status::Cancelled => json!({"status": "cancelled"}),
        Status::NotStarted(detail) => told("not-started", detail),
        Status::Lost(detail) => told("lost", detail),
        Status::Unavailable(detail) => told("unavailable", detail),
    };
    if let Some(handle) = &report.handle {
        answer["handle"] = document(handle);
    }
    if let Some(after) = report.poll_after_ms {
        answer["poll_after_ms"] = json!(after);
    }
    answer
}
