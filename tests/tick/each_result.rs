//! Mode `each-result`: outcomes reach the campaign one by one, it plans beside what goes on, and says itself when it is
//! asked again.
use super::scripted::{Fixture, act, decision, failed, task};
use matterstack::model::act::Verb;
use matterstack::model::code::{Code, Word};
use matterstack::model::contract::{Decision, Detail, Next, Status};
use matterstack::model::selection::Selection;
use matterstack::plugin::PluginErrorKind;
use matterstack::store::{DATA_MAX, Portion};
use matterstack::tick::{ControlError, Resumed, Tick, cancel_run, cancel_task, pause, rerun, resume};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// All that waits for the campaign.
const WHOLE: Portion = Portion { most: u32::MAX, bytes_max: usize::MAX };

fn workflow(tasks: &Value) -> Decision {
    decision(Next::Workflow(tasks.to_string()))
}

fn wait() -> Decision {
    decision(Next::Wait)
}

fn complete() -> Decision {
    decision(Next::Complete(json!({"end": true}).to_string()))
}

/// A task for each name, of which none waits for another.
fn tasks(names: &[&str]) -> Value {
    names.iter().map(|name| task(name, json!({}))).collect()
}

/// A run whose campaign has each result as it comes, and answers these plans one after the other; with further settings
/// of the campaign and the run. The first is asked for.
fn begun_with(campaign: &Value, settings: &Value, plans: impl IntoIterator<Item = Decision>) -> Fixture {
    let mut all = json!({"campaign": {"plugin": "scripted", "analyze": "each-result"}});
    for (key, value) in campaign.as_object().into_iter().flatten() {
        all["campaign"][key] = value.clone();
    }
    for (key, value) in settings.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    let run = Fixture::new(&all, &[]);
    run.plugins.edit(|script| script.plans.extend(plans.into_iter().map(Ok)));
    run.plan().expect("a plan");
    run
}

fn begun(plans: impl IntoIterator<Item = Decision>) -> Fixture {
    begun_with(&json!({}), &json!({}), plans)
}

/// A run in which `slow` goes on and `quick` ends at once.
fn slow_and_quick(plans: impl IntoIterator<Item = Decision>) -> Fixture {
    let run = begun([workflow(&tasks(&["slow", "quick"]))].into_iter().chain(plans));
    run.statuses("slow", [Status::Running(None)]);
    run
}

/// Why each plan was asked for, with how many tasks were open: `first 0`.
fn asked(run: &Fixture) -> Vec<String> {
    run.plugins.edit(|script| script.asked.iter().map(|one| format!("{} {}", one.why, one.open_tasks)).collect())
}

fn batches(run: &Fixture) -> Vec<String> {
    run.plugins.edit(|script| script.batches.clone())
}

/// How many results the campaign's state has.
fn counted(run: &Fixture) -> u64 {
    let state = run.open().store.campaign_state().expect("readable").expect("a state").1;
    serde_json::from_str::<Value>(&state).expect("JSON")["seen"].as_u64().expect("a count")
}

/// The iterations that are closed, of all.
fn closed(run: &Fixture) -> String {
    let database = rusqlite::Connection::open(run.dir().database()).expect("the database");
    let sql = "SELECT iteration || CASE WHEN analyzed_at_ms IS NULL THEN '=open' ELSE '=closed' END FROM workflows \
               ORDER BY iteration";
    let mut statement = database.prepare(sql).expect("a statement");
    let words = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    words.map(|word| word.expect("a row")).collect::<Vec<_>>().join(" ")
}

/// Where the run stands, and the code and text of why.
fn stands(run: &Fixture) -> (&'static str, Option<Word>, String) {
    let row = run.open().store.run().expect("the run");
    (row.state.as_str(), row.reason_code, row.reason.unwrap_or_default())
}

