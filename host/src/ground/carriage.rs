//! Brings files to where a job will find them, and hashes what it left: in pieces, up to an allowance, and so that what
//! was put aside is taken up where it was left, by this process or by a later one.
use super::digest::{Hashing, PIECE, Stamp};
use super::files::{open_with, put};
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt as _};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The size from which a file is cloned, in bytes.
const CLONED_MIN: u64 = 64 * 1024;

/// Bytes that may still be read and written before somebody else gets a turn.
#[derive(Debug, Clone)]
pub struct Allowance(Cell<u64>);

/// What a tick may read and write before somebody else gets a turn: a second or two, on most machines.
const OF_A_TICK: u64 = 512 * 1024 * 1024;

impl Default for Allowance {
    fn default() -> Self {
        Self::new(OF_A_TICK)
    }
}

impl Allowance {
    /// So many bytes.
    pub fn new(bytes: u64) -> Self {
        Self(Cell::new(bytes))
    }

    /// Whether there is nothing left of it.
    pub(super) fn is_used_up(&self) -> bool {
        self.0.get() == 0
    }

    fn take(&self, bytes: usize) {
        self.0.set(self.0.get().saturating_sub(bytes as u64));
    }
}

/// A file's digest and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digested {
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// How far the host has come with the files of an attempt.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Carriage {
    done: BTreeMap<String, (Stamp, Digested)>,
    open: Option<Open>,
    /// Whether there is anything here that the disk does not have.
    #[serde(skip)]
    newer: bool,
    #[serde(skip)]
    stored: bool,
}

/// A file that was begun.
#[derive(Debug, Serialize, Deserialize)]
struct Open {
    path: String,
    stamp: Stamp,
    size: u64,
    state: String,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// All of it was read, and written where that was wanted.
    Whole(Digested),
    /// The allowance is used up; how many bytes are done.
    PutAside(u64),
}

/// What must be so of a file that is brought.
#[derive(Debug, Clone, Copy)]
pub struct Bring<'a> {
    /// Where it goes, below the directory.
    pub destination: &'a str,
    /// Where it waits there until it is whole.
    pub part: &'a str,
    /// Whether it can be executed.
    pub executable: bool,
    /// The digest that it must have.
    pub sha256: Option<&'a str>,
    /// The most bytes that it may have.
    pub most: u64,
}

impl Carriage {
    /// Reads what was put aside; nothing was if it cannot be read.
    pub fn read(path: &Path) -> Self {
        let bytes = super::files::read_regular(path, 256 * 1024 * 1024).ok().flatten();
        let found = bytes.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        found.map_or_else(Self::default, |found| Self { stored: true, ..found })
    }

    /// Whether an earlier process put something aside.
    pub fn was_put_aside(&self) -> bool {
        self.stored
    }

