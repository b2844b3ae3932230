//! `builtin:workflow`, the campaign that runs a plain DAG of tasks: `params.tasks`, or the pinned input `tasks` (a
//! JSON array, or one JSON task a line).
//!
//! The tasks' text goes to the host as it stands, which validates it anyway. A task that failed or was skipped fails
//! the run unless it says `allow_failure`.
use matterstack_sdk::{
    Campaign, Context, Decision, Detail, Error, Next, Outcome, OutputFile, TaskResult, artifacts, json,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Ids of failed tasks that the state keeps, for the message.
const NAMED_FAILURES: usize = 20;
/// Ids of failed tasks that the message names.
const NAMED_IN_MESSAGE: usize = 5;

/// The campaign.
pub struct Workflow;

matterstack_sdk::export_campaign!(Workflow);

/// `campaign.params`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The tasks, unread; absent: the input named `tasks`.
    #[serde(default)]
    tasks: Option<Box<RawValue>>,
}

/// How the tasks ended so far.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    total: u64,
    completed: u64,
    failed: u64,
    skipped: u64,
    cancelled: u64,
    /// Tasks that failed or were skipped and were not allowed to.
    unallowed: u64,
    /// The first of them.
    unallowed_ids: Vec<String>,
    /// Tells the list that was planned last from others.
    #[serde(default)]
    list: String,
}

