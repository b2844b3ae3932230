//! The host's side of the contract's imports. Each call counts, and asks nothing that is not granted.
use super::bindings::campaign::matterstack::plugin::{artifacts, log, types};
use super::bindings::operator::matterstack::plugin::{compute, lifecycle, operator_types};
use super::border::{found_to_wit, report_to_wit, to_wit};
use super::error::PluginErrorKind;
use super::given::LogLevel;
use super::state::CallState;
use crate::backend::{Compute, JobKey};
use crate::model::code::Code;
use crate::model::contract::{Detail, GuestError, ReadRefused};
use std::time::Instant;

/// Bytes that one `artifacts.read` returns at most.
const READ_MAX: u32 = 16 * 1024 * 1024;

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
        // what is refused stands in the record, so that no more than a digest may stand in the refusal
        let read = if digest.len() > DIGEST_MAX {
            let text = format!("a digest has {DIGEST_MAX} digits, and this has {} bytes", digest.len());
            Err(GuestError::Denied(Detail::of(Code::UnknownDigest, text)))
        } else {
            self.shared.artifacts.read(&digest, offset, max.min(READ_MAX))
        };
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
}

impl lifecycle::Host for CallState {
    fn time_left_ms(&mut self) -> wasmtime::Result<u64> {
        self.count()?;
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

    fn submit(&mut self, backend: String, job: String) -> wasmtime::Result<Result<String, types::Error>> {
        self.bounded(&job)?;
        let inputs = self.attempt.as_ref().map(|attempt| attempt.inputs.clone()).unwrap_or_default();
        self.ask("submit", &backend, |compute, key| compute.submit(&backend, key, &job, &inputs))
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
