//! How jobs end, and how that gets into the journal and into `exit.json`.
use super::super::journal::Progress;
use super::super::record::{Entry, Job, now};
use super::super::running::Running;
use super::super::starter::SETUP_MARK;
use super::start::WRITE_RETRY;
use super::{Ending, Supervisor, WAKE_INTERVAL};
use crate::backend::exit::{ExitRecord, Reason, disk_refuses, write_exit};
use crate::backend::job::Command;
use crate::backend::setup;
use crate::ground::failpoint;
use crate::ground::files::read_regular;
use crate::ground::machine;
use rustix::process::{Signal, kill_process_group};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wait4::Wait4;

const MIB: u64 = 1024 * 1024;
/// The longest note on a line of `setup` that is read, in bytes.
const MARK_MAX: u64 = 64;

impl Running {
    /// Whether the process has ended, asked without a descriptor to wait on.
    pub(super) fn has_ended(&self) -> bool {
        machine::process_start_time(self.pid.as_raw_nonzero().get()).is_none()
    }
}

impl Supervisor {
    /// Takes note of a process that has ended.
    pub(super) fn reap(&mut self, index: usize) {
        let mut running = self.running.swap_remove(index);
        if running.child.is_some() || running.ending.is_some() {
            // not yet waited for, so the group is still ours: what the command left behind ends with it
            let _ = kill_process_group(running.pid, Signal::KILL);
        }
        let ended = running.child.take().and_then(|child| child.wait4().ok());
        let (code, signal) = ended.map_or((None, None), |ended| (ended.status.code(), ended.status.signal()));
        let unseen = || "it ran, and its supervisor died meanwhile, so how it ended was not seen".to_owned();
        let (reason, message) = match (running.ending, code, signal) {
            (Some(stopped), _, _) => (stopped.reason, stopped.message),
            (None, Some(code), _) => exited(&running.job, code),
            (None, None, Some(_)) => (Reason::Signal, None),
            (None, None, None) => (Reason::Unseen, Some(unseen())),
        };
        // there may be room now for what had none
        self.start_at = None;
        self.short = running.announce_at.is_some();
        self.pool.give_back(&running.grant);
        let started_at = Some(running.started_at);
        let record = ExitRecord {
            started_at,
            code,
            signal,
            cpu_s: ended.map(|ended| (ended.rusage.utime + ended.rusage.stime).as_secs_f64()),
            memory_peak_mb: ended.map(|ended| ended.rusage.maxrss.div_ceil(MIB)),
            ..of_job(&running.job, reason, message)
        };
        self.end(running.job.directory.into(), record);
    }

    /// Ends a job that did not start, or of which that is not known.
    pub(super) fn end_unstarted(&mut self, job: &Job, reason: Reason, message: &str) {
        let record = of_job(job, reason, Some(message.to_owned()));
        let code = (reason == Reason::NotFound).then_some(127);
        self.end(PathBuf::from(&job.directory), ExitRecord { code, ..record });
    }

    /// Ends a job that ran, and of which nobody saw how it ended.
    pub(super) fn end_unseen(&mut self, job: &Job, started_at: &str, message: &str) {
        let started_at = Some(started_at.to_owned());
        let record = of_job(job, Reason::Unseen, Some(message.to_owned()));
        self.end(PathBuf::from(&job.directory), ExitRecord { started_at, ..record });
    }

    /// Ends an attempt whose order has left the queue.
    pub(super) fn end_without_job(&mut self, attempt: String, progress: Progress) {
        let (record, journaled) = match progress {
            Progress::Seen(record) => (record, true),
            Progress::Started(process) => {
                let text = "it ran, and its entry in the queue is gone".to_owned();
                let started_at = Some(process.started_at);
                (ExitRecord { started_at, ..record(attempt, Reason::Unseen, Some(text)) }, false)
            }
            Progress::Claimed(_) | Progress::Starting(_) => {
                let text = "its entry in the queue is gone, and whether it had started is not known".to_owned();
                (record(attempt, Reason::Lost, Some(text)), false)
            }
        };
        self.end_if_possible(Ending { directory: PathBuf::new(), record, journaled });
    }

    fn end(&mut self, directory: PathBuf, record: ExitRecord) {
        self.end_if_possible(Ending { directory, record, journaled: false });
    }

    /// Journals the end and writes the exit record; what the disk refuses is tried again later. Where the job left no
    /// place for the record, the journal alone tells.
    pub(super) fn end_if_possible(&mut self, mut ending: Ending) {
        if !ending.journaled {
            if self.journal.append(&Entry::Seen(ending.record.clone())).is_err() {
                return self.unrecorded.push(ending);
            }
            ending.journaled = true;
        }
        failpoint::hit("local.end-seen");
        let mut note = None;
        if !ending.directory.as_os_str().is_empty() {
            match write_exit(&ending.directory, &ending.record) {
                Ok(()) => {}
                Err(error) if disk_refuses(&error) => return self.unrecorded.push(ending),
                Err(error) => note = Some(format!("`exit.json` cannot be written into the attempt directory: {error}")),
            }
        }
        failpoint::hit("local.exit-recorded");
        // written with the next line, at the latest before anybody is told or this process waits
        if self.journal.add(&Entry::End { attempt: ending.record.attempt.clone(), note }).is_err() {
            return self.unrecorded.push(ending);
        }
        let at = Instant::now() + if self.waiting.is_empty() { Duration::ZERO } else { WAKE_INTERVAL };
        self.wake_due = Some(self.wake_due.map_or(at, |due| due.min(at)));
    }

    /// Tries again what the disk refused.
    pub(super) fn write_unrecorded(&mut self) {
        if self.unrecorded.is_empty() || self.record_at.is_some() {
            return;
        }
        for ending in std::mem::take(&mut self.unrecorded) {
            self.end_if_possible(ending);
        }
        self.record_at = (!self.unrecorded.is_empty()).then(|| Instant::now() + WRITE_RETRY);
    }
}

/// What a code means: that of the command, unless a shell that goes through `setup` first tells of that.
pub(in crate::backend::local) fn exited(job: &Job, code: i32) -> (Reason, Option<String>) {
    if code == 0 || job.settings.setup.is_empty() {
        return (Reason::Exited, None);
    }
    let mark = read_regular(&Path::new(&job.directory).join(SETUP_MARK), MARK_MAX).ok().flatten();
    if let Some((line, code)) = mark.and_then(|text| setup::read_mark(&String::from_utf8_lossy(&text))) {
        return (Reason::Setup, Some(setup::failed(line, code)));
    }
    match (&job.command, code) {
        (Command::Argv(_), 127) => (Reason::NotFound, None),
        (Command::Argv(_), 126) => (Reason::NotExecutable, None),
        (Command::Argv(_) | Command::Shell(_), _) => (Reason::Exited, None),
    }
}

/// An end of now, of a job whose order is known.
fn of_job(job: &Job, reason: Reason, message: Option<String>) -> ExitRecord {
    ExitRecord { queued_at: Some(job.queued_at.clone()), ..record(job.attempt.clone(), reason, message) }
}

/// An end of now.
fn record(attempt: String, reason: Reason, message: Option<String>) -> ExitRecord {
    ExitRecord { message, host: Some(machine::host_name()), ..ExitRecord::new(attempt, reason, now()) }
}
