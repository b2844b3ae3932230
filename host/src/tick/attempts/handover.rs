//! The acts of people who hold no lease: an answer, or the return of a kit. The tick that takes what they gave records
//! them, as their signature and the owner of the file tell, together with the end of the attempt: after a crash there
//! is both or neither.
use crate::ground::digest::digest;
use crate::ground::files::{open_directory, open_regular, read_whole};
use crate::model::act::{Act, Actor, Verb};
use crate::run::{SIGNATURE, SIGNATURE_MAX, Signature};
use crate::store::AttemptRow;
use cap_std::fs::{Dir, MetadataExt};
use serde::Deserialize;
use serde_json::json;
use std::path::Path;

/// Who gave something, as it stands beside what was given.
#[derive(Debug, Deserialize)]
struct Given {
    #[serde(flatten)]
    by: Signature,
    /// The return of a kit is named by its seal.
    #[serde(default)]
    seal: Option<String>,
}

/// What was given to an attempt that ended by it, as an act; nothing if nobody gave anything. The name of a user is
/// told by number.
pub(in crate::tick) fn act(directory: &Path, attempt: &AttemptRow, user_name: &dyn Fn(u32) -> String) -> Option<Act> {
    let directory = open_directory(directory).ok()?;
    let answer = || {
        let (bytes, _) = signature(&directory, SIGNATURE)?;
        let mut response = open_regular(&directory, "response.json").ok()?;
        let owner = response.metadata().ok()?.uid();
        let (digest, _) = digest(&mut response).ok()?;
        let signed: Given = serde_json::from_slice(&bytes).ok()?;
        // a note that belongs to another answer says nothing
        (signed.by.sha256 == digest).then_some((Verb::Respond, signed, owner))
    };
    let returned = || {
        let (bytes, owner) = signature(&directory, "import.json")?;
        Some((Verb::KitImport, serde_json::from_slice::<Given>(&bytes).ok()?, owner))
    };
    let (verb, Given { by: signed, seal }, owner) = answer().or_else(returned)?;
    let at = signed.at.parse::<jiff::Timestamp>().ok()?;
    let mut arguments = json!({"task": attempt.task_id, "attempt": attempt.id, "sha256": signed.sha256});
    if let Some(seal) = seal {
        arguments["seal"] = seal.into();
    }
    let mut by = Actor { user_id: signed.uid, user: signed.user, host: signed.host, version: signed.version };
    if owner != by.user_id {
        // a signature can say anything, and whose the file is cannot be made up
        arguments["signed_as"] = json!({"user_id": by.user_id, "user": by.user});
        (by.user_id, by.user) = (owner, user_name(owner));
    }
    Some(Act { verb, arguments, reason: signed.reason, by, at_ms: at.as_millisecond() })
}

/// A signature and who owns its file.
fn signature(directory: &Dir, name: &str) -> Option<(Vec<u8>, u32)> {
    let file = open_regular(directory, name).ok()?;
    let owner = file.metadata().ok()?.uid();
    Some((read_whole(file, SIGNATURE_MAX).ok()?, owner))
}
