//! `evidence`: writes the bundle, and says what it found.
use super::output::{one_line, print, print_json, tell};
use super::{Session, shown};
use crate::evidence;
use crate::failure::{Failure, FailureKind};
use crate::workspace;
use serde_json::json;
use std::path::Path;

pub(super) fn evidence(session: &Session, name: &str, out: Option<&Path>) -> Result<u8, Failure> {
    let dir = session.run(name)?;
    if out.is_none() {
        workspace::refuse_other_user(&dir).map_err(|failure| match failure.kind {
            FailureKind::Input => failure.hint("name a place of your own with `--out DIR`"),
            _ => failure,
        })?;
    }
    let written = evidence::write(&dir, out.unwrap_or(&dir.evidence()))?;
    let run = &written.run;
    if !run.state.ended() {
        tell(&format!(
            "run `{}` is {} and has not ended: the bundle says what is recorded so far",
            run.run_id, run.state
        ));
    }
    for finding in &written.findings {
        let of = finding.task.as_ref().map(|task| format!(" of task `{task}`")).unwrap_or_default();
        let (kind, path) = (finding.kind.as_str(), &finding.path);
        tell(&one_line(&format!("warning: {kind} `{path}`{of} is {}", finding.integrity.as_str())));
    }
    let more = written.verified.findings() - written.findings.len() as u64;
    if more > 0 {
        tell(&format!("warning: and {more} more files are not as recorded; the report lists them"));
    }
    if written.withheld > 0 {
        tell(&format!(
            "{} file(s) hold a secret of their task: the bundle has their digests alone and names them under `withheld`",
            written.withheld
        ));
    }
    if session.json {
        print_json(&json!({
            "run_id": run.run_id, "path": written.document.parent(), "state": run.state, "complete": run.state.ended(),
            "sha256": written.sha256, "verified": written.verified,
        }))?;
    } else {
        print(&format!("{}\n{}\n", shown(&written.report), shown(&written.document)))?;
    }
    Ok(0)
}
