//! Where an attempt's job stands: by its exit record, by the queue, by the accounts, in this order.
use super::claim::{self, is_cancelled, mark_cancelled, ran_out_of_memory, read_owner};
use super::handle::Handle;
use super::ledger::{Element, Job};
use super::state::{self, End, Stage, UNSEEN};
use super::{Memory, SlurmBackend, unavailable};
use crate::backend::JobKey;
use crate::backend::exit::{ExitRecord, read_exit};
use crate::model::code::Code;
use crate::model::contract::{Detail, GuestError, Status, StatusReport};
use std::io;

/// A change is told by [`crate::backend::Backends::changes`]; this is only a safety net.
pub(super) const POLL_AFTER_MS: u64 = 300_000;
/// When a job that a person wants stopped, and that lives on, is stopped again, in milliseconds.
const TELL_AGAIN_MS: i64 = 30_000;
/// When to ask again while the cluster does not answer.
pub(super) const SILENT_MS: u64 = 10_000;

impl SlurmBackend {
    pub(in crate::backend) fn status(&self, key: JobKey<'_>, handle: &str) -> Result<StatusReport, GuestError> {
        let handle = Handle::parse(handle)?;
        let mut memory = self.memory();
        memory.ledger.refresh().and_then(|()| memory.ledger.load()).map_err(|error| unavailable(&error))?;
        let mut element = handle.element_of(&mut memory, key)?;
        if let Err(error) = self.fetch_if_over(&mut memory, key, &element) {
            return Ok(cannot_fetch(error.detail().clone()));
        }
        if let Some(why) = self.fetch_trouble(&memory, key.attempt_id.as_str()) {
            return Ok(cannot_fetch(Detail::of(Code::Fetch, why)));
        }
        let record = read_exit(key.directory, key.attempt_id.as_str());
        if record.is_none()
            && let Some(owner) = read_owner(key.directory)
        {
            element = owner;
        }
        let now = self.clock.now_ms();
        if memory.ledger.job(&element).is_none() {
            memory.ledger.expect(element.clone(), handle.external_id.clone().unwrap_or_default(), now);
            if memory.ledger.head.open == 0 {
                // the first one makes ticks look at the queue, which tells of the others
                memory.ledger.save().map_err(|error| unavailable(&error))?;
            }
        }
        let job = memory.ledger.job(&element).cloned();
        let Some(job) = job else { return Err(unavailable(&io::Error::other("bug: a job just noted is not known"))) };
        let newer =
            Handle::of(&element, Some(job.id.clone()).filter(|id| !id.is_empty()).or(handle.external_id.clone()));
        let newer = (newer != handle).then(|| newer.text()).transpose()?;
        let (status, after) = match record {
            Some(record) => {
                let (status, after) = self.with_record(&memory, &record, &job, now);
                if !matches!(status, Status::Running(_)) && matches!(job.stage(), Stage::Queued | Stage::Stuck) {
                    // it would only find the claim; if this is not heard, it does
                    memory.cancels.insert((element.array.clone(), job.id.clone()));
                }
                (status, after)
            }
            None => self.without_record(&mut memory, key, &element, &job, now)?,
        };
        self.stop_again(&mut memory, key, &element, &job, &status);
        Ok(StatusReport { status, handle: newer, poll_after_ms: Some(after) })
    }

    /// A job that left an exit record. The verdict waits for the scheduler's last word, which may contradict the record
    /// or tell what killed the command; not for ever, since the scheduler may have forgotten the job.
    fn with_record(&self, memory: &Memory, record: &ExitRecord, job: &Job, now: i64) -> (Status, u64) {
        let stage = job.stage();
        let open = !matches!(stage, Stage::Ended(_) | Stage::Gone);
        let ended = record.ended_at.parse::<jiff::Timestamp>().map_or(now, jiff::Timestamp::as_millisecond);
        let interval = self.poll_interval().as_millis() as i64;
        // a clock ahead of ours must not make the wait longer
        let patience = interval.saturating_mul(2).max(self.grace_ms());
        let waited = now.saturating_sub(ended.min(now));
        let heard = memory.ledger.head.silent.is_none();
        if open && waited < patience && (heard || waited < interval) {
            return (Status::Running(None), interval.clamp(100, 60_000) as u64);
        }
        (state::with_record(record, stage), POLL_AFTER_MS)
    }

