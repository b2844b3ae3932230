//! What is recorded of the job of an attempt that has ended: what its backend tells, and digests of what was written about it.
use super::given::given;
use crate::ground::digest::digest;
use crate::ground::files::open_regular;
use crate::model::document::sha256;
use crate::model::evidence::{JobRecord, LogKind, LogRecord};
use crate::model::handle;
use crate::model::time::Time;
use crate::store::{AttemptEnd, AttemptRow};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde::Deserialize;
use std::io::Read;
use std::path::Path;

/// The longest exit record that is read, in bytes.
const EXIT_MAX: u64 = 64 * 1024;

/// What an exit record may tell of a job.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Exit {
    attempt: String,
    host: Option<String>,
    node: Option<String>,
    queued_at: Option<String>,
    started_at: Option<String>,
    ended_at: Option<String>,
    cpu_s: Option<f64>,
    memory_peak_mb: Option<u64>,
}

/// Adds to the end of an attempt what is known of its job. What cannot be read is not recorded, and fails nothing.
pub(super) fn note(directory: &Path, attempt: &AttemptRow, end: &mut AttemptEnd) {
    let told = attempt.handle.as_deref().map(handle::told).unwrap_or_default();
    end.job = JobRecord { external_id: told.external_id, host: told.host, ..JobRecord::default() };
    end.act = given(directory, attempt);
    let Ok(directory) = Dir::open_ambient_dir(directory, ambient_authority()) else { return };
    for kind in [LogKind::Stdout, LogKind::Stderr] {
        let found = open_regular(&directory, kind.file()).and_then(|mut file| digest(&mut file));
        end.logs.extend(found.ok().map(|(sha256, size)| LogRecord { kind, sha256, size }));
    }
    let mut bytes = Vec::new();
    let read =
        open_regular(&directory, LogKind::Exit.file()).and_then(|file| file.take(EXIT_MAX + 1).read_to_end(&mut bytes));
    if read.is_err() || bytes.len() as u64 > EXIT_MAX {
        return;
    }
    let Some(exit) = serde_json::from_slice::<Exit>(&bytes).ok().filter(|exit| exit.attempt == attempt.id) else {
        return;
    };
    end.logs.push(LogRecord { kind: LogKind::Exit, sha256: sha256(&bytes), size: bytes.len() as u64 });
    let time = |text: Option<String>| text?.parse::<jiff::Timestamp>().ok().map(|at| Time(at.as_millisecond()));
    // the machine that wrote the record is the one the job ran on
    end.job.node = exit.node.or(exit.host);
    end.job.queued_at = time(exit.queued_at);
    end.job.started_at = time(exit.started_at);
    end.job.stopped_at = time(exit.ended_at).filter(|_| end.job.started_at.is_some());
    end.job.cpu_ms = exit.cpu_s.filter(|s| *s >= 0.0).map(|s| (s * 1000.0) as u64);
    end.job.memory_peak_mb = exit.memory_peak_mb;
}
