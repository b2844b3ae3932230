//! What it costs that a program of the user's own decides, and what a Bayesian one finds.
use super::ground::{Ground, Place};
use super::measure::Cost;
use super::table::{say, show};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Asks of the run, one for each trial.
const ASKS: u64 = 5000;
/// The early ask that the last is held to.
const EARLY: u64 = 50;
/// Asks of a short and of a long loop: what lies between is the cost of asks, without that of a beginning and an end,
/// which tells all trials.
const SHORT: u64 = 20;
const LONG: u64 = 120;
/// Measurements that BoTorch has.
const TRIALS: u64 = 30;
const BOTORCH: &str = include_str!("botorch_ask.py");

/// The 50th ask and the 5000th, and the room that the run takes then.
pub(super) fn ask_tell(ground: &Ground) -> Result<()> {
    let directory = ground.scratch.join("workspaces/asked");
    fs::create_dir_all(&directory)?;
    let answer = "echo '{\"trials\": [{\"params\": {\"x\": 0.5}}]}' > trials.json";
    let config = json!({"campaign": {"plugin": "builtin:ask-tell", "params": {
        "ask": {"command": ["/bin/sh", "-c", answer]}, "tell": {"command": ["/bin/sh", "-c", "echo '{\"y\": 0.25}' > result.json"]},
        "variables": {"x": [0, 1]}, "objectives": {"y": "MINIMIZE"}, "budget": {"trials": EARLY},
    }}});
    fs::write(directory.join("config.json"), config.to_string())?;
    ground.unmeasured(&["init", "asked", "--run-id", "asked"])?;
    ground.unmeasured(&["loop", "asked"])?;
    let early = each_after(ground, EARLY)?;
    up_to(ground, ASKS - SHORT - LONG)?;
    let late = each_after(ground, ASKS - SHORT - LONG)?;
    let status = ground.status("asked")?;
    ensure!(status["state"] == "completed" && status["result"]["asks"] == ASKS, "{}", status["state"]);
    show(&format!("an ask and its trial, the {EARLY}th"), None, ground.place, early, "");
    let ratio = format!("{:.2} times that; ≤ 2", late.cpu_s / early.cpu_s);
    show(&format!("an ask and its trial, the {ASKS}th"), None, ground.place, late, &ratio);
    let run = directory.join("runs/asked");
    let (store, inputs) = (fs::metadata(run.join("state.sqlite"))?.len(), size(&run.join("inputs"))?);
    let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    say(&format!("  its store has {:.0} MiB and its inputs {:.0} MiB; ≤ 200 MiB together", mib(store), mib(inputs)));
    Ok(())
}

/// What each ask costs with its trial once there are so many.
fn each_after(ground: &Ground, trials: u64) -> Result<Cost> {
    let short = up_to(ground, trials + SHORT)?;
    let long = up_to(ground, trials + SHORT + LONG)?;
    let each = |long: f64, short: f64| (long - short) / (LONG - SHORT) as f64;
    let (wall_s, cpu_s) = (each(long.wall_s, short.wall_s), each(long.cpu_s, short.cpu_s));
    Ok(Cost { wall_s, cpu_s, peak_mb: long.peak_mb })
}

/// Lets the run go on up to so many trials.
fn up_to(ground: &Ground, trials: u64) -> Result<Cost> {
    ground.unmeasured(&["amend", "asked", "config", &format!("campaign.params.budget.trials={trials}")])?;
    ground.once("loop asked")
}

/// Bytes of the files below a folder.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// The measured solar cells with BoTorch: what it finds, beside what as many blends at random would.
pub(super) fn botorch(ground: &Ground) -> Result<()> {
    let python = ground.optimisers.as_deref().context("`cargo xtask test --slow` installs BoTorch, and has not yet")?;
    let directory = ground.scratch.join("workspaces/solar_cells_ask_tell");
    let copied =
        Command::new("cp").arg("-r").arg(&ground.solar_cells).arg(ground.scratch.join("workspaces")).status()?;
    ensure!(copied.success(), "the workspace cannot be copied");
    fs::write(directory.join("scripts/ask.py"), BOTORCH)?;
    let data = Command::new(python).arg("get_data.py").current_dir(&directory).output()?;
    ensure!(data.status.success(), "the data cannot be had: {}", String::from_utf8_lossy(&data.stderr));
    let ask = format!("campaign.params.ask.python=\"{}\"", python.display());
    let trials = format!("campaign.params.budget.trials={TRIALS}");
    let setup = "backends.local.setup=[]";
    let init = ["init", "solar_cells_ask_tell", "--run-id", "solar", "--set", &ask, "--set", &trials, "--set", setup];
    ground.unmeasured(&init)?;
    let cost = ground.once("loop solar")?;
    let status = ground.status("solar")?;
    let result = &status["result"];
    let (best, asks) = (&result["best"]["result"]["degradation"], result["asks"].as_u64().unwrap_or(1));
    let measured = fs::read_to_string(directory.join("data/measured.csv"))?;
    let rows = measured.lines().skip(1).filter_map(|row| row.rsplit(',').next()?.trim().parse::<f64>().ok());
    let mut all: Vec<f64> = rows.collect();
    all.sort_by(f64::total_cmp);
    ensure!(status["state"] == "completed" && best.is_number(), "{status}");
    let rank = all.iter().filter(|one| Value::from(**one).as_f64() < best.as_f64()).count() + 1;
    // the best of so many at random is as good as the one at this place in the median
    let random = all.get((all.len() as f64 * (1.0 - 0.5_f64.powf(1.0 / TRIALS as f64))) as usize);
    let each = Cost { wall_s: cost.wall_s / asks as f64, cpu_s: cost.cpu_s / asks as f64, peak_mb: cost.peak_mb };
    show("BoTorch, an ask and its trials", None, Place::Disk, each, &format!("{asks} asks for {TRIALS} trials"));
    let random = random.copied().unwrap_or_default();
    say(&format!("  best degradation {best}, number {rank} of {}; at random {random} in the median", all.len()));
    Ok(())
}
