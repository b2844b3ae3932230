//! Tries everything once that a run will need of a backend, step by step, each with what would help if it fails.
//!
//! The job goes through the backend itself, from a run's directory made for the purpose, so what works here works in a
//! run. Whatever happens, what was made here is removed; over there what a failed step could not remove is named.
use super::registry::Backends;
use super::staging::Carrier;
use super::transport::here::Here;
use super::transport::ssh::{Ssh, SshError};
use super::transport::{Exec, NoAnswer, Transport};
use super::{Compute, JobKey, local};
use crate::model::config::{BackendConfig, SlurmConfig};
use crate::model::contract::{GuestError, Status};
use crate::model::id::{AttemptId, TaskId};
use crate::model::inputs::Inputs;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How far apart the clocks may be, in seconds, before it counts as trouble.
const CLOCK_MAX_S: i64 = 120;
/// Free space that is too little to begin with, in MiB.
const FREE_MIN_MB: u64 = 100;
const SHORT: Duration = Duration::from_secs(60);
/// Programs that the backend calls.
const SLURM: &str = "sbatch squeue scancel scontrol timeout";
/// Programs that carry files.
const TOOLS: &str = "tar find grep awk sed xargs sha256sum du setsid";

/// The outcome of one step.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Step {
    /// What was tried.
    pub step: &'static str,
    /// Whether it worked.
    pub ok: bool,
    /// How long it took.
    pub took_ms: u64,
    /// What was found.
    pub detail: String,
    /// What would help.
    pub remedy: Option<String>,
}

/// What a step came to: what was found, or what is wrong and what would help.
type Tried = Result<String, (String, String)>;

/// What is checked, and where its traces go.
#[derive(Debug)]
pub struct Check<'a> {
    /// The backend's name.
    pub name: &'a str,
    /// Its configuration.
    pub config: &'a BackendConfig,
    /// A directory for the purpose, whose name is new: it stands for a run's.
    pub place: &'a Path,
    /// How long the job may take from its submit to its end.
    pub patience: Duration,
}

/// The steps so far, and whom to tell of the next.
struct Steps<'a> {
    all: Vec<Step>,
    tell: &'a mut dyn FnMut(&Step),
}

impl Steps<'_> {
    /// Takes a step; tells whether the next ones make sense.
    fn take(&mut self, name: &'static str, step: impl FnOnce() -> Tried) -> bool {
        let started = Instant::now();
        let tried = step();
        let took_ms = started.elapsed().as_millis() as u64;
        let (ok, detail, remedy) = match tried {
            Ok(detail) => (true, detail, None),
            Err((detail, remedy)) => (false, detail, Some(remedy)),
        };
        let step = Step { step: name, ok, took_ms, detail, remedy };
        (self.tell)(&step);
        self.all.push(step);
        ok
    }
}

/// Tries everything once; tells each step as it is done, and returns them all.
pub fn check(check: &Check<'_>, tell: &mut dyn FnMut(&Step)) -> Vec<Step> {
    let mut steps = Steps { all: Vec::new(), tell };
    let mut backends = Backends::new(check.place);
    match check.config {
        BackendConfig::Local(local) => {
            backends.add_local(check.name, local::LocalSettings { config: (**local).clone(), log_max: None });
            job(check, &backends, &mut steps);
        }
        BackendConfig::Slurm(slurm) => {
            let mut settings = SlurmConfig::clone(slurm);
            // nobody waits for the next poll here
            settings.poll_interval_s = settings.poll_interval_s.min(2.0);
            if let Some(transport) = login(&settings, &mut steps) {
                let place = check.place.file_name().unwrap_or_default().to_string_lossy();
                let far = Carrier::of(&settings, &*transport, &place);
                let ready = clock(&*transport, &mut steps) & programs(&*transport, far.is_some(), &mut steps);
                let ready = ready && (!settings.sacct || accounts(&*transport, &mut steps));
                let ready = ready && far.is_none_or(|far| room(far, &mut steps));
                if ready {
                    backends.add_slurm(check.name, settings.clone());
                    job(check, &backends, &mut steps);
                }
                if let Some(far) = far {
                    clean_up(far, &mut steps);
                }
            }
        }
    }
    steps.all
}