    /// Puts it aside, for a process that goes on.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&mut self, path: &Path) -> io::Result<()> {
        if std::mem::take(&mut self.newer) {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            put(path, &serde_json::to_vec(self)?, true)?;
            self.stored = true;
        }
        Ok(())
    }

    /// Forgets what was put aside: all is done, or nothing of it is wanted any more.
    pub fn forget(&mut self, path: &Path) {
        if std::mem::take(&mut self.stored) {
            // what stays is of no harm: it is looked at with its stamps
            let _ = std::fs::remove_file(path);
        }
        *self = Self::default();
    }

    /// Hashes a file, named `path` among those of the attempt.
    ///
    /// # Errors
    /// If it cannot be read, or has more than `most` bytes, which is an error of the kind `FileTooLarge`.
    pub fn hash(
        &mut self,
        file: &mut std::fs::File,
        path: &str,
        most: u64,
        allowance: &Allowance,
    ) -> io::Result<Carried> {
        let stamp = Stamp::of(&file.metadata()?);
        self.go_on(path, stamp, file, None, most, allowance)
    }

    /// Copies a file below a directory, by cloning where the file system can.
    ///
    /// # Errors
    /// If it cannot be read or written, or is not what it must be, which is an error of the kind `InvalidData`.
    pub fn bring(
        &mut self,
        from: &mut std::fs::File,
        into: &Dir,
        what: Bring<'_>,
        allowance: &Allowance,
    ) -> io::Result<Carried> {
        let metadata = from.metadata()?;
        let stamp = Stamp::of(&metadata);
        if let Some((known, digested)) = self.done.get(what.destination)
            && *known == stamp
        {
            return Ok(Carried::Whole(digested.clone()));
        }
        let begun = self.open.as_ref().is_some_and(|open| open.path == what.destination && open.stamp == stamp);
        let mut part = open_part(into, what.part, begun)?;
        let cloned = match begun {
            true => part.metadata()?.len() == stamp.size() && self.open.as_ref().is_some_and(|o| o.size < stamp.size()),
            // for a small file it costs more than a copy
            false => {
                (CLONED_MIN..=what.most).contains(&stamp.size()) && rustix::fs::ioctl_ficlone(&part, &*from).is_ok()
            }
        };
        let to = (!cloned).then_some(&mut part);
        let carried = self.go_on(what.destination, stamp, from, to, what.most, allowance)?;
        let Carried::Whole(digested) = &carried else { return Ok(carried) };
        if what.sha256.is_some_and(|sha256| sha256 != digested.sha256) {
            self.done.remove(what.destination);
            drop(part);
            into.remove_file(what.part)?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it was changed"));
        }
        put_part_in_place(into, &part, what)?;
        Ok(carried)
    }

    /// Goes to where a file was put aside, if this one was, else to its beginning.
    fn take_up(
        &mut self,
        path: &str,
        stamp: &Stamp,
        from: &mut std::fs::File,
        to: Option<&mut File>,
    ) -> io::Result<Hashing> {
        let open = self.open.take().filter(|open| open.path == path && open.stamp == *stamp);
        let hashing = open.and_then(|open| Hashing::taken_up(&open.state, open.size)).unwrap_or_default();
        from.seek(SeekFrom::Start(hashing.size()))?;
        if let Some(to) = to {
            // a file that is cut to nothing is written out when it is closed, on ext4, and a new one has nothing yet
            if to.metadata()?.len() != hashing.size() {
                to.set_len(hashing.size())?;
            }
            to.seek(SeekFrom::Start(hashing.size()))?;
        }
        Ok(hashing)
    }

    fn go_on(
        &mut self,
        path: &str,
        stamp: Stamp,
        from: &mut std::fs::File,
        mut to: Option<&mut File>,
        most: u64,
        allowance: &Allowance,
    ) -> io::Result<Carried> {
        if let Some((known, digested)) = self.done.get(path)
            && *known == stamp
        {
            return Ok(Carried::Whole(digested.clone()));
        }
        // the size that is known beforehand spares reading what is refused anyway; what still grows is cut off
        let too_large =
            |size: u64| if size > most { Err(io::Error::from(io::ErrorKind::FileTooLarge)) } else { Ok(()) };
        too_large(stamp.size())?;
        let mut hashing = self.take_up(path, &stamp, from, to.as_deref_mut())?;
        let mut buffer = vec![0_u8; PIECE.min(usize::try_from(stamp.size()).unwrap_or(PIECE) + 1)];
        loop {
            if allowance.is_used_up() {
                let size = hashing.size();
                self.open = Some(Open { path: path.to_owned(), stamp, size, state: hashing.put_aside() });
                self.newer = true;
                return Ok(Carried::PutAside(size));
            }
            let read = match from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                break;
            }
            allowance.take(read);
            hashing.update(&buffer[..read]);
            too_large(hashing.size())?;
            if let Some(to) = &mut to {
                to.write_all(&buffer[..read])?;
            }
        }
        let size = hashing.size();
        let digested = Digested { sha256: hashing.finish(), size };
        self.done.insert(path.to_owned(), (stamp, digested.clone()));
        self.newer = true;
        Ok(Carried::Whole(digested))
    }
}

