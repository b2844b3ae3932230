//! What the pool of the machine costs.
use super::ground::{Given, Ground, Tasks};
use super::measure::{Cost, cost, median};
use super::table::show;
use anyhow::Result;
use serde_json::{Value, json};
use std::fs;

/// So many pairs: what is looked for is smaller than what differs between two runs.
const PAIRS: usize = 9;
const COUNT: usize = 1_000;

/// 1000 tasks that do nothing, with the pool and without it in turn.
pub(super) fn pool(ground: &Ground) -> Result<()> {
    let name = format!("pool-{COUNT}");
    ground.workspace(&name, Given::File, &Tasks::independent(COUNT), &json!({}))?;
    let (mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..PAIRS {
        let on = whole(ground, &name, &format!("{name}-on-{number}"), &json!({}))?;
        let off = whole(ground, &name, &format!("{name}-off-{number}"), &json!({"pool": false}))?;
        ratios.push(on.cpu_s / off.cpu_s);
        with.push(on);
        without.push(off);
    }
    ratios.sort_by(f64::total_cmp);
    let more = format!("{:.3} times that without, the median of {PAIRS} pairs; ≤ 1.02", ratios[PAIRS / 2]);
    show(&format!("{COUNT} × true, with the pool"), Some(Given::File), ground.place, median(with)?, &more);
    show(&format!("{COUNT} × true, without it"), Some(Given::File), ground.place, median(without)?, "");
    Ok(())
}

/// What a run costs on a machine of which the settings say this.
fn whole(ground: &Ground, workspace: &str, run: &str, machine: &Value) -> Result<Cost> {
    let settings = ground.scratch.join(format!("settings-{run}"));
    fs::create_dir_all(settings.join("matterstack"))?;
    fs::write(settings.join("matterstack/config.json"), json!({"machine": machine}).to_string())?;
    let measured = |arguments: &str| {
        let line = format!("XDG_CONFIG_HOME='{}' {}", settings.display(), ground.line(arguments));
        cost(&ground.scratch, &line)
    };
    let init = measured(&format!("init {workspace} --run-id {run}"))?;
    Ok(init.and(measured(&format!("loop {run}"))?))
}
