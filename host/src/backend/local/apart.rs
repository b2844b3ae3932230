//! A command that is carried out as a job is, at once and apart from any run: whoever wants it done waits for it.
use super::SETUP_MARK;
use super::record::{Job, Settings, now};
use super::starter::{NotStarted, Starter};
use super::supervisor::exited;
use crate::backend::exit::{ExitRecord, Reason};
use crate::backend::setup::guarded;
use crate::ground::machine::poll_readable;
use crate::model::attempt_dir::{STDERR, STDOUT};
use crate::model::config::LocalConfig;
use crate::model::contract::{Detail, Status};
use crate::model::job::JobDocument;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is to be carried out.
#[derive(Debug)]
pub struct Apart<'a> {
    /// As an operator would hand it to a backend.
    pub job: JobDocument,
    /// The settings of that backend.
    pub backend: &'a LocalConfig,
    /// What jobs inherit.
    pub environment: BTreeMap<String, String>,
    /// Variables on top of that, which say where it is.
    pub place: Vec<(&'static str, String)>,
    /// How long it may take.
    pub limit: Duration,
    /// What it may print to its standard output and to its standard error, each, in bytes.
    pub log_max: u64,
}

/// How it ended.
#[derive(Debug)]
pub enum Carried {
    /// Well.
    Well,
    /// Badly, as a job would have.
    Badly(Detail),
    /// It was not waited for.
    Stopped,
}

/// How often to look how much it has printed.
const LOOK: Duration = Duration::from_secs(1);

/// Carries it out in a directory of its own, by its absolute path, where it leaves what it prints as a job does. It is
/// ended as soon as `stop` can be read; whatever it started goes with it.
///
/// # Errors
/// If it cannot be started for want of what passes, or not be waited for.
pub fn run_apart(apart: Apart<'_>, directory: &Path, stop: BorrowedFd<'_>) -> io::Result<Carried> {
    let Apart { mut job, backend, environment, place, limit, log_max } = apart;
    let LocalConfig { setup, shell, .. } = backend;
    let guarded = if backend.setup_may_fail { setup.clone() } else { guarded(setup, SETUP_MARK, "") };
    let (mut env, secrets) = job.take_env();
    for (name, value) in place {
        env.entry(name.to_owned()).or_insert(value);
    }
    let settings = Settings { environment, setup: guarded, shell: shell.clone(), ..Settings::default() };
    let job = Job {
        attempt: "apart".to_owned(),
        directory: directory.display().to_string(),
        queued_at: now(),
        command: job.launched(shell),
        env,
        secrets,
        walltime_s: None,
        signal_before_s: None,
        needs: None,
        log_max: None,
        settings: Arc::new(settings),
    };
    let (reason, code, signal, message) = match Starter::new()?.start(&job, None) {
        Ok(mut child) => {
            let ended = waited_for(&child, (directory, log_max), limit, stop);
            // not yet waited for, so the group is still its own: what it left behind ends with it
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let status = child.wait()?;
            match ended? {
                Ended::Stopped => return Ok(Carried::Stopped),
                Ended::Late => (Reason::Timeout, None, None, None),
                Ended::Printed(why) => (Reason::LogLimit, None, None, Some(why)),
                Ended::Itself => match status.code() {
                    Some(code) => {
                        let (reason, message) = exited(&job, code);
                        (reason, Some(code), None, message)
                    }
                    None => (Reason::Signal, None, status.signal(), None),
                },
            }
        }
        Err(NotStarted::Ever(reason, why)) => (reason, None, None, Some(why)),
        Err(NotStarted::Now { why, .. }) => return Err(io::Error::other(why)),
        Err(NotStarted::Before) => return Err(io::Error::other("its directory is not its own")),
    };
    let record = ExitRecord { code, signal, message, ..ExitRecord::new(job.attempt, reason, now()) };
    Ok(match record.status() {
        Status::Succeeded => Carried::Well,
        Status::Failed(detail) | Status::Lost(detail) | Status::NotStarted(detail) => Carried::Badly(detail),
        Status::Queued | Status::Running(_) | Status::Waiting { .. } | Status::Cancelled | Status::Unavailable(_) => {
            Carried::Stopped
        }
    })
}

/// Why a command is not waited for any more.
enum Ended {
    Itself,
    Late,
    Printed(String),
    Stopped,
}

fn waited_for(
    child: &Child,
    (directory, log_max): (&Path, u64),
    limit: Duration,
    stop: BorrowedFd<'_>,
) -> io::Result<Ended> {
    let end = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let begun = Instant::now();
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(Ended::Late);
        }
        let ready = poll_readable(&[end.as_fd(), stop], Some(left.min(LOOK)))?;
        if ready.first() == Some(&true) {
            return Ok(Ended::Itself);
        }
        if ready.last() == Some(&true) {
            return Ok(Ended::Stopped);
        }
        let is_over = |name: &&&str| directory.join(name).symlink_metadata().is_ok_and(|file| file.len() > log_max);
        if let Some(name) = [STDOUT, STDERR].iter().find(is_over) {
            let most = log_max / (1024 * 1024);
            return Ok(Ended::Printed(format!("`{name}` has more than `limits.attempt_log_mb`, which is {most}")));
        }
    }
}
