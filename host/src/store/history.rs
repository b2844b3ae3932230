//! The append-only history.
use super::{Store, StoreError, Writer};
use crate::model::evidence::HistoryRecord;
use crate::model::time::Time;
use rusqlite::Row;
use std::borrow::Cow;

/// What a row of the history is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    /// The run, by its id.
    Run(&'a str),
    /// A task, by its id.
    Task(&'a str),
    /// An attempt, by its id.
    Attempt(&'a str),
    /// The workflow of an iteration.
    Workflow(u32),
    /// The directory that is the run.
    Directory,
}

impl Subject<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Task(_) => "task",
            Self::Attempt(_) => "attempt",
            Self::Workflow(_) => "workflow",
            Self::Directory => "config",
        }
    }

    fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Run(id) | Self::Task(id) | Self::Attempt(id) => Cow::Borrowed(id),
            Self::Workflow(iteration) => Cow::Owned(iteration.to_string()),
            Self::Directory => Cow::Borrowed("directory"),
        }
    }
}

impl Writer<'_> {
    /// Adds one row to the history: what went from one state to another, or came to be in one.
    pub(super) fn record(
        &self,
        at_ms: i64,
        subject: Subject<'_>,
        (from, to): (Option<&str>, &str),
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO history (at_ms, kind, subject, from_state, to_state, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((at_ms, subject.kind(), subject.name(), from, to, reason))?;
        Ok(())
    }
}

impl Store {
    /// The history, oldest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn history(&self) -> Result<Vec<HistoryRecord>, StoreError> {
        let mut all = Vec::new();
        self.each_transition(|row| {
            all.push(row);
            Ok::<_, StoreError>(())
        })?;
        Ok(all)
    }

    /// Hands over every transition, oldest first.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_transition<E: From<StoreError>>(
        &self,
        each: impl FnMut(HistoryRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT seq, at_ms, kind, subject, from_state, to_state, reason FROM history ORDER BY seq";
        let map = |row: &Row<'_>| {
            Ok(HistoryRecord {
                seq: row.get(0)?,
                at: Time(row.get(1)?),
                kind: row.get(2)?,
                subject: row.get(3)?,
                from: row.get(4)?,
                to: row.get(5)?,
                reason: row.get(6)?,
            })
        };
        self.each(sql, map, each)
    }
}
