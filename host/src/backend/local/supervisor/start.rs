//! Claims jobs and starts them: a claim is durable before the first of its jobs starts.
use super::super::record::{Entry, Job, now};
use super::super::running::{Running, first_look, walltime, warn_at};
use super::super::starter::NotStarted;
use super::Supervisor;
use crate::backend::exit::Reason;
use crate::ground::failpoint;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::time::{Duration, Instant};

/// How many jobs are made durable as claimed at once.
const CLAIM_BATCH: usize = 16;
/// Between two tries to write what the disk refused.
pub(super) const WRITE_RETRY: Duration = Duration::from_millis(500);
/// Between two tries to start what the machine has no room for, if no job of ours ends before.
const ROOM_RETRY: Duration = Duration::from_secs(1);
/// How often to try before a fresh process is to try it, if nothing of ours runs that could make room.
pub(super) const CRAMPED_MAX: u32 = 3;
/// How long a job must live for the journal to say that it runs: nobody looks so soon.
const ANNOUNCE_AFTER: Duration = Duration::from_millis(50);

impl Supervisor {
    pub(super) fn start_jobs(&mut self) {
        while self.start_at.is_none() {
            let used: u32 = self.running.iter().map(|running| running.cores).sum();
            let Some(next) = self.claimed.front().or_else(|| self.waiting.front()) else { return };
            if used + self.cores_of(next) > self.settings.cores.max(1) {
                return;
            }
            if self.claimed.is_empty() && self.is_disowned() {
                return;
            }
            if self.claimed.is_empty() && self.claim().is_err() {
                self.start_at = Some(Instant::now() + WRITE_RETRY);
                return;
            }
            // what is claimed is lost without the journal, so each start looks for that; what is not, without either
            if !self.journal.is_in_place().unwrap_or(true) && self.is_disowned() {
                return;
            }
            let Some(job) = self.claimed.pop_front() else { continue };
            if self.journal.append(&Entry::Starting { attempt: job.attempt.clone() }).is_err() {
                self.claimed.push_front(job);
                self.start_at = Some(Instant::now() + WRITE_RETRY);
                return;
            }
            failpoint::hit("local.starting");
            self.start(job);
        }
    }

    /// Makes the claim of the next jobs durable. After a crash a claim decides, so the queue is made durable before it.
    fn claim(&mut self) -> io::Result<()> {
        self.queue.sync()?;
        let mut count = 0;
        while count < CLAIM_BATCH {
            let Some(job) = self.waiting.get(count) else { break };
            // what ended before this generation of the journal is handed in again only by mistake
            if self.ended.find(&job.attempt)?.is_some() {
                self.waiting.remove(count);
            } else {
                count += 1;
            }
        }
        if count == 0 {
            return Ok(());
        }
        let attempts = self.waiting.iter().take(count).map(|job| job.attempt.clone()).collect();
        self.journal.append(&Entry::Claim { under: self.reign.clone(), attempts })?;
        self.journal.sync()?;
        failpoint::hit("local.claim");
        self.claimed.extend(self.waiting.drain(..count));
        Ok(())
    }

    fn start(&mut self, job: Job) {
        let child = match self.starter.start(&job) {
            Ok(child) => child,
            Err(NotStarted::Ever(reason, message)) => return self.end_unstarted(&job, reason, &message),
            Err(NotStarted::Before) => return self.find_started(job),
            Err(NotStarted::Now { why, own }) => {
                self.cramped = if own { self.cramped + 1 } else { 0 };
                return self.wait_for_room(job, why);
            }
        };
        failpoint::hit("local.spawned");
        (self.no_room, self.cramped) = (None, 0);
        let pid = Pid::from_child(&child);
        let deadline = walltime(&job).and_then(|walltime| Instant::now().checked_add(walltime));
        let (cores, warn_at, look_at) = (self.cores_of(&job), warn_at(&job, deadline), first_look(&job));
        self.running.push(Running {
            job,
            pid,
            // without one it is looked after by the clock
            pidfd: pidfd_open(pid, PidfdFlags::empty()).ok(),
            child: Some(child),
            started_at: now(),
            process: None,
            announce_at: Some(Instant::now() + ANNOUNCE_AFTER),
            cores,
            warn_at,
            deadline,
            look_at,
            ending: None,
        });
    }

    /// Goes on with a job that its directory shows to have been started, although the journal does not tell, which
    /// somebody must have cut: it is looked after while it runs, and lost otherwise.
    fn find_started(&mut self, job: Job) {
        if !self.adopt_found(&job) {
            let why =
                "its directory shows that it was started, the journal does not tell, and it does not run any more";
            self.end_unstarted(&job, Reason::Lost, why);
        }
    }

    /// Puts a job back for which the machine has no process, descriptor, memory or disk now, until one of ours has
    /// ended or some time has passed. It provably did not start, and the journal says both.
    fn wait_for_room(&mut self, job: Job, why: String) {
        if self.no_room.as_ref() != Some(&job.attempt) {
            self.no_room = Some(job.attempt.clone());
            self.wake_due.get_or_insert_with(Instant::now);
        }
        // without this line it is lost if the supervisor dies, which is safe
        let _ = self.journal.append(&Entry::NoRoom { attempt: job.attempt.clone(), why });
        failpoint::hit("local.no-room");
        self.claimed.push_front(job);
        self.start_at = Some(Instant::now() + ROOM_RETRY);
    }
}
