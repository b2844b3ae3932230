//! A job that runs, and the signals that its time brings.
use super::record::Job;
use crate::backend::exit::Reason;
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

/// Between the polite and the final signal.
const GRACE: Duration = Duration::from_secs(5);

pub(super) struct Running {
    pub(super) attempt: String,
    pub(super) directory: PathBuf,
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    /// Absent for a process that an earlier supervisor started: nobody sees its exit status.
    pub(super) child: Option<Child>,
    pub(super) started_at: String,
    pub(super) slots: u32,
    /// When to announce the end of its time, if that is wanted and not done.
    pub(super) warn_at: Option<Instant>,
    pub(super) deadline: Option<Instant>,
    pub(super) ending: Option<(Reason, Option<Instant>)>,
}

impl Running {
    /// Asks the job to end.
    pub(super) fn terminate(&mut self, reason: Reason) {
        if self.ending.is_none() {
            let _ = kill_process_group(self.pid, Signal::TERM);
            self.ending = Some((reason, Some(Instant::now() + GRACE)));
        }
    }

    /// Sends the signals whose time has come.
    pub(super) fn enforce(&mut self, now: Instant) {
        match self.ending {
            None if self.deadline.is_some_and(|deadline| deadline <= now) => self.terminate(Reason::Timeout),
            None if self.warn_at.is_some_and(|at| at <= now) => {
                let _ = kill_process_group(self.pid, Signal::USR1);
                self.warn_at = None;
            }
            Some((reason, Some(at))) if at <= now => {
                let _ = kill_process_group(self.pid, Signal::KILL);
                self.ending = Some((reason, None));
            }
            _ => {}
        }
    }

    /// When the next of them is due.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        match self.ending {
            None => self.warn_at.or(self.deadline),
            Some((_, kill_at)) => kill_at,
        }
    }
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
