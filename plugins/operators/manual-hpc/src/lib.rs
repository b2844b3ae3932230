//! `builtin:manual-hpc`, the operator for clusters that the host cannot reach.
//!
//! `submit` writes a kit into the attempt directory: the folder `kit/`, and the same as `kit.tar.gz`. A person carries
//! it to the cluster and back. The attempt ends when `status.json` appears in its directory, which
//! `matterstack kit import` puts there after it has checked a return, or when `output/` holds everything that the
//! task's `outputs` name.
mod kit;
mod output;
mod script;

use kit::Kit;
use matterstack_sdk::work::{self, Letter, Seen};
use matterstack_sdk::{Attempt, Collected, Detail, Error, Found, Operator, Status, StatusReport, Submitted, lifecycle};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The largest `status.json`, in bytes.
const STATUS_MAX: u64 = 1024 * 1024;
/// When to look again while nothing has come; the host looks earlier when the directory changes.
const QUIET_MS: u64 = 30_000;
/// When to look again at what may be half of something.
const SOON_MS: u64 = 2_000;

/// The operator.
pub struct ManualHpc;

matterstack_sdk::export_operator!(ManualHpc, manifest: concat!(
    r#"{"format": 1, "name": "manual-hpc", "version": ""#,
    env!("CARGO_PKG_VERSION"),
    r#""}"#
));

/// What is remembered from one look to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Handle {
    /// What a return must repeat; `matterstack kit import` compares it.
    token: String,
    own_files: Vec<String>,
    /// `status.json` while it cannot be read.
    #[serde(default)]
    seen: Option<Seen>,
    /// `output/` while it may still grow.
    #[serde(default)]
    outputs: Option<Seen>,
    #[serde(default)]
    set_aside: Option<String>,
    /// The output document, once the kit has come back.
    #[serde(default)]
    result: Option<Value>,
}

/// `status.json`; keys that are not known are ignored.
#[derive(Debug, Deserialize)]
struct Returned {
    status: Outcome,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    data: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Completed,
    Failed,
}

impl Operator for ManualHpc {
    fn prepare(attempt: &Attempt) -> Result<Option<String>, Error> {
        Kit::of(attempt).map(|_| None)
    }

    fn submit(attempt: &Attempt) -> Result<Submitted, Error> {
        let kit = Kit::of(attempt)?;
        kit.write()?;
        submitted(&kit)
    }

    /// The archive comes last, by a rename: without it nobody has been given anything.
    fn reconcile(attempt: &Attempt) -> Result<Found, Error> {
        let kit = Kit::of(attempt)?;
        Ok(if kit.is_written() { Found::Yes(submitted(&kit)?) } else { Found::No })
    }

    fn check_status(attempt: &Attempt) -> Result<StatusReport, Error> {
        let mut handle: Handle = serde_json::from_str(attempt.handle()?)?;
        let before = handle.clone();
        let kit = Kit::of(attempt)?;
        let (status, poll_after_ms) = look(&kit, &mut handle)?;
        let handle = (handle != before).then(|| serde_json::to_string(&handle)).transpose()?;
        Ok(StatusReport { status, handle, poll_after_ms: Some(poll_after_ms) })
    }

    fn collect_results(attempt: &Attempt) -> Result<Collected, Error> {
        let handle: Handle = serde_json::from_str(attempt.handle()?)?;
        output::bring_up(&Kit::of(attempt)?)?;
        Ok(handle.result.map(|result| Collected::output(result.to_string())).unwrap_or_default())
    }

    /// Nothing here can reach the cluster: `check_status` gives the kit up, and a return of it is refused.
    fn cancel(_: &Attempt) -> Result<(), Error> {
        Ok(())
    }
}

/// A kit goes by its name outside.
fn submitted(kit: &Kit) -> Result<Submitted, Error> {
    let handle = Handle {
        token: kit.token.clone(),
        own_files: kit::OWN_FILES.map(str::to_owned).to_vec(),
        seen: None,
        outputs: None,
        set_aside: None,
        result: None,
    };
    Ok(Submitted::new(serde_json::to_string(&handle)?).known_as(&kit.name))
}

/// Looks for what came back; returns where the attempt stands and when to look again.
fn look(kit: &Kit, handle: &mut Handle) -> Result<(Status, u64), Error> {
    if lifecycle::cancelled() {
        return Ok((Status::Cancelled, 0));
    }
    match work::letter(&work::path("status.json"), STATUS_MAX, kit.settle_ms(), &mut handle.seen)? {
        Letter::None => by_files(kit, handle),
        Letter::NotYet(why) => Ok((waits(&format!("`status.json` cannot be read yet ({why})")), SOON_MS)),
        Letter::Wrong(why) => refuse(&why, handle),
        Letter::Document(document) => match serde_json::from_value::<Returned>(document.value) {
            Err(error) => refuse(&format!("it does not say how the job ended: {error}"), handle),
            Ok(returned) => by_word(kit, returned, handle),
        },
    }
}

fn waits(detail: &str) -> Status {
    Status::Waiting { kind: "kit".to_owned(), detail: detail.to_owned() }
}

/// `status.json` says how the job ended.
fn by_word(kit: &Kit, returned: Returned, handle: &mut Handle) -> Result<(Status, u64), Error> {
    if let Outcome::Failed = returned.status {
        handle.result = returned.data;
        let message = returned.error.unwrap_or_else(|| "`status.json` says that the job failed".to_owned());
        return Ok((Status::Failed(Detail::new("failed", message)), 0));
    }
    if let Some(pattern) = output::missing(kit)? {
        let text = format!("`status.json` says completed, and no file in `output/` matches `{pattern}` yet");
        return Ok((waits(&text), SOON_MS));
    }
    handle.result = returned.data;
    Ok((Status::Succeeded, 0))
}

/// Nobody says how the job ended; the files it was run for may tell.
fn by_files(kit: &Kit, handle: &mut Handle) -> Result<(Status, u64), Error> {
    let waiting = handle.set_aside.clone().unwrap_or_else(|| format!("carry `{}` to its cluster and back", kit.name));
    if kit.outputs.all().is_empty() || output::is_empty()? {
        handle.outputs = None;
        return Ok((waits(&waiting), QUIET_MS));
    }
    if let Some(pattern) = output::missing(kit)? {
        let text = format!("`output/` has files, and none of them matches `{pattern}` yet");
        return Ok((waits(&text), SOON_MS));
    }
    // A file that is being copied is there before it is whole.
    if Seen::settled(&mut handle.outputs, output::mark()?, kit.settle_ms(), &work::path(""))? {
        return Ok((Status::Succeeded, 0));
    }
    Ok((waits("`output/` holds everything; it is taken when it stops changing"), SOON_MS))
}

fn refuse(why: &str, handle: &mut Handle) -> Result<(Status, u64), Error> {
    let help = "The kit is still awaited: bring its return with `matterstack kit import`, or write `status.json` as \
                {\"status\": \"completed\"} or {\"status\": \"failed\", \"error\": \"…\"}.";
    let note = work::set_aside(&work::path("status.json"), why, help)?;
    let text = format!("`status.json` was set aside: {why} (see `{note}`)");
    handle.seen = None;
    handle.set_aside = Some(text.clone());
    Ok((waits(&text), QUIET_MS))
}

#[cfg(test)]
mod tests;
