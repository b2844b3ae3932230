//! `doctor`: checks the machine, and a run if one is named.
use super::Session;
use super::output::{print_json, table, tell};
use super::report::FOUND;
use crate::backend::{
    Held, PoolLook, StoppedSupervisor, StrandedSupervisor, Stranding, look_at_pool, stopped_supervisors,
    stranded_supervisors,
};
use crate::evidence::verify_pinned;
use crate::failure::{Failure, refuse_bundle};
use crate::ground::files::{probe, read_regular};
use crate::ground::machine::{self, FileSystem, Room};
use crate::model::document::sha256;
use crate::model::evidence::{Finding, Integrity};
use crate::run::{LeaseError, RunDir};
use crate::store::Store;
use crate::workspace::{open_for_reading, read_store};
use serde::Serialize;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// Below this many free bytes or files, `doctor` warns.
const SPACE_MIN: u64 = 1_000_000_000;
const FILES_MIN: u64 = 10_000;

/// The outcome of one check.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    ok: bool,
    detail: String,
    hint: Option<String>,
}

fn good(check: &'static str, detail: impl Into<String>) -> Check {
    Check { check, ok: true, detail: detail.into(), hint: None }
}

fn bad(check: &'static str, detail: impl Into<String>, hint: &str) -> Check {
    Check { check, ok: false, detail: detail.into(), hint: Some(hint.to_owned()) }
}

/// A check that failed as a command would, with the same hint.
fn failed(check: &'static str, failure: &Failure) -> Check {
    Check { check, ok: false, detail: failure.to_string(), hint: failure.hint.clone() }
}

pub(super) fn doctor(session: &Session, name: Option<&str>) -> Result<u8, Failure> {
    let mut checks = vec![boot(), inotify()];
    match name {
        Some(name) => {
            let dir = session.run(name)?;
            refuse_bundle(&dir).map_err(|failure| {
                failure.hint(format!("`matterstack evidence verify {}` looks through it", dir.address()))
            })?;
            check_run(&dir, &mut checks);
        }
        None => {
            checks.extend(pool());
            checks.extend(stranded_supervisors().iter().map(stranded));
            if let Ok(workspaces) = session.workspaces() {
                checks.push(file_system(workspaces.root()));
                checks.push(disk(workspaces.root()));
                checks.push(space(workspaces.root()));
            }
        }
    }
    let sound = checks.iter().all(|check| check.ok);
    if session.json {
        print_json(&checks)?;
    } else {
        let rows = checks.iter().map(|check| {
            let word = match (check.ok, &check.hint) {
                (true, None) => "ok",
                (true, Some(_)) => "WARNING",
                (false, _) => "TROUBLE",
            };
            vec![check.check.to_owned(), word.to_owned(), check.detail.clone(), check.hint.clone().unwrap_or_default()]
        });
        super::output::print(&table(&["CHECK", "", "FOUND", "WHAT HELPS"], rows))?;
    }
    tell(if sound { "everything is sound" } else { "there is trouble" });
    Ok(if sound { 0 } else { FOUND })
}

fn boot() -> Check {
    match machine::boot_id() {
        Ok(id) => good("machine", format!("{}, boot {id}", machine::host_name())),
        Err(error) => {
            bad("machine", error.to_string(), "jobs on this machine cannot be told from those of an earlier boot")
        }
    }
}

fn inotify() -> Check {
    match machine::Watch::new() {
        Ok(_) => good("events", "inotify works"),
        Err(error) => {
            bad("events", error.to_string(), "`loop` falls back on timers; raise fs.inotify.max_user_instances")
        }
    }
}

/// What the runs of this machine share, and who has it.
fn pool() -> Vec<Check> {
    let PoolLook { size, place, holders } = look_at_pool();
    let first = match (size, place) {
        (Err(why), _) => bad("pool", why, "mend that file: until then no job starts on this machine"),
        (Ok(size), None) => good("pool", format!("{size}; each run keeps to it by itself (`machine.pool` is false)")),
        (Ok(size), Some(Ok(place))) => good("pool", format!("{size}; the ledger lies in `{}`", place.display())),
        (Ok(size), Some(Err(why))) => bad(
            "pool",
            format!("{size}; there is no ledger, so that each run keeps to it by itself: {why}"),
            "remove what is in its place, or let `machine.shared` name a directory",
        ),
    };
    let held = |Held { pid, user, run, what, waits }| {
        let of =
            if user == machine::user_id() { String::new() } else { format!(" of {}", machine::user_name_of(user)) };
        good("pool", format!("run `{run}`{of} {} {what} (process {pid})", if waits { "waits for" } else { "holds" }))
    };
    std::iter::once(first).chain(holders.into_iter().map(held)).collect()
}

fn file_system(path: &std::path::Path) -> Check {
    match machine::file_system(path) {
        Ok(FileSystem::Local) => good("file system", "local: write-ahead log"),
        Ok(FileSystem::Shared) => good("file system", "shared or unknown: rollback journal"),
        Err(error) => bad("file system", error.to_string(), "the directory must be reachable"),
    }
}

/// Tries a durable write.
fn disk(directory: &std::path::Path) -> Check {
    match probe(directory) {
        Ok(taken) => good("disk", format!("a durable write took {:.1} ms", taken.as_secs_f64() * 1000.0)),
        Err(error) => bad("disk", error.to_string(), "make room, or mend the permission of the directory"),
    }
}

