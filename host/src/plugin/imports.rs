//! The host's side of the contract's imports. Each call counts, and asks nothing that is not granted.
use super::bindings::campaign::matterstack::plugin::{artifacts, log, run, types};
use super::bindings::operator::matterstack::plugin::{compute, lifecycle, operator_types};
use super::border::{found_to_wit, report_to_wit, submitted_to_wit, to_wit};
use super::error::PluginErrorKind;
use super::given::LogLevel;
use super::state::CallState;
use crate::backend::{Compute, JobKey};
use crate::model::code::Code;
use crate::model::contract::{Detail, GuestError, OpenTasksRead, ReadRefused, RunView, Submitted};
use crate::model::document::sha256;
use std::time::Instant;

/// Bytes that one `artifacts.read` returns at most.
const READ_MAX: u32 = 16 * 1024 * 1024;

/// Bytes that one `artifacts.write` keeps at most.
const WRITE_MAX: usize = 16 * 1024 * 1024;

/// Ids that one `run.open-tasks` returns at most.
const OPEN_TASKS_MAX: u32 = 10_000;

/// What a decision is told of the time it has left: a whole number that every language has.
const TIME_LEFT_STANDING_MS: u64 = (1 << 53) - 1;

/// Bytes of a digest.
const DIGEST_MAX: usize = 64;

/// Reads that one call may be refused, since each stands in the record.
const REFUSED_MAX: usize = 10_000;

impl types::Host for CallState {}
impl operator_types::Host for CallState {}

impl log::Host for CallState {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.count()?;
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.note(level, &message);
        Ok(())
    }
}

impl artifacts::Host for CallState {
    fn read(&mut self, digest: String, offset: u64, max: u32) -> wasmtime::Result<Result<Vec<u8>, types::Error>> {
        self.count()?;
        if let Some(bytes) = self.written.get(&digest) {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let to = from.saturating_add(max.min(READ_MAX) as usize).min(bytes.len());
            let piece = bytes[from..to].to_vec();
            self.charge(piece.len() as u64)?;
            return Ok(Ok(piece));
        }
        // by its form alone it is refused alike everywhere, so that the record need not hold it
        if digest.len() > DIGEST_MAX {
            let text = format!("a digest has {DIGEST_MAX} digits, and this has {} bytes", digest.len());
            return Ok(Err(to_wit(GuestError::Denied(Detail::of(Code::UnknownDigest, text)))));
        }
        let read = self.shared.artifacts.read(&digest, offset, max.min(READ_MAX));
        if self.run.is_none() {
            // only a decision's reads stand in the record, and only it has fuel
            self.in_time()?;
            return Ok(read.map_err(to_wit));
        }
        let seq = self.reads.count;
        self.reads.count += 1;
        match &read {
            Ok(_) => {
                self.reads.digests.insert(digest);
            }
            Err(_) if self.reads.refused.len() >= REFUSED_MAX => {
                return self.end(PluginErrorKind::Refusals(REFUSED_MAX as u64));
            }
            Err(error) => self.reads.refused.push(ReadRefused { seq, answer: error.clone() }),
        }
        self.charge(read.as_ref().map_or(0, |bytes| bytes.len() as u64))?;
        Ok(read.map_err(to_wit))
    }

    fn write(&mut self, bytes: Vec<u8>) -> wasmtime::Result<Result<String, types::Error>> {
        self.count()?;
        if self.run.is_none() {
            let text = "only a campaign may write to `artifacts`; an operator writes to its attempt directory";
            return Ok(Err(to_wit(GuestError::Denied(Detail::new("denied", text)))));
        }
        if bytes.len() > WRITE_MAX {
            let text = format!("{} bytes are more than the {WRITE_MAX} that may be written at once", bytes.len());
            return Ok(Err(to_wit(GuestError::Invalid(Detail::new("too-large", text)))));
        }
        if self.written_bytes().saturating_add(bytes.len()) > self.shared.output_max() {
            return self.end(PluginErrorKind::Limit(self.shared.output_bound()));
        }
        self.charge(bytes.len() as u64)?;
        let digest = sha256(&bytes);
        self.written.insert(digest.clone(), bytes);
        Ok(Ok(digest))
    }
}

impl CallState {
    /// Asks the run for a document, which is charged for.
    fn told<T>(
        &mut self,
        size: impl FnOnce(&T) -> usize,
        ask: impl FnOnce(&dyn RunView) -> Result<T, String>,
    ) -> wasmtime::Result<T> {
        self.count()?;
        let Some(run) = self.run.clone() else {
            return self.end(PluginErrorKind::Ungiven("`run` needs a decision".to_owned()));
        };
        match ask(&*run) {
            Ok(answer) => {
                self.charge(size(&answer) as u64)?;
                Ok(answer)
            }
            Err(why) => self.end(PluginErrorKind::Ungiven(why)),
        }
    }
}

