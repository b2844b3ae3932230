//! What a run does when the outside or the campaign does not behave.
use super::scripted::{Fixture, act, decision, failed, task};
use matterstack::model::act::Verb;
use matterstack::model::code::{Code, Word};
use matterstack::model::contract::{Detail, Found, GuestError, Next, Status, Submitted};
use matterstack::model::limit::{Bound, Limit};
use matterstack::model::selection::Selection;
use matterstack::plugin::PluginErrorKind;
use matterstack::tick::{rerun, resume};
use serde_json::json;

fn one(more: serde_json::Value) -> Fixture {
    Fixture::new(&json!({}), &[json!([task("a", more)])])
}

fn lost() -> Status {
    Status::Lost(Detail::new("vanished", "it vanished"))
}

fn submits(run: &Fixture) -> usize {
    run.calls().iter().filter(|call| call.starts_with("submit")).count()
}

#[test]
fn a_lost_answer_of_submit_is_settled_by_reconcile() {
    for (found, expected) in [(Found::Yes(Submitted::new("{}")), 1), (Found::No, 2)] {
        let mut run = one(json!({}));
        run.plugins.edit(|script| {
            script.submit.insert(
                "a".to_owned(),
                [Err(PluginErrorKind::Deadline(Bound::new("limits.plugin.call_ms", 5)))].into(),
            );
            script
                .reconcile
                .insert("a".to_owned(), [Found::Unknown { note: "{}".to_owned(), poll_after_ms: 500 }, found].into());
        });
        run.plan().expect("a plan");
        run.tick();
        let live = run.open().store.all_attempts().expect("attempts");
        assert_eq!(live[0].state.as_str(), "submitting");
        assert_eq!(live[0].reason_code, Some(Word::Limit(Code::PluginDeadline, Limit::CallMs)));
        assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
        assert_eq!(submits(&run), expected);
    }
}

#[test]
fn a_submit_that_was_turned_away_is_tried_again_under_the_same_attempt() {
    let mut run = one(json!({}));
    let busy = GuestError::Transient { detail: Detail::new("busy", "too many jobs"), retry_after_ms: Some(100) };
    run.plugins.edit(|script| {
        script.submit.insert("a".to_owned(), [Err(PluginErrorKind::Guest(busy.clone()))].into());
        script.prepare.insert("a".to_owned(), [Err(busy), Ok(())].into());
    });
    run.plan().expect("a plan");
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    let store = run.open().store;
    assert_eq!(store.task("a").expect("a task").expect("there").attempts, 1);
}

#[test]
fn a_refused_submit_fails_the_attempt() {
    let mut run = one(json!({}));
    let no = GuestError::Rejected(Detail::new("quota", "no quota"));
    run.plugins.edit(|script| script.submit.insert("a".to_owned(), [Err(PluginErrorKind::Guest(no))].into()));
    run.plan().expect("a plan");
    run.tick_to_end();
    let task = run.open().store.task("a").expect("a task").expect("there");
    assert_eq!((task.state.as_str(), task.reason_code), ("failed", Some(Word::Guest("quota".to_owned()))));
}

#[test]
fn a_lost_attempt_waits_for_a_person() {
    let mut run = one(json!({"retry": {"max_attempts": 3}}));
    run.statuses("a", [lost()]);
    run.plan().expect("a plan");
    let (tick, _) = run.tick_to_end();
    assert_eq!(tick.state.as_str(), "held");
    assert!(tick.reason.expect("a reason").contains("lost"));
    assert_eq!(submits(&run), 1);
    run.statuses("a", [Status::Succeeded]);
    let selection =
        Selection { state: Some("lost".to_owned()), operator: Some("local".to_owned()), ..Selection::default() };
    assert_eq!(rerun(&mut run.open(), &selection, &act(Verb::Rerun, 0)).expect("a rerun"), 1);
    resume(&mut run.open(), None, &act(Verb::Resume, 0)).expect("a resume");
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
}

