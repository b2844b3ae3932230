//! A run in which nothing moves says so and is not ticked for ever, and a rerun brings back only what can run.
use super::scripted::{Fixture, act, failed, task};
use matterstack::model::act::Verb;
use matterstack::model::code::Code;
use matterstack::model::contract::{Detail, Status};
use matterstack::model::id::TaskId;
use matterstack::model::limit::Bound;
use matterstack::model::remedy::Remedy;
use matterstack::model::selection::Selection;
use matterstack::plugin::PluginErrorKind;
use matterstack::tick::{ControlError, Resumed, cancel_run, cancel_task, pause, refuse_amendment, rerun, resume};
use serde_json::{Value, json};

fn of_task(id: &str) -> Selection {
    Selection { task: Some(id.to_owned()), ..Selection::default() }
}

fn held_code(run: &Fixture) -> Option<Code> {
    run.open().store.run().expect("the run").reason_code.and_then(|word| word.own())
}

/// `a` and `b` fail, `x` needs both, `y` needs `x`, `l` goes on and on.
fn two_failures() -> Fixture {
    let workflow = json!([
        task("a", json!({})),
        task("b", json!({})),
        task("x", json!({"depends_on": ["a", "b"]})),
        task("y", json!({"depends_on": ["x"]})),
        task("l", json!({})),
    ]);
    let mut run = Fixture::new(&json!({}), &[workflow]);
    run.statuses("a", [failed("exit-code")]);
    run.statuses("b", [failed("exit-code")]);
    run.statuses("l", [Status::Running(None)]);
    run.plan().expect("a plan");
    run.tick();
    run.tick();
    assert_eq!(run.tasks(), "a=failed b=failed x=skipped y=skipped l=running");
    run
}

#[test]
fn rerun_of_what_would_be_skipped_again_is_refused_with_the_command_that_helps() {
    let mut run = two_failures();
    for id in ["x", "y"] {
        let error = rerun(&mut run.open(), &of_task(id), &act(Verb::Rerun, 0)).expect_err("it cannot run");
        let ControlError::NotNow { what, remedy, .. } = error else { panic!("{error:?}") };
        assert!(what.contains("`a` is failed"), "{what}");
        assert_eq!(remedy, Some(Remedy::Rerun(TaskId::from("a"))));
    }
    assert_eq!(run.tasks(), "a=failed b=failed x=skipped y=skipped l=running", "nothing of it was kept");
    run.statuses("l", [Status::Succeeded]);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
}

#[test]
fn rerun_of_one_of_two_failed_dependencies_brings_back_that_one_alone() {
    let mut run = two_failures();
    assert_eq!(rerun(&mut run.open(), &of_task("a"), &act(Verb::Rerun, 0)).expect("a rerun"), 1);
    assert_eq!(run.tasks(), "a=pending b=failed x=skipped y=skipped l=running");
    assert_eq!(run.open().store.check_invariants().expect("a readable store"), Vec::<String>::new());
    let x = run.open().store.task("x").expect("a task").expect("there");
    assert_eq!(x.reason.as_deref(), Some("task `b` failed"));
    run.statuses("a", [Status::Succeeded]);
    run.statuses("b", [Status::Succeeded]);
    run.tick();
    run.tick();
    assert_eq!(
        rerun(&mut run.open(), &of_task("b"), &act(Verb::Rerun, 0)).expect("a rerun"),
        3,
        "`x` and `y` come back with the last"
    );
    run.statuses("l", [Status::Succeeded]);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(run.tasks(), "a=completed b=completed x=completed y=completed l=completed");
}

#[test]
fn revive_skips_again_what_an_earlier_iteration_denies() {
    let workflows =
        [json!([task("old", json!({}))]), json!([task("x", json!({"depends_on": ["old"]})), task("f", json!({}))])];
    let mut run = Fixture::new(&json!({}), &workflows);
    run.statuses("old", [failed("exit-code")]);
    run.statuses("f", [Status::Running(None)]);
    run.plan().expect("a plan");
    for _ in 0..4 {
        run.tick();
    }
    assert_eq!(run.tasks(), "old=failed x=skipped f=running");
    cancel_run(&mut run.open(), &act(Verb::Cancel, 0)).expect("a cancel");
    assert_eq!(run.tick_to_end().0.state.as_str(), "cancelled");
    assert_eq!(
        resume(&mut run.open(), None, &act(Verb::Resume, 0)).expect("it comes back"),
        Resumed::BroughtBack(1),
        "only `f` can run"
    );
    assert_eq!(run.tasks(), "old=failed x=skipped f=pending");
    run.statuses("f", [Status::Succeeded]);
    run.plugins.edit(|script| script.cancelled.clear());
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
}

