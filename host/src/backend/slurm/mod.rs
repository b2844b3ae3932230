//! Jobs of a Slurm cluster: arrays of wrappers that claim attempts, one look at the queue for all of them.
//!
//! What a tick submits is collected and handed to `sbatch` by `SlurmBackend::sync`, one array for all jobs that need
//! the same. Before that the array's list of attempts is on the disk, and every attempt has a job script that names the
//! array and its index; so a crash leaves either nothing or something that can be looked up by name. What runs a command
//! is decided in the attempt directory alone: whoever makes `.claim` there. A job that the cluster lost, started twice or
//! finds again later cannot start a command that another one claimed, or that the host has fenced by the same claim.
mod accounts;
mod batch;
mod client;
mod ledger;
mod poll;
mod script;
mod site;
mod state;
mod submit;

pub use poll::SharedQueue;
pub use script::{TEMPLATE_VARIABLES, check_template};
pub(super) use site::ran_behind;

use super::JobKey;
use super::exit::{ExitRecord, read_exit};
use super::transport::Transport;
use crate::ground::files::read_regular;
use crate::model::config::SlurmConfig;
use crate::model::contract::{Detail, Found, GuestError, Status, StatusReport};
use crate::model::document::hex;
use batch::Batches;
use ledger::{Doubt, Element, Job, Ledger};
use serde::{Deserialize, Serialize};
use state::{End, Stage, UNSEEN};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A change is told by [`super::Backends::changes`]; this is only a safety net.
const POLL_AFTER_MS: u64 = 300_000;
/// In the attempt directory: a person wants the job stopped.
const CANCEL: &str = ".cancel";
/// The longest claim that is read, in bytes.
const OWNER_MAX: u64 = 4096;
/// When a job that a person wants stopped, and that lives on, is stopped again.
const TELL_AGAIN: Duration = Duration::from_secs(30);
/// When to ask again while the cluster does not answer.
const SILENT_MS: u64 = 10_000;

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn fresh_token() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(batch::token(&hex(&bytes)))
}

/// One Slurm backend of one run, as ticks see it.
#[derive(Debug)]
pub struct SlurmBackend {
    /// The run; its attempts lie below it.
    run: PathBuf,
    run_id: String,
    settings: SlurmConfig,
    transport: Arc<dyn Transport>,
    queue: Arc<SharedQueue>,
    state: Mutex<Client>,
}

#[derive(Debug)]
struct Client {
    ledger: Ledger,
    batches: Batches,
    waiting: Vec<submit::Group>,
    /// Jobs that are to be stopped: array names and job ids.
    cancels: BTreeSet<(String, String)>,
    accounts: accounts::Accounts,
    far: site::Far,
    /// The number of the last change that the tick had made something of when this process began to look.
    seen: u64,
}

/// What a submit returns; with the job's id once it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Handle {
    batch: String,
    index: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
}

impl Handle {
    /// Reads a handle, which a plugin may have spoilt: the name of its array becomes part of paths.
    fn parse(text: &str) -> Result<Self, GuestError> {
        let wrong =
            |why: String| GuestError::Invalid(Detail::new("handle", format!("not a handle of a Slurm job: {why}")));
        let handle: Self = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if !batch::is_token(&handle.batch) {
            return Err(wrong(format!("`{}` names no array", handle.batch.escape_default())));
        }
        Ok(handle)
    }

    /// The job that it names, unless that is another attempt's.
    fn element_of(&self, client: &mut Client, key: JobKey<'_>) -> Result<Element, GuestError> {
        let element = self.element();
        match client.batches.member(&element) {
            Some(member) if member.attempt != key.attempt_id.as_str() => {
                Err(GuestError::Invalid(Detail::new("handle", "it is the handle of another attempt's job")))
            }
            _ => Ok(element),
        }
    }

    fn of(element: &Element, id: Option<String>) -> Self {
        Self { batch: element.batch.clone(), index: element.index, external_id: id.filter(|id| !id.is_empty()) }
    }

