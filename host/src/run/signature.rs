//! Who gave the answer that lies in an attempt directory.
use crate::ground::files::{open_regular_path, put, read_regular, read_whole};
use crate::ground::machine;
use crate::model::act::VERSION;
use crate::model::document::sha256;
use crate::model::rules::{Person, is_among, people};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The largest answer, in bytes; operators may take less.
pub const ANSWER_MAX: u64 = 16 * 1024 * 1024;
/// Who gave the answer.
pub(crate) const SIGNATURE: &str = "response.by.json";
/// The largest signature, in bytes.
pub(crate) const SIGNATURE_MAX: u64 = 64 * 1024;

/// Who did something from outside, and when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Signature {
    /// The name of the user.
    pub user: String,
    /// The user's number.
    pub uid: u32,
    /// The machine.
    pub host: String,
    /// When, as RFC 3339 in UTC.
    pub at: String,
    /// SHA-256 of what was given, 64 hexadecimal digits.
    pub sha256: String,
    /// The version of this program; absent for a file that nobody signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether it is the owner of a file that nobody signed, and when that was written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
    /// Why, in the words of who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Signature {
    /// Signs bytes as the user of this process.
    pub fn of(bytes: &[u8], reason: Option<&str>, now_ms: i64) -> Self {
        let at = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
        Self {
            user: machine::user_name(),
            uid: machine::user_id(),
            host: machine::host_name(),
            at: format!("{at:.3}"),
            sha256: sha256(bytes),
            version: Some(VERSION.to_owned()),
            by_hand: false,
            reason: reason.map(str::to_owned),
        }
    }

    /// Its JSON, as it stands beside an answer.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| panic!("bug: a signature has no JSON: {error}")) + "\n"
    }

    /// Signs the bytes of a file as its owner.
    fn of_owner(bytes: &[u8], metadata: &fs::Metadata, user_name: &dyn Fn(u32) -> String) -> Self {
        let at = metadata.modified().ok().and_then(|at| jiff::Timestamp::try_from(at).ok()).unwrap_or_default();
        Self {
            user: user_name(metadata.uid()),
            uid: metadata.uid(),
            host: machine::host_name(),
            at: format!("{at:.3}"),
            sha256: sha256(bytes),
            version: None,
            by_hand: true,
            reason: None,
        }
    }
}

impl std::fmt::Display for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{} (uid {}) at {}", self.user, self.host, self.uid, self.at)
    }
}

/// Who gave the answer that lies in an attempt directory, and whether that is written down there. Nothing if there is
/// none, or what is there cannot be read. The name of a user is told by number.
pub(crate) fn signature_of_answer(directory: &Path, user_name: &dyn Fn(u32) -> String) -> Option<(Signature, bool)> {
    let file = open_regular_path(&directory.join("response.json")).ok()?;
    let metadata = file.metadata().ok()?;
    let bytes = read_whole(file, ANSWER_MAX).ok()?;
    let signed = read_regular(&directory.join(SIGNATURE), SIGNATURE_MAX).ok().flatten();
    let signed: Option<Signature> = signed.and_then(|text| serde_json::from_slice(&text).ok());
    let signed = signed.filter(|by| by.sha256 == sha256(&bytes)).map(|by| (by, true));
    signed.or_else(|| Some((Signature::of_owner(&bytes, &metadata, user_name), false)))
}

/// What stands beside a question whose last answer was set aside because it was not that of who may answer.
const SET_ASIDE: &str = "response.refused.json";

/// An answer that was set aside because of who gave it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SetAside {
    /// The owner of its file.
    pub(crate) uid: u32,
    /// The owner's name.
    pub(crate) user: String,
    /// SHA-256 of the answer.
    pub(crate) sha256: String,
    /// In a sentence.
    pub(crate) why: String,
}

/// Sets an answer aside that is none of these people's, so that the operator that asked never sees it. Whose it is, the
/// owner of the file tells. Nothing if there is no answer, or it is theirs.
///
/// # Errors
/// If it cannot be set aside.
pub(crate) fn set_aside_answer(
    directory: &Path,
    by: &[Person],
    user_name: &dyn Fn(u32) -> String,
) -> io::Result<Option<SetAside>> {
    let place = directory.join("response.json");
    let Ok(file) = open_regular_path(&place) else { return Ok(None) };
    let metadata = file.metadata()?;
    let writable = metadata.mode() & 0o022 != 0;
    let theirs = is_among(by, metadata.uid(), &machine::user_number);
    if theirs && !writable {
        return Ok(None);
    }
    let (uid, user) = (metadata.uid(), user_name(metadata.uid()));
    let rule =
        if theirs { "others may write to its file".to_owned() } else { format!("only {} may answer", people(by)) };
    let sha256 = sha256(&read_whole(file, ANSWER_MAX).unwrap_or_default());
    let aside = SetAside { uid, why: format!("an answer of `{user}` (uid {uid}) was set aside: {rule}"), user, sha256 };
    let number = (1..).find(|number| !directory.join(format!("response.refused-{number}.json")).exists());
    fs::rename(&place, directory.join(format!("response.refused-{}.json", number.unwrap_or(1))))?;
    let text = serde_json::to_string(&aside).map_err(io::Error::other)? + "\n";
    put(&directory.join(SET_ASIDE), text.as_bytes(), true)?;
    Ok(Some(aside))
}

/// Why the last answer was set aside that was not of who may answer, if one was.
pub(crate) fn was_set_aside(directory: &Path) -> Option<String> {
    let text = read_regular(&directory.join(SET_ASIDE), SIGNATURE_MAX).ok().flatten()?;
    serde_json::from_slice::<SetAside>(&text).ok().map(|aside| aside.why)
}

/// Notes beside an answer that was written by hand whose file it is: an operator in its sandbox cannot see that. Where
/// it cannot be noted, the record will not say who answered.
pub(crate) fn sign_what_came_by_hand(directory: &Path, user_name: &dyn Fn(u32) -> String) {
    if let Some((signature, false)) = signature_of_answer(directory, user_name)
        && directory.join("schema.json").is_file()
    {
        let _ = put(&directory.join(SIGNATURE), signature.to_line().as_bytes(), true);
    }
}
