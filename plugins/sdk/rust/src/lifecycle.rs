//! The call's own life, for operators; natively a call has no end.
use crate::bindings::operator::matterstack::plugin::lifecycle as wit;

/// Milliseconds until the host drops this call.
pub fn time_left_ms() -> u64 {
    if cfg!(target_family = "wasm") { wit::time_left_ms() } else { u64::MAX }
}

/// Whether a person has asked for the attempt or the run to be cancelled.
pub fn cancelled() -> bool {
    cfg!(target_family = "wasm") && wit::cancelled()
}
