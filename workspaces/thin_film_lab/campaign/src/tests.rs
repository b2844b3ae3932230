use super::*;
use matterstack_sdk::task::{FileSource, Outcome as Ended};
use matterstack_sdk::{OutputFile, Task, Value, json};

fn context() -> Context<Params> {
    Context::first(Params::default())
}

fn plan(state: Option<State>) -> Decision<State> {
    ThinFilm::plan(&context(), state).expect("a plan")
}

fn tasks(decision: &Decision<State>) -> &[Task] {
    match &decision.next {
        Next::Workflow(tasks) => tasks,
        other => panic!("{other:?}"),
    }
}

fn ended(task: String, outcome: Ended, reason: &str) -> TaskResult {
    TaskResult {
        task,
        outcome,
        code: None,
        reason: (outcome != Ended::Completed).then(|| reason.to_owned()),
        attempt: None,
        attempts: 1,
        allow_failure: false,
        data: None,
        outputs: vec![],
        data_sha256: None,
        data_size: None,
        supersedes: None,
    }
}

/// The state after a cycle that ended with this comparison.
fn compared(state: State, comparison: &str) -> State {
    let number = state.cycles.len();
    let [simulate, deposit, reconcile] =
        ["simulate", "deposit", "reconcile"].map(|step| ended(format!("{step}-{number}"), Ended::Completed, ""));
    let file = OutputFile {
        path: "comparison.json".into(),
        sha256: "comparison".into(),
        size: comparison.len() as u64,
        remote: None,
    };
    let reconcile = TaskResult { outputs: vec![file], ..reconcile };
    let files = [("comparison".to_owned(), comparison.as_bytes().to_vec())];
    let results = vec![simulate, deposit, reconcile];
    matterstack_sdk::artifacts::with_files(files, || ThinFilm::analyze(&context(), state, results))
        .expect("an analysis")
}

fn differs(by: f64) -> String {
    json!({
        "predicted_nm": 100.0 * (1.0 + by), "measured_nm": 100.0, "difference": by, "films": 1,
        "parameters": {
            "sticking": 0.6, "sticking_error": 0.01, "scattering_per_pa_m": 1.8, "scattering_error": 0.05,
        },
    })
    .to_string()
}

/// The cycle of the latest plan failed at the robot.
fn failed(state: State) -> State {
    let number = state.cycles.len();
    let results = vec![
        ended(format!("simulate-{number}"), Ended::Completed, ""),
        ended(format!("deposit-{number}"), Ended::Failed, "the door is open"),
        ended(format!("reconcile-{number}"), Ended::Skipped, "`deposit` failed"),
    ];
    ThinFilm::analyze(&context(), state, results).expect("an analysis")
}

fn content(task: &Task, name: &str) -> Value {
    let FileSource::Content { content, .. } = &task.files[name] else { panic!("`{name}` is no text") };
    serde_json::from_str(content).expect("JSON")
}

#[test]
fn a_cycle_simulates_deposits_and_reconciles() {
    let decision = plan(None);
    let [simulate, deposit, reconcile] = tasks(&decision) else { panic!("{decision:?}") };
    assert_eq!([&simulate.operator, &deposit.operator, &reconcile.operator], ["compute", "robot", "compute"]);
    assert_eq!(content(simulate, "input.json")["sticking"], 0.9);
    assert_eq!(deposit.depends_on, ["simulate-1"]);
    assert_eq!(deposit.input, Some(json!({"power_w": 224.0, "pressure_pa": 4.8, "time_s": 600.0})));
    let from =
        FileSource::From { from: "deposit-1".into(), output: "measurement.json".into(), stage: None, executable: None };
    assert_eq!(reconcile.files["measurement.json"], from);
    assert_eq!(content(reconcile, "history.json")["films"], json!([]));
}