/// Asserts that the run is held because of a plan that breaks a rule, which this part of the reason tells.
#[track_caller]
fn refused(run: &Fixture, words: &[&str]) {
    let (state, code, text) = stands(run);
    assert_eq!((state, code.and_then(|code| code.own())), ("held", Some(Code::PluginBadOutput)), "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "`{text}` should say {words:?}");
}

fn resumed(run: &Fixture) {
    assert_eq!(resume(&mut run.open(), None, &act(Verb::Resume, run.now_ms)).expect("a resume"), Resumed::Active);
}

fn of_task(id: &str) -> Selection {
    Selection { task: Some(id.to_owned()), ..Selection::default() }
}

/// Lets a process die in this tick.
#[track_caller]
fn tick_that_dies(run: &mut Fixture) {
    assert!(catch_unwind(AssertUnwindSafe(|| run.tick())).is_err(), "it does not die");
    assert_eq!(run.open().store.check_invariants().expect("a readable store"), Vec::<String>::new());
}

#[test]
fn results_come_in_the_order_in_which_tasks_ended_each_once() {
    let mut run = begun([workflow(&tasks(&["a", "b", "c", "d"])), wait(), wait(), wait()]);
    let running = |count| std::iter::repeat_n(Status::Running(None), count);
    run.statuses("a", running(2).chain([Status::Succeeded]));
    run.statuses("b", running(3).chain([failed("exit-code")]));
    run.statuses("d", running(1).chain([Status::Succeeded]));
    let (tick, ticks) = run.tick_to_end();
    assert_eq!((tick.state.as_str(), ticks), ("completed", 4));
    assert_eq!(batches(&run), ["c", "d", "a", "b"]);
    assert_eq!(asked(&run), ["first 0", "results 3", "results 2", "results 1", "results 0"]);
    assert_eq!(counted(&run), 4);
    assert_eq!(closed(&run), "1=closed");
    assert_eq!(run.open().store.undelivered_each(WHOLE).expect("readable"), None);
}

/// A run that is held because its campaign could not analyze the first result, and in which all tasks have ended.
fn ended_and_held(count: usize, document_bytes: Option<usize>) -> Fixture {
    let names: Vec<String> = (0..count).map(|n| format!("t{n:04}")).collect();
    let all: Value = names.iter().map(|name| task(name, json!({}))).collect();
    let mut run = begun_with(&json!({}), &json!({"limits": {"max_active": 10_000}}), [workflow(&all)]);
    run.plugins.edit(|script| {
        script.document_bytes = document_bytes;
        script.analyses.push_back(PluginErrorKind::Trap("unreachable".to_owned()));
    });
    for _ in 0..20 {
        run.tick();
    }
    let store = run.open().store;
    assert_eq!((store.task_counts().expect("counts").completed, stands(&run).0), (count as u64, "held"));
    assert!(batches(&run).is_empty());
    run
}

#[test]
fn portions_are_delivered_once_though_processes_die() {
    let mut run = ended_and_held(2_500, None);
    resumed(&run);
    run.plugins.edit(|script| script.dies_after = Some(2));
    tick_that_dies(&mut run);
    assert_eq!(counted(&run), 1_000, "what was answered and not recorded is not there");
    run.plugins.edit(|script| script.dies_after = Some(1));
    tick_that_dies(&mut run);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    let batches = batches(&run);
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.split(' ').count()).collect();
    assert_eq!(sizes, [1_000, 1_000, 1_000, 1_000, 500]);
    assert!(batches[1] == batches[2] && batches[2] == batches[3], "what was lost is delivered again");
    let kept: Vec<&str> = [0, 3, 4].into_iter().flat_map(|at| batches[at].split(' ')).collect();
    assert!(kept.is_sorted() && kept.len() == 2_500, "each once, in the order in which they ended");
    assert_eq!(counted(&run), 2_500);
    assert_eq!(asked(&run), ["first 0", "results resumed 0"], "one plan after the last portion");
    assert_eq!(closed(&run), "1=closed");
}

#[test]
fn large_documents_make_small_portions() {
    let mut run = ended_and_held(300, Some(60_000));
    resumed(&run);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    let sizes: Vec<usize> = batches(&run).iter().map(|batch| batch.split(' ').count()).collect();
    assert_eq!(sizes, [140, 140, 20], "a portion ends with the result that makes it eight megabytes");
    assert_eq!(counted(&run), 300);
}

#[test]
fn a_document_that_is_too_large_for_a_result_is_named_by_its_digest() {
    let mut run = begun([workflow(&tasks(&["a"]))]);
    run.plugins.edit(|script| script.document_bytes = Some(DATA_MAX));
    run.tick_to_end();
    let result = run.plugins.edit(|script| script.results[0].clone());
    let text = json!({"of": "x".repeat(DATA_MAX)}).to_string();
    let digest = matterstack::model::document::sha256(text.as_bytes());
    assert_eq!((&result["data"], &result["data_sha256"]), (&Value::Null, &json!(digest)));
    assert_eq!(result["data_size"], json!(text.len()));
    let paths = run.open().store.files_of_digest(&digest, 1).expect("readable");
    assert_eq!(std::fs::read_to_string(run.dir().join(&paths[0])).expect("it is in the run"), text);
}