    fn text(&self) -> Result<String, GuestError> {
        serde_json::to_string(self).map_err(|error| unavailable(&error.into()))
    }

    fn element(&self) -> Element {
        Element { batch: self.batch.clone(), index: self.index }
    }
}

impl SlurmBackend {
    /// The backend `name` of the run with this directory and id, reached by this transport; `queue` is shared with the others that
    /// go to the same cluster as the same user.
    pub fn new(
        (run, run_id): (&Path, &str),
        name: &str,
        settings: SlurmConfig,
        transport: Arc<dyn Transport>,
        queue: Arc<SharedQueue>,
    ) -> Self {
        let directory = run.join("backends").join(name);
        let client = Client {
            ledger: Ledger::new(directory.join("queue.jsonl")),
            batches: Batches::new(directory.join("arrays")),
            waiting: Vec::new(),
            cancels: BTreeSet::new(),
            accounts: accounts::Accounts::default(),
            far: site::Far::default(),
            seen: 0,
        };
        Self { run: run.to_owned(), run_id: run_id.to_owned(), settings, transport, queue, state: Mutex::new(client) }
    }

    fn client(&self) -> MutexGuard<'_, Client> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue that it looks at.
    pub(super) fn queue(&self) -> &Arc<SharedQueue> {
        &self.queue
    }

    /// Whether another backend with these settings goes to the same cluster as the same user.
    pub(super) fn goes_where(&self, other: &SlurmConfig) -> bool {
        self.settings.ssh == other.ssh
    }

    /// The shortest time between two polls.
    pub(super) fn poll_interval(&self) -> Duration {
        Duration::from_secs_f64(self.settings.poll_interval_s)
    }

    /// How long something must be absent before it counts as absent, in milliseconds.
    pub(super) fn grace_ms(&self) -> i64 {
        Duration::from_secs_f64(self.settings.grace_s).as_millis() as i64
    }

    pub(super) fn status(&self, key: JobKey<'_>, handle: &str) -> Result<StatusReport, GuestError> {
        let handle = Handle::parse(handle)?;
        let mut client = self.client();
        client.ledger.refresh().and_then(|()| client.ledger.load()).map_err(|error| unavailable(&error))?;
        let mut element = handle.element_of(&mut client, key)?;
        if let Err(error) = self.fetch_if_over(&mut client, key, &element) {
            return Ok(cannot_fetch(error.detail().clone()));
        }
        if let Some(why) = self.fetch_trouble(&client, key.attempt_id.as_str()) {
            return Ok(cannot_fetch(Detail::new("fetch", why)));
        }
        let record = read_exit(key.directory, key.attempt_id.as_str());
        if record.is_none()
            && let Some(owner) = read_owner(key.directory)
        {
            element = owner;
        }
        let now = now_ms();
        if client.ledger.job(&element).is_none() {
            client.ledger.expect(element.clone(), handle.external_id.clone().unwrap_or_default(), now);
            if client.ledger.head.open == 0 {
                // the first one makes ticks look at the queue, which tells of the others
                client.ledger.save().map_err(|error| unavailable(&error))?;
            }
        }
        let job = client.ledger.job(&element).cloned();
        let Some(job) = job else { return Err(unavailable(&io::Error::other("bug: a job just noted is not known"))) };
        let newer =
            Handle::of(&element, Some(job.id.clone()).filter(|id| !id.is_empty()).or(handle.external_id.clone()));
        let newer = (newer != handle).then(|| newer.text()).transpose()?;
        let (status, after) = match record {
            Some(record) => {
                let (status, after) = self.with_record(&client, &record, &job, now);
                if !matches!(status, Status::Running(_)) && matches!(job.stage(), Stage::Queued | Stage::Stuck) {
                    // it would only find the claim; if this is not heard, it does
                    client.cancels.insert((element.batch.clone(), job.id.clone()));
                }
                (status, after)
            }
            None => self.without_record(&mut client, key, &element, &job, now)?,
        };
        self.stop_again(&mut client, key, &element, &job, &status);
        Ok(StatusReport { status, handle: newer, poll_after_ms: Some(after) })
    }

