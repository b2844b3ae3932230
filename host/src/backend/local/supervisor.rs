//! The process that starts jobs and sees them end: one per backend, machine and run, alive while there is work.
//!
//! It refuses to guess: what it did not see end is never a success. Killed at any point it leaves a journal from which
//! the next one goes on without starting a command twice.
use super::aside;
use super::ended::Ended;
use super::journal::Journal;
use super::lock;
use super::pool::{KEEP, Pool};
use super::queue::Queue;
use super::record::{Entry, Job, Order, Process, Reign, Settings, open_own};
use super::running::Running;
use super::starter::Starter;
use crate::backend::exit::{ExitRecord, Reason};
use crate::ground::failpoint;
use crate::ground::machine::{self, Watch};
pub(super) use finish::exited;
use room::First;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod finish;
mod recover;
mod room;
mod start;

/// How long to stay without work: a chain of tasks must not start a supervisor for each link.
const LINGER: Duration = Duration::from_secs(1);
/// How often ticks are woken while jobs still wait for a core.
const WAKE_INTERVAL: Duration = Duration::from_millis(100);
/// A journal or a queue is begun anew when it has this many bytes and most of them are done with.
const ANEW: u64 = 256 * 1024;
/// The same for a supervisor that leaves.
const ANEW_AT_THE_END: u64 = 32 * 1024;
/// What a live job takes in them, roughly, in bytes.
const LIVE_BYTES: u64 = 1024;

/// An end on its way into the journal and into `exit.json`.
struct Ending {
    directory: PathBuf,
    record: ExitRecord,
    /// Whether the journal has it already.
    journaled: bool,
}

struct Supervisor {
    directory: PathBuf,
    queue: Queue,
    journal: Journal,
    ended: Ended,
    wake: File,
    wake_due: Option<Instant>,
    reign: Reign,
    settings: Arc<Settings>,
    starter: Starter,
    /// The graphics processors of jobs that an earlier supervisor started.
    gpus_before: HashMap<String, Vec<String>>,
    /// The attempts of this generation of the journal.
    known: HashSet<String>,
    waiting: VecDeque<Job>,
    claimed: VecDeque<Job>,
    running: Vec<Running>,
    unrecorded: Vec<Ending>,
    /// When to go on starting jobs after the disk refused a claim, or the machine had no room.
    start_at: Option<Instant>,
    /// The attempt of which the journal says that the machine has no room for it.
    no_room: Option<String>,
    pool: Pool,
    /// The first that waits for room, or what is known of it.
    first: First,
    /// What was told of jobs for which there is never room.
    never: HashMap<String, String>,
    /// Whether the first waits for what others hold of the machine.
    waits_for_machine: bool,
    /// When to ask for room again if nothing happens before: of whoever was killed nobody hears.
    ask_at: Option<Instant>,
    /// Whether the last job that ended was so short that claims are worth making ahead.
    short: bool,
    /// When to try again to write how jobs ended.
    record_at: Option<Instant>,
    /// When to try again to begin the files anew after the disk refused.
    anew_at: Option<Instant>,
    /// How often in a row a job could not be started for want of what this process itself may have.
    cramped: u32,
    /// Whether queue or journal have been removed, replaced or cut: ticks may have taken what waits for lost, so
    /// nothing starts any more.
    disowned: bool,
}

/// Runs the supervisor of one backend directory until nothing is left to do.
///
/// # Errors
/// If the directory is not a backend directory of a run, or a copy of one, or its files cannot be read or locked.
pub fn supervise(directory: &Path) -> io::Result<()> {
    // a terminal that closes must not take the jobs along
    let _ = rustix::process::setsid();
    // a job takes a descriptor as long as it runs
    machine::raise_descriptor_limit();
    let directory = directory.canonicalize()?;
    let run = directory.ancestors().nth(3).ok_or_else(|| io::Error::other("not a backend directory"))?.to_owned();
    let directory = directory.strip_prefix(&run).map_err(io::Error::other)?.to_owned();
    // everything below is relative: the run can be moved meanwhile
    std::env::set_current_dir(&run)?;
    let Some(lock) = lock::take(&directory)? else { return Ok(()) };
    let watch = Watch::new()?;
    let Some(mut supervisor) = Supervisor::open(&directory)? else { return Ok(()) };
    watch.add(supervisor.queue.path())?;
    supervisor.recover()?;
    supervisor.pool.succeed();
    supervisor.serve(&watch, &lock)
}

