//! Jobs on this machine: ticks append to a queue, a small supervisor process per run starts the jobs and writes a journal.
//!
//! Both stand in `backends/<name>/<machine>` of the run, so machines that share the directory never mix. Nothing here
//! waits for a job. A crash of a tick leaves at worst a job in the queue that `find` reports; a crash of the supervisor
//! leaves claims from which the next supervisor tells what may still start and what is lost.
mod index;
mod job;
mod journal;
mod lock;
mod record;
mod running;
mod supervisor;

pub use job::INHERITED;
pub use lock::{StoppedSupervisor, stopped_supervisor};
pub use supervisor::supervise;

use super::JobKey;
use super::job::JobDocument;
use crate::ground::failpoint;
use crate::ground::files::read_regular;
use crate::ground::machine;
use crate::model::contract::{Detail, Found, GuestError, Status, StatusReport};
use crate::model::id::AttemptId;
use index::{Index, State};
use record::{Job, Order, Process, TORN, ends_whole, line, open_own, settled_at};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many submitted jobs are handed to the supervisor before the batch is complete.
const FLUSH_AT_BYTES: usize = 16 * 1024;
/// A change is told by [`super::Backends::changes`]; this is only a safety net.
const POLL_AFTER_MS: u64 = 600_000;

/// `backends.<name>` of the kind `local`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalSettings {
    /// How many cores jobs may take together.
    pub slots: u32,
}

/// One local backend of one run, as ticks see it.
#[derive(Debug)]
pub struct LocalBackend {
    run: PathBuf,
    directory: PathBuf,
    settings: LocalSettings,
    state: Mutex<Client>,
}

#[derive(Debug, Default)]
struct Client {
    buffered: Vec<u8>,
    /// Handed in by this process and not collected yet.
    submitted: std::collections::HashSet<String>,
    unsynced: bool,
    slots_told: bool,
    index: Index,
}

/// What a submit returns; with the process once it runs.
#[derive(Debug, Serialize, Deserialize)]
struct Handle {
    backend: String,
    machine: String,
    host: String,
    boot: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<Process>,
}

/// Where the files of a backend lie that are of this machine.
fn directory_of(run: &Path, backend: &str) -> PathBuf {
    let machine = machine::machine_id();
    run.join("backends").join(backend).join(machine.get(..12).unwrap_or(machine))
}

impl LocalBackend {
    pub(super) fn new(run: &Path, name: &str, settings: LocalSettings) -> Self {
        let directory = directory_of(run, name);
        Self { run: run.to_owned(), directory, settings, state: Mutex::new(Client::default()) }
    }

