//! What Slurm's state words mean for an attempt: pure tables.
use crate::backend::exit::{ExitRecord, Reason};
use crate::model::code::Code;
use crate::model::contract::{Detail, Status};

/// Where Slurm says that a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Acknowledged or pending.
    Queued,
    /// Pending for a reason that does not pass by itself.
    Stuck,
    /// On its nodes; a job that is completing is not final yet.
    Running,
    /// Over.
    Ended(End),
    /// Not in the queue any more, or never was.
    Gone,
    /// A word this host does not know.
    Unknown,
}

/// How Slurm says that a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    Failed,
    Cancelled,
    /// It waited, and left the queue while its array stands: cancelled alone, as far as can be told from that.
    Withdrawn,
    /// Cancelled on its nodes: by a person, or by a node that could not launch it.
    CancelledThere,
    Timeout,
    OutOfMemory,
    NodeFail,
    Preempted,
    BootFail,
    Deadline,
}

/// The word for a job that `sbatch` acknowledged and no poll has shown yet.
pub(super) const UNSEEN: &str = "unseen";
/// The word for a job that the last poll did not show.
pub(super) const GONE: &str = "gone";
/// The word for a pending element that left a queue in which its array still stands: somebody cancelled it alone.
pub(super) const WITHDRAWN: &str = "withdrawn";

/// Those of [`STUCK`] that may pass by themselves: limits that others fill too, and nodes that come back.
const PASSES: &[&str] = &["Assoc", "PartitionInactive", "ReqNodeNotAvail", "NodeDown"];

/// Pending reasons, or their beginnings, that a person is shown.
const STUCK: &[&str] = &[
    "DependencyNeverSatisfied",
    "PartitionConfig",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "PartitionInactive",
    "launch_failed_requeued_held",
    "launch failed requeued held",
    "JobHeld",
    "BadConstraints",
    "InvalidAccount",
    "InvalidQOS",
    "Assoc",
    "AccountNotAllowed",
    "QOSNotAllowed",
    "ReqNodeNotAvail",
    "NodeDown",
];

/// What Slurm's word for holding a job back means, where the word alone does not say it.
fn meaning(reason: &str) -> Option<&'static str> {
    const MEANINGS: &[(&str, &str)] = &[
        ("PartitionTimeLimit", "it asks for more time than its partition allows"),
        ("PartitionNodeLimit", "it asks for more nodes than its partition has or allows"),
        ("PartitionInactive", "its partition starts no jobs now"),
        ("JobHeldUser", "a person holds it"),
        ("JobHeldAdmin", "an administrator holds it"),
        ("launch_failed_requeued_held", "a node could not start it"),
        ("launch failed requeued held", "a node could not start it"),
        ("BadConstraints", "no node has what it asks for"),
        ("ReqNodeNotAvail", "a node that it needs is not available"),
        ("Assoc", "a limit of its account holds it back"),
    ];
    MEANINGS.iter().find(|(word, _)| reason.starts_with(word)).map(|(_, meaning)| *meaning)
}

/// Reads a state word and its reason; `placed`: whether the job was given nodes.
pub(super) fn stage(word: &str, reason: &str, placed: bool) -> Stage {
    match word {
        UNSEEN => Stage::Queued,
        GONE => Stage::Gone,
        WITHDRAWN => Stage::Ended(End::Withdrawn),
        "PENDING" if stuck(reason) => Stage::Stuck,
        "PENDING" | "REQUEUED" | "REQUEUE_FED" => Stage::Queued,
        "REQUEUE_HOLD" | "SPECIAL_EXIT" | "RESV_DEL_HOLD" => Stage::Stuck,
        "RUNNING" | "COMPLETING" | "CONFIGURING" | "SUSPENDED" | "STOPPED" | "RESIZING" | "SIGNALING" | "STAGE_OUT" => {
            Stage::Running
        }
        "COMPLETED" => Stage::Ended(End::Completed),
        "FAILED" => Stage::Ended(End::Failed),
        "TIMEOUT" => Stage::Ended(End::Timeout),
        "OUT_OF_MEMORY" => Stage::Ended(End::OutOfMemory),
        "NODE_FAIL" => Stage::Ended(End::NodeFail),
        "PREEMPTED" => Stage::Ended(End::Preempted),
        "BOOT_FAIL" => Stage::Ended(End::BootFail),
        "DEADLINE" => Stage::Ended(End::Deadline),
        _ if word.split_whitespace().next() == Some("CANCELLED") && placed => Stage::Ended(End::CancelledThere),
        // sacct adds who it was
        _ if word.split_whitespace().next() == Some("CANCELLED") => Stage::Ended(End::Cancelled),
        _ => Stage::Unknown,
    }
}

