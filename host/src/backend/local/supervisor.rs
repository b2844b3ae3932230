//! The process that starts jobs and sees them end: one per backend, machine and run, alive while there is work.
//!
//! It refuses to guess: what it did not see end is `lost`. Killed at any point it leaves a journal from which the next
//! one goes on without starting a command twice.
use super::job::Starter;
use super::journal::{Journal, Progress};
use super::lock;
use super::record::{Entry, Job, Order, Process, ends_whole, now, open_own, read_lines, records};
use super::running::{Running, walltime, warn_at};
use crate::backend::exit::{ExitRecord, Reason, disk_refuses, write_exit};
use crate::ground::failpoint;
use crate::ground::files::read_regular;
use crate::ground::machine::{self, Watch};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::collections::{HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// How long to stay without work: a chain of tasks must not start a supervisor for each link.
const LINGER: Duration = Duration::from_secs(1);
/// How many jobs are made durable as claimed at once.
const CLAIM_BATCH: usize = 16;
/// How often ticks are woken while jobs still wait for a slot.
const WAKE_INTERVAL: Duration = Duration::from_millis(100);
/// Between two tries to write what the disk refused.
const WRITE_RETRY: Duration = Duration::from_millis(500);

/// An end on its way into the journal and into `exit.json`.
struct Ending {
    directory: PathBuf,
    record: ExitRecord,
    /// Whether the journal has it already.
    seen: bool,
}

struct Supervisor {
    queue: File,
    queue_offset: u64,
    journal: Journal,
    wake: File,
    wake_due: Option<Instant>,
    boot: String,
    slots: u32,
    starter: Starter,
    known: HashSet<String>,
    waiting: VecDeque<Job>,
    claimed: VecDeque<Job>,
    running: Vec<Running>,
    unrecorded: Vec<Ending>,
    /// When to go on starting jobs after the disk refused a claim.
    start_at: Option<Instant>,
    /// When to try again to write how jobs ended.
    record_at: Option<Instant>,
}

/// Runs the supervisor of one backend directory until nothing is left to do.
///
/// # Errors
/// If the directory is not a backend directory of a run, or its files cannot be read or locked.
pub fn supervise(directory: &Path) -> io::Result<()> {
    // a terminal that closes must not take the jobs along
    let _ = rustix::process::setsid();
    let directory = directory.canonicalize()?;
    let run = directory.ancestors().nth(3).ok_or_else(|| io::Error::other("not a backend directory"))?.to_owned();
    let directory = directory.strip_prefix(&run).map_err(io::Error::other)?.to_owned();
    // everything below is relative: the run can be moved meanwhile
    std::env::set_current_dir(&run)?;
    let Some(lock) = lock::take(&directory)? else { return Ok(()) };
    let watch = Watch::new()?;
    let mut supervisor = Supervisor::open(&directory)?;
    watch.add(&directory.join("queue"))?;
    supervisor.recover()?;
    supervisor.serve(&watch, &lock)
}

impl Supervisor {
    fn open(directory: &Path) -> io::Result<Self> {
        let slots = read_slots(&directory.join("slots"))?;
        Ok(Self {
            queue: open_own(OpenOptions::new().read(true).append(true).create(true), &directory.join("queue"))?,
            queue_offset: 0,
            journal: Journal::open(&directory.join("journal"))?,
            // not for appending: it is written in place and never grows
            wake: open_own(OpenOptions::new().write(true).create(true).truncate(false), &directory.join("wake"))?,
            wake_due: None,
            boot: machine::boot_id()?,
            slots: slots.unwrap_or(1),
            starter: Starter::new(),
            known: HashSet::new(),
            waiting: VecDeque::new(),
            claimed: VecDeque::new(),
            running: Vec::new(),
            unrecorded: Vec::new(),
            start_at: None,
            record_at: None,
        })
    }

    fn recover(&mut self) -> io::Result<()> {
        let journaled = self.journal.read()?;
        let length = self.queue.metadata()?.len();
        // a queue shorter than what was settled lost its end with the power
        self.queue_offset = if journaled.queue <= length { journaled.queue } else { 0 };
        self.known.extend(journaled.ended);
        self.known.extend(journaled.open.keys().cloned());
        let (lines, end) = read_lines(&self.queue, self.queue_offset)?;
        let mut open = journaled.open;
        for order in records::<Order>(&lines) {
            match order {
                Order::Submit(job) => match open.remove(&job.attempt) {
                    Some(progress) => self.resume(job, progress),
                    None => self.accept(job),
                },
                Order::Cancel { attempt } => self.cancel(&attempt),
                Order::Slots { slots } => self.slots = slots,
            }
        }
        self.queue_offset = end;
        for attempt in open.into_keys() {
            self.end_unstarted(&attempt, PathBuf::new(), Reason::Lost, "its entry in the queue is gone");
        }
        Ok(())
    }

    /// Decides over a job of an earlier supervisor.
    fn resume(&mut self, job: Job, progress: Progress) {
        let directory = PathBuf::from(&job.directory);
        let lost = |supervisor: &mut Self, why: &str| {
            supervisor.end_unstarted(&job.attempt, directory.clone(), Reason::Lost, why);
        };
        match progress {
            Progress::Seen(record) => self.end_if_possible(Ending { directory: directory.clone(), record, seen: true }),
            Progress::Claimed(boot) if boot == self.boot => self.claimed.push_back(job),
            Progress::Starting(boot) if boot == self.boot => {
                let entry = format!("MATTERSTACK_ATTEMPT={}", job.attempt);
                let found = machine::processes_with_environment(&entry).unwrap_or_default();
                let found = found.into_iter().find_map(|pid| Some((pid, machine::process_start_time(pid)?)));
                let boot = self.boot.clone();
                let process = found.map(|(pid, start_time)| Process { pid, start_time, boot, started_at: now() });
                if !process.is_some_and(|process| self.adopt(&job, process)) {
                    lost(self, "its supervisor died while starting it");
                }
            }
            Progress::Started(process) if process.boot == self.boot => {
                if !self.adopt(&job, process) {
                    lost(self, "it ended while no supervisor was there to see its exit status");
                }
            }
            Progress::Claimed(_) => lost(self, "the machine was restarted after it had been claimed"),
            Progress::Starting(_) | Progress::Started(_) => lost(self, "the machine was restarted while it ran"),
        }
    }

    /// Watches a process that an earlier supervisor started; `false` if it is gone.
    fn adopt(&mut self, job: &Job, process: Process) -> bool {
        let Some(pid) = Pid::from_raw(process.pid) else { return false };
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        if machine::process_start_time(process.pid) != Some(process.start_time) {
            return false;
        }
        let age = machine::since_start(process.start_time);
        let deadline = walltime(job).and_then(|walltime| Instant::now().checked_add(walltime.saturating_sub(age)));
        self.running.push(Running {
            attempt: job.attempt.clone(),
            directory: PathBuf::from(&job.directory),
            pid,
            pidfd,
            child: None,
            started_at: process.started_at,
            slots: self.slots_of(job),
            warn_at: warn_at(job, deadline),
            deadline,
            ending: None,
        });
        true
    }

    fn serve(&mut self, watch: &Watch, lock: &File) -> io::Result<()> {
        let mut idle_since: Option<Instant> = None;
        loop {
            self.start_at = self.start_at.filter(|at| *at > Instant::now());
            self.record_at = self.record_at.filter(|at| *at > Instant::now());
            self.write_unrecorded();
            self.start_jobs();
            self.enforce();
            self.wake_ticks();
            let idle = self.running.is_empty()
                && self.claimed.is_empty()
                && self.waiting.is_empty()
                && self.unrecorded.is_empty();
            let idle_left = idle.then(|| {
                let since = *idle_since.get_or_insert_with(Instant::now);
                LINGER.saturating_sub(since.elapsed())
            });
            if idle_left == Some(Duration::ZERO) && self.leave(lock)? {
                return Ok(());
            }
            if !idle {
                idle_since = None;
            }
            self.wait(watch, idle_left)?;
        }
    }

    /// Exits for good, or finds that a tick has just added work.
    fn leave(&mut self, lock: &File) -> io::Result<bool> {
        if self.queue.metadata()?.nlink() == 0 {
            return Ok(true);
        }
        self.queue.lock()?;
        self.queue.sync_data()?;
        let left = self.queue.metadata()?.len() == self.queue_offset || !ends_whole(&self.queue)?;
        let left = left && read_lines(&self.queue, self.queue_offset)?.0.is_empty();
        if left {
            self.journal.append(&Entry::Settled { queue: self.queue_offset })?;
            lock.unlock()?;
        }
        self.queue.unlock()?;
        if !left {
            self.read_queue()?;
        }
        Ok(left)
    }

    fn read_queue(&mut self) -> io::Result<()> {
        let (lines, end) = read_lines(&self.queue, self.queue_offset)?;
        self.queue_offset = end;
        for order in records::<Order>(&lines) {
            match order {
                Order::Submit(job) => self.accept(job),
                Order::Cancel { attempt } => self.cancel(&attempt),
                Order::Slots { slots } => self.slots = slots,
            }
        }
        Ok(())
    }

    fn accept(&mut self, job: Job) {
        if self.known.insert(job.attempt.clone()) {
            self.waiting.push_back(job);
        }
    }

    fn cancel(&mut self, attempt: &str) {
        let unstarted = [&mut self.waiting, &mut self.claimed]
            .into_iter()
            .find_map(|jobs| jobs.remove(jobs.iter().position(|job| job.attempt == attempt)?));
        if let Some(job) = unstarted {
            let directory = PathBuf::from(&job.directory);
            return self.end_unstarted(&job.attempt, directory, Reason::Cancelled, "cancelled before it started");
        }
        if let Some(running) = self.running.iter_mut().find(|running| running.attempt == attempt) {
            running.terminate(Reason::Cancelled);
        }
    }

    fn slots_of(&self, job: &Job) -> u32 {
        job.cores.unwrap_or(1).clamp(1, self.slots.max(1))
    }

    fn start_jobs(&mut self) {
        if self.start_at.is_some() {
            return;
        }
        loop {
            let used: u32 = self.running.iter().map(|running| running.slots).sum();
            let Some(next) = self.claimed.front().or_else(|| self.waiting.front()) else { return };
            if used + self.slots_of(next) > self.slots.max(1) {
                return;
            }
            if self.claimed.is_empty() && self.claim().is_err() {
                self.start_at = Some(Instant::now() + WRITE_RETRY);
                return;
            }
            let Some(job) = self.claimed.pop_front() else { continue };
            if self.journal.append(&Entry::Starting { attempt: job.attempt.clone() }).is_err() {
                self.claimed.push_front(job);
                self.start_at = Some(Instant::now() + WRITE_RETRY);
                return;
            }
            failpoint::hit("local.starting");
            self.start(&job);
        }
    }

    /// Makes the claim of the next jobs durable. After a crash a claim decides, so the queue is made durable before it.
    fn claim(&mut self) -> io::Result<()> {
        self.queue.sync_data()?;
        let count = self.waiting.len().min(CLAIM_BATCH);
        let mut jobs: Vec<Job> = self.waiting.drain(..count).collect();
        // a job that ended before all was last settled is handed in again only by mistake, and the journal tells
        let left = jobs.iter().any(|job| Path::new(&job.directory).join("exit.json").symlink_metadata().is_ok());
        if left {
            let ended = self.journal.ended_ever()?;
            jobs.retain(|job| !ended.contains(&job.attempt));
        }
        if jobs.is_empty() {
            return Ok(());
        }
        let attempts = jobs.iter().map(|job| job.attempt.clone()).collect();
        let written = self.journal.append(&Entry::Claim { boot: self.boot.clone(), attempts });
        if let Err(error) = written.and_then(|()| self.journal.sync()) {
            for job in jobs.into_iter().rev() {
                self.waiting.push_front(job);
            }
            return Err(error);
        }
        failpoint::hit("local.claim");
        self.claimed.extend(jobs);
        Ok(())
    }

    fn start(&mut self, job: &Job) {
        let directory = PathBuf::from(&job.directory);
        let started = self.starter.start(job).and_then(|mut child| {
            failpoint::hit("local.spawned");
            let pid = Pid::from_child(&child);
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(pidfd) => Ok((child, pid, pidfd)),
                Err(error) => {
                    let _ = kill_process_group(pid, Signal::KILL);
                    let _ = child.wait();
                    Err((Reason::Lost, format!("cannot watch its process, which was killed: {error}")))
                }
            }
        });
        let (child, pid, pidfd) = match started {
            Ok(started) => started,
            Err((reason, message)) => return self.end_unstarted(&job.attempt, directory, reason, &message),
        };
        let started_at = now();
        let number = pid.as_raw_nonzero().get();
        if let Some(start_time) = machine::process_start_time(number) {
            let boot = self.boot.clone();
            let process = Process { pid: number, start_time, boot, started_at: started_at.clone() };
            // without this line a later supervisor takes the job for lost, which is safe
            let _ = self.journal.append(&Entry::Start { attempt: job.attempt.clone(), process });
        }
        failpoint::hit("local.started");
        self.wake_due.get_or_insert_with(|| Instant::now() + WAKE_INTERVAL);
        let deadline = walltime(job).and_then(|walltime| Instant::now().checked_add(walltime));
        self.running.push(Running {
            attempt: job.attempt.clone(),
            directory,
            pid,
            pidfd,
            child: Some(child),
            started_at,
            slots: self.slots_of(job),
            warn_at: warn_at(job, deadline),
            deadline,
            ending: None,
        });
    }

    fn enforce(&mut self) {
        let now = Instant::now();
        self.running.iter_mut().for_each(|running| running.enforce(now));
    }

    fn reap(&mut self, index: usize) {
        let mut running = self.running.swap_remove(index);
        if running.child.is_some() || running.ending.is_some() {
            // not yet waited for, so the group is still ours: what the command left behind ends with it
            let _ = kill_process_group(running.pid, Signal::KILL);
        }
        let status = running.child.as_mut().map(Child::wait);
        let (code, signal) = match &status {
            Some(Ok(status)) => (status.code(), status.signal()),
            _ => (None, None),
        };
        let reason = match (running.ending, code, signal) {
            (Some((reason, _)), _, _) => reason,
            (None, Some(_), _) => Reason::Exited,
            (None, None, Some(_)) => Reason::Signal,
            (None, None, None) => Reason::Lost,
        };
        let lost = "its supervisor died while it ran, so its exit status was not seen";
        let message = (reason == Reason::Lost).then(|| lost.to_owned());
        let Running { attempt, directory, started_at, .. } = running;
        let started_at = Some(started_at);
        let record = ExitRecord::new(attempt, reason, now());
        self.end(directory, ExitRecord { code, signal, message, started_at, ..record });
    }

    fn end_unstarted(&mut self, attempt: &str, directory: PathBuf, reason: Reason, message: &str) {
        let (code, message) = ((reason == Reason::NotFound).then_some(127), Some(message.to_owned()));
        let record = ExitRecord::new(attempt.to_owned(), reason, now());
        self.end(directory, ExitRecord { code, message, ..record });
    }

    fn end(&mut self, directory: PathBuf, record: ExitRecord) {
        self.end_if_possible(Ending { directory, record, seen: false });
    }

    /// Journals the end, writes the exit record, and journals that too; what the disk refuses is tried again later. Where
    /// the job left no place for the record, the journal alone tells.
    fn end_if_possible(&mut self, mut ending: Ending) {
        if !ending.seen {
            if self.journal.append(&Entry::Seen(ending.record.clone())).is_err() {
                return self.unrecorded.push(ending);
            }
            ending.seen = true;
        }
        failpoint::hit("local.end-seen");
        if !ending.directory.as_os_str().is_empty() {
            match write_exit(&ending.directory, &ending.record) {
                Ok(()) => {}
                Err(error) if disk_refuses(&error) => return self.unrecorded.push(ending),
                Err(error) => {
                    let note = format!("`exit.json` cannot be written into the attempt directory: {error}");
                    let message = ending.record.message.take();
                    ending.record.message = Some(message.map_or(note.clone(), |text| format!("{text}; {note}")));
                }
            }
        }
        failpoint::hit("local.exit-recorded");
        if self.journal.append(&Entry::End(ending.record.clone())).is_err() {
            return self.unrecorded.push(ending);
        }
        let at = Instant::now() + if self.waiting.is_empty() { Duration::ZERO } else { WAKE_INTERVAL };
        self.wake_due = Some(self.wake_due.map_or(at, |due| due.min(at)));
    }

    /// Tries again what the disk refused.
    fn write_unrecorded(&mut self) {
        if self.unrecorded.is_empty() || self.record_at.is_some() {
            return;
        }
        for ending in std::mem::take(&mut self.unrecorded) {
            self.end_if_possible(ending);
        }
        self.record_at = (!self.unrecorded.is_empty()).then(|| Instant::now() + WRITE_RETRY);
    }

    fn wake_ticks(&mut self) {
        if self.wake_due.is_some_and(|due| due <= Instant::now()) {
            self.wake_due = None;
            let _ = self.wake.write_at(b".", 0);
        }
    }

    fn wait(&mut self, watch: &Watch, idle_left: Option<Duration>) -> io::Result<()> {
        let now = Instant::now();
        let timers = self.running.iter().map(Running::next_timer);
        let timers = timers.chain([self.wake_due, self.start_at, self.record_at]);
        let timeout = timers.flatten().map(|at| at.saturating_duration_since(now)).chain(idle_left).min();
        let descriptors: Vec<_> =
            std::iter::once(watch.as_fd()).chain(self.running.iter().map(|running| running.pidfd.as_fd())).collect();
        let ready = machine::poll_readable(&descriptors, timeout)?;
        drop(descriptors);
        for index in (1..ready.len()).rev().filter(|index| ready[*index]) {
            self.reap(index - 1);
        }
        if ready[0] && watch.drain()? {
            self.read_queue()?;
        }
        Ok(())
    }
}

/// What ticks wrote last; 1 before they did.
fn read_slots(path: &Path) -> io::Result<Option<u32>> {
    let bytes = read_regular(path, 64)?.unwrap_or_default();
    Ok(std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok()))
}