#[test]
fn a_lost_attempt_is_followed_by_another_if_the_task_says_so() {
    let mut run = one(json!({"retry": {"max_attempts": 2, "backoff_s": 0, "on": {"lost": true}}}));
    run.statuses("a", [lost(), Status::Succeeded]);
    run.plan().expect("a plan");
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
}

#[test]
fn what_never_started_does_not_use_up_the_attempts() {
    let mut run = one(json!({}));
    let misfire = Status::NotStarted(Detail::new("node-failed", "the node went away"));
    run.statuses("a", [misfire.clone(), misfire, Status::Succeeded]);
    run.plan().expect("a plan");
    let end = run.tick_to_end().0;
    assert_eq!(end.state.as_str(), "completed");
    assert_eq!(run.open().store.task("a").expect("a task").expect("there").attempts, 3);
}

/// Ticks, an hour apart, until the task has ended or had this many attempts; the number of its attempts, and its state.
fn attempts_of(run: &mut Fixture, most: u32) -> (u32, String) {
    loop {
        run.now_ms += 3_600_000;
        run.tick();
        let task = run.open().store.task("a").expect("a task").expect("there");
        if task.state.ended() || task.attempts >= most {
            return (task.attempts, task.state.to_string());
        }
    }
}

#[test]
fn ten_starts_in_a_row_that_fail_are_the_end_of_a_task() {
    let away = || Status::NotStarted(Detail::new("node-failed", "the node went away"));
    let times = |count: usize| std::iter::repeat_with(away).take(count);
    let cases = [
        (1, times(10).collect::<Vec<Status>>(), (10, "failed")),
        (1, times(9).chain([Status::Succeeded]).collect(), (10, "completed")),
        (
            2,
            times(9).chain([failed("exit-code")]).chain(times(9)).chain([Status::Succeeded]).collect(),
            (20, "completed"),
        ),
        (2, times(9).chain([failed("exit-code")]).chain(times(10)).collect(), (20, "failed")),
    ];
    for (max_attempts, statuses, (attempts, state)) in cases {
        let mut run = one(json!({"retry": {"max_attempts": max_attempts}}));
        run.statuses("a", statuses);
        run.plan().expect("a plan");
        assert_eq!(attempts_of(&mut run, 30), (attempts, state.to_owned()), "{max_attempts}");
    }
}

#[test]
fn what_there_is_no_room_for_is_tried_as_often_as_it_takes() {
    let mut run = one(json!({}));
    run.statuses("a", [Status::NotStarted(Detail::new("no-room", "the disk is full"))]);
    run.plan().expect("a plan");
    assert_eq!(attempts_of(&mut run, 30), (30, "running".to_owned()));
}

#[test]
fn an_outside_that_does_not_answer_changes_no_verdict() {
    let mut run = one(json!({}));
    let away = Status::Unavailable(Detail::new("unavailable", "no answer"));
    run.statuses("a", [away.clone(), away, Status::Succeeded]);
    run.plan().expect("a plan");
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(submits(&run), 1);
}

#[test]
fn what_the_campaign_does_wrong_holds_the_run_and_loses_nothing() {
    let kinds = [
        (PluginErrorKind::Trap("unreachable".to_owned()), "plugin-trap"),
        (PluginErrorKind::Fuel(Bound::new("limits.plugin.fuel", 10)), "plugin-fuel"),
        (PluginErrorKind::Memory(Bound::new("limits.plugin.memory_mb", 10)), "plugin-memory"),
        (PluginErrorKind::Deadline(Bound::new("limits.plugin.call_ms", 10)), "plugin-deadline"),
        (PluginErrorKind::Limit(Bound::new("limits.plugin.host_calls", 10)), "plugin-limit"),
        (PluginErrorKind::Refusals(10), "plugin-limit"),
        (PluginErrorKind::BadOutput("no JSON".to_owned()), "plugin-bad-output"),
        (PluginErrorKind::Load("no component".to_owned()), "plugin-load"),
        (PluginErrorKind::Guest(GuestError::Other(Detail::new("x", "no"))), "plugin-error"),
    ];
    for (kind, code) in kinds {
        let mut run = one(json!({}));
        run.plan().expect("a plan");
        run.plugins.edit(|script| script.analyses.push_back(kind));
        assert_eq!(run.tick_to_end().0.state.as_str(), "held");
        let row = run.open().store.run().expect("the run");
        assert_eq!(row.reason_code.and_then(|word| word.own()).expect("a word of ours"), code);
        assert!(row.result.is_none());
        resume(&mut run.open(), None, &act(Verb::Resume, 0)).expect("a resume");
        assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    }
}

