//! Where rows are measured: a scratch directory in a place, with the workspaces and the runs in it.
use super::measure::{Cost, cost, median};
use super::peers::{self, Peer};
use super::table::say;
use crate::project::Project;
use crate::tools;
use anyhow::{Context, Result, ensure};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Place {
    /// A tmpfs, where a durable write costs nothing
    #[value(name = "tmpfs")]
    Memory,
    /// The file system of the target directory
    Disk,
}

impl Place {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "tmpfs",
            Self::Disk => "disk",
        }
    }
}

/// How a campaign is given its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Given {
    /// In the parameters of config.json
    Inline,
    /// By an input file
    File,
}

impl Given {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::File => "file",
        }
    }
}

/// A scratch directory, which goes away afterwards.
pub(super) struct Ground {
    pub(super) place: Place,
    pub(super) program: PathBuf,
    pub(super) scratch: PathBuf,
    pub(super) peers: Vec<Peer>,
    /// Python with the optimisers that the slow tests install, if they have.
    pub(super) optimisers: Option<PathBuf>,
    /// The `PATH` for `plugin build`.
    pub(super) builders: OsString,
    /// The workspace of measured solar cells.
    pub(super) solar_cells: PathBuf,
}

impl Drop for Ground {
    fn drop(&mut self) {
        // What is left of a scratch directory harms nobody.
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

/// What tells how fast a core is beside what else the machine does: without the start of the interpreter.
const YARDSTICK: &str = "import time
start, s = time.process_time(), 0.0
for i in range(3_000_000): s += (i % 7) * 0.5
print(time.process_time() - start)";

impl Ground {
    pub(super) fn new(project: &Project, place: Place) -> Result<Self> {
        let parent = match place {
            Place::Memory => PathBuf::from("/dev/shm"),
            Place::Disk => project.target.clone(),
        };
        let kind = statfs(&parent).with_context(|| format!("`{}`", parent.display()))?.filesystem_type();
        let wanted = place == Place::Memory;
        ensure!((kind == TMPFS_MAGIC) == wanted, "`{}` is not on {}", parent.display(), place.name());
        let scratch = parent.join(format!("matterstack-bench-{}", std::process::id()));
        fs::create_dir_all(scratch.join("workspaces"))?;
        let python = project.target.join("tools/optimisers/bin/python");
        let ground = Self {
            place,
            program: project.matterstack(),
            scratch,
            peers: peers::installed(),
            optimisers: python.exists().then_some(python),
            builders: tools::with_builders(project),
            solar_cells: project.root.join("workspaces/solar_cells_ask_tell"),
        };
        // The native code of the standard plugins is cached from here on.
        ground.workspace("warm", Given::File, &Tasks::independent(1), &json!({}))?;
        ground.whole_run("warm", "warm")?;
        Ok(ground)
    }

    /// Says what the numbers were taken on.
    pub(super) fn machine(&self) -> Result<()> {
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
            "{} cores, load {}; a durable write of 4 KiB on {} takes {:.2} ms (median), {:.2} ms (9 of 10)",
            std::thread::available_parallelism()?,
            load.split(' ').next().unwrap_or("unknown"),
            self.place.name(),
            taken[taken.len() / 2],
            taken[taken.len() * 9 / 10],
        ));
        let mut loops = Vec::new();
        for _ in 0..3 {
            let output = Command::new("python3").args(["-c", YARDSTICK]).output().context("python3")?;
            loops.push(String::from_utf8_lossy(&output.stdout).trim().parse::<f64>().context("python3's own time")?);
        }
        loops.sort_by(f64::total_cmp);
        say(&format!(
            "a loop of 3 million turns takes python3 {:.3} CPU s; the budgets are for a core that takes 0.136",
            loops[loops.len() / 2]
        ));
        Ok(())
    }

    /// Makes a workspace with these tasks.
    pub(super) fn workspace(&self, name: &str, given: Given, tasks: &Tasks, limits: &Value) -> Result<()> {
        let directory = self.scratch.join("workspaces").join(name);
        fs::create_dir_all(&directory)?;
        let mut config = json!({
            "campaign": {"plugin": "builtin:workflow"},
            "operators": {"local": {"plugin": "builtin:compute", "grants": {"compute": ["local"]}}},
            "backends": {"local": {"kind": "local", "cores": peers::AT_ONCE}},
            "limits": limits,
        });
        if tasks.asked {
            config["operators"] = json!({"local": {"plugin": "builtin:human"}});
        }
        match given {
            Given::Inline => config["campaign"]["params"] = json!({"tasks": tasks.all().collect::<Vec<_>>()}),
            Given::File => {
                config["campaign"]["inputs"] = json!({"tasks": "tasks.jsonl"});
                tasks.write(&directory.join("tasks.jsonl"))?;
            }
        }
        Ok(fs::write(directory.join("config.json"), config.to_string())?)
    }

    /// A shell's line that gives a command of ours.
    pub(super) fn line(&self, arguments: &str) -> String {
        format!("'{}' {arguments}", self.program.display())
    }