#[test]
fn iterations_overlap_and_each_is_closed_with_its_last_result() {
    let second = json!([task("c", json!({"depends_on": ["slow"]})), task("d", json!({"depends_on": ["quick"]}))]);
    let mut run = slow_and_quick([workflow(&second), workflow(&tasks(&["e"])), wait(), wait()]);
    for _ in 0..4 {
        run.tick();
    }
    assert_eq!(run.tasks(), "slow=running quick=completed c=pending d=completed e=completed");
    assert_eq!(batches(&run), ["quick", "d", "e"]);
    assert_eq!(closed(&run), "1=open 2=open 3=closed");
    assert_eq!(asked(&run), ["first 0", "results 1", "results 2", "results 2"]);
    run.statuses("slow", [Status::Succeeded]);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(batches(&run)[3..].join(" "), "slow c");
    assert_eq!(closed(&run), "1=closed 2=closed 3=closed");
    let iterations: Vec<u32> = run.plugins.edit(|script| script.asked.iter().map(|one| one.iteration).collect());
    assert_eq!(iterations[..4], [1, 2, 3, 4], "each plan would make the next");
}

#[test]
fn a_campaign_that_waits_for_what_is_open_is_not_idle() {
    let mut run = slow_and_quick([wait(), wait(), wait()]);
    for _ in 0..5 {
        assert_eq!(run.tick().state.as_str(), "active");
    }
    assert_eq!(asked(&run), ["first 0", "results 1"], "nobody asks while nothing ends");
    run.statuses("slow", [Status::Succeeded]);
    assert_eq!(run.tick().state.as_str(), "active", "a plan that does nothing is asked for once more");
    assert_eq!(run.tick().state.as_str(), "held");
    let (_, code, text) = stands(&run);
    assert_eq!(code, Some(Code::PlannedNothing.into()), "{text}");
    assert_eq!(asked(&run)[2..], ["results 0", "waited 0"]);
    resumed(&run);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(asked(&run)[4..], ["resumed 0"]);
}

#[test]
fn a_plan_that_does_something_begins_the_count_of_idle_ones_anew() {
    let plans = [workflow(&tasks(&["a"])), wait(), workflow(&tasks(&["b"])), wait(), workflow(&json!([])), complete()];
    let mut run = begun(plans);
    assert_eq!(run.tick_to_end().0.state.as_str(), "held", "a list without tasks is nothing too");
    assert_eq!(asked(&run), ["first 0", "results 0", "waited 0", "results 0", "waited 0"]);
}

#[test]
fn what_a_campaign_no_longer_wants_is_cancelled_and_comes_as_a_result() {
    let first = json!([
        task("live", json!({})),
        task("after", json!({"depends_on": ["live"]})),
        task("unwanted", json!({"depends_on": ["live"]})),
        task("then", json!({"depends_on": ["unwanted"]})),
        task("flaky", json!({"retry": {"max_attempts": 3, "backoff_s": 1000}})),
        task("quick", json!({})),
    ]);
    let cancel = ["quick", "then", "unwanted", "unwanted", "live", "flaky", "live"].map(str::to_owned).to_vec();
    let mut run = begun([workflow(&first), Decision { cancel, ..wait() }, wait(), wait(), wait()]);
    run.statuses("live", [Status::Running(None)]);
    run.statuses("flaky", [failed("exit-code")]);
    run.tick();
    assert_eq!(
        run.tasks(),
        "live=running after=pending unwanted=cancelled then=cancelled flaky=cancelled quick=completed",
        "what has no live attempt is cancelled at once, and what has ended stays"
    );
    let unwanted = run.open().store.task("unwanted").expect("a task").expect("there");
    assert_eq!(unwanted.reason_code, Some(Code::Cancelled.into()));
    assert!(unwanted.reason.is_some_and(|text| text.contains("the campaign no longer wants it")));
    assert_eq!(stands(&run).0, "active", "a plan that cancels is not idle");
    run.tick();
    assert!(run.calls().contains(&"cancel live".to_owned()));
    for _ in 0..2 {
        run.tick();
    }
    assert!(run.tasks().starts_with("live=cancelled after=skipped"), "{}", run.tasks());
    let results = run.plugins.edit(|script| script.results.clone());
    let told = |id: &str| {
        let of: Vec<&Value> = results.iter().filter(|result| result["task"] == id).collect();
        assert_eq!(of.len(), 1, "{id}");
        (of[0]["outcome"].clone(), of[0]["code"].clone())
    };
    for (id, outcome, code) in [
        ("quick", "completed", Value::Null),
        ("unwanted", "cancelled", json!("cancelled")),
        ("then", "cancelled", json!("cancelled")),
        ("flaky", "cancelled", json!("cancelled")),
        ("after", "skipped", json!("dependency-failed")),
    ] {
        assert_eq!(told(id), (json!(outcome), code), "{id}");
    }
    assert_eq!(told("live").0, json!("cancelled"));
}

