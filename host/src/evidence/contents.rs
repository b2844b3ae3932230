//! What a bundle holds: its files, and where the bytes of a digest lie.
use crate::model::document::hex;
use std::collections::BTreeMap;
use std::io;

/// The file that says to programs of others what everything in the bundle is.
pub(super) const METADATA: &str = "ro-crate-metadata.json";
/// The folder of what attempts left, by digest.
const LEFT: &str = "files/";

/// A digest, as it is held for each of very many files.
type Sha256 = [u8; 32];

/// The files of a bundle, beside the manifest and the one that describes them to others' programs.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// What attempts left, by digest.
    left: BTreeMap<Sha256, u64>,
    /// Everything else, by path.
    named: BTreeMap<String, (Sha256, u64)>,
    /// Where the bytes lie that are named.
    places: BTreeMap<Sha256, String>,
}

impl Contents {
    /// Adds a file with a name.
    pub(super) fn add(&mut self, path: &str, sha256: &str, size: u64) {
        let Some(digest) = bytes_of(sha256) else { return };
        self.named.insert(path.to_owned(), (digest, size));
        self.places.entry(digest).or_insert_with(|| path.to_owned());
    }

    /// Adds what an attempt left.
    pub(super) fn add_left(&mut self, sha256: &str, size: u64) {
        if let Some(digest) = bytes_of(sha256) {
            self.left.insert(digest, size);
        }
    }

    /// Whether there is a file with this path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.named.contains_key(path)
    }

    /// Whether something that attempts left with this digest is there.
    pub(super) fn has_left(&self, sha256: &str) -> bool {
        bytes_of(sha256).is_some_and(|digest| self.left.contains_key(&digest))
    }

    /// The digest of a file with a name.
    pub(super) fn digest_of(&self, path: &str) -> Option<String> {
        self.named.get(path).map(|(digest, _)| hex(digest))
    }

    /// Where the bytes with this digest lie; nothing if the bundle does not have them.
    pub(super) fn place(&self, sha256: &str) -> Option<String> {
        let digest = bytes_of(sha256)?;
        if self.left.contains_key(&digest) { Some(left(sha256)) } else { self.places.get(&digest).cloned() }
    }

    /// Hands over every file with its digest and size, in the order of paths.
    pub(super) fn each(&self, each: &mut dyn FnMut(&str, &str, u64) -> io::Result<()>) -> io::Result<()> {
        let (before, after) = (self.named.range(..LEFT.to_owned()), self.named.range(LEFT.to_owned()..));
        for (path, (digest, size)) in before {
            each(path, &hex(digest), *size)?;
        }
        for (digest, size) in &self.left {
            let sha256 = hex(digest);
            each(&left(&sha256), &sha256, *size)?;
        }
        for (path, (digest, size)) in after {
            each(path, &hex(digest), *size)?;
        }
        Ok(())
    }
}

/// A line of the manifest, as `sha256sum` writes it: it begins with a backslash where the path has a character that
/// would break it, which is written as two.
pub(super) fn listed(path: &str, sha256: &str) -> String {
    let escaped = path.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    let mark = if escaped == path { "" } else { "\\" };
    format!("{mark}{sha256}  {escaped}\n")
}

/// Where a bundle has what attempts left.
pub(super) fn left(sha256: &str) -> String {
    format!("{LEFT}{sha256}")
}

fn bytes_of(sha256: &str) -> Option<Sha256> {
    let mut bytes = [0; 32];
    if sha256.len() != 64 || !sha256.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&sha256[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}
