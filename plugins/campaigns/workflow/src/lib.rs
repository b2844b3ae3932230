//! `builtin:workflow`, the campaign that runs a plain DAG of tasks: `params.tasks`, or the pinned input `tasks` (a
//! JSON array, or one JSON task a line).
//!
//! The tasks' text goes to the host as it stands, which validates it anyway. A task that failed or was skipped fails
//! the run unless it says `allow_failure`.
use campaign_tally::Tally;
use matterstack_sdk::{Campaign, Context, Decision, Error, Next, OutputFile, TaskResult, artifacts, json};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The campaign.
pub struct Workflow;

matterstack_sdk::export_campaign!(Workflow, manifest: concat!(
    r#"{"format": 1, "name": "workflow", "version": ""#,
    env!("CARGO_PKG_VERSION"),
    r#"", "takes_back": true}"#
));

/// `campaign.params`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The tasks, unread; absent: the input named `tasks`.
    #[serde(default)]
    tasks: Option<Box<RawValue>>,
}

/// What is remembered between decisions.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    #[serde(flatten)]
    tally: Tally,
    /// Tells the list that was planned last from others.
    #[serde(default)]
    list: String,
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
            let (state, tasks) = (State { list, ..state }, Next::RawWorkflow(listed(ctx)?));
            return Ok(Decision::new(state, tasks, "run what the list has more").skipping_known());
        }
        let (next, reason) = state.tally.end(ctx.open_tasks);
        Ok(Decision::new(state, next, reason))
    }

    fn analyze(_ctx: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
        results.into_iter().for_each(|result| state.tally.add(result));
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
    let decision = Decision::new(state, Next::RawWorkflow(tasks), "run every task of the list");
    Ok(Decision { skip_known: campaign_tally::may_know_tasks(ctx), ..decision })
}

/// The list, as an array.
fn listed(ctx: &Context<Params>) -> Result<String, Error> {
    let tasks = match &ctx.params()?.tasks {
        Some(tasks) => tasks.get().to_owned(),
        None => from_input(ctx)?,
    };
    if tasks.starts_with('[') {
        Ok(tasks)
    } else {
        Err(Error::invalid("tasks", "`campaign.params.tasks` must be an array of tasks"))
    }
}

/// Tells one list from another: the digest of the input, or a hash of what the parameters hold.
fn fingerprint(ctx: &Context<Params>) -> Result<String, Error> {
    match &ctx.params()?.tasks {
        Some(tasks) => Ok(campaign_tally::fingerprint(tasks.get())),
        None => Ok(input(ctx)?.sha256.clone()),
    }
}

/// The input that holds the list.
fn input(ctx: &Context<Params>) -> Result<&OutputFile, Error> {
    ctx.inputs()?.get("tasks").ok_or_else(|| {
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
        let ctx = context("{}").with_inputs([("tasks", "d", text.len() as u64)]);
        artifacts::with_files([("d".to_owned(), text.as_bytes().to_vec())], || Workflow::plan(&ctx, None))
    }

    #[test]
    fn tasks_of_params_go_out_as_they_are() {
        let decision = Workflow::plan(&context(r#"{"tasks": [ {"id": "a", "x": 1.50} ]}"#), None).unwrap();
        assert_eq!(decision.next, Next::RawWorkflow(r#"[ {"id": "a", "x": 1.50} ]"#.into()));
    }

    #[test]
    fn a_list_that_has_grown_is_planned_again() {
        let Decision { state, skip_known, .. } = Workflow::plan(&context(r#"{"tasks":[{"id":"a"}]}"#), None).unwrap();
        assert!(!skip_known, "there are no tasks yet");
        let grown = context(r#"{"tasks":[{"id":"a"},{"id":"b"}]}"#);
        let decision = Workflow::plan(&grown, Some(state)).unwrap();
        assert_eq!(decision.next, Next::RawWorkflow(r#"[{"id":"a"},{"id":"b"}]"#.into()));
        assert!(decision.skip_known);
        let open = Workflow::plan(&grown.clone().with_open_tasks(["b"]), Some(decision.state)).unwrap();
        assert_eq!(open.next, Next::Wait);
        let again = Workflow::plan(&grown, Some(open.state)).unwrap();
        assert!(matches!(again.next, Next::Complete(_)));
    }

    #[test]
    fn a_first_plan_of_a_run_that_was_amended_passes_over_what_it_knows() {
        for reason in ["changed", "reopened"] {
            let mut ctx = context(r#"{"tasks":[{"id":"a"}]}"#);
            ctx.asked = vec![reason.to_owned()];
            assert!(Workflow::plan(&ctx, None).unwrap().skip_known, "{reason}");
        }
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
}
