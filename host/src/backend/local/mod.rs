//! Jobs on this machine: ticks append to a queue, a small supervisor process per run starts the jobs and writes a
//! journal.
//!
//! Both stand in `backends/<name>/<machine>` of the run, so machines that share the directory never mix. Nothing here
//! waits for a job. A crash of a tick leaves at worst a job in the queue that `find` reports; a crash of the supervisor
//! leaves claims from which the next supervisor tells what may still start and what is lost. An attempt that stands in
//! the journal is never started again, whatever becomes of its directory, nor is one whose directory shows that it was
//! started, whatever becomes of the journal. A copy of the files starts nothing, nor does a queue without its journal.
mod apart;
mod aside;
mod ended;
mod handle;
mod index;
mod journal;
mod lock;
mod pool;
mod queue;
mod reckoned;
mod record;
mod running;
mod starter;
mod stranded;
mod supervisor;
mod version;

pub use apart::{Apart, Carried, run_apart};
pub use lock::StoppedSupervisor;
pub(in crate::backend) use lock::stopped_supervisor;
pub use pool::{Held, PoolLook, look_at_pool};
pub use reckoned::Reckoned;
pub use starter::{INHERITED, inherited};
pub use stranded::{StrandedSupervisor, Stranding, stranded_supervisors};
pub use supervisor::supervise;
pub use version::{NotRecorded, record};

use super::JobKey;
use super::exit::{ExitRecord, read_exit};
use super::job::JobDocument;
use super::program::spawn;
use super::setup::{guarded, script};
use crate::ground::failpoint;
use crate::ground::machine;
use crate::model::code::Code;
use crate::model::config::LocalConfig;
use crate::model::contract::{Detail, Found, GuestError, Status, StatusReport, Submitted};
use crate::model::id::AttemptId;
use aside::{Look, Wrong};
use handle::{Handle, parse_handle, unpinned};
use index::{Index, Place, State};
use queue::Locked;
use record::{Foreign, Job, Order, Process, Settings, end_of, existing, line, open_own, settled_at};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The first argument of the process that supervises jobs.
pub const SUPERVISE: &str = "__supervise";
/// How many submitted jobs are handed to the supervisor before the batch is complete.
const FLUSH_AT_BYTES: usize = 16 * 1024;
/// A change is told by [`super::Backends::changes`]; this is only a safety net.
const POLL_AFTER_MS: u64 = 600_000;
/// What a process takes a core for at least: making it, and seeing it end.
const SHORTEST: Duration = Duration::from_millis(1);
/// When to ask again while a supervisor of another format is at work, in milliseconds.
const FOREIGN_MS: u64 = 5_000;

/// Where a line of `setup` that fails is noted, in a job's directory, as a word of shell.
const SETUP_MARK: &str = "\"$MATTERSTACK_SETUP\"";
/// What a cursor says instead of a place while the files are not this directory's own.
const FOREIGN: &str = "foreign";

/// `backends.<name>` of the kind `local`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSettings {
    /// What a person says of it.
    pub config: LocalConfig,
    /// What `stdout` and `stderr` of a job may hold, each, in bytes.
    pub log_max: Option<u64>,
}

/// One local backend of one run, as ticks see it.
#[derive(Debug)]
pub struct LocalBackend {
    run: PathBuf,
    directory: PathBuf,
    log_max: Option<u64>,
    /// The lines before each command, as a person wrote them.
    setup: Vec<String>,
    /// What holds for the jobs that this process hands in.
    settings: Settings,
    /// Nobody has said what jobs inherit on this machine, so none is handed in.
    unpinned: bool,
    state: Mutex<Client>,
}

#[derive(Debug, Default)]
struct Client {
    buffered: Vec<u8>,
    /// Handed in by this process and not seen to end yet.
    submitted: std::collections::HashSet<String>,
    unsynced: bool,
    /// Whether the supervisor was told what holds for the jobs of this process.
    told: bool,
    /// Whether exit records count without the journal: a person takes over a copy.
    believes: bool,
    index: Index,
}