#[test]
fn the_next_cycle_has_another_recipe_and_what_was_learnt() {
    let state = compared(plan(None).state, &differs(0.5));
    let decision = plan(Some(state));
    let [simulate, deposit, reconcile] = tasks(&decision) else { panic!("{decision:?}") };
    let input = content(simulate, "input.json");
    assert_eq!((&input["sticking"], &input["scattering_per_pa_m"]), (&json!(0.6), &json!(1.8)));
    assert_ne!(deposit.input.as_ref().expect("an input")["power_w"], 224.0);
    let history = content(reconcile, "history.json");
    assert_eq!(history["sticking"], 0.9, "the fit begins at the first guess");
    let recipe = json!({"power_w": 224.0, "pressure_pa": 4.8, "time_s": 600.0});
    assert_eq!(history["films"], json!([{"recipe": recipe, "thickness_nm": 100.0}]));
}

#[test]
fn agreements_in_a_row_end_the_campaign() {
    let mut state = None;
    for (difference, agreements) in [(0.5, 0), (0.01, 1), (-0.04, 0), (0.03, 1), (-0.02, 2)] {
        let now = compared(plan(state).state, &differs(difference));
        assert_eq!(now.agreements, agreements, "{difference}");
        state = Some(now);
    }
    let state = state.expect("a state");
    let summary = ThinFilm::summary(&state).expect("a summary");
    assert!(summary.text.starts_with("cycle 5: simulated 98.0 nm, measured 100.0 nm (-2.0 %)"), "{summary:?}");
    assert_eq!((summary.done, summary.total), (Some(2.0), Some(2.0)));
    let Next::Complete(result) = plan(Some(state)).next else { panic!("it goes on") };
    assert_eq!(result["agreed"], true);
    assert_eq!(result["parameters"]["sticking"], 0.6);
    assert_eq!(result["cycles"].as_array().expect("a list").len(), 5);
}

#[test]
fn the_budget_ends_it_without_agreement() {
    let mut state = None;
    for _ in 0..8 {
        state = Some(compared(plan(state).state, &differs(0.2)));
    }
    let Next::Complete(result) = plan(state).next else { panic!("it goes on") };
    assert_eq!((&result["agreed"], &result["stopped"]), (&json!(false), &json!("the 8 cycles are used up")));
}

#[test]
fn a_failed_cycle_holds_the_run_once_and_a_rerun_mends_it() {
    let decision = plan(Some(failed(plan(None).state)));
    let Next::Hold(detail) = &decision.next else { panic!("{decision:?}") };
    assert_eq!(detail.message, "cycle 1 failed: `deposit-1`: the door is open");
    let mended = compared(decision.state.clone(), &differs(0.5));
    assert!(mended.cycles[0].comparison().is_some());
    let resumed = plan(Some(decision.state));
    assert_eq!(tasks(&resumed)[0].id, "simulate-2");
    assert_eq!(content(&tasks(&resumed)[2], "history.json")["films"], json!([]));
}

#[test]
fn bad_results_and_parameters_are_named() {
    let state = compared(plan(None).state, "{}");
    let Next::Hold(detail) = plan(Some(state)).next else { panic!("it goes on") };
    assert!(detail.message.contains("`comparison.json` is not a comparison"), "{detail:?}");
    for task in ["simulate-9", "polish-1", "simulate", "simulate-x"] {
        let results = vec![ended(task.to_owned(), Ended::Completed, "")];
        let error = ThinFilm::analyze(&context(), plan(None).state, results).expect_err("it is refused");
        assert_eq!(error.detail().code, "unknown-task");
    }
    let ctx = Context::first(Params { max_cycles: 0, ..Params::default() });
    let error = ThinFilm::plan(&ctx, None).expect_err("it is refused");
    assert_eq!(error.detail().message, "`max_cycles` is 0; it must be from 1 to 200");
}

#[test]
fn recipes_stay_within_what_the_chamber_can_do() {
    let all: Vec<_> = (1..=200).map(|number| Cycle::new(number, 600.0).recipe).collect();
    assert!(all.iter().all(|it| (50.0..=280.0).contains(&it.power_w) && (0.5..=8.0).contains(&it.pressure_pa)));
    let (low, high) =
        (all.iter().filter(|it| it.power_w < 165.0).count(), all.iter().filter(|it| it.pressure_pa < 4.25));
    assert!((90..=110).contains(&low) && (90..=110).contains(&high.count()));
}