    fn client(&self) -> MutexGuard<'_, Client> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn submit(&self, key: JobKey<'_>, job: &str) -> Result<String, GuestError> {
        let job = self.job(key, job)?;
        let handle = self.handle(None)?;
        let mut client = self.client();
        // the same key again, or one that has ended already, is the same job; who left `exit.json` only the journal tells
        let left = fs::symlink_metadata(key.directory.join("exit.json")).is_ok();
        let known = left && self.look_up(&mut client, &job.attempt).map_err(|error| unavailable(&error))?.is_some();
        if known || !client.submitted.insert(job.attempt.clone()) {
            return Ok(handle);
        }
        let order = line(&Order::Submit(job)).map_err(|error| unavailable(&error))?;
        client.buffered.extend(order);
        if client.buffered.len() >= FLUSH_AT_BYTES {
            self.flush(&mut client).map_err(|error| {
                GuestError::Ambiguous(Detail::new("queue", format!("cannot write the queue: {error}")))
            })?;
        }
        Ok(handle)
    }

    fn job(&self, key: JobKey<'_>, job: &str) -> Result<Job, GuestError> {
        let mut job = JobDocument::parse(job)?;
        let directory = key.directory.strip_prefix(&self.run).ok().and_then(Path::to_str);
        let directory = directory
            .ok_or_else(|| GuestError::Invalid(Detail::new("job", "the attempt directory is not inside the run")))?;
        Ok(Job {
            attempt: key.attempt_id.as_str().to_owned(),
            directory: directory.to_owned(),
            command: job.launched(),
            env: job.env,
            walltime_s: job.resources.walltime_s,
            signal_before_s: job.resources.signal_before_s,
            cores: job.resources.cores.filter(|cores| *cores > 1),
        })
    }

    fn handle(&self, process: Option<Process>) -> Result<String, GuestError> {
        let handle = Handle {
            backend: "local".to_owned(),
            machine: machine::machine_id().to_owned(),
            host: machine::host_name(),
            boot: machine::boot_id().map_err(|error| unavailable(&error))?,
            process,
        };
        serde_json::to_string(&handle).map_err(|error| unavailable(&error.into()))
    }

    /// Appends what is buffered to the queue, whole, under the queue's lock.
    fn flush(&self, client: &mut Client) -> io::Result<()> {
        if client.buffered.is_empty() {
            return Ok(());
        }
        failpoint::hit("local.queue-append");
        if !client.slots_told {
            self.tell_slots(client)?;
        }
        let mut queue = self.open("queue")?;
        queue.lock()?;
        if !ends_whole(&queue)? {
            queue.write_all(TORN)?;
        }
        // kept if it fails: a supervisor takes each attempt once, so it may be written again
        queue.write_all(&client.buffered)?;
        queue.unlock()?;
        client.buffered.clear();
        client.unsynced = true;
        Ok(())
    }

    /// Lets the supervisor know when the configured slots have changed.
    fn tell_slots(&self, client: &mut Client) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let path = self.directory.join("slots");
        let slots = self.settings.slots.to_string();
        if read_regular(&path, 64).ok().flatten().as_deref() != Some(slots.as_bytes()) {
            let temporary = self.directory.join(".slots.tmp");
            open_own(OpenOptions::new().write(true).create(true).truncate(true), &temporary)?
                .write_all(slots.as_bytes())?;
            fs::rename(&temporary, &path)?;
            let order = line(&Order::Slots { slots: self.settings.slots })?;
            client.buffered.splice(0..0, order);
        }
        client.slots_told = true;
        Ok(())
    }

    fn open(&self, name: &str) -> io::Result<File> {
        let path = self.directory.join(name);
        let open = || open_own(OpenOptions::new().read(true).append(true).create(true), &path);
        open().or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            fs::create_dir_all(&self.directory)?;
            open()
        })
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        let mut client = self.client();
        self.flush(&mut client)?;
        if client.unsynced {
            self.open("queue")?.sync_data()?;
            client.unsynced = false;
        }
        Ok(())
    }

    pub(super) fn ensure(&self, program: &Path, anything_live: bool) -> io::Result<()> {
        let mut client = self.client();
        self.flush(&mut client)?;
        if !anything_live && client.submitted.is_empty() {
            return Ok(());
        }
        let Some(queue) = existing(&self.directory.join("queue"))? else { return Ok(()) };
        if !client.slots_told {
            self.tell_slots(&mut client)?;
            self.flush(&mut client)?;
        }
        let settled = match existing(&self.directory.join("journal"))? {
            Some(journal) => settled_at(&journal)?,
            None => Some(0),
        };
        if settled == Some(queue.metadata()?.len()) {
            return Ok(());
        }
        let lock = self.open(lock::NAME)?;
        if lock.try_lock().is_err() {
            return Ok(());
        }
        drop(lock);
        self.start_supervisor(program)
    }

    fn start_supervisor(&self, program: &Path) -> io::Result<()> {
        let mut command = std::process::Command::new(program);
        command.arg("__supervise").arg(&self.directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("program `{}`: {error}", program.display()));
        let mut child = command.arg0("matterstack").spawn().map_err(named)?;
        // a `loop` lives for weeks and must not keep a zombie; a shorter process leaves the waiting to init
        std::thread::Builder::new().stack_size(32 * 1024).spawn(move || child.wait())?;
        Ok(())
    }

    pub(super) fn watch_path(&self) -> io::Result<PathBuf> {
        self.open("wake")?;
        Ok(self.directory.join("wake"))
    }

    pub(super) fn changes(&self, cursor: Option<&str>) -> io::Result<(Vec<AttemptId>, String)> {
        // after a power failure the journal may be shorter than a cursor says, so a cursor holds for one boot
        let prefix = format!("{}:{}:", machine::machine_id(), machine::boot_id()?);
        let from = cursor.and_then(|cursor| cursor.strip_prefix(&prefix)?.parse().ok()).unwrap_or(0);
        let mut client = self.client();
        let journal = existing(&self.directory.join("journal"))?;
        let attempts = client.index.changes(journal.as_ref(), from)?;
        Ok((attempts.into_iter().map(AttemptId).collect(), format!("{prefix}{}", client.index.offset())))
    }

    pub(super) fn find(&self, key: JobKey<'_>) -> Result<Found, GuestError> {
        let attempt = key.attempt_id.as_str();
        let mut client = self.client();
        let known = client.submitted.contains(attempt)
            || self.look_up(&mut client, attempt).map_err(|error| unavailable(&error))?.is_some();
        Ok(if known { Found::Yes(self.handle(None)?) } else { Found::No })
    }

    /// Where an attempt stands that this process knows nothing of, or no more: for what the tail does not answer. Reads the
    /// whole journal and queue, once for all attempts.
    fn look_up(&self, client: &mut Client, attempt: &str) -> io::Result<Option<State>> {
        if !client.index.holds(attempt) {
            let journal = existing(&self.directory.join("journal"))?;
            let queue = existing(&self.directory.join("queue"))?;
            client.index.read_all(journal.as_ref(), queue.as_ref())?;
        }
        Ok(client.index.get(attempt).cloned())
    }

    pub(super) fn status(&self, key: JobKey<'_>, handle: &str) -> Result<StatusReport, GuestError> {
        let given = parse_handle(handle)?;
        let attempt = key.attempt_id.as_str();
        let report = |status, handle| StatusReport { status, handle, poll_after_ms: Some(POLL_AFTER_MS) };
        if given.machine != machine::machine_id() {
            let waiting = Status::Waiting(
                "machine".to_owned(),
                format!("runs on {}, where a tick can tell how it ends", given.host),
            );
            return Ok(report(waiting, None));
        }
        let mut client = self.client();
        if let Some(journal) = existing(&self.directory.join("journal")).map_err(|error| unavailable(&error))? {
            client.index.refresh(&journal).map_err(|error| unavailable(&error))?;
        }
        let state = match client.index.get(attempt) {
            None if client.submitted.contains(attempt) => Some(State::Queued),
            _ => self.look_up(&mut client, attempt).map_err(|error| unavailable(&error))?,
        };
        Ok(match state {
            Some(State::Ended(record)) => report(record.status(), None),
            Some(State::Started(process)) => {
                let newer = (given.process.as_ref() != Some(&process)).then_some(process);
                let handle = newer.map(|process| self.handle(Some(process))).transpose()?;
                report(Status::Running(None), handle)
            }
            Some(State::Claimed | State::Queued) => report(Status::Queued, None),
            None => {
                let message = "the queue does not hold it, so it cannot start any more";
                report(Status::Lost(Detail::new("vanished", message)), None)
            }
        })
    }

    pub(super) fn collect(&self, key: JobKey<'_>, handle: &str) -> Result<String, GuestError> {
        parse_handle(handle)?;
        let attempt = key.attempt_id.as_str();
        let mut client = self.client();
        let state = self.look_up(&mut client, attempt).map_err(|error| unavailable(&error))?;
        let Some(State::Ended(record)) = state else {
            return Err(GuestError::Transient(Detail::new("no-exit-record", "the job has not been seen to end"), None));
        };
        client.index.forget(attempt);
        client.submitted.remove(attempt);
        serde_json::to_string(&record).map_err(|error| unavailable(&error.into()))
    }

    pub(super) fn cancel(&self, key: JobKey<'_>, handle: &str) -> Result<(), GuestError> {
        let given = parse_handle(handle)?;
        if given.machine != machine::machine_id() {
            let message = format!("runs on {}, and only a tick there can stop it", given.host);
            return Err(GuestError::Transient(Detail::new("other-machine", message), None));
        }
        let order = Order::Cancel { attempt: key.attempt_id.as_str().to_owned() };
        let mut client = self.client();
        client.buffered.extend(line(&order).map_err(|error| unavailable(&error))?);
        self.flush(&mut client).map_err(|error| unavailable(&error))
    }
}

fn parse_handle(handle: &str) -> Result<Handle, GuestError> {
    serde_json::from_str(handle)
        .map_err(|error| GuestError::Invalid(Detail::new("handle", format!("not a handle of a local job: {error}"))))
}

fn unavailable(error: &io::Error) -> GuestError {
    GuestError::Transient(
        Detail::new("local-backend", format!("cannot use the files of the local backend: {error}")),
        None,
    )
}

fn existing(path: &Path) -> io::Result<Option<File>> {
    match open_own(OpenOptions::new().read(true), path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
