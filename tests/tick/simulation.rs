//! A seed makes the workflow and what the outside answers; the run ends, or says who can move it.
use super::scripted::{Fixture, failed, task};
use crate::support::random::Random;
use matterstack::model::code::Code;
use matterstack::model::contract::{Detail, Found, GuestError, Status, Submitted};
use matterstack::plugin::PluginErrorKind;
use serde_json::{Value, json};

pub(super) fn workflow(random: &mut Random, iteration: usize) -> Value {
    let count = 1 + random.below(12) as usize;
    let tasks = (0..count).map(|n| {
        let depends: Vec<String> =
            (0..n).filter(|_| random.one_in(4)).map(|other| format!("i{iteration}-t{other}")).collect();
        let more = json!({
            "depends_on": depends,
            "allow_dependency_failure": random.one_in(3),
            "retry": {"max_attempts": 1 + random.below(3), "backoff_s": random.below(3), "on": {"lost": random.one_in(2)}},
        });
        task(&format!("i{iteration}-t{n}"), more)
    });
    Value::Array(tasks.collect())
}

pub(super) fn behave(run: &Fixture, id: &str, random: &mut Random) {
    let detail = || Detail::new("simulated", "simulated");
    let mut statuses = Vec::new();
    for _ in 0..random.below(4) {
        statuses.push(match random.below(8) {
            0 => Status::Queued,
            1 => Status::Running(None),
            2 => Status::waiting(Code::Scheduler, "later"),
            3 => Status::Unavailable(detail()),
            4 => Status::NotStarted(detail()),
            5 => Status::Lost(detail()),
            _ => failed("simulated"),
        });
    }
    statuses.push(if random.one_in(4) { failed("simulated") } else { Status::Succeeded });
    run.statuses(id, statuses);
    let submit = match random.below(6) {
        0 => Some(PluginErrorKind::Trap("simulated".to_owned())),
        1 => Some(PluginErrorKind::Guest(GuestError::Transient { detail: detail(), retry_after_ms: Some(10) })),
        2 => Some(PluginErrorKind::Guest(GuestError::Rejected(detail()))),
        _ => None,
    };
    let found =
        [Found::No, Found::Yes(Submitted::new("{}")), Found::Unknown { note: "{}".to_owned(), poll_after_ms: 10 }];
    run.plugins.edit(|script| {
        script.submit.insert(id.to_owned(), submit.map(Err).into_iter().collect());
        let first = found[random.below(3) as usize].clone();
        script.reconcile.insert(id.to_owned(), [first, found[random.below(2) as usize].clone()].into());
    });
}

fn simulate(seed: u64) {
    let mut random = Random::of(seed);
    let workflows: Vec<Value> = (0..1 + random.below(3) as usize).map(|n| workflow(&mut random, n)).collect();
    let settings = json!({"limits": {"max_active": 1 + random.below(5)}});
    let mut run = Fixture::new(&settings, &workflows);
    for task in workflows.iter().flat_map(|tasks| tasks.as_array().into_iter().flatten()) {
        behave(&run, task["id"].as_str().expect("an id"), &mut random);
    }
    run.plan().expect("a plan");
    for _ in 0..300 {
        run.now_ms += 4_000 * random.below(3) as i64;
        let tick = run.tick();
        if tick.state.as_str() == "completed" {
            return;
        }
        if tick.state.as_str() == "held" {
            let explained = crate::tick::explained(&run.open().store, &run.config, "r");
            assert!(
                explained.iter().any(|one| one.code == "lost" && one.command.is_some()),
                "seed {seed}: {explained:?}"
            );
            return;
        }
    }
    panic!("seed {seed}: the run neither ends nor explains itself: {}", run.tasks());
}

#[test]
fn every_run_ends_or_explains_itself() {
    for seed in 1..=150 {
        simulate(seed);
    }
}
