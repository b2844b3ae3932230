//! Carries attempt directories to a cluster that does not share this machine's files, and results back.
//!
//! Each direction is one stream for a whole batch, checked by SHA-256 at its end, and put in place only when it is
//! whole. Every carriage may be repeated: what is there already stays, and a directory in which a job has begun is not
//! touched. What comes back is not trusted: regular files only, named beforehand, inside their attempt's directory,
//! within a quota. Over there it takes a POSIX shell with the GNU tools (tar, find, grep, coreutils), as every Linux
//! cluster has them.
mod fetch;
mod pattern;
mod put;

pub(in crate::backend) use fetch::note_kept;
pub use fetch::{Fetched, Kept, Wanted};
pub use put::{Carry, Parcel, Put, RemoteFile, check};

use super::transport::{Exec, Finished, NoAnswer, Transport};
use crate::ground::words::quoted;
use crate::model::attempt_dir::CARRIED;
use crate::model::config::SlurmConfig;
use std::io;
use std::time::Duration;

/// Where runs go over there if the backend has no `remote_root`.
const ROOT: &str = "~/.matterstack/runs";
/// How long one stream of a batch may take, beside what its bytes allow it.
const STREAM: Duration = Duration::from_secs(1800);
/// What is fetched of every ended attempt, whatever its patterns say.
const OWN: &[&str] = &["stdout", "stderr", "exit.json", ".claim/owner", ".claim/fenced", CARRIED];

/// The directory of one run over there, and the way to it.
#[derive(Debug, Clone, Copy)]
pub struct Carrier<'a> {
    /// The way.
    pub transport: &'a dyn Transport,
    /// `remote_root` of the backend, as it was configured.
    pub root: &'a str,
    /// The run's id, which names its directory below the root.
    pub run: &'a str,
    /// How long one stream may take, beside what its bytes allow it.
    pub timeout: Duration,
}

/// Why something was not carried. Nothing was put in place.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// No answer; it may be repeated.
    #[error("{0}")]
    NoAnswer(NoAnswer),
    /// There is no room over there.
    #[error("no room at the far end: {0}")]
    NoRoom(String),
    /// The far end would not: its exit code and what it said.
    #[error("the far end failed with {0}: {1}")]
    Refused(i32, String),
    /// What arrived is not what was sent.
    #[error("what arrived is not what was sent: {0}")]
    Damaged(String),
    /// This machine failed.
    #[error("{0}: {1}")]
    Here(String, #[source] io::Error),
}

impl<'a> Carrier<'a> {
    /// The way to the attempt directories of the run with this id; nothing if the cluster shares this machine's files.
    pub fn of(settings: &'a SlurmConfig, transport: &'a dyn Transport, run: &'a str) -> Option<Self> {
        settings.ssh.as_ref()?;
        let root = settings.remote_root.as_deref().unwrap_or(ROOT);
        Some(Self { transport, root, run, timeout: STREAM })
    }
}

impl Carrier<'_> {
    /// The run's directory over there, as a word for the shell over there.
    pub fn place(&self) -> String {
        format!("{}/{}", root_word(self.root), quoted(self.run))
    }

    /// Makes the run's directory over there, and returns where it is.
    ///
    /// # Errors
    /// If there is no answer, or it cannot be made.
    pub(in crate::backend) fn make_place(&self) -> Result<String, CarryError> {
        let script = format!("umask 077; mkdir -p -- {0} && cd {0} && pwd -P", self.place());
        let done = self.exec(Exec::of(&script, self.timeout))?;
        let text = String::from_utf8_lossy(&done.stdout);
        match text.strip_suffix('\n') {
            Some(place) if place.starts_with('/') && !place.contains('\n') => Ok(place.to_owned()),
            _ => Err(CarryError::Damaged(format!("`{}` is no directory", text.trim()))),
        }
    }

    /// Removes the directories of these attempts over there; returns how many bytes that freed. None that is not there
    /// is an error.
    ///
    /// # Errors
    /// If there is no answer, or something cannot be removed.
    pub fn remove(&self, attempts: &[String]) -> Result<u64, CarryError> {
        let words: Vec<String> = attempts.iter().map(|attempt| quoted(attempt)).collect();
        let script = format!(
            "set -e\ncd {} 2>/dev/null || {{ echo 0; exit 0; }}\nn=0\nfor a in {}; do\n  [ -d \"./$a\" ] || continue\n  \
             k=$(du -sk -- \"./$a\"); n=$((n + ${{k%%[!0-9]*}}))\n  rm -rf -- \"./$a\"\ndone\necho $((n * 1024))\n\
             cd .. && rmdir -- {} 2>/dev/null || :",
            self.place(),
            words.join(" "),
            quoted(self.run)
        );
        let done = self.exec(Exec::of(&script, self.timeout))?;
        let text = String::from_utf8_lossy(&done.stdout);
        text.trim().parse().map_err(|_| CarryError::Damaged(text.trim().to_owned()))
    }

    /// The attempts that have a directory over there.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn list(&self) -> Result<Vec<String>, CarryError> {
        let script = format!(
            "cd {} 2>/dev/null || exit 0\nfor a in *; do [ ! -d \"./$a\" ] || printf '%s\\n' \"$a\"; done",
            self.place()
        );
        let done = self.exec(Exec::of(&script, self.timeout))?;
        Ok(String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect())
    }

    fn exec(&self, call: Exec<'_>) -> Result<Finished, CarryError> {
        let done = self.transport.exec(call).map_err(CarryError::NoAnswer)?;
        if done.code == 0 {
            return Ok(done);
        }
        let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        let full = ["No space left on device", "Disk quota exceeded"].iter().any(|text| said.contains(text));
        Err(if full { CarryError::NoRoom(self.root.to_owned()) } else { CarryError::Refused(done.code, said) })
    }
}

/// `remote_root` as a word for the shell over there, where `~` and one leading variable such as `$SCRATCH` have their
/// meaning.
pub(in crate::backend) fn root_word(root: &str) -> String {
    let root = root.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(root);
    let (first, rest) = root.split_once('/').map_or((root, None), |(first, rest)| (first, Some(rest)));
    let rest = rest.map(|rest| format!("/{}", quoted(rest))).unwrap_or_default();
    let variable = first.strip_prefix('$').map(|name| name.trim_start_matches('{').trim_end_matches('}'));
    let plain = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    match variable {
        _ if first == "~" => format!("\"$HOME\"{rest}"),
        Some(name) if plain(name) => format!("\"${{{name}:?}}\"{rest}"),
        _ => quoted(root),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_words() {
        let cases = [
            ("/scratch/me/", "/scratch/me"),
            ("~/runs", "\"$HOME\"/runs"),
            ("~", "\"$HOME\""),
            ("$SCRATCH/a b", "\"${SCRATCH:?}\"/'a b'"),
            ("${WORK}/x", "\"${WORK:?}\"/x"),
            ("$(id)/x", "'$(id)/x'"),
            ("/a'b", r"'/a'\''b'"),
            ("/", "/"),
        ];
        for (root, word) in cases {
            assert_eq!(root_word(root), word, "{root}");
        }
    }
}