    /// A job that left an exit record. The verdict waits for the scheduler's last word, which may contradict the record or
    /// tell what killed the command; not for ever, since the scheduler may have forgotten the job.
    fn with_record(&self, client: &Client, record: &ExitRecord, job: &Job, now: i64) -> (Status, u64) {
        let stage = job.stage();
        let open = !matches!(stage, Stage::Ended(_) | Stage::Gone);
        let ended = record.ended_at.parse::<jiff::Timestamp>().map_or(now, jiff::Timestamp::as_millisecond);
        let interval = self.poll_interval().as_millis() as i64;
        // a clock ahead of ours must not make the wait longer
        let patience = interval.saturating_mul(2).max(self.grace_ms());
        let waited = now.saturating_sub(ended.min(now));
        let heard = client.ledger.head.silent.is_none();
        if open && waited < patience && (heard || waited < interval) {
            return (Status::Running(None), interval.clamp(100, 60_000) as u64);
        }
        (state::with_record(record, stage), POLL_AFTER_MS)
    }

    fn without_record(
        &self,
        client: &mut Client,
        key: JobKey<'_>,
        element: &Element,
        job: &Job,
        now: i64,
    ) -> Result<(Status, u64), GuestError> {
        let stage = job.stage();
        let open = !matches!(stage, Stage::Ended(_) | Stage::Gone);
        if let Some(silence) = client.ledger.head.silent.as_ref().filter(|_| open || stage == Stage::Gone) {
            let text = format!("the cluster does not answer: {silence}");
            return Ok((Status::Unavailable(Detail::new("cluster-silent", text)), SILENT_MS));
        }
        let grace = self.grace_ms();
        let settled = now.saturating_sub(job.since_ms) >= grace;
        Ok(match stage {
            Stage::Queued => (Status::Queued, POLL_AFTER_MS),
            Stage::Running => (Status::Running(None), POLL_AFTER_MS),
            Stage::Stuck => (state::held_back(&job.id, &job.reason), POLL_AFTER_MS),
            Stage::Unknown => (state::of_unknown_word(&job.id, &job.word), POLL_AFTER_MS),
            Stage::Ended(_) if !settled => (Status::Running(None), grace.max(50) as u64),
            Stage::Ended(_) => (self.judge(client, key, &element.batch, stage, &job.reason)?, POLL_AFTER_MS),
            Stage::Gone => self.forgotten(client, key, element, job, now)?,
        })
    }

    /// Decides over a job that is over and left no exit record, once nothing can start its command any more.
    fn judge(
        &self,
        client: &mut Client,
        key: JobKey<'_>,
        batch: &str,
        stage: Stage,
        reason: &str,
    ) -> Result<Status, GuestError> {
        let started = match self.fence_there(client, key, batch)? {
            Some(fenced) => !fenced,
            None => !fence(key.directory).map_err(|error| unavailable(&error))?,
        };
        // the record may have come while we looked
        match read_exit(key.directory, key.attempt_id.as_str()) {
            Some(record) => Ok(state::with_record(&record, stage)),
            // a pending element of an array leaves no trace in the queue when it is stopped
            None if !started && key.directory.join(CANCEL).exists() => Ok(Status::Cancelled),
            None if started && stage == Stage::Ended(End::Failed) && ran_out_of_memory(client, key, batch) => {
                Ok(state::without_record(Stage::Ended(End::OutOfMemory), reason, started))
            }
            None => Ok(state::without_record(stage, reason, started)),
        }
    }

