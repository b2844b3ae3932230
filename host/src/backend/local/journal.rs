//! What a supervisor did, one line each; and what the next one reads from it: what each unsettled attempt came to.
use super::record::{Entry, Process, TORN, ends_whole, line, open_own, read_lines, records, settled_at};
use crate::backend::exit::ExitRecord;
use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

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

/// The journal of a backend. A crash while a line is appended leaves a torn one, which the next append closes.
pub(super) struct Journal {
    file: File,
    torn: bool,
}

impl Journal {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = open_own(OpenOptions::new().read(true).append(true).create(true), path)?;
        let torn = !ends_whole(&file)?;
        Ok(Self { file, torn })
    }

    pub(super) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        if self.torn {
            self.file.write_all(TORN)?;
        }
        self.torn = true;
        self.file.write_all(&line(entry)?)?;
        self.torn = false;
        Ok(())
    }

    /// Makes what was appended durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Reads the whole; costs nothing if its last line says that all is settled.
    pub(super) fn read(&self) -> io::Result<Journaled> {
        if let Some(queue) = settled_at(&self.file)? {
            return Ok(Journaled { queue, ..Journaled::default() });
        }
        let (lines, _) = read_lines(&self.file, 0)?;
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
    pub(super) fn ended_ever(&self) -> io::Result<HashSet<String>> {
        let (lines, _) = read_lines(&self.file, 0)?;
        let ends = records::<Entry>(&lines).filter_map(|entry| match entry {
            Entry::Seen(record) | Entry::End(record) => Some(record.attempt),
            Entry::Claim { .. } | Entry::Starting { .. } | Entry::Start { .. } | Entry::Settled { .. } => None,
        });
        Ok(ends.collect())
    }
}