    fn without_record(
        &self,
        memory: &mut Memory,
        key: JobKey<'_>,
        element: &Element,
        job: &Job,
        now: i64,
    ) -> Result<(Status, u64), GuestError> {
        let stage = job.stage();
        let open = !matches!(stage, Stage::Ended(_) | Stage::Gone);
        if let Some(silence) = memory.ledger.head.silent.as_ref().filter(|_| open || stage == Stage::Gone) {
            let text = format!("the cluster does not answer: {silence}");
            return Ok((Status::Unavailable(Detail::of(Code::ClusterSilent, text)), SILENT_MS));
        }
        let grace = self.grace_ms();
        let lasted = now.saturating_sub(job.since_ms) >= grace;
        Ok(match stage {
            Stage::Queued => (Status::Queued, POLL_AFTER_MS),
            Stage::Running => (Status::Running(None), POLL_AFTER_MS),
            Stage::Stuck => (state::held_back(&job.id, &job.reason), POLL_AFTER_MS),
            Stage::Unknown => (state::of_unknown_word(&job.id, &job.word), POLL_AFTER_MS),
            Stage::Ended(_) if !lasted => (Status::Running(None), grace.max(50) as u64),
            Stage::Ended(_) => (self.judge(memory, key, element, stage, &job.reason)?, POLL_AFTER_MS),
            Stage::Gone => self.forgotten(memory, key, element, job, now)?,
        })
    }

    /// Decides over a job that is over and left no exit record, once nothing can start its command any more.
    pub(super) fn judge(
        &self,
        memory: &mut Memory,
        key: JobKey<'_>,
        element: &Element,
        stage: Stage,
        reason: &str,
    ) -> Result<Status, GuestError> {
        let started = match self.fence_there(memory, key, element)? {
            Some(fenced) => !fenced,
            None => {
                let fenced = claim::fence(key.directory).map_err(|error| unavailable(&error))?;
                !fenced || memory.arrays.has_started(element)
            }
        };
        // the record may have come while we looked
        match read_exit(key.directory, key.attempt_id.as_str()) {
            Some(record) => Ok(state::with_record(&record, stage)),
            // what a person wanted stopped, and the queue has forgotten since
            None if !started && is_cancelled(key.directory) => Ok(Status::Cancelled),
            None if started && stage == Stage::Ended(End::Failed) && ran_out_of_memory(memory, key, &element.array) => {
                Ok(state::without_record(Stage::Ended(End::OutOfMemory), reason, started))
            }
            None => Ok(state::without_record(stage, reason, started)),
        }
    }

    pub(in crate::backend) fn cancel(&self, key: JobKey<'_>, handle: &str) -> Result<(), GuestError> {
        let handle = Handle::parse(handle)?;
        let mut memory = self.memory();
        memory.ledger.refresh().and_then(|()| memory.ledger.load()).map_err(|error| unavailable(&error))?;
        let element = handle.element_of(&mut memory, key)?;
        // told again by the next status if this process dies before it has told
        mark_cancelled(key.directory, self.clock.now_ms()).map_err(|error| unavailable(&error))?;
        let id = memory.ledger.job(&element).map(|job| job.id.clone()).filter(|id| !id.is_empty());
        let id = id.or(handle.external_id).unwrap_or_default();
        memory.cancels.insert((element.array, id));
        Ok(())
    }

    /// Tells the cluster once more to stop a job that a person wants stopped and that still lives.
    fn stop_again(&self, memory: &mut Memory, key: JobKey<'_>, element: &Element, job: &Job, status: &Status) {
        let lives = matches!(status, Status::Queued | Status::Running(_) | Status::Waiting { .. });
        if !lives || job.word == UNSEEN {
            return;
        }
        let now = self.clock.now_ms();
        // a clock that was set back has told long ago
        let due =
            claim::cancelled_at_ms(key.directory).is_some_and(|told| !(0..=TELL_AGAIN_MS).contains(&(now - told)));
        if due && mark_cancelled(key.directory, now).is_ok() {
            memory.cancels.insert((element.array.clone(), job.id.clone()));
        }
    }
}

/// The job is over, and what it left is not here: no verdict yet.
fn cannot_fetch(detail: Detail) -> StatusReport {
    let text = format!("the results are not fetched yet: {}", detail.message);
    let status = Status::Unavailable(Detail { message: text, ..detail });
    StatusReport { status, handle: None, poll_after_ms: Some(SILENT_MS) }
}
