//! Puts a consistent copy of a run's database where a person wants it: aside first, then under its name, whole or not
//! at all.
use crate::failure::Failure;
use crate::ground::digest::digest;
use crate::store::Store;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Copies the database of a run to `out`, which must not exist. Returns its size in bytes and its SHA-256.
///
/// # Errors
/// If there is something at `out`, or the database cannot be read or the file written; then nothing is left behind.
pub fn back_up(store: &Store, out: &Path) -> Result<(u64, String), Failure> {
    if out.symlink_metadata().is_ok() {
        return Err(Failure::input(format!("`{}` exists already", out.display()))
            .hint("name a file that does not exist: no backup is written over another"));
    }
    let name = out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let aside = out.with_file_name(format!(".{name}.part-{}", std::process::id()));
    let made = store.back_up(&aside).map_err(Failure::from).and_then(|()| {
        put_in_place(&aside, out)
            .map_err(|error| Failure::machine(format!("backup `{}` cannot be written", out.display()), error))
    });
    if made.is_err() {
        // half a copy is of no use to anybody
        let _ = std::fs::remove_file(&aside);
    }
    made
}

fn put_in_place(aside: &Path, out: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(aside)?;
    file.sync_all()?;
    let (sha256, size) = digest(&mut file)?;
    // unlike `rename`, this refuses a name that was taken meanwhile
    std::fs::hard_link(aside, out).or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Err(error),
        _ => std::fs::rename(aside, out),
    })?;
    let _ = std::fs::remove_file(aside);
    let directory =
        out.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(PathBuf::from("."), Path::to_owned);
    File::open(directory)?.sync_all()?;
    Ok((size, sha256))
}
