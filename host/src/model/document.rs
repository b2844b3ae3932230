//! Canonical JSON and its digests.
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The canonical form (RFC 8785) of JSON text.
///
/// # Errors
/// If the text is not JSON, or holds a number that canonical JSON cannot represent.
pub fn canonical(text: &str) -> Result<String, serde_json::Error> {
    let value: serde_json::Value = serde_json::from_str(text)?;
    serde_json_canonicalizer::to_string(&value)
}

/// SHA-256 of bytes, as 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal digits of bytes.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