impl Supervisor {
    fn serve(&mut self, watch: &Watch, lock: &File) -> io::Result<()> {
        let mut idle_since: Option<Instant> = None;
        loop {
            self.start_at = self.start_at.filter(|at| *at > Instant::now());
            self.record_at = self.record_at.filter(|at| *at > Instant::now());
            self.write_unrecorded();
            self.start_jobs();
            if let Some(bell) = self.pool.other_bell() {
                // whoever hears no bell looks by the clock
                let _ = watch.add(&bell);
            }
            self.enforce();
            self.wake_ticks();
            self.begin_files_anew(watch);
            let idle = self.running.is_empty()
                && self.claimed.is_empty()
                && self.waiting.is_empty()
                && self.unrecorded.is_empty();
            let idle_left = idle.then(|| {
                let since = *idle_since.get_or_insert_with(Instant::now);
                LINGER.saturating_sub(since.elapsed())
            });
            if idle_left == Some(Duration::ZERO) && self.leave(lock)? || self.gives_up(idle, lock)? {
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
        if self.is_disowned() {
            return self.gives_up(true, lock);
        }
        self.queue.lock()?;
        let left = self.leave_locked();
        if matches!(left, Ok(true)) {
            self.unlock(lock)?;
        }
        self.queue.unlock()?;
        left
    }

    /// Exits with work left, if nothing runs and this process is not the one to do it: its files are not the backend's
    /// any more, or a fresh process may have room for what it has none. Ticks are woken to start that.
    fn gives_up(&mut self, idle: bool, lock: &File) -> io::Result<bool> {
        let cramped = self.cramped >= start::CRAMPED_MAX && self.running.is_empty() && self.unrecorded.is_empty();
        if !(cramped || idle && self.disowned) {
            return Ok(false);
        }
        self.journal.write()?;
        self.unlock(lock)?;
        let _ = self.wake.write_at(b".", 0);
        Ok(true)
    }

    fn unlock(&self, lock: &File) -> io::Result<()> {
        self.journal.unlock()?;
        lock.unlock()
    }

    /// Whether the queue and the journal that have the names are not the open ones, or have lost something. From then
    /// on what has not started never does.
    fn is_disowned(&mut self) -> bool {
        let in_place = || Ok::<_, io::Error>(self.queue.is_in_place()? && self.journal.is_in_place()?);
        // what cannot be looked at now may be as it was
        self.disowned |= matches!(in_place(), Ok(false));
        if self.disowned {
            self.waiting.clear();
            self.claimed.clear();
        }
        self.disowned
    }

    fn leave_locked(&mut self) -> io::Result<bool> {
        let orders = self.queue.read()?;
        if !orders.is_empty() {
            self.take(orders);
            return Ok(false);
        }
        self.queue.sync()?;
        if self.journal.length() > ANEW_AT_THE_END {
            self.journal.begin_anew(&mut self.ended, &[])?;
            self.queue.begin_anew(&[])?;
        }
        self.journal.append(&Entry::Settled { queue: self.queue.position() })?;
        Ok(true)
    }

    /// Begins journal and queue anew when most of what they hold is done with, so that neither they nor what a process
    /// reads to find one job grow with the jobs that have ended. A disk that refuses is asked again later.
    fn begin_files_anew(&mut self, watch: &Watch) {
        let live = (self.running.len() + self.claimed.len() + self.waiting.len()) as u64 * LIVE_BYTES;
        let wanted = |length: u64| length > ANEW && length > 2 * live;
        let due = wanted(self.journal.length()) || wanted(self.queue.position().offset);
        let later = self.anew_at.is_some_and(|at| at > Instant::now());
        if !due || !self.unrecorded.is_empty() || later || self.is_disowned() {
            return;
        }
        if self.queue.lock().is_ok() {
            let done = self.begin_anew_locked();
            let _ = self.queue.unlock();
            self.anew_at = done.is_err().then(|| Instant::now() + start::WRITE_RETRY);
        }
        let _ = watch.add(self.queue.path());
    }

    fn begin_anew_locked(&mut self) -> io::Result<()> {
        let orders = self.queue.read()?;
        self.take(orders);
        self.queue.sync()?;
        let entries = self.open_entries();
        self.journal.begin_anew(&mut self.ended, &entries)?;
        self.queue.begin_anew(&self.open_orders())?;
        let open = self.running.iter().map(|running| &running.job).chain(&self.claimed).chain(&self.waiting);
        self.known = open.map(|job| job.attempt.clone()).collect();
        Ok(())
    }

    /// What a new journal says of the jobs that have not ended.
    fn open_entries(&self) -> Vec<Entry> {
        let running = self.running.iter().map(|running| &running.job.attempt);
        let attempts = self.claimed.iter().map(|job| &job.attempt).chain(running).cloned().collect();
        let mut entries = vec![Entry::Claim { under: self.reign.clone(), attempts }];
        for running in &self.running {
            let (attempt, gpus) = (running.job.attempt.clone(), running.grant.gpus.clone());
            if running.process.is_some() && !gpus.is_empty() {
                entries.push(Entry::Starting { attempt: attempt.clone(), gpus: gpus.clone() });
            }
            entries.push(match &running.process {
                Some(process) => Entry::Start { attempt, process: process.clone() },
                None => Entry::Starting { attempt, gpus },
            });
        }
        entries
    }

    /// What a new queue asks for.
    fn open_orders(&self) -> Vec<Order> {
        let mut orders = Vec::new();
        for running in &self.running {
            orders.push(Order::Submit(running.job.clone()));
            if running.ending.as_ref().is_some_and(|stopped| stopped.reason == Reason::Cancelled) {
                orders.push(Order::Cancel { attempt: running.job.attempt.clone() });
            }
        }
        let mut settings = None;
        for job in self.claimed.iter().chain(&self.waiting) {
            if settings.is_none_or(|settings| !Arc::ptr_eq(settings, &job.settings)) {
                orders.push(Order::Settings((*job.settings).clone()));
            }
            settings = Some(&job.settings);
            orders.push(Order::Submit(job.clone()));
        }
        orders.push(Order::Settings((*self.settings).clone()));
        orders
    }

    fn take(&mut self, orders: Vec<Order>) {
        for order in orders {
            match order {
                Order::Submit(job) => self.accept(job),
                Order::Cancel { attempt } => self.cancel(&attempt),
                Order::Settings(settings) => self.settings = Arc::new(settings),
            }
        }
    }

    /// Takes a job, unless it was handed in before: then it is the same job, whatever became of it and of its
    /// directory. Those of before this generation are told when they are claimed.
    fn accept(&mut self, job: Job) {
        if self.known.contains(&job.attempt) {
            return;
        }
        self.known.insert(job.attempt.clone());
        self.waiting.push_back(Job { settings: self.settings.clone(), ..job });
    }

    fn cancel(&mut self, attempt: &str) {
        let unstarted = [&mut self.waiting, &mut self.claimed]
            .into_iter()
            .find_map(|jobs| jobs.remove(jobs.iter().position(|job| job.attempt == attempt)?));
        if let Some(job) = unstarted {
            return self.end_unstarted(&job, Reason::Cancelled, "cancelled before it started");
        }
        if let Some(running) = self.running.iter_mut().find(|running| running.job.attempt == attempt) {
            running.terminate(Reason::Cancelled, None);
        }
    }

    fn enforce(&mut self) {
        let now = Instant::now();
        for running in &mut self.running {
            running.enforce(now);
        }
        for index in 0..self.running.len() {
            if self.running[index].announce_at.is_some_and(|at| at <= now) {
                self.announce(index);
            }
        }
    }

    /// Writes into the journal that a job runs, and as which process.
    fn announce(&mut self, index: usize) {
        let running = &mut self.running[index];
        running.announce_at = None;
        let pid = running.pid.as_raw_nonzero().get();
        let Some(start_time) = machine::process_start_time(pid) else { return };
        let (boot, started_at) = (self.reign.boot.clone(), running.started_at.clone());
        let process = Process { pid, start_time, boot, started_at };
        running.process = Some(process.clone());
        self.pool.name(&running.grant, &process);
        // without this line a later supervisor looks for the process, or takes the job for lost, which is safe
        let _ = self.journal.append(&Entry::Start { attempt: running.job.attempt.clone(), process });
        failpoint::hit("local.started");
        self.wake_due.get_or_insert_with(|| Instant::now() + WAKE_INTERVAL);
    }

    /// Appends what was added to the journal and not written yet.
    fn write_journal(&mut self) {
        if self.journal.write().is_err() {
            self.record_at.get_or_insert_with(|| Instant::now() + start::WRITE_RETRY);
        }
    }

    fn wake_ticks(&mut self) {
        if self.wake_due.is_some_and(|due| due <= Instant::now()) {
            self.write_journal();
            self.wake_due = None;
            let _ = self.wake.write_at(b".", 0);
        }
    }

    fn wait(&mut self, watch: &Watch, idle_left: Option<Duration>) -> io::Result<()> {
        self.write_journal();
        let now = Instant::now();
        let timers = self.running.iter().map(Running::next_timer);
        let timers = timers.chain([self.wake_due, self.start_at, self.record_at, self.ask_at]);
        let keep = (!self.running.is_empty()).then(|| now + KEEP);
        let timeout = timers.chain([keep]).flatten().map(|at| at.saturating_duration_since(now)).chain(idle_left).min();
        let watched: Vec<usize> =
            (0..self.running.len()).filter(|index| self.running[*index].pidfd.is_some()).collect();
        let pidfds = watched.iter().filter_map(|index| self.running[*index].pidfd.as_ref()).map(AsFd::as_fd);
        let descriptors: Vec<_> = std::iter::once(watch.as_fd()).chain(pidfds).collect();
        let ready = machine::poll_readable(&descriptors, timeout)?;
        drop(descriptors);
        let ended = |index: &usize| match watched.binary_search(index) {
            Ok(place) => ready[place + 1],
            Err(_) => self.running[*index].has_ended(),
        };
        let mut ended: Vec<usize> = (0..self.running.len()).filter(ended).collect();
        while let Some(index) = ended.pop() {
            self.reap(index);
        }
        if ready[0] && watch.drain()? {
            let orders = self.queue.read()?;
            self.take(orders);
            self.pool.keep();
        } else if ready.iter().all(|ready| !ready) {
            self.pool.keep();
        }
        Ok(())
    }

    /// Opens the files; nothing if another supervisor has them.
    fn open(directory: &Path) -> io::Result<Option<Self>> {
        let settings = Arc::new(Settings::read(directory)?.unwrap_or_default());
        // the queue first: where there is none, it is made together with the journal
        let queue = Queue::open(directory, super::record::Position::default())?;
        if let Some(wrong) = aside::foreign(directory)? {
            return Err(wrong.foreign.into());
        }
        let Some(journal) = Journal::open(directory)? else { return Ok(None) };
        Ok(Some(Self {
            directory: directory.to_owned(),
            queue,
            journal,
            ended: Ended::open(directory)?,
            // not for appending: it is written in place and never grows
            wake: open_own(OpenOptions::new().write(true).create(true).truncate(false), &directory.join("wake"))?,
            wake_due: None,
            reign: Reign::of(directory)?,
            settings,
            starter: Starter::new()?,
            gpus_before: HashMap::new(),
            known: HashSet::new(),
            waiting: VecDeque::new(),
            claimed: VecDeque::new(),
            running: Vec::new(),
            unrecorded: Vec::new(),
            start_at: None,
            no_room: None,
            pool: Pool::open(directory)?,
            first: First::default(),
            never: HashMap::new(),
            waits_for_machine: false,
            ask_at: None,
            short: false,
            record_at: None,
            anew_at: None,
            cramped: 0,
            disowned: false,
        }))
    }
}
