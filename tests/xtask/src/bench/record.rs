//! What the record of a task takes on the disk.
use super::ground::{Given, Ground, Tasks};
use super::measure::Cost;
use super::table::show;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;

/// Two runs are compared, so that what a run takes without any task does not count.
const FEW: usize = 200;
const MANY: usize = 2_200;

/// The database's bytes for a task with one staged file and one output, from the plan to its end.
pub(super) fn record(ground: &Ground) -> Result<()> {
    let (few, _) = ended(ground, FEW)?;
    let (many, cost) = ended(ground, MANY)?;
    let per_task = (many - few) / (MANY - FEW) as u64;
    let more = format!("{per_task} bytes a task with a file and an output; ≤ 1900");
    show(&format!("record of {MANY} tasks"), Some(Given::File), ground.place, cost, &more);
    Ok(())
}

/// The size of the database of a run of so many tasks that has ended, and what the run cost.
fn ended(ground: &Ground, count: usize) -> Result<(u64, Cost)> {
    let name = format!("record-{count}");
    ground.workspace(&name, Given::File, &Tasks::independent(1), &json!({}))?;
    let directory = ground.scratch.join("workspaces").join(&name);
    fs::create_dir_all(directory.join("scripts"))?;
    fs::write(directory.join("scripts/run.sh"), "echo \"{\\\"energy\\\": $$}\" > result.json\n")?;
    let task = |number: usize| {
        let files = json!({"run.sh": {"path": "scripts/run.sh"}});
        let task = json!({"id": format!("relax-{number:04}"), "operator": "local", "command": ["sh", "run.sh"],
                          "files": files, "outputs": ["result.json"]});
        format!("{task}\n")
    };
    fs::write(directory.join("tasks.jsonl"), (0..count).map(task).collect::<String>())?;
    let (init, driven) = ground.whole_run(&name, &name)?;
    let out = ground.scratch.join(format!("{name}.sqlite")).display().to_string();
    let told = ground.unmeasured(&["backup", &name, "--out", &out, "--json"])?;
    let told: Value = serde_json::from_slice(&told.stdout)?;
    Ok((told["size"].as_u64().context("a size")?, init.and(driven)))
}