    pub(super) fn find(&self, key: JobKey<'_>) -> Result<Found, GuestError> {
        let mut client = self.client();
        let failed = |error: io::Error| unavailable(&error);
        client.ledger.refresh().and_then(|()| client.ledger.load()).map_err(failed)?;
        let element = match script::ticket_in(key.directory) {
            Some((batch, index)) => Some(Element { batch, index }),
            None => client.batches.find(key.attempt_id.as_str()).map_err(failed)?,
        };
        let Some(element) = element.filter(|element| client.batches.member(element).is_some()) else {
            return Ok(Found::No);
        };
        let yes = |element: &Element, id: Option<String>| Handle::of(element, id).text().map(Found::Yes);
        if let Err(error) = self.look(&mut client, key, &element) {
            return Ok(undecided(&error.detail().message, self.poll_interval().as_millis() as i64));
        }
        if let Some(owner) = read_owner(key.directory) {
            return yes(&owner, client.ledger.job(&owner).map(|job| job.id.clone()));
        }
        if read_exit(key.directory, key.attempt_id.as_str()).is_some() || key.directory.join(script::CLAIM).exists() {
            return yes(&element, None);
        }
        let now = now_ms();
        if !known(&client, &element) {
            client
                .ledger
                .head
                .doubts
                .entry(element.batch.clone())
                .or_insert(Doubt { since_ms: now, answered_ms: None });
            client.ledger.touch();
            let seen = client.seen;
            self.poll(&mut client, seen, now).map_err(failed)?;
        }
        if known(&client, &element) {
            client.ledger.save().map_err(failed)?;
            return yes(&element, client.ledger.job(&element).map(|job| job.id.clone()));
        }
        let answer = self.not_found(&mut client, key, &element)?;
        client.ledger.save().map_err(failed)?;
        Ok(answer)
    }

    /// What it means that the queue does not show a submit whose answer was lost.
    fn not_found(&self, client: &mut Client, key: JobKey<'_>, element: &Element) -> Result<Found, GuestError> {
        let head = &client.ledger.head;
        let unknown = |message: &str, after: i64| Ok(undecided(message, after));
        let interval = self.poll_interval().as_millis() as i64;
        if let Some(silence) = &head.silent {
            return unknown(&format!("the cluster does not answer: {silence}"), interval);
        }
        let Some(doubt) = head.doubts.get(&element.batch) else { return unknown("to be looked for", interval) };
        match doubt.answered_ms {
            Some(absent) if head.answered_ms >= absent.saturating_add(self.grace_ms()) => {
                // a job that comes to light after all finds no script that wants it
                self.unwant_there(key.attempt_id.as_str())?;
                remove(&key.directory.join(script::JOB_SCRIPT)).map_err(|error| unavailable(&error))?;
                Ok(Found::No)
            }
            Some(absent) => {
                let left = absent.saturating_add(self.grace_ms()).saturating_sub(head.answered_ms);
                unknown("the queue does not show it; it is looked for once more", left.max(interval))
            }
            None => unknown("the queue has not been seen since", interval),
        }
    }

    pub(super) fn collect(&self, key: JobKey<'_>, handle: &str) -> Result<String, GuestError> {
        let mut client = self.client();
        let element = Handle::parse(handle)?.element_of(&mut client, key)?;
        self.fetch_if_over(&mut client, key, &element)?;
        drop(client);
        let record = read_exit(key.directory, key.attempt_id.as_str()).ok_or_else(|| {
            // the verdict has been given, and none will come any more
            GuestError::Other(Detail::new("no-exit-record", "the job has left no exit record"))
        })?;
        serde_json::to_string(&record).map_err(|error| unavailable(&error.into()))
    }

    pub(super) fn cancel(&self, key: JobKey<'_>, handle: &str) -> Result<(), GuestError> {
        let handle = Handle::parse(handle)?;
        let mut client = self.client();
        client.ledger.refresh().and_then(|()| client.ledger.load()).map_err(|error| unavailable(&error))?;
        let element = handle.element_of(&mut client, key)?;
        // told again by the next status if this process dies before it has told
        mark_cancelled(key.directory).map_err(|error| unavailable(&error))?;
        let id = client.ledger.job(&element).map(|job| job.id.clone()).filter(|id| !id.is_empty());
        let id = id.or(handle.external_id).unwrap_or_default();
        client.cancels.insert((element.batch, id));
        Ok(())
    }

