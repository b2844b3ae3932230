//! The rows: each makes its runs, measures them and prints what it found, with the bar that it is held to.
use super::ground::{Beside, Given, Ground, Tasks};
use super::measure::{Cost, cost, median};
use super::peers::Peer;
use super::table::{say, show};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How often a row is measured; the median is shown.
const REPEATS: usize = 5;
/// How often a row that takes seconds is.
const FEW: usize = 3;
/// How often a short command is called to be measured once.
const CALLS: u32 = 40;
/// How long runs are waited for that are made for what comes after them.
const PATIENCE: Duration = Duration::from_secs(3600);

/// 1000 and 10 000 tasks that do nothing.
pub(super) fn independent(ground: &Ground, given: Given) -> Result<()> {
    for (count, repeats, bar) in [(1_000, REPEATS, "≤ 1.12 × xargs"), (10_000, FEW, "≤ 1.08 × xargs; loop ≤ 40 MiB")]
    {
        let name = format!("independent-{}-{count}", given.name());
        ground.workspace(&name, given, &Tasks::independent(count), &json!({}))?;
        let peers = prepared(ground, &ground.peers, count, false)?;
        let beside = ground.beside(&name, &peers, repeats)?;
        let files = ground.files(&name, &format!("{name}-0"));
        show(&format!("{count} × true, init to completed"), Some(given), ground.place, beside.ours, bar);
        show(&format!("{count} × true, loop"), Some(given), ground.place, beside.driven, &format!("{files} files"));
        show_peers(ground, &format!("{count} × true"), &peers, &beside);
    }
    Ok(())
}

/// 100 tasks, each after the one before.
pub(super) fn chain(ground: &Ground, given: Given) -> Result<()> {
    let name = format!("chain-{}", given.name());
    ground.workspace(&name, given, &Tasks { chained: true, ..Tasks::independent(100) }, &json!({}))?;
    let able: Vec<Peer> = ground.peers.iter().copied().filter(|peer| peer.idle_line().is_some()).collect();
    let peers = prepared(ground, &able, 100, true)?;
    let beside = ground.beside(&name, &peers, REPEATS)?;
    show("chain of 100, init to completed", Some(given), ground.place, beside.ours, "≤ 0.25 CPU s, ≤ 0.25 s");
    show_peers(ground, "chain of 100", &peers, &beside);
    Ok(())
}

fn prepared(ground: &Ground, peers: &[Peer], count: usize, chained: bool) -> Result<Vec<(Peer, std::path::PathBuf)>> {
    peers.iter().map(|peer| Ok((*peer, peer.prepare(&ground.scratch, count, chained, false)?))).collect()
}

fn show_peers(ground: &Ground, what: &str, peers: &[(Peer, std::path::PathBuf)], beside: &Beside) {
    for ((peer, _), (theirs, ratio)) in peers.iter().zip(&beside.peers) {
        let more = format!("ours is {ratio:.2} times its CPU seconds");
        show(&format!("{what}: {}", peer.name()), None, ground.place, *theirs, &more);
    }
}

/// A tick and a status where nothing has changed.
pub(super) fn idle(ground: &Ground, given: Given) -> Result<()> {
    for count in [10, 10_000, 100_000] {
        let (step, status) = idle_costs(ground, given, count)?;
        show(&format!("idle tick, {count} tasks"), Some(given), ground.place, step, "≤ 0.006 CPU s, ≤ 20 MiB");
        show(&format!("status, {count} tasks"), Some(given), ground.place, status, "≤ 0.005 CPU s");
    }
    for peer in &ground.peers {
        let Some(line) = peer.idle_line() else { continue };
        let directory = peer.prepare(&ground.scratch, 10_000, false, true)?;
        cost(&directory, &line)?;
        show(&format!("nothing to do, 10000: {}", peer.name()), None, ground.place, cost(&directory, &line)?, "");
    }
    Ok(())
}

/// The cost of one tick and of one status of a run of so many tasks in which nothing changes: two of them run.
pub(super) fn idle_costs(ground: &Ground, given: Given, count: usize) -> Result<(Cost, Cost)> {
    let name = format!("idle-{}-{count}", given.name());
    let tasks = Tasks { command: &["sleep", "3600"], ..Tasks::independent(count) };
    ground.workspace(&name, given, &tasks, &json!({"max_active": 2, "max_tasks": 2_000_000}))?;
    ground.unmeasured(&["init", &name, "--run-id", &name])?;
    for _ in 0..2 {
        ground.unmeasured(&["step", &name])?;
    }
    let step = ground.each(&format!("step {name}"), CALLS);
    let status = ground.each(&format!("status {name}"), CALLS);
    ground.unmeasured(&["cancel", &name])?;
    Ok((step?, status?))
}

/// What a task costs in a large run, against what it costs in a small one.
pub(super) fn per_task(ground: &Ground, given: Given) -> Result<()> {
    const SMALL: usize = 100;
    const LARGE: usize = 100_000;
    let whole = |count: usize, repeats: usize| {
        let name = format!("per-task-{}-{count}", given.name());
        ground.workspace(&name, given, &Tasks::independent(count), &json!({}))?;
        let one = |number| ground.whole_run(&name, &format!("{name}-{number}")).map(|(init, driven)| init.and(driven));
        median((0..repeats).map(one).collect::<Result<_>>()?)
    };
    let (small, large) = (whole(SMALL, 2 * REPEATS)?, whole(LARGE, 1)?);
    let each = |cost: Cost, count: usize| Cost {
        cpu_s: cost.cpu_s / count as f64,
        wall_s: cost.wall_s / count as f64,
        ..cost
    };
    let (small, large) = (each(small, SMALL), each(large, LARGE));
    show(&format!("a task of {SMALL} × true"), Some(given), ground.place, small, "");
    let ratio = format!("{:.2} times a task of {SMALL}; ≤ 1.2", large.cpu_s / small.cpu_s);
    show(&format!("a task of {LARGE} × true"), Some(given), ground.place, large, &ratio);
    Ok(())
}

