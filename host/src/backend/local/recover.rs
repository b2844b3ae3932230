//! What a supervisor finds when it starts: queue and journal, folded into what each unsettled attempt came to.
use super::record::{Entry, Process, read_lines, records, settled_at};
use crate::backend::exit::ExitRecord;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;

/// How far an attempt without an end had come.
#[derive(Debug, Clone)]
pub(super) enum Progress {
    /// Claimed in this boot: it may start.
    Claimed(String),
    /// About to be started.
    Starting(String),
    /// Seen running.
    Started(Process),
    /// Seen to end.
    Seen(ExitRecord),
}

/// What the journal says.
#[derive(Debug, Default)]
pub(super) struct Journaled {
    /// Where the unsettled part of the queue begins.
    pub(super) queue: u64,
    pub(super) open: HashMap<String, Progress>,
    /// Ended since the last time all was settled.
    pub(super) ended: Vec<String>,
}

/// Reads the journal; costs nothing if its last line says that all is settled.
pub(super) fn read_journal(journal: &File) -> io::Result<Journaled> {
    if let Some(queue) = settled_at(journal)? {
        return Ok(Journaled { queue, ..Journaled::default() });
    }
    let (lines, _) = read_lines(journal, 0)?;
    let mut state = Journaled::default();
    for entry in records::<Entry>(&lines) {
        match entry {
            Entry::Claim { boot, attempts } => {
                let claims = attempts.into_iter().map(|attempt| (attempt, Progress::Claimed(boot.clone())));
                state.open.extend(claims);
            }
            Entry::Starting { attempt } => {
                if let Some(Progress::Claimed(boot)) = state.open.get(&attempt) {
                    let starting = Progress::Starting(boot.clone());
                    state.open.insert(attempt, starting);
                }
            }
            Entry::Start { attempt, process } => {
                state.open.insert(attempt, Progress::Started(process));
            }
            Entry::Seen(record) => {
                state.open.insert(record.attempt.clone(), Progress::Seen(record));
            }
            Entry::End(record) => {
                state.open.remove(&record.attempt);
                state.ended.push(record.attempt);
            }
            Entry::Settled { queue } => state = Journaled { queue, ..Journaled::default() },
        }
    }
    Ok(state)
}

/// The attempts that ended at any time.
pub(super) fn ended_ever(journal: &File) -> io::Result<HashSet<String>> {
    let (lines, _) = read_lines(journal, 0)?;
    let ends = records::<Entry>(&lines).filter_map(|entry| match entry {
        Entry::Seen(record) | Entry::End(record) => Some(record.attempt),
        Entry::Claim { .. } | Entry::Starting { .. } | Entry::Start { .. } | Entry::Settled { .. } => None,
    });
    Ok(ends.collect())
}
