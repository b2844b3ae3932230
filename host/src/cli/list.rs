//! `list`: the runs there are.
use super::Session;
use super::output::{ago, print, print_json, table, tell};
use crate::failure::Failure;
use crate::model::time::Time;
use crate::workspace::listed;
use serde_json::Value;

pub(super) fn list(session: &Session, workspace: Option<&str>, label: Option<&str>) -> Result<u8, Failure> {
    let workspaces = session.workspaces()?;
    workspace.map_or(Ok(()), |workspace| workspaces.workspace(workspace).map(drop))?;
    let mut found = listed(&workspaces, workspace);
    found.retain(|run| label.is_none_or(|label| run["label"] == label));
    if session.json {
        return print_json(&found).map(|()| 0);
    }
    if found.is_empty() {
        tell(match label.or(workspace) {
            Some(_) => "there is no such run",
            None => "no run yet; `matterstack init WORKSPACE` makes one",
        });
        return Ok(0);
    }
    print(&table(&["RUN", "LABEL", "WORKSPACE", "STATE", "AGE", "TASKS ENDED", "SUMMARY"], found.iter().map(cells)))?;
    Ok(0)
}

fn cells(run: &Value) -> Vec<String> {
    let tasks = &run["tasks"];
    let ended: u64 = ["completed", "failed", "cancelled", "skipped"].iter().filter_map(|key| tasks[key].as_u64()).sum();
    let done = format!("{ended}/{}", tasks["total"].as_u64().unwrap_or(0));
    let written = |key: &str| run[key].as_str().unwrap_or_default().to_owned();
    let made = serde_json::from_value::<Time>(run["created_at"].clone()).ok().map(|at| at.0);
    let told = run["summary"]["text"].as_str().unwrap_or_default().to_owned();
    let age = made.map(ago).unwrap_or_default();
    vec![written("run_id"), written("label"), written("workspace"), written("state"), age, done, told]
}
