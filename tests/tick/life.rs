//! What a run does when the outside behaves.
use super::scripted::{Fixture, act, decision, failed, task};
use matterstack::model::act::Verb;
use matterstack::model::code::Code;
use matterstack::model::contract::{Detail, Next, Status};
use matterstack::model::selection::Selection;
use matterstack::tick::{Resumed, cancel_run, cancel_task, pause, rerun, resume};
use serde_json::json;

#[test]
fn two_tasks_in_sequence_run_to_completion() {
    let workflow = json!([task("a", json!({})), task("b", json!({"depends_on": ["a"]}))]);
    let mut run = Fixture::new(&json!({}), &[workflow]);
    run.statuses("a", [Status::Queued, Status::Succeeded]);
    run.statuses("b", [Status::Running(None), Status::Succeeded]);
    assert_eq!(run.plan().expect("a plan"), 2);
    assert_eq!(run.tasks(), "a=pending b=pending");
    let tick = run.tick();
    assert_eq!((tick.submitted, tick.finished, run.tasks().as_str()), (1, 0, "a=running b=pending"));
    let tick = run.tick();
    assert_eq!((tick.polled, tick.submitted, tick.finished), (2, 1, 1), "a tick drains");
    assert_eq!(run.tasks(), "a=completed b=running");
    let tick = run.tick();
    assert_eq!(tick.state.as_str(), "completed");
    assert_eq!(run.tasks(), "a=completed b=completed");
    let row = run.open().store.run().expect("the run");
    assert_eq!(row.result.as_deref(), Some(r#"{"done":true}"#));
    assert_eq!(run.plugins.edit(|script| script.results.len()), 2);
    let calls = run.calls();
    assert_eq!(calls.iter().filter(|call| call.starts_with("submit")).count(), 2);
    let before = run.open().store.history().expect("history").len();
    run.tick();
    assert_eq!(run.open().store.history().expect("history").len(), before, "a tick of an ended run does nothing");
}

#[test]
fn what_was_submitted_is_asked_about_in_the_same_tick() {
    let workflow = json!([
        task("ends", json!({})),
        task("after", json!({"depends_on": ["ends"]})),
        task("waits", json!({})),
        task("goes on", json!({})),
    ]);
    let mut run = Fixture::new(&json!({}), &[workflow]);
    // Later than the last change of any directory, so that nobody is asked because of one.
    run.now_ms = 4_000_000_000_000;
    run.plugins.edit(|script| script.poll_after_ms = Some(60_000));
    run.statuses("waits", [Status::waiting(Code::Person, "which one?")]);
    run.statuses("goes on", [Status::Running(None)]);
    run.plan().expect("a plan");
    let tick = run.tick();
    assert_eq!((tick.submitted, tick.polled, tick.finished), (4, 4, 2));
    assert_eq!(run.tasks(), "ends=completed after=completed waits=running goes on=running");
    let waits = run.open().store.waits(10).expect("readable");
    let wait = waits.iter().find(|wait| wait.task == "waits").expect("it is waited for");
    assert_eq!((wait.kind.own(), wait.reason.as_deref()), (Some(Code::Person), Some("which one?")));
    assert_eq!(run.tick().polled, 0, "nobody is asked again before the time the operator named");
}

#[test]
fn iterations_follow_each_other_and_see_their_results() {
    let workflows = [json!([task("a", json!({}))]), json!([task("b", json!({"depends_on": ["a"]}))])];
    let mut run = Fixture::new(&json!({}), &workflows);
    run.plan().expect("a plan");
    let (tick, _) = run.tick_to_end();
    assert_eq!((tick.state.as_str(), tick.iteration), ("completed", 2));
    let results = run.plugins.edit(|script| script.results.clone());
    assert_eq!(results[0]["task"], "a");
    assert_eq!(results[0]["outcome"], "completed");
    assert_eq!(results[0]["data"], json!({"of": "a"}));
    let decisions = run.open().store.decisions().expect("decisions");
    let kinds: Vec<&str> = decisions.iter().map(|decision| decision.kind.as_str()).collect();
    assert_eq!(kinds, ["plan", "analyze", "plan", "analyze", "plan"]);
}

#[test]
fn failure_propagates_unless_it_is_allowed() {
    let workflow = json!([
        task("bad", json!({})),
        task("after", json!({"depends_on": ["bad"]})),
        task("far", json!({"depends_on": ["after"]})),
        task("report", json!({"depends_on": ["far", "good"], "allow_dependency_failure": true})),
        task("good", json!({})),
    ]);
    let mut run = Fixture::new(&json!({}), &[workflow]);
    run.statuses("bad", [failed("exit-code")]);
    run.plan().expect("a plan");
    run.tick_to_end();
    assert_eq!(run.tasks(), "bad=failed after=skipped far=skipped report=completed good=completed");
    let after = run.open().store.task("after").expect("a task").expect("there");
    assert_eq!(after.reason.as_deref(), Some("task `bad` failed"));
}

#[test]
fn a_retry_waits_for_its_back_off_and_survives_a_clock_that_jumps_back() {
    let mut run =
        Fixture::new(&json!({}), &[json!([task("a", json!({"retry": {"max_attempts": 3, "backoff_s": 5}}))])]);
    run.statuses("a", [failed("exit-code"), failed("exit-code"), Status::Succeeded]);
    run.plan().expect("a plan");
    run.tick();
    run.tick();
    assert_eq!(run.tick().submitted, 0, "the back-off has not passed");
    run.now_ms += 5_000;
    assert_eq!(run.tick().submitted, 1);
    run.tick();
    run.now_ms -= 500_000;
    assert_eq!(run.tick().submitted, 1, "a clock before the time it was set makes it due");
    let (tick, _) = run.tick_to_end();
    assert_eq!(tick.state.as_str(), "completed");
    let store = run.open().store;
    let attempts = store.attempts(store.task("a").expect("a task").expect("there").key).expect("attempts");
    assert_eq!(
        attempts.iter().map(|attempt| attempt.state.as_str()).collect::<Vec<_>>(),
        ["failed", "failed", "completed"]
    );
}

#[test]
fn caps_of_the_run_and_of_an_operator_hold() {
    let tasks: Vec<_> = (0..10).map(|n| task(&format!("t{n}"), json!({}))).collect();
    let settings = json!({"limits": {"max_active": 3}});
    let mut run = Fixture::new(&settings, &[json!(tasks)]);
    for n in 0..10 {
        run.statuses(&format!("t{n}"), [Status::Running(None), Status::Succeeded]);
    }
    run.plan().expect("a plan");
    for _ in 0..4 {
        run.tick();
        assert!(run.open().store.live_count(None).expect("a count") <= 3);
    }
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");

    let mut run =
        Fixture::new(&json!({"operators": {"local": {"plugin": "scripted", "max_active": 1}}}), &[json!(tasks)]);
    run.statuses("t0", [Status::Running(None)]);
    run.plan().expect("a plan");
    assert_eq!(run.tick().submitted, 1);
}

#[test]
fn ready_tasks_start_by_priority_and_then_those_that_go_on_with_what_has_begun() {
    let tasks = json!([
        task("least", json!({"priority": -1})),
        task("first", json!({})),
        task("new", json!({})),
        task("goes-on", json!({"depends_on": ["first"]})),
        task("urgent", json!({"priority": 5})),
    ]);
    let mut run = Fixture::new(&json!({"limits": {"max_active": 1}}), &[tasks]);
    run.plan().expect("a plan");
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    let attempts = run.open().store.all_attempts().expect("attempts");
    let order: Vec<String> = attempts.into_iter().map(|attempt| attempt.task_id).collect();
    assert_eq!(order, ["urgent", "first", "goes-on", "new", "least"]);
}

#[test]
fn a_paused_run_goes_on_with_what_is_live_and_starts_nothing() {
    let workflow = json!([task("a", json!({})), task("b", json!({"depends_on": ["a"]}))]);
    let mut run = Fixture::new(&json!({}), &[workflow]);
    run.statuses("a", [Status::Running(None), Status::Succeeded]);
    run.plan().expect("a plan");
    run.tick();
    assert!(pause(&mut run.open(), &act(Verb::Pause, 0)).expect("a pause"));
    assert!(!pause(&mut run.open(), &act(Verb::Pause, 0)).expect("a second pause"));
    assert_eq!(run.tick().finished, 1);
    assert_eq!((run.tick().state.as_str(), run.tasks().as_str()), ("paused", "a=completed b=pending"));
    assert_eq!(resume(&mut run.open(), None, &act(Verb::Resume, 0)).expect("a resume"), Resumed::Active);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
}

#[test]
fn cancelling_stops_what_is_live_and_a_revived_run_completes() {
    let workflow = json!([task("a", json!({})), task("b", json!({"depends_on": ["a"]})), task("c", json!({}))]);
    let mut run = Fixture::new(&json!({}), &[workflow]);
    run.statuses("a", [Status::Running(None)]);
    run.statuses("c", [Status::Running(None)]);
    run.plan().expect("a plan");
    run.tick();
    assert!(cancel_run(&mut run.open(), &act(Verb::Cancel, 0)).expect("a cancel"));
    assert_eq!(run.tick_to_end().0.state.as_str(), "cancelled");
    assert_eq!(run.tasks(), "a=cancelled b=cancelled c=cancelled");
    assert!(run.calls().contains(&"cancel a".to_owned()));
    assert!(rerun(&mut run.open(), &Selection::default(), &act(Verb::Rerun, 0)).is_err(), "none of its tasks failed");
    run.statuses("a", [Status::Succeeded]);
    run.statuses("c", [Status::Succeeded]);
    assert_eq!(resume(&mut run.open(), None, &act(Verb::Resume, 0)).expect("it comes back"), Resumed::BroughtBack(3));
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(run.tasks(), "a=completed b=completed c=completed");
}

#[test]
fn one_task_can_be_cancelled() {
    let workflow = json!([task("a", json!({})), task("b", json!({"depends_on": ["a"]})), task("c", json!({}))]);
    let mut run = Fixture::new(&json!({}), &[workflow]);
    run.statuses("a", [Status::Running(None)]);
    run.plan().expect("a plan");
    run.tick();
    assert!(cancel_task(&mut run.open(), "a", &act(Verb::Cancel, 0)).expect("a cancel"));
    assert!(cancel_task(&mut run.open(), "nobody", &act(Verb::Cancel, 0)).is_err());
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(run.tasks(), "a=cancelled b=skipped c=completed");
}

#[test]
fn a_rerun_brings_back_what_hangs_on_it_and_its_results_are_analyzed_again() {
    let workflow =
        json!([task("a", json!({})), task("b", json!({"depends_on": ["a"]})), task("c", json!({"depends_on": ["b"]}))]);
    let mut run = Fixture::new(&json!({}), &[workflow]);
    run.statuses("b", [failed("exit-code")]);
    run.plugins.edit(|script| script.plans.push_back(Ok(decision(Next::Hold(Detail::new("look", "look at b"))))));
    run.plan().expect("a plan");
    assert_eq!(run.tick_to_end().0.state.as_str(), "held");
    assert_eq!(run.tasks(), "a=completed b=failed c=skipped");
    run.statuses("b", [Status::Succeeded]);
    let selection = Selection { task: Some("b".to_owned()), ..Selection::default() };
    assert_eq!(rerun(&mut run.open(), &selection, &act(Verb::Rerun, 0)).expect("a rerun"), 2);
    assert!(rerun(&mut run.open(), &selection, &act(Verb::Rerun, 0)).is_err(), "a pending task cannot be rerun");
    resume(&mut run.open(), Some(r#"{"ok":true}"#), &act(Verb::Resume, 0)).expect("a resume");
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(run.tasks(), "a=completed b=completed c=completed");
    let seen = run.plugins.edit(|script| script.results.len());
    assert_eq!(seen, 6, "three results, and the three again from the state that was planned with");
    let state = run.open().store.campaign_state().expect("the run").expect("a state").1;
    assert!(state.contains("\"seen\":3"), "nothing is counted twice: {state}");
}

#[test]
fn a_recursive_rerun_takes_what_completed_on_it() {
    let workflow = json!([task("a", json!({})), task("b", json!({"depends_on": ["a"]})), task("z", json!({}))]);
    let mut run = Fixture::new(&json!({}), &[workflow]);
    run.statuses("z", [Status::Running(None)]);
    run.plan().expect("a plan");
    for _ in 0..4 {
        run.tick();
    }
    assert_eq!(run.tasks(), "a=completed b=completed z=running");
    let selection = Selection { task: Some("a".to_owned()), recursive: true, ..Selection::default() };
    assert_eq!(rerun(&mut run.open(), &selection, &act(Verb::Rerun, 0)).expect("a rerun"), 2);
    run.statuses("z", [Status::Succeeded]);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    let store = run.open().store;
    let attempts = store.task("b").expect("a task").expect("there").attempts;
    assert_eq!(attempts, 2);
}
