use super::*;
use matterstack_sdk::OutputFile;
use matterstack_sdk::task::FileSource;

const INPUT: &str = r#"{"cathodes": {"a": {"voltage_v": 3.8}, "b": {}}, "electrolytes": {"x": {}, "y": {}}}"#;

fn context() -> Context<Params> {
    Context::first(Params::default()).with_inputs([("candidates", "input", INPUT.len() as u64)])
}

fn plan(state: Option<State>, input: &str) -> Result<Decision<State>, Error> {
    artifacts::with_files([("input".to_owned(), input.as_bytes().to_vec())], || Battery::plan(&context(), state))
}

fn tasks(decision: &Decision<State>) -> &[Task] {
    match &decision.next {
        Next::Workflow(tasks) => tasks,
        other => panic!("{other:?}"),
    }
}

fn ended(task: &str, outcome: Outcome, output: Option<&str>) -> TaskResult {
    let file =
        |path: &str| OutputFile { path: path.to_owned(), sha256: format!("{task}/{path}"), size: 10, remote: None };
    TaskResult {
        task: task.to_owned(),
        outcome,
        code: (outcome != Outcome::Completed).then(|| "exit-code".to_owned()),
        reason: (outcome != Outcome::Completed).then(|| "exited with code 3".to_owned()),
        attempt: None,
        attempts: 1,
        allow_failure: true,
        data: None,
        outputs: output.map(file).into_iter().collect(),
        data_sha256: None,
        data_size: None,
        supersedes: None,
    }
}

fn completed(task: &str) -> TaskResult {
    ended(task, Outcome::Completed, Some("discharge.json"))
}

fn failed(task: &str) -> TaskResult {
    ended(task, Outcome::Failed, None)
}

/// The state after the screening.
fn screened(results: Vec<TaskResult>) -> State {
    let state = plan(None, INPUT).expect("a plan").state;
    Battery::analyze(&context(), state, results).expect("an analysis")
}

/// The state after the summary left `text`.
fn summarised(state: State, text: &str) -> State {
    let result = ended("summary-2", Outcome::Completed, Some(RANKING));
    let files = [(format!("summary-2/{RANKING}"), text.as_bytes().to_vec())];
    artifacts::with_files(files, || Battery::analyze(&context(), state, vec![result])).expect("an analysis")
}

#[test]
fn every_pair_is_a_task_that_may_fail() {
    let decision = plan(None, INPUT).expect("a plan");
    let ids: Vec<&str> = tasks(&decision).iter().map(|task| task.id.as_str()).collect();
    assert_eq!(ids, ["a+x", "a+y", "b+x", "b+y"]);
    assert!(tasks(&decision).iter().all(|task| task.allow_failure && task.operator == "compute"));
    let FileSource::Content { content, .. } = &tasks(&decision)[0].files["input.json"] else { panic!("no content") };
    let input: Value = serde_json::from_str(content).expect("JSON");
    assert_eq!(input["cathode"]["voltage_v"], 3.8);
    assert_eq!((&input["c_rate"], &input["candidate"]), (&json!(1.0), &json!("a+x")));
}

