//! A tick takes no longer than its budget and what it has under way then; nobody is starved by it, and nothing grows
//! with what the outside says.
use super::scripted::{Fixture, act, failed, task};
use matterstack::model::act::Verb;
use matterstack::model::contract::{Detail, Status};
use matterstack::tick::{BUDGET, cancel_run, pause};
use serde_json::{Value, json};

/// The budget of a tick, in milliseconds.
const BUDGET_MS: u64 = BUDGET.as_secs() * 1000;
/// How long a call of the slow operator takes, in milliseconds.
const SLOW_MS: u64 = 30_000;

/// `count` tasks of the slow operator, whose name comes first, and one of another.
fn slow(count: usize, operator: &str) -> Fixture {
    let mut tasks: Vec<Value> = (0..count).map(|n| json!({"id": format!("s{n:03}"), "operator": operator})).collect();
    let other = if operator == "local" { "other" } else { "local" };
    tasks.push(json!({"id": "quick", "operator": other}));
    tasks.push(json!({"id": "then", "operator": other, "depends_on": ["quick"]}));
    let run = Fixture::new(&json!({}), &[Value::Array(tasks)]);
    run.plugins.edit(|script| script.call_ms.insert(operator.to_owned(), SLOW_MS));
    run.plan().expect("a plan");
    run
}

#[test]
fn a_tick_begins_nothing_after_its_budget_and_says_that_there_is_more() {
    for operator in ["local", "other"] {
        let mut run = slow(498, operator);
        for n in 0..12 {
            let tick = run.tick();
            let spent = run.plugins.edit(|script| script.spent_ms);
            // an attempt takes two calls: it is prepared and submitted, or asked about and collected
            assert!(spent <= BUDGET_MS + 2 * SLOW_MS, "tick {n} took {spent} ms: {:?}", run.calls());
            assert!(tick.more, "tick {n}");
        }
        let tasks = run.tasks();
        assert!(tasks.contains("quick=completed then=completed"), "{operator} starves the other: {tasks}");
    }
}

#[test]
fn slow_polls_starve_neither_starts_nor_stops() {
    let tasks: Vec<Value> = (0..50).map(|n| task(&format!("s{n:02}"), json!({}))).collect();
    let mut run = Fixture::new(&json!({"limits": {"max_active": 50}}), &[Value::Array(tasks)]);
    for n in 0..50 {
        run.statuses(&format!("s{n:02}"), [Status::Running(None)]);
    }
    run.plan().expect("a plan");
    assert!(!run.tick().more, "all are quick so far");
    run.plugins.edit(|script| script.call_ms.insert("local".to_owned(), SLOW_MS));
    run.calls();
    for _ in 0..50 {
        assert!(run.tick().more);
    }
    let asked = run.calls();
    for n in 0..25 {
        let call = format!("status s{n:02}");
        assert!(asked.contains(&call), "{call} had no turn: {asked:?}");
    }
    cancel_run(&mut run.open(), &act(Verb::Cancel, 0)).expect("a cancel");
    for _ in 0..300 {
        if run.tick().state.as_str() == "cancelled" {
            return;
        }
    }
    panic!("the cancel had no turn: {}", run.tasks());
}

#[test]
fn a_pause_gets_in_between_two_ticks_and_starts_nothing_more() {
    let mut run = slow(20, "local");
    run.tick();
    pause(&mut run.open(), &act(Verb::Pause, 0)).expect("a pause");
    run.calls();
    for _ in 0..30 {
        run.tick();
    }
    let calls = run.calls();
    assert!(!calls.iter().any(|call| call.starts_with("prepare") || call.starts_with("submit")), "{calls:?}");
}

