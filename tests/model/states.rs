//! Every pair of states of the three machines.
use matterstack::model::states::{AttemptState, IllegalTransition, RunState, TaskState};

/// Compares a machine with a table: one row for each state it may leave, with every state it may become.
fn check<S: Copy + PartialEq>(
    all: &[S],
    word: impl Fn(S) -> &'static str,
    parse: impl Fn(&str) -> Option<S>,
    become_state: impl Fn(S, S) -> Result<S, IllegalTransition>,
    machine: &str,
    table: &[(&str, &str)],
) {
    assert_eq!(all.len(), table.len(), "every state has a row");
    for &from in all {
        let (_, legal) = table.iter().find(|(row, _)| *row == word(from)).expect("a row of the table");
        let legal: Vec<&str> = legal.split_whitespace().collect();
        assert!(legal.iter().all(|to| parse(to).is_some()), "{legal:?}");
        for &to in all {
            match become_state(from, to) {
                Ok(state) => {
                    assert!(state == to);
                    assert!(legal.contains(&word(to)), "{machine}: {} -> {}", word(from), word(to));
                }
                Err(error) => {
                    assert!(!legal.contains(&word(to)), "{machine}: {} -> {}", word(from), word(to));
                    assert_eq!((error.machine, error.from, error.to), (machine, word(from), word(to)));
                    let expected = format!("a {machine} cannot go from `{}` to `{}`", word(from), word(to));
                    assert_eq!(error.to_string(), expected);
                }
            }
        }
        assert!(parse(word(from)).is_some_and(|state| state == from), "the word is read back");
    }
    assert!(parse("nothing").is_none());
}

#[test]
fn runs() {
    let table = [
        ("active", "paused held cancelling completed failed"),
        ("paused", "active held cancelling"),
        ("held", "active paused cancelling"),
        ("cancelling", "cancelled completed failed"),
        ("completed", "active"),
        ("failed", "active"),
        ("cancelled", "active"),
    ];
    check(RunState::ALL, RunState::as_str, RunState::parse, RunState::become_state, "run", &table);
    let ended: Vec<&str> = RunState::ALL.iter().filter(|state| state.ended()).map(|state| state.as_str()).collect();
    assert_eq!(ended, ["completed", "failed", "cancelled"]);
}

#[test]
fn tasks() {
    let table = [
        ("pending", "running skipped cancelled failed"),
        ("running", "completed failed cancelled pending"),
        ("completed", "pending"),
        ("failed", "pending"),
        ("cancelled", "pending"),
        ("skipped", "pending"),
    ];
    check(TaskState::ALL, TaskState::as_str, TaskState::parse, TaskState::become_state, "task", &table);
    let ended: Vec<&str> = TaskState::ALL.iter().filter(|state| state.ended()).map(|state| state.as_str()).collect();
    assert_eq!(ended, ["completed", "failed", "cancelled", "skipped"]);
}

#[test]
fn attempts() {
    let table = [
        ("created", "prepared completed failed cancelled lost"),
        ("prepared", "submitting failed cancelled lost"),
        ("submitting", "submitted prepared failed cancelled lost"),
        ("submitted", "running waiting_external completed failed cancelled lost"),
        ("running", "submitted waiting_external completed failed cancelled lost"),
        ("waiting_external", "submitted running completed failed cancelled lost"),
        ("completed", ""),
        ("failed", ""),
        ("cancelled", ""),
        ("lost", ""),
    ];
    check(AttemptState::ALL, AttemptState::as_str, AttemptState::parse, AttemptState::become_state, "attempt", &table);
    let ended: Vec<&str> = AttemptState::ALL.iter().filter(|state| state.ended()).map(|state| state.as_str()).collect();
    assert_eq!(ended, ["completed", "failed", "cancelled", "lost"]);
    for state in AttemptState::ALL.iter().filter(|state| state.ended()) {
        assert_eq!(state.outcome().map(AttemptState::from), Some(*state), "how it ended is the state that it ended in");
    }
}

#[test]
fn states_are_the_same_word_in_json() {
    fn check<S: serde::Serialize + serde::de::DeserializeOwned + Copy + PartialEq>(
        all: &[S],
        word: fn(S) -> &'static str,
    ) {
        for &state in all {
            let text = serde_json::to_string(&state).expect("JSON");
            assert_eq!(text, format!("\"{}\"", word(state)));
            assert!(serde_json::from_str::<S>(&text).expect("a state") == state);
        }
    }
    check(RunState::ALL, RunState::as_str);
    check(TaskState::ALL, TaskState::as_str);
    check(AttemptState::ALL, AttemptState::as_str);
}
