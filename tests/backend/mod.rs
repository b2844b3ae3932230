//! Backends with real processes.
mod conformance;
mod far;
mod local;
mod local_hostile;
mod local_memory;
mod local_tampered;
mod login;
mod pool;
mod pool_hostile;
mod slurm;
mod ssh;
mod staging;

use matterstack::backend::{Backends, Changes, Unacknowledged};
use std::collections::BTreeMap;

/// Hands on what was submitted, to files that take it.
#[track_caller]
fn synced(backends: &Backends) -> Unacknowledged {
    let (unacknowledged, troubles) = backends.sync();
    assert!(troubles.is_empty(), "{troubles:?}");
    unacknowledged
}

/// Sees to it that a supervisor is there where one is needed.
#[track_caller]
fn supervised(backends: &Backends) {
    let troubles = backends.ensure(true);
    assert!(troubles.is_empty(), "{troubles:?}");
}

/// What happened, of backends that all tell.
#[track_caller]
fn changes(backends: &Backends, cursors: &BTreeMap<String, String>) -> Changes {
    let changes = backends.changes(cursors);
    assert!(changes.troubles.is_empty(), "{:?}", changes.troubles);
    changes
}