/// What the journal, or what is left of it, says of an attempt.
enum Known {
    State(State),
    /// Its queue was put aside, and how it ended is not known; with what was wrong.
    Aside(Option<Wrong>),
    Nothing,
}

/// Where the files of a backend lie that are of this machine.
fn directory_of(run: &Path, backend: &str) -> PathBuf {
    let machine = machine::machine_id();
    run.join("backends").join(backend).join(machine.get(..12).unwrap_or(machine))
}

impl LocalBackend {
    pub(super) fn new(
        run: &Path,
        name: &str,
        settings: LocalSettings,
        pinned: Option<BTreeMap<String, String>>,
    ) -> Self {
        let directory = directory_of(run, name);
        let LocalSettings { config, log_max } = settings;
        let LocalConfig { cores, memory_mb, gpus, setup, setup_may_fail, shell, pass_env: _, record: _ } = config;
        let guarded = if setup_may_fail { setup.clone() } else { guarded(&setup, SETUP_MARK, "") };
        // a supervisor hears nothing from a process that hands nothing in
        let unpinned = pinned.is_none();
        let state = Mutex::new(Client { told: unpinned, ..Client::default() });
        let settings =
            Settings { cores, memory_mb, gpus, environment: pinned.unwrap_or_default(), setup: guarded, shell };
        Self { run: run.to_owned(), directory, log_max, setup, settings, unpinned, state }
    }

    /// How long every core is busy at least, with what this process has handed in and not seen to end.
    pub fn busy_for(&self) -> Duration {
        let jobs = u32::try_from(self.client().submitted.len()).unwrap_or(u32::MAX);
        let cores = self.settings.cores.max(1);
        SHORTEST * (jobs.saturating_sub(cores) / cores)
    }

