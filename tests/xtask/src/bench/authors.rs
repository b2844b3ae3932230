//! What the languages cost in which authors write: how large their component is, how long it takes to load, what a tick
//! costs that asks a campaign, what a plan of many tasks does, and what tasks cost that go through an operator.
use super::ground::Ground;
use super::measure::{Cost, cost};
use super::table::{say, show};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

/// Tasks that one plan makes.
const PLANS: [usize; 3] = [1, 1_000, 100_000];
/// Tasks that go through an operator.
const THROUGH: usize = 300;
/// How often a tick is made to be measured once.
const TICKS: u32 = 40;
const PATIENCE: Duration = Duration::from_secs(60);

/// A way to write plugins: a campaign that plans as many tasks as it is told, and an operator that starts them.
struct Way {
    name: &'static str,
    campaign: Plugin,
    operator: Plugin,
    /// The parameters with which the campaign plans so many tasks.
    params: fn(usize) -> Value,
    /// What a tick and an `init` after the first are held to.
    bars: [&'static str; 2],
}

/// A plugin as a configuration names it, with its text if it is a script.
type Plugin = (&'static str, Option<&'static str>);

const WAYS: [Way; 3] = [
    Way {
        name: "Rust",
        campaign: ("builtin:sweep", None),
        operator: ("builtin:compute", None),
        params: swept,
        bars: ["", ""],
    },
    Way {
        name: "Python script",
        campaign: ("campaign.py", Some(include_str!("authors/campaign.py"))),
        operator: ("robot.py", Some(include_str!("authors/robot.py"))),
        params: counted,
        bars: ["≤ 0.06 CPU s, ≤ 70 MiB", "≤ 0.3 CPU s"],
    },
    Way {
        name: "JavaScript script",
        campaign: ("campaign.js", Some(include_str!("authors/campaign.js"))),
        operator: ("robot.js", Some(include_str!("authors/robot.js"))),
        params: counted,
        bars: ["≤ 0.015 CPU s, ≤ 30 MiB", ""],
    },
];

fn counted(count: usize) -> Value {
    json!({"count": count})
}

fn swept(count: usize) -> Value {
    json!({"template": {"id": "t{n}", "command": ["/bin/true"]}, "grid": {"n": (0..count).collect::<Vec<_>>()}})
}

/// All of it, for each way.
pub(super) fn authors(ground: &Ground) -> Result<()> {
    for way in &WAYS {
        of_one(ground, way).with_context(|| way.name.to_owned())?;
    }
    Ok(())
}

fn of_one(ground: &Ground, way: &Way) -> Result<()> {
    for count in PLANS {
        workspace(ground, way, &workspace_name(way, count), &(way.params)(count), way.campaign)?;
    }
    let name = workspace_name(way, 1);
    let print =
        |what: &str, cost: Cost, more: &str| show(&format!("{}: {what}", way.name), None, ground.place, cost, more);

    // a cache of its own, in which nothing lies yet
    let cache = ground.scratch.join(format!("cache-{name}"));
    let first = ground.line(&format!("init {name} --run-id {name}-first"));
    let first = cost(&ground.scratch, &format!("XDG_CACHE_HOME='{}' {first}", cache.display()))?;
    let size = component_size(ground, &name, &format!("{name}-first"), way.campaign.0)?;
    print("init, first", first, &format!("component of {:.2} MiB", size as f64 / 1024.0 / 1024.0));
    ground.unmeasured(&["init", &name, "--run-id", &format!("{name}-warm")])?;
    print("init, then", ground.once(&format!("init {name} --run-id {name}"))?, way.bars[1]);
    print("a tick that asks the campaign", tick(ground, &name)?, way.bars[0]);
    for count in PLANS {
        let name = workspace_name(way, count);
        print(&format!("init, {count} tasks"), ground.once(&format!("init {name} --run-id {name}-planned"))?, "");
    }

    let name = format!("through-{}", slug(way));
    let params = json!({"tasks": (0..THROUGH).map(|n| json!({"id": format!("t{n}"), "operator": "local",
        "command": ["/bin/true"]})).collect::<Vec<_>>()});
    workspace(ground, way, &name, &params, ("builtin:workflow", None))?;
    ground.unmeasured(&["init", &name, "--run-id", &name])?;
    let through = ground.once(&format!("loop {name}"))?;
    let status = ground.status(&name)?;
    ensure!(status["tasks"]["completed"] == THROUGH, "{}", status["tasks"]);
    print(&format!("{THROUGH} tasks through an operator"), through, "loop");
    Ok(())
}

fn slug(way: &Way) -> String {
    way.name.to_lowercase().replace(' ', "-")
}

fn workspace_name(way: &Way, count: usize) -> String {
    format!("{}-{count}", slug(way))
}

/// Makes a workspace with this campaign and the way's operator.
fn workspace(ground: &Ground, way: &Way, name: &str, params: &Value, campaign: Plugin) -> Result<()> {
    let directory = ground.scratch.join("workspaces").join(name);
    fs::create_dir_all(&directory)?;
    for (file, text) in [campaign, way.operator] {
        if let Some(text) = text {
            fs::write(directory.join(file), text)?;
        }
    }
    let config = json!({
        "campaign": {"plugin": campaign.0, "params": params},
        "operators": {"local": {"plugin": way.operator.0, "grants": {"compute": ["local"]}}},
        "backends": {"local": {"kind": "local", "cores": super::peers::AT_ONCE}},
        "limits": {"max_tasks": 2_000_000},
    });
    Ok(fs::write(directory.join("config.json"), config.to_string())?)
}

/// Bytes of the largest component that a run holds, which is what answers for its campaign.
fn component_size(ground: &Ground, workspace: &str, run: &str, campaign: &str) -> Result<u64> {
    let plugins = ground.scratch.join("workspaces").join(workspace).join("runs").join(run).join("plugins");
    let mut largest = 0;
    for entry in fs::read_dir(&plugins).with_context(|| format!("the plugins of {campaign}"))? {
        largest = largest.max(entry?.metadata()?.len());
    }
    Ok(largest)
}

/// A tick that asks the campaign and nothing else: the one task has ended, and is known to have. Each dies before it
/// records the answer, so that the next one asks again.
fn tick(ground: &Ground, name: &str) -> Result<Cost> {
    let dies =
        format!("MATTERSTACK_FAILPOINT=analyze.after:1 {} 2>/dev/null; true", ground.line(&format!("step {name}")));
    let started = Instant::now();
    while ground.status(name)?["tasks"]["completed"] != 1 {
        ensure!(started.elapsed() < PATIENCE, "the task of `{name}` does not end");
        cost(&ground.scratch, &dies)?;
    }
    let each = ground.each_line(&dies, TICKS)?;
    if ground.status(name)?["state"] != "active" {
        say("  (a tick went on after the answer: the figure below is of something else)");
    }
    ground.unmeasured(&["cancel", name])?;
    Ok(each)
}
