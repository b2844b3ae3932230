//! A job that runs, and what its time and its output bring.
use super::pool::{Grant, Needs};
use super::record::{Job, Process};
use crate::backend::exit::Reason;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// Between the polite and the final signal.
const GRACE: Duration = Duration::from_secs(5);
/// The shortest and the longest time between two looks at the size of what a job has printed.
const LOOK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// What is taken for the fastest that a job can print, in bytes a second: the next look comes before it can be over.
const PRINTS_PER_S: u64 = 1_000_000_000;
/// How often a process is looked after for which there was no descriptor to wait on.
const UNWATCHED: Duration = Duration::from_millis(100);

pub(super) struct Running {
    pub(super) job: Job,
    pub(super) pid: Pid,
    /// Becomes readable when the process ends; absent where the machine had no descriptor to spare.
    pub(super) pidfd: Option<OwnedFd>,
    /// Absent for a process that an earlier supervisor started: nobody sees its exit status.
    pub(super) child: Option<Child>,
    pub(super) started_at: String,
    /// The process, once it stands in the journal.
    pub(super) process: Option<Process>,
    /// When to write it there; a job that ends before needs no such line.
    pub(super) announce_at: Option<Instant>,
    /// What it takes of the machine.
    pub(super) needs: Needs,
    pub(super) grant: Grant,
    /// When to announce the end of its time, if that is wanted and not done.
    pub(super) warn_at: Option<Instant>,
    pub(super) deadline: Option<Instant>,
    /// When to look at the size of its output.
    pub(super) look_at: Option<Instant>,
    pub(super) ending: Option<Stopped>,
}

/// Why a job was told to end, and when it is made to.
#[derive(Debug, Clone)]
pub(super) struct Stopped {
    pub(super) reason: Reason,
    pub(super) message: Option<String>,
    kill_at: Option<Instant>,
}

impl Running {
    /// Asks the job to end.
    pub(super) fn terminate(&mut self, reason: Reason, message: Option<String>) {
        if self.ending.is_none() {
            let _ = kill_process_group(self.pid, Signal::TERM);
            self.ending = Some(Stopped { reason, message, kill_at: Some(Instant::now() + GRACE) });
        }
    }

    /// Sends the signals whose time has come.
    pub(super) fn enforce(&mut self, now: Instant) {
        match &mut self.ending {
            Some(Stopped { kill_at: kill_at @ Some(_), .. }) if kill_at.is_some_and(|at| at <= now) => {
                let _ = kill_process_group(self.pid, Signal::KILL);
                *kill_at = None;
            }
            Some(_) => {}
            None if self.deadline.is_some_and(|deadline| deadline <= now) => self.terminate(Reason::Timeout, None),
            None => {
                if self.warn_at.is_some_and(|at| at <= now) {
                    let _ = kill_process_group(self.pid, Signal::USR1);
                    self.warn_at = None;
                }
                if self.look_at.is_some_and(|at| at <= now) {
                    self.look(now);
                }
            }
        }
    }

    /// Ends the job if it has printed more than it may.
    fn look(&mut self, now: Instant) {
        let Some(max) = self.job.log_max else { return };
        let size = |name| fs::symlink_metadata(Path::new(&self.job.directory).join(name)).map_or(0, |file| file.len());
        let sizes = ["stdout", "stderr"].map(|name| (name, size(name)));
        let largest = sizes.iter().map(|(_, size)| *size).max().unwrap_or(0);
        match sizes.into_iter().find(|(_, size)| *size > max) {
            Some((name, size)) => {
                let text = format!("`{name}` has {size} bytes, and `limits.attempt_log_mb` is {}", max / (1024 * 1024));
                self.terminate(Reason::LogLimit, Some(text));
            }
            None => {
                let left = Duration::from_millis((max - largest) / (PRINTS_PER_S / 1000));
                self.look_at = Some(now + left.clamp(LOOK.0, LOOK.1));
            }
        }
    }

    /// When the next of them is due.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        let unwatched = self.pidfd.is_none().then(|| Instant::now() + UNWATCHED);
        let timers = match &self.ending {
            None => [self.warn_at, self.deadline, self.look_at, self.announce_at, unwatched],
            Some(stopped) => [stopped.kill_at, None, None, None, unwatched],
        };
        timers.into_iter().flatten().min()
    }
}

/// When to look first at what a job prints.
pub(super) fn first_look(job: &Job) -> Option<Instant> {
    job.log_max.map(|_| Instant::now() + LOOK.0)
}

/// How long the job may run; nothing for a time that no clock reaches.
pub(super) fn walltime(job: &Job) -> Option<Duration> {
    job.walltime_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

/// When to announce the end of the job's time; at once if that moment has passed.
pub(super) fn warn_at(job: &Job, deadline: Option<Instant>) -> Option<Instant> {
    let before = Duration::from_secs(u64::from(job.signal_before_s?));
    deadline.map(|deadline| deadline.checked_sub(before).unwrap_or_else(Instant::now))
}