/// Of a job that does not start: whether it waits for a person or for what may pass, and what a person is told.
pub(super) fn held_back(id: &str, reason: &str) -> Status {
    let meaning = meaning(reason).map(|meaning| format!(" ({meaning})")).unwrap_or_default();
    if PASSES.iter().any(|passes| reason.starts_with(passes)) {
        return Status::waiting(Code::Queue, format!("Slurm does not start job {id} yet: {reason}{meaning}"));
    }
    let held = ["JobHeld", "launch failed requeued held", "launch_failed_requeued_held"];
    let help = if held.iter().any(|held| reason.starts_with(held)) {
        format!("`scontrol release {id}` on the cluster lets it go")
    } else {
        "it can be cancelled, and run again once the site or what it asks for has changed".to_owned()
    };
    Status::waiting(Code::Scheduler, format!("Slurm holds job {id} back: {reason}{meaning}; {help}"))
}

/// The same of a job in a state that this host does not know.
pub(super) fn of_unknown_word(id: &str, word: &str) -> Status {
    Status::waiting(Code::Queue, format!("job {id} has the unknown state `{word}`"))
}

fn stuck(reason: &str) -> bool {
    STUCK.iter().any(|stuck| reason.starts_with(stuck))
        || (reason.starts_with("QOS") && (reason.contains("MaxWall") || reason.contains("PerJob")))
}

/// Whether a row is what a refused submit left behind: it bears our name and never was a job.
pub(super) fn is_ghost(word: &str, reason: &str, started: bool) -> bool {
    word == "FAILED" && reason == "BadConstraints" && !started
}

/// What the end of a job means that left an exit record. `word` is Slurm's, if it has a final one.
pub(super) fn with_record(record: &ExitRecord, stage: Stage) -> Status {
    let stopped = matches!(record.reason, Reason::Terminated | Reason::Signal);
    let clean = record.reason == Reason::Exited && record.code == Some(0);
    match stage {
        Stage::Ended(End::OutOfMemory) => Status::Failed(Detail::of(Code::Oom, "ran out of memory")),
        Stage::Ended(End::Timeout) if clean || stopped => Status::Failed(Detail::of(Code::Timeout, "ran out of time")),
        Stage::Ended(End::NodeFail) if clean || stopped => {
            Status::Failed(Detail::of(Code::NodeFail, "its node failed while it ran"))
        }
        Stage::Ended(End::Deadline) if stopped => Status::Failed(Detail::of(Code::Timeout, "its deadline passed")),
        // what was stopped may have ended well for all that: a shell that waits for a child does, once that is killed
        Stage::Ended(End::Preempted) if clean || stopped => {
            Status::Failed(Detail::of(Code::Preempted, "preempted by another job"))
        }
        Stage::Ended(End::Cancelled | End::CancelledThere) if clean || stopped => Status::Cancelled,
        Stage::Queued | Stage::Stuck | Stage::Running if record.reason == Reason::Terminated => {
            Status::Failed(Detail::of(Code::Requeued, "stopped by the scheduler, which wants to start it again"))
        }
        _ => record.status(),
    }
}

