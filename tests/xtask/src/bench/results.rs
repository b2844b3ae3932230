//! What it costs to take results out: the table of a large run, and the list of many runs.
use super::ground::{Given, Ground, Tasks};
use super::table::show;
use anyhow::{Result, ensure};
use serde_json::json;
use std::process::Command;

/// Tasks of the run of which a table is printed.
const COUNT: usize = 100_000;
/// Tasks of the run of which a page is made.
const REPORTED: usize = 10_000;
/// Runs that are listed.
const RUNS: usize = 1000;

/// The table of a run of many tasks that have ended, and the list of many runs.
pub(super) fn results(ground: &Ground) -> Result<()> {
    ground.workspace("results", Given::File, &Tasks::independent(COUNT), &json!({}))?;
    ground.whole_run("results", "results")?;
    let table = ground.once("table results --format csv")?;
    show(&format!("table of {COUNT} tasks"), None, ground.place, table, "≤ 1.5 CPU s, 50 MB");
    let ended = ground.once("table results --json")?;
    show(&format!("table of {COUNT} tasks, JSON"), None, ground.place, ended, "");

    ground.workspace("reported", Given::File, &Tasks::independent(REPORTED), &json!({}))?;
    ground.whole_run("reported", "reported")?;
    let report = ground.once("report reported")?;
    show(&format!("report of {REPORTED} tasks"), None, ground.place, report, "≤ 1 CPU s");
    let query = ground.once("query reported --out reported.db")?;
    show(&format!("query of {REPORTED} tasks"), None, ground.place, query, "≤ 1.5 CPU s, 60 MB");

    ground.workspace("listed", Given::File, &Tasks::independent(3), &json!({}))?;
    ground.whole_run("listed", "run-0")?;
    let copy =
        format!("cd workspaces/listed/runs && for n in $(seq {}); do cp -r run-0 run-$n || exit 1; done", RUNS - 1);
    let copied = Command::new("sh").args(["-c", &copy]).current_dir(&ground.scratch).status()?;
    ensure!(copied.success(), "the runs cannot be copied");
    let list = ground.once("list listed")?;
    show(&format!("list of {RUNS} runs"), None, ground.place, list, "≤ 0.4 CPU s");
    let again = ground.once("list listed")?;
    show(&format!("list of {RUNS} runs, again"), None, ground.place, again, "≤ 0.1 CPU s");
    Ok(())
}
