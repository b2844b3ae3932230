//! Queues and journals that are not this directory's own, or of another format: they are put aside, so that nothing in
//! them ever starts, and go on telling what they know.
use super::ended::Ended;
use super::index::{Index, State};
use super::record::{Foreign, Header, existing, named, open_own};
use super::{journal, lock, queue};
use crate::backend::exit::ExitRecord;
use crate::model::code::Code;
use crate::model::contract::Detail;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What stands between the name of a backend's directory and a number, once it was put aside.
const ASIDE: &str = ".aside-";

/// A file of a backend that cannot be used, and why.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wrong {
    pub(super) file: &'static str,
    pub(super) foreign: Foreign,
}

impl Wrong {
    /// What a person is told as long as somebody works in the files.
    pub(super) fn waits(self) -> Detail {
        let Self { file, foreign } = self;
        let text = match foreign {
            Foreign::Format(format) => format!("a supervisor of another version (format {format}) is at work here"),
            Foreign::Copy | Foreign::Header | Foreign::Gone | Foreign::Unpaired => {
                format!("the {file} of the local backend cannot be used: {foreign}")
            }
        };
        Detail::of(Code::OtherFormat, format!("{text}; this waits until its jobs have ended"))
    }
}

/// What came of a look at a backend's directory.
#[derive(Debug)]
pub(super) enum Look {
    /// Its files are its own.
    Own,
    /// They were not, and are out of the way.
    Moved,
    /// They are not, and somebody still works in them.
    Held(Wrong),
}

/// What is wrong with the files of a backend's directory, if it is that.
pub(super) fn foreign(directory: &Path) -> io::Result<Option<Wrong>> {
    let mut headers = [None, None];
    // the queue first: it is made after its journal
    for (file, found) in [queue::NAME, journal::NAME].into_iter().zip(&mut headers) {
        let path = directory.join(file);
        match existing(&path)?.map_or(Ok(None), |open| Header::read_own(&open)) {
            Ok(header) => *found = header.map(|(header, _)| header),
            Err(error) => match Foreign::of(&error) {
                Some(foreign) => return Ok(Some(Wrong { file, foreign })),
                None => return Err(named(&path, error)),
            },
        }
    }
    let [queue, journal] = headers;
    Ok(unpaired(queue.as_ref(), journal.as_ref()).map(|foreign| Wrong { file: journal::NAME, foreign }))
}

/// Finds out whether the journal of a queue is the one that was made with it.
pub(super) fn check_pair(directory: &Path) -> io::Result<()> {
    let read = |name| existing(&directory.join(name))?.map_or(Ok(None), |file| Header::read(&file));
    let queue = read(queue::NAME)?.map(|(header, _)| header);
    let journal = read(journal::NAME)?.map(|(header, _)| header);
    unpaired(queue.as_ref(), journal.as_ref()).map_or(Ok(()), |foreign| Err(foreign.into()))
}

fn unpaired(queue: Option<&Header>, journal: Option<&Header>) -> Option<Foreign> {
    match (queue, journal) {
        (Some(_), None) => Some(Foreign::Gone),
        (Some(queue), Some(journal)) if queue.pair != journal.pair => Some(Foreign::Unpaired),
        _ => None,
    }
}

/// Puts a backend's directory aside, if it is foreign and nobody works in it.
pub(super) fn put_aside(directory: &Path) -> io::Result<Look> {
    let Some(wrong) = foreign(directory)? else { return Ok(Look::Own) };
    if lock::is_held(directory)? {
        return Ok(Look::Held(wrong));
    }
    let mut number = 1;
    while place(directory, number).symlink_metadata().is_ok() {
        number += 1;
    }
    let aside = place(directory, number);
    fs::rename(directory, &aside)?;
    // whoever waits for what happens there has to look anew
    let _ = open_own(OpenOptions::new().write(true), &aside.join("wake")).and_then(|wake| wake.write_at(b".", 0));
    Ok(Look::Moved)
}

fn place(directory: &Path, number: u32) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(format!("{ASIDE}{number}"));
    name.into()
}

/// What those that were put aside tell of an attempt.
#[derive(Debug)]
pub(super) enum Told {
    /// It stands in one, which tells how it ended.
    Ended(ExitRecord),
    /// It stands in one, and how it ended is not known; with what is wrong there, where that can be told.
    Unknown(Option<Wrong>),
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
            Ok(Some(State::Ended(record) | State::Ending(record))) => return Ok(Told::Ended(record)),
            Ok(Some(_)) => return Ok(Told::Unknown(foreign(&aside)?)),
            Ok(None) => {}
            // an attempt's id stands as text in every format
            Err(error) if Foreign::of(&error).is_some() => {
                if let Ok(Some(record)) = Ended::open(&aside).and_then(|ended| ended.find(attempt)) {
                    return Ok(Told::Ended(record));
                }
                if names(&aside, attempt.as_bytes())? {
                    return Ok(Told::Unknown(foreign(&aside)?));
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
