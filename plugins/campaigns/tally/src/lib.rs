//! How the tasks of a plan ended, and what that means for the run: one that failed or was skipped fails it, unless the
//! task says `allow_failure`. A result that is taken back counts no more. It keeps numbers and a few ids, whatever the
//! number of tasks.
use matterstack_sdk::{Context, Detail, Next, Outcome, TaskResult, json};
use serde::{Deserialize, Serialize};

/// Ids of failed tasks that are kept, for the message.
const NAMED_FAILURES: usize = 20;
/// Ids of failed tasks that the message names.
const NAMED_IN_MESSAGE: usize = 5;

/// How the tasks ended so far.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    total: u64,
    completed: u64,
    failed: u64,
    skipped: u64,
    cancelled: u64,
    /// Tasks that failed or were skipped and were not allowed to.
    unallowed: u64,
    /// The first of them.
    unallowed_ids: Vec<String>,
}

impl Tally {
    fn count_of(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Completed => &mut self.completed,
            Outcome::Failed => &mut self.failed,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Cancelled => &mut self.cancelled,
        }
    }

    /// Counts a result, in the place of the one that it takes back.
    pub fn add(&mut self, result: TaskResult) {
        if let Some(earlier) = result.supersedes {
            self.take_back(earlier, &result);
        }
        self.total += 1;
        *self.count_of(result.outcome) += 1;
        if fails(result.outcome, &result) {
            self.unallowed += 1;
            if self.unallowed_ids.len() < NAMED_FAILURES {
                self.unallowed_ids.push(result.task);
            }
        }
    }

    /// Forgets how a task had ended that has run again.
    fn take_back(&mut self, earlier: Outcome, result: &TaskResult) {
        self.total = self.total.saturating_sub(1);
        let count = self.count_of(earlier);
        *count = count.saturating_sub(1);
        if fails(earlier, result) {
            self.unallowed = self.unallowed.saturating_sub(1);
            self.unallowed_ids.retain(|id| *id != result.task);
        }
    }

    /// How a run ends whose tasks have all ended so, and one sentence on why; while some are open it waits for them.
    pub fn end(&self, open_tasks: u64) -> (Next, String) {
        if open_tasks > 0 {
            return (Next::Wait, format!("{open_tasks} tasks have not ended"));
        }
        if self.unallowed > 0 {
            let failure = self.failure();
            let reason = failure.message.clone();
            return (Next::Fail(failure), reason);
        }
        let result = json!({
            "total": self.total, "completed": self.completed, "failed": self.failed,
            "skipped": self.skipped, "cancelled": self.cancelled,
        });
        (Next::Complete(result), "every task has ended".to_owned())
    }

    fn failure(&self) -> Detail {
        let shown = &self.unallowed_ids[..self.unallowed_ids.len().min(NAMED_IN_MESSAGE)];
        let more = match self.unallowed.saturating_sub(shown.len() as u64) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let names = shown.join("`, `");
        let (count, total) = (self.unallowed, self.total);
        Detail::new("tasks-failed", format!("{count} of {total} tasks failed or were skipped: `{names}`{more}"))
    }
}

fn fails(outcome: Outcome, result: &TaskResult) -> bool {
    matches!(outcome, Outcome::Failed | Outcome::Skipped) && !result.allow_failure
}

/// Whether the run may have tasks though the campaign has planned none: a person amended it, or opened it again.
pub fn may_know_tasks<P>(ctx: &Context<P>) -> bool {
    ctx.is_asked("changed") || ctx.is_asked("reopened")
}

/// Tells one list of tasks from another: a hash of its text (FNV-1a, 64 bits).
pub fn fingerprint(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_after(results: &[&str]) -> Next {
        let mut tally = Tally::default();
        results.iter().for_each(|text| tally.add(serde_json::from_str(text).unwrap()));
        assert!(matches!(tally.end(1).0, Next::Wait), "a task is open");
        tally.end(0).0
    }

    #[test]
    fn a_failure_that_was_not_allowed_fails_the_run() {
        let failed = r#"{"task":"a","outcome":"failed","code":"exit-code","new_key":1}"#;
        let skipped = r#"{"task":"b","outcome":"skipped"}"#;
        let Next::Fail(detail) = end_after(&[failed, skipped]) else { panic!("the run did not fail") };
        assert_eq!(detail.code, "tasks-failed");
        assert_eq!(detail.message, "2 of 2 tasks failed or were skipped: `a`, `b`");
    }

    #[test]
    fn a_result_that_is_taken_back_counts_no_more() {
        let failed = r#"{"task":"a","outcome":"failed"}"#;
        let other = r#"{"task":"b","outcome":"completed"}"#;
        let mended = r#"{"task":"a","outcome":"completed","supersedes":"failed"}"#;
        let Next::Complete(counts) = end_after(&[failed, other, mended]) else { panic!("the run did not complete") };
        assert_eq!(counts, json!({"total": 2, "completed": 2, "failed": 0, "skipped": 0, "cancelled": 0}));
    }

    #[test]
    fn allowed_failures_do_not() {
        let allowed = r#"{"task":"a","outcome":"failed","allow_failure":true}"#;
        let other = r#"{"task":"b","outcome":"completed"}"#;
        let Next::Complete(counts) = end_after(&[allowed, other]) else { panic!("the run did not complete") };
        assert_eq!(counts, json!({"total": 2, "completed": 1, "failed": 1, "skipped": 0, "cancelled": 0}));
    }
}
