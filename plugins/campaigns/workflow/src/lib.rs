//! `builtin:workflow`, the campaign that runs a plain DAG of tasks: `params.tasks`, or the pinned input `tasks` (a
//! JSON array, or one JSON task a line).
//!
//! The tasks' text goes to the host as it stands, which validates it anyway. A task that failed or was skipped fails
//! the run unless it says `allow_failure`.
use matterstack_sdk::{Campaign, Context, Decision, Detail, Error, Next, Outcome, TaskResult, artifacts, json};
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
        self.total += 1;
        *self.count_of(result.outcome) += 1;
        if fails(result.outcome, &result) {
            self.unallowed += 1;
            if self.unallowed_ids.len() < NAMED_FAILURES {
                self.unallowed_ids.push(result.task);
            }
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
    let tasks = match &ctx.params.tasks {
        Some(tasks) => tasks.get().to_owned(),
        None => from_input(ctx)?,
    };
    if !tasks.starts_with('[') {
        return Err(Error::invalid("tasks", "`campaign.params.tasks` must be an array of tasks"));
    }
    if tasks[1..].trim_start() == "]" {
        let none = json!({"total": 0, "completed": 0, "failed": 0, "skipped": 0, "cancelled": 0});
        return Ok(Decision::new(State::default(), Next::Complete(none), "there are no tasks"));
    }
    Ok(Decision::new(State::default(), Next::RawWorkflow(tasks), "run every task of the list"))
}

fn from_input(ctx: &Context<Params>) -> Result<String, Error> {
    let file = ctx.inputs.get("tasks").ok_or_else(|| {
        Error::invalid("no-tasks", "give the tasks in `campaign.params.tasks`, or in an input named `tasks`")
    })?;
    let text = artifacts::read_text(file)?;
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
    use matterstack_sdk::OutputFile;

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
        let state = Workflow::analyze(&ctx, State::default(), results).unwrap();
        Workflow::plan(&ctx, Some(state)).unwrap().next
    }

    #[test]
    fn tasks_of_params_go_out_as_they_are() {
        let decision = Workflow::plan(&context(r#"{"tasks": [ {"id": "a", "x": 1.50} ]}"#), None).unwrap();
        assert_eq!(decision.next, Next::RawWorkflow(r#"[ {"id": "a", "x": 1.50} ]"#.into()));
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
    fn allowed_failures_do_not() {
        let allowed = r#"{"task":"a","outcome":"failed","allow_failure":true}"#;
        let other = r#"{"task":"b","outcome":"completed"}"#;
        let Next::Complete(counts) = next_after(&[allowed, other]) else { panic!("the run did not complete") };
        assert_eq!(counts, json!({"total": 2, "completed": 1, "failed": 1, "skipped": 0, "cancelled": 0}));
    }
}
