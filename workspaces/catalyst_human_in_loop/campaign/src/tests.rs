use super::*;
use matterstack_sdk::{Outcome, OutputFile, Value, json};

const ELEMENTS: &str = include_str!("../../data/elements.json");

fn context() -> Context<Params> {
    let inputs = [("elements", "input", ELEMENTS.len() as u64)];
    Context::first(Params { rounds: 1, ..Params::default() }).with_inputs(inputs)
}

fn plan(ctx: &Context<Params>, state: Option<State>) -> Decision<State> {
    artifacts::with_files([("input".to_owned(), ELEMENTS.as_bytes().to_vec())], || Catalyst::plan(ctx, state))
        .expect("a plan")
}

fn tasks(decision: &Decision<State>) -> &[Task] {
    match &decision.next {
        Next::Workflow(tasks) => tasks,
        other => panic!("{other:?}"),
    }
}

fn ids(decision: &Decision<State>) -> Vec<&str> {
    tasks(decision).iter().map(|task| task.id.as_str()).collect()
}

fn ended(task: &str, outcome: Outcome, data: Option<Value>) -> TaskResult {
    TaskResult {
        task: task.to_owned(),
        outcome,
        code: None,
        reason: (outcome != Outcome::Completed).then(|| "exited with code 2".to_owned()),
        attempt: None,
        attempts: 1,
        allow_failure: true,
        data,
        outputs: vec![],
        data_sha256: None,
        data_size: None,
        supersedes: None,
    }
}

fn answer(number: usize, answer: Value) -> TaskResult {
    ended(&format!("approve-{number}"), Outcome::Completed, Some(json!({"answer": answer, "by": null})))
}

fn analyze(state: State, results: Vec<TaskResult>) -> State {
    Catalyst::analyze(&context(), state, results).expect("an analysis")
}

/// Folds results of these alloys with this binding energy and activity.
fn computed(state: State, values: &[(&str, f64, f64)]) -> State {
    let content = |(id, binding, tof): &(&str, f64, f64)| {
        json!({"candidate": id, "binding_ev": binding, "log10_tof_per_s": tof, "coverage": 0.5}).to_string()
    };
    let files = values.iter().map(|value| (value.0.to_owned(), content(value).into_bytes()));
    let results = values.iter().map(|value| {
        let size = content(value).len() as u64;
        let file = OutputFile { path: "activity.json".into(), sha256: value.0.to_owned(), size, remote: None };
        TaskResult { outputs: vec![file], ..ended(value.0, Outcome::Completed, None) }
    });
    let results = results.collect();
    artifacts::with_files(files, || Catalyst::analyze(&context(), state, results)).expect("an analysis")
}

const FIRST: [&str; 4] = ["Co25Pt75", "Ni25Pd75", "Ni25Pt75", "Ag25Ni75"];

fn proposed() -> State {
    plan(&context(), None).state
}

#[test]
fn a_proposal_asks_a_person_with_a_form() {
    let decision = plan(&context(), None);
    assert_eq!(ids(&decision), ["approve-1"]);
    assert_eq!(decision.state.proposals[0].alloys, FIRST);
    let task = &tasks(&decision)[0];
    assert_eq!(task.operator, "human");
    let input = task.input.as_ref().expect("an input");
    assert_eq!(input["on_reject"], "result");
    assert_eq!(input["schema"]["properties"]["candidates"]["items"]["enum"], json!(FIRST));
    let text = input["instructions"].as_str().expect("a text");
    assert!(text.starts_with("# Proposal 1: which of 4 alloys"), "{text}");
    assert!(text.contains("| Ni25Pd75 | -0.512 | 1500.25 |"), "{text}");
    assert!(report::line(&decision.state).ends_with("proposal 1 waits for a person"));
}

#[test]
fn who_approves_all_or_some_gets_these_computed() {
    let all = plan(&context(), Some(analyze(proposed(), vec![answer(1, json!({"approved": true}))])));
    assert_eq!(ids(&all), FIRST);
    let chosen = json!({"approved": true, "candidates": ["Ag25Ni75", "Ni25Pd75"], "comment": "cheap ones"});
    let some = plan(&context(), Some(analyze(proposed(), vec![answer(1, chosen)])));
    assert_eq!(ids(&some), ["Ni25Pd75", "Ag25Ni75"]);
    assert_eq!(some.state.proposals[0].comment(), "cheap ones");
    assert!(tasks(&some).iter().all(|task| task.operator == "compute" && task.allow_failure));
}

#[test]
fn what_is_computed_is_ranked() {
    let state = analyze(proposed(), vec![answer(1, json!({"approved": true}))]);
    let state = computed(state, &[("Ni25Pd75", -0.59, 5.9), ("Co25Pt75", -0.62, 5.8), ("Ni25Pt75", -0.56, 6.1)]);
    let state = analyze(state, vec![ended("Ag25Ni75", Outcome::Failed, None)]);
    let summary = Summary::new("proposals: 1 approved, 0 rejected; best: Ni25Pt75, log10 TOF 6.100");
    assert_eq!(Catalyst::summary(&state), Some(summary));
    let Next::Complete(result) = plan(&context(), Some(state)).next else { panic!("it goes on") };
    let order: Vec<&Value> =
        result["ranking"].as_array().expect("a list").iter().map(|entry| &entry["alloy"]).collect();
    assert_eq!(order, ["Ni25Pt75", "Ni25Pd75", "Co25Pt75"]);
    assert_eq!(result["failed"], json!({"Ag25Ni75": "exited with code 2"}));
    assert_eq!(result["proposals"][0]["verdict"], "approved");
}

