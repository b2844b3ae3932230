//! `fork`: a run that goes on from before a decision of another.
use super::Session;
use super::control::refuse_fixed;
use super::output::{one_line, print, print_json, tell};
use crate::failure::Failure;
use crate::model::act::Verb;
use crate::workspace::{self, ForkRequest, Forked, NewPlugin};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Files that a sentence names.
const NAMED: usize = 3;

#[derive(Debug, Args)]
pub(super) struct ForkArgs {
    /// The other run
    run: String,
    /// The number of the first decision that is not shared; one behind the last goes on where the run is now
    #[arg(long, value_name = "N")]
    at: u64,
    /// Another plugin of the campaign: a .wasm file, a script, or builtin:NAME
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Take the workspace's present copy of a pinned file
    #[arg(long = "file", value_name = "PATH")]
    files: Vec<String>,
    /// A value that the configuration has otherwise; JSON if it parses, else text; dots separate keys
    #[arg(long = "set", value_name = "K=V")]
    sets: Vec<String>,
    /// The id of the run [default: made from the time]
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// What to call the run beside its id
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) fn fork(session: &Session, arguments: &ForkArgs) -> Result<u8, Failure> {
    let parent = session.run(&arguments.run)?;
    let open = |set: &&String| !set.starts_with("campaign.seed=");
    arguments.sets.iter().filter(open).try_for_each(|set| refuse_fixed(set, parent.address()))?;
    let forked = workspace::fork(ForkRequest {
        workspaces: &session.workspaces()?,
        parent: &parent,
        at: arguments.at,
        plugin: arguments.plugin.as_deref(),
        files: &arguments.files,
        sets: &arguments.sets,
        run_id: arguments.run_id.as_deref(),
        label: arguments.label.as_deref(),
        act: workspace::act(Verb::Fork, recorded(arguments), arguments.reason.as_deref()),
    })?;
    say(session, arguments.at, &forked)
}

/// The arguments, for the record.
fn recorded(arguments: &ForkArgs) -> Value {
    let mut recorded = json!({"set": arguments.sets});
    if let Some(plugin) = &arguments.plugin {
        recorded["plugin"] = json!(plugin);
    }
    if let Some(label) = &arguments.label {
        recorded["label"] = json!(label);
    }
    if !arguments.files.is_empty() {
        recorded["file"] = json!(arguments.files);
    }
    recorded
}

fn say(session: &Session, at: u64, forked: &Forked) -> Result<u8, Failure> {
    let Forked { dir, parent, shared, plugin, missing } = forked;
    let now = plugin.as_ref().map(|NewPlugin { name, sha256, .. }| json!({"name": name, "sha256": sha256}));
    if session.json {
        print_json(&json!({
            "run_id": dir.id(), "path": dir.root(), "parent": parent, "at": at, "plugin": now, "missing": missing,
            "shared": {"decisions": shared.decisions, "tasks": shared.tasks, "open": shared.open},
        }))?;
    } else {
        print(&format!("{}\n", dir.id()))?;
    }
    tell(&format!(
        "it shares {} decision(s) and {} task(s) that have ended with run `{parent}`; {} are to run",
        shared.decisions, shared.tasks, shared.open
    ));
    if !missing.is_empty() {
        let named: Vec<String> = missing.iter().take(NAMED).map(|path| format!("`{}`", one_line(path))).collect();
        let more = if missing.len() > NAMED { ", …" } else { "" };
        tell(&format!(
            "{} file(s) of results are gone or changed there, and are not in the new run: {}{more}",
            missing.len(),
            named.join(", ")
        ));
    }
    Ok(0)
}
