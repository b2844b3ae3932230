//! Files that somebody else may have put there: opened without following links and without blocking. Nobody else opens
//! such.
use cap_std::fs::{Dir, OpenOptionsExt as _};
use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// The bytes that a small file is read into at once.
const FIRST: usize = 2 * 1024;

/// Reads a regular file whole; nothing if there is none. A link is not followed and a pipe does not block: both are
/// errors, and so is more than `max` bytes.
///
/// # Errors
/// If there is something else at the path, or it cannot be read.
pub fn read_regular(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match open_regular_path(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    read_whole(file, max).map(Some)
}

/// Reads a file that a person names: a link to it is followed, and so is what the shell makes of `<(…)`. Anything else
/// that is no regular file is an error, and so is more than `max` bytes.
///
/// # Errors
/// If there is no such file, or it cannot be read.
pub fn read_named(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let made_by_shell = ["/dev/fd", "/dev/stdin", "/proc/self/fd"].iter().any(|place| path.starts_with(place));
    if made_by_shell {
        return read_whole(File::open(path)?, max);
    }
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(not_regular(path));
    }
    read_whole(file, max)
}

/// Whether an error says that a link was found where none is followed.
pub fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// Reads an open file whole.
///
/// # Errors
/// If it cannot be read, or has more than `max` bytes.
pub fn read_whole(file: impl Read, max: u64) -> io::Result<Vec<u8>> {
    // room from the start: an empty vector is filled in steps of a few bytes
    let mut bytes = Vec::with_capacity(FIRST);
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("it has more than {max} bytes")));
    }
    Ok(bytes)
}

/// Opens a regular file for reading. A link is not followed and a pipe does not block: both are errors.
///
/// # Errors
/// If there is none, or something else is in its place.
pub fn open_regular_path(path: &Path) -> io::Result<File> {
    open_path_with(OpenOptions::new().read(true), path)
}

/// Opens a regular file with these options. A link at the end of the path is not followed and a pipe does not block:
/// both are errors.
///
/// # Errors
/// If it cannot be opened; the kind is `InvalidData` if something else has the name.
pub fn open_path_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = match options.custom_flags(wary().bits() as i32).open(path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Err(not_regular(path)),
        file => file?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular(path)) }
}

/// Whether a file is this user's, and nobody else may write to it.
pub fn is_own(metadata: &fs::Metadata) -> bool {
    metadata.uid() == super::machine::user_id() && metadata.mode() & 0o022 == 0
}

/// What keeps the system from following a link, and from waiting at a pipe until somebody has its other end.
fn wary() -> OFlags {
    OFlags::NOFOLLOW | OFlags::NONBLOCK
}

/// What is said of something that lies where a file must be.
fn not_regular(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{}` is not a regular file", path.display()))
}

/// Makes a file that must not exist yet.
///
/// # Errors
/// If something has the name already, or the directory cannot be written.
pub fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Writes a small file durably, and tells how long that took. It has no name, so that nobody else meets it; where the
/// file system has no such files it has one for that moment, and one that a killed process of this user left goes too.
///
/// # Errors
/// If it cannot be written.
pub fn probe(directory: &Path) -> io::Result<Duration> {
    let start = Instant::now();
    let write = |mut file: File| {
        file.write_all(b"doctor")?;
        file.sync_all()?;
        Ok(start.elapsed())
    };
    let mut nameless = File::options();
    nameless.write(true).custom_flags(OFlags::TMPFILE.bits() as i32);
    match nameless.open(directory) {
        Ok(file) => write(file),
        Err(error) if no_nameless(&error) => {
            let path = directory.join(format!(".doctor-{}", super::machine::user_id()));
            let named = open_path_with(File::options().create(true).truncate(true).write(true), &path);
            let written = named.and_then(write);
            let removed = match fs::remove_file(&path) {
                // another process tried the same directory in the same moment
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            };
            written.and_then(|taken| removed.map(|()| taken))
        }
        Err(error) => Err(error),
    }
}

/// Whether a file system has no files without a name: it says that it does not know them, or takes the directory for
/// what is to be written.
fn no_nameless(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// Opens a directory that a job may have put something else in the place of: a link at the end of the path is not
/// followed.
///
/// # Errors
/// If it cannot be opened, or is a link or no directory.
pub fn open_directory(path: &Path) -> io::Result<Dir> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let directory = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    Ok(Dir::from_std_file(directory))
}

/// Opens a regular file below a directory for reading. Neither a link nor a FIFO put in its place is followed or
/// blocks.
///
/// # Errors
/// If it cannot be opened; the kind is `InvalidData` if it is no regular file.
pub fn open_regular(directory: &Dir, path: impl AsRef<Path>) -> io::Result<cap_std::fs::File> {
    open_with(cap_std::fs::OpenOptions::new().read(true), directory, path)
}

/// As [`open_regular`], with these options.
///
/// # Errors
/// As [`open_regular`].
pub fn open_with(
    options: &mut cap_std::fs::OpenOptions,
    directory: &Dir,
    path: impl AsRef<Path>,
) -> io::Result<cap_std::fs::File> {
    let path = path.as_ref();
    let file = directory.open_with(path, options.custom_flags(wary().bits() as i32))?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular(path)) }
}

/// Opens what a plugin may have below a directory: a regular file, or a directory. A pipe does not block, and links
/// lead nowhere outside of the directory; one at the end of the path is followed only if `follow`.
///
/// # Errors
/// If it cannot be opened; the kind is `InvalidData` if it is neither.
pub fn open_for_guest(
    mut options: cap_std::fs::OpenOptions,
    follow: bool,
    directory: &Dir,
    path: &Path,
) -> io::Result<(File, fs::FileType)> {
    let flags = if follow { OFlags::NONBLOCK } else { wary() };
    let file = directory.open_with(path, options.custom_flags(flags.bits() as i32))?.into_std();
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_dir() { Ok((file, kind)) } else { Err(not_regular(path)) }
}

/// Takes a lock that ends with its process. What is not a regular file is refused.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let file = open_path_with(File::options().create(true).truncate(false).write(true), path)?;
    file.lock()?;
    Ok(file)
}

/// Writes a file beside its place and puts it there in one step, over what is there only if `replace`.
pub(crate) fn put(path: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    put_as(path, bytes, replace, None)
}

/// The same for a file that everybody may read and nobody else may write, whatever the user's mask is.
pub(crate) fn put_readable(path: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    put_as(path, bytes, replace, Some(Permissions::from_mode(0o644)))
}

fn put_as(path: &Path, bytes: &[u8], replace: bool, permissions: Option<Permissions>) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.{}", super::random::new_attempt_id()));
    let work = || {
        let mut file = new_file(&aside)?;
        permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        if replace { fs::rename(&aside, path) } else { place_once(&aside, path) }
    };
    let done = work();
    // After a rename it is not there any more.
    let _ = fs::remove_file(&aside);
    done?;
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Gives a file its name unless the name is taken.
fn place_once(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            // Some file systems have no second names; those have this.
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            Ok(rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, flags)?)
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::probe;

    #[test]
    fn a_probe_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        probe(directory.path()).expect("a sound directory");
        assert_eq!(std::fs::read_dir(directory.path()).expect("files").count(), 0);
        probe(&directory.path().join("nothing")).expect_err("there is no directory");
    }
}