impl State {
    fn count_of(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Completed => &mut self.completed,
            Outcome::Failed => &mut self.failed,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Cancelled => &mut self.cancelled,
        }
    }

    fn add(&mut self, result: TaskResult) {
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

impl Campaign for Workflow {
    type Params = Params;
    type State = State;

    fn plan(ctx: &Context<Params>, state: Option<State>) -> Result<Decision<State>, Error> {
        let Some(state) = state else {
            return first(ctx);
        };
        let list = fingerprint(ctx)?;
        if state.list != list {
            // What has grown is planned whole: the host passes over the tasks that it knows, and refuses those that
            // differ.
            let state = State { list, ..state };
            return Ok(Decision::new(state, Next::RawWorkflow(listed(ctx)?), "run what the list has more"));
        }
        if state.unallowed > 0 {
            let failure = state.failure();
            let reason = failure.message.clone();
            return Ok(Decision::new(state, Next::Fail(failure), reason));
        }
        let result = json!({
            "total": state.total, "completed": state.completed, "failed": state.failed,
            "skipped": state.skipped, "cancelled": state.cancelled,
        });
        Ok(Decision::new(state, Next::Complete(result), "every task has ended"))
    }

    fn analyze(_ctx: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
        results.into_iter().for_each(|result| state.add(result));
        Ok(state)
    }
}

fn first(ctx: &Context<Params>) -> Result<Decision<State>, Error> {
    let tasks = listed(ctx)?;
    let state = State { list: fingerprint(ctx)?, ..State::default() };
    if tasks[1..].trim_start() == "]" {
        let none = json!({"total": 0, "completed": 0, "failed": 0, "skipped": 0, "cancelled": 0});
        return Ok(Decision::new(state, Next::Complete(none), "there are no tasks"));
    }
    Ok(Decision::new(state, Next::RawWorkflow(tasks), "run every task of the list"))
}

/// The list, as an array.
fn listed(ctx: &Context<Params>) -> Result<String, Error> {
    let tasks = match &ctx.params.tasks {
        Some(tasks) => tasks.get().to_owned(),
        None => from_input(ctx)?,
    };
    if tasks.starts_with('[') {
        Ok(tasks)
    } else {
        Err(Error::invalid("tasks", "`campaign.params.tasks` must be an array of tasks"))
    }
}

/// Tells one list from another: the digest of the input, or a hash of what the parameters hold (FNV-1a, 64 bits).
fn fingerprint(ctx: &Context<Params>) -> Result<String, Error> {
    let Some(tasks) = &ctx.params.tasks else { return Ok(input(ctx)?.sha256.clone()) };
    let hash = tasks
        .get()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    Ok(format!("{hash:016x}"))
}

/// The input that holds the list.
fn input(ctx: &Context<Params>) -> Result<&OutputFile, Error> {
    ctx.inputs.get("tasks").ok_or_else(|| {
        Error::invalid("no-tasks", "give the tasks in `campaign.params.tasks`, or in an input named `tasks`")
    })
}

fn from_input(ctx: &Context<Params>) -> Result<String, Error> {
    let text = artifacts::read_text(input(ctx)?)?;
    if text.starts_with('\u{feff}') {
        let wrong = "input `tasks` begins with a byte order mark: save it as UTF-8 without one";
        return Err(Error::invalid("tasks", wrong));
    }
    if let Some(array) = text.trim_ascii().strip_prefix('[') {
        // what stands before it is left out, but for its lines
        let lines = text[..text.len() - text.trim_ascii_start().len()].matches('\n').count();
        return Ok(format!("[{}{array}", "\n".repeat(lines)));
    }
    one_a_line(&text)
}

/// The array of tasks that stand one a line. Each stays in its line, so that what is wrong with it is found there.
fn one_a_line(text: &str) -> Result<String, Error> {
    let mut array = String::with_capacity(text.len() + text.len() / 64 + 2);
    array.push('[');
    let mut any = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_ascii();
        if !line.is_empty() {
            matterstack_document::check(line).map_err(|fault| {
                Error::invalid("tasks", format!("line {number} of input `tasks`: {}", fault.sentence()))
            })?;
            if std::mem::replace(&mut any, true) {
                array.push(',');
            }
            array.push_str(line);
        }
        array.push('\n');
    }
    array.push(']');
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(params: &str) -> Context<Params> {
        Context::first(serde_json::from_str(params).unwrap())
    }

    fn with_input(text: &str) -> Result<Decision<State>, Error> {
        let mut ctx = context("{}");
        let file = OutputFile { path: "tasks".into(), sha256: "d".into(), size: text.len() as u64, remote: None };
        ctx.inputs.insert("tasks".into(), file);
        artifacts::with_files([("d".to_owned(), text.as_bytes().to_vec())], || Workflow::plan(&ctx, None))
    }

    fn result(text: &str) -> TaskResult {
        serde_json::from_str(text).unwrap()
    }

    fn next_after(results: &[&str]) -> Next {
        let ctx = context(r#"{"tasks":[]}"#);
        let results = results.iter().map(|text| result(text)).collect();
        let begun = State { list: fingerprint(&ctx).unwrap(), ..State::default() };
        let state = Workflow::analyze(&ctx, begun, results).unwrap();
        Workflow::plan(&ctx, Some(state)).unwrap().next
    }

    #[test]
    fn tasks_of_params_go_out_as_they_are() {
        let decision = Workflow::plan(&context(r#"{"tasks": [ {"id": "a", "x": 1.50} ]}"#), None).unwrap();
        assert_eq!(decision.next, Next::RawWorkflow(r#"[ {"id": "a", "x": 1.50} ]"#.into()));
    }

    #[test]
    fn a_list_that_has_grown_is_planned_again() {
        let Decision { state, .. } = Workflow::plan(&context(r#"{"tasks":[{"id":"a"}]}"#), None).unwrap();
        let grown = context(r#"{"tasks":[{"id":"a"},{"id":"b"}]}"#);
        let decision = Workflow::plan(&grown, Some(state)).unwrap();
        assert_eq!(decision.next, Next::RawWorkflow(r#"[{"id":"a"},{"id":"b"}]"#.into()));
        let again = Workflow::plan(&grown, Some(decision.state)).unwrap();
        assert!(matches!(again.next, Next::Complete(_)));
    }

    #[test]
    fn an_input_is_an_array_or_one_task_a_line() {
        let expected = Next::RawWorkflow(r#"[{"id":"a"},{"id":"b"}]"#.into());
        assert_eq!(with_input(" [{\"id\":\"a\"},{\"id\":\"b\"}]\n").unwrap().next, expected);
        let lines = Next::RawWorkflow("[{\"id\":\"a\"}\n\n,{\"id\":\"b\"}\n]".into());
        assert_eq!(with_input("{\"id\":\"a\"}\r\n\n{\"id\":\"b\"}\n").unwrap().next, lines);
        assert!(matches!(with_input("\n").unwrap().next, Next::Complete(_)));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told_with_its_number() {
        for (line, words) in [
            ("{\"id\": \"b\"", "line 3"),
            ("{\"id\": \"b\"}, {\"id\": \"c\"}", "line 3"),
            ("{\"id\": \"b\", \"id\": \"c\"}", "`id` stands twice"),
            ("{\"id\": \"b\", \"input\": {\"n\": 9007199254740993}}", "`input.n`"),
            ("{\"id\": \"b\", \"priority\": NaN}", "`priority`"),
        ] {
            let error = with_input(&format!("{{\"id\":\"a\"}}\n\n{line}\n{{\"id\":\"d\"}}\n")).unwrap_err();
            let message = &error.detail().message;
            assert!(message.contains("line 3 of input `tasks`") && message.contains(words), "{line}: {message}");
        }
    }

    #[test]
    fn without_tasks_it_says_where_to_put_them() {
        assert_eq!(Workflow::plan(&context("{}"), None).unwrap_err().detail().code, "no-tasks");
        assert_eq!(Workflow::plan(&context(r#"{"tasks":{}}"#), None).unwrap_err().detail().code, "tasks");
        assert!(serde_json::from_str::<Params>(r#"{"task":[]}"#).is_err());
    }

    #[test]
    fn a_failure_that_was_not_allowed_fails_the_run() {
        let failed = r#"{"task":"a","outcome":"failed","code":"exit-code","new_key":1}"#;
        let skipped = r#"{"task":"b","outcome":"skipped"}"#;
        let Next::Fail(detail) = next_after(&[failed, skipped]) else { panic!("the run did not fail") };
        assert_eq!(detail.code, "tasks-failed");
        assert_eq!(detail.message, "2 of 2 tasks failed or were skipped: `a`, `b`");
    }

    #[test]
    fn a_result_that_is_taken_back_counts_no_more() {
        let failed = r#"{"task":"a","outcome":"failed"}"#;
        let other = r#"{"task":"b","outcome":"completed"}"#;
        let mended = r#"{"task":"a","outcome":"completed","supersedes":"failed"}"#;
        let Next::Complete(counts) = next_after(&[failed, other, mended]) else { panic!("the run did not complete") };
        assert_eq!(counts, json!({"total": 2, "completed": 2, "failed": 0, "skipped": 0, "cancelled": 0}));
    }

    #[test]
    fn allowed_failures_do_not() {
        let allowed = r#"{"task":"a","outcome":"failed","allow_failure":true}"#;
        let other = r#"{"task":"b","outcome":"completed"}"#;
        let Next::Complete(counts) = next_after(&[allowed, other]) else { panic!("the run did not complete") };
        assert_eq!(counts, json!({"total": 2, "completed": 1, "failed": 1, "skipped": 0, "cancelled": 0}));
    }
}
