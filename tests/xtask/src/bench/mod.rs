//! `cargo xtask bench`: the budgets of the design, measured beside their peers in one run.
//!
//! CPU seconds count, because wall time depends on what else the machine does; the latency of a durable write is printed
//! beside the wall times. Nothing here fails because a number is missed: a benchmark shows, it does not judge.
mod cluster;
mod measure;
mod peers;
mod rows;

pub(crate) use measure::{MEASURE, measure};

use anyhow::{Context, Result, ensure};
use measure::{Cost, cost, median};
use peers::Peer;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only the rows whose name contains this text: independent, chain, idle, cold-start, plan,
    /// slurm, ssh, growth
    row: Option<String>,
    /// Add a run of a million tasks to the growth curves
    #[arg(long)]
    million: bool,
}

/// Measures the rows that were asked for and prints them.
pub(crate) fn bench(arguments: &Arguments, program: &Path) -> Result<()> {
    let bench = Bench::new(program)?;
    bench.machine()?;
    type Row = fn(&Bench) -> Result<()>;
    let growth: Row = if arguments.million { rows::growth_to_a_million } else { rows::growth };
    let rows: [(&str, Row); 8] = [
        ("independent", rows::independent),
        ("chain", rows::chain),
        ("idle", rows::idle),
        ("cold-start", rows::cold_start),
        ("plan", rows::plan),
        ("slurm", cluster::slurm),
        ("ssh", cluster::ssh),
        ("growth", growth),
    ];
    for (name, row) in rows.into_iter().filter(|(name, _)| arguments.row.as_ref().is_none_or(|r| name.contains(r))) {
        row(&bench).with_context(|| format!("row `{name}`"))?;
    }
    Ok(())
}

/// Where everything is measured: a scratch directory that goes away afterwards.
struct Bench {
    program: PathBuf,
    scratch: PathBuf,
    peers: Vec<Peer>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What is left of a scratch directory harms nobody.
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

#[expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]
fn say(text: &str) {
    println!("{text}");
}

fn show(name: &str, cost: Cost, more: &str) {
    let Cost { cpu_s, wall_s, peak_mb } = cost;
    say(&format!("  {name:<28} {cpu_s:>9.4} CPU s {wall_s:>9.4} s wall {peak_mb:>7.1} MiB  {more}"));
}

impl Bench {
    fn new(program: &Path) -> Result<Self> {
        let scratch = std::env::temp_dir().join(format!("matterstack-bench-{}", std::process::id()));
        fs::create_dir_all(scratch.join("workspaces"))?;
        let bench = Self { program: program.to_owned(), scratch, peers: peers::installed() };
        // The native code of the standard plugins is cached from here on.
        bench.workspace("warm", &Tasks::independent(1), &json!({}))?;
        bench.run_to_end("warm", 1)?;
        Ok(bench)
    }

    /// Says what the numbers were taken on.
    fn machine(&self) -> Result<()> {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let mut taken = Vec::new();
        let mut file = File::create(self.scratch.join("durable"))?;
        for _ in 0..50 {
            let start = Instant::now();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            taken.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        taken.sort_by(f64::total_cmp);
        say(&format!(
            "{} cores, load {}; a durable write of 4 KiB takes {:.2} ms (median), {:.2} ms (9 of 10)",
            std::thread::available_parallelism()?,
            load.split(' ').next().unwrap_or("unknown"),
            taken[taken.len() / 2],
            taken[taken.len() * 9 / 10],
        ));
        for missing in peers::missing(&self.peers) {
            say(&format!("peer `{missing}` is not installed and is left out"));
        }
        Ok(())
    }

    /// Makes a workspace with these tasks.
    fn workspace(&self, name: &str, tasks: &Tasks, limits: &Value) -> Result<()> {
        let directory = self.scratch.join("workspaces").join(name);
        fs::create_dir_all(&directory)?;
        tasks.write(&directory.join("tasks.jsonl"))?;
        let config = json!({
            "campaign": {"plugin": "builtin:workflow", "inputs": {"tasks": "tasks.jsonl"}},
            "operators": {"local": {"plugin": "builtin:compute", "grants": {"compute": ["local"]}}},
            "backends": {"local": {"kind": "local", "cores": 2}},
            "limits": limits,
        });
        Ok(fs::write(directory.join("config.json"), config.to_string())?)
    }

    fn line(&self, arguments: &str) -> String {
        format!("'{}' {arguments}", self.program.display())
    }

    /// Runs a command of ours without measuring it.
    fn unmeasured(&self, arguments: &[&str]) -> Result<()> {
        let output =
            Command::new(&self.program).args(arguments).current_dir(&self.scratch).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Measures a command of ours that is too short to be measured once: the cost of one of several.
    fn each(&self, arguments: &str, repeats: u32) -> Result<Cost> {
        self.each_line(&format!("{} || exit 1", self.line(arguments)), repeats)
    }

    /// The same for any shell line.
    fn each_line(&self, line: &str, repeats: u32) -> Result<Cost> {
        let line = format!("n=0; while [ $n -lt {repeats} ]; do {line}; n=$((n + 1)); done");
        let Cost { wall_s, cpu_s, peak_mb } = cost(&self.scratch, &line)?;
        let count = f64::from(repeats);
        Ok(Cost { wall_s: wall_s / count, cpu_s: cpu_s / count, peak_mb })
    }

    /// Makes a run of a workspace and drives it to its end, several times; returns the median.
    fn run_to_end(&self, workspace: &str, repeats: usize) -> Result<Cost> {
        let one = |number| {
            let run = format!("{workspace}-{number}");
            let (init, drive) = (format!("init {workspace} --run-id {run}"), format!("loop {run}"));
            cost(&self.scratch, &format!("{} && {}", self.line(&init), self.line(&drive)))
        };
        median((0..repeats).map(one).collect::<Result<_>>()?)
    }

    fn peer(&self, peer: &Peer, directory: &Path, repeats: usize) -> Result<Cost> {
        median((0..repeats).map(|_| cost(directory, peer.line())).collect::<Result<_>>()?)
    }

    fn files(&self, workspace: &str) -> usize {
        count_files(&self.scratch.join("workspaces").join(workspace).join("runs").join(format!("{workspace}-0")))
    }
}

/// The tasks of a workspace.
struct Tasks {
    count: usize,
    chained: bool,
    command: &'static [&'static str],
}

impl Tasks {
    /// Commands that do nothing, in any order.
    fn independent(count: usize) -> Self {
        Self { count, chained: false, command: &["/bin/true"] }
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for number in 0..self.count {
            let mut task = json!({"id": format!("t{number}"), "operator": "local", "command": self.command});
            if self.chained && number > 0 {
                task["depends_on"] = json!([format!("t{}", number - 1)]);
            }
            writeln!(file, "{task}")?;
        }
        Ok(file.flush()?)
    }
}

fn count_files(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries.flatten().map(|entry| if entry.path().is_dir() { count_files(&entry.path()) } else { 1 }).sum()
}
