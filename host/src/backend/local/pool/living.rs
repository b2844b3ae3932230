//! Which entries of a ledger are of somebody who lives.
use super::ledger::{Ledger, Record};
use crate::ground::share;

/// The slots of those who are gone: of another boot, with a process that ended or whose number was given again, or of
/// a process that is not the user's who is said to have it.
pub(super) fn dead(ledger: &Ledger, own: &Record, shared: bool) -> Vec<usize> {
    let named: Vec<(i32, i32)> =
        ledger.records().filter_map(|(_, record)| Some((record.supervisor.pid, record.job.as_ref()?.pid))).collect();
    let dead = ledger.records().filter(|(_, record)| !lives(record, own, shared, &named));
    dead.map(|(slot, _)| slot).collect()
}

/// Whether an entry counts; `named` has the jobs that entries name, with their supervisors.
pub(super) fn lives(record: &Record, own: &Record, shared: bool, named: &[(i32, i32)]) -> bool {
    // the kernel's own are in no pool
    if record.supervisor.pid <= 0 || record.boot != own.boot || !(shared || record.user == own.user) {
        return false;
    }
    let (supervisor, job) = (&record.supervisor, record.job.as_ref());
    if *supervisor == own.supervisor {
        return true;
    }
    let is_users = |pid: i32| share::owner_of(pid).is_none_or(|owner| owner == record.user);
    match job {
        Some(job) => is_users(job.pid) && share::group_is_there(job.pid, job.start),
        None => {
            let there = is_users(supervisor.pid) && share::is_there(supervisor.pid, supervisor.start);
            // it died before it could name its job, which is of its session
            let named =
                || named.iter().filter(|(of, _)| *of == supervisor.pid).map(|(_, job)| *job).collect::<Vec<_>>();
            there || record.ticket.is_none() && record.session && share::session_is_there(supervisor.pid, &named())
        }
    }
}
