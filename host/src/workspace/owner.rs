//! Whose a run is, and which directory is the run: another user's run and a copy with live attempts are refused until
//! somebody adopts them. Nothing of a copied queue is ever started.
use super::{moment, now_ms, read_store};
use crate::failure::{Failure, refuse_bundle};
use crate::ground::machine;
use crate::model::act::Act;
use crate::run::{Run, RunDir};
use crate::store::{Durability, Identity, RunRow, Store};
use crate::tick::{Adopted, adopt_live_attempts};
use std::time::Duration;

/// The directory of queues and journals, and how its name begins once they are put aside.
const QUEUES: &str = "backends";

/// Refuses to act on another user's run, and to write into a bundle of evidence. Nothing is written for it, neither in
/// the run nor beside it.
///
/// # Errors
/// If it is another user's, or its store cannot be read.
pub fn refuse_other_user(dir: &RunDir) -> Result<(), Failure> {
    refuse_bundle(dir)?;
    of_this_user(dir, &read_store(dir)?.run()?)
}

fn of_this_user(dir: &RunDir, row: &RunRow) -> Result<(), Failure> {
    let user = i64::from(machine::user_id());
    if row.user_id == user {
        return Ok(());
    }
    let [owner, here] = [row.user_id, user].map(machine::named_user);
    let what = format!("run `{}` belongs to user {owner}, not to user {here}", row.run_id);
    Err(Failure::input(what).hint(adopt_hint(dir)))
}

fn adopt_hint(dir: &RunDir) -> String {
    format!("if the run is yours to go on with, `matterstack adopt {}` takes it over", dir.address())
}

/// Refuses to act on another user's run, and on a copy of which the original may still be at work. A copy that has
/// nothing live becomes a run of its own.
pub(super) fn refuse_stranger(dir: &RunDir, row: &RunRow, store: &mut Store) -> Result<(), Failure> {
    if is_own(dir, row, store)? {
        return Ok(());
    }
    take_over(dir, store, i64::from(machine::user_id()), None)
}

/// Whether a run is this user's and lies where it did; otherwise it is a copy with nothing live.
///
/// # Errors
/// If it is another user's, or a copy of which the original may still be at work.
pub(super) fn is_own(dir: &RunDir, row: &RunRow, store: &Store) -> Result<bool, Failure> {
    of_this_user(dir, row)?;
    if row.identity.is_backup() {
        let what = format!(
            "the database of run `{}` was put back from a backup, and does not know what was begun since",
            row.run_id
        );
        let hint = format!(
            "when nothing of it runs any more, here or on a cluster, `matterstack adopt {}` takes it over; tasks that \
             ended since run again",
            dir.address()
        );
        return Err(Failure::input(what).hint(hint));
    }
    let identity = identity(dir)?;
    if row.identity.is_of(&identity) {
        return Ok(true);
    }
    let live = store.live_count(None)?;
    if live > 0 {
        let what =
            format!("`{}` is a copy of run `{}`, which has {live} live attempt(s)", dir.root().display(), row.run_id);
        return Err(Failure::input(what).hint(adopt_hint(dir)));
    }
    Ok(false)
}

fn identity(dir: &RunDir) -> Result<Identity, Failure> {
    dir.identity().map_err(|error| Failure::io("examining the run directory", error))
}

/// Makes this directory and this user the run's own. Queues go first: what stands in them is the original's to start.
fn take_over(dir: &RunDir, store: &mut Store, user: i64, act: Option<&Act>) -> Result<(), Failure> {
    let now_ms = now_ms();
    let queues = dir.join(QUEUES);
    if queues.exists() {
        std::fs::rename(&queues, dir.join(&format!("{QUEUES}.fenced-{now_ms}")))
            .map_err(|error| Failure::io("putting the original's queues aside", error))?;
    }
    let identity = dir.new_identity().map_err(|error| Failure::io("writing the run directory's token", error))?;
    store.transaction(Durability::Full, |writer| {
        act.map_or(Ok(0), |act| writer.add_act(act))?;
        writer.forget_cursors()?;
        writer.set_identity(&identity, user, now_ms)
    })?;
    Ok(())
}

/// Makes this directory and this user the run's own. Every live attempt is asked about first, and what has ended is
/// taken with its results; the others are given up as lost, because the original may still be carrying them out.
///
/// # Errors
/// If the store or the disk fails.
pub fn adopt(run: &mut Run, act: &Act) -> Result<Adopted, Failure> {
    let user = i64::from(machine::user_id());
    let row = run.store.run()?;
    if row.identity.is_of(&identity(&run.dir)?) && row.user_id == user {
        return Ok(Adopted::default());
    }
    run.backends.believe_exit_records();
    let why = "the run was adopted; its original may still carry it out";
    // whatever has not been asked about is given up, so all of it is, however long that takes
    let adopted = adopt_live_attempts(run, moment(act.at_ms, &|| Duration::ZERO), why)?;
    let dir = run.dir.clone();
    take_over(&dir, &mut run.store, user, Some(act))?;
    Ok(adopted)
}
