//! `loop`: ticks a run until it ends or nobody but a person can move it. It keeps nothing that matters; killed at any
//! point, the next `loop` or `step` goes on.
use crate::failure::{Failure, FailureKind};
use crate::machine::{self, Watch};
use crate::model::config::BackendConfig;
use crate::model::states::RunState;
use crate::run_dir::{Lease, RunDir};
use crate::tick::{Moment, Run, Tick, step_run};
use crate::workspace::{Access, new_attempt_id, now_ms};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How long a tick waits for another process that holds the lease.
const PATIENCE: Duration = Duration::from_secs(30);
/// The shortest wait before asking again an operator that gave no hint.
const POLL_MIN: Duration = Duration::from_millis(250);
/// The longest wait where nothing tells of a change, such as a file on another machine.
const POLL_MAX: Duration = Duration::from_secs(60);
/// While jobs queue up behind the slots, ends that come within this time share a tick.
const TOGETHER: Duration = Duration::from_millis(25);

/// Attempt directories that are watched; the others are looked at when their time comes.
const WATCHES_MAX: u32 = 4_000;

/// When `loop` stops before the run has ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Patience {
    /// Wait for people, instruments and kits too.
    pub wait: bool,
    /// Stop at this time.
    pub deadline: Option<Instant>,
}

/// Why `loop` stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The run completed.
    Completed,
    /// The run failed or was cancelled.
    Failed,
    /// Only a person or something outside can move the run.
    Waiting,
    /// The deadline passed.
    TimedOut,
    /// A signal asked to stop.
    Interrupted,
}

/// Ticks the run until it ends or `patience` does. `interrupt` becomes readable when a person wants to stop; `seen` is
/// shown every tick.
///
/// # Errors
/// If another `loop` drives the run, or a tick fails.
pub fn drive(
    dir: &RunDir,
    patience: Patience,
    interrupt: BorrowedFd<'_>,
    seen: &mut dyn FnMut(&Run, &Tick),
) -> Result<Ending, Failure> {
    let _only = only_loop(dir)?;
    // Without inotify the timers still come round, only later.
    let watch = Watch::new().ok();
    let mut driven = None;
    loop {
        let lease = dir.lease(PATIENCE)?;
        let mut current = fresh(dir, driven.take())?;
        let tick = step_run(&mut current.run, Moment { now_ms: now_ms(), new_id: &new_attempt_id })?;
        current.version = current.run.store.data_version()?;
        drop(lease);
        seen(&current.run, &tick);
        match pause_after(&current, patience)? {
            Pause::Over(ending) => return Ok(ending),
            Pause::None => {}
            Pause::Until(limit) => match sleep(&current, watch.as_ref(), interrupt, limit, patience.deadline)? {
                Some(ending) => return Ok(ending),
                None => {}
            },
        }
        if interrupted(interrupt)? {
            return Ok(Ending::Interrupted);
        }
        driven = Some(current);
    }
}

struct Driven {
    run: Run,
    /// What SQLite counts when another connection writes.
    version: i64,
}

enum Pause {
    Over(Ending),
    None,
    Until(Duration),
}

/// Makes sure that no other `loop` drives the run.
fn only_loop(dir: &RunDir) -> Result<Lease, Failure> {
    dir.loop_lease().map_err(|error| {
        let failure = Failure::from(error);
        if failure.kind == FailureKind::Busy {
            let hint = format!("it goes on by itself; look with `matterstack status {} --watch`", dir.id());
            return Failure::of(FailureKind::Busy, format!("another `loop` drives run `{}`", dir.id())).hint(hint);
        }
        failure
    })
}

/// The run as it is now: opened again if somebody else has written to it.
fn fresh(dir: &RunDir, driven: Option<Driven>) -> Result<Driven, Failure> {
    if let Some(driven) = driven
        && driven.run.store.data_version()? == driven.version
    {
        return Ok(driven);
    }
    let run = crate::workspace::open_leased(dir, Access::Own)?;
    Ok(Driven { run, version: 0 })
}

