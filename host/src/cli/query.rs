//! `query`: the runs of a workspace as one database.
use super::output::{print, print_json, tell};
use super::{Session, shown};
use crate::failure::Failure;
use crate::results;
use serde_json::json;
use std::path::Path;

pub(super) fn query(session: &Session, workspace: &str, out: &Path) -> Result<u8, Failure> {
    let workspaces = session.workspaces()?;
    workspaces.workspace(workspace)?;
    let slug = workspace.trim_end_matches('/');
    let runs: Vec<_> = workspaces.runs().into_iter().filter(|(of, _)| of == slug).map(|(_, dir)| dir).collect();
    let gathered = results::gather(&runs, out)?;
    for (dir, reason) in &gathered.left_out {
        tell(&format!("warning: run `{}` is left out: {reason}", dir.address()));
    }
    gathered.unread.iter().for_each(|why| tell(&format!("warning: {why}")));
    if gathered.unread_more > 0 {
        tell(&format!("warning: {} more outputs have no fields", gathered.unread_more));
    }
    if session.json {
        let left_out: Vec<_> = gathered
            .left_out
            .iter()
            .map(|(dir, reason)| json!({"run_id": dir.id(), "path": dir.root(), "reason": reason}))
            .collect();
        let unread = gathered.unread.len() as u64 + gathered.unread_more;
        print_json(&json!({
            "path": out, "size": gathered.size, "runs": gathered.runs, "left_out": left_out, "unread": unread,
        }))?;
        return Ok(0);
    }
    print(&format!("{}: {} runs, {} bytes\n", shown(out), gathered.runs, gathered.size))?;
    Ok(0)
}
