//! What a tick decides by: each count and mark follows what happens to tasks and attempts.
use super::{Place, busy, end, planned, why};
use matterstack::model::code::Code;
use matterstack::model::config::Journal;
use matterstack::model::reason::Reason;
use matterstack::model::states::{AttemptOutcome, RunState, TaskState};
use matterstack::store::Outlook;
use serde_json::json;

fn outlook(place: &Place) -> Outlook {
    place.open().outlook(&["other", "local"], &[]).expect("an outlook")
}

#[test]
fn a_new_run_offers_nothing() {
    let outlook = outlook(&Place::new(Journal::Wal));
    assert_eq!((outlook.state, outlook.iteration, outlook.results), (RunState::Active, 0, false));
    assert_eq!((outlook.asked, outlook.wake, outlook.each_result, outlook.also_paused), (true, None, false, false));
    assert_eq!((outlook.live, outlook.open, outlook.ready, outlook.lost), (0, 0, false, false));
    assert_eq!((outlook.retry_at_ms, outlook.history_end), (None, 1));
}

#[test]
fn what_is_live_open_and_ready_is_counted() {
    let place = busy();
    let seen = outlook(&place);
    assert_eq!((seen.iteration, seen.results, seen.live, seen.open), (1, true, 1, 3));
    assert_eq!((seen.ready, seen.lost, seen.retry_at_ms), (true, false, None));
    let newest = place.open().history().expect("a history").last().map(|row| row.seq);
    assert_eq!(Some(seen.history_end), newest);
    for (operators, ready) in [(&[][..], false), (&["other"], false), (&["local"], true)] {
        assert_eq!(place.open().outlook(operators, &[]).expect("an outlook").ready, ready, "{operators:?}");
    }
    let key = place.key("e");
    let running = (TaskState::Pending, TaskState::Running);
    place.write(|writer| writer.set_task_state(key, running, None, 70)).expect("it starts");
    assert!(!outlook(&place).ready, "`c` waits for `b`");
}

#[test]
fn back_offs_and_lost_attempts_are_marked() {
    let place = busy();
    let (attempt, key) = (place.attempt("b"), place.key("b"));
    place.write(|writer| writer.end_attempt(&attempt, &end(AttemptOutcome::Failed), 70)).expect("it ends");
    assert_eq!(outlook(&place).live, 0);
    place.write(|writer| writer.set_retry(key, 500, 70, &why())).expect("a back-off");
    assert_eq!((outlook(&place).retry_at_ms, outlook(&place).lost), (Some(500), false));
    place.write(|writer| writer.clear_retry(key)).expect("it is over");
    let lost = Reason::new(Code::Lost, "nobody knows");
    place.write(|writer| writer.set_task_reason(key, Some(&lost))).expect("a word is awaited");
    assert_eq!((outlook(&place).retry_at_ms, outlook(&place).lost), (None, true));
}

#[test]
fn iterations_are_owed_in_their_order_until_each_is_closed() {
    let place = Place::new(Journal::Wal);
    place.plan(1, &json!([]));
    let two = planned(&json!([{"id": "a"}, {"id": "b"}]), &|_| false);
    place.write(|writer| writer.add_workflow(2, 2, &two, 20)).expect("a workflow");
    let seen = outlook(&place);
    assert_eq!((seen.iteration, seen.results, seen.open), (2, true, 2));
    place.write(|writer| writer.close_workflow(1, 30)).expect("it is analyzed");
    assert_eq!((place.open().first_unanalyzed().expect("an iteration"), outlook(&place).results), (Some(2), true));
    place.write(|writer| writer.close_workflow(2, 40)).expect("it is analyzed");
    assert_eq!((outlook(&place).results, outlook(&place).open), (false, 2), "closing ends no task");
}
