//! What a script may ask of its run.
use matterstack_sdk::bindings::campaign::matterstack::plugin::run;
use matterstack_sdk::{Error, Found, StatusReport, Submitted, artifacts, compute, lifecycle, log};

/// What a script may ask of its run. Documents are JSON.
pub(crate) trait Host {
    fn read(&self, digest: &str, offset: u64, max: u32) -> Result<Vec<u8>, Error>;
    fn write(&self, bytes: &[u8]) -> Result<String, Error>;
    fn log(&self, level: &str, message: &str);
    fn run_id(&self) -> String;
    fn params(&self) -> String;
    fn inputs(&self) -> String;
    fn supplied(&self) -> Option<String>;
    fn open_tasks(&self, after: Option<&str>, max: u32) -> Vec<String>;
    fn time_left_ms(&self) -> u64;
    fn cancelled(&self) -> bool;
    fn backends(&self) -> Vec<String>;
    fn submit(&self, backend: &str, job: &str) -> Result<Submitted, Error>;
    fn find(&self, backend: &str) -> Result<Found, Error>;
    fn status(&self, backend: &str, handle: &str) -> Result<StatusReport, Error>;
    fn collect(&self, backend: &str, handle: &str) -> Result<String, Error>;
    fn cancel(&self, backend: &str, handle: &str) -> Result<(), Error>;
}

/// What is read of a file at once, in bytes.
const CHUNK_BYTES: u32 = 4 << 20;

/// A whole file; its size is 0 where nobody knows it.
pub(crate) fn read_all(host: &dyn Host, digest: &str, size: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(1 << 28)).unwrap_or_default());
    loop {
        let chunk = host.read(digest, bytes.len() as u64, CHUNK_BYTES)?;
        bytes.extend_from_slice(&chunk);
        if chunk.is_empty() || size > 0 && bytes.len() as u64 >= size {
            return Ok(bytes);
        }
    }
}

/// The run itself.
pub(crate) struct Wit;

impl Host for Wit {
    fn read(&self, digest: &str, offset: u64, max: u32) -> Result<Vec<u8>, Error> {
        artifacts::read(digest, offset, max)
    }

    fn write(&self, bytes: &[u8]) -> Result<String, Error> {
        artifacts::write(bytes)
    }

    fn log(&self, level: &str, message: &str) {
        match level {
            "debug" => log::debug(message),
            "warn" => log::warn(message),
            "error" => log::error(message),
            _ => log::info(message),
        }
    }

    fn run_id(&self) -> String {
        run::id()
    }

    fn params(&self) -> String {
        run::params()
    }

    fn inputs(&self) -> String {
        run::inputs()
    }

    fn supplied(&self) -> Option<String> {
        run::supplied()
    }

    fn open_tasks(&self, after: Option<&str>, max: u32) -> Vec<String> {
        run::open_tasks(after, max)
    }

    fn time_left_ms(&self) -> u64 {
        lifecycle::time_left_ms()
    }

    fn cancelled(&self) -> bool {
        lifecycle::cancelled()
    }

    fn backends(&self) -> Vec<String> {
        compute::backends()
    }

    fn submit(&self, backend: &str, job: &str) -> Result<Submitted, Error> {
        compute::submit(backend, job)
    }

    fn find(&self, backend: &str) -> Result<Found, Error> {
        compute::find(backend)
    }

    fn status(&self, backend: &str, handle: &str) -> Result<StatusReport, Error> {
        compute::status(backend, handle)
    }

    fn collect(&self, backend: &str, handle: &str) -> Result<String, Error> {
        compute::collect(backend, handle)
    }

    fn cancel(&self, backend: &str, handle: &str) -> Result<(), Error> {
        compute::cancel(backend, handle)
    }
}
