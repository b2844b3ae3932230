//! `builtin:experiment`, the operator that hands experiments to a laboratory.
//!
//! The task's input is the experiment's parameters. `experiment_request.json` goes out, `experiment_result.json` comes
//! back: in the attempt directory, or where `grants.exchange` gives a directory, in a folder of it that is named after
//! the attempt. Both sides hand over by renaming, so that neither ever sees half of anything.
mod place;
mod result;

use matterstack_sdk::work::{self, Letter, Seen};
use matterstack_sdk::{
    Attempt, Collected, Detail, Error, Found, Operator, Status, StatusReport, Submitted, json, lifecycle,
};
use place::Place;
use result::{Outcome, Returned};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The largest result, in bytes.
const RESULT_MAX: u64 = 16 * 1024 * 1024;
/// The largest progress, in bytes.
const PROGRESS_MAX: u64 = 64 * 1024;
/// How long what may be half of something must stay the same, in milliseconds.
const SETTLE_MS: u64 = 10_000;
/// When to look again in the attempt directory; the host looks earlier when it changes.
const QUIET_MS: u64 = 60_000;
/// When to look again at what may be half of something.
const SOON_MS: u64 = 2_000;
/// When to look again in an exchange directory, of which nobody is told, in seconds.
const POLL_S: f64 = 10.0;
/// What passes between the two sides is no output of the task.
const OWN_FILES: [&str; 4] = ["experiment_*", "cancel.json", ".*", ".*/**"];

/// The operator.
pub struct Experiment;

matterstack_sdk::export_operator!(Experiment, manifest: concat!(
    r#"{"format": 1, "name": "experiment", "version": ""#,
    env!("CARGO_PKG_VERSION"),
    r#""}"#
));

/// `operators.<key>.config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    poll_s: Option<f64>,
}

/// What an experiment needs of its task.
#[derive(Debug, Deserialize)]
struct Task {
    id: String,
    #[serde(default)]
    input: Value,
    #[serde(default)]
    files: Map<String, Value>,
}

/// What is remembered from one look to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Handle {
    own_files: Vec<String>,
    /// Whether it was handed to an exchange directory.
    exchange: bool,
    #[serde(default)]
    seen: Option<Seen>,
    #[serde(default)]
    set_aside: Option<String>,
    /// The output document, once there is a result.
    #[serde(default)]
    result: Option<Value>,
}

impl Operator for Experiment {
    fn prepare(attempt: &Attempt) -> Result<Option<String>, Error> {
        config(attempt)?;
        let request = serde_json::to_string_pretty(&request(attempt)?)? + "\n";
        work::write(&work::path("experiment_request.json"), request.as_bytes())?;
        Ok(None)
    }

    fn submit(attempt: &Attempt) -> Result<Submitted, Error> {
        let place = Place::of(attempt, place::is_granted());
        let files: Vec<String> = attempt.task::<Task>()?.files.into_iter().map(|(path, _)| path).collect();
        place.hand_over(&files)?;
        submitted(attempt, &place)
    }

    fn reconcile(attempt: &Attempt) -> Result<Found, Error> {
        let place = Place::of(attempt, place::is_granted());
        Ok(if place.was_handed_over()? { Found::Yes(submitted(attempt, &place)?) } else { Found::No })
    }

    fn check_status(attempt: &Attempt) -> Result<StatusReport, Error> {
        let mut handle: Handle = serde_json::from_str(attempt.handle()?)?;
        let before = handle.clone();
        let place = Place::of(attempt, handle.exchange);
        if let Some(why) = place.trouble() {
            let status = Status::Unavailable(Detail::new("exchange", why));
            return Ok(StatusReport { status, handle: None, poll_after_ms: Some(poll_ms(attempt)?) });
        }
        let (status, poll_after_ms) = look(attempt, &place, &mut handle)?;
        let poll_after_ms = if handle.exchange { poll_after_ms.min(poll_ms(attempt)?) } else { poll_after_ms };
        let handle = (handle != before).then(|| serde_json::to_string(&handle)).transpose()?;
        Ok(StatusReport { status, handle, poll_after_ms: Some(poll_after_ms) })
    }

    fn collect_results(attempt: &Attempt) -> Result<Collected, Error> {
        let handle: Handle = serde_json::from_str(attempt.handle()?)?;
        Ok(handle.result.map(|result| Collected::output(result.to_string())).unwrap_or_default())
    }

    /// Leaves `cancel.json` where the robot looks; `check_status` tells when the robot has stopped.
    fn cancel(attempt: &Attempt) -> Result<(), Error> {
        let handle: Handle = serde_json::from_str(attempt.handle()?)?;
        let place = Place::of(attempt, handle.exchange);
        let text = json!({"attempt": attempt.attempt_id, "token": attempt.token()}).to_string() + "\n";
        work::write(&place.path("cancel.json"), text.as_bytes())
    }
}

fn config(attempt: &Attempt) -> Result<Config, Error> {
    match attempt.config.as_str() {
        "" | "null" => Ok(Config::default()),
        _ => attempt.config(),
    }
}