/// Brings a file that nobody writes to any more into a directory that nobody looks into yet: a small one is copied at
/// once, a large one has the same bytes on the disk, as a clone, else as a second name of the same file, where the file
/// system can.
///
/// # Errors
/// Those of [`Carriage::bring`].
pub fn share(
    carriage: &mut Carriage,
    from: &mut std::fs::File,
    (root, path): (&Dir, &str),
    into: &Dir,
    what: Bring<'_>,
    allowance: &Allowance,
) -> io::Result<Carried> {
    let before = from.metadata()?;
    let whole = |digested: &Digested| match what.sha256 {
        Some(sha256) if sha256 != digested.sha256 => Err(io::Error::new(io::ErrorKind::InvalidData, "it was changed")),
        _ => Ok(()),
    };
    if before.len() < CLONED_MIN {
        let mut bytes = Vec::with_capacity(before.len() as usize);
        from.take(CLONED_MIN).read_to_end(&mut bytes)?;
        allowance.take(bytes.len());
        let digested = Digested { sha256: crate::model::document::sha256(&bytes), size: bytes.len() as u64 };
        whole(&digested)?;
        write_new(into, what.destination, &bytes, what.executable)?;
        return Ok(Carried::Whole(digested));
    }
    // under a name of its own: what was read is not brought yet
    let carried = carriage.hash(from, &format!("{path} as it was left"), what.most, allowance)?;
    let Carried::Whole(digested) = &carried else { return Ok(carried) };
    whole(digested)?;
    let part = open_part(into, what.part, false)?;
    let cloned = rustix::fs::ioctl_ficlone(&part, &*from).is_ok();
    if cloned {
        put_part_in_place(into, &part, what)?;
    } else {
        into.remove_file(what.part)?;
        make_way(into, Path::new(what.destination))?;
        if root.hard_link(path, into, what.destination).is_err() {
            return carriage.bring(from, into, what, allowance);
        }
    }
    let brought = super::files::open_regular(into, what.destination)?.into_std();
    let same = cloned || Stamp::of(&brought.metadata()?).same_file(&Stamp::of(&before));
    // a second name changes what the system says of the file, but not when it was written
    if same && from.metadata()?.modified()? == before.modified()? {
        return Ok(carried);
    }
    into.remove_file(what.destination)?;
    Err(io::Error::new(io::ErrorKind::InvalidData, "it was changed"))
}

/// The file in which another waits until it is whole. Whatever else has the name is removed first.
fn open_part(into: &Dir, part: &str, begun: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    if begun && let Ok(file) = open_with(&mut options, into, part) {
        return Ok(file);
    }
    remove(into, Path::new(part))?;
    into.open_with(part, options.create_new(true))
}

fn put_part_in_place(into: &Dir, part: &File, what: Bring<'_>) -> io::Result<()> {
    allow_to_execute(part, what.executable)?;
    let destination = Path::new(what.destination);
    make_way(into, destination)?;
    into.rename(what.part, into, destination)
}

/// Lets everybody who may read a file execute it, or nobody.
///
/// # Errors
/// If the file's mode cannot be changed.
pub fn allow_to_execute(file: &File, executable: bool) -> io::Result<()> {
    use cap_std::fs::PermissionsExt as _;
    let mut permissions = file.metadata()?.permissions();
    let (before, readers) = (permissions.mode() & 0o777, permissions.mode() & 0o444);
    let mode = if executable { before | readers >> 2 } else { before & 0o666 };
    if mode != before {
        permissions.set_mode(mode);
        file.set_permissions(permissions)?;
    }
    Ok(())
}

/// Makes the folders that a file needs, and removes what has its name.
///
/// # Errors
/// If something else is in the way that cannot be removed, or a folder cannot be made.
pub fn make_way(into: &Dir, destination: &Path) -> io::Result<()> {
    if let Some(parent) = destination.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        into.create_dir_all(parent)?;
    }
    remove(into, destination)
}

fn remove(into: &Dir, path: &Path) -> io::Result<()> {
    match into.symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => Err(io::Error::new(io::ErrorKind::IsADirectory, "a folder has its name")),
        Ok(_) => into.remove_file(path),
    }
}

/// Writes a new file below a directory, in place of what has its name; no link, however made, leads out of it.
///
/// # Errors
/// If it cannot be written, or a folder is in the way.
pub fn write_new(into: &Dir, destination: &str, bytes: &[u8], executable: bool) -> io::Result<()> {
    let path = Path::new(destination);
    make_way(into, path)?;
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(if executable { 0o777 } else { 0o666 });
    into.open_with(path, options)?.write_all(bytes)
}