/// What the state after a tick means for the next.
fn pause_after(driven: &Driven, patience: Patience) -> Result<Pause, Failure> {
    let run = &driven.run;
    let state = run.store.run()?.state;
    match state {
        RunState::Completed => return Ok(Pause::Over(Ending::Completed)),
        RunState::Failed | RunState::Cancelled => return Ok(Pause::Over(Ending::Failed)),
        RunState::Active | RunState::Paused | RunState::Held | RunState::Cancelling => {}
    }
    let live = run.store.live_count(None)?;
    let retry = run.store.next_retry()?.filter(|_| state == RunState::Active);
    let stopped = matches!(state, RunState::Paused | RunState::Held);
    if live == 0 && !stopped && retry.is_none() {
        return Ok(Pause::None);
    }
    let outside = live > 0 && run.store.moving_count()? == 0 && retry.is_none() && !run.has_ready_task()?;
    if ((stopped && live == 0) || outside) && !patience.wait {
        return Ok(Pause::Over(Ending::Waiting));
    }
    let now = now_ms();
    let until = |at: i64| Duration::from_millis(u64::try_from(at - now).unwrap_or(0));
    let due = run.store.next_due()?.filter(|_| live > 0).map(|at| until(at).max(POLL_MIN));
    let polls = run.backends.poll_after().map_err(|error| Failure::machine("reading backends", error))?;
    let polls = polls.map(|after| after.max(POLL_MIN));
    let next = [due, retry.map(until), polls].into_iter().flatten().min();
    Ok(Pause::Until(next.unwrap_or(POLL_MAX).min(POLL_MAX)))
}

/// Sleeps until something changes or `limit` has passed.
fn sleep(
    driven: &Driven,
    watch: Option<&Watch>,
    interrupt: BorrowedFd<'_>,
    limit: Duration,
    deadline: Option<Instant>,
) -> Result<Option<Ending>, Failure> {
    let run = &driven.run;
    let machine = |error| Failure::machine("watching the run", error);
    if let Some(watch) = watch {
        let files = run.backends.watch_paths().map_err(machine)?;
        let directories = run.store.watched_directories(WATCHES_MAX)?.into_iter().map(|path| run.dir.join(&path));
        for path in files.into_iter().chain(directories).chain([run.dir.root().to_owned()]) {
            // A path that cannot be watched is looked at when its time comes.
            let _ = watch.add(&path);
        }
        watch.drain().map_err(machine)?;
    }
    if changed(driven)? {
        return Ok(None);
    }
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if left == Some(Duration::ZERO) {
        return Ok(Some(Ending::TimedOut));
    }
    let wait = left.map_or(limit, |left| left.min(limit));
    let mut descriptors = vec![interrupt];
    descriptors.extend(watch.map(|watch| watch.as_fd()));
    let ready = machine::poll_readable(&descriptors, Some(wait)).map_err(machine)?;
    if ready.first() == Some(&true) {
        return Ok(Some(Ending::Interrupted));
    }
    if ready.get(1) == Some(&true) && queue_is_long(run)? {
        machine::poll_readable(&[interrupt], Some(TOGETHER)).map_err(machine)?;
    }
    let over = deadline.is_some_and(|deadline| Instant::now() >= deadline) && !changed(driven)?;
    Ok(over.then_some(Ending::TimedOut))
}

/// Whether something happened that the last tick has not seen.
fn changed(driven: &Driven) -> Result<bool, Failure> {
    let run = &driven.run;
    let cursors = run.store.cursors()?;
    let changes = run.backends.local_changes(&cursors).map_err(|error| Failure::machine("reading backends", error))?;
    Ok(!changes.attempts.is_empty() || run.store.data_version()? != driven.version)
}

/// Whether jobs wait for slots, so that a tick that comes a little later delays nothing.
fn queue_is_long(run: &Run) -> Result<bool, Failure> {
    let slots = |backend: &BackendConfig| match backend {
        BackendConfig::Local { slots } => *slots,
        BackendConfig::Slurm(_) => 0,
    };
    let slots: u32 = run.config.backends.values().map(slots).sum();
    Ok(run.store.live_count(None)? > 2 * u64::from(slots))
}

fn interrupted(interrupt: BorrowedFd<'_>) -> Result<bool, Failure> {
    let ready = machine::poll_readable(&[interrupt], Some(Duration::ZERO));
    Ok(ready.map_err(|error| Failure::machine("waiting", error))?.first() == Some(&true))
}
