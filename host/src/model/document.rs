//! Canonical JSON and its digests.
use serde::de::Error as _;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The largest integer that every JSON reader keeps exactly: 2^53 - 1 (RFC 8785 allows no more).
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// The canonical form (RFC 8785) of JSON text.
///
/// # Errors
/// If the text is not JSON, is nested too deeply, or holds an integer that canonical JSON cannot represent.
pub fn canonical(text: &str) -> Result<String, serde_json::Error> {
    let value: serde_json::Value = serde_json::from_str(text)?;
    refuse_large_integers(text)?;
    serde_json_canonicalizer::to_string(&value)
}

/// The canonical form (RFC 8785) of a value.
///
/// # Errors
/// If it has none.
pub fn canonical_value(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    serde_json_canonicalizer::to_string(value)
}

/// Tells whether a text has a canonical form.
///
/// # Errors
/// Those of [`canonical`].
pub fn check(text: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<serde_json::Value>(text)?;
    refuse_large_integers(text)
}

/// Refuses integers beyond 2^53 - 1, which readers that know only doubles would change without a word. They are looked
/// for in the text, because a parser has changed the largest of them already. The text is known to be JSON.
fn refuse_large_integers(text: &str) -> Result<(), serde_json::Error> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'0'..=b'9' => {
                let start = at;
                while at < bytes.len() && matches!(bytes[at], b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') {
                    at += 1;
                }
                let number = &text[start..at];
                let integer = number.bytes().all(|byte| byte.is_ascii_digit());
                if integer && number.parse::<u64>().map_or(true, |value| value > INTEGER_MAX) {
                    let shown: String = number.chars().take(40).collect();
                    return Err(serde_json::Error::custom(format!(
                        "integer {shown} is beyond {INTEGER_MAX} (2^53 - 1)"
                    )));
                }
            }
            _ => at += 1,
        }
    }
    Ok(())
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
