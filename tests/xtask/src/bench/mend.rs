//! What it costs to mend and to grow a large run.
use super::ground::{Given, Ground, Tasks};
use super::table::show;
use anyhow::Result;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;

/// Tasks of the run.
const COUNT: usize = 100_000;
/// Tasks that are added to it.
const ADDED: usize = 20;

/// One task of a large run is amended, and twenty are added to it.
pub(super) fn mend(ground: &Ground) -> Result<()> {
    let given = Some(Given::File);
    ground.workspace("mend", Given::File, &Tasks::independent(COUNT), &json!({"max_active": 2}))?;
    let first = ground.once("init mend --run-id mend")?;
    show(&format!("first plan of {COUNT} tasks"), given, ground.place, first, "");
    let amended = ground.each("amend mend task t777 resources.walltime_s=$((60 + n))", 5)?;
    show(&format!("amend of one task of {COUNT}"), given, ground.place, amended, "≤ 0.05 CPU s");
    let mut list = OpenOptions::new().append(true).open(ground.scratch.join("workspaces/mend").join("tasks.jsonl"))?;
    for number in 0..ADDED {
        writeln!(list, "{}", json!({"id": format!("added{number}"), "operator": "local", "command": ["/bin/true"]}))?;
    }
    let grown = ground.once("amend mend file tasks.jsonl")?;
    let ratio = format!("{:.2} times the first plan; ≤ 1.2", grown.cpu_s / first.cpu_s);
    show(&format!("{ADDED} tasks added to {COUNT}"), given, ground.place, grown, &ratio);
    Ok(())
}
