//! A store that is closed, copied as after a kill, and opened again at every point loses nothing.
use super::{Place, act, advance, everything, everything_at, new_attempt, planned, why};
use matterstack::model::act::Verb;
use matterstack::model::config::Journal;
use matterstack::model::contract::Reads;
use matterstack::model::evidence::DecisionKind;
use matterstack::model::states::{AttemptState, RunState, TaskState};
use matterstack::store::{Came, Durability, FormerState, NewConfig, NewDecision, Store, StoreError, Writer};
use serde_json::json;

type Work = Box<dyn Fn(&Store, &Writer<'_>) -> Result<(), StoreError>>;

fn work(work: impl Fn(&Store, &Writer<'_>) -> Result<(), StoreError> + 'static) -> Work {
    Box::new(work)
}

fn to_attempt(id: &'static str, to: AttemptState) -> Work {
    work(move |store, writer| {
        let attempt = store.attempt(id)?.expect("an attempt");
        advance(writer, &attempt, to)
    })
}

fn to_task(id: &'static str, from: TaskState, to: TaskState) -> Work {
    work(move |store, writer| {
        let key = store.task(id)?.expect("a task").key;
        let reason = (to != TaskState::Completed && to != TaskState::Running).then(why);
        writer.set_task_state(key, (from, to), reason.as_ref(), 70)
    })
}

fn to_run(from: RunState, to: RunState) -> Work {
    work(move |_, writer| writer.set_run_state(from, to, Some(&why()), 80))
}

/// Records a decision that left this state.
fn decide(writer: &Writer<'_>, number: u64, kind: DecisionKind, state: &str) -> Result<(), StoreError> {
    let digest = "ab".repeat(32);
    let new = NewDecision {
        number,
        kind,
        iteration: 1,
        now_ms: 9,
        plugin_sha256: &digest,
        engine: &matterstack::plugin::this_engine(),
        former: (number > 1).then_some(FormerState { number: number - 1, text: "{\"s\":1}" }),
        asked: &[],
        open_tasks: 0,
        supplied: None,
        finished: (kind == DecisionKind::Analyze).then_some("[]"),
        input_sha256: &digest,
        fuel: 12,
        reads: &Reads::default(),
        written: &[],
    };
    let came = Came::Answer {
        state,
        rest: "{}",
        next: (kind == DecisionKind::Plan).then_some("workflow"),
        reason: "because",
        summary: None,
        output_sha256: &digest,
    };
    writer.add_decision(&new, came)
}

/// Every kind of change, in an order in which all are legal.
fn life() -> Vec<Work> {
    use AttemptState::{Completed, Lost, Prepared, Running, Submitted, Submitting, WaitingExternal};
    let mut all = vec![
        work(|_, writer| writer.supply(Some("{\"approved\":true}"))),
        work(|_, writer| {
            decide(writer, 1, DecisionKind::Plan, "{\"s\":1}")?;
            let tasks =
                json!([{"id": "a"}, {"id": "b", "depends_on": ["a"]}, {"id": "c"}, {"id": "d", "depends_on": ["c"]}]);
            writer.add_workflow(1, 1, &planned(&tasks, &|_| false), 10)
        }),
    ];
    for (task, way) in [
        (
            "a",
            vec![Prepared, Submitting, Prepared, Submitting, Submitted, Running, WaitingExternal, Running, Completed],
        ),
        ("c", vec![Prepared, Submitting, Lost]),
    ] {
        all.push(to_task(task, TaskState::Pending, TaskState::Running));
        all.push(work(move |store, writer| {
            writer.create_attempt(&new_attempt(task, store.task(task)?.expect("a task").key, 1), 20).map(|_| ())
        }));
        all.extend(way.into_iter().map(|to| to_attempt(task, to)));
    }
    all.extend([
        to_task("a", TaskState::Running, TaskState::Completed),
        work(|store, writer| writer.set_retry(store.task("c")?.expect("a task").key, 900, 90, &why())),
        work(|store, writer| writer.clear_retry(store.task("c")?.expect("a task").key)),
        to_task("c", TaskState::Running, TaskState::Failed),
        work(|store, writer| {
            writer.rerun(&[store.task("c")?.expect("a task").key], false, "a person", 100).map(|_| ())
        }),
        to_task("c", TaskState::Pending, TaskState::Cancelled),
        to_task("b", TaskState::Pending, TaskState::Cancelled),
        work(|_, writer| writer.set_cursor("local", "123")),
        work(|store, writer| {
            let last = store.task("d")?.expect("a task").key;
            decide(writer, 2, DecisionKind::Analyze, "{\"s\":2}")?;
            writer.deliver(1, last, 2)
        }),
        work(|_, writer| writer.close_workflow(1, 110)),
        work(|_, writer| {
            let act = writer.add_act(&act(Verb::Amend, 120))?;
            writer.set_config(NewConfig { text: "{\"x\":1}", plugins: &[] }, act)
        }),
        work(|_, writer| writer.set_identity(&super::identity(5, 6), 7, 130)),
        to_run(RunState::Active, RunState::Paused),
        to_run(RunState::Paused, RunState::Active),
        to_run(RunState::Active, RunState::Held),
        to_run(RunState::Held, RunState::Active),
        work(|_, writer| writer.set_result("{\"best\":1}")),
        to_run(RunState::Active, RunState::Completed),
    ]);
    all
}

#[test]
fn what_is_committed_is_there_after_every_kind_of_end() {
    for (journal, durability) in
        [(Journal::Wal, Durability::Full), (Journal::Wal, Durability::Lazy), (Journal::Rollback, Durability::Lazy)]
    {
        let place = Place::new(journal);
        let mut before = everything_at(&place.path());
        for (step, work) in life().iter().enumerate() {
            let reader = place.open();
            let mut store = place.open();
            store.transaction(durability, |writer| work(&reader, writer)).expect("a legal step");
            let after = everything(&store);
            assert!(after != before, "step {step} changes something");
            // What a process that is killed now leaves on the disk.
            let copy = tempfile::tempdir().expect("a scratch directory");
            for entry in std::fs::read_dir(place.directory.path()).expect("files").flatten() {
                std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("a copy");
            }
            drop((store, reader));
            assert_eq!(everything_at(&place.path()), after, "step {step}: closed and opened again");
            let killed = Store::open(&copy.path().join("state.sqlite"), (journal, false), |_| true).expect("it opens");
            assert_eq!(everything(&killed), after, "step {step}: killed and opened again");
            before = after;
        }
        let run = place.open().run().expect("the run");
        assert_eq!((run.state, run.result.as_deref()), (RunState::Completed, Some("{\"best\":1}")));
        assert_eq!(
            (run.identity, run.user_id, run.supplied),
            (super::identity(5, 6), 7, None),
            "a plan uses up what was supplied"
        );
        assert_eq!(place.open().check_invariants().expect("a readable store"), Vec::<String>::new());
    }
}

#[test]
fn an_error_inside_a_transaction_leaves_the_state_before_it() {
    for (step, work) in life().iter().enumerate().take(3) {
        let place = Place::new(Journal::Wal);
        for earlier in &life()[..step] {
            let reader = place.open();
            place.write(|writer| earlier(&reader, writer)).expect("a legal step");
        }
        let before = everything_at(&place.path());
        let reader = place.open();
        let result = place.write(|writer| {
            work(&reader, writer)?;
            Err::<(), _>(StoreError::Row("no".to_owned()))
        });
        assert!(matches!(result, Err(StoreError::Row(_))));
        drop(reader);
        assert_eq!(everything_at(&place.path()), before);
    }
}

#[test]
fn a_snapshot_does_not_move_while_others_write() {
    let place = Place::new(Journal::Wal);
    let reader = Store::read(&place.path()).expect("a readable store");
    let counted = reader.snapshot(|view| {
        let before = view.run()?;
        place.plan(1, &json!([{"id": "a"}]));
        let mut tasks = 0;
        view.each_task(|_| {
            tasks += 1;
            Ok::<_, StoreError>(())
        })?;
        assert_eq!(view.run()?, before);
        Ok::<_, StoreError>(tasks)
    });
    assert_eq!(counted.expect("a readable store"), 0);
    assert_eq!(reader.task_counts().expect("counts").total, 1, "afterwards the new task is there");
}

#[test]
fn a_rerun_of_all_that_one_task_gathers_costs_what_they_are() {
    let place = super::Place::new(Journal::Wal);
    let ids: Vec<String> = (0..6_000).map(|n| format!("t{n}")).collect();
    let mut tasks: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
    tasks.push(json!({"id": "gather", "depends_on": ids}));
    place.plan(1, &serde_json::Value::Array(tasks));
    let keys: Vec<i64> = place.open().tasks(None, None).expect("tasks").iter().map(|task| task.key).collect();
    let start = crate::support::thread_cpu_s();
    place
        .write(|writer| {
            for key in &keys[..6_000] {
                writer.set_task_state(*key, (TaskState::Pending, TaskState::Cancelled), Some(&why()), 20)?;
            }
            Ok(())
        })
        .expect("cancelled");
    assert_eq!(place.write(|writer| writer.rerun(&keys[..6_000], false, "again", 30)).expect("a rerun"), 6_001);
    // counting what `gather` waits for once for each of them would take minutes
    let spent_s = crate::support::thread_cpu_s() - start;
    assert!(spent_s < 10.0, "{spent_s} s of processor time");
    assert_eq!(place.open().check_invariants().expect("a readable store"), Vec::<String>::new());
}
