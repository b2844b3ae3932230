//! `loop`: ticks a run until it ends or nobody but a person can move it. It keeps nothing that matters; killed at any
//! point, the next `loop` or `step` goes on.
mod pause;

use crate::backend::BackendTrouble;
use crate::failure::{Failure, FailureKind};
use crate::ground::failpoint;
use crate::ground::machine::{self, Watch};
use crate::run::{Lease, Run, RunDir};
use crate::tick::{Tick, Unloaded, step_run};
use crate::workspace::{Access, Ahead, moment, now_ms, open_leased, refuse_other_user, stopwatch};
use pause::{After, Pause, pause_after, submits};
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// While jobs wait for cores, ends that come within this time share a tick.
const TOGETHER: Duration = Duration::from_millis(100);
/// What is copied into the directory of an attempt within this time shares a tick.
const GATHER: Duration = Duration::from_millis(100);
/// How long a predecessor that is just dying is waited for.
const DYING: Duration = Duration::from_secs(1);
/// The first and the longest wait for a disk in trouble.
const TROUBLE_MIN: Duration = Duration::from_secs(1);
const TROUBLE_MAX: Duration = Duration::from_secs(30);
/// Watches on directories that nothing is awaited in any more are given back when there are more than this.
const STALE_WATCHES: usize = 256;
/// How soon a supervisor that was killed is missed while jobs are live.
const SUPERVISED: Duration = Duration::from_secs(1);

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