    fn client(&self) -> MutexGuard<'_, Client> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn submit(&self, key: JobKey<'_>, job: &str) -> Result<String, GuestError> {
        let job = self.job(key, job)?;
        let handle = if self.unpinned { Err(unpinned()) } else { self.handle(None) }?;
        let mut client = self.client();
        self.own(&mut client)?;
        // the same key again is the same job: what was handed in before, and by whom, the supervisor tells
        if !client.submitted.insert(job.attempt.clone()) {
            return Ok(handle);
        }
        let order = line(&Order::Submit(job)).map_err(|error| unavailable(&error))?;
        client.buffered.extend(order);
        if client.buffered.len() >= FLUSH_AT_BYTES {
            self.flush(&mut client).map_err(|error| {
                GuestError::Ambiguous(Detail::of(Code::LocalBackend, format!("cannot write the queue: {error}")))
            })?;
        }
        Ok(handle)
    }

    /// What a job comes to as a script, where more than its command is run.
    pub(super) fn preview(&self, job: &str) -> Option<Result<String, GuestError>> {
        let shell = &self.settings.shell;
        if self.setup.is_empty() && shell.is_empty() {
            return None;
        }
        Some(JobDocument::parse(job).map(|job| script(job, &self.setup, shell)))
    }

    fn job(&self, key: JobKey<'_>, job: &str) -> Result<Job, GuestError> {
        let mut job = JobDocument::parse(job)?;
        let directory = key.directory.strip_prefix(&self.run).ok().and_then(Path::to_str);
        let directory = directory
            .ok_or_else(|| GuestError::Invalid(Detail::of(Code::Job, "the attempt directory is not inside the run")))?;
        let (env, secrets) = job.take_env();
        Ok(Job {
            attempt: key.attempt_id.as_str().to_owned(),
            directory: directory.to_owned(),
            queued_at: record::now(),
            command: job.launched(&self.settings.shell),
            env,
            secrets,
            walltime_s: job.resources.walltime_s,
            signal_before_s: job.resources.signal_before_s,
            needs: pool::Needs::of(&job.resources),
            log_max: self.log_max,
            settings: Arc::default(),
        })
    }

    /// Makes sure that the files are this directory's own and of this format before anything is handed in.
    fn own(&self, client: &mut Client) -> Result<(), GuestError> {
        // one look for what is handed in together
        if client.buffered.is_empty()
            && let Some(wrong) = self.put_aside(client).map_err(|error| unavailable(&error))?
        {
            return Err(GuestError::Transient { detail: wrong.waits(), retry_after_ms: Some(FOREIGN_MS) });
        }
        Ok(())
    }

    /// Puts files aside that are not this directory's own, or of another format, or do not belong together; tells what
    /// is wrong as long as somebody works in them.
    fn put_aside(&self, client: &mut Client) -> io::Result<Option<Wrong>> {
        match aside::put_aside(&self.directory)? {
            Look::Own => Ok(None),
            Look::Held(wrong) => Ok(Some(wrong)),
            Look::Moved => {
                (client.index, client.told) = (Index::default(), self.unpinned);
                Ok(None)
            }
        }
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
        if client.buffered.is_empty() { Ok(()) } else { self.append(client) }
    }

    fn append(&self, client: &mut Client) -> io::Result<()> {
        failpoint::hit("local.queue-append");
        if !client.told {
            // always, and not only what has changed: whoever wrote the file may have died before it told
            client.buffered.splice(0..0, line(&Order::Settings(self.settings.clone()))?);
        }
        let path = self.directory.join(queue::NAME);
        let opened = Locked::open(&path).or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            fs::create_dir_all(&self.directory)?;
            Locked::open(&path)
        });
        // kept if it fails: a supervisor takes each attempt once, so it may be written again
        opened?.append(&client.buffered)?;
        client.buffered.clear();
        client.unsynced = true;
        if !client.told {
            self.note_settings()?;
            client.told = true;
        }
        Ok(())
    }

    /// Whether the supervisor was told something else last than what this process would tell it.
    fn settings_changed(&self) -> io::Result<bool> {
        Ok(Settings::read(&self.directory)?.as_ref() != Some(&self.settings))
    }

    fn note_settings(&self) -> io::Result<()> {
        if self.settings_changed()? {
            let temporary = self.directory.join(".settings.tmp");
            open_own(OpenOptions::new().write(true).create(true).truncate(true), &temporary)?
                .write_all(&serde_json::to_vec(&self.settings)?)?;
            fs::rename(&temporary, self.directory.join(record::SETTINGS))?;
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        let mut client = self.client();
        self.flush(&mut client)?;
        if client.unsynced {
            // begun anew since, it was made durable by that
            existing(&self.directory.join(queue::NAME))?.map_or(Ok(()), |queue| queue.sync_data())?;
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
        // of what is foreign nothing is to start; it is put aside when it can be
        if self.put_aside(&mut client)?.is_some() {
            return Ok(());
        }
        let Some(journal) = existing(&self.directory.join(journal::NAME))? else { return Ok(()) };
        if !client.told && self.settings_changed()? {
            self.append(&mut client)?;
        }
        // a queue that was emptied or removed has nothing to settle, and its journal may have
        let handed_in = existing(&self.directory.join(queue::NAME))?.map_or(Ok(None), |queue| end_of(&queue))?;
        let settled = settled_at(&journal)?;
        let done = settled.is_some() && (handed_in.is_none() || settled == handed_in);
        if done || lock::is_held(&self.directory)? { Ok(()) } else { self.start_supervisor(program) }
    }

    fn start_supervisor(&self, program: &Path) -> io::Result<()> {
        let mut command = std::process::Command::new(program);
        command.arg(SUPERVISE).arg(&self.directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("program `{}`: {error}", program.display()));
        let mut child = spawn(command.arg0("matterstack")).map_err(named)?;
        // a `loop` lives for weeks and must not keep a zombie; a shorter process leaves the waiting to init
        std::thread::Builder::new().stack_size(32 * 1024).spawn(move || child.wait())?;
        Ok(())
    }

    pub(super) fn watch_path(&self) -> io::Result<PathBuf> {
        let path = self.directory.join("wake");
        fs::create_dir_all(&self.directory)?;
        open_own(OpenOptions::new().read(true).append(true).create(true), &path)?;
        Ok(path)
    }

    pub(super) fn changes(&self, cursor: Option<&str>) -> io::Result<LocalChanges> {
        // after a power failure the journal may be shorter than a cursor says, so a cursor holds for one boot
        let prefix = format!("{}:{}:", machine::machine_id(), machine::boot_id()?);
        let read = cursor.and_then(|cursor| cursor.strip_prefix(&prefix));
        let place = read.and_then(|read| {
            let (generation, offset) = read.split_once(':')?;
            Some(Place { generation: generation.parse().ok()?, offset: offset.parse().ok()? })
        });
        let mut client = self.client();
        let since = match client.index.changes(&self.directory, place) {
            // said where a job is asked about or handed in, and all are asked about once
            Err(error) if Foreign::of(&error).is_some() => {
                let (more, cursor) = (read != Some(FOREIGN), Some(format!("{prefix}{FOREIGN}")));
                return Ok(LocalChanges { attempts: Vec::new(), more, cursor });
            }
            since => since?,
        };
        let Place { generation, offset } = client.index.place();
        let attempts = since.attempts.into_iter().map(AttemptId).collect();
        Ok(LocalChanges { attempts, more: since.more, cursor: Some(format!("{prefix}{generation}:{offset}")) })
    }

    pub(super) fn find(&self, key: JobKey<'_>) -> Result<Found, GuestError> {
        let attempt = key.attempt_id.as_str();
        let mut client = self.client();
        let known = client.submitted.contains(attempt)
            || !matches!(self.look_up(&mut client, attempt).map_err(|error| unavailable(&error))?, Known::Nothing);
        Ok(if known { Found::Yes(Submitted::of_job(self.handle(None)?)) } else { Found::No })
    }

    /// Where an attempt stands.
    fn look_up(&self, client: &mut Client, attempt: &str) -> io::Result<Known> {
        if let Some(state) = client.index.look_up(&self.directory, attempt)? {
            return Ok(Known::State(state));
        }
        Ok(match aside::look_up(&self.directory, attempt)? {
            aside::Told::Ended(record) => Known::State(State::Ended(record)),
            aside::Told::Unknown(wrong) => Known::Aside(wrong),
            aside::Told::Nothing => Known::Nothing,
        })
    }

    /// Where an attempt stands by now.
    fn look_anew(&self, client: &mut Client, attempt: &str) -> io::Result<Known> {
        if !client.index.has_ended(attempt) {
            client.index.refresh(&self.directory)?;
        }
        let known = self.look_up(client, attempt)?;
        if !matches!(known, Known::Nothing) || !client.buffered.is_empty() || !client.submitted.contains(attempt) {
            return Ok(known);
        }
        // handed in since everything was read; if it is not there now, somebody took it away
        client.index.look_again();
        let known = self.look_up(client, attempt)?;
        if matches!(known, Known::Nothing) {
            client.submitted.remove(attempt);
        }
        Ok(known)
    }

    /// Lets exit records count where the journal tells nothing: the jobs of a copy end elsewhere, and a person asks.
    pub(super) fn believe_exit_records(&self) {
        self.client().believes = true;
    }

    pub(super) fn status(&self, key: JobKey<'_>, handle: &str) -> Result<StatusReport, GuestError> {
        let given = parse_handle(handle)?;
        let attempt = key.attempt_id.as_str();
        let report = |status, handle| StatusReport { status, handle, poll_after_ms: Some(POLL_AFTER_MS) };
        let mut client = self.client();
        if given.machine != machine::machine_id() {
            let text = format!("runs on {}, where a tick can tell how it ends", given.host);
            let there = || Status::waiting(Code::Machine, text);
            return Ok(report(believed(&client, key).map_or_else(there, |record| record.status()), None));
        }
        let known = match self.look_anew(&mut client, attempt) {
            Err(error) if Foreign::of(&error).is_some() => {
                let wrong = aside::foreign(&self.directory).map_err(|error| unavailable(&error))?;
                // of what is out of the way by now the next look tells
                let detail = wrong.map_or_else(|| Detail::of(Code::OtherFormat, error.to_string()), Wrong::waits);
                let status = Status::Unavailable(detail);
                return Ok(StatusReport { status, handle: None, poll_after_ms: Some(FOREIGN_MS) });
            }
            known => known.map_err(|error| unavailable(&error))?,
        };
        let (status, newer) = match known {
            Known::State(State::Ended(record)) => {
                client.submitted.remove(attempt);
                return Ok(report(record.status(), None));
            }
            Known::State(State::Started(process)) => {
                let newer = (given.process.as_ref() != Some(&process)).then_some(process);
                (Status::Running(None), newer.map(|process| self.handle(Some(process))).transpose()?)
            }
            Known::State(State::NoRoom(why)) => (Status::waiting(Code::Capacity, why), None),
            Known::State(State::Ending(_)) => (Status::Running(None), None),
            Known::State(State::Claimed | State::Queued) => (Status::Queued, None),
            Known::Nothing if client.submitted.contains(attempt) => (Status::Queued, None),
            Known::Aside(wrong) => {
                let why = wrong.map_or_else(String::new, |wrong| format!(" ({}: {})", wrong.file, wrong.foreign));
                let text = format!("its queue and journal were put aside{why}, and whether it ran is not known");
                return Ok(report(believed_or_lost(&client, key, Code::StartUnseen, &text), None));
            }
            Known::Nothing => {
                let text = "the queue does not hold it, so it cannot start any more";
                return Ok(report(believed_or_lost(&client, key, Code::Vanished, text), None));
            }
        };
        Ok(match believed(&client, key) {
            Some(record) => report(record.status(), None),
            None => report(status, newer),
        })
    }

    pub(super) fn collect(&self, key: JobKey<'_>, handle: &str) -> Result<String, GuestError> {
        parse_handle(handle)?;
        let attempt = key.attempt_id.as_str();
        let mut client = self.client();
        let known = self.look_up(&mut client, attempt).map_err(|error| unavailable(&error))?;
        let record = match known {
            Known::State(State::Ended(record)) => Some(record),
            Known::State(_) | Known::Aside(_) | Known::Nothing => believed(&client, key),
        };
        let Some(record) = record else {
            return Err(GuestError::transient(Code::NoExitRecord, "the job has not been seen to end"));
        };
        client.index.forget(attempt);
        client.submitted.remove(attempt);
        serde_json::to_string(&record).map_err(|error| unavailable(&error.into()))
    }

    pub(super) fn cancel(&self, key: JobKey<'_>, handle: &str) -> Result<(), GuestError> {
        let given = parse_handle(handle)?;
        if given.machine != machine::machine_id() {
            let message = format!("runs on {}, and only a tick there can stop it", given.host);
            return Err(GuestError::transient(Code::OtherMachine, message));
        }
        let order = Order::Cancel { attempt: key.attempt_id.as_str().to_owned() };
        let mut client = self.client();
        self.own(&mut client)?;
        client.buffered.extend(line(&order).map_err(|error| unavailable(&error))?);
        self.flush(&mut client).map_err(|error| unavailable(&error))
    }
}

fn unavailable(error: &io::Error) -> GuestError {
    GuestError::transient(Code::LocalBackend, format!("cannot use the files of the local backend: {error}"))
}

/// What an exit record says that may be believed; else that the job is lost, and why.
fn believed_or_lost(client: &Client, key: JobKey<'_>, code: Code, why: &str) -> Status {
    believed(client, key).map_or_else(|| Status::Lost(Detail::of(code, why)), |record| record.status())
}

/// The exit record in the attempt's directory, where that is believed.
fn believed(client: &Client, key: JobKey<'_>) -> Option<ExitRecord> {
    client.believes.then(|| read_exit(key.directory, key.attempt_id.as_str())).flatten()
}

/// What happened since the last look.
#[derive(Debug, Default)]
pub(super) struct LocalChanges {
    pub(super) attempts: Vec<AttemptId>,
    /// There may be others: every live attempt is worth a question.
    pub(super) more: bool,
    pub(super) cursor: Option<String>,
}