#[test]
fn a_plan_that_cancels_what_is_not_there_is_refused_whole() {
    let plan = Decision { cancel: vec!["slow".to_owned(), "nobody".to_owned()], ..workflow(&tasks(&["more"])) };
    let mut run = slow_and_quick([plan, complete()]);
    run.tick();
    refused(&run, &["`nobody`", "cancel"]);
    assert_eq!((run.tasks().as_str(), counted(&run)), ("slow=running quick=completed", 1), "nothing of it is done");
    let tries: Vec<String> = {
        let decisions = run.open().store.decisions().expect("decisions");
        decisions.iter().map(|one| format!("{} {}", one.number, one.outcome.as_str())).collect()
    };
    assert_eq!(tries, ["1 answered", "2 answered", "3 bad_output"]);
    run.statuses("slow", [Status::Succeeded]);
    run.tick();
    assert_eq!((run.tasks().as_str(), batches(&run).len()), ("slow=completed quick=completed", 1));
    resumed(&run);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(asked(&run)[1..], ["results 1", "results resumed 0"], "what was asked is asked again");
    assert_eq!((batches(&run), counted(&run)), (vec!["quick".to_owned(), "slow".to_owned()], 2));
}

/// When the first tick is.
const FIRST_MS: u64 = 1_001_000;

fn wakes(at_ms: u64) -> Decision {
    Decision { wake_at_ms: Some(at_ms), ..wait() }
}

#[test]
fn a_campaign_is_asked_again_when_the_time_has_come() {
    for open in [false, true] {
        for jumps_back in [false, true] {
            let plans = [wakes(FIRST_MS + 60_000), complete()];
            let mut run = if open {
                slow_and_quick(plans)
            } else {
                begun([workflow(&tasks(&["quick"]))].into_iter().chain(plans))
            };
            for _ in 0..4 {
                assert_eq!(run.tick().state.as_str(), "active");
            }
            assert_eq!(asked(&run).len(), 2, "it is not time");
            if !open {
                let told = crate::tick::explained(&run.open().store, &run.config, "run");
                assert_eq!(told[0].code, Word::from(Code::WakeAt));
                assert!(told[0].sentence.contains("1970-01-01T00:17:41"), "{}", told[0].sentence);
            }
            run.now_ms += if jumps_back { -500_000 } else { 60_000 };
            run.tick();
            let expected = if open { "time 1" } else { "time 0" };
            assert_eq!(asked(&run)[2..], [expected], "{jumps_back}");
            assert_eq!(run.open().store.wake().expect("readable"), None, "it is asked once");
            run.statuses("slow", [Status::Succeeded]);
            assert_eq!(stands(&run).0, if open { "cancelling" } else { "completed" });
        }
    }
}

#[test]
fn results_that_come_before_the_time_are_handed_over_first_and_a_plan_sets_the_time_anew() {
    let mut run = slow_and_quick([wakes(FIRST_MS + 60_000), wait(), complete()]);
    run.tick();
    cancel_task(&mut run.open(), "slow", &act(Verb::Cancel, run.now_ms)).expect("a cancel");
    run.now_ms += 120_000;
    run.tick();
    assert_eq!((asked(&run)[2..].to_vec(), batches(&run).len()), (vec!["results time 0".to_owned()], 2));
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(asked(&run)[3..], ["waited 0"]);

    let mut run = begun([workflow(&tasks(&["slow", "later", "quick"])), wakes(FIRST_MS + 60_000), wait(), wait()]);
    run.statuses("slow", [Status::Running(None)]);
    run.statuses("later", [Status::Running(None), Status::Succeeded]);
    run.tick();
    run.tick();
    assert_eq!(asked(&run)[1..], ["results 2", "results 1"]);
    run.now_ms += 120_000;
    run.tick();
    assert_eq!(asked(&run).len(), 3, "the plan in between has set no time");
}

#[test]
fn a_time_that_is_past_comes_at_once_and_twice_holds_the_run() {
    for open in [false, true] {
        let first = workflow(&tasks(if open { &["slow", "quick"] } else { &["quick"] }));
        let mut run = begun([first, wakes(FIRST_MS - 1), wakes(FIRST_MS), complete()]);
        run.statuses("slow", [Status::Running(None)]);
        assert_eq!(run.tick().state.as_str(), "active");
        assert_eq!(asked(&run).len(), 2, "not within the same tick");
        assert_eq!(run.tick().state.as_str(), "held");
        assert_eq!(asked(&run)[2..], [if open { "time waited 1" } else { "time waited 0" }]);
        let (_, code, text) = stands(&run);
        assert_eq!(code, Some(Code::PlannedNothing.into()));
        assert!(text.contains("planned nothing 2 times") && text.contains("in the past"), "{text}");
        run.tick();
        assert_eq!(asked(&run).len(), 3, "a held run decides nothing, whatever the time");
        resumed(&run);
        run.tick();
        let after = asked(&run)[3].clone();
        assert!(after.contains("resumed"), "{after}");
    }
}

#[test]
fn a_time_in_the_past_that_is_followed_by_patience_holds_nothing() {
    let mut run = slow_and_quick([wakes(FIRST_MS), wait(), wakes(0), wait()]);
    for _ in 0..5 {
        assert_eq!(run.tick().state.as_str(), "active");
    }
    assert_eq!(asked(&run)[1..], ["results 1", "time waited 1"]);
}

