//! Looks at the queue: once for all jobs, not more often than allowed, and tells what changed.
use super::accounts::Accounts;
use super::client;
use super::ledger::{Element, Row};
use super::{Client, SlurmBackend, now_ms};
use crate::model::id::AttemptId;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Attempts that are looked at when the cluster falls silent or answers again, so that the run says so.
const TOLD_OF_SILENCE: usize = 50;
/// How long a submit whose answer was lost is looked for without anybody asking, in milliseconds.
const FORGET_DOUBT_MS: i64 = 600_000;

/// The last look at the queue of one user on one cluster: all backends of a run that go there share it.
#[derive(Debug, Default)]
pub struct SharedQueue(Mutex<Option<Look>>);

/// An answer of the queue.
#[derive(Debug, Clone)]
struct Look {
    asked_ms: i64,
    answered_ms: i64,
    rows: Arc<Result<Vec<Row>, String>>,
}

impl SharedQueue {
    /// The last answer, if it is newer than what is `known` and came less than `interval` ago; otherwise asks.
    fn ask(&self, known: i64, now: i64, interval: Duration, ask: impl FnOnce() -> Result<Vec<Row>, String>) -> Look {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |at: i64| (0..interval.as_millis() as i64).contains(&(now - at));
        match &*last {
            Some(look) if look.asked_ms > known && recent(look.answered_ms) => look.clone(),
            _ => {
                let rows = Arc::new(ask());
                last.insert(Look { asked_ms: now, answered_ms: now_ms(), rows }).clone()
            }
        }
    }
}

impl SlurmBackend {
    pub(in crate::backend) fn changes(&self, cursor: Option<&str>) -> io::Result<(Vec<AttemptId>, Option<String>)> {
        let mut client = self.client();
        client.ledger.refresh()?;
        self.tell_cancels(&mut client);
        if client.ledger.head.written == 0 {
            return Ok((Vec::new(), None));
        }
        let prefix = format!("{}:", client.ledger.head.id);
        let seen = cursor.and_then(|cursor| cursor.strip_prefix(&prefix)?.parse().ok()).unwrap_or(0);
        client.seen = seen;
        let now = now_ms();
        let before = client.ledger.head.silent.is_some();
        if wants_poll(&client, now) {
            self.poll(&mut client, seen, now)?;
        }
        let silence = client.ledger.head.silent.is_some();
        let changes = client.ledger.head.changes;
        let mut elements: Vec<Element> = Vec::new();
        if changes > seen || before != silence {
            client.ledger.load()?;
            elements = client.ledger.changed_since(seen);
            if before != silence {
                elements.extend(client.ledger.some_open(TOLD_OF_SILENCE));
            }
        }
        self.forget_fetched(&mut client, &elements);
        let batches = &mut client.batches;
        let mut attempts: Vec<AttemptId> =
            elements.iter().filter_map(|e| Some(AttemptId(batches.member(e)?.attempt.clone()))).collect();
        attempts.dedup();
        Ok((attempts, Some(format!("{prefix}{changes}"))))
    }

    /// When the next look at the queue is wanted; nothing if there is nothing to look for.
    pub(in crate::backend) fn poll_after(&self) -> io::Result<Option<Duration>> {
        let mut client = self.client();
        client.ledger.refresh()?;
        let now = now_ms();
        if !wants_poll(&client, now) {
            return Ok(None);
        }
        let interval = self.poll_interval().as_millis() as i64;
        let due = client.ledger.head.polled_ms.saturating_add(interval);
        // a clock that was set back must not make the wait longer
        Ok(Some(Duration::from_millis(due.saturating_sub(now).clamp(0, interval) as u64)))
    }

    /// Asks for the queue, if the last time is long enough ago.
    pub(super) fn poll(&self, client: &mut Client, seen: u64, now: i64) -> io::Result<()> {
        let since = now - client.ledger.head.polled_ms;
        if (0..self.poll_interval().as_millis() as i64).contains(&since) {
            return Ok(());
        }
        client.ledger.load()?;
        client.accounts = Accounts::default();
        let head = &mut client.ledger.head;
        // an answer from before the last submit would say that its jobs are gone
        let known = head.submits.iter().copied().fold(head.polled_ms, i64::max);
        let look = self.queue.ask(known, now, self.poll_interval(), || client::queue(&*self.transport));
        let now = look.asked_ms;
        head.polled_ms = now;
        match &*look.rows {
            Err(silence) => head.silent = Some(silence.clone()),
            Ok(rows) => {
                head.silent = None;
                head.answered_ms = now;
                for doubt in head.doubts.values_mut() {
                    if now > doubt.since_ms {
                        doubt.answered_ms.get_or_insert(now);
                    }
                    // after a clock was set back the next look counts
                    doubt.since_ms = doubt.since_ms.min(now);
                    doubt.answered_ms = doubt.answered_ms.map(|at| at.min(now));
                }
                // by now it has been asked about; if not, the doubt comes up again
                head.doubts.retain(|_, doubt| doubt.answered_ms.is_none_or(|at| now - at < FORGET_DOUBT_MS));
                let batches = &mut client.batches;
                let ours = rows.iter().filter(|row| batches.member(&row.element).is_some()).cloned().collect();
                client.ledger.take_in(ours, seen, now, self.grace_ms());
            }
        }
        client.ledger.touch();
        client.ledger.save()
    }

    /// Hands on what is to be stopped and has not been told yet, and keeps what was learnt.
    pub(in crate::backend) fn flush(&self) -> io::Result<()> {
        let mut client = self.client();
        self.tell_cancels(&mut client);
        client.ledger.save()
    }

    /// Tells the cluster what is to be stopped, all of it together; what it does not hear is told again later.
    fn tell_cancels(&self, client: &mut Client) {
        // what the queue has not shown yet has no id, and is told once it does
        client.cancels.retain(|(_, id)| !id.is_empty());
        if !client.cancels.is_empty() && client::cancel(&*self.transport, &client.cancels).is_ok() {
            client.cancels.clear();
        }
    }
}

/// Whether there is anything to look for in the queue.
fn wants_poll(client: &Client, now: i64) -> bool {
    let head = &client.ledger.head;
    head.open > 0 || !head.doubts.is_empty() || now < head.watch_until_ms
}
