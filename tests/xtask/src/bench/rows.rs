//! The rows: each makes its runs, measures them and prints what it found.
use super::measure::{Cost, cost};
use super::{Bench, Tasks, say, show};
use anyhow::Result;
use serde_json::json;
use std::time::Duration;

/// How often a row is measured; the median is shown.
const REPEATS: usize = 5;
/// How often a short command is called to be measured once.
const CALLS: u32 = 40;
/// Sizes of the growth curves.
const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];

/// 1000 tasks that do nothing.
pub(super) fn independent(bench: &Bench) -> Result<()> {
    say("independent: 1000 × /bin/true, 2 at once; ours from init to completed, each durable");
    bench.workspace("independent", &Tasks::independent(1000), &json!({}))?;
    let ours = bench.run_to_end("independent", REPEATS)?;
    show("matterstack", ours, &format!("{} files", bench.files("independent")));
    for peer in &bench.peers {
        let directory = peer.prepare(&bench.scratch, 1000, false, false)?;
        let theirs = bench.peer(peer, &directory, REPEATS)?;
        show(peer.name(), theirs, &format!("ours is {:.2} times its CPU seconds", ours.cpu_s / theirs.cpu_s));
    }
    Ok(())
}

/// 100 tasks, each after the one before.
pub(super) fn chain(bench: &Bench) -> Result<()> {
    say("chain: 100 × /bin/true one after the other; ours from init to completed");
    bench.workspace("chain", &Tasks { chained: true, ..Tasks::independent(100) }, &json!({}))?;
    show("matterstack", bench.run_to_end("chain", REPEATS)?, &format!("{} files", bench.files("chain")));
    for peer in bench.peers.iter().filter(|peer| peer.idle_line().is_some()) {
        let directory = peer.prepare(&bench.scratch, 100, true, false)?;
        show(peer.name(), bench.peer(peer, &directory, REPEATS)?, "");
    }
    Ok(())
}

/// A tick and a status where nothing has changed.
pub(super) fn idle(bench: &Bench) -> Result<()> {
    say("idle: 10 000 tasks in the run, two of them running, nothing to do");
    let (step, status) = idle_costs(bench, "idle", 10_000)?;
    show("matterstack step", step, "");
    show("matterstack status", status, "");
    for peer in &bench.peers {
        let Some(line) = peer.idle_line() else { continue };
        let directory = peer.prepare(&bench.scratch, 10_000, false, true)?;
        cost(&directory, line)?;
        show(peer.name(), cost(&directory, line)?, "nothing to do");
    }
    Ok(())
}

/// The cost of one tick and of one status of a run of so many tasks in which nothing changes.
fn idle_costs(bench: &Bench, row: &str, count: usize) -> Result<(Cost, Cost)> {
    let name = format!("{row}-{count}-idle");
    let tasks = Tasks { command: &["sleep", "3600"], ..Tasks::independent(count) };
    bench.workspace(&name, &tasks, &json!({"max_active": 2}))?;
    bench.unmeasured(&["init", &name, "--run-id", &name])?;
    for _ in 0..2 {
        bench.unmeasured(&["step", &name])?;
    }
    let step = bench.each(&format!("step {name}"), CALLS);
    let status = bench.each(&format!("status {name}"), CALLS);
    bench.unmeasured(&["cancel", &name])?;
    Ok((step?, status?))
}

/// From the start of the process to the answer of the first call into a plugin, with its native code cached.
pub(super) fn cold_start(bench: &Bench) -> Result<()> {
    say(
        "cold-start: a process that opens a run, loads the operator from the cache and has the answer of its first call",
    );
    bench.workspace("cold", &Tasks::independent(1), &json!({}))?;
    bench.unmeasured(&["init", "cold", "--run-id", "cold"])?;
    bench.unmeasured(&["step", "cold"])?;
    // the job has ended, and no tick has seen it: each of these sees it anew, because it dies before it records it
    std::thread::sleep(Duration::from_secs(1));
    let dies = format!("MATTERSTACK_FAILPOINT=check-status.after:1 {} 2>/dev/null; true", bench.line("step cold"));
    show("until the plugin has answered", bench.each_line(&dies, CALLS)?, "");
    bench.unmeasured(&["cancel", "cold"])?;
    show("matterstack --version", bench.each("--version", CALLS)?, "a process that does nothing");
    Ok(())
}

/// From a list of tasks to a stored workflow.
pub(super) fn plan(bench: &Bench) -> Result<()> {
    say("plan: `init` of a run of 100 000 tasks, from the list to the stored workflow");
    let count = 100_000;
    bench.workspace("plan", &Tasks::independent(count), &json!({}))?;
    bench.workspace("plan-one", &Tasks::independent(1), &json!({}))?;
    let one = cost(&bench.scratch, &bench.line("init plan-one"))?;
    let all = cost(&bench.scratch, &bench.line("init plan"))?;
    let rate = count as f64 / (all.cpu_s - one.cpu_s);
    show("matterstack init", all, &format!("{rate:.0} tasks per CPU second"));
    Ok(())
}

/// How costs grow with the size of a run.
pub(super) fn growth(bench: &Bench) -> Result<()> {
    grow(bench, &SIZES)
}

/// The same up to a million tasks.
pub(super) fn growth_to_a_million(bench: &Bench) -> Result<()> {
    grow(bench, &[&SIZES[..], &[1_000_000]].concat())
}

fn grow(bench: &Bench, sizes: &[usize]) -> Result<()> {
    say("growth: CPU ms of one idle tick and of one status, and CPU ms per task of a whole run of /bin/true");
    say("      tasks      tick    status  per task  peak MiB  run wall s");
    let mut first = None;
    for &count in sizes {
        let (step, status) = idle_costs(bench, "growth", count)?;
        let name = format!("grow-{count}");
        bench.workspace(&name, &Tasks::independent(count), &json!({"max_tasks": 2_000_000}))?;
        let whole = bench.run_to_end(&name, if count <= 1_000 { REPEATS } else { 1 })?;
        let per_task = whole.cpu_s / count as f64 * 1000.0;
        let ratio = per_task / *first.get_or_insert(per_task);
        say(&format!(
            "  {count:>9} {:>9.2} {:>9.2} {per_task:>9.3} {:>9.1} {:>11.2}  per task: {ratio:.2} times the smallest run's",
            step.cpu_s * 1000.0,
            status.cpu_s * 1000.0,
            whole.peak_mb,
            whole.wall_s,
        ));
    }
    Ok(())
}
