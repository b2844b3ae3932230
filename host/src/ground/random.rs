//! What nobody must be able to guess.
use crate::model::document::hex;
use crate::model::id::AttemptId;

/// A new random attempt id: 128 bits in hexadecimal.
pub fn new_attempt_id() -> AttemptId {
    let mut bytes = [0_u8; 16];
    // The kernel's source fails only where the process may not use it at all; ids must then not be guessed.
    getrandom::fill(&mut bytes).unwrap_or_else(|error| panic!("bug: the kernel gives no random bytes: {error}"));
    AttemptId(hex(&bytes))
}
