//! Compute systems that the host owns. A component that calls any of this needs `grants.compute`; one that calls
//! none does not import it. Only inside a host: natively these calls panic.
use crate::bindings::operator::matterstack::plugin::compute as wit;
use crate::error::Error;
use crate::operator::{Found, StatusReport, Submitted};

/// Returns the backends granted to this operator, in the order of the configuration.
pub fn backends() -> Vec<String> {
    wit::backends()
}

/// Hands a job (JSON under the schema `job`) to a backend under the attempt's submit key.
pub fn submit(backend: &str, job: &str) -> Result<Submitted, Error> {
    wit::submit(backend, job).map(Submitted::from).map_err(Error::from)
}

/// Looks for the attempt's submit key.
pub fn find(backend: &str) -> Result<Found, Error> {
    wit::find(backend).map(Found::from).map_err(Error::from)
}

/// Tells where the job with this handle stands.
pub fn status(backend: &str, handle: &str) -> Result<StatusReport, Error> {
    wit::status(backend, handle).map(StatusReport::from).map_err(Error::from)
}

/// Brings what the job left into the attempt directory; returns the exit record (JSON under the schema `exit`).
pub fn collect(backend: &str, handle: &str) -> Result<String, Error> {
    wit::collect(backend, handle).map_err(Error::from)
}

/// Asks the backend to stop the job.
pub fn cancel(backend: &str, handle: &str) -> Result<(), Error> {
    wit::cancel(backend, handle).map_err(Error::from)
}
