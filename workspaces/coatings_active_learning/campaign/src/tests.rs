//! The campaign as the host calls it, natively.
use super::*;
use crate::candidates::tests::{ended, left};
use matterstack_sdk::{Outcome, Task, artifacts, json};
use serde_json::Value;

pub(crate) fn context(params: Value) -> Context<Params> {
    let mut ctx = Context::first(serde_json::from_value(params).unwrap());
    ctx.seed = 42;
    ctx
}

/// Two smooth functions of the composition in a task's input.
pub(crate) fn simulate(task: &Task) -> (TaskResult, (String, Vec<u8>)) {
    let document = serde_json::to_value(task).unwrap();
    let input: Value = serde_json::from_str(document["files"]["input.json"]["content"].as_str().unwrap()).unwrap();
    let of = |element: &str| input["composition"][element].as_f64().unwrap();
    let value = if task.id.ends_with("-friction") {
        json!({"candidate": input["candidate"], "friction_coefficient": 0.1 + 0.3 * (of("Mo") - 0.5).abs()})
    } else {
        json!({"candidate": input["candidate"], "dissolution_rate_nm_h": 0.5 + 5.0 * (of("Cr") - 0.5).abs()})
    };
    left(&task.id, &value.to_string())
}

/// Plans and analyzes one iteration; returns what was planned and why.
fn iterate(
    ctx: &mut Context<Params>,
    state: Option<State>,
    answer: impl Fn(&Task) -> (TaskResult, (String, Vec<u8>)),
) -> (State, Vec<Task>, String) {
    let Decision { state, next, reason, .. } = Coatings::plan(ctx, state).unwrap();
    let Next::Workflow(tasks) = next else { panic!("{next:?}") };
    let (results, files): (Vec<_>, Vec<_>) = tasks.iter().map(answer).unzip();
    ctx.decision += 1;
    let state = artifacts::with_files(files, || Coatings::analyze(ctx, state, results)).unwrap();
    ctx.decision += 1;
    ctx.iteration += 1;
    // what the host keeps is JSON
    (serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap(), tasks, reason)
}

pub(crate) fn fail(task: &Task) -> (TaskResult, (String, Vec<u8>)) {
    (ended(&task.id, Outcome::Failed, Some("exit code 2")), Default::default())
}

#[test]
fn the_first_iteration_fills_space_and_the_second_has_a_surrogate() {
    let mut ctx = context(json!({"initial": 6, "batch": 3, "pool": 60}));
    let (state, tasks, reason) = iterate(&mut ctx, None, simulate);
    assert_eq!(tasks.len(), 12, "two tasks for each candidate");
    assert_eq!((tasks[0].id.as_str(), tasks[11].id.as_str()), ("c001-friction", "c006-dissolution"));
    assert_eq!(reason, "6 candidates that fill space");
    let summary = Coatings::summary(&state).unwrap();
    assert!(summary.text.starts_with("best friction 0."), "{summary:?}");
    assert_eq!(summary.metrics["hypervolume"], state.hypervolume[0]);
    let (state, tasks, reason) = iterate(&mut ctx, Some(state), simulate);
    assert_eq!(tasks[0].id, "c007-friction");
    assert_eq!(reason, "3 of 60 candidates, by expected hypervolume improvement from 6 results");
    assert_eq!(state.hypervolume.len(), 2);
    assert!(state.lengths.is_some());
}

#[test]
fn the_same_context_and_state_give_the_same_decision() {
    let play = || {
        let mut ctx = context(json!({"initial": 6, "batch": 3, "pool": 60}));
        let (state, ..) = iterate(&mut ctx, None, simulate);
        iterate(&mut ctx, Some(state), simulate)
    };
    assert_eq!(play().0, play().0);
}

#[test]
fn with_few_results_a_batch_fills_space() {
    let mut ctx = context(json!({"initial": 6, "batch": 3, "pool": 60}));
    let (state, ..) =
        iterate(&mut ctx, None, |task| if task.id.as_str() < "c003" { simulate(task) } else { fail(task) });
    let line = report::line(&state);
    assert!(line.ends_with(", 4 candidates failed"), "{line}");
    let (state, _, reason) = iterate(&mut ctx, Some(state), simulate);
    assert_eq!(reason, "3 candidates that fill space, because only 2 have results");
    assert_eq!(state.measured().len(), 5);
}

#[test]
fn when_everything_failed_a_person_is_asked_once() {
    let mut ctx = context(json!({"initial": 3, "batch": 2}));
    let (state, ..) = iterate(&mut ctx, None, fail);
    let held = Coatings::plan(&ctx, Some(state)).unwrap();
    let Next::Hold(detail) = held.next else { panic!("{:?}", held.next) };
    assert_eq!(detail.code, "all-failed");
    assert_eq!(detail.message, "every candidate of iteration 1 failed; the first: friction: exit code 2");
    ctx.decision += 1;
    let on = Coatings::plan(&ctx, Some(held.state)).unwrap();
    let Next::Workflow(tasks) = on.next else { panic!("{:?}", on.next) };
    assert_eq!(tasks[0].id, "c004-friction");
}

#[test]
fn the_budget_ends_it_with_a_result() {
    let mut ctx = context(json!({"initial": 5, "batch": 2, "max_iterations": 2, "pool": 40}));
    let (state, ..) = iterate(&mut ctx, None, simulate);
    let (state, ..) = iterate(&mut ctx, Some(state), simulate);
    let end = Coatings::plan(&ctx, Some(state)).unwrap();
    assert_eq!(end.reason, "the 2 iterations are used up");
    let Next::Complete(result) = end.next else { panic!("{:?}", end.next) };
    assert_eq!(result["ranking"].as_array().unwrap().len(), 7);
    assert_eq!(result["ranking"][0]["rank"], 1);
    assert_eq!(result["hypervolume"][1]["evaluated"], 7);
    let fractions = result["pareto"][0]["composition"].as_object().unwrap();
    assert!((fractions.values().filter_map(Value::as_f64).sum::<f64>() - 1.0).abs() < 1e-9);
}

#[test]
fn three_iterations_without_progress_end_it() {
    let params: Params = serde_json::from_value(json!({"tolerance": 0.01})).unwrap();
    let at_end = |volumes: &[f64]| State { hypervolume: volumes.to_vec(), ..State::default() }.at_end(5, &params);
    assert_eq!(at_end(&[0.1, 0.105, 0.11]), None, "too early to tell");
    assert_eq!(at_end(&[0.1, 0.2, 0.205, 0.21]), None);
    assert!(at_end(&[0.1, 0.2, 0.205, 0.21, 0.215]).unwrap().contains("more than 0.01"));
    assert_eq!(at_end(&[0.2, 0.205, 0.22, 0.221]), None);
}

#[test]
fn results_may_come_in_several_batches() {
    let mut ctx = context(json!({"initial": 5}));
    let Decision { mut state, next, .. } = Coatings::plan(&ctx, None).unwrap();
    let Next::Workflow(tasks) = next else { panic!("{next:?}") };
    for part in tasks.chunks(3) {
        let (results, files): (Vec<_>, Vec<_>) = part.iter().map(simulate).unzip();
        ctx.decision += 1;
        state = artifacts::with_files(files, || Coatings::analyze(&ctx, state, results)).unwrap();
        assert_eq!(state.hypervolume.len(), 1);
    }
    assert_eq!(state.measured().len(), 5);
}