#[test]
fn the_summary_reads_the_completed_ones_and_is_told_of_the_others() {
    let state =
        screened(vec![completed("a+x"), failed("a+y"), ended("b+x", Outcome::Cancelled, None), completed("b+y")]);
    let summary = Summary::new("2 of 4 candidates have a result, 2 failed").done(4.0).total(4.0);
    assert_eq!(Battery::summary(&state), Some(summary));
    let mut ctx = context();
    ctx.iteration = 2;
    let decision = Battery::plan(&ctx, Some(state)).expect("a plan");
    let [summary] = tasks(&decision) else { panic!("{decision:?}") };
    let from: Vec<&str> = summary
        .files
        .values()
        .filter_map(|source| match source {
            FileSource::From { from, .. } => Some(from.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(from, ["a+x", "b+y"]);
    assert!(!summary.allow_failure && summary.id == "summary-2");
    let told = FileSource::Content {
        content: r#"{"a+y":"exited with code 3","b+x":"exited with code 3"}"#.to_owned(),
        executable: None,
    };
    assert_eq!(summary.files["failed.json"], told);
}

#[test]
fn the_result_is_the_top_of_the_ranking_and_the_failures() {
    let state = screened(vec![completed("a+x"), failed("a+y"), completed("b+x"), completed("b+y")]);
    let ranking = r#"{"ranking": [{"rank": 1, "candidate": "b+x", "energy_wh_kg": 500}, {"rank": 2}], "failed": {}}"#;
    let state = summarised(state, ranking);
    assert_eq!(state.line(), "3 of 4 candidates have a result, 1 failed; best: b+x, 500 Wh/kg");
    let ctx = context().with_params(Params { top: 1, ..Params::default() });
    let Next::Complete(result) = Battery::plan(&ctx, Some(state)).expect("a plan").next else { panic!("it goes on") };
    assert_eq!(result["ranking"], json!([{"rank": 1, "candidate": "b+x", "energy_wh_kg": 500}]));
    assert_eq!((&result["ranked"], &result["failed"]), (&json!(2), &json!({"a+y": "exited with code 3"})));
}

#[test]
fn a_campaign_without_a_result_fails_and_says_so() {
    let code = |state: State| match plan(Some(state), INPUT).expect("a plan").next {
        Next::Fail(detail) => detail.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(screened(["a+x", "a+y", "b+x", "b+y"].map(failed).to_vec())), "nothing-to-rank");
    let state = screened(["a+x", "a+y", "b+x", "b+y"].map(completed).to_vec());
    assert_eq!(code(summarised(state.clone(), "[]")), "no-summary");
    assert_eq!(
        code(Battery::analyze(&context(), state, vec![failed("summary-2")]).expect("an analysis")),
        "no-summary"
    );
}

#[test]
fn a_rerun_that_succeeds_mends_its_candidate() {
    let state = screened(["a+x", "a+y", "b+x", "b+y"].map(failed).to_vec());
    let state = Battery::analyze(&context(), state, vec![completed("a+y")]).expect("an analysis");
    assert_eq!(state.completed().map(|candidate| candidate.id.as_str()).collect::<Vec<_>>(), ["a+y"]);
    let state = summarised(state, r#"{"ranking": []}"#);
    let state = Battery::analyze(&context(), state, vec![completed("b+y")]).expect("an analysis");
    let mut ctx = context();
    ctx.iteration = 3;
    let decision = Battery::plan(&ctx, Some(state)).expect("a plan");
    assert_eq!(tasks(&decision)[0].id, "summary-3", "the summary of before does not hold it");
}

#[test]
fn bad_input_and_parameters_are_named() {
    let message = |input: &str| plan(None, input).expect_err("it is refused").detail().message.clone();
    assert!(message("{").contains("input `candidates` cannot be used"));
    assert!(message(r#"{"cathodes": {}}"#).contains("electrolytes"));
    assert!(message(r#"{"cathodes": {"a/b": {}}, "electrolytes": {"x": {}}}"#).contains("`a/b` cannot name"));
    assert!(message(r#"{"cathodes": {}, "electrolytes": {"x": {}}}"#).contains("no cathode"));
    let ctx = context().with_params(Params { c_rate: 0.0, ..Params::default() });
    let error = Battery::plan(&ctx, None).expect_err("it is refused");
    assert_eq!(error.detail().message, "`c_rate` is 0; it must be from 0.01 to 20");
    assert!(serde_json::from_value::<Params>(json!({"crate": 1})).is_err());
    let error = Battery::analyze(&context(), State::default(), vec![failed("z")]).expect_err("it is refused");
    assert_eq!(error.detail().code, "unknown-task");
}
