//! The only place that knows wasmtime: runs campaigns and operators as WebAssembly components, each call in a fresh
//! instance with limits, a deadline and nothing it was not granted.
mod bindings;
mod border;
pub mod builtin;
mod calls;
mod capture;
mod chance;
mod clock;
mod compile;
mod decode;
mod engine;
mod error;
mod files;
mod given;
mod host;
mod imports;
mod inspect;
mod link;
mod manifest;
mod memory;
mod native;
pub mod runner;
mod seen;
mod state;
mod survey;
mod wasi;
mod watchdog;
mod wrap;

pub use compile::{COMPILE, compile_as_told};
pub use engine::Role;
pub use error::{PluginError, PluginErrorKind};
pub use given::{Artifacts, LogEntry, LogLevel, PluginLog};
pub use host::{HostSettings, PluginHost};
pub use inspect::{CONTRACT, Inspection, inspect};
pub use manifest::manifest;
pub use native::{Compiler, PluginSource, when_compiling};
pub use wrap::wrap;

use crate::model::act::VERSION;
use crate::model::contract::{
    AttemptRequest, Collected, Context, Decision, Folded, Found, Reads, StatusReport, Submitted,
};
use crate::model::evidence::EngineRecord;
use crate::model::id::OperatorKey;
use std::collections::BTreeMap;

/// The version of wasmtime, as Cargo.lock names it.
const WASMTIME: &str = "48.0.8";

/// What carries plugins out here.
pub fn this_engine() -> EngineRecord {
    EngineRecord {
        version: VERSION.to_owned(),
        contract: CONTRACT.to_owned(),
        runtime: format!("wasmtime {WASMTIME}"),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
    }
}

/// What came of a call of a campaign.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// What the plugin answered, or why it did not.
    pub value: Result<T, PluginError>,
    /// Units of fuel used by the call.
    pub fuel: u64,
    /// What it asked for beside its arguments.
    pub reads: Reads,
    /// The files it wrote, by SHA-256; none where it did not answer.
    pub written: BTreeMap<String, Vec<u8>>,
}

/// The calls a tick makes into plugins.
pub trait Plugins {
    /// Asks the campaign what to do next.
    fn plan(&self, context: &Context, state: Option<&str>) -> Answer<Decision>;
    /// Lets the campaign fold results (a JSON array) into its state.
    fn analyze(&self, context: &Context, state: &str, finished: &str) -> Answer<Folded>;
    /// What carries campaigns out.
    fn engine(&self) -> EngineRecord;
    /// Readies what `submit` needs; returns what later calls are to know.
    fn prepare(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Option<String>, PluginError>;
    /// Carries the attempt outside, once.
    fn submit(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Submitted, PluginError>;
    /// Tells whether an interrupted submit took effect.
    fn reconcile(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Found, PluginError>;
    /// Asks where the attempt stands.
    fn check_status(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<StatusReport, PluginError>;
    /// Fetches the results of an ended attempt.
    fn collect_results(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Collected, PluginError>;
    /// Asks the outside to stop the attempt.
    fn cancel(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<(), PluginError>;
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_engine_in_the_record_is_the_one_that_is_linked() {
        let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).expect("Cargo.lock");
        let entry = format!("name = \"wasmtime\"\nversion = \"{}\"", super::WASMTIME);
        assert!(lock.contains(&entry), "Cargo.lock has another version of wasmtime than {}", super::WASMTIME);
    }
}