/// Whether a file can be executed by whom it belongs to.
pub fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::document::sha256;
    use cap_std::ambient_authority;
    use std::os::unix::fs::PermissionsExt as _;

    struct Place {
        scratch: tempfile::TempDir,
        into: Dir,
    }

    impl Place {
        fn new() -> Self {
            let scratch = tempfile::tempdir().expect("a scratch directory");
            std::fs::create_dir(scratch.path().join("into")).expect("a directory");
            let into = Dir::open_ambient_dir(scratch.path().join("into"), ambient_authority()).expect("open");
            Self { scratch, into }
        }

        /// Brings the file in turns of so many bytes, each by a new process; returns how many turns that took.
        fn bring(&self, sha256: Option<&str>, executable: bool, turn: u64) -> io::Result<(Digested, u32)> {
            let aside = self.scratch.path().join("progress/a.json");
            for turns in 1..100 {
                let mut from = std::fs::File::open(self.scratch.path().join("from"))?;
                let mut carriage = Carriage::read(&aside);
                let what = Bring { destination: "d/to", part: ".part", executable, sha256, most: u64::MAX };
                match carriage.bring(&mut from, &self.into, what, &Allowance::new(turn))? {
                    Carried::Whole(digested) => {
                        carriage.forget(&aside);
                        assert!(!aside.exists(), "nothing is left of it");
                        return Ok((digested, turns));
                    }
                    Carried::PutAside(_) => carriage.keep(&aside)?,
                }
            }
            panic!("it does not end");
        }

        fn brought(&self) -> (Vec<u8>, u32) {
            let path = self.scratch.path().join("into/d/to");
            let mode = std::fs::metadata(&path).expect("there").permissions().mode();
            (std::fs::read(path).expect("there"), mode & 0o111)
        }
    }

    #[test]
    fn a_file_is_brought_in_turns_by_one_process_after_the_other() {
        let place = Place::new();
        for (size, turn) in [(0, 1), (10, 1 << 20), (5_000_000, 1 << 20), (5_000_000, 300_000)] {
            let bytes: Vec<u8> = (0..size).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            std::fs::write(place.scratch.path().join("from"), &bytes).expect("a file");
            for executable in [true, false] {
                let (digested, turns) = place.bring(Some(&sha256(&bytes)), executable, turn).expect("brought");
                assert_eq!((digested.size, digested.sha256), (u64::from(size), sha256(&bytes)));
                assert!(u64::from(turns) >= u64::from(size) / (turn + PIECE as u64), "{turns} turns");
                let (there, mode) = place.brought();
                assert!(there == bytes && (mode != 0) == executable, "{size}: {mode:o}");
            }
        }
    }

    #[test]
    fn what_is_not_as_it_must_be_is_not_put_in_place() {
        let place = Place::new();
        std::fs::write(place.scratch.path().join("from"), b"other").expect("a file");
        let error = place.bring(Some(&sha256(b"bytes")), false, 100).expect_err("changed");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(place.into.entries().expect("a list").count(), 0, "nothing is left of it");
    }

    #[test]
    fn a_file_that_changes_between_two_turns_is_begun_anew() {
        let place = Place::new();
        let (from, aside) = (place.scratch.path().join("from"), place.scratch.path().join("aside"));
        std::fs::write(&from, vec![b'a'; 1_000_000]).expect("a file");
        let mut carriage = Carriage::default();
        let turn = Allowance::new(400_000);
        let hash = |carriage: &mut Carriage, turn: &Allowance| {
            carriage.hash(&mut std::fs::File::open(&from).expect("open"), "from", u64::MAX, turn).expect("read")
        };
        assert!(matches!(hash(&mut carriage, &turn), Carried::PutAside(done) if done >= 400_000));
        carriage.keep(&aside).expect("kept");
        std::fs::write(&from, vec![b'b'; 1_000_000]).expect("a file");
        let whole = hash(&mut Carriage::read(&aside), &Allowance::default());
        assert_eq!(whole, Carried::Whole(Digested { sha256: sha256(&vec![b'b'; 1_000_000]), size: 1_000_000 }));
        // what is put aside may be spoilt by anybody
        for spoilt in [&b""[..], b"{}", b"{\"done\":{},\"open\":{\"path\":\"from\"}}", &[0xff; 10]] {
            std::fs::write(&aside, spoilt).expect("a file");
            assert_eq!(hash(&mut Carriage::read(&aside), &Allowance::default()), whole);
        }
    }

    #[test]
    fn what_has_the_name_already_is_replaced_and_never_followed() {
        let place = Place::new();
        let outside = place.scratch.path().join("outside");
        std::fs::write(&outside, b"outside").expect("a file");
        std::fs::create_dir(place.scratch.path().join("into/d")).expect("a directory");
        for name in ["into/.part", "into/d/to"] {
            std::os::unix::fs::symlink(&outside, place.scratch.path().join(name)).expect("a link");
        }
        std::fs::write(place.scratch.path().join("from"), b"new").expect("a file");
        place.bring(None, false, 100).expect("brought");
        write_new(&place.into, "d/text", b"text", true).expect("written");
        assert_eq!(place.brought().0, b"new");
        assert_eq!(std::fs::read(&outside).expect("there"), b"outside");
        std::fs::create_dir(place.scratch.path().join("into/folder")).expect("a directory");
        assert!(write_new(&place.into, "folder", b"", false).is_err(), "a folder is in the way");
    }
}
