//! What nobody must be able to guess.
use crate::model::document::hex;
use crate::model::id::AttemptId;
use std::io;

/// A new random attempt id: 128 bits in hexadecimal.
pub fn new_attempt_id() -> AttemptId {
    // The kernel's source fails only where the process may not use it at all; ids must then not be guessed.
    AttemptId(word::<16>().unwrap_or_else(|error| panic!("bug: {error}")))
}

/// A word of so many random bytes, in lower-case hexadecimal digits.
///
/// # Errors
/// If the kernel gives none.
pub fn word<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0_u8; BYTES];
    fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// Fills a buffer with random bytes.
///
/// # Errors
/// If the kernel gives none.
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(|error| io::Error::other(format!("the kernel gives no random bytes: {error}")))
}