/// What the end of a job means that left no exit record. `started`: whether its command may have run; if not, it never
/// will.
pub(super) fn without_record(stage: Stage, reason: &str, started: bool) -> Status {
    let failed = |code: Code, text: &str| Status::Failed(Detail::of(code, text));
    let never = |code: Code, text: String| Status::NotStarted(Detail::of(code, text));
    match (stage, started) {
        (Stage::Ended(End::Withdrawn), false) => Status::Cancelled,
        (Stage::Ended(End::Cancelled), _) | (Stage::Ended(End::CancelledThere), true) => Status::Cancelled,
        (Stage::Ended(End::Failed), false) if reason == "BadConstraints" => {
            failed(Code::BadConstraints, "the cluster has no nodes that could run it (BadConstraints)")
        }
        (Stage::Ended(End::Deadline), false) => failed(Code::Timeout, "its deadline passed before it started"),
        (Stage::Ended(End::Preempted), false) => never(Code::Preempted, "preempted before it started".to_owned()),
        (Stage::Ended(end), false) => {
            never(Code::LaunchFailed, format!("Slurm ended it before its command started ({end:?}, reason `{reason}`)"))
        }
        (Stage::Ended(End::Timeout | End::Deadline), true) => failed(Code::Timeout, "ran out of time"),
        (Stage::Ended(End::OutOfMemory), true) => failed(Code::Oom, "ran out of memory"),
        (Stage::Ended(End::Preempted), true) => failed(Code::Preempted, "preempted by another job"),
        (Stage::Ended(End::NodeFail | End::BootFail), true) => {
            Status::Lost(Detail::of(Code::NodeFail, "its node failed after its command had been claimed"))
        }
        (Stage::Ended(End::Failed | End::Completed), true) => {
            failed(Code::NoExitRecord, "it ended without an exit record, so it was killed or could not write")
        }
        (_, false) => never(Code::Vanished, "the scheduler lost it before its command started".to_owned()),
        (_, true) => Status::Lost(Detail::of(
            Code::Vanished,
            "the scheduler does not know it any more, and it left no exit record",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(reason: Reason, code: Option<i32>, signal: Option<i32>) -> ExitRecord {
        ExitRecord { code, signal, ..ExitRecord::new(String::new(), reason, String::new()) }
    }

    fn word(status: &Status) -> String {
        match status {
            Status::Succeeded => "succeeded".to_owned(),
            Status::Failed(detail) => format!("failed {}", detail.code),
            Status::Cancelled => "cancelled".to_owned(),
            Status::NotStarted(detail) => format!("never {}", detail.code),
            Status::Lost(detail) => format!("lost {}", detail.code),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn every_state_with_an_exit_record() {
        let good = || record(Reason::Exited, Some(0), None);
        let bad = || record(Reason::Exited, Some(3), None);
        let killed = || record(Reason::Signal, None, Some(9));
        let stopped = || record(Reason::Terminated, Some(143), None);
        let cases = [
            ("COMPLETED", good(), "succeeded"),
            ("FAILED", bad(), "failed exit-code"),
            ("FAILED", good(), "succeeded"),
            ("FAILED", killed(), "failed signal"),
            ("CANCELLED", good(), "cancelled"),
            ("CANCELLED", killed(), "cancelled"),
            ("CANCELLED", bad(), "failed exit-code"),
            ("CANCELLED", stopped(), "cancelled"),
            ("CANCELLED by 0", stopped(), "cancelled"),
            ("TIMEOUT", good(), "failed timeout"),
            ("TIMEOUT", stopped(), "failed timeout"),
            ("TIMEOUT", bad(), "failed exit-code"),
            ("OUT_OF_MEMORY", good(), "failed oom"),
            ("OUT_OF_MEMORY", killed(), "failed oom"),
            ("OUT_OF_MEMORY", bad(), "failed oom"),
            ("NODE_FAIL", good(), "failed node-fail"),
            ("NODE_FAIL", bad(), "failed exit-code"),
            ("PREEMPTED", stopped(), "failed preempted"),
            ("PREEMPTED", good(), "failed preempted"),
            ("PREEMPTED", bad(), "failed exit-code"),
            ("PENDING", stopped(), "failed requeued"),
            ("RUNNING", good(), "succeeded"),
            // it did not only wait, then
            ("withdrawn", good(), "succeeded"),
            ("withdrawn", bad(), "failed exit-code"),
            ("gone", good(), "succeeded"),
            ("gone", bad(), "failed exit-code"),
            ("gone", stopped(), "failed terminated"),
            ("WHATEVER", good(), "succeeded"),
        ];
        for (state, record, expected) in cases {
            assert_eq!(word(&with_record(&record, stage(state, "", true))), expected, "{state} {:?}", record.reason);
        }
    }

    #[test]
    fn every_state_without_an_exit_record_is_no_success() {
        let cases = [
            ("COMPLETED", "None", "never launch-failed", "failed no-exit-record"),
            ("FAILED", "JobLaunchFailure", "never launch-failed", "failed no-exit-record"),
            ("FAILED", "BadConstraints", "failed bad-constraints", "failed no-exit-record"),
            ("CANCELLED", "None", "cancelled", "cancelled"),
            ("TIMEOUT", "TimeLimit", "never launch-failed", "failed timeout"),
            ("OUT_OF_MEMORY", "OutOfMemory", "never launch-failed", "failed oom"),
            ("NODE_FAIL", "NodeDown", "never launch-failed", "lost node-fail"),
            ("BOOT_FAIL", "None", "never launch-failed", "lost node-fail"),
            ("PREEMPTED", "None", "never preempted", "failed preempted"),
            ("DEADLINE", "DeadLine", "failed timeout", "failed timeout"),
            ("withdrawn", "", "cancelled", "lost vanished"),
            ("gone", "", "never vanished", "lost vanished"),
        ];
        for (state, reason, unstarted, started) in cases {
            let stage = stage(state, reason, false);
            assert_eq!(word(&without_record(stage, reason, false)), unstarted, "{state}, not started");
            assert_eq!(word(&without_record(stage, reason, true)), started, "{state}, started");
        }
    }

    #[test]
    fn live_words_and_reasons() {
        let cases = [
            ("PENDING", "Priority", Stage::Queued),
            ("PENDING", "Resources", Stage::Queued),
            ("PENDING", "BeginTime", Stage::Queued),
            ("PENDING", "QOSMaxJobsPerUserLimit", Stage::Queued),
            ("PENDING", "QOSMaxWallDurationPerJobLimit", Stage::Stuck),
            ("PENDING", "AssocGrpCPUMinutesLimit", Stage::Stuck),
            ("PENDING", "JobHeldAdmin", Stage::Stuck),
            ("PENDING", "JobHeldUser", Stage::Stuck),
            ("PENDING", "BadConstraints", Stage::Stuck),
            ("PENDING", "AssocMaxWallDurationPerJobLimit", Stage::Stuck),
            ("PENDING", "QOSGrpMaxWallDurationPerJobLimit", Stage::Stuck),
            ("PENDING", "PartitionTimeLimit", Stage::Stuck),
            ("PENDING", "PartitionNodeLimit", Stage::Stuck),
            ("PENDING", "DependencyNeverSatisfied", Stage::Stuck),
            ("PENDING", "PartitionConfig", Stage::Stuck),
            ("PENDING", "launch_failed_requeued_held", Stage::Stuck),
            ("PENDING", "launch failed requeued held", Stage::Stuck),
            ("COMPLETING", "None", Stage::Running),
            ("CONFIGURING", "None", Stage::Running),
            ("SUSPENDED", "None", Stage::Running),
            ("unseen", "", Stage::Queued),
            ("gone", "", Stage::Gone),
            ("SOMETHING_NEW", "None", Stage::Unknown),
            ("CANCELLEDX", "None", Stage::Unknown),
        ];
        for (word, reason, expected) in cases {
            assert_eq!(stage(word, reason, false), expected, "{word} {reason}");
        }
        // a prolog that fails is shown as a job that was cancelled on its node
        let cancelled = stage("CANCELLED by 0", "None", true);
        assert_eq!(word(&without_record(cancelled, "None", false)), "never launch-failed");
        assert_eq!(word(&without_record(cancelled, "None", true)), "cancelled");
        assert!(is_ghost("FAILED", "BadConstraints", false) && !is_ghost("FAILED", "BadConstraints", true));
    }
}
