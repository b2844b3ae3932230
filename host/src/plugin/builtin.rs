//! The standard plugins, embedded in the binary by the build script, and the runners of scripts: those that were made
//! before the host are embedded too, compressed; others are taken from what the user added.
use super::runner;
use crate::ground::failpoint;
use crate::model::document::sha256;
use crate::model::script::Language;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// How a component lies in the binary.
#[allow(dead_code, reason = "a binary that is built where no runner was made has nothing that is compressed")]
enum Content {
    Plain(&'static [u8]),
    /// Compressed, with its digest and its size, so that nothing is unpacked to know them.
    Packed {
        bytes: &'static [u8],
        sha256: &'static str,
        size: u64,
    },
}

use Content::{Packed, Plain};

/// The plugins by the name after `builtin:`.
static BUILTINS: &[(&str, Content)] = include!(concat!(env!("OUT_DIR"), "/builtins.rs"));

/// What of this process was unpacked or read, by digest: it stays until the process ends.
static AT_HAND: Mutex<BTreeMap<String, &'static [u8]>> = Mutex::new(BTreeMap::new());

/// A standard plugin.
#[derive(Debug, Clone)]
pub struct Standard {
    /// The SHA-256 of its component.
    pub sha256: String,
    /// Bytes of its component.
    pub size: u64,
    /// The name after `builtin:`.
    name: String,
    /// Whether it lies in the binary.
    embedded: bool,
}

/// Returns what is known of the component that `builtin:NAME` stands for; none of a large one is unpacked for that.
pub fn standard(name: &str) -> Option<Standard> {
    let known = |sha256: String, size, embedded| Standard { sha256, size, name: name.to_owned(), embedded };
    match embedded(name) {
        Some(Plain(bytes)) => Some(known(sha256(bytes), bytes.len() as u64, true)),
        Some(Packed { sha256, size, .. }) => Some(known((*sha256).to_owned(), *size, true)),
        None => runner::added(name).map(|added| known(added.sha256, added.size, false)),
    }
}

impl Standard {
    /// Its bytes, if they can still be had.
    pub fn bytes(&self) -> Option<&'static [u8]> {
        let at_hand = || AT_HAND.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Plain(bytes)) = embedded(&self.name) {
            return Some(bytes);
        }
        if let Some(bytes) = at_hand().get(&self.sha256).copied() {
            return Some(bytes);
        }
        let bytes = match embedded(&self.name) {
            Some(Packed { bytes, size, .. }) => zstd::bulk::decompress(bytes, usize::try_from(*size).ok()?).ok()?,
            Some(Plain(_)) | None => runner::read_added(&self.name, &self.sha256)?,
        };
        Some(at_hand().entry(self.sha256.clone()).or_insert_with(|| Vec::leak(bytes)))
    }

    /// Whether it lies in the binary, and was not added by the user.
    pub fn is_embedded(&self) -> bool {
        self.embedded
    }
}

fn embedded(name: &str) -> Option<&'static Content> {
    if Language::of_runner(name).is_some() && failpoint::is_named("no-runners") {
        return None;
    }
    BUILTINS.iter().find(|(known, _)| *known == name).map(|(_, content)| content)
}

/// Returns the component that `builtin:NAME` stands for.
pub fn builtin(name: &str) -> Option<&'static [u8]> {
    match embedded(name) {
        // its digest is not wanted
        Some(Plain(bytes)) => Some(bytes),
        Some(Packed { .. }) | None => standard(name)?.bytes(),
    }
}

/// The names that may follow `builtin:`, but for the runners of scripts, of which there may be none.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILTINS.iter().map(|(name, _)| *name).filter(|name| Language::of_runner(name).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_and_sizes_are_those_of_the_bytes() {
        let carried = Language::ALL.map(Language::runner).into_iter().filter(|runner| embedded(runner).is_some());
        for name in names().chain(carried) {
            let (known, bytes) = (standard(name).expect("it is known"), builtin(name).expect("its bytes"));
            assert_eq!((known.sha256, known.size), (sha256(bytes), bytes.len() as u64), "{name}");
        }
        assert!(standard("no-such-plugin").is_none() && builtin("no-such-plugin").is_none());
    }
}
