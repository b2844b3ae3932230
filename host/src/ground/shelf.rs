//! Large files that many runs hold, each once on the disk: they lie in a directory of the user's, under their digests,
//! and a run gets a clone or a second name of one, where the file system can, else a copy.
//!
//! Nobody writes into such a file: it is read-only, and whatever replaces one takes its name and leaves the bytes,
//! which others may hold, as they are. What a run gets is read there and held against its digest, so that a file that
//! somebody did write into is found, and another put in its place. A crash leaves a file beside that nothing reads.
use super::digest::digest;
use super::files::{is_own, new_file, open_regular_path};
use std::borrow::Cow;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Smaller files are not worth a place on the shelf.
const SHELVED_MIN: u64 = 1024 * 1024;

/// What is to be put somewhere: its digest, its size, and where to have its bytes if they are needed.
pub struct Wanted<'a, F> {
    /// The SHA-256, 64 hexadecimal digits.
    pub sha256: &'a str,
    /// Bytes.
    pub size: u64,
    /// Gives the bytes.
    pub bytes: F,
}

/// Puts a file in place, whole, with as little copying as can be. Its bytes are durable, its name as soon as its
/// directory is. One that is there already and has this digest stays; a file that has the name is replaced, never
/// written into.
///
/// # Errors
/// If its bytes cannot be had or written.
pub fn put_shared<'a>(
    shelf: Option<&Path>,
    to: &Path,
    wanted: &Wanted<'_, impl Fn() -> io::Result<Cow<'a, [u8]>>>,
) -> io::Result<()> {
    if has_digest(to, wanted.sha256) {
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    let part = Part::beside(to);
    let shelf = shelf.filter(|_| wanted.size >= SHELVED_MIN);
    let taken = shelf.is_some_and(|shelf| take(shelf, &part.0, wanted).is_some());
    if !taken {
        part.clear()?;
        let mut file = new_file(&part.0)?;
        file.write_all(&(wanted.bytes)()?)?;
        file.sync_all()?;
    }
    fs::rename(&part.0, to)
}

/// Takes the file from the shelf, where it is put first if it is not there.
fn take<'a>(shelf: &Path, part: &Path, wanted: &Wanted<'_, impl Fn() -> io::Result<Cow<'a, [u8]>>>) -> Option<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(shelf).ok()?;
    let kept = shelf.join(wanted.sha256);
    // once as it lies there, and once more if that was not what its name says
    for _ in 0..2 {
        if !open_regular_path(&kept).and_then(|file| file.metadata()).is_ok_and(|kept| is_own(&kept)) {
            keep(&kept, &(wanted.bytes)().ok()?).ok()?;
        }
        if share(&kept, part).is_err() {
            return None;
        }
        if has_digest(part, wanted.sha256) {
            return File::open(part).and_then(|file| file.sync_all()).ok();
        }
        let _ = fs::remove_file(part);
        let _ = fs::remove_file(&kept);
    }
    None
}

/// A clone, which is a file by itself, else a second name; neither across file systems.
fn share(kept: &Path, part: &Path) -> io::Result<()> {
    let (from, clone) = (open_regular_path(kept)?, new_file(part)?);
    if rustix::fs::ioctl_ficlone(&clone, &from).is_ok() {
        return Ok(());
    }
    fs::remove_file(part)?;
    fs::hard_link(kept, part)
}

/// Puts a file on the shelf. Whoever may look into a run may read what it holds, so that it is for all to read; the
/// shelf itself is the user's alone.
fn keep(kept: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = Part::beside(kept);
    let mut file = new_file(&part.0)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(0o444))?;
    file.sync_all()?;
    fs::rename(&part.0, kept)
}

/// Whether there is a regular file with this digest.
fn has_digest(path: &Path, sha256: &str) -> bool {
    open_regular_path(path).and_then(|mut file| digest(&mut file)).is_ok_and(|(found, _)| found == sha256)
}

