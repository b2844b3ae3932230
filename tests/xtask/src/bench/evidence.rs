//! What it costs to give a run to others: its bundle, what it takes to believe one, and its decisions made again.
use super::ground::{Given, Ground, Tasks};
use super::measure::{Cost, cost};
use super::table::{say, show};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Tasks of the run that is bundled.
const COUNT: usize = 10_000;
/// Tasks of the run that leaves large files, and the size of each.
const LARGE: (usize, &str) = (8, "64M");
/// Iterations of the run whose campaign computes.
const ITERATIONS: usize = 20;
/// A campaign that computes for a while before it asks for one command.
const THINKS: &str = include_str!("evidence/thinks.py");

/// The bundle of a large run, its verification, and the replay of a campaign that computes.
pub(super) fn evidence(ground: &Ground) -> Result<()> {
    bundle(ground)?;
    large_files(ground)?;
    replay(ground)
}

fn bundle(ground: &Ground) -> Result<()> {
    ground.workspace("bundled", Given::File, &Tasks::independent(COUNT), &json!({}))?;
    ground.whole_run("bundled", "whole")?;
    let written = ground.once("evidence whole --out bundle --quiet")?;
    let in_bundle = ground.scratch.join("bundle");
    let hashed = hashing(&in_bundle)?;
    let bar = format!("≤ 2 CPU s beside hashing, ≤ 60 MB; {hashed}");
    show(&format!("bundle of {COUNT} tasks"), None, ground.place, written, &bar);
    let archived = ground.once("evidence whole --archive bundle.zip --quiet")?;
    show(&format!("archive of {COUNT} tasks"), None, ground.place, archived, "");
    let verified = ground.once("evidence verify bundle")?;
    show(&format!("verify of {COUNT} tasks"), None, ground.place, verified, &hashed);
    Ok(())
}

/// What it costs sha256sum to look through a bundle.
fn hashing(bundle: &Path) -> Result<String> {
    let Cost { cpu_s, wall_s, .. } = cost(bundle, "sha256sum --check --quiet manifest-sha256.txt")?;
    Ok(format!("sha256sum of its files {cpu_s:.2} CPU s, {wall_s:.2} s"))
}

fn large_files(ground: &Ground) -> Result<()> {
    let (count, size) = LARGE;
    let task = |number| {
        let command = format!("head -c {size} /dev/urandom > large.bin");
        json!({"id": format!("t{number}"), "command": command, "outputs": ["large.bin"]})
    };
    let tasks: Vec<Value> = (0..count).map(task).collect();
    let directory = ground.scratch.join("workspaces/large");
    fs::create_dir_all(&directory)?;
    let config = json!({"campaign": {"plugin": "builtin:workflow", "params": {"tasks": tasks}}});
    fs::write(directory.join("config.json"), config.to_string())?;
    ground.whole_run("large", "with-large-files")?;
    let what = format!("{count} files of {size}");
    let written = ground.once("evidence with-large-files --out large --quiet")?;
    let hashed = hashing(&ground.scratch.join("large"))?;
    show(&format!("bundle with {what}"), None, ground.place, written, &hashed);
    let verified = ground.once("evidence verify large")?;
    show(&format!("verify of {what}"), None, ground.place, verified, &format!("≥ 80 % of its speed: {hashed}"));
    Ok(())
}

fn replay(ground: &Ground) -> Result<()> {
    let directory = ground.scratch.join("workspaces/thinks");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("thinks.py"), THINKS)?;
    let config = json!({
        "campaign": {"plugin": "thinks.py", "params": {"iterations": ITERATIONS}},
        "operators": {"local": {"plugin": "builtin:compute", "grants": {"compute": ["local"]}}},
        "backends": {"local": {"kind": "local"}},
    });
    fs::write(directory.join("config.json"), config.to_string())?;
    ground.unmeasured(&["init", "thinks", "--run-id", "thought"])?;
    let told = ground.unmeasured(&["loop", "thought", "--timings", "--json"])?;
    let ticks = serde_json::Deserializer::from_slice(&told.stdout).into_iter::<Value>();
    let decided: f64 = ticks
        .map(|tick| tick.map(|tick| tick["timings"]["decide_ms"].as_f64().unwrap_or_default()))
        .sum::<Result<f64, _>>()
        .context("the timings of ticks")?;
    ensure!(decided > 0.0, "no tick told how long its decisions took");
    let again = ground.once("replay thought")?;
    let own = decided / 1000.0;
    let bar = format!("≤ 1.2 × the campaign's own {own:.2} s: {:.2} ×; on all cores", again.cpu_s / own);
    show("replay of what was computed", None, ground.place, again, &bar);
    say("(the campaign's own is wall time of its ticks' decisions: compare on a machine that does nothing else)");
    Ok(())
}