#[test]
fn a_run_in_which_nothing_can_move_is_held_and_says_why() {
    let mut run = Fixture::new(&json!({}), &[json!([task("a", json!({}))])]);
    run.plan().expect("a plan");
    let operators = run.config.operators.clone();
    run.config.operators.remove("local");
    let tick = run.tick();
    assert_eq!((tick.state.as_str(), held_code(&run)), ("held", Some(Code::Stuck)));
    assert!(tick.reason.expect("a reason").contains("no operator `local`"));
    run.config.operators = operators;
    resume(&mut run.open(), None, &act(Verb::Resume, 0)).expect("a resume");
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
}

#[test]
fn a_back_off_is_not_stuck() {
    let mut run =
        Fixture::new(&json!({}), &[json!([task("a", json!({"retry": {"max_attempts": 2, "backoff_s": 5}}))])]);
    run.statuses("a", [failed("exit-code"), Status::Succeeded]);
    run.plan().expect("a plan");
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
}

#[test]
fn a_rerun_of_the_last_lost_task_lets_the_run_go_on() {
    let workflow = json!([task("a", json!({})), task("b", json!({}))]);
    let mut run = Fixture::new(&json!({}), &[workflow]);
    let lost = || [Status::Lost(Detail::new("vanished", "it vanished"))];
    run.statuses("a", lost());
    run.statuses("b", lost());
    run.plan().expect("a plan");
    assert_eq!(run.tick_to_end().0.state.as_str(), "held");
    run.statuses("a", [Status::Succeeded]);
    rerun(&mut run.open(), &of_task("a"), &act(Verb::Rerun, 0)).expect("a rerun");
    assert_eq!(run.open().store.run().expect("the run").state.as_str(), "held", "`b` is lost still");
    run.statuses("b", [Status::Succeeded]);
    rerun(&mut run.open(), &of_task("b"), &act(Verb::Rerun, 0)).expect("a rerun");
    assert_eq!((run.open().store.run().expect("the run").state.as_str(), held_code(&run)), ("active", None));
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
}

#[test]
fn what_is_not_submitted_when_a_run_is_paused_moves_nothing() {
    let mut run = Fixture::new(&json!({}), &[json!([task("a", json!({}))])]);
    run.plugins.edit(|script| {
        script
            .submit
            .insert("a".to_owned(), [Err(PluginErrorKind::Deadline(Bound::new("limits.plugin.call_ms", 5)))].into());
        let never = matterstack::model::contract::Found::No;
        script.reconcile.insert("a".to_owned(), [never].into());
    });
    run.plan().expect("a plan");
    run.tick();
    pause(&mut run.open(), &act(Verb::Pause, 0)).expect("a pause");
    let tick = run.tick();
    assert_eq!((tick.state.as_str(), tick.submitted), ("paused", 0));
    let store = run.open().store;
    assert_eq!(store.all_attempts().expect("attempts")[0].state.as_str(), "prepared", "its submit had no effect");
    assert_eq!((store.anything_moves(false).expect("readable"), store.next_due(false).expect("a time")), (false, None));
    assert!(store.anything_moves(true).expect("readable"));
    let beside = matterstack::explain::Beside { address: "run", stopped: &[], changed: &[], at_work: false };
    let explained =
        matterstack::explain::explain_task(&store, &run.config, beside, "a").expect("readable").expect("there");
    assert_eq!(
        (explained.code.own(), explained.command.as_deref()),
        (Some(Code::RunPaused), Some("matterstack resume run"))
    );
    resume(&mut run.open(), None, &act(Verb::Resume, 0)).expect("a resume");
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
}

