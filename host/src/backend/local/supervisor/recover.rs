//! What an earlier supervisor left: its jobs are gone on with, or their end is said as far as it is known.
use super::super::journal::Progress;
use super::super::queue::Queue;
use super::super::record::{Job, Order, Process, now};
use super::super::running::{Running, first_look, walltime, warn_at};
use super::{Ending, Supervisor, room};
use crate::backend::exit::Reason;
use crate::ground::machine;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

impl Supervisor {
    pub(super) fn recover(&mut self) -> io::Result<()> {
        let journaled = self.journal.read()?;
        self.known = journaled.known;
        self.gpus_before = journaled.gpus;
        self.queue = Queue::open(&self.directory, journaled.queue)?;
        let mut open = journaled.open;
        for order in self.queue.read()? {
            match order {
                Order::Submit(job) => match open.remove(&job.attempt) {
                    Some(progress) => {
                        let settings = self.settings.clone();
                        self.resume(Job { settings, ..job }, progress);
                    }
                    None => self.accept(job),
                },
                Order::Cancel { attempt } => self.cancel(&attempt),
                Order::Settings(settings) => self.settings = Arc::new(settings),
            }
        }
        for (attempt, progress) in open {
            self.end_without_job(attempt, progress);
        }
        Ok(())
    }

    /// Decides over a job of an earlier supervisor.
    fn resume(&mut self, job: Job, progress: Progress) {
        let boot = self.reign.boot.clone();
        match progress {
            Progress::Seen(record) => {
                self.end_if_possible(Ending { directory: PathBuf::from(&job.directory), record, journaled: true });
            }
            Progress::Claimed(under) if under.lasts(&self.reign) => self.claimed.push_back(job),
            Progress::Starting(under) | Progress::Claimed(under) if under.boot == boot => {
                if !self.adopt_found(&job) {
                    let why = "its supervisor died, and whether it had started is not known";
                    self.end_unstarted(&job, Reason::Lost, why);
                }
            }
            Progress::Started(process) if process.boot == boot => {
                let started_at = process.started_at.clone();
                if !self.adopt(&job, process) {
                    let why = "it ran, and ended while no supervisor was there to see how";
                    self.end_unseen(&job, &started_at, why);
                }
            }
            Progress::Claimed(_) | Progress::Starting(_) => {
                let why =
                    "the machine was restarted after it had been claimed, and whether it had started is not known";
                self.end_unstarted(&job, Reason::Lost, why);
            }
            Progress::Started(process) => {
                self.end_unseen(&job, &process.started_at, "it ran, and the machine was restarted meanwhile");
            }
        }
    }

    /// Watches the process of a job that may have been started, if there is one; `false` if not.
    pub(super) fn adopt_found(&mut self, job: &Job) -> bool {
        let entry = format!("MATTERSTACK_ATTEMPT={}", job.attempt);
        let found = machine::processes_with_environment(&entry).unwrap_or_default();
        let found = found.into_iter().find_map(|pid| Some((pid, machine::process_start_time(pid)?)));
        let boot = self.reign.boot.clone();
        let process = found.map(|(pid, start_time)| Process { pid, start_time, boot, started_at: now() });
        process.is_some_and(|process| self.adopt(job, process))
    }

    /// Watches a process that an earlier supervisor started; `false` if it is gone.
    fn adopt(&mut self, job: &Job, process: Process) -> bool {
        let Some(pid) = Pid::from_raw(process.pid) else { return false };
        let pidfd = pidfd_open(pid, PidfdFlags::empty());
        if machine::process_start_time(process.pid) != Some(process.start_time) {
            return false;
        }
        let age = machine::since_start(process.start_time);
        let deadline = walltime(job).and_then(|walltime| Instant::now().checked_add(walltime.saturating_sub(age)));
        // it runs, whether there is room or not
        let needs = room::needs_of(job);
        let gpus = self.gpus_before.remove(&job.attempt).unwrap_or_default();
        let grant = self.pool.hold(needs.clone(), gpus, Some(&process));
        self.running.push(Running {
            job: job.clone(),
            pid,
            pidfd: pidfd.ok(),
            child: None,
            started_at: process.started_at.clone(),
            process: Some(process),
            announce_at: None,
            needs,
            grant,
            warn_at: warn_at(job, deadline),
            deadline,
            look_at: first_look(job),
            ending: None,
        });
        true
    }
}
