//! What it costs to go on from the middle of a run, and to try a campaign on what is known.
use super::ground::Ground;
use super::table::show;
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::fs;

/// Trials of the run, and of each virtual one.
const TRIALS: u64 = 60;
/// Virtual runs.
const SEEDS: u64 = 40;

/// A fork from the middle of a run, and virtual runs of its campaign, each of whose asks starts a shell.
pub(super) fn what_if(ground: &Ground) -> Result<()> {
    let directory = ground.scratch.join("workspaces/tried");
    fs::create_dir_all(&directory)?;
    let answer = "echo '{\"trials\": [{\"params\": {\"x\": 0.5}}]}' > trials.json";
    let config = json!({"campaign": {"plugin": "builtin:ask-tell", "params": {
        "ask": {"command": ["/bin/sh", "-c", answer]}, "tell": {"command": ["/bin/sh", "-c", "echo '{\"y\": 0.25}' > result.json"]},
        "variables": {"x": [0, 1]}, "objectives": {"y": "MINIMIZE"}, "budget": {"trials": TRIALS},
    }}});
    fs::write(directory.join("config.json"), config.to_string())?;
    ground.unmeasured(&["init", "tried", "--run-id", "tried"])?;
    ground.unmeasured(&["loop", "tried"])?;
    let forked = ground.once(&format!("fork tried --at {TRIALS} --run-id forked"))?;
    show(&format!("a fork from the middle of {TRIALS} trials"), None, ground.place, forked, "");
    let tried = ground.once(&format!("backtest tried --seeds {SEEDS}"))?;
    let first = ground.unmeasured(&["backtest", "tried", "--seeds", "1", "--json"])?.stdout;
    let first: Value = serde_json::from_slice(&first)?;
    ensure!(first[0]["trials"].as_array().is_some_and(|all| all.len() as u64 == TRIALS), "not all is known: {first}");
    show(&format!("{SEEDS} virtual runs of {TRIALS} trials, with their asks"), None, ground.place, tried, "≤ 60 CPU s");
    Ok(())
}