/// A file in the making beside its place, which goes unless it got there.
struct Part(PathBuf);

impl Part {
    fn beside(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self(path.with_file_name(format!(".{name}.{}", super::random::new_attempt_id())))
    }

    fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::document::sha256;
    use std::cell::Cell;
    use std::os::unix::fs::MetadataExt;

    struct Place {
        scratch: tempfile::TempDir,
        bytes: Vec<u8>,
        asked: Cell<u32>,
    }

    impl Place {
        fn new(size: u64) -> Self {
            let bytes = (0..size).map(|n| (n * 7 + n / 251) as u8).collect();
            Self { scratch: tempfile::tempdir().expect("a scratch directory"), bytes, asked: Cell::new(0) }
        }

        fn shelf(&self) -> PathBuf {
            self.scratch.path().join("shelf")
        }

        fn kept(&self) -> PathBuf {
            self.shelf().join(sha256(&self.bytes))
        }

        fn put(&self, name: &str) -> PathBuf {
            let to = self.scratch.path().join(name).join("plugins/a.wasm");
            let bytes = || {
                self.asked.set(self.asked.get() + 1);
                Ok(Cow::Borrowed(&self.bytes[..]))
            };
            let sha256 = sha256(&self.bytes);
            let wanted = Wanted { sha256: &sha256, size: self.bytes.len() as u64, bytes };
            put_shared(Some(&self.shelf()), &to, &wanted).expect("it is put there");
            assert!(fs::read(&to).expect("a file") == self.bytes, "{name}");
            let beside = fs::read_dir(to.parent().expect("a directory")).expect("a directory").count();
            assert_eq!(beside, 1, "{name}: nothing is left beside it");
            to
        }
    }

    #[test]
    fn the_bytes_of_a_large_file_are_asked_for_once_and_lie_once() {
        let place = Place::new(SHELVED_MIN);
        let (first, second) = (place.put("first"), place.put("second"));
        assert_eq!(place.asked.get(), 1);
        let number = |path: &Path| fs::metadata(path).expect("a file").ino();
        let clones = number(&first) != number(&place.kept());
        assert!(clones || number(&first) == number(&second), "neither clones nor second names");
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        assert_eq!((mode(&place.kept()), mode(&place.shelf())), (0o444, 0o700));
        place.put("first");
        assert_eq!(place.asked.get(), 1, "what is there stays");
    }

    #[test]
    fn what_somebody_wrote_into_is_found_and_replaced_and_not_written_into_again() {
        let place = Place::new(SHELVED_MIN);
        let first = place.put("first");
        let number = fs::metadata(&first).expect("a file").ino();
        fs::set_permissions(place.kept(), Permissions::from_mode(0o644)).expect("a mode");
        let mut spoilt = place.bytes.clone();
        spoilt[1000] ^= 1;
        fs::write(place.kept(), &spoilt).expect("written into");
        place.put("second");
        assert_eq!(place.asked.get(), 2, "it was made anew");
        // and a run that had it gets another file, in place of the one that others may hold
        place.put("first");
        assert!(fs::read(place.kept()).expect("a file") == place.bytes);
        assert_ne!(fs::metadata(&first).expect("a file").ino(), number);
    }

    #[test]
    fn where_there_is_no_shelf_it_is_copied() {
        let in_the_way = Place::new(SHELVED_MIN);
        fs::write(in_the_way.shelf(), b"a file").expect("a file");
        in_the_way.put("first");
        let writable = Place::new(SHELVED_MIN);
        writable.put("first");
        fs::set_permissions(writable.kept(), Permissions::from_mode(0o666)).expect("a mode");
        writable.put("second");
        assert_eq!(writable.asked.get(), 2, "what others may write to is not taken");
        let small = Place::new(SHELVED_MIN - 1);
        small.put("first");
        assert!(!small.shelf().exists());
    }
}