/// Tells how much the file system still takes; little of it is a warning, since nothing is wrong yet.
fn space(directory: &std::path::Path) -> Check {
    let Room { bytes, files } = match machine::room(directory) {
        Ok(room) => room,
        Err(error) => return bad("space", error.to_string(), "the directory must be reachable"),
    };
    let little = bytes < SPACE_MIN || files.is_some_and(|files| files < FILES_MIN);
    let files = files.map(|files| format!(" and {files} files")).unwrap_or_default();
    Check {
        hint: little.then(|| "make room: `matterstack du` says what runs take".to_owned()),
        ..good("space", format!("{}{files} are free", size(bytes)))
    }
}

/// A number of bytes in a unit that a person reads.
fn size(bytes: u64) -> String {
    const MEGABYTE: u64 = 1_000_000;
    match bytes / MEGABYTE {
        megabytes @ 0..1000 => format!("{megabytes} MB"),
        megabytes => format!("{:.1} GB", megabytes as f64 / 1000.0),
    }
}

fn check_run(dir: &RunDir, checks: &mut Vec<Check>) {
    checks.push(file_system(dir.root()));
    checks.push(space(dir.root()));
    // Somebody else's run is looked at without writing anything there.
    let own = std::fs::metadata(dir.root()).is_ok_and(|metadata| metadata.uid() == machine::user_id());
    if own {
        checks.push(disk(dir.root()));
        checks.push(match dir.lease(Duration::ZERO) {
            Ok(_) => good("lease", "free"),
            Err(error @ LeaseError::Held(..)) => good("lease", error.to_string()),
            Err(error @ (LeaseError::Io(..) | LeaseError::Bundle(_))) => failed("lease", &error.into()),
        });
    }
    checks.push(match read_store(dir).and_then(|store| Ok(store.check_invariants()?)) {
        Ok(broken) if broken.is_empty() => good("store", "every rule holds"),
        Ok(broken) => bad("store", broken.join("; "), "please report this with a copy of state.sqlite"),
        Err(failure) => failed("store", &failure),
    });
    match open_for_reading(dir) {
        Err(failure) => checks.push(failed("configuration", &failure)),
        Ok((store, config)) => {
            checks.push(configuration(dir, &store));
            checks.extend(stopped_supervisors(dir.root(), &config).iter().map(supervisor));
            let here = dir.root().canonicalize().ok();
            let own = |supervisor: &&StrandedSupervisor| here.as_ref() == Some(&supervisor.directory);
            checks.extend(stranded_supervisors().iter().filter(own).map(stranded));
            let mut found = Vec::new();
            let mut changed = |finding: Finding| {
                found.push(pinned(&finding));
                Ok(())
            };
            if let Err(failure) = verify_pinned(dir, &store, &config, &mut changed) {
                checks.push(failed("pinned file", &failure));
            }
            checks.extend(found);
            checks.push(identity(dir, &store));
        }
    }
}

/// A pinned file that is not as recorded.
fn pinned(finding: &Finding) -> Check {
    let what = match finding.integrity {
        Integrity::Changed => "was changed",
        Integrity::Missing => "is missing",
        Integrity::Unreadable => "cannot be read",
    };
    let detail = finding.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
    bad("pinned file", format!("`{}` {what}{detail}", finding.path), "restore it")
}

/// A supervisor of any run whose file system has given up, or is no longer where it was.
fn stranded(stranded: &StrandedSupervisor) -> Check {
    let StrandedSupervisor { pid, directory, trouble } = stranded;
    let text = match trouble {
        Stranding::DiskGaveUp => "lies on a file system that takes no writes any more",
        Stranding::Elsewhere => "is not what lies at that place now",
    };
    let text = format!("process {pid} keeps `{}`, which {text}", directory.display());
    bad("supervisor", text, &format!("`kill {pid}` gives it free; its jobs go on, and how they end is not seen"))
}

fn configuration(dir: &RunDir, store: &Store) -> Check {
    let text = read_regular(&dir.config(), u64::MAX).ok().flatten();
    let digest = text.map(|text| sha256(&text)).unwrap_or_default();
    match store.run() {
        Ok(row) if row.config_sha256 == digest => good("configuration", "config.json is as recorded"),
        _ => bad(
            "configuration",
            "config.json was changed by hand",
            &format!("undo the change, and make it with `matterstack amend {} config KEY=VALUE`", dir.address()),
        ),
    }
}

fn supervisor(stopped: &StoppedSupervisor) -> Check {
    let StoppedSupervisor { backend, pid } = stopped;
    let text = format!("process {pid} of backend `{backend}` was stopped: no job starts, and none is seen to end");
    bad("supervisor", text, &format!("`kill -CONT {pid}` lets it go on"))
}

fn identity(dir: &RunDir, store: &Store) -> Check {
    let (Ok(row), Ok(identity)) = (store.run(), dir.identity()) else {
        return bad("identity", "cannot be read", "the directory must be reachable");
    };
    if row.user_id != i64::from(machine::user_id()) {
        return bad(
            "identity",
            format!("the run belongs to user {}", machine::named_user(row.user_id)),
            &format!("`matterstack adopt {}` takes it over", dir.address()),
        );
    }
    if row.identity.is_backup() {
        bad(
            "identity",
            "the database was put back from a backup, and does not know what was begun since",
            &format!("when nothing of it runs any more, `matterstack adopt {}` takes it over", dir.address()),
        )
    } else if row.identity.is_of(&identity) {
        good("identity", "the directory is the run's own")
    } else {
        good("identity", "a copy or moved")
    }
}