#[test]
fn what_is_prepared_when_the_time_is_up_is_recorded_as_not_submitted() {
    let mut run = Fixture::new(&json!({}), &[json!([task("a", json!({})), task("b", json!({}))])]);
    run.plugins.edit(|script| script.call_ms.insert("local".to_owned(), BUDGET_MS / 2 - 200));
    run.plan().expect("a plan");
    let tick = run.tick();
    assert!(tick.more);
    let calls = run.calls();
    assert_eq!(calls, ["prepare a", "prepare b", "submit a"], "two prepares fit, and one submit must follow");
    let store = run.open().store;
    let states: Vec<&str> = store.all_attempts().expect("attempts").iter().map(|one| one.state.as_str()).collect();
    assert_eq!(states, ["submitted", "prepared"], "nothing is left in doubt");
    run.plugins.edit(|script| script.call_ms.clear());
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert!(!run.calls().iter().any(|call| call.starts_with("reconcile")));
}

#[test]
fn a_task_makes_at_most_one_new_attempt_a_tick() {
    let retry = json!({"retry": {"max_attempts": 4_000_000_000_u32, "backoff_s": 0}});
    let mut run = Fixture::new(&json!({}), &[json!([task("a", retry)])]);
    run.statuses("a", [failed("exit-code")]);
    run.plan().expect("a plan");
    for n in 1..=20 {
        assert!(!run.tick().more);
        let attempts = run.open().store.task("a").expect("a task").expect("there").attempts;
        assert_eq!(attempts, n, "one a tick");
    }
}

#[test]
fn the_machine_without_room_uses_up_no_attempts() {
    let mut run = Fixture::new(&json!({}), &[json!([task("a", json!({}))])]);
    let no_room = || Status::NotStarted(Detail::new("no-room", "no process to be had"));
    run.statuses("a", std::iter::repeat_with(no_room).take(40).chain([Status::Succeeded]));
    run.plan().expect("a plan");
    for _ in 0..100 {
        run.now_ms += 30_000;
        let state = run.tick().state.to_string();
        assert_ne!(state, "failed");
        if state == "completed" {
            return;
        }
    }
    panic!("it waits for ever: {}", run.tasks());
}

#[test]
fn the_room_is_shared_whatever_the_names() {
    let tasks: Vec<Value> = ["local", "other"]
        .iter()
        .flat_map(|operator| (0..10).map(move |n| json!({"id": format!("{operator}{n}"), "operator": operator})))
        .collect();
    let mut run = Fixture::new(&json!({"limits": {"max_active": 6}}), &[Value::Array(tasks)]);
    for operator in ["local", "other"] {
        (0..10).for_each(|n| run.statuses(&format!("{operator}{n}"), [Status::Running(None)]));
    }
    run.plan().expect("a plan");
    run.tick();
    let store = run.open().store;
    let live = |operator| store.live_count(Some(operator)).expect("a count");
    assert_eq!((live("local"), live("other")), (3, 3));
}

#[test]
fn documents_are_recorded_and_dropped_in_bounded_batches() {
    let tasks: Vec<Value> = (0..20).map(|n| task(&format!("d{n}"), json!({}))).collect();
    let mut run = Fixture::new(&json!({}), &[Value::Array(tasks)]);
    run.plugins.edit(|script| script.document_bytes = Some(4 << 20));
    run.plan().expect("a plan");
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    let (collected, held) = run.plugins.edit(|script| (script.collected, script.held_max));
    assert_eq!(collected, 20);
    assert!(held <= 5, "{held} documents of 4 MiB were held at once");
}

#[test]
fn progress_and_to_and_fro_do_not_fill_the_history() {
    let mut run = Fixture::new(&json!({}), &[json!([task("a", json!({}))])]);
    let note = "x".repeat(60_000);
    let flips = (0..200).map(|n| if n % 2 == 0 { Status::Running(Some(note.clone())) } else { Status::Queued });
    run.statuses("a", flips.chain([Status::Succeeded]));
    run.plan().expect("a plan");
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    let history = run.open().store.history().expect("a history");
    let bytes: usize = history.iter().filter_map(|row| row.reason.as_ref()).map(String::len).sum();
    assert!(history.len() < 50 && bytes < 10_000, "{} rows of {bytes} bytes", history.len());
}
