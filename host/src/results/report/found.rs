//! What a reader should know before a number is believed.
use super::page::{Page, words_of};
use super::seen::Seen;
use crate::model::evidence::{Finding, Verified};
use std::io;

/// Rows of the table of files.
const ROWS: usize = 500;

/// Writes it.
pub(super) fn write(page: &mut Page<'_>, seen: &Seen, compared: Option<&(Verified, Vec<Finding>)>) -> io::Result<()> {
    let told = sentences(seen);
    if !told.is_empty() {
        page.markup("<ul>")?;
        told.iter().try_for_each(|sentence| page.element("li", &[], sentence))?;
        page.close("ul")?;
    }
    let Some((verified, findings)) = compared else {
        return page.paragraph(
            "Files were not compared with their recorded digests for this page; `matterstack evidence` does it.",
        );
    };
    page.paragraph(format!(
        "{} were compared with the SHA-256 recorded for each, outputs, logs, plugins and inputs alike: {} intact, {} \
         changed, {} missing, {} unreadable.",
        count(verified.files, "file"),
        verified.intact,
        verified.changed,
        verified.missing,
        verified.unreadable,
    ))?;
    let rows = findings.iter().take(ROWS).map(|finding| {
        let of = finding.task.as_ref().map(|task| format!("{} of task {task}", finding.kind.as_str()));
        let detail = finding.detail.clone().unwrap_or_default();
        let of = of.unwrap_or_else(|| finding.kind.as_str().to_owned());
        vec![finding.path.clone(), of, finding.integrity.as_str().to_owned(), detail]
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    let more = (verified.findings() as usize).saturating_sub(rows.len());
    page.listed("Files that are not as recorded", &["file", "what it is", "found", "more"].map(words_of), &rows, more)
}

/// What stands out in the record, a sentence each.
fn sentences(seen: &Seen) -> Vec<String> {
    let acts = |verb: &str| seen.acts.iter().filter(|act| act.verb == verb).count() as u64;
    let is_are = |number: u64| if number == 1 { "is" } else { "are" };
    let mut said = Vec::new();
    let mut say = |number: u64, sentence: &dyn Fn(u64) -> String| {
        if number > 0 {
            said.push(sentence(number));
        }
    };
    say(seen.stale, &|n| {
        format!("{} {} stale: what they came from has been changed since.", count(n, "result"), is_are(n))
    });
    say(seen.resources.total.reused, &|n| {
        format!(
            "{} ran nothing and took results of earlier attempts; the table of tasks says whose.",
            count(n, "attempt")
        )
    });
    say(seen.bad_more + seen.bad.len() as u64, &|n| {
        format!("{} failed or {} lost; see Failures.", count(n, "attempt"), if n == 1 { "was" } else { "were" })
    });
    say(seen.decisions_failed, &|n| format!("{} came to nothing; see Decisions.", count(n, "decision")));
    say(acts("amend"), &|n| format!("The run was amended after it was made ({}); see Commands.", times(n)));
    say(acts("rerun"), &|n| format!("Tasks were brought back by a person ({}); see Commands.", times(n)));
    say(acts("settle"), &|n| format!("A person said what became of an attempt ({}); see Commands.", times(n)));
    say(acts("tell"), &|n| format!("A person told the campaign results ({}); see Commands.", times(n)));
    say(acts("clean"), &|n| format!("Files were removed on purpose ({}); see Commands.", times(n)));
    say(acts("adopt"), &|n| format!("The run was taken over ({}); see Commands.", times(n)));
    let several = |all: usize| (all as u64).saturating_sub(1);
    say(several(seen.environments.len()), &|n| {
        format!("Jobs were handed in from {} environments that differ in machine or variables.", n + 1)
    });
    say(several(seen.engines.len()), &|n| format!("Decisions were carried out by {} engines.", n + 1));
    said.extend(seen.missing());
    if said.is_empty() {
        said.push("Nothing stands out in the record.".to_owned());
    }
    said
}

fn times(number: u64) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
