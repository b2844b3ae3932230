//! What the journal says of live attempts, kept in memory and brought up to date from where it was read last.
use super::record::{Entry, Order, Process, read_lines, records};
use crate::backend::exit::ExitRecord;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;

/// Where an attempt stands.
#[derive(Debug, Clone)]
pub(super) enum State {
    Queued,
    Claimed,
    Started(Process),
    Ended(ExitRecord),
}

/// The journal from some offset on.
#[derive(Debug, Default)]
pub(super) struct Index {
    offset: Option<u64>,
    attempts: HashMap<String, State>,
}

impl Index {
    /// Behind the last line read.
    pub(super) fn offset(&self) -> u64 {
        self.offset.unwrap_or(0)
    }

    pub(super) fn get(&self, attempt: &str) -> Option<&State> {
        self.attempts.get(attempt)
    }

    pub(super) fn holds(&self, attempt: &str) -> bool {
        self.attempts.contains_key(attempt)
    }

    pub(super) fn forget(&mut self, attempt: &str) {
        self.attempts.remove(attempt);
    }

    /// The attempts that started or ended behind `from`, each once, in the order of their first change.
    pub(super) fn changes(&mut self, journal: Option<&File>, from: u64) -> io::Result<Vec<String>> {
        let Some(journal) = journal else { return Ok(Vec::new()) };
        let from = if from <= journal.metadata()?.len() { from } else { 0 };
        self.read(journal, from)
    }

    /// Reads what was added; all of it if no cursor was given yet.
    pub(super) fn refresh(&mut self, journal: &File) -> io::Result<()> {
        self.read(journal, self.offset.unwrap_or(0))?;
        Ok(())
    }

    /// Reads all of it, and what the queue holds besides.
    pub(super) fn read_all(&mut self, journal: Option<&File>, queue: Option<&File>) -> io::Result<()> {
        if let Some(queue) = queue {
            let (lines, _) = read_lines(queue, 0)?;
            for order in records::<Order>(&lines) {
                if let Order::Submit(job) = order {
                    self.attempts.entry(job.attempt).or_insert(State::Queued);
                }
            }
        }
        if let Some(journal) = journal {
            self.read(journal, 0)?;
        }
        Ok(())
    }

    fn read(&mut self, journal: &File, from: u64) -> io::Result<Vec<String>> {
        let (lines, end) = read_lines(journal, from)?;
        let mut seen = HashSet::new();
        let mut changed = Vec::new();
        let mut note = |attempt: &str| {
            if seen.insert(attempt.to_owned()) {
                changed.push(attempt.to_owned());
            }
        };
        for entry in records::<Entry>(&lines) {
            match entry {
                Entry::Claim { attempts, .. } => {
                    for attempt in attempts {
                        let state = self.attempts.entry(attempt).or_insert(State::Claimed);
                        if matches!(state, State::Queued) {
                            *state = State::Claimed;
                        }
                    }
                }
                Entry::Starting { .. } | Entry::Seen(_) | Entry::Settled { .. } => {}
                Entry::Start { attempt, process } => {
                    note(&attempt);
                    self.attempts.insert(attempt, State::Started(process));
                }
                Entry::End(record) => {
                    note(&record.attempt);
                    self.attempts.insert(record.attempt.clone(), State::Ended(record));
                }
            }
        }
        self.offset = Some(end);
        Ok(changed)
    }
}