fn login(settings: &SlurmConfig, steps: &mut Steps<'_>) -> Option<Box<dyn Transport>> {
    let Some(config) = &settings.ssh else {
        let works = steps.take("shell", || {
            let answer = Here.exec(Exec::of("uname -n", SHORT));
            let done = answer.map_err(|error| (error.to_string(), "`/bin/sh` must work".to_owned()))?;
            Ok(format!("on {}", text(&done.stdout)))
        });
        return works.then(|| Box::new(Here) as Box<dyn Transport>);
    };
    let mut found = None;
    steps.take("login", || {
        let ssh = Ssh::new(&config.host, config.config.as_deref().map(Path::new));
        let ssh = ssh.map_err(|trouble| (trouble.what, trouble.remedy))?;
        let answer = ssh.run(Exec::of("printf '%s as %s' \"$(uname -n)\" \"$(id -un)\"", SHORT));
        let done = answer.map_err(|error| match error {
            SshError::Unreachable(trouble) => (trouble.what, trouble.remedy),
            SshError::Lost(why) => (why, "check the network, and that the host is up".to_owned()),
        })?;
        found = Some(Box::new(ssh) as Box<dyn Transport>);
        Ok(format!("on {}", text(&done.stdout)))
    });
    found
}

fn clock(transport: &dyn Transport, steps: &mut Steps<'_>) -> bool {
    steps.take("clock", || {
        let before = now_s();
        let theirs: i64 = ask(transport, "date +%s")?.parse().map_err(|_| said("`date +%s` gives no number"))?;
        let apart = if theirs < before { theirs - before } else { (theirs - now_s()).max(0) };
        if apart.abs() > CLOCK_MAX_S {
            let remedy = "set both clocks by the network (NTP): recorded times would contradict each other";
            return Err((format!("{apart} s from this machine's"), remedy.to_owned()));
        }
        Ok(format!("{apart} s from this machine's"))
    })
}

fn programs(transport: &dyn Transport, far: bool, steps: &mut Steps<'_>) -> bool {
    steps.take("programs", || {
        let wanted = if far { format!("{SLURM} {TOOLS}") } else { SLURM.to_owned() };
        let script = format!("for p in {wanted}; do command -v \"$p\" >/dev/null || echo \"$p\"; done");
        let missing = ask(transport, &script)?;
        if missing.is_empty() {
            return Ok(ask(transport, "timeout 20 sbatch --version").unwrap_or_else(|_| "all there".to_owned()));
        }
        let remedy = "they must be on the PATH of a shell that is not a login shell: see the site's manual, or set PATH in \
                      `~/.bashrc` there";
        Err((format!("not found: {}", missing.replace('\n', ", ")), remedy.to_owned()))
    })
}

fn accounts(transport: &dyn Transport, steps: &mut Steps<'_>) -> bool {
    steps.take("sacct", || {
        let asked = ask(transport, "timeout 20 sacct --noheader --allocations --starttime now-1minutes");
        let remedy = || "leave out `sacct` of the backend where the site keeps no accounts".to_owned();
        asked.map(|_| "answers".to_owned()).map_err(|(what, _)| (what, remedy()))
    })
}

fn room(far: Carrier<'_>, steps: &mut Steps<'_>) -> bool {
    steps.take("remote_root", || {
        let remedy = || "name a directory of yours on the cluster's shared file system as `remote_root`".to_owned();
        let place = far.make_place().map_err(|error| (error.to_string(), remedy()))?;
        let script = format!("cd {} && : >.write && rm .write && df -Pk . | tail -n 1", far.place());
        let line = ask(far.transport, &script).map_err(|(what, _)| (what, remedy()))?;
        let free = line.split_whitespace().nth(3).and_then(|kb| kb.parse::<u64>().ok());
        match free.map(|kb| kb / 1024) {
            Some(free) if free < FREE_MIN_MB => Err((format!("{free} MiB free in `{place}`"), remedy())),
            Some(free) => Ok(format!("{free} MiB free in `{place}`")),
            None => Ok(format!("`{place}` can be written")),
        }
    })
}