#[test]
fn a_time_that_nobody_can_mean_is_refused() {
    let millennium = FIRST_MS + 1_000 * 365 * 86_400_000;
    for at in [millennium, FIRST_MS * 1_000_000, u64::MAX, FIRST_MS + matterstack::model::time::FUTURE_MAX_MS + 1] {
        let mut run = slow_and_quick([Decision { wake_at_ms: Some(at), ..workflow(&tasks(&["more"])) }, complete()]);
        run.tick();
        refused(&run, &["milliseconds", &at.to_string()]);
        assert_eq!(run.open().store.wake().expect("readable"), None);
        assert_eq!(run.tasks(), "slow=running quick=completed");
        resumed(&run);
        run.tick();
        assert_eq!(asked(&run)[2..], ["results resumed 1"]);
    }
    let mut run = slow_and_quick([wakes(FIRST_MS + matterstack::model::time::FUTURE_MAX_MS)]);
    assert_eq!(run.tick().state.as_str(), "active", "in ten years is far, and may be meant");
}

#[test]
fn a_time_comes_in_mode_workflow_too_and_nothing_is_planned_beside_what_goes_on() {
    let campaign = json!({"analyze": "workflow"});
    let first = || Decision { wake_at_ms: Some(FIRST_MS), ..workflow(&tasks(&["slow", "quick"])) };
    let mut run = begun_with(&campaign, &json!({}), [first(), wait(), complete()]);
    run.statuses("slow", [Status::Running(None)]);
    for _ in 0..4 {
        assert_eq!(run.tick().state.as_str(), "active");
    }
    assert_eq!((asked(&run)[1..].to_vec(), batches(&run).len()), (vec!["time 1".to_owned()], 0));
    run.statuses("slow", [Status::Succeeded]);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(batches(&run), ["slow quick"], "in the order of the tasks");

    let mut run = begun_with(&campaign, &json!({}), [first(), workflow(&tasks(&["more"])), complete()]);
    run.statuses("slow", [Status::Running(None)]);
    run.tick();
    refused(&run, &["1 have not ended", "each-result"]);
    assert_eq!(run.tasks(), "slow=running quick=completed");
    run.statuses("slow", [Status::Succeeded]);
    resumed(&run);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    let last = asked(&run).last().cloned();
    assert_eq!(last.as_deref(), Some("results resumed time 0"));
}

#[test]
fn a_campaign_ends_its_run_once_what_is_live_has_stopped() {
    let fail = decision(Next::Fail(Detail::new("hopeless", "no candidate left")));
    for (end, state, code, text) in [
        (complete(), "completed", Word::from(Code::Completed), "scripted"),
        (fail, "failed", Word::Guest("hopeless".to_owned()), "no candidate left"),
    ] {
        for stops in [false, true] {
            let first = json!([
                task("slow", json!({})),
                task("after", json!({"depends_on": ["slow"]})),
                task("quick", json!({}))
            ]);
            let mut run = begun([workflow(&first), end.clone()]);
            run.statuses(
                "slow",
                [Status::Running(None), if stops { Status::Running(None) } else { Status::Succeeded }],
            );
            if !stops {
                run.plugins.edit(|script| script.stubborn.push("slow".to_owned()));
            }
            assert_eq!(run.tick().state.as_str(), "cancelling");
            assert_eq!(run.tasks(), "slow=running after=cancelled quick=completed");
            for refused in [
                pause(&mut run.open(), &act(Verb::Pause, 0)).err(),
                resume(&mut run.open(), None, &act(Verb::Resume, 0)).err(),
            ] {
                assert!(matches!(refused, Some(ControlError::NotNow { .. })), "{refused:?}");
            }
            assert_eq!(run.tick_to_end().0.state.as_str(), state);
            assert!(run.calls().contains(&"cancel slow".to_owned()));
            assert_eq!(
                run.tasks(),
                format!("slow={} after=cancelled quick=completed", if stops { "cancelled" } else { "completed" })
            );
            assert_eq!(stands(&run), (state, Some(code.clone()), text.to_owned()));
            assert_eq!(
                (batches(&run), asked(&run).len()),
                (vec!["quick".to_owned()], 2),
                "what came later is not delivered"
            );
            let store = run.open().store;
            let kept = store.undelivered_each(WHOLE).expect("readable").expect("it is kept").1;
            assert_eq!(kept.iter().map(|result| result.task.as_str()).collect::<Vec<_>>(), ["after", "slow"]);
            assert_eq!(store.run().expect("the run").result.is_some(), state == "completed");
            assert_eq!(store.ends_in().expect("readable"), None);
        }
    }
}

