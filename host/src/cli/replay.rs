//! `replay`: makes the decisions of a run again, and says whether they come out as recorded.
use super::Session;
use super::output::{one_line, print, print_json, tell, was_removed};
use super::report::FOUND;
use crate::evidence::read::Opened;
use crate::failure::Failure;
use crate::replay::{self, Difference};
use crate::workspace;
use serde_json::json;
use std::path::Path;

pub(super) fn replay(session: &Session, name: &str) -> Result<u8, Failure> {
    let path = Path::new(name);
    let mut archive = if path.is_file() { Some(Opened::open(path)?) } else { None };
    if let Some(archive) = &mut archive {
        archive.make_ready()?;
    }
    let dir = archive.as_ref().map_or_else(|| session.run(name), |archive| Ok(archive.dir().clone()))?;
    let replay = replay::replay(&dir, &workspace::compiler)?;
    let differing = replay.differing();
    if session.json {
        print_json(&json!({
            "run_id": dir.id(), "decisions": replay.decisions, "agreed": replay.agreed, "differing": differing,
            "left_out": replay.left_out, "removed": replay.removed, "removed_file": replay.removed_file,
            "other_engine": replay.other_engine, "first": replay.first,
        }))?;
    } else {
        print(&format!("{} decision(s) made again, {} as recorded\n", replay.decisions, replay.agreed))?;
    }
    if replay.left_out > 0 {
        let why =
            "had no answer when their time was over (`limits.plugin.plan_ms`), which says nothing about the campaign";
        tell(&format!("{} decision(s) {why}: they were left out", replay.left_out));
    }
    if let Some(file) = &replay.removed_file {
        let one = format!("`{}` {}", one_line(&file.path), was_removed(file));
        let (count, others) = (replay.removed, replay.decisions);
        tell(&format!(
            "{count} decision(s) read what is there no more and cannot be made again: {one}. Their answers stand in the record, \
             as do the digests; the other {others} need nothing of it"
        ));
    }
    if replay.other_engine > 0 {
        let what = "were made by another engine: their fuel and the wording of their errors were not compared";
        tell(&format!("{} decision(s) {what}", replay.other_engine));
    }
    let Some(first) = replay.first else { return Ok(0) };
    if !session.json {
        print(&difference(&first))?;
    }
    Ok(FOUND)
}

/// A decision that comes out otherwise, in words.
pub(super) fn difference(first: &Difference) -> String {
    let tried = if first.attempt > 1 { format!(", try {}", first.attempt) } else { String::new() };
    let at = if first.path.is_empty() { String::new() } else { format!(" at `{}`", one_line(&first.path)) };
    let script = first.script_sha256.as_deref().map(|script| format!("\n  script:   SHA-256 {script}"));
    let plugin = &first.plugin_sha256;
    format!(
        "decision {} ({}{tried}) {}: {}{at}\n  plugin:   SHA-256 {plugin}{}\n  recorded: {}\n  now:      {}\n",
        first.decision,
        first.kind.as_str(),
        first.aspect.fate(),
        first.aspect.as_str(),
        script.unwrap_or_default(),
        one_line(&first.recorded),
        one_line(&first.replayed)
    )
}
