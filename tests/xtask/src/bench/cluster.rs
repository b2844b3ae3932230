//! The rows of a cluster: a real Slurm that the benchmark starts for itself, here and behind a real sshd.
use super::ground::{Given, Ground, Place};
use super::measure::{Cost, cost};
use super::table::{self, say};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use slurm::{Cluster, Plan};
use sshd::{HOST, Sshd, Wire};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use wait::until;

#[path = "../../../support/slurm.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod slurm;
#[path = "../../../support/sshd.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod sshd;
#[path = "../../../support/wait.rs"]
mod wait;

/// Commands of Slurm that are counted.
const CLIENTS: [&str; 4] = ["sbatch", "squeue", "sacct", "scancel"];
/// Where nothing starts, so that the queue stays as it is while it is asked.
const DOWN: &str = "PartitionName=main Nodes=ALL Default=YES State=DOWN";
/// The shortest time between two polls, and how long is waited for it to pass.
const POLL_INTERVAL_S: f64 = 0.2;
const BETWEEN_POLLS: Duration = Duration::from_millis(300);
/// Ticks after which something is wrong.
const TICKS_MAX: u32 = 100;
/// The length of the link, one way.
const DELAY: Duration = Duration::from_millis(50);
/// Tasks at the far end of it.
const FAR_TASKS: usize = 100;

fn show(what: &str, cost: Cost, more: &str) {
    table::show(what, Some(Given::File), Place::Disk, cost, more);
}

/// A cluster, and a shell that reaches it.
struct Site<'a> {
    ground: &'a Ground,
    cluster: Cluster,
    counted: PathBuf,
    /// What stands before every command of ours.
    environment: String,
}

impl<'a> Site<'a> {
    fn new(ground: &'a Ground, name: &str, plan: Plan) -> Result<Self> {
        let cluster = Cluster::start(plan);
        let counted = ground.scratch.join(name).join("calls");
        fs::create_dir_all(&counted)?;
        for client in CLIENTS {
            let script = format!("echo call >> '{}/{client}.calls'\nexec /usr/bin/{client} \"$@\"", counted.display());
            sshd::program(&counted.join(client), &script);
        }
        let (variable, conf) = cluster.environment();
        let environment = format!("export {variable}='{conf}' PATH='{}':\"$PATH\";", counted.display());
        Ok(Self { ground, cluster, counted, environment })
    }

    /// Makes a workspace with these tasks for the cluster, and a run of the same name.
    fn init(&self, name: &str, tasks: &[Value], backend: &Value) -> Result<()> {
        let directory = self.ground.scratch.join("workspaces").join(name);
        fs::create_dir_all(&directory)?;
        let lines: Vec<String> = tasks.iter().map(Value::to_string).collect();
        fs::write(directory.join("tasks.jsonl"), lines.join("\n"))?;
        let mut slurm = json!({"kind": "slurm", "poll_interval_s": POLL_INTERVAL_S});
        for (key, value) in backend.as_object().into_iter().flatten() {
            slurm[key] = value.clone();
        }
        let config = json!({
            "campaign": {"plugin": "builtin:workflow", "inputs": {"tasks": "tasks.jsonl"}},
            "operators": {"hpc": {"plugin": "builtin:compute", "grants": {"compute": ["cluster"]}}},
            "backends": {"cluster": slurm},
            "limits": {"max_active": 20_000},
        });
        fs::write(directory.join("config.json"), config.to_string())?;
        self.cost(&self.ground.line(&format!("init {name} --run-id {name}"))).map(drop)
    }

    fn cost(&self, line: &str) -> Result<Cost> {
        cost(&self.ground.scratch, &format!("{} {line}", self.environment))
    }

