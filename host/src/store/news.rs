//! What a person is told without asking: each thing at most once.
use super::{Store, StoreError, Writer};
use crate::model::code::Word;
use rusqlite::{Params, Row};
use serde::Serialize;

/// What a piece of news is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// The run was held or has ended.
    Run,
    /// A task begins to wait for somebody outside, or for approval.
    Waits,
    /// A task failed, and no attempt follows.
    Failed,
    /// A task has waited for long.
    Lasts,
}

/// Something a person may want to be told.
#[derive(Debug, Clone)]
pub struct News {
    /// What it is about.
    pub topic: Topic,
    /// The task; absent: the news is of the run.
    pub task: Option<String>,
    /// The state of the run, the kind of thing the task waits for, or the word for why it failed.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
    /// Since when it waits, in milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// The directory of the attempt that asks, relative to the run's.
    pub directory: Option<String>,
    /// Of what lasts: the attempt or the approval, by its id.
    subject: Option<String>,
}

impl News {
    /// The state as a word, where it is one.
    pub fn word(&self) -> Option<Word> {
        Word::from_stored(&self.state)
    }
}

/// What there is to tell.
#[derive(Debug)]
pub struct Found {
    /// The news, oldest first, of each topic.
    pub news: Vec<News>,
    /// How many more there are of some topic, which are not told.
    pub more: bool,
    /// The row of the history up to which that reaches.
    upto: i64,
}

/// The most news of a topic in one tick.
const NEWS_MAX: u32 = 1_000;

const OF_RUN: &str = "SELECT NULL, r.state, r.reason, NULL, NULL, NULL FROM history h JOIN run r ON r.state = h.to_state \
     WHERE h.seq > (SELECT notified_seq FROM run) AND h.kind = 'run' AND h.to_state IN ('held', 'completed', 'failed', \
     'cancelled') LIMIT ?1";
const OF_FAILED: &str = "SELECT t.task_id, coalesce(t.reason_code, 'failed'), t.reason, NULL, NULL, NULL FROM history h JOIN \
     tasks t ON t.task_id = h.subject WHERE h.seq > (SELECT notified_seq FROM run) AND h.kind = 'task' AND \
     h.to_state = 'failed' AND t.state = 'failed' AND t.allow_failure = 0 LIMIT ?1";
const OF_WAITS: &str = "SELECT t.task_id, a.waits_for, a.reason, a.created_at_ms, a.directory, NULL FROM history h JOIN attempts a \
     ON a.attempt_id = h.subject JOIN tasks t ON t.task_key = a.task_key WHERE h.seq > (SELECT notified_seq FROM run) AND \
     h.kind = 'attempt' AND h.to_state = 'waiting_external' AND a.state = 'waiting_external' AND \
     a.waits_for IN ('person', 'kit', 'instrument') LIMIT ?1";
const OF_APPROVALS: &str = "SELECT t.task_id, 'approval', t.reason, p.asked_ms, NULL, NULL FROM approvals p JOIN tasks t ON \
     t.task_key = p.task_key WHERE p.state = 'asked' AND p.told = 0 AND t.state = 'running' AND \
     t.reason_code = 'approval' LIMIT ?1";
// Jobs that ran already and wait once more are left out: nobody knows since when.
const OF_LONG: &str = "SELECT t.task_id, coalesce(a.waits_for, 'scheduler'), a.reason, a.created_at_ms, a.directory, a.attempt_id \
     FROM attempts a JOIN tasks t ON t.task_key = a.task_key WHERE a.ended_at_ms IS NULL AND (a.state = 'waiting_external' OR \
     (a.state = 'submitted' AND a.flips = 0)) AND a.created_at_ms <= ?2 AND a.attempt_id NOT IN (SELECT subject FROM told_waits) \
     LIMIT ?1";
const OF_LONG_APPROVALS: &str = "SELECT t.task_id, 'approval', t.reason, p.asked_ms, NULL, p.approval FROM approvals p JOIN tasks t \
     ON t.task_key = p.task_key WHERE p.state = 'asked' AND t.state = 'running' AND t.reason_code = 'approval' AND \
     p.asked_ms <= ?2 AND p.approval NOT IN (SELECT subject FROM told_waits) LIMIT ?1";
const OF_LOST: &str = "SELECT t.task_id, 'lost', t.reason, a.ended_at_ms, NULL, a.attempt_id FROM tasks t JOIN attempts a ON \
     a.task_key = t.task_key WHERE t.state = 'running' AND t.reason_code = 'lost' AND a.ended_at_ms <= ?2 AND a.number = \
     (SELECT max(b.number) FROM attempts b WHERE b.task_key = t.task_key) AND a.attempt_id NOT IN \
     (SELECT subject FROM told_waits) LIMIT ?1";

impl Writer<'_> {
    /// Records that a person is being told of all this.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_told(&self, found: &Found) -> Result<(), StoreError> {
        self.connection.execute("UPDATE run SET notified_seq = ?1", [found.upto])?;
        self.connection.execute("UPDATE approvals SET told = 1 WHERE state = 'asked' AND told = 0", [])?;
        let mut keep = self.connection.prepare_cached("INSERT OR IGNORE INTO told_waits (subject) VALUES (?1)")?;
        for subject in found.news.iter().filter_map(|news| news.subject.as_ref()) {
            keep.execute([subject])?;
        }
        Ok(())
    }
}

impl Store {
    /// What has happened since a person was last told, and still holds, and what has waited since before `late_ms`, in
    /// milliseconds since the epoch, and was not told to last.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn news(&self, late_ms: i64) -> Result<Found, StoreError> {
        let upto = self.connection.query_row("SELECT coalesce(max(seq), 0) FROM history", [], |row| row.get(0))?;
        let mut found = Found { news: Vec::new(), more: false, upto };
        for (topic, query) in
            [(Topic::Run, OF_RUN), (Topic::Failed, OF_FAILED), (Topic::Waits, OF_WAITS), (Topic::Waits, OF_APPROVALS)]
        {
            self.add_news(&mut found, topic, query, [NEWS_MAX + 1])?;
        }
        for query in [OF_LONG, OF_LONG_APPROVALS, OF_LOST] {
            self.add_news(&mut found, Topic::Lasts, query, (NEWS_MAX + 1, late_ms))?;
        }
        Ok(found)
    }

    fn add_news(&self, found: &mut Found, topic: Topic, query: &str, given: impl Params) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(query)?;
        let of = |row: &Row<'_>| {
            Ok(News {
                topic,
                task: row.get(0)?,
                state: row.get(1)?,
                reason: row.get(2)?,
                since_ms: row.get(3)?,
                directory: row.get(4)?,
                subject: row.get(5)?,
            })
        };
        let mut news = statement.query_map(given, of)?.collect::<Result<Vec<_>, _>>()?;
        found.more |= news.len() > NEWS_MAX as usize;
        news.truncate(NEWS_MAX as usize);
        found.news.extend(news);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{OF_APPROVALS, OF_FAILED, OF_LONG, OF_LONG_APPROVALS, OF_LOST, OF_WAITS};
    use crate::store::migrate::tests::reads_some;

    #[test]
    fn news_is_found_without_reading_all_there_was() {
        [OF_FAILED, OF_WAITS, OF_APPROVALS, OF_LONG, OF_LONG_APPROVALS, OF_LOST].into_iter().for_each(reads_some);
    }
}