/// What `loop` shows as it goes.
pub enum Seen<'a> {
    /// A tick, and the run after it.
    Tick(&'a Run, &'a Tick),
    /// A disk or a machine in trouble, which is waited for.
    Trouble(&'a Failure),
    /// An operator that cannot be loaded, without which the rest goes on.
    Without(&'a Failure),
}

/// Ticks the run until it ends or `patience` does. `interrupt` becomes readable when a person wants to stop; `seen` is
/// shown every tick. A disk that is full or fails is waited for, as a cluster is that does not answer.
///
/// # Errors
/// If another `loop` drives the run, or a tick fails for good.
pub fn drive(
    dir: &RunDir,
    patience: Patience,
    interrupt: BorrowedFd<'_>,
    seen: &mut dyn FnMut(Seen<'_>),
) -> Result<Ending, Failure> {
    let mut alarms = Alarms::new();
    let mut driven = None;
    let mut trouble = Trouble::default();
    let _only = loop {
        // before anything is made that belongs to whoever asks
        match refuse_other_user(dir).and_then(|()| only_loop(dir)) {
            Err(failure) if passes(&failure, dir) => {
                if let Some(ending) = trouble.wait(&failure, patience.deadline, interrupt, seen)? {
                    return Ok(ending);
                }
            }
            only => break only?,
        }
    };
    loop {
        let ended = match go_on(dir, &mut driven, &mut alarms, patience, interrupt, seen) {
            Ok(ended) => {
                trouble = Trouble::default();
                ended
            }
            Err(failure) if passes(&failure, dir) => {
                // what was open may not be what is there when the disk is back
                driven = None;
                trouble.wait(&failure, patience.deadline, interrupt, seen)?
            }
            Err(failure) => return Err(failure),
        };
        if let Some(ending) = ended {
            return Ok(ending);
        }
        if interrupted(interrupt)? {
            return Ok(Ending::Interrupted);
        }
    }
}

/// One tick, and the sleep after it.
fn go_on(
    dir: &RunDir,
    driven: &mut Option<Driven>,
    alarms: &mut Alarms,
    patience: Patience,
    interrupt: BorrowedFd<'_>,
    seen: &mut dyn FnMut(Seen<'_>),
) -> Result<Option<Ending>, Failure> {
    alarms.forget_outside()?;
    let opened = stopwatch();
    let ahead = ahead_of(dir, driven)?;
    let lease = dir.lease_in_turn()?;
    let mut current = fresh(dir, driven.take(), ahead)?;
    let open = opened();
    let (begun, at_ms) = (Instant::now(), now_ms());
    let mut tick = step_run(&mut current.run, moment(at_ms, &stopwatch()))?;
    tick.timings.open = open;
    current.version = current.run.store.data_version()?;
    note_tick(&lease, at_ms, begun)?;
    drop(lease);
    seen(Seen::Tick(&current.run, &tick));
    let stuck = current.stuck(dir, &tick);
    if !stuck.is_empty() && !current.goes_on_without()? {
        return stuck.into_iter().next().map_or(Ok(None), |(_, failure)| Err(failure));
    }
    stuck.iter().filter(|(new, _)| *new).for_each(|(_, failure)| seen(Seen::Without(failure)));
    // what a tick had no time for is not waited with, nor is a person who asked to stop kept waiting
    let pause = if tick.more { Pause::None } else { pause_after(After::of(&current.run)?, patience.wait, now_ms()) };
    let troubled = !tick.troubles.is_empty();
    let ended = match pause {
        Pause::Over(ending) => Some(ending),
        _ if patience.deadline.is_some_and(|deadline| Instant::now() >= deadline) => Some(Ending::TimedOut),
        Pause::None => None,
        Pause::Until(limit) => {
            let limit = if troubled { limit.min(TROUBLE_MAX) } else { limit };
            sleep(&current, alarms, interrupt, limit, patience.deadline)?
        }
    };
    if troubled {
        // what is open may not be what is there when the disk is back, and what was not handed in is asked about anew
        current.version = OUTDATED;
    }
    *driven = Some(current);
    Ok(ended)
}

/// Whether what failed may work later without anybody asking for anything else.
fn passes(failure: &Failure, dir: &RunDir) -> bool {
    match failure.kind {
        FailureKind::Disk => true,
        // where nothing can be written, the database says no more than that it cannot be opened
        FailureKind::Machine => machine::disk_refuses_writes(dir.root()),
        FailureKind::Input | FailureKind::Busy | FailureKind::Plugin | FailureKind::Bug | FailureKind::Interrupted => {
            false
        }
    }
}

/// How long trouble has been waited for.
#[derive(Default)]
struct Trouble {
    said: Option<String>,
    tries: u32,
}

impl Trouble {
    /// Says what the trouble is, once, and waits a little longer each time.
    fn wait(
        &mut self,
        failure: &Failure,
        deadline: Option<Instant>,
        interrupt: BorrowedFd<'_>,
        seen: &mut dyn FnMut(Seen<'_>),
    ) -> Result<Option<Ending>, Failure> {
        let text = failure.to_string();
        if self.said.as_ref() != Some(&text) {
            seen(Seen::Trouble(failure));
            self.said = Some(text);
        }
        let wait = TROUBLE_MIN.saturating_mul(1 << self.tries.min(8)).min(TROUBLE_MAX);
        self.tries += 1;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(wait, |left| left.min(wait));
        let ready = machine::poll_readable(&[interrupt], Some(timeout)).map_err(watching)?;
        Ok(match ready.first() {
            Some(true) => Some(Ending::Interrupted),
            _ if left.is_some_and(|left| left <= wait) => Some(Ending::TimedOut),
            _ => None,
        })
    }
}

/// Notes in the lock file when a tick began and how long it took.
///
/// # Errors
/// If the file cannot be written; the tick has been made.
pub fn note_tick(lease: &Lease, at_ms: i64, begun: Instant) -> Result<(), Failure> {
    let noted = lease.note_tick(at_ms, begun.elapsed());
    noted.map_err(|error| Failure::io("writing the run's `lock` file", error))
}

/// What is told where a run cannot be watched.
pub fn watching(error: std::io::Error) -> Failure {
    Failure::io("watching the run", error)
}

/// What ends a sleep early. Without inotify the timers still come round, only later.
struct Alarms {
    /// The run and its backends. A tick changes them itself, so what it left is forgotten after it, and the store and
    /// the backends tell whether there was more.
    inside: Option<Watch>,
    /// Directories in which answers appear. Nothing else tells of those, so changes are forgotten only before a tick.
    outside: Option<Watch>,
    seen: BTreeSet<PathBuf>,
}

impl Alarms {
    fn new() -> Self {
        Self { inside: Watch::new().ok(), outside: Watch::new().ok(), seen: BTreeSet::new() }
    }

    fn forget_outside(&self) -> Result<bool, Failure> {
        let forgotten = self.outside.as_ref().map_or(Ok(false), Watch::drain);
        forgotten.map_err(watching)
    }

    /// Watches all that belongs to the run; tells whether there is a new directory, in which something may have
    /// happened between the tick and now.
    fn set(&mut self, run: &Run) -> Result<bool, Failure> {
        if let Some(inside) = &self.inside {
            for path in run.backends.watch_paths().map_err(watching)?.into_iter().chain([run.dir.root().to_owned()]) {
                // A path that cannot be watched is looked at when its time comes.
                let _ = inside.add(&path);
            }
            inside.drain().map_err(watching)?;
        }
        let attempts = run.watched_attempts()?;
        if let Some(outside) = &self.outside
            && run.store.waits_for_approval().map_err(crate::tick::TickError::from)?
        {
            // one that cannot be watched is looked at when the loop comes round
            let _ = outside.add(&run.dir.approvals());
        }
        if self.seen.len() > STALE_WATCHES + 4 * attempts.len() {
            (self.outside, self.seen) = (Watch::new().ok(), BTreeSet::new());
        }
        let Some(outside) = &self.outside else { return Ok(false) };
        let mut new = false;
        for watched in attempts {
            let path = run.dir.join(&watched.directory);
            for path in folders(&path).chain([path]) {
                if !self.seen.contains(&path) && outside.add(&path).is_ok() {
                    new |= self.seen.insert(path);
                }
            }
        }
        Ok(new)
    }
}

struct Driven {
    run: Run,
    /// What SQLite counts when another connection writes.
    version: i64,
    /// Operators whose plugins cannot be loaded. A person who mends that writes to the run, and it is opened anew.
    unloaded: BTreeSet<String>,
    /// Backends whose files the last tick could not use.
    troubled: BTreeSet<String>,
}

/// What SQLite never counts: a run that is to be opened anew.
const OUTDATED: i64 = 0;

impl Driven {
    /// What a tick could not do for operators that cannot be loaded, or for backends whose files cannot be used; and
    /// whether that is new.
    fn stuck(&mut self, dir: &RunDir, tick: &Tick) -> Vec<(bool, Failure)> {
        let mut new = |unloaded: &Unloaded| self.unloaded.insert(unloaded.operator.clone());
        let unloaded = tick.unloaded.iter().map(|unloaded| (new(unloaded), Failure::unloaded(dir, unloaded)));
        let mut stuck: Vec<(bool, Failure)> = unloaded.collect();
        let new = |trouble: &BackendTrouble| !self.troubled.contains(&trouble.backend);
        stuck.extend(tick.troubles.iter().map(|trouble| (new(trouble), Failure::from(trouble))));
        self.troubled = tick.troubles.iter().map(|trouble| trouble.backend.clone()).collect();
        stuck
    }

    /// Whether anything moves beside what is stuck: the tasks of all others are not held up.
    fn goes_on_without(&self) -> Result<bool, Failure> {
        let config = &self.run.config;
        let stuck = |operator: &String| {
            self.unloaded.contains(operator) || self.troubled.iter().any(|backend| config.may_use(operator, backend))
        };
        let outlook = self.run.outlook()?;
        let others = !self.run.store.moving_operators(submits(&outlook))?.iter().all(stuck);
        let waits = outlook.starts() && outlook.retry_at_ms.is_some() || outlook.owes_plan(i64::MAX);
        // what has ended needs none of them
        Ok(outlook.state.ended() || others || waits)
    }

    /// Whether nobody else has written to the run.
    fn is_current(&self) -> Result<bool, Failure> {
        Ok(self.run.store.data_version()? == self.version)
    }
}

/// Makes sure that no other `loop` drives the run.
fn only_loop(dir: &RunDir) -> Result<Lease, Failure> {
    dir.loop_lease(DYING).map_err(|error| {
        let failure = Failure::from(error);
        if failure.kind == FailureKind::Busy {
            let hint = format!("it goes on by itself; look with `matterstack status {} --watch`", dir.address());
            return Failure::of(FailureKind::Busy, format!("another `loop` drives run `{}`", dir.address())).hint(hint);
        }
        failure
    })
}

/// What has to be read and compiled before the lease is taken: nothing while nobody else has written to the run.
fn ahead_of(dir: &RunDir, driven: &Option<Driven>) -> Result<Option<Ahead>, Failure> {
    match driven {
        Some(driven) if driven.is_current()? => Ok(None),
        _ => Ahead::read(dir).map(Some),
    }
}

/// The run as it is now: opened again if somebody else has written to it.
fn fresh(dir: &RunDir, driven: Option<Driven>, ahead: Option<Ahead>) -> Result<Driven, Failure> {
    let driven = match driven {
        Some(driven) if driven.is_current()? => return Ok(driven),
        other => other,
    };
    let ahead = ahead.map_or_else(|| Ahead::read(dir), Ok)?;
    let troubled = driven.map(|driven| driven.troubled).unwrap_or_default();
    let run = open_leased(dir, Access::Own, ahead)?;
    Ok(Driven { run, version: OUTDATED, unloaded: BTreeSet::new(), troubled })
}

/// Sleeps until something changes or `limit` has passed.
fn sleep(
    driven: &Driven,
    alarms: &mut Alarms,
    interrupt: BorrowedFd<'_>,
    limit: Duration,
    deadline: Option<Instant>,
) -> Result<Option<Ending>, Failure> {
    let run = &driven.run;
    if alarms.set(run)? || changed(driven)? {
        return gather(run, interrupt);
    }
    let supervised = run.backends.has_local() && run.store.anything_moves(false)?;
    let until = Instant::now() + limit;
    let until = deadline.map_or(until, |deadline| deadline.min(until));
    // from here on whatever happens wakes it: tests wait for this before they let something happen
    failpoint::hit("loop.waits");
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let over = deadline.is_some_and(|deadline| Instant::now() >= deadline) && !changed(driven)?;
            return Ok(over.then_some(Ending::TimedOut));
        }
        let watches = [&alarms.inside, &alarms.outside].map(|watch| watch.as_ref().map(|watch| watch.as_fd()));
        let descriptors: Vec<_> =
            [Some(interrupt)].into_iter().chain(watches).map(|fd| fd.unwrap_or(interrupt)).collect();
        let ready = machine::poll_readable(&descriptors, Some(if supervised { left.min(SUPERVISED) } else { left }))
            .map_err(watching)?;
        match ready.as_slice() {
            [true, ..] => return Ok(Some(Ending::Interrupted)),
            [_, true, _] => return gather(run, interrupt),
            [_, _, true] if alarms.forget_outside()? => {
                // A person's files come one after another; the next tick sees them together.
                machine::poll_readable(&[interrupt], Some(GATHER)).map_err(watching)?;
                return Ok(None);
            }
            // the next tick says what is wrong
            [false, false, false] if supervised && !run.backends.ensure(true).is_empty() => return Ok(None),
            _ => {}
        }
    }
}

/// The folders directly in a directory, such as one into which a person copies results.
fn folders(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// Whether something happened that the last tick has not seen.
fn changed(driven: &Driven) -> Result<bool, Failure> {
    let run = &driven.run;
    let cursors = run.store.cursors()?;
    // what does not tell is the next tick's matter, which comes soon enough
    let changes = run.backends.local_changes(&cursors);
    Ok(!changes.attempts.is_empty() || changes.more || run.store.data_version()? != driven.version)
}

/// Lets ends come together for as long as jobs wait for cores, so that a tick that comes a little later delays nothing.
fn gather(run: &Run, interrupt: BorrowedFd<'_>) -> Result<Option<Ending>, Failure> {
    let together = run.backends.busy_for().min(TOGETHER);
    let ready = machine::poll_readable(&[interrupt], Some(together)).map_err(watching)?;
    Ok((ready.first() == Some(&true)).then_some(Ending::Interrupted))
}

fn interrupted(interrupt: BorrowedFd<'_>) -> Result<bool, Failure> {
    let ready = machine::poll_readable(&[interrupt], Some(Duration::ZERO));
    Ok(ready.map_err(watching)?.first() == Some(&true))
}

#[cfg(test)]
mod tests {
    use super::watching;
    use crate::failure::FailureKind;
    use rustix::io::Errno;

    #[test]
    fn a_disk_in_trouble_is_waited_for_wherever_it_shows() {
        assert_eq!(watching(Errno::NOSPC.into()).kind, FailureKind::Disk);
        assert_eq!(watching(Errno::ACCESS.into()).kind, FailureKind::Machine);
    }
}