    /// Tells the cluster once more to stop a job that a person wants stopped and that still lives.
    fn stop_again(&self, client: &mut Client, key: JobKey<'_>, element: &Element, job: &Job, status: &Status) {
        let lives = matches!(status, Status::Queued | Status::Running(_) | Status::Waiting(..));
        if !lives || job.word == UNSEEN {
            return;
        }
        let told = fs::symlink_metadata(key.directory.join(CANCEL)).and_then(|metadata| metadata.modified());
        // a clock that was set back has told long ago
        let due = told.is_ok_and(|told| told.elapsed().map_or(true, |age| age > TELL_AGAIN));
        if due && mark_cancelled(key.directory).is_ok() {
            client.cancels.insert((element.batch.clone(), job.id.clone()));
        }
    }
}

fn undecided(message: &str, after: i64) -> Found {
    Found::Unknown(serde_json::json!({ "message": message }).to_string(), after.max(50) as u64)
}

/// The job is over, and what it left is not here: no verdict yet.
fn cannot_fetch(detail: Detail) -> StatusReport {
    let text = format!("the results are not fetched yet: {}", detail.message);
    let status = Status::Unavailable(Detail::new(&detail.code, text));
    StatusReport { status, handle: None, poll_after_ms: Some(SILENT_MS) }
}

/// Whether the queue or `sbatch` itself has told of a job.
fn known(client: &Client, element: &Element) -> bool {
    client.ledger.job(element).is_some_and(|job| job.stage() != Stage::Gone)
}

/// Sees to it that nothing can start the attempt's command from now on. Returns whether nothing has: whoever made the
/// claim decides, and the host's own is marked.
fn fence(directory: &Path) -> io::Result<bool> {
    let claim = directory.join(script::CLAIM);
    match fs::create_dir(&claim) {
        Ok(()) => {
            fs::write(claim.join("fenced"), "")?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(claim.join("fenced").exists()),
        // nothing can enter a directory that is gone, but a job may have before somebody removed it
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether Slurm's own messages say that the job which claimed the attempt was killed for its memory: without cgroups no
/// state word does.
fn ran_out_of_memory(client: &Client, key: JobKey<'_>, batch: &str) -> bool {
    let owner = owner_text(key.directory).unwrap_or_default();
    let Some(id) = owner.split(' ').nth(2) else { return false };
    let log = fs::read(client.batches.log_path(batch)).unwrap_or_default();
    let (step, job) = (format!("StepId={id}."), format!("JOB {id} "));
    String::from_utf8_lossy(&log).lines().any(|line| {
        (line.contains(&step) || line.contains(&job))
            && ["exceeded memory limit", "oom-kill", "oom_kill"].iter().any(|word| line.contains(word))
    })
}

/// What the job that claimed an attempt says of itself; the job can put anything in its place.
fn owner_text(directory: &Path) -> Option<String> {
    let bytes = read_regular(&directory.join(script::CLAIM).join("owner"), OWNER_MAX).ok()??;
    String::from_utf8(bytes).ok()
}

/// Notes that a person wants the job stopped. What the job has put in the note's place is neither followed nor waited for.
fn mark_cancelled(directory: &Path) -> io::Result<()> {
    let marker = directory.join(CANCEL);
    if fs::symlink_metadata(&marker).is_ok_and(|found| found.is_dir()) {
        fs::remove_dir_all(&marker)?;
    }
    remove(&marker)?;
    fs::OpenOptions::new().write(true).create_new(true).open(&marker).map(drop)
}

/// The job that claimed an attempt.
fn read_owner(directory: &Path) -> Option<Element> {
    let text = owner_text(directory)?;
    let mut words = text.split(' ');
    let (batch, index) = (words.next()?, words.next()?.parse().ok()?);
    batch::is_token(batch).then(|| Element { batch: batch.to_owned(), index })
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn unavailable(error: &io::Error) -> GuestError {
    GuestError::Transient(
        Detail::new("slurm-backend", format!("cannot use the files of the Slurm backend: {error}")),
        None,
    )
}