#[test]
fn a_bad_plan_is_refused_whole() {
    let long = "x".repeat(201);
    let cases = [
        (json!([task("a", json!({})), task("a", json!({}))]), "used twice"),
        (json!([task("", json!({}))]), "0 bytes"),
        (json!([task(&long, json!({}))]), "201 bytes"),
        (json!([task("a", json!({"depends_on": ["b"]}))]), "not in the run"),
        (
            json!([task("a", json!({"depends_on": ["b"]})), task("b", json!({"depends_on": ["a"]}))]),
            "depends on itself",
        ),
        (json!([{"id": "a", "operator": "locl"}]), "did you mean `local`"),
        (json!([task("a", json!({"files": {"../x": {"content": ""}}}))]), "outside its attempt directory"),
        (json!([task("a", json!({"files": {"/etc/x": {"content": ""}}}))]), "outside its attempt directory"),
        (json!([task("a", json!({"files": {"x": {"path": "nowhere"}}}))]), "no pattern of campaign.files"),
        (json!([task("a", json!({"comand": "x"}))]), "unknown field `comand`"),
        (json!([task("a", json!({"outputs": ["["]}))]), "output pattern"),
        (json!([task("a", json!({"retry": {"carry": ["["]}}))]), "carry pattern"),
        (json!([task("a", json!({"retry": {"max_attempts": 0}}))]), "max_attempts"),
        (json!([task("a", json!({"resources": {"walltime_s": -1}}))]), "walltime_s"),
        (json!({"id": "a"}), "expected"),
        (json!([task("a", json!({})), task("b", json!({})), task("c", json!({}))]), "`limits.max_tasks` is 2"),
    ];
    for (workflow, expected) in cases {
        let run = Fixture::new(&json!({"limits": {"max_tasks": 2}}), std::slice::from_ref(&workflow));
        let error = run.plan().expect_err(&workflow.to_string()).to_string();
        assert!(error.contains(expected), "{error} should say {expected}");
        let store = run.open().store;
        assert_eq!((store.task_counts().expect("counts").total, store.run().expect("the run").decisions), (0, 0));
    }
}

#[test]
fn planning_nothing_twice_holds_the_run() {
    let mut run = Fixture::new(&json!({}), &[]);
    run.plugins.edit(|script| script.plans.extend([Next::Wait, Next::Wait].map(|next| Ok(decision(next)))));
    run.plan().expect("a plan");
    assert_eq!(run.tick_to_end().0.state.as_str(), "held");
    assert_eq!(run.open().store.run().expect("the run").reason_code, Some(Code::PlannedNothing.into()));
    resume(&mut run.open(), None, &act(Verb::Resume, 0)).expect("a resume");
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
}

#[test]
fn the_campaign_may_give_up_or_ask() {
    let mut run = one(json!({}));
    let gives_up = decision(Next::Fail(Detail::new("hopeless", "no candidate left")));
    run.plugins.edit(|script| script.plans.push_back(Ok(gives_up)));
    run.plan().expect("a plan");
    let (tick, _) = run.tick_to_end();
    assert_eq!((tick.state.as_str(), tick.reason.as_deref()), ("failed", Some("no candidate left")));
}

