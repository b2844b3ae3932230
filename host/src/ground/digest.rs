//! SHA-256 of streams, in pieces, so that a large file is never held in memory, and so that its digest can be put aside
//! and taken up again by another process.
use super::files::open_regular_path;
use crate::model::document::hex;
use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The bytes that are read at once.
pub const PIECE: usize = 256 * 1024;
/// The bytes that are read first: most logs are shorter, and a large buffer must be cleared.
const FIRST: usize = 4 * 1024;

/// A digest in the making.
#[derive(Debug, Clone, Default)]
pub struct Hashing {
    hasher: Sha256,
    size: u64,
}

impl Hashing {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up one that was put aside; nothing if the text is none.
    pub(super) fn taken_up(state: &str, size: u64) -> Option<Self> {
        let digits: Vec<u8> = state.bytes().collect();
        let bytes = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
        let state = SerializedState::<Sha256>::try_from(bytes.as_slice()).ok()?;
        Some(Self { hasher: Sha256::deserialize(&state).ok()?, size })
    }

    /// As a text from which it can be taken up again.
    pub fn put_aside(&self) -> String {
        hex(&self.hasher.serialize())
    }

    /// Goes on with these bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// How many bytes it has seen.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest, as 64 hexadecimal digits.
    pub fn finish(self) -> String {
        hex(&self.hasher.finalize())
    }
}

/// SHA-256, as 64 hexadecimal digits, and the number of bytes of all that can be read.
///
/// # Errors
/// If reading fails.
pub fn digest(source: &mut impl Read) -> io::Result<(String, u64)> {
    copy_hashed(source, &mut io::sink())
}

/// Digests of files that this process has read, with what they were like then.
static READ: Mutex<BTreeMap<PathBuf, (Stamp, String)>> = Mutex::new(BTreeMap::new());
/// How many of them are kept.
const READ_MAX: usize = 10_000;

/// The digest of a regular file of which the system has just said this. One that has not been changed since this
/// process read it is not read again.
///
/// # Errors
/// If it cannot be read, or is no regular file.
pub fn digest_of(path: &Path, metadata: &Metadata) -> io::Result<String> {
    let read = || READ.lock().unwrap_or_else(PoisonError::into_inner);
    let stamp = Stamp::of(metadata);
    let known = read().get(path).filter(|(known, _)| *known == stamp).map(|(_, sha256)| sha256.clone());
    if let Some(sha256) = known {
        return Ok(sha256);
    }
    let mut file = open_regular_path(&std::fs::canonicalize(path)?)?;
    let stamp = Stamp::of(&file.metadata()?);
    let (sha256, _) = digest(&mut file)?;
    let mut read = read();
    if read.len() >= READ_MAX {
        read.clear();
    }
    read.insert(path.to_owned(), (stamp, sha256.clone()));
    Ok(sha256)
}

/// Copies all that can be read, and tells its digest and its size.
///
/// # Errors
/// If reading or writing fails.
pub fn copy_hashed(from: &mut impl Read, to: &mut impl Write) -> io::Result<(String, u64)> {
    let (mut hashing, mut buffer) = (Hashing::new(), vec![0_u8; FIRST]);
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                hashing.update(&buffer[..read]);
                to.write_all(&buffer[..read])?;
                if read == buffer.len() && read < PIECE {
                    buffer = vec![0_u8; PIECE];
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let size = hashing.size();
    Ok((hashing.finish(), size))
}

/// A stream that hashes what passes through it, in either direction.
#[derive(Debug)]
pub struct Hashed<T> {
    inner: T,
    hashing: Hashing,
    most: u64,
}

impl<T> Hashed<T> {
    /// Lets at most `most` bytes be written.
    pub fn new(inner: T, most: u64) -> Self {
        Self { inner, hashing: Hashing::new(), most }
    }

    /// How many bytes have passed.
    pub fn size(&self) -> u64 {
        self.hashing.size()
    }

    /// Of all that has passed.
    pub fn finish(self) -> String {
        self.hashing.finish()
    }
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hashing.update(&buffer[..count]);
        Ok(count)
    }
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size() + bytes.len() as u64 > self.most {
            return Err(io::Error::other("more than was asked for"));
        }
        let count = self.inner.write(bytes)?;
        self.hashing.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// What tells whether a file is as it was, without reading it: which one it is, its size, and when it was last changed,
/// in nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Stamp {
    /// Of a file, by what the system says of it.
    pub fn of(metadata: &Metadata) -> Self {
        let ns = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The size, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether nothing of the file was changed at or after a time, in nanoseconds since the epoch.
    pub fn changed_before(&self, at_ns: i128) -> bool {
        self.changed_ns < at_ns && self.modified_ns < at_ns
    }

    /// Whether both are of the same file, changed or not.
    pub fn same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_that_was_put_aside_comes_to_the_same() {
        let bytes: Vec<u8> = (0..1000_u32).map(|n| (n * 7) as u8).collect();
        let whole = crate::model::document::sha256(&bytes);
        for cut in [0, 1, 63, 64, 65, 999, 1000] {
            let mut begun = Hashing::new();
            begun.update(&bytes[..cut]);
            let mut again = Hashing::taken_up(&begun.put_aside(), begun.size()).expect("a state");
            again.update(&bytes[cut..]);
            assert_eq!((again.size(), again.finish()), (1000, whole.clone()), "cut at {cut}");
        }
        for wrong in ["", "zz", "00", "ä"] {
            assert!(Hashing::taken_up(wrong, 0).is_none(), "{wrong}");
        }
        assert_eq!(digest(&mut bytes.as_slice()).expect("read"), (whole, 1000));
    }
}
