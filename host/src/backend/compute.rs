//! What operators can ask of the compute systems of the host.
use crate::model::contract::{Found, GuestError, StatusReport};
use crate::model::id::{AttemptId, TaskId};
use crate::model::inputs::Inputs;
use std::collections::BTreeMap;
use std::path::Path;

/// The attempt a compute call is made for; the guest cannot name another.
#[derive(Debug, Clone, Copy)]
pub struct JobKey<'a> {
    /// The attempt, which is the submit key.
    pub attempt_id: &'a AttemptId,
    /// The task that it is an attempt at.
    pub task_id: &'a TaskId,
    /// The attempt directory: the job's working directory.
    pub directory: &'a Path,
}

/// Submits that a backend took in and that its outside then did not acknowledge, each with what became of it.
pub type Unacknowledged = BTreeMap<AttemptId, GuestError>;

/// The calls an operator makes through the `compute` import, once the grant has been checked.
pub trait Compute: Send + Sync {
    /// Hands a job (JSON text) to a backend, with what it is to find there; returns its handle. Whether the outside has
    /// it, [`super::Backends::sync`] tells.
    fn submit(&self, backend: &str, key: JobKey<'_>, job: &str, inputs: &Inputs) -> Result<String, GuestError>;
    /// Looks for the attempt's submit key.
    fn find(&self, backend: &str, key: JobKey<'_>) -> Result<Found, GuestError>;
    /// Tells where the job stands.
    fn status(&self, backend: &str, key: JobKey<'_>, handle: &str) -> Result<StatusReport, GuestError>;
    /// Brings what the job left into the attempt directory; returns the exit record (JSON text).
    fn collect(&self, backend: &str, key: JobKey<'_>, handle: &str) -> Result<String, GuestError>;
    /// Asks the backend to stop the job.
    fn cancel(&self, backend: &str, key: JobKey<'_>, handle: &str) -> Result<(), GuestError>;
}