    /// Gives a command of ours without measuring it, and returns what it printed.
    fn unmeasured(&self, arguments: &[&str]) -> Result<String> {
        let line = format!("{} exec '{}' \"$@\"", self.environment, self.ground.program.display());
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &line, "sh"]).args(arguments).current_dir(&self.ground.scratch).stdin(Stdio::null());
        let output = shell.output().context("a shell cannot be started")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{arguments:?}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// One tick, and the calls of Slurm's commands that it made.
    fn tick(&self, run: &str) -> Result<(Cost, String)> {
        self.ticks(run, || Ok(true))
    }

    /// Ticks until something is so, since a tick ends when its time is up; what they cost together.
    fn ticks(&self, run: &str, is_so: impl Fn() -> Result<bool>) -> Result<(Cost, String)> {
        let before = self.calls();
        let line = self.ground.line(&format!("step {run}"));
        let tick = || {
            std::thread::sleep(BETWEEN_POLLS);
            self.cost(&line)
        };
        let (mut cost, mut ticks) = (tick()?, 1);
        while !is_so()? {
            ensure!(ticks < TICKS_MAX, "run `{run}` does not come so far in {TICKS_MAX} ticks");
            cost = cost.and(tick()?);
            ticks += 1;
        }
        let made = self.calls().into_iter().map(|(client, count)| (client, count - before[client]));
        let made: Vec<String> =
            made.filter(|(_, count)| *count > 0).map(|(client, count)| format!("{count} {client}")).collect();
        let made = if made.is_empty() { "no calls".to_owned() } else { made.join(", ") };
        Ok((cost, if ticks == 1 { made } else { format!("{made}, {ticks} ticks") }))
    }

    fn calls(&self) -> BTreeMap<&'static str, usize> {
        let count = |client: &str| {
            fs::read_to_string(self.counted.join(client).with_extension("calls")).unwrap_or_default().lines().count()
        };
        CLIENTS.into_iter().map(|client| (client, count(client))).collect()
    }

    fn queued(&self) -> usize {
        self.cluster.jobs("%i").len()
    }

    fn has_completed(&self, run: &str) -> Result<bool> {
        let status: Value = serde_json::from_str(&self.unmeasured(&["status", run, "--json"])?)?;
        Ok(status["state"] == "completed")
    }
}

fn tasks(count: usize) -> Vec<Value> {
    (0..count).map(|n| json!({"id": format!("t{n}"), "operator": "hpc", "command": ["/bin/true"]})).collect()
}

/// 1000 tasks to a cluster, and 10 000 that live there.
pub(super) fn slurm(ground: &Ground) -> Result<()> {
    say("slurm: 1000 tasks to a real cluster; then a tick over so many that wait there");
    let site = Site::new(ground, "slurm", Plan::default().line(DOWN))?;
    site.init("slurm-1000", &tasks(1000), &json!({}))?;
    let (ours, calls) = site.ticks("slurm-1000", || Ok(site.queued() == 1000))?;
    show("submit 1000", ours, &calls);
    let (again, calls) = site.tick("slurm-1000")?;
    show("a tick over 1000 jobs", again, &calls);
    let each = "n=0; while [ $n -lt 1000 ]; do sbatch -o /dev/null --wrap true || exit 1; n=$((n + 1)); done";
    let theirs = site.cost(each)?;
    ensure!(site.queued() == 2000, "{} jobs are in the queue", site.queued());
    show("1000 × sbatch", theirs, &format!("ours takes {:.3} of its wall time", ours.wall_s / theirs.wall_s));

    let site = Site::new(ground, "slurm-many", Plan::default().line(DOWN).line("MaxArraySize=20001"))?;
    site.init("slurm-10000", &tasks(10_000), &json!({}))?;
    let (submit, calls) = site.ticks("slurm-10000", || Ok(site.queued() == 10_000))?;
    show("submit 10 000", submit, &calls);
    site.tick("slurm-10000")?;
    let (poll, calls) = site.tick("slurm-10000")?;
    show("a tick over 10 000 jobs", poll, &calls);
    let squeue = "squeue -h -r -t all -u \"$(id -un)\" -o '%i|%F|%K|%T|%r|%S|%e|%j'";
    show("squeue", site.cost(squeue)?, "the same question, by hand");
    Ok(())
}