    /// A command of ours, not started yet.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.scratch).stdin(Stdio::null());
        command
    }

    /// Runs a command of ours without measuring it.
    pub(super) fn unmeasured(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.command(arguments).output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output)
    }

    /// What `status --json` says of a run.
    pub(super) fn status(&self, run: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&self.unmeasured(&["status", run, "--json"])?.stdout)?)
    }

    /// What one command of ours costs.
    pub(super) fn once(&self, arguments: &str) -> Result<Cost> {
        cost(&self.scratch, &self.line(arguments))
    }

    /// Measures a command of ours that is too short to be measured once: the cost of one of several.
    pub(super) fn each(&self, arguments: &str, repeats: u32) -> Result<Cost> {
        self.each_line(&format!("{} || exit 1", self.line(arguments)), repeats)
    }

    /// The same for any shell line. What the shell costs is not subtracted: it is the fork.
    pub(super) fn each_line(&self, line: &str, repeats: u32) -> Result<Cost> {
        let line = format!("n=0; while [ $n -lt {repeats} ]; do {line}; n=$((n + 1)); done");
        let Cost { wall_s, cpu_s, peak_mb } = cost(&self.scratch, &line)?;
        let count = f64::from(repeats);
        Ok(Cost { wall_s: wall_s / count, cpu_s: cpu_s / count, peak_mb })
    }

    /// Makes a run of a workspace and drives it to its end: what `init` and `loop` cost.
    pub(super) fn whole_run(&self, workspace: &str, run: &str) -> Result<(Cost, Cost)> {
        let init = self.once(&format!("init {workspace} --run-id {run}"))?;
        Ok((init, self.once(&format!("loop {run}"))?))
    }

    /// The same several times, each between one go of every peer, so that all had the same machine: our cost, that of
    /// `loop` alone, and for each peer its cost and the median of what ours is over it.
    pub(super) fn beside(&self, workspace: &str, peers: &[(Peer, PathBuf)], repeats: usize) -> Result<Beside> {
        let (mut ours, mut loops) = (Vec::new(), Vec::new());
        let mut theirs: Vec<Vec<Cost>> = vec![Vec::new(); peers.len()];
        for number in 0..repeats {
            let (init, driven) = self.whole_run(workspace, &format!("{workspace}-{number}"))?;
            ours.push(init.and(driven));
            loops.push(driven);
            for ((peer, directory), costs) in peers.iter().zip(&mut theirs) {
                costs.push(cost(directory, &peer.line())?);
            }
        }
        let ratio = |costs: &[Cost]| {
            let mut all: Vec<f64> = ours.iter().zip(costs).map(|(ours, theirs)| ours.cpu_s / theirs.cpu_s).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let ratios: Vec<f64> = theirs.iter().map(|costs| ratio(costs)).collect();
        let peers = theirs.into_iter().map(median).collect::<Result<Vec<Cost>>>()?.into_iter().zip(ratios).collect();
        Ok(Beside { ours: median(ours)?, driven: median(loops)?, peers })
    }

    /// How many files a run has left.
    pub(super) fn files(&self, workspace: &str, run: &str) -> usize {
        count_files(&self.scratch.join("workspaces").join(workspace).join("runs").join(run))
    }
}

/// Costs that were measured in turns.
pub(super) struct Beside {
    pub(super) ours: Cost,
    /// `loop` alone.
    pub(super) driven: Cost,
    /// Each peer's, and how many times its CPU seconds ours are.
    pub(super) peers: Vec<(Cost, f64)>,
}

/// The tasks of a workspace.
#[derive(Clone, Copy)]
pub(super) struct Tasks {
    pub(super) count: usize,
    /// Each after the one before.
    pub(super) chained: bool,
    pub(super) command: &'static [&'static str],
    /// One more at the end, which goes on for longer than anything is measured.
    pub(super) one_stays: bool,
    /// Of people, and no command is run.
    pub(super) asked: bool,
}

impl Tasks {
    /// Commands that do nothing, in any order.
    pub(super) fn independent(count: usize) -> Self {
        Self { count, chained: false, command: &["/bin/true"], one_stays: false, asked: false }
    }

    fn all(&self) -> impl Iterator<Item = Value> {
        let task = |id: String, command: &[&str]| json!({"id": id, "operator": "local", "command": command});
        let many = (0..self.count).map(move |number| {
            let mut task = task(format!("t{number}"), self.command);
            if self.asked {
                task["input"] = json!({"instructions": "?"});
            }
            if self.chained && number > 0 {
                task["depends_on"] = json!([format!("t{}", number - 1)]);
            }
            task
        });
        many.chain(self.one_stays.then(|| task("stays".to_owned(), &["sleep", "3600"])))
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for task in self.all() {
            writeln!(file, "{task}")?;
        }
        Ok(file.flush()?)
    }
}

fn count_files(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries.flatten().map(|entry| if entry.path().is_dir() { count_files(&entry.path()) } else { 1 }).sum()
}
