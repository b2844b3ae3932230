//! A run of a million tasks: what it costs to make it, to look at it and to take its evidence.
use super::ground::{Given, Ground, Tasks};
use super::rows::idle_costs;
use super::table::show;
use anyhow::Result;
use serde_json::json;

const COUNT: usize = 1_000_000;
/// What each command costs is measured so often; the cost of one is shown.
const LOOKS: u32 = 5;

pub(super) fn million(ground: &Ground) -> Result<()> {
    let given = Some(Given::File);
    let line = |what: &str, cost, bar: &str| show(what, given, ground.place, cost, bar);
    ground.workspace(
        "million",
        Given::File,
        &Tasks::independent(COUNT),
        &json!({"max_active": 2, "max_tasks": 2_000_000}),
    )?;
    line("init of 10^6 tasks", ground.once("init million --run-id million")?, "≤ 10 CPU s, ≤ 400 MiB");
    line("tasks, 10^6", ground.once("tasks million")?, "≤ 60 MiB");
    line("tasks --json, 10^6", ground.once("tasks million --json")?, "≤ 60 MiB");
    line("explain, 10^6", ground.each("explain million", LOOKS)?, "≤ 0.1 s");
    line("evidence, 10^6", ground.once("evidence million")?, "≤ 60 MiB");
    let (step, status) = idle_costs(ground, Given::File, COUNT)?;
    line("idle tick, 10^6 tasks", step, "≤ 0.006 CPU s, ≤ 20 MiB");
    line("status, 10^6 tasks", status, "≤ 0.005 CPU s");
    Ok(())
}
