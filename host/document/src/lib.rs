//! Documents: JSON that every reader reads alike. The host and its guests judge by the same rules what people,
//! instruments, plugins and configurations write.
mod fault;
mod scan;
mod seen;

pub use fault::{Fault, FaultKind, Place, way};
pub use scan::Dialect;
pub use seen::{is_unseen, visible};

use serde_json::Value;
use std::borrow::Cow;
use std::ops::Range;

/// The largest integer up to which every integer is a double: 2^53 - 1.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Tells whether a text is JSON that every reader reads alike.
///
/// # Errors
/// If it is not JSON, is nested too deeply, names a key twice, or holds what a reader of doubles or of UTF-8 would
/// change: an integer whose digits are not those of its nearest double (as RFC 8785 prints it), or half a surrogate
/// pair.
pub fn check(text: &str) -> Result<(), Fault> {
    scan::scan(text, Dialect::Strict, None).map(|_| ())
}

/// Reads a document.
///
/// # Errors
/// Those of [`check`], if it is not UTF-8, and if it begins with a byte order mark.
pub fn read(bytes: &[u8], dialect: Dialect) -> Result<Value, Fault> {
    let plain = plain(bytes, dialect)?;
    serde_json::from_str(&plain).map_err(|_| whole(FaultKind::Syntax("cannot be read")))
}

/// The text of a document that was looked at as [`check`] does, as plain JSON: with spaces for its comments and
/// trailing commas.
///
/// # Errors
/// Those of [`read`].
pub fn plain(bytes: &[u8], dialect: Dialect) -> Result<Cow<'_, str>, Fault> {
    let text = text(bytes)?;
    let found = scan::scan(text, dialect, None)?;
    Ok(blanked(text, &found.blanks))
}

/// The text of a document.
///
/// # Errors
/// If it is not UTF-8, or begins with a byte order mark.
pub fn text(bytes: &[u8]) -> Result<&str, Fault> {
    let mark = [(&b"\xef\xbb\xbf"[..], "UTF-8"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16")];
    if let Some((_, encoding)) = mark.into_iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return Err(whole(FaultKind::ByteOrderMark(encoding)));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let before = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        let (line, column) = scan::line_and_column(before, before.len());
        Fault { line, column, ..whole(FaultKind::Encoding) }
    })
}

/// The line in which a place of a document begins, from 1 on; nothing if it is not there.
pub fn line_of(text: &str, dialect: Dialect, place: &[Place]) -> Option<usize> {
    let at = scan::scan(text, dialect, Some(place)).ok()?.place?;
    Some(scan::line_and_column(text, at).0)
}

/// A fault of a whole document.
pub fn whole(kind: FaultKind) -> Fault {
    Fault { place: Vec::new(), line: 1, column: 1, kind }
}

/// The text with spaces for its comments and trailing commas, so that lines and columns stay what they were.
fn blanked<'a>(text: &'a str, blanks: &[Range<usize>]) -> Cow<'a, str> {
    if blanks.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut at = 0;
    for blank in blanks {
        plain += &text[at..blank.start];
        plain.extend(text[blank.clone()].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        at = blank.end;
    }
    Cow::Owned(plain + &text[at..])
}