#[test]
fn a_plugin_that_cannot_be_loaded_fails_nothing() {
    for call in ["prepare", "submit", "check-status", "collect-results", "cancel"] {
        let mut run =
            Fixture::new(&json!({}), &[json!([task("a", json!({})), task("b", json!({"operator": "other"}))])]);
        run.statuses("a", [Status::Succeeded]);
        run.plan().expect("a plan");
        if call == "cancel" {
            run.statuses("a", [Status::Running(None)]);
            run.tick();
            cancel_task(&mut run.open(), "a", &act(Verb::Cancel, 0)).expect("a cancel");
        }
        run.plugins.edit(|script| script.unloaded = Some(("local".to_owned(), call)));
        let mut seen = 0;
        for _ in 0..6 {
            let tick = run.tick();
            seen += usize::from(tick.unloaded.is_some_and(|unloaded| unloaded.operator == "local"));
        }
        assert!(seen > 1, "{call}: it is said every time");
        assert_eq!(run.tasks(), "a=running b=completed", "{call}: all else goes on");
        let store = run.open().store;
        let live = store.live_attempts(9).expect("attempts").pop().expect("it is live");
        let told = live.reason_code.and_then(|word| word.own());
        assert!(told == Some(Code::PluginLoad) || call == "cancel", "{call}: {told:?}");
        run.plugins.edit(|script| script.unloaded = None);
        assert_eq!(run.tick_to_end().0.state.as_str(), "completed", "{call}");
        assert_eq!(run.open().store.task("a").expect("a task").expect("there").attempts, 1, "{call}");
    }
}

fn refused(run: &Fixture, amended: &Value) -> String {
    let amended = serde_json::from_value(amended.clone()).expect("a configuration");
    match refuse_amendment(&run.open(), &amended) {
        Err(ControlError::NotNow { what, remedy: Some(Remedy::LetEnd), .. }) => what,
        other => format!("{other:?}"),
    }
}

#[test]
fn an_amendment_takes_nothing_from_under_what_is_open_or_live() {
    let grants = json!({"compute": ["c"]});
    let operators = json!({"local": {"plugin": "scripted", "grants": grants}, "other": {"plugin": "scripted"}});
    let backends = json!({"c": {"kind": "local", "cores": 1}});
    let workflow = json!([task("a", json!({})), task("z", json!({"depends_on": ["a"], "operator": "other"}))]);
    let mut run = Fixture::new(&json!({"operators": operators, "backends": backends}), &[workflow]);
    run.statuses("a", [Status::Running(None)]);
    run.plan().expect("a plan");
    run.tick();
    let config = serde_json::to_value(&run.config).expect("JSON");
    assert_eq!(refused(&run, &config), "Ok(())");
    let without = |pointer: &str, key: &str| {
        let mut config = config.clone();
        config.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object").remove(key);
        config
    };
    for (amended, words) in [
        (without("/operators", "local"), ["operator `local`", "`a`"]),
        (without("/operators", "other"), ["operator `other`", "`z`"]),
        (without("/backends", "c"), ["backend `c`", "`a`"]),
        (without("/operators/local", "grants"), ["backend `c`", "`a`"]),
    ] {
        let text = refused(&run, &amended);
        assert!(words.iter().all(|word| text.contains(word)), "{text} should say {words:?}");
    }
    run.statuses("a", [Status::Succeeded]);
    run.tick_to_end();
    assert_eq!(refused(&run, &without("/backends", "c")), "Ok(())", "nothing of it is live any more");
}

#[test]
fn a_cluster_cannot_be_exchanged_for_another_under_live_attempts() {
    let cluster = json!({"kind": "slurm", "ssh": {"host": "one"}, "remote_root": "/a", "partition": "p"});
    let operators = json!({"local": {"plugin": "scripted", "grants": {"compute": ["c"]}}});
    let mut run =
        Fixture::new(&json!({"operators": operators, "backends": {"c": cluster}}), &[json!([task("a", json!({}))])]);
    run.statuses("a", [Status::Running(None)]);
    run.plan().expect("a plan");
    run.tick();
    let config = serde_json::to_value(&run.config).expect("JSON");
    let with = |pointer: &str, value: Value| {
        let mut config = config.clone();
        *config.pointer_mut(&format!("/backends/c{pointer}")).expect("a key") = value;
        config
    };
    for amended in [
        with("/ssh/host", json!("two")),
        with("/remote_root", json!("/b")),
        with("", json!({"kind": "slurm"})),
        with("", json!({"kind": "local", "cores": 1})),
    ] {
        let text = refused(&run, &amended);
        assert!(text.contains("backend `c` cannot go to another place") && text.contains("`a`"), "{text}");
    }
    assert_eq!(refused(&run, &with("/partition", json!("q"))), "Ok(())");
}
