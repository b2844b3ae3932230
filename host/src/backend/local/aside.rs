//! Queues and journals that are not this directory's own, or of another format: they are put aside, so that nothing in
//! them ever starts, and go on telling what they know.
use super::index::{Index, State};
use super::record::{Foreign, Header, existing, named};
use super::{journal, lock, queue};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What stands between the name of a backend's directory and a number, once it was put aside.
const ASIDE: &str = ".aside-";

/// What is wrong with the files of a backend's directory, if it is that.
pub(super) fn foreign(directory: &Path) -> io::Result<Option<Foreign>> {
    for name in [queue::NAME, journal::NAME] {
        let path = directory.join(name);
        let Some(file) = existing(&path)? else { continue };
        if let Err(error) = Header::read_own(&file) {
            return Foreign::of(&error).map(Some).ok_or_else(|| named(&path, error));
        }
    }
    Ok(None)
}

/// Puts a backend's directory aside, if it is foreign and nobody works in it; tells what keeps it where it is.
pub(super) fn put_aside(directory: &Path) -> io::Result<Option<Foreign>> {
    let Some(foreign) = foreign(directory)? else { return Ok(None) };
    if lock::is_held(directory)? {
        return Ok(Some(foreign));
    }
    let mut number = 1;
    while place(directory, number).symlink_metadata().is_ok() {
        number += 1;
    }
    fs::rename(directory, place(directory, number))?;
    Ok(None)
}

fn place(directory: &Path, number: u32) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(format!("{ASIDE}{number}"));
    name.into()
}

/// What those that were put aside tell of an attempt.
#[derive(Debug)]
pub(super) enum Told {
    /// It stands in one: how it ended, if that is known.
    Known(Option<crate::backend::exit::ExitRecord>),
    Nothing,
}

/// Looks for an attempt in all that were put aside.
pub(super) fn look_up(directory: &Path, attempt: &str) -> io::Result<Told> {
    for number in 1.. {
        let aside = place(directory, number);
        if !aside.is_dir() {
            break;
        }
        match Index::default().look_up(&aside, attempt) {
            Ok(Some(State::Ended(record) | State::Ending(record))) => return Ok(Told::Known(Some(record))),
            Ok(Some(_)) => return Ok(Told::Known(None)),
            Ok(None) => {}
            // an attempt's id stands as text in every format
            Err(error) if Foreign::of(&error).is_some() => {
                if names(&aside, attempt.as_bytes())? {
                    return Ok(Told::Known(None));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Told::Nothing)
}

/// Whether a file of a directory holds a text.
fn names(directory: &Path, text: &[u8]) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let bytes = fs::read(entry.path())?;
            if bytes.windows(text.len()).any(|part| part == text) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
