//! `evidence` of a workspace: a study of all its runs.
use super::evidence::UNSIGNED;
use super::output::{one_line, print, print_json, tell};
use super::subject::LATEST;
use super::{Session, shown};
use crate::evidence::{self, Request, Study};
use crate::failure::Failure;
use crate::run::RunDir;
use serde_json::json;
use std::path::Path;

/// The workspace that a word names which names no run.
///
/// # Errors
/// If it could be either.
pub(super) fn named(session: &Session, word: &str) -> Result<Option<String>, Failure> {
    let slug = word.trim_end_matches('/');
    if slug == LATEST {
        return Ok(None);
    }
    let Ok(workspaces) = session.workspaces() else { return Ok(None) };
    if !workspaces.slugs().iter().any(|known| known == slug) {
        return Ok(None);
    }
    match session.run(word) {
        Ok(run) => Err(Failure::input(format!("`{word}` is a workspace, and names run `{}`", run.id()))
            .hint(format!("the run is `{}`, the workspace `{slug}/`", run.root().display()))),
        Err(_) => Ok(Some(slug.to_owned())),
    }
}

pub(super) fn study(
    session: &Session,
    slug: &str,
    (out, archive): (Option<&Path>, Option<&Path>),
    request: &Request<'_>,
) -> Result<u8, Failure> {
    let workspaces = session.workspaces()?;
    let own = workspaces.workspace(slug)?.join("evidence");
    let runs: Vec<_> = workspaces.runs().into_iter().filter(|(of, _)| of == slug).map(|(_, dir)| dir).collect();
    let mut findings = 0;
    let bundle = |dir: &RunDir, folder: &Path| {
        let written = evidence::write(dir, folder, request)?;
        let found = written.verified.findings();
        if found > 0 {
            tell(&one_line(&format!("warning: run `{}`: {found} file(s) are not as recorded", dir.address())));
        }
        findings += found;
        Ok(written.run)
    };
    let out = archive.or(out).unwrap_or(&own);
    let study = match archive {
        Some(file) => evidence::write_study_archive(slug, &runs, file, bundle)?,
        None => evidence::write_study(slug, &runs, out, bundle)?,
    };
    tell_what_lacks(&study);
    if session.json {
        let left_out: Vec<_> =
            study.left_out.iter().map(|(dir, reason)| json!({"run_id": dir.id(), "reason": reason})).collect();
        print_json(&json!({
            "workspace": slug, "path": out, "runs": study.runs.len(), "left_out": left_out, "rows": study.rows,
            "findings": findings, "sha256": study.sha256,
        }))?;
    } else {
        let (runs, rows) = (study.runs.len(), study.rows);
        print(&format!("{}: {runs} runs, {rows} tasks\n", shown(out)))?;
    }
    Ok(0)
}

/// Says what is not in a study, or not for good.
fn tell_what_lacks(study: &Study) {
    for run in study.runs.iter().filter(|run| !run.state.ended()) {
        tell(&format!(
            "run `{}` is {} and has not ended: its bundle says what is recorded so far",
            run.run_id, run.state
        ));
    }
    for (dir, reason) in &study.left_out {
        tell(&format!("warning: run `{}` is left out: {reason}", dir.address()));
    }
    study.unread.iter().for_each(|why| tell(&one_line(&format!("warning: no numbers in the table: {why}"))));
    if study.unread_more > 0 {
        tell(&format!("warning: and the numbers of {} more outputs are not in the table", study.unread_more));
    }
    if study.are_more {
        tell("warning: the outputs have more numbers than the table has columns; the bundles have all of them");
    }
    if study.unsigned {
        tell(UNSIGNED);
    }
}
