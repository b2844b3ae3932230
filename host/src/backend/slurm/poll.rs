//! Looks at the queue: once for all jobs, not more often than allowed, and tells what changed.
use super::accounts::Accounts;
use super::commands;
use super::ledger::Element;
use super::rows::{Row, Shown};
use super::{Memory, SlurmBackend};
use crate::backend::clock::Clock;
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
    fn ask(
        &self,
        known: i64,
        clock: &Clock,
        interval: Duration,
        ask: impl FnOnce() -> Result<Vec<Row>, String>,
    ) -> Look {
        let now = clock.now_ms();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |at: i64| (0..interval.as_millis() as i64).contains(&(now - at));
        match &*last {
            Some(look) if look.asked_ms > known && recent(look.answered_ms) => look.clone(),
            _ => {
                let rows = Arc::new(ask());
                last.insert(Look { asked_ms: now, answered_ms: clock.now_ms(), rows }).clone()
            }
        }
    }
}

impl SlurmBackend {
    pub(in crate::backend) fn changes(&self, cursor: Option<&str>) -> io::Result<(Vec<AttemptId>, Option<String>)> {
        let mut memory = self.memory();
        memory.ledger.refresh()?;
        self.tell_cancels(&mut memory);
        if memory.ledger.head.written == 0 {
            return Ok((Vec::new(), None));
        }
        let prefix = format!("{}:", memory.ledger.head.id);
        let seen = cursor.and_then(|cursor| cursor.strip_prefix(&prefix)?.parse().ok()).unwrap_or(0);
        memory.seen = seen;
        let now = self.clock.now_ms();
        let before = memory.ledger.head.silent.is_some();
        if wants_poll(&memory, now) {
            self.poll(&mut memory, seen, now)?;
        }
        let silence = memory.ledger.head.silent.is_some();
        let changes = memory.ledger.head.changes;
        let mut elements: Vec<Element> = Vec::new();
        if changes > seen || before != silence {
            memory.ledger.load()?;
            elements = memory.ledger.changed_since(seen);
            if before != silence {
                elements.extend(memory.ledger.some_open(TOLD_OF_SILENCE));
            }
        }
        self.forget_fetched(&mut memory, &elements);
        let arrays = &mut memory.arrays;
        let mut attempts: Vec<AttemptId> =
            elements.iter().filter_map(|e| Some(AttemptId(arrays.member(e)?.attempt.clone()))).collect();
        attempts.dedup();
        Ok((attempts, Some(format!("{prefix}{changes}"))))
    }

    /// When the next look at the queue is wanted; nothing if there is nothing to look for.
    pub(in crate::backend) fn poll_after(&self) -> io::Result<Option<Duration>> {
        let mut memory = self.memory();
        memory.ledger.refresh()?;
        let now = self.clock.now_ms();
        if !wants_poll(&memory, now) {
            return Ok(None);
        }
        let interval = self.poll_interval().as_millis() as i64;
        let due = memory.ledger.head.polled_ms.saturating_add(interval);
        // a clock that was set back must not make the wait longer
        Ok(Some(Duration::from_millis(due.saturating_sub(now).clamp(0, interval) as u64)))
    }

    /// Asks for the queue, if the last time is long enough ago.
    pub(super) fn poll(&self, memory: &mut Memory, seen: u64, now: i64) -> io::Result<()> {
        let since = now - memory.ledger.head.polled_ms;
        if (0..self.poll_interval().as_millis() as i64).contains(&since) {
            return Ok(());
        }
        memory.ledger.load()?;
        memory.accounts = Accounts::default();
        let head = &mut memory.ledger.head;
        // an answer from before the last submit would say that its jobs are gone
        let known = head.submits.iter().copied().fold(head.polled_ms, i64::max);
        let look = self.queue.ask(known, &self.clock, self.poll_interval(), || commands::queue(&*self.transport));
        let now = look.asked_ms;
        head.polled_ms = now;
        match &*look.rows {
            Err(silence) => head.silent = Some(silence.clone()),
            Ok(rows) => {
                head.silent = None;
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
                let limits = head.limits;
                let arrays = &mut memory.arrays;
                let mut shown = Shown::of(rows, limits, |element| arrays.member(element).is_some());
                for (array, number) in std::mem::take(&mut shown.rests) {
                    let doubted = memory.ledger.head.doubts.contains_key(&array);
                    let count = arrays.members(&array).filter(|_| doubted).unwrap_or_default().len() as u32;
                    let id = |index| format!("{number}_{index}");
                    let element = |index| Element { array: array.clone(), index };
                    shown.withdrawn.extend((0..count).map(|index| (element(index), id(index))));
                }
                shown.waited_ms = look.answered_ms - look.asked_ms;
                memory.ledger.take_in(shown, seen, now, self.grace_ms());
                self.forget_arrays(memory, rows);
            }
        }
        memory.ledger.touch();
        memory.ledger.save()
    }

    /// Keeps in memory only the arrays that live, and those of others that the queue shows: a `loop` goes on for weeks.
    fn forget_arrays(&self, memory: &mut Memory, rows: &[Row]) {
        let mut live = memory.ledger.arrays();
        live.extend(memory.ledger.head.doubts.keys().cloned());
        live.extend(memory.unsent.iter().map(|array| array.name.clone()));
        memory.far.keep_only(&live);
        live.extend(rows.iter().map(|row| row.array.clone()));
        memory.arrays.keep_only(&live);
    }

    /// Hands on what is to be stopped and has not been told yet, and keeps what was learnt.
    pub(in crate::backend) fn flush(&self) -> io::Result<()> {
        let mut memory = self.memory();
        self.tell_cancels(&mut memory);
        memory.ledger.save()
    }

    /// Tells the cluster what is to be stopped, all of it together; what it does not hear is told again later.
    fn tell_cancels(&self, memory: &mut Memory) {
        // what the queue has not shown yet has no id, and is told once it does
        memory.cancels.retain(|(_, id)| !id.is_empty());
        if !memory.cancels.is_empty() && commands::cancel(&*self.transport, &memory.cancels).is_ok() {
            memory.cancels.clear();
        }
    }
}

/// Whether there is anything to look for in the queue.
fn wants_poll(memory: &Memory, now: i64) -> bool {
    let head = &memory.ledger.head;
    head.open > 0 || !head.doubts.is_empty() || now < head.watch_until_ms
}
