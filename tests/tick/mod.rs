//! The tick, with scripted plugins on real store files that each tick opens anew.
mod budget;
mod life;
pub(crate) mod scripted;
mod simulation;
mod stuck;
mod trouble;
mod words;

/// What `analyze` receives of a run of one task that fails.
pub(crate) fn results_of_one_failure() -> serde_json::Value {
    let tasks = serde_json::json!([scripted::task("a", serde_json::json!({}))]);
    let mut run = scripted::Fixture::new(&serde_json::json!({}), &[tasks]);
    run.statuses("a", [scripted::failed("exit-code")]);
    run.plan().expect("a plan");
    run.tick_to_end();
    run.plugins.edit(|script| serde_json::Value::from(script.results.clone()))
}