/// What a tick at the far end of a link was measured as.
struct Far {
    what: &'static str,
    cost: Cost,
    /// The calls of Slurm's commands.
    calls: String,
    /// Scripts that were run over there, and logins.
    scripts: usize,
    logins: usize,
    megabytes: f64,
}

/// Tasks to a cluster behind ssh: how many round trips each tick takes.
pub(super) fn ssh(ground: &Ground) -> Result<()> {
    let trip_s = 2.0 * DELAY.as_secs_f64();
    say(&format!(
        "ssh: {FAR_TASKS} tasks with a file each way, to a cluster behind ssh; round trips are the time that a link of \
         {:.0} ms adds, over those",
        trip_s * 1000.0
    ));
    let near = far(ground, "ssh-near", Duration::ZERO)?;
    let long = far(ground, "ssh-far", DELAY)?;
    for (near, long) in near.iter().zip(&long) {
        let trips = (long.cost.wall_s - near.cost.wall_s) / trip_s;
        let more = format!(
            "{}, {} scripts, {} logins, {trips:.1} round trips, {:.2} MB over the link",
            long.calls, long.scripts, long.logins, long.megabytes
        );
        show(long.what, long.cost, &more);
    }
    Ok(())
}

fn far(ground: &Ground, name: &str, delay: Duration) -> Result<Vec<Far>> {
    let site = Site::new(ground, name, Plan { cpus: 64, memory_mb: 64_000, ..Plan::default() })?;
    let (variable, conf) = site.cluster.environment();
    let sshd = Sshd::with(None, &format!("SetEnv {variable}={conf}"));
    let wire = Wire::to(sshd.address(), delay);
    let config = sshd.write_config("config", "id", wire.address(), "");
    let tasks: Vec<Value> = (0..FAR_TASKS)
        .map(|n| {
            json!({"id": format!("t{n}"), "operator": "hpc", "command": ["cp", "in", "out"], "outputs": ["out"],
                   "files": {"in": {"content": format!("{n:>1024}")}}})
        })
        .collect();
    let backend = json!({"ssh": {"host": HOST, "config": config}, "remote_root": sshd.path().join("scratch")});
    let environment = format!("export XDG_RUNTIME_DIR='{}'; {}", sshd.path().display(), site.environment);
    let site = Site { environment, ..site };
    site.init(name, &tasks, &backend)?;
    // the connection is opened before, since it outlives the process that opens it, and is measured by nobody
    site.unmeasured(&["backend", "check", "cluster", "--workspace", name])?;
    let partition = |state: &str| site.cluster.ask("scontrol", &["update", "PartitionName=main", state]);
    partition("State=DOWN");
    let queued = || site.cluster.jobs("%T").iter().filter(|state| *state == "PENDING").count();
    let measured = |what, is_so: &dyn Fn() -> Result<bool>| {
        let before = (sshd.log().matches("Starting session").count(), sshd.logins(), wire.bytes());
        let (cost, calls) = site.ticks(name, is_so)?;
        let after = (sshd.log().matches("Starting session").count(), sshd.logins(), wire.bytes());
        let megabytes = (after.2 - before.2) as f64 / 1e6;
        anyhow::Ok(Far { what, cost, calls, scripts: after.0 - before.0, logins: after.1 - before.1, megabytes })
    };
    let mut all = vec![measured("submit", &|| Ok(queued() == FAR_TASKS))?];
    all.push(measured("a tick, nothing new", &|| Ok(true))?);
    partition("State=UP");
    until("all jobs have ended", || site.cluster.jobs("%T").iter().all(|state| state == "COMPLETED"));
    all.push(measured("collect all", &|| site.has_completed(name))?);
    Ok(all)
}
