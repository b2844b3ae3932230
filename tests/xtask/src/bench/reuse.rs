//! What it costs to take the results of an earlier run in place of computing them.
use super::ground::{Given, Ground, Tasks};
use super::table::show;
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::fs;

/// Tasks of the run, each with one output.
const COUNT: usize = 10_000;

/// A run all of whose tasks take what an earlier one left, from `init` to its end.
pub(super) fn reuse(ground: &Ground) -> Result<()> {
    ground.workspace("reuse", Given::File, &Tasks::independent(1), &json!({}))?;
    let directory = ground.scratch.join("workspaces/reuse");
    let task = |number: usize| {
        let command = format!("echo {number} > a.dat");
        format!(
            "{}\n",
            json!({"id": format!("t{number}"), "command": ["/bin/sh", "-c", command], "outputs": ["a.dat"]})
        )
    };
    fs::write(directory.join("tasks.jsonl"), (0..COUNT).map(task).collect::<String>())?;
    ground.whole_run("reuse", "earlier")?;
    let init = ground.once("init reuse --run-id later --reuse earlier")?;
    let driven = ground.once("loop later")?;
    let attempt: Value = serde_json::from_slice(&ground.unmeasured(&["attempts", "later", "t0", "--json"])?.stdout)?;
    ensure!(attempt[0]["reused"]["run"] == "earlier", "nothing was taken: {attempt}");
    show(&format!("{COUNT} results taken, loop"), Some(Given::File), ground.place, driven, "≤ 3 CPU s with init");
    show(
        &format!("{COUNT} results taken, init to completed"),
        Some(Given::File),
        ground.place,
        init.and(driven),
        "≤ 3 CPU s",
    );
    Ok(())
}
