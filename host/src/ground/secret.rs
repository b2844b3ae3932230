//! Secrets: files that only their owner may read, on the machine where they are wanted. What one holds goes from here
//! into a job's environment and nowhere else.
use super::files::{open_regular_path, read_whole};
use super::machine;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The longest secret, in bytes; the wrapper of Slurm jobs has the same number.
const SECRET_MAX: u64 = 65_536;

/// Where secrets lie, and how a sentence says that.
fn directory() -> Option<(PathBuf, &'static str)> {
    let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let told = if base.is_some() { "$XDG_CONFIG_HOME" } else { "~/.config" };
    let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
    Some((base.join("matterstack/secrets"), told))
}

/// Reads a secret, without line feeds at its end.
///
/// # Errors
/// A sentence on what is wrong with it, and what helps.
pub fn read_secret(name: &str) -> Result<Vec<u8>, String> {
    let Some((directory, told)) = directory() else {
        return Err(format!("secret `{name}`: HOME is not set, which says where secrets lie"));
    };
    let place = format!("`{told}/matterstack/secrets/{name}`");
    let wrong = |what: &str| Err(format!("secret `{name}`: {place} {what}"));
    let file = match open_regular_path(&directory.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!("secret `{name}`: there is no {place}; write it there, and `chmod 600` it"));
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData || super::files::is_link(&error) => {
            return wrong("is not a regular file");
        }
        Err(error) => return wrong(&format!("cannot be read: {error}")),
    };
    let read = |error: io::Error| format!("secret `{name}`: {place} cannot be read: {error}");
    let metadata = file.metadata().map_err(read)?;
    if metadata.uid() != machine::user_id() {
        return wrong("belongs to another user");
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return wrong(&format!("is open to other users (mode {mode:o}); `chmod 600` it"));
    }
    if metadata.len() > SECRET_MAX {
        return wrong(&format!("has more than {SECRET_MAX} bytes"));
    }
    let mut bytes = read_whole(file, SECRET_MAX).map_err(read)?;
    while bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.is_empty() {
        return wrong("is empty");
    }
    if bytes.contains(&0) {
        return wrong("holds a NUL character, which no variable can");
    }
    Ok(bytes)
}