impl run::Host for CallState {
    fn id(&mut self) -> wasmtime::Result<String> {
        self.told(String::len, |run| Ok(run.id().to_owned()))
    }

    fn params(&mut self) -> wasmtime::Result<String> {
        self.told(String::len, |run| run.params())
    }

    fn inputs(&mut self) -> wasmtime::Result<String> {
        self.told(String::len, |run| Ok(run.inputs()))
    }

    fn supplied(&mut self) -> wasmtime::Result<Option<String>> {
        self.told(|text: &Option<String>| text.as_ref().map_or(0, String::len), |run| Ok(run.supplied()))
    }

    fn open_tasks(&mut self, after: Option<String>, max: u32) -> wasmtime::Result<Vec<String>> {
        let max = max.min(OPEN_TASKS_MAX);
        let size = |ids: &Vec<String>| ids.iter().map(String::len).sum();
        let tasks = self.told(size, |run| run.open_tasks(after.as_deref(), max))?;
        self.reads.open_tasks.push(OpenTasksRead { after, max, tasks: tasks.clone() });
        Ok(tasks)
    }
}

impl lifecycle::Host for CallState {
    fn time_left_ms(&mut self) -> wasmtime::Result<u64> {
        self.count()?;
        if self.run.is_some() {
            // a decision must not depend on how fast the machine is
            return Ok(TIME_LEFT_STANDING_MS);
        }
        Ok(self.deadline.at.saturating_duration_since(Instant::now()).as_millis() as u64)
    }

    fn cancelled(&mut self) -> wasmtime::Result<bool> {
        self.count()?;
        Ok(self.attempt.as_ref().is_some_and(|attempt| attempt.cancelled))
    }
}

impl CallState {
    /// Ends the call if what it hands over is larger than a document may be.
    fn bounded(&mut self, document: &str) -> wasmtime::Result<()> {
        if document.len() > self.shared.output_max() {
            return self.end(PluginErrorKind::Limit(self.shared.output_bound()));
        }
        Ok(())
    }

    /// Asks a backend, if it is granted.
    fn ask<T>(
        &mut self,
        call: &str,
        backend: &str,
        question: impl FnOnce(&dyn Compute, JobKey<'_>) -> Result<T, GuestError>,
    ) -> wasmtime::Result<Result<T, types::Error>> {
        self.count()?;
        Ok(self.granted(call, backend).and_then(|attempt| {
            let key = JobKey { attempt_id: &attempt.id, task_id: &attempt.task_id, directory: &attempt.directory };
            question(&*self.shared.compute, key).map_err(to_wit)
        }))
    }
}

impl compute::Host for CallState {
    fn backends(&mut self) -> wasmtime::Result<Vec<String>> {
        self.count()?;
        Ok(self.attempt.as_ref().map(|attempt| attempt.grants.compute.clone()).unwrap_or_default())
    }

    fn submit(
        &mut self,
        backend: String,
        job: String,
    ) -> wasmtime::Result<Result<operator_types::Submitted, types::Error>> {
        self.bounded(&job)?;
        let inputs = self.attempt.as_ref().map(|attempt| attempt.inputs.clone()).unwrap_or_default();
        self.ask("submit", &backend, |compute, key| {
            let handle = compute.submit(&backend, key, &job, &inputs)?;
            Ok(submitted_to_wit(Submitted::of_job(handle)))
        })
    }

    fn find(&mut self, backend: String) -> wasmtime::Result<Result<operator_types::Found, types::Error>> {
        self.ask("find", &backend, |compute, key| compute.find(&backend, key).map(found_to_wit))
    }

    fn status(
        &mut self,
        backend: String,
        handle: String,
    ) -> wasmtime::Result<Result<operator_types::StatusReport, types::Error>> {
        self.bounded(&handle)?;
        self.ask("status", &backend, |compute, key| compute.status(&backend, key, &handle).map(report_to_wit))
    }

    fn collect(&mut self, backend: String, handle: String) -> wasmtime::Result<Result<String, types::Error>> {
        self.bounded(&handle)?;
        self.ask("collect", &backend, |compute, key| compute.collect(&backend, key, &handle))
    }

    fn cancel(&mut self, backend: String, handle: String) -> wasmtime::Result<Result<(), types::Error>> {
        self.bounded(&handle)?;
        self.ask("cancel", &backend, |compute, key| compute.cancel(&backend, key, &handle))
    }
}
