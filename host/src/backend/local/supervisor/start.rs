//! Claims jobs and starts them: a claim is durable before the first of its jobs starts, and is made for jobs that have
//! their room in hand.
use super::super::pool::Grant;
use super::super::record::{Entry, Job, now};
use super::super::running::{Running, first_look, walltime, warn_at};
use super::super::starter::NotStarted;
use super::Supervisor;
use super::room::Picked;
use crate::backend::exit::Reason;
use crate::ground::failpoint;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::time::{Duration, Instant};

/// How many jobs are made durable as claimed at once. While jobs are short those that come next are claimed with them,
/// since what a claim costs is more than they take; others are claimed when there is room for them.
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
            if self.is_full(&[]) || self.claimed.is_empty() && self.is_disowned() {
                (self.ask_at, self.waits_for_machine) = (None, false);
                break;
            }
            let mut picked = Vec::new();
            while picked.len() < CLAIM_BATCH
                && let Some(next) = self.pick(&picked)
            {
                picked.push(next);
            }
            if picked.is_empty() {
                break;
            }
            failpoint::hit("local.room");
            self.start_picked(picked);
        }
        self.pool.settle(self.waits_for_machine);
    }

    fn start_picked(&mut self, mut picked: Vec<Picked>) {
        if self.claim(&mut picked).is_err() {
            self.put_back(picked);
            return;
        }
        let mut picked = picked.into_iter();
        while let Some(Picked { job, needs, grant, claimed }) = picked.next() {
            // what is claimed is lost without the journal, so each start looks for that; what is not, without either
            if !self.journal.is_in_place().unwrap_or(true) && self.is_disowned() {
                self.pool.give_back(&grant);
                return self.abandon(picked);
            }
            let starting = Entry::Starting { attempt: job.attempt.clone(), gpus: grant.gpus.clone() };
            if self.journal.append(&starting).is_err() {
                let left = std::iter::once(Picked { job, needs, grant, claimed }).chain(picked);
                return self.put_back(left.collect());
            }
            failpoint::hit("local.starting");
            self.start(job, needs, grant);
            if self.start_at.is_some() {
                return self.put_back(picked.collect());
            }
        }
    }

    /// Gives back the room of jobs that never start.
    fn abandon(&mut self, picked: impl Iterator<Item = Picked>) {
        picked.for_each(|picked| self.pool.give_back(&picked.grant));
    }

    /// Puts jobs back where they were picked, to be picked again after a while.
    fn put_back(&mut self, picked: Vec<Picked>) {
        for Picked { job, grant, claimed, .. } in picked.into_iter().rev() {
            self.pool.give_back(&grant);
            if claimed { self.claimed.push_front(job) } else { self.waiting.push_front(job) }
        }
        self.start_at.get_or_insert_with(|| Instant::now() + WRITE_RETRY);
    }

    /// Makes the claim of these jobs durable. After a crash a claim decides, so the queue is made durable before it.
    fn claim(&mut self, picked: &mut Vec<Picked>) -> io::Result<()> {
        if picked.iter().all(|picked| picked.claimed) {
            return Ok(());
        }
        self.queue.sync()?;
        // what ended before this generation of the journal is handed in again only by mistake
        let mut place = 0;
        while place < picked.len() {
            let Picked { job, grant, claimed, .. } = &picked[place];
            if !claimed && self.ended.find(&job.attempt)?.is_some() {
                self.pool.give_back(grant);
                picked.remove(place);
            } else {
                place += 1;
            }
        }
        let mut ahead = if self.short { CLAIM_BATCH.saturating_sub(picked.len()) } else { 0 }.min(self.waiting.len());
        let mut place = 0;
        while place < ahead {
            if self.ended.find(&self.waiting[place].attempt)?.is_some() {
                self.waiting.remove(place);
                ahead = ahead.min(self.waiting.len());
            } else {
                place += 1;
            }
        }
        let new = picked.iter().filter(|picked| !picked.claimed).map(|picked| &picked.job);
        let attempts: Vec<String> = new.chain(self.waiting.iter().take(ahead)).map(|job| job.attempt.clone()).collect();
        if attempts.is_empty() {
            return Ok(());
        }
        self.journal.append(&Entry::Claim { under: self.reign.clone(), attempts })?;
        self.journal.sync()?;
        failpoint::hit("local.claim");
        picked.iter_mut().for_each(|picked| picked.claimed = true);
        self.claimed.extend(self.waiting.drain(..ahead));
        Ok(())
    }

    fn start(&mut self, job: Job, needs: super::super::pool::Needs, grant: Grant) {
        // one that asks for none is not to use those of others
        let told = (!grant.gpus.is_empty() || self.pool.has_gpus()).then_some(grant.gpus.as_slice());
        let child = match self.starter.start(&job, told) {
            Ok(child) => child,
            Err(not_started) => {
                self.pool.give_back(&grant);
                return self.not_started(job, not_started);
            }
        };
        failpoint::hit("local.spawned");
        (self.no_room, self.cramped) = (None, 0);
        let pid = Pid::from_child(&child);
        let deadline = walltime(&job).and_then(|walltime| Instant::now().checked_add(walltime));
        let (warn_at, look_at) = (warn_at(&job, deadline), first_look(&job));
        self.running.push(Running {
            job,
            pid,
            // without one it is looked after by the clock
            pidfd: pidfd_open(pid, PidfdFlags::empty()).ok(),
            child: Some(child),
            started_at: now(),
            process: None,
            announce_at: Some(Instant::now() + ANNOUNCE_AFTER),
            needs,
            grant,
            warn_at,
            deadline,
            look_at,
            ending: None,
        });
    }

    fn not_started(&mut self, job: Job, why: NotStarted) {
        match why {
            NotStarted::Ever(reason, message) => self.end_unstarted(&job, reason, &message),
            NotStarted::Before => self.find_started(job),
            NotStarted::Now { why, own } => {
                self.cramped = if own { self.cramped + 1 } else { 0 };
                self.wait_for_room(job, why);
            }
        }
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