fn poll_ms(attempt: &Attempt) -> Result<u64, Error> {
    Ok((config(attempt)?.poll_s.unwrap_or(POLL_S).max(0.0) * 1000.0) as u64)
}

/// What the laboratory is asked for.
fn request(attempt: &Attempt) -> Result<Value, Error> {
    let task: Task = attempt.task()?;
    if !task.input.is_object() {
        return Err(Error::invalid(
            "no-parameters",
            "the task's `input` must be an object: the experiment's parameters",
        ));
    }
    let reserved = |name: &str| name.starts_with("experiment_") || name.starts_with('.') || name == "cancel.json";
    work::refuse_reserved(task.files.keys(), reserved)?;
    let mut files = Vec::with_capacity(task.files.len());
    for (path, _) in task.files {
        let hashed = work::copy_hashed(&work::path(&path), &mut std::io::sink());
        let (sha256, size) = hashed.map_err(|error| work::failed("read", &work::path(&path), &error))?;
        files.push(json!({"path": path, "sha256": sha256, "size": size}));
    }
    Ok(json!({
        "format": "matterstack-experiment-1", "run": attempt.run_id, "task": task.id, "attempt": attempt.attempt_id,
        "number": attempt.number, "token": attempt.token(), "parameters": task.input, "files": files,
    }))
}

/// The laboratory knows an experiment by its attempt's id: it stands in the request, and names the folder.
fn submitted(attempt: &Attempt, place: &Place) -> Result<Submitted, Error> {
    let handle = Handle {
        own_files: OWN_FILES.map(str::to_owned).to_vec(),
        exchange: place.is_exchange(),
        seen: None,
        set_aside: None,
        result: None,
    };
    Ok(Submitted::new(serde_json::to_string(&handle)?).known_as(&attempt.attempt_id))
}

fn waits(detail: &str) -> Status {
    Status::Waiting { kind: "instrument".to_owned(), detail: detail.to_owned() }
}

/// Looks for a result; returns where the attempt stands and when to look again.
fn look(attempt: &Attempt, place: &Place, handle: &mut Handle) -> Result<(Status, u64), Error> {
    match work::letter(&place.path("experiment_result.json"), RESULT_MAX, SETTLE_MS, &mut handle.seen)? {
        Letter::None => unanswered(place, handle),
        Letter::NotYet(why) => Ok((waits(&format!("`experiment_result.json` cannot be read yet ({why})")), SOON_MS)),
        Letter::Wrong(why) => refuse(place, &why, handle),
        Letter::Document(document) => match Returned::read(document.value, &attempt.token()) {
            Err(why) => refuse(place, &why, handle),
            Ok(returned) => take(place, returned, handle),
        },
    }
}

fn take(place: &Place, returned: Returned, handle: &mut Handle) -> Result<(Status, u64), Error> {
    if let Err(not_yet) = place.fetch(&returned.files)? {
        let status = if not_yet.moving {
            Status::Running(Some(json!({"fetching": not_yet.what}).to_string()))
        } else {
            waits(&not_yet.what)
        };
        return Ok((status, if not_yet.moving { 0 } else { SOON_MS }));
    }
    handle.result = returned.data;
    Ok(match returned.status {
        Outcome::Completed => (Status::Succeeded, 0),
        Outcome::Failed => {
            let message = returned.error.unwrap_or_else(|| "the laboratory says that the experiment failed".to_owned());
            (Status::Failed(Detail::new("failed", message)), 0)
        }
        Outcome::Cancelled if lifecycle::cancelled() => (Status::Cancelled, 0),
        Outcome::Cancelled => (Status::Failed(Detail::new("stopped", "the laboratory stopped the experiment")), 0),
    })
}

fn unanswered(place: &Place, handle: &Handle) -> Result<(Status, u64), Error> {
    if lifecycle::cancelled() {
        let text = "asked to stop (`cancel.json`); the laboratory has not said yet that it did";
        return Ok((waits(text), SOON_MS));
    }
    let progress = work::letter(&place.path("experiment_progress.json"), PROGRESS_MAX, SETTLE_MS, &mut None)?;
    if let Letter::Document(progress) = progress {
        return Ok((Status::Running(Some(progress.value.to_string())), QUIET_MS));
    }
    let asked = "the laboratory has `experiment_request.json`; its `experiment_result.json` is awaited";
    Ok((waits(handle.set_aside.as_deref().unwrap_or(asked)), QUIET_MS))
}

fn refuse(place: &Place, why: &str, handle: &mut Handle) -> Result<(Status, u64), Error> {
    let help = "The result is still awaited: write `experiment_result.json` under another name and rename it, with the `token` \
                of `experiment_request.json` and the `status` completed, failed or cancelled.";
    let note = work::set_aside(&place.path("experiment_result.json"), why, help)?;
    let text = format!("a result was set aside: {why} (see `{note}`)");
    handle.seen = None;
    handle.set_aside = Some(text.clone());
    Ok((waits(&text), QUIET_MS))
}

#[cfg(test)]
mod tests;
