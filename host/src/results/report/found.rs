//! What a reader should know before a number is believed.
use super::seen::Seen;
use super::table::{table, words_of};
use crate::model::evidence::{Finding, Verified};
use minijinja::{Value, context};
use std::collections::BTreeMap;

/// Rows of the table of files.
const ROWS: usize = 500;

/// What the part is made from.
pub(super) fn view(seen: &Seen, compared: Option<&(Verified, Vec<Finding>)>) -> Value {
    let mut acts = BTreeMap::<String, u64>::new();
    seen.acts.iter().for_each(|act| *acts.entry(act.verb.clone()).or_default() += 1);
    context! {
        stale => seen.stale,
        reused => seen.resources.total.reused,
        failed => seen.bad_more + seen.bad.len() as u64,
        decisions_failed => seen.decisions_failed,
        acts,
        environments => seen.environments.len(),
        engines => seen.engines.len(),
        missing => seen.missing(),
        compared => compared.map(|(verified, findings)| files(verified, findings)),
    }
}

fn files(verified: &Verified, findings: &[Finding]) -> Value {
    let rows = findings.iter().take(ROWS).map(|finding| {
        let of = finding.task.as_ref().map(|task| format!("{} of task {task}", finding.kind.as_str()));
        let of = of.unwrap_or_else(|| finding.kind.as_str().to_owned());
        vec![
            finding.path.clone(),
            of,
            finding.integrity.as_str().to_owned(),
            finding.detail.clone().unwrap_or_default(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let more = (verified.findings() as usize).saturating_sub(rows.len());
    let columns = ["file", "what it is", "found", "more"].map(words_of);
    context! {
        files => verified.files,
        intact => verified.intact,
        changed => verified.changed,
        missing => verified.missing,
        unreadable => verified.unreadable,
        wrong => table("Files that are not as recorded", &columns, rows, more),
    }
}
