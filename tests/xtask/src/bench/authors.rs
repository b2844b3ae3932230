//! What the languages cost in which authors write: how large their component is, how long it takes to load, what a tick
//! costs that asks a campaign, what a plan of many tasks does, and what tasks cost that go through an operator.
use super::ground::Ground;
use super::measure::{Cost, cost};
use super::table::{say, show};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
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

/// How a plugin comes into a workspace.
#[derive(Debug, Clone, Copy)]
enum Plugin {
    /// Named alone.
    Standard(&'static str),
    /// A script, by its name and text.
    Script(&'static str, &'static str),
    /// The component that `plugin build` makes of a script.
    Component(&'static str, &'static str),
}

impl Plugin {
    /// As a configuration names it.
    fn name(self) -> String {
        match self {
            Self::Standard(name) | Self::Script(name, _) => name.to_owned(),
            Self::Component(script, _) => Path::new(script).with_extension("wasm").display().to_string(),
        }
    }
}

const PYTHON: [(&str, &str); 2] =
    [("campaign.py", include_str!("authors/campaign.py")), ("robot.py", include_str!("authors/robot.py"))];
const JAVASCRIPT: [(&str, &str); 2] =
    [("campaign.js", include_str!("authors/campaign.js")), ("robot.js", include_str!("authors/robot.js"))];

const WAYS: [Way; 5] = [
    Way {
        name: "Rust",
        campaign: Plugin::Standard("builtin:sweep"),
        operator: Plugin::Standard("builtin:compute"),
        params: swept,
        bars: ["", ""],
    },
    Way {
        name: "Python script",
        campaign: Plugin::Script(PYTHON[0].0, PYTHON[0].1),
        operator: Plugin::Script(PYTHON[1].0, PYTHON[1].1),
        params: counted,
        bars: ["≤ 0.06 CPU s, ≤ 70 MiB", "≤ 0.3 CPU s"],
    },
    Way {
        name: "JavaScript script",
        campaign: Plugin::Script(JAVASCRIPT[0].0, JAVASCRIPT[0].1),
        operator: Plugin::Script(JAVASCRIPT[1].0, JAVASCRIPT[1].1),
        params: counted,
        bars: ["≤ 0.015 CPU s, ≤ 30 MiB", ""],
    },
    Way {
        name: "Python component",
        campaign: Plugin::Component(PYTHON[0].0, PYTHON[0].1),
        operator: Plugin::Component(PYTHON[1].0, PYTHON[1].1),
        params: counted,
        bars: ["", ""],
    },
    Way {
        name: "JavaScript component",
        campaign: Plugin::Component(JAVASCRIPT[0].0, JAVASCRIPT[0].1),
        operator: Plugin::Component(JAVASCRIPT[1].0, JAVASCRIPT[1].1),
        params: counted,
        bars: ["", ""],
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
    let size = component_size(ground, &name, &format!("{name}-first"))?;
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
    workspace(ground, way, &name, &params, Plugin::Standard("builtin:workflow"))?;
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
    for plugin in [campaign, way.operator] {
        match plugin {
            Plugin::Standard(_) => {}
            Plugin::Script(name, text) => fs::write(directory.join(name), text)?,
            Plugin::Component(..) => {
                fs::copy(built(ground, plugin)?, directory.join(plugin.name()))?;
            }
        }
    }
    let config = json!({
        "campaign": {"plugin": campaign.name(), "params": params},
        "operators": {"local": {"plugin": way.operator.name(), "grants": {"compute": ["local"]}}},
        "backends": {"local": {"kind": "local", "cores": super::peers::AT_ONCE}},
        "limits": {"max_tasks": 2_000_000},
    });
    Ok(fs::write(directory.join("config.json"), config.to_string())?)
}

/// The component that is made of a script, once for each ground.
fn built(ground: &Ground, plugin: Plugin) -> Result<PathBuf> {
    let Plugin::Component(script, text) = plugin else { bail!("bug: nothing is built of {plugin:?}") };
    let folder = ground.scratch.join("built").join(script);
    let component = folder.join(plugin.name());
    if !component.exists() {
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(script), text)?;
        let (campaign, operator) = match script.starts_with("robot") {
            true => ("builtin:workflow".to_owned(), plugin.name()),
            false => (plugin.name(), "builtin:compute".to_owned()),
        };
        let config = json!({"campaign": {"plugin": campaign}, "operators": {"local": {"plugin": operator}}});
        fs::write(folder.join("config.json"), config.to_string())?;
        let output = ground.command(&["plugin", "build"]).arg(&folder).env("PATH", &ground.builders).output()?;
        ensure!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(component)
}

/// Bytes of the largest component that a run holds, which is what answers for its campaign.
fn component_size(ground: &Ground, workspace: &str, run: &str) -> Result<u64> {
    let plugins = ground.scratch.join("workspaces").join(workspace).join("runs").join(run).join("plugins");
    let mut largest = 0;
    for entry in fs::read_dir(&plugins).with_context(|| format!("the plugins of {run}"))? {
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