#[test]
fn an_attempt_that_cannot_be_stopped_keeps_the_run_and_a_persons_cancel_changes_nothing() {
    let mut run = slow_and_quick([complete()]);
    run.plugins.edit(|script| script.stubborn.push("slow".to_owned()));
    for _ in 0..10 {
        assert_eq!(run.tick().state.as_str(), "cancelling");
    }
    let before = (run.open().store.history().expect("a history").len(), run.open().store.acts().expect("acts").len());
    assert!(!cancel_run(&mut run.open(), &act(Verb::Cancel, run.now_ms)).expect("nothing is wrong with it"));
    let store = run.open().store;
    assert_eq!((store.history().expect("a history").len(), store.acts().expect("acts").len()), before);
    let told = crate::tick::explained(&store, &run.config, "run");
    assert!(told[0].sentence.contains("will be completed"), "{}", told[0].sentence);
    run.statuses("slow", [Status::Succeeded]);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(stands(&run).1, Some(Code::Completed.into()));
}

#[test]
fn a_run_that_its_campaign_ended_is_brought_back_with_what_the_campaign_has_not_received() {
    let mut run = slow_and_quick([complete(), wait(), complete()]);
    run.tick_to_end();
    assert_eq!(run.tasks(), "slow=cancelled quick=completed");
    run.plugins.edit(|script| script.cancelled.clear());
    assert_eq!(
        resume(&mut run.open(), None, &act(Verb::Resume, run.now_ms)).expect("it comes back"),
        Resumed::BroughtBack(1)
    );
    run.statuses("slow", [Status::Running(None), Status::Succeeded]);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(asked(&run)[2..], ["reopened 1", "results 0"]);
    assert_eq!(batches(&run), ["quick", "slow"]);
    let results = run.plugins.edit(|script| script.results.clone());
    assert_eq!(results[1]["outcome"], "completed", "what became of it first was never delivered: {}", results[1]);
    assert_eq!(results[1].get("supersedes"), None);
}

/// A run that its campaign holds while `slow` is live and `next` waits for it.
fn held() -> Fixture {
    let first =
        json!([task("slow", json!({})), task("next", json!({"depends_on": ["slow"]})), task("quick", json!({}))]);
    let mut run = begun([workflow(&first), decision(Next::Hold(Detail::new("look", "look at it"))), complete()]);
    run.statuses("slow", [Status::Running(None), Status::Succeeded]);
    assert_eq!(run.tick().state.as_str(), "held");
    run
}

#[test]
fn a_held_run_starts_what_is_planned_and_decides_nothing() {
    let mut run = held();
    for _ in 0..3 {
        assert_eq!(run.tick().state.as_str(), "held");
    }
    assert_eq!(run.tasks(), "slow=completed next=completed quick=completed");
    assert_eq!((batches(&run), asked(&run).len()), (vec!["quick".to_owned()], 2), "nothing is decided");
    assert_eq!(stands(&run).1, Some(Word::Guest("look".to_owned())));
    let set = json!({"look": "done"}).to_string();
    assert_eq!(resume(&mut run.open(), Some(&set), &act(Verb::Resume, 0)).expect("a resume"), Resumed::Active);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(
        (batches(&run)[1..].join(" "), asked(&run)[2..].to_vec()),
        ("slow next".to_owned(), vec!["results resumed 0".to_owned()])
    );
    let supplied = run.plugins.edit(|script| script.asked.last().and_then(|one| one.supplied.clone()));
    assert_eq!(supplied, Some(set));
}

#[test]
fn a_held_run_that_is_paused_too_starts_nothing() {
    let mut run = held();
    assert!(pause(&mut run.open(), &act(Verb::Pause, 0)).expect("a pause"));
    assert!(!pause(&mut run.open(), &act(Verb::Pause, 0)).expect("a second pause"));
    let row = run.open().store.run().expect("the run");
    assert_eq!((row.state.as_str(), row.also_paused), ("held", true));
    assert_eq!(row.reason_code, Some(Word::Guest("look".to_owned())), "it is still the campaign that holds it");
    for _ in 0..3 {
        assert_eq!(run.tick().state.as_str(), "held");
    }
    assert_eq!(run.tasks(), "slow=completed next=pending quick=completed", "what was live has ended");
    resumed(&run);
    let row = run.open().store.run().expect("the run");
    assert_eq!((row.state.as_str(), row.also_paused), ("active", false), "one word lifts both");
    run.plugins.edit(|script| script.plans.push_front(Ok(wait())));
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(run.tasks(), "slow=completed next=completed quick=completed");
}

