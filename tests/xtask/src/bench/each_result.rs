//! What it costs that a campaign receives each result as it comes, and is asked for a plan after it.
use super::ground::{Given, Ground, Tasks};
use super::table::show;
use anyhow::{Result, ensure};
use serde_json::json;

/// Tasks of the runs.
const COUNT: usize = 10_000;

/// The same tasks in both modes, driven to their end.
pub(super) fn each_result(ground: &Ground) -> Result<()> {
    ground.workspace("modes", Given::File, &Tasks::independent(COUNT), &json!({}))?;
    let mut per_task = Vec::new();
    for mode in ["workflow", "each-result"] {
        ground.unmeasured(&["init", "modes", "--run-id", mode, "--set", &format!("campaign.analyze={mode}")])?;
        let driven = ground.once(&format!("loop {mode}"))?;
        let status = ground.status(mode)?;
        ensure!(status["state"] == "completed" && status["tasks"]["completed"] == COUNT, "{mode}: {status}");
        let per_workflow = per_task.first().map_or(1.0, |first| driven.cpu_s / first);
        per_task.push(driven.cpu_s);
        show(
            &format!("{COUNT} × true, mode {mode}, loop: {per_workflow:.2} of mode workflow"),
            Some(Given::File),
            ground.place,
            driven,
            "≤ 1.3",
        );
    }
    Ok(())
}
