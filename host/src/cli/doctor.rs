//! `doctor`: checks the machine, and a run if one is named.
use super::Session;
use super::output::{print_json, table, tell};
use crate::backend::{StoppedSupervisor, stopped_supervisors};
use crate::failure::Failure;
use crate::ground::machine::{self, FileSystem};
use crate::model::document::sha256;
use crate::run::{LeaseError, RunDir};
use crate::store::Store;
use crate::workspace::{open_for_reading, read_store};
use serde::Serialize;
use std::time::{Duration, Instant};

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
        Some(name) => check_run(&session.run(name)?, &mut checks),
        None => {
            if let Ok(workspaces) = session.workspaces() {
                checks.push(file_system(workspaces.root()));
                checks.push(disk(workspaces.root()));
            }
        }
    }
    let sound = checks.iter().all(|check| check.ok);
    if session.json {
        print_json(&checks)?;
    } else {
        let rows = checks.iter().map(|check| {
            let word = if check.ok { "ok" } else { "TROUBLE" };
            vec![check.check.to_owned(), word.to_owned(), check.detail.clone(), check.hint.clone().unwrap_or_default()]
        });
        super::output::print(&table(&["CHECK", "", "FOUND", "WHAT HELPS"], rows))?;
    }
    tell(if sound { "everything is sound" } else { "there is trouble" });
    Ok(if sound { 0 } else { 74 })
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

fn file_system(path: &std::path::Path) -> Check {
    match machine::file_system(path) {
        Ok(FileSystem::Local) => good("file system", "local: write-ahead log"),
        Ok(FileSystem::Shared) => good("file system", "shared or unknown: rollback journal"),
        Err(error) => bad("file system", error.to_string(), "the directory must be reachable"),
    }
}

/// Writes a small file durably, and tells how long that took.
fn disk(directory: &std::path::Path) -> Check {
    let path = directory.join(format!(".doctor-{}", std::process::id()));
    let start = Instant::now();
    let written = std::fs::File::create(&path).and_then(|mut file| {
        std::io::Write::write_all(&mut file, b"doctor")?;
        file.sync_all()
    });
    let taken = start.elapsed();
    let removed = std::fs::remove_file(&path);
    match written.and(removed) {
        Ok(()) => good("disk", format!("a durable write took {:.1} ms", taken.as_secs_f64() * 1000.0)),
        Err(error) => bad("disk", error.to_string(), "make room, or mend the permission of the directory"),
    }
}

fn check_run(dir: &RunDir, checks: &mut Vec<Check>) {
    checks.push(file_system(dir.root()));
    checks.push(disk(dir.root()));
    checks.push(match dir.lease(Duration::ZERO) {
        Ok(_) => good("lease", "free"),
        Err(error @ LeaseError::Held(..)) => good("lease", error.to_string()),
        Err(error @ LeaseError::Io(..)) => failed("lease", &error.into()),
    });
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
            for file in
                config.pinned.iter().flat_map(|p| p.plugins.values().chain(p.inputs.values()).chain(p.files.values()))
            {
                let found = std::fs::read(dir.join(&file.path)).map(|bytes| sha256(&bytes));
                match found {
                    Ok(digest) if digest == file.sha256 => {}
                    Ok(_) => checks.push(bad("pinned file", format!("`{}` was changed", file.path), "restore it")),
                    Err(error) => checks.push(bad("pinned file", format!("`{}`: {error}", file.path), "restore it")),
                }
            }
            checks.push(identity(dir, &store));
        }
    }
}

fn configuration(dir: &RunDir, store: &Store) -> Check {
    let digest = std::fs::read(dir.config()).map(|bytes| sha256(&bytes)).unwrap_or_default();
    match store.run() {
        Ok(row) if row.config_sha256 == digest => good("configuration", "config.json is as recorded"),
        _ => bad(
            "configuration",
            "config.json was changed by hand",
            "undo the change, and make it with `matterstack amend`",
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
            format!("the run belongs to user {}", row.user_id),
            &format!("`matterstack adopt {}` takes it over", dir.address()),
        );
    }
    if row.identity.is_of(&identity) {
        good("identity", "the directory is the run's own")
    } else {
        good("identity", "a copy or moved")
    }
}