#[test]
fn a_pause_delays_results_and_is_no_reason_to_plan() {
    let mut run = slow_and_quick([wait(), complete()]);
    run.tick();
    pause(&mut run.open(), &act(Verb::Pause, 0)).expect("a pause");
    run.statuses("slow", [Status::Succeeded]);
    for _ in 0..3 {
        assert_eq!(run.tick().state.as_str(), "paused");
    }
    assert_eq!((run.tasks().as_str(), batches(&run).len()), ("slow=completed quick=completed", 1));
    resumed(&run);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(asked(&run), ["first 0", "results 1", "results 0"]);
}

/// What stands in the run that a refused command must not change.
fn everything(run: &Fixture) -> String {
    let store = run.open().store;
    let told = (store.run().expect("the run"), store.tasks(None, None).expect("tasks"));
    format!("{told:?} {:?} {:?}", store.history().expect("a history"), store.acts().expect("acts"))
}

#[test]
fn a_result_that_a_campaign_has_and_cannot_take_back_is_not_made_again() {
    let first = json!([task("slow", json!({})), task("bad", json!({})), task("after", json!({"depends_on": ["bad"]}))]);
    let mut run = begun([workflow(&first), wait(), wait()]);
    run.statuses("slow", [Status::Running(None)]);
    run.statuses("bad", [failed("exit-code")]);
    run.tick();
    let before = everything(&run);
    let whole = Selection::default();
    let recursive = Selection { recursive: true, ..of_task("bad") };
    for selection in [of_task("bad"), recursive, whole] {
        let error = rerun(&mut run.open(), &selection, &act(Verb::Rerun, 0)).expect_err("it is delivered");
        let ControlError::NotNow { what, .. } = error else { panic!("{error:?}") };
        assert!(what.contains("`bad`") && what.contains("does not take results back"), "{what}");
    }
    assert_eq!(everything(&run), before);
    assert_eq!(run.tick().state.as_str(), "active");
}

#[test]
fn a_result_that_no_campaign_has_received_yet_is_made_again_and_delivered_once() {
    let mut run = held();
    run.statuses("slow", [failed("exit-code")]);
    run.tick();
    assert_eq!(run.tasks(), "slow=failed next=skipped quick=completed");
    run.statuses("slow", [Status::Succeeded]);
    assert_eq!(rerun(&mut run.open(), &of_task("slow"), &act(Verb::Rerun, 0)).expect("a rerun"), 2);
    for _ in 0..3 {
        assert_eq!(run.tick().state.as_str(), "held");
    }
    resumed(&run);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!((batches(&run).join(" "), counted(&run)), ("quick slow next".to_owned(), 3));
    let results = run.plugins.edit(|script| script.results.clone());
    assert!(results.iter().all(|result| result["outcome"] == "completed" && result.get("supersedes").is_none()));
}

#[test]
fn a_campaign_that_takes_results_back_gets_the_new_one_in_its_place() {
    let first = json!([task("slow", json!({})), task("bad", json!({})), task("after", json!({"depends_on": ["bad"]}))]);
    let takes_back = json!({"takes_back": true});
    let mut run = begun_with(&takes_back, &json!({}), [workflow(&first), wait(), wait(), wait(), wait(), wait()]);
    run.statuses("slow", [Status::Running(None)]);
    run.statuses("bad", [failed("exit-code")]);
    run.tick();
    assert_eq!(batches(&run), ["bad after"]);
    run.statuses("bad", [Status::Succeeded]);
    assert_eq!(rerun(&mut run.open(), &of_task("bad"), &act(Verb::Rerun, 0)).expect("a rerun"), 2);
    for _ in 0..3 {
        run.tick();
    }
    let results = run.plugins.edit(|script| script.results.clone());
    let again: Vec<(&Value, &Value, &Value)> =
        results[2..].iter().map(|result| (&result["task"], &result["outcome"], &result["supersedes"])).collect();
    let (bad, after) = (json!("bad"), json!("after"));
    let [well, badly, not] = ["completed", "failed", "skipped"].map(|word| json!(word));
    assert_eq!(again, [(&bad, &well, &badly), (&after, &well, &not)]);
    run.statuses("slow", [Status::Succeeded]);
    run.tick();
    assert_eq!((batches(&run).join(" "), closed(&run)), ("bad after bad after slow".to_owned(), "1=closed".to_owned()));
    // and an iteration that was closed is open again
    let recursive = Selection { recursive: true, ..of_task("slow") };
    run.statuses("slow", [failed("exit-code")]);
    assert_eq!(rerun(&mut run.open(), &recursive, &act(Verb::Rerun, 0)).expect("a rerun"), 1);
    assert_eq!(closed(&run), "1=open");
    run.tick();
    assert_eq!(closed(&run), "1=closed");
    let last = run.plugins.edit(|script| script.results.last().cloned()).expect("a result");
    assert_eq!((&last["task"], &last["outcome"], &last["supersedes"]), (&json!("slow"), &badly, &well));
}

/// A plan that passes over what the run has.
fn skipping(tasks: &Value) -> Decision {
    Decision { skips_known: true, ..workflow(tasks) }
}

