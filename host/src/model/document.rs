//! Documents: the check that they are JSON that every reader reads alike, their canonical form, and digests.
pub use matterstack_document::{
    Dialect, Fault, FaultKind, INTEGER_MAX, Place, check, line_of, plain, read, text, way, whole,
};

use sha2::{Digest, Sha256};

/// The canonical form (RFC 8785) of JSON text.
///
/// # Errors
/// Those of [`check`].
pub fn canonical(text: &str) -> Result<String, Fault> {
    let value = read(text.as_bytes(), Dialect::Strict)?;
    serde_json_canonicalizer::to_string(&value).map_err(|_| whole(FaultKind::Syntax("has no canonical form")))
}

/// The canonical form (RFC 8785) of a value.
///
/// # Errors
/// If it has none.
pub fn canonical_value(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    serde_json_canonicalizer::to_string(value)
}

/// The canonical form of what the host made or has read: neither holds what JSON has no form for.
pub fn canonical_own(value: &impl serde::Serialize) -> String {
    canonical_value(value).unwrap_or_else(|error| panic!("bug: a document has no canonical form: {error}"))
}

/// SHA-256 of bytes, as 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal digits of bytes.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |four: u8| char::from(DIGITS[usize::from(four & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}
