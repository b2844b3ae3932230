//! What plugins say of themselves is kept and shown, and steers nothing.
use super::scripted::{Fixture, act, decision, failed, task};
use matterstack::model::act::Verb;
use matterstack::model::code::{Code, Word};
use matterstack::model::contract::{Detail, GuestError, Next, Status};
use matterstack::model::selection::Selection;
use matterstack::plugin::PluginErrorKind;
use matterstack::tick::{cancel_task, rerun, resume};
use serde_json::json;

/// A run whose campaign holds with this word after its first workflow, of which one task failed.
fn holds_with(word: &str) -> Fixture {
    let workflow = json!([task("a", json!({})), task("b", json!({}))]);
    let mut run = Fixture::new(&json!({}), &[workflow]);
    run.plugins.edit(|script| script.plans.push_back(Ok(decision(Next::Hold(Detail::new(word, "what now?"))))));
    run.statuses("b", [failed("lost")]);
    run.plan().expect("a plan");
    assert_eq!(run.tick_to_end().0.state.as_str(), "held", "{word}");
    run
}

#[test]
fn a_campaign_that_holds_with_a_word_of_the_hosts_is_let_go_by_a_person_alone() {
    let words = Code::ALL.iter().map(|code| code.as_str()).chain(["", "x", "plugin:lost", "plugin-what"]);
    for word in words {
        let mut run = holds_with(word);
        let row = run.open().store.run().expect("the run");
        assert_eq!(row.reason_code, Some(Word::Guest(word.to_owned())));
        let store = run.open().store;
        let told = crate::tick::explained(&store, &run.config, "run");
        assert_eq!(told[0].command.as_deref(), Some("matterstack resume run --set KEY=VALUE"), "{word}");
        assert_eq!(told[0].code.own(), None, "{word}");
        // what lets a run go on that the host itself holds as `lost` or `stuck`
        let of_b = Selection { task: Some("b".to_owned()), ..Selection::default() };
        rerun(&mut run.open(), &of_b, &act(Verb::Rerun, 0)).expect("a rerun");
        assert_eq!(run.open().store.run().expect("the run").state.as_str(), "held", "{word}: a rerun is no answer");
        cancel_task(&mut run.open(), "b", &act(Verb::Cancel, 0)).expect("a cancel");
        assert_eq!(run.open().store.run().expect("the run").state.as_str(), "held", "{word}: a cancel is no answer");
        resume(&mut run.open(), None, &act(Verb::Resume, 0)).expect("a resume");
        assert_eq!(run.tick_to_end().0.state.as_str(), "completed", "{word}");
    }
}

#[test]
fn an_operators_word_for_a_failure_leaves_no_lost_task() {
    for word in ["lost", "retry", "cancelled", "adopted"] {
        let mut run = Fixture::new(&json!({}), &[json!([task("a", json!({}))])]);
        run.statuses("a", [failed(word)]);
        run.plan().expect("a plan");
        run.tick();
        let task = run.open().store.task("a").expect("a task").expect("there");
        assert_eq!((task.state.as_str(), task.reason_code), ("failed", Some(Word::Guest(word.to_owned()))));
        assert_eq!(run.open().store.lost_tasks().expect("a count"), 0);
    }
}

#[test]
fn what_can_never_be_done_is_not_tried_again_whatever_its_code() {
    let detail = |code: &str| Detail::new(code, "no");
    type Case = (fn(Detail) -> GuestError, usize);
    let cases: [Case; 4] =
        [(GuestError::Invalid, 1), (GuestError::Rejected, 1), (GuestError::Denied, 1), (GuestError::Other, 3)];
    for code in ["invalid", "quota", "exit-code", "plugin-trap", ""] {
        for (error, attempts) in cases {
            for call in ["prepare", "submit"] {
                let retry = json!({"retry": {"max_attempts": 3, "backoff_s": 0}});
                let mut run = Fixture::new(&json!({}), &[json!([task("a", retry)])]);
                run.plugins.edit(|script| {
                    let answers = std::iter::repeat_n(error(detail(code)), 9);
                    if call == "prepare" {
                        script.prepare.insert("a".to_owned(), answers.map(Err).collect());
                    } else {
                        let answers = answers.map(|error| Err(PluginErrorKind::Guest(error)));
                        script.submit.insert("a".to_owned(), answers.collect());
                        script.reconcile.insert("a".to_owned(), [matterstack::model::contract::Found::No].into());
                    }
                });
                run.plan().expect("a plan");
                run.tick_to_end();
                let task = run.open().store.task("a").expect("a task").expect("there");
                assert_eq!((task.state.as_str(), task.attempts as usize), ("failed", attempts), "{call} {code}");
            }
        }
    }
    // a job that failed by its own doing is tried again, whatever its operator calls that
    let retry = json!({"retry": {"max_attempts": 3, "backoff_s": 0}});
    let mut run = Fixture::new(&json!({}), &[json!([task("a", retry)])]);
    run.statuses("a", [failed("invalid")]);
    run.plan().expect("a plan");
    run.tick_to_end();
    assert_eq!(run.open().store.task("a").expect("a task").expect("there").attempts, 3);
}

#[test]
fn a_kind_of_its_own_is_waited_for_as_something_outside() {
    for kind in ["lost", "retry", "ready", "oracle"] {
        let mut run = Fixture::new(&json!({}), &[json!([task("a", json!({}))])]);
        run.statuses("a", [Status::Waiting { kind: kind.to_owned(), detail: "later".to_owned() }, Status::Succeeded]);
        run.plan().expect("a plan");
        run.tick();
        let waits = run.open().store.waits(9).expect("readable");
        assert_eq!(waits[0].kind, Word::Guest(kind.to_owned()));
        assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    }
}