#[test]
fn a_task_that_is_planned_again_is_refused_or_passed_over() {
    let again = tasks(&["quick", "more", "slow"]);
    let mut run = slow_and_quick([workflow(&again), complete()]);
    run.tick();
    refused(&run, &["`quick`"]);
    assert_eq!(run.tasks(), "slow=running quick=completed");

    let mut longer = again.clone();
    longer.as_array_mut().expect("a list").push(task("hangs", json!({"depends_on": ["quick", "more"]})));
    let mut run = slow_and_quick([skipping(&longer), skipping(&longer), wait()]);
    let tick: Tick = run.tick();
    assert_eq!(tick.planned, 2, "only what is new is planned");
    run.tick();
    assert_eq!(run.tasks(), "slow=running quick=completed more=completed hangs=completed");
    run.tick();
    assert_eq!((stands(&run).0, closed(&run).as_str()), ("active", "1=open 2=closed"), "all of it is known");

    let mut changed = again;
    changed[2]["priority"] = json!(5);
    let mut run = slow_and_quick([skipping(&changed), complete()]);
    run.tick();
    refused(&run, &["`slow`"]);
    assert!(!stands(&run).2.contains("`quick`"), "{}", stands(&run).2);
    assert_eq!(run.tasks(), "slow=running quick=completed", "nor is what is new planned");
}

#[test]
fn plans_that_pass_over_known_tasks_keep_to_the_limit_of_the_run() {
    let settings = json!({"limits": {"max_tasks": 3}});
    let plans = [workflow(&tasks(&["slow", "quick"])), skipping(&tasks(&["slow", "quick", "one", "two"])), complete()];
    let mut run = begun_with(&json!({}), &settings, plans);
    run.statuses("slow", [Status::Running(None)]);
    run.tick();
    refused(&run, &["`limits.max_tasks` is 3"]);
    let plans = [workflow(&tasks(&["slow", "quick"])), skipping(&tasks(&["one", "two"])), complete()];
    let mut run = begun_with(&json!({}), &settings, plans);
    run.statuses("slow", [Status::Running(None)]);
    run.tick();
    refused(&run, &["`limits.max_tasks` is 3"]);
    let plans = [workflow(&tasks(&["slow", "quick"])), skipping(&tasks(&["slow", "quick", "one"])), wait()];
    let mut run = begun_with(&json!({}), &settings, plans);
    run.statuses("slow", [Status::Running(None)]);
    assert_eq!((run.tick().planned, stands(&run).0), (1, "active"));
}

#[test]
fn a_summary_is_kept_with_its_decision_and_shown_until_the_next() {
    let summary = |text: &str| Some(json!({"done": 1, "text": text}).to_string());
    let first = Decision { summary: summary("one"), ..workflow(&tasks(&["slow", "quick"])) };
    let mut run = begun([first, Decision { summary: summary("two"), ..wait() }]);
    run.statuses("slow", [Status::Running(None)]);
    let line = |run: &Fixture| run.open().store.run().expect("the run").summary_line();
    assert_eq!(line(&run).as_deref(), Some("one"));
    run.tick();
    assert_eq!(line(&run).as_deref(), Some("two"));
    let decisions = run.open().store.decisions().expect("decisions");
    let kept: Vec<Option<String>> = decisions.into_iter().map(|one| one.summary.and_then(|told| told.text)).collect();
    assert_eq!(kept, [Some("one".to_owned()), None, Some("two".to_owned())]);
}

#[test]
fn what_waited_for_another_try_when_a_campaign_ended_its_run_is_told_so() {
    let first = json!([
        task("slow", json!({})),
        task("flaky", json!({"retry": {"max_attempts": 3, "backoff_s": 1000}})),
        task("quick", json!({})),
    ]);
    let mut run = begun([workflow(&first), complete()]);
    run.statuses("slow", [Status::Running(None)]);
    run.statuses("flaky", [failed("exit-code")]);
    assert_eq!(run.tick_to_end().0.state.as_str(), "completed");
    assert_eq!(run.tasks(), "slow=cancelled flaky=cancelled quick=completed");
    for id in ["slow", "flaky"] {
        let why = run.open().store.task(id).expect("a task").expect("there").reason.expect("a reason");
        assert!(!why.contains("the run was cancelled"), "{id}: {why}");
    }
}

#[test]
fn a_run_that_has_ended_waits_for_no_time() {
    for end in [complete(), decision(Next::Fail(Detail::new("hopeless", "no candidate left")))] {
        let mut run = begun([workflow(&tasks(&["a"])), Decision { wake_at_ms: Some(FIRST_MS + 60_000), ..end }]);
        run.tick_to_end();
        assert_eq!(run.open().store.wake().expect("readable"), None);
    }
}