#[test]
fn the_next_round_corrects_the_estimate_by_what_was_computed() {
    let state = analyze(proposed(), vec![answer(1, json!({"approved": true, "candidates": ["Ni25Pd75"]}))]);
    let state = computed(state, &[("Ni25Pd75", -0.6125, 5.9)]);
    let ctx = context().with_params(Params::default());
    let decision = plan(&ctx, Some(state));
    assert_eq!(ids(&decision), ["approve-2"]);
    assert!(decision.reason.contains("-0.100 eV"), "{}", decision.reason);
    let pool = alloys::pool(ELEMENTS).expect("a pool");
    let nearest = pool.iter().find(|alloy| alloy.id == decision.state.proposals[1].alloys[0]).expect("the alloy");
    assert!((nearest.estimate_ev + 0.4).abs() < 0.02, "{nearest:?}");
    assert!(decision.state.proposals[1].alloys.iter().all(|id| !FIRST.contains(&id.as_str())), "no alloy twice");
}

#[test]
fn a_rejection_brings_other_alloys_and_too_many_end_the_campaign() {
    let mut state = proposed();
    for number in 1..=3 {
        state = analyze(state, vec![answer(number, json!({"approved": false, "comment": "too dear"}))]);
        let decision = plan(&context(), Some(state));
        if number == 3 {
            let Next::Fail(detail) = decision.next else { panic!("it goes on") };
            assert_eq!(detail.code, "not-approved");
            assert_eq!(detail.message, "3 proposals were rejected; the last comment: too dear");
            return;
        }
        let text = tasks(&decision)[0].input.as_ref().expect("an input")["instructions"].as_str().expect("a text");
        assert!(text.contains("was rejected; the comment: too dear"), "{text}");
        let again = decision.state.proposals[number].alloys.iter().any(|id| FIRST.contains(&id.as_str()));
        assert!(!again, "a rejected alloy comes again");
        state = decision.state;
    }
}

#[test]
fn a_question_without_an_answer_holds_the_run_and_is_asked_again() {
    let state = analyze(proposed(), vec![ended("approve-1", Outcome::Cancelled, None)]);
    let decision = plan(&context(), Some(state));
    let Next::Hold(detail) = &decision.next else { panic!("{decision:?}") };
    assert_eq!(detail.code, "no-answer");
    let again = plan(&context(), Some(decision.state));
    assert_eq!(ids(&again), ["approve-2"]);
    assert_eq!(again.state.proposals[1].alloys, FIRST, "nobody has said no to them");
}

#[test]
fn when_nothing_is_left_the_campaign_ends() {
    let ctx = context().with_params(Params { batch: 50, max_rejections: 9, ..Params::default() });
    let mut state = plan(&ctx, None).state;
    state = analyze(state, vec![answer(1, json!({"approved": false}))]);
    state = plan(&ctx, Some(state)).state;
    assert_eq!(state.proposals[1].alloys.len(), 13);
    state = analyze(state, vec![answer(2, json!({"approved": false}))]);
    let Next::Fail(detail) = plan(&ctx, Some(state)).next else { panic!("it goes on") };
    assert_eq!(detail.code, "nothing-to-rank");
}

#[test]
fn bad_files_answers_and_parameters_are_named() {
    let state = analyze(proposed(), vec![answer(1, json!({"approved": true}))]);
    let other = computed(state.clone(), &[]);
    assert_eq!(other.computed.len(), 0);
    let wrong = |content: &str| {
        let file =
            OutputFile { path: "activity.json".into(), sha256: "f".into(), size: content.len() as u64, remote: None };
        let result = TaskResult { outputs: vec![file], ..ended("Ni25Pd75", Outcome::Completed, None) };
        let files = [("f".to_owned(), content.as_bytes().to_vec())];
        match artifacts::with_files(files, || Computed::of(&result)).expect("readable files") {
            Computed::Failed(reason) => reason,
            value => panic!("{value:?}"),
        }
    };
    assert!(wrong("{}").contains("is not a result"));
    assert!(wrong(r#"{"candidate": "x", "binding_ev": 1, "log10_tof_per_s": 1}"#).contains("is about `x`"));
    let error =
        Catalyst::analyze(&context(), state, vec![ended("Ni50", Outcome::Failed, None)]).expect_err("it is refused");
    assert_eq!(error.detail().code, "unknown-task");
    let unreadable = analyze(proposed(), vec![answer(1, json!({"approved": "yes"}))]);
    assert!(
        matches!(&unreadable.proposals[0].verdict, Verdict::Unanswered { reason, .. } if reason.contains("boolean"))
    );
    for (text, word) in [
        ("[]", "cannot be used"),
        (r#"{"elements": {}}"#, "at least 2"),
        (
            r#"{"elements": {"a/": {"binding_ev": 1, "price": 1}, "B": {"binding_ev": 1, "price": 1}}}"#,
            "no element's symbol",
        ),
    ] {
        assert!(alloys::pool(text).expect_err("it is refused").detail().message.contains(word), "{text}");
    }
    let params = Params { batch: 0, ..Params::default() };
    assert_eq!(params.check().expect_err("it is refused").detail().message, "`batch` is 0; it must be from 1 to 50");
}
