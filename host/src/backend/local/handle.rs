//! What a submit of a local job answers: its handle, or that nothing is handed in on this machine.
use super::record::Process;
use crate::ground::machine;
use crate::model::code::Code;
use crate::model::contract::{Detail, GuestError};
use serde::{Deserialize, Serialize};

/// When to ask again while nothing is pinned: whoever pins it lets those that wait be asked at once.
const UNPINNED_MS: u64 = 600_000;

/// What a submit returns; with the process once it runs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handle {
    pub(super) backend: String,
    pub(super) machine: String,
    pub(super) host: String,
    pub(super) boot: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<Process>,
}

pub(super) fn parse_handle(handle: &str) -> Result<Handle, GuestError> {
    serde_json::from_str(handle)
        .map_err(|error| GuestError::Invalid(Detail::of(Code::Handle, format!("not a handle of a local job: {error}"))))
}

/// What is told of a job on a machine on which nobody has said yet what jobs inherit.
pub(super) fn unpinned() -> GuestError {
    let text = format!(
        "what local jobs inherit is not pinned on {}: `amend … environment`, given there, takes what its shell has",
        machine::host_name()
    );
    GuestError::transient_for(Code::Environment, text, UNPINNED_MS)
}