/// One job on its whole way: submit, poll, fetch.
fn job(check: &Check<'_>, backends: &Backends, steps: &mut Steps<'_>) {
    let attempt = AttemptId::from(format!("check{:012x}", now_s()).as_str());
    let directory = check.place.join("operators/check").join(attempt.as_str());
    let task = TaskId("check".to_owned());
    let key = JobKey { attempt_id: &attempt, task_id: &task, directory: &directory };
    let mut handle = String::new();
    let refused = |error: &GuestError| (error.detail().message.clone(), remedy_of(check.config, error).to_owned());
    let io = |error: &std::io::Error| (error.to_string(), "the directory here must be writable".to_owned());
    let submitted = steps.take("submit", || {
        std::fs::create_dir_all(&directory).map_err(|error| io(&error))?;
        let document = r#"{"command": "echo checked > checked", "outputs": ["checked"], "resources": {"cores": 1, "walltime_s": 60}}"#;
        handle = backends.submit(check.name, key, document, &Inputs::default()).map_err(|error| refused(&error))?;
        let (unacknowledged, mut troubles) = backends.sync();
        if let Some(error) = unacknowledged.into_values().next() {
            return Err(refused(&error));
        }
        troubles.extend(backends.ensure(true));
        troubles.pop().map_or_else(|| Ok("accepted".to_owned()), |trouble| Err(io(&trouble.error)))
    });
    if !submitted {
        return;
    }
    let ended = steps.take("run", || wait(check, backends, key, &mut handle));
    if !ended {
        // it may still be waiting; if this is not heard, it ends by itself within its minute
        let _ = backends.cancel(check.name, key, &handle);
        let _ = backends.changes(&BTreeMap::new());
        return;
    }
    steps.take("fetch", || {
        backends.collect(check.name, key, &handle).map_err(|error| refused(&error))?;
        match std::fs::read_to_string(directory.join("checked")) {
            Ok(text) if text == "checked\n" => {
                // a line of `setup` that may fail is heard of here only
                let said = std::fs::read_to_string(directory.join("stderr")).unwrap_or_default();
                let said = said.lines().next().map(|line| format!("; its standard error begins: {line}"));
                Ok(format!("what the job wrote is here{}", said.unwrap_or_default()))
            }
            _ => {
                let remedy = "jobs must see the files: is this directory on a file system that the compute nodes share? If \
                              not, give the backend `ssh` and `remote_root`";
                Err(("what the job wrote is not here".to_owned(), remedy.to_owned()))
            }
        }
    });
}

fn wait(check: &Check<'_>, backends: &Backends, key: JobKey<'_>, handle: &mut String) -> Tried {
    let started = Instant::now();
    let mut last = "nothing is known of it".to_owned();
    while started.elapsed() < check.patience {
        if let Some(trouble) = backends.changes(&BTreeMap::new()).troubles.pop() {
            return Err(said(&trouble.error.to_string()));
        }
        let report = match backends.status(check.name, key, handle) {
            Ok(report) => report,
            Err(error) => return Err((error.detail().message.clone(), remedy_of(check.config, &error).to_owned())),
        };
        if let Some(newer) = report.handle {
            *handle = newer;
        }
        last = match report.status {
            Status::Succeeded => return Ok("ran and ended well".to_owned()),
            Status::Queued => "it is in the queue".to_owned(),
            Status::Running(_) => "it is running or has just ended".to_owned(),
            Status::Waiting { detail, .. } => detail,
            Status::Unavailable(detail) => detail.message,
            Status::Failed(detail) | Status::NotStarted(detail) | Status::Lost(detail) => {
                let remedy = "look into the site's manual for what a job needs: account, partition, a shared directory";
                return Err((detail.message, remedy.to_owned()));
            }
            Status::Cancelled => return Err(said("somebody cancelled it")),
        };
        std::thread::sleep(Duration::from_millis(200));
    }
    let text = format!("not ended after {} s: {last}", check.patience.as_secs());
    Err((text, "repeat with a larger --timeout, or name a partition that is less busy".to_owned()))
}

fn clean_up(far: Carrier<'_>, steps: &mut Steps<'_>) {
    steps.take("clean up", || {
        let remedy = || format!("remove {} over there by hand", far.place());
        let all = far.list().map_err(|error| (error.to_string(), remedy()))?;
        far.remove(&all).map_err(|error| (error.to_string(), remedy()))?;
        Ok("nothing is left over there".to_owned())
    });
}

fn remedy_of(config: &BackendConfig, error: &GuestError) -> &'static str {
    match (config, error) {
        (BackendConfig::Local(_), _) => "the directory here must be writable, and this binary must be able to start",
        (_, GuestError::Rejected(_) | GuestError::Invalid(_)) => {
            "correct partition, account, qos, gres, constraint or extra_args of the backend: the cluster says why"
        }
        _ => "try again; if it stays so, ask the site whether its controller is up",
    }
}

/// The standard output of a script that must succeed.
fn ask(transport: &dyn Transport, script: &str) -> Tried {
    let done = transport.exec(Exec::of(script, SHORT)).map_err(|error| match error {
        NoAnswer::Unreachable(why) | NoAnswer::Lost(why) => said(&why),
    })?;
    if done.code != 0 {
        return Err(said(&format!("exit code {}: {}", done.code, text(&done.stderr))));
    }
    Ok(text(&done.stdout))
}

fn said(what: &str) -> (String, String) {
    (what.to_owned(), "see what the same command says to you by hand".to_owned())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