/// A tick of a new process, with one local job to ask about, after few and after many that have ended.
pub(super) fn after(ground: &Ground) -> Result<()> {
    let mut few = None;
    for count in [10, 100_000] {
        let name = format!("after-{count}");
        let tasks = Tasks { one_stays: true, ..Tasks::independent(count) };
        ground.workspace(&name, Given::File, &tasks, &json!({}))?;
        ground.unmeasured(&["init", &name, "--run-id", &name])?;
        drive_until(ground, &name, count)?;
        ground.unmeasured(&["step", &name])?;
        let step = ground.each(&format!("step {name}"), CALLS);
        ground.unmeasured(&["cancel", &name])?;
        let step = step?;
        let first = *few.get_or_insert(step.cpu_s);
        let more = format!("{:.2} times that after 10; the same", step.cpu_s / first);
        show(&format!("step after {count} local jobs"), Some(Given::File), ground.place, step, &more);
    }
    Ok(())
}

/// Stops the process it holds: a run goes on without it.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets a `loop` drive a run until so many tasks are completed.
fn drive_until(ground: &Ground, run: &str, count: usize) -> Result<()> {
    let mut drive = ground.command(&["loop", run]);
    let mut driver = Driver(drive.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("loop")?);
    let started = Instant::now();
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let status = ground.status(run)?;
        if completed(&status) >= count as u64 {
            return Ok(());
        }
        if let Some(ended) = driver.0.try_wait()? {
            anyhow::bail!("`loop {run}` ended too early ({ended}): {}", status["tasks"]);
        }
        anyhow::ensure!(started.elapsed() < PATIENCE, "`loop {run}` takes too long: {}", status["tasks"]);
    }
}

fn completed(status: &Value) -> u64 {
    status["tasks"]["completed"].as_u64().unwrap_or(0)
}

/// From the start of the process to the answer of the first call into a plugin, with its native code cached.
pub(super) fn cold_start(ground: &Ground) -> Result<()> {
    ground.workspace("cold", Given::File, &Tasks::independent(1), &json!({}))?;
    ground.unmeasured(&["init", "cold", "--run-id", "cold"])?;
    ground.unmeasured(&["step", "cold"])?;
    // the job has ended, and no tick has seen it: each of these sees it anew, because it dies before it records it
    let record = ground.scratch.join("workspaces/cold/runs/cold/operators/local");
    let started = Instant::now();
    while !exit_recorded(&record) {
        anyhow::ensure!(started.elapsed() < Duration::from_secs(60), "the job does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let dies = format!("MATTERSTACK_FAILPOINT=check-status.after:1 {} 2>/dev/null; true", ground.line("step cold"));
    show("cold start, to a plugin's answer", None, ground.place, ground.each_line(&dies, CALLS)?, "≤ 0.005 CPU s");
    let still: Value = ground.status("cold")?;
    if completed(&still) > 0 {
        say("  (a tick went on after the answer: the figure above is too high)");
    }
    show("matterstack --version", None, ground.place, ground.each("--version", CALLS)?, "a process that does nothing");
    ground.unmeasured(&["cancel", "cold"])?;
    Ok(())
}

/// What a call of a plugin costs, where no job is started: two hundred forms are put to people, each with two calls of
/// an operator.
pub(super) fn calls(ground: &Ground) -> Result<()> {
    const COUNT: usize = 200;
    let limits = json!({"max_active": 2 * COUNT});
    ground.workspace("calls", Given::File, &Tasks { asked: true, ..Tasks::independent(COUNT) }, &limits)?;
    let mut costs = Vec::new();
    for number in 0..FEW {
        let run = format!("calls-{number}");
        ground.unmeasured(&["init", "calls", "--run-id", &run])?;
        // a tick does what its budget allows
        let mut whole = ground.once(&format!("step {run}"))?;
        let mut ticks = 1;
        while ground.status(&run)?["tasks"]["pending"] != 0 {
            anyhow::ensure!(ticks < 100, "not everybody was asked in {ticks} ticks");
            whole = whole.and(ground.once(&format!("step {run}"))?);
            ticks += 1;
        }
        costs.push(whole);
        ground.unmeasured(&["cancel", &run])?;
    }
    let step = median(costs)?;
    let each = format!("{:.0} µs for each call, files and database included", step.cpu_s / COUNT as f64 / 2.0 * 1e6);
    show(&format!("{COUNT} forms, put to people"), Some(Given::File), ground.place, step, &each);
    Ok(())
}

fn exit_recorded(attempts: &std::path::Path) -> bool {
    let entries = std::fs::read_dir(attempts).into_iter().flatten().flatten();
    entries.into_iter().any(|attempt| attempt.path().join("exit.json").exists())
}

/// From a list of tasks to a stored workflow.
pub(super) fn plan(ground: &Ground, given: Given) -> Result<()> {
    let count = 100_000;
    let name = |count: usize| format!("plan-{}-{count}", given.name());
    for count in [1, count] {
        ground.workspace(&name(count), given, &Tasks::independent(count), &json!({}))?;
    }
    let one = ground.once(&format!("init {}", name(1)))?;
    let all = ground.once(&format!("init {}", name(count)))?;
    let rate = count as f64 / (all.cpu_s - one.cpu_s);
    let more = format!("{rate:.0} tasks per CPU second; ≥ 50000, ≤ 400 MiB");
    show(&format!("init of {count} tasks"), Some(given), ground.place, all, &more);
    Ok(())
}
