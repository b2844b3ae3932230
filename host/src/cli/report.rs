//! How failures are told, and which exit code they have.
use crate::failure::{Failure, FailureKind};
use crate::ground::words::one_line;
use std::io::Write;

/// The exit code of a kind of failure.
pub(super) fn exit_code(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Input => 2,
        FailureKind::Busy => 3,
        FailureKind::Plugin => 4,
        FailureKind::Bug => 70,
        FailureKind::Machine => 74,
        FailureKind::Interrupted => 130,
    }
}

/// Tells a person what could not be done, and returns the exit code.
pub(super) fn report(failure: &Failure) -> u8 {
    // A line break of somebody else would let a text of theirs look like a hint of ours.
    let mut text = format!("error: {}\n", one_line(&failure.what));
    if let Some(cause) = &failure.cause {
        text += &format!("caused by: {}\n", one_line(cause));
    }
    if let Some(hint) = &failure.hint {
        text += &format!("hint: {}\n", one_line(hint));
    }
    // Where standard error is closed there is nobody to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
    exit_code(failure.kind)
}
