//! What is recorded of the job of an attempt that has ended: what its backend tells, and digests of what was written
//! about it. It reads alone; what it finds is recorded with the end.
use crate::ground::digest::digest;
use crate::ground::files::{open_directory, open_regular, read_whole};
use crate::model::attempt_dir::CARRIED;
use crate::model::document::sha256;
use crate::model::evidence::{JobRecord, LogKind, LogRecord};
use crate::model::exit::ExitRecord;
use crate::model::handle;
use crate::model::rules::cores;
use crate::model::states::AttemptOutcome;
use crate::model::time::Time;
use crate::model::workflow::Resources;
use crate::store::{AttemptEnd, AttemptRow, CarriedInput};
use crate::tick::attempts::handover;
use crate::tick::{Moment, Run};

/// The longest exit record that is read, in bytes.
const EXIT_MAX: u64 = 64 * 1024;
/// The longest list of carried files that is read, in bytes.
const CARRIED_MAX: u64 = 16 * 1024 * 1024;

/// Adds to the end of an attempt what is known of its job, or of what somebody gave in place of one. What cannot be
/// read is not recorded, and fails nothing.
pub(in crate::tick) fn note(run: &Run, attempt: &AttemptRow, end: &mut AttemptEnd, moment: Moment<'_>) {
    let directory = &run.dir.join(&attempt.directory);
    let told = attempt.handle.as_deref().map(handle::told).unwrap_or_default();
    end.job = JobRecord { external_id: told.external_id, host: told.host, ..JobRecord::default() };
    if !run.config.backend_tells(&attempt.operator) {
        end.act = handover::act(directory, attempt, moment.user_name);
    }
    let Ok(directory) = open_directory(directory) else { return };
    for kind in [LogKind::Stdout, LogKind::Stderr] {
        let found = open_regular(&directory, kind.file()).and_then(|mut file| digest(&mut file));
        end.logs.extend(found.ok().map(|(sha256, size)| LogRecord { kind, sha256, size }));
    }
    let read = |name: &str, max: u64| open_regular(&directory, name).and_then(|file| read_whole(file, max)).ok();
    if attempt.task_json.contains("\"carry\"")
        && let Some(bytes) = read(CARRIED, CARRIED_MAX)
    {
        end.carried = carried(&String::from_utf8_lossy(&bytes));
    }
    let Some(bytes) = read(LogKind::Exit.file(), EXIT_MAX) else { return };
    let Some(exit) = serde_json::from_slice::<ExitRecord>(&bytes).ok().filter(|exit| exit.attempt == attempt.id) else {
        return;
    };
    end.logs.push(LogRecord { kind: LogKind::Exit, sha256: sha256(&bytes), size: bytes.len() as u64 });
    let time = |text: Option<&str>| text?.parse::<jiff::Timestamp>().ok().map(|at| Time(at.as_millisecond()));
    // the machine that wrote the record is the one the job ran on
    end.job.node = exit.host;
    end.job.queued_at = time(exit.queued_at.as_deref());
    end.job.started_at = time(exit.started_at.as_deref());
    end.job.stopped_at = time(Some(&exit.ended_at)).filter(|_| end.job.started_at.is_some());
    end.job.cpu_ms = exit.cpu_s.filter(|s| *s >= 0.0).map(|s| (s * 1000.0) as u64);
    end.job.memory_peak_mb = exit.memory_peak_mb;
    end.core_ms = core_ms(attempt, &end.job);
    end.unstarted = end.outcome == AttemptOutcome::Cancelled && end.job.started_at.is_none();
}

/// The core milliseconds of a job: its cores, for as long as it ran.
fn core_ms(attempt: &AttemptRow, job: &JobRecord) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Needs {
        #[serde(default)]
        resources: Option<Resources>,
    }
    let ran_ms = u64::try_from(job.stopped_at?.0 - job.started_at?.0).unwrap_or(0);
    // most tasks say nothing of it, and are not read again
    let needs = attempt.task_json.contains("\"resources\"").then(|| serde_json::from_str::<Needs>(&attempt.task_json));
    let resources = needs.and_then(|needs| needs.ok()?.resources);
    Some(ran_ms.saturating_mul(cores(resources.as_ref())))
}

/// What a cluster's list of carried files tells; see [`CARRIED`].
fn carried(text: &str) -> Vec<CarriedInput> {
    let mut lines = text.lines();
    let Some(from) = lines.next() else { return Vec::new() };
    let one = |line: &str| {
        // `sha256sum` begins a line with a backslash where it writes names with escapes
        let (line, escaped) = line.strip_prefix('\\').map_or((line, false), |line| (line, true));
        let (sha256, path) = line.split_once("  ./")?;
        let path = if escaped { path.replace("\\\\", "\\") } else { path.to_owned() };
        let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| CarriedInput { path, sha256: sha256.to_owned(), from: from.to_owned() })
    };
    lines.filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::carried;

    #[test]
    fn a_list_of_carried_files_is_read_as_sha256sum_writes_it() {
        let digest = "ab".repeat(32);
        let text = format!("a1\n{digest}  ./restart.dat\n\\{digest}  ./odd\\\\name\nno line\n{digest}  elsewhere\n");
        let found: Vec<(String, String)> = carried(&text).into_iter().map(|one| (one.from, one.path)).collect();
        assert_eq!(found, [("a1".to_owned(), "restart.dat".to_owned()), ("a1".to_owned(), "odd\\name".to_owned())]);
        assert!(carried("").is_empty() && carried("a1\n").is_empty());
    }
}