#[test]
fn a_missing_output_fails_the_attempt() {
    let mut run = one(json!({"outputs": ["*.json"]}));
    run.plan().expect("a plan");
    run.tick_to_end();
    let task = run.open().store.task("a").expect("a task").expect("there");
    assert_eq!((task.state.as_str(), task.reason_code), ("failed", Some(Code::OutputMissing.into())));
}

#[test]
fn no_pattern_collects_what_the_host_writes() {
    let own = ["stdout", "stderr", "exit.json", ".exit.json.tmp", "matterstack-job.sh", ".cancel", ".claim/owner"];
    for pattern in ["*", ".exit*", "**", "**/*"] {
        let mut run = one(json!({"outputs": [pattern]}));
        run.plan().expect("a plan");
        let directory = run.dir().join("operators/local/a-00000000000000000000000000000001");
        std::fs::create_dir_all(directory.join(".claim")).expect("a directory");
        for name in own.into_iter().chain([".exited", "exit.json.mine"]) {
            std::fs::write(directory.join(name), name).expect("a file");
        }
        assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
        let store = run.open().store;
        let outputs = store.task_outputs(store.task("a").expect("a task").expect("there").key).expect("outputs");
        let paths: Vec<&str> = outputs.iter().map(|output| output.path.as_str()).collect();
        let expected: &[&str] = if pattern == ".exit*" { &[".exited"] } else { &["exit.json.mine"] };
        assert_eq!(paths, expected, "{pattern}");
    }
}

#[test]
fn staged_files_cannot_leave_the_attempt_directory_through_a_link() {
    let run_outside = tempfile::tempdir().expect("a directory");
    let mut run = one(json!({"files": {"sub/x": {"content": "secret"}}}));
    run.plan().expect("a plan");
    // The attempt's directory is known in advance, because its id is.
    let directory = run.dir().join("operators/local/a-00000000000000000000000000000001");
    std::fs::create_dir_all(&directory).expect("a directory");
    std::os::unix::fs::symlink(run_outside.path(), directory.join("sub")).expect("a link");
    run.tick_to_end();
    assert!(!run_outside.path().join("x").exists());
    let task = run.open().store.task("a").expect("a task").expect("there");
    assert_eq!((task.state.as_str(), task.reason_code), ("failed", Some(Code::Staging.into())));
}

#[test]
fn what_a_job_puts_in_the_way_of_a_directory_costs_the_attempt_alone() {
    let own = "operators/local/a-00000000000000000000000000000001";
    for place in ["operators/local", own] {
        for files in [json!({}), json!({"sub/x": {"content": "secret"}})] {
            for linked in [false, true] {
                let workflow = json!([task("a", json!({"files": files})), {"id": "b", "operator": "other"}]);
                let mut run = Fixture::new(&json!({}), &[workflow]);
                run.plan().expect("a plan");
                let place = run.dir().join(place);
                std::fs::create_dir_all(place.parent().expect("a parent")).expect("a directory");
                if linked {
                    std::os::unix::fs::symlink(run.dir().join("nowhere/at/all"), &place).expect("a link");
                } else {
                    std::fs::write(&place, "in the way").expect("a file");
                }
                run.tick_to_end();
                assert_eq!(run.tasks(), "a=failed b=completed", "{} {files} {linked}", place.display());
                let task = run.open().store.task("a").expect("a task").expect("there");
                assert_eq!(task.reason_code, Some(Code::Staging.into()));
                assert!(task.reason.expect("a reason").contains("cannot be made or opened"));
            }
        }
    }
}

#[test]
fn a_failure_by_timeout_gives_the_next_attempt_more_time() {
    let mut run = one(json!({
        "resources": {"walltime_s": 10}, "retry": {"max_attempts": 2, "backoff_s": 0, "on": {"timeout": {"walltime_factor": 2}}},
    }));
    run.statuses("a", [failed("timeout"), Status::Succeeded]);
    run.plan().expect("a plan");
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
}
