//! The tick, with scripted plugins on real store files that each tick opens anew.
mod budget;
mod each_result;
mod life;
pub(crate) mod scripted;
mod simulation;
mod stuck;
mod trials;
mod trouble;
mod utilisation;
mod words;

use matterstack::explain::{Beside, Explanation, explain_run};
use matterstack::model::config::RunConfig;
use matterstack::store::{Store, StoreError};

/// What `analyze` receives of a run of one task that fails.
pub(crate) fn results_of_one_failure() -> serde_json::Value {
    let tasks = serde_json::json!([scripted::task("a", serde_json::json!({}))]);
    let mut run = scripted::Fixture::new(&serde_json::json!({}), &[tasks]);
    run.statuses("a", [scripted::failed("exit-code")]);
    run.plan().expect("a plan");
    run.tick_to_end();
    run.plugins.edit(|script| serde_json::Value::from(script.results.clone()))
}

/// What is said of a run and of every task of it that does not move.
pub(crate) fn explained(store: &Store, config: &RunConfig, address: &str) -> Vec<Explanation> {
    let beside = Beside { address, stopped: &[], changed: &[], at_work: false };
    let mut all = Vec::new();
    let more = explain_run(store, config, beside, u64::MAX, |one| {
        all.push(one);
        Ok::<_, StoreError>(())
    });
    assert_eq!(more.expect("an explanation"), 0);
    for most in [0, 1, 3] {
        let mut told = Vec::new();
        let more = explain_run(store, config, beside, most, |one| {
            told.push(one);
            Ok::<_, StoreError>(())
        });
        assert_eq!(told, all[..all.len().min(most as usize)], "it begins as all of it does");
        assert_eq!(more.expect("an explanation"), all.len() as u64 - told.len() as u64, "and the rest is counted");
    }
    all
}
