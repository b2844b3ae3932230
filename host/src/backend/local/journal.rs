//! What a supervisor did, one line each; and what the next one reads from it: what each unsettled attempt came to.
use super::ended::Ended;
use super::record::{
    Entry, FORMAT, Header, Position, Process, Reign, TORN, ends_whole, line, named, open_own, read_lines, records,
};
use crate::backend::exit::ExitRecord;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(super) const NAME: &str = "journal";
/// The generation before the present one, for whoever had not read it to its end.
pub(super) const BEFORE: &str = "journal.before";

/// How far an attempt without an end had come.
#[derive(Debug, Clone)]
pub(super) enum Progress {
    /// Claimed: it may start.
    Claimed(Reign),
    /// About to be started.
    Starting(Reign),
    /// Seen running.
    Started(Process),
    /// Seen to end.
    Seen(ExitRecord),
}

/// What the journal says.
#[derive(Debug, Default)]
pub(super) struct Journaled {
    /// Where the unsettled part of the queue begins.
    pub(super) queue: Position,
    /// What has not ended.
    pub(super) open: HashMap<String, Progress>,
    /// Every attempt that this generation names.
    pub(super) known: HashSet<String>,
}

/// The journal of a backend, as its supervisor writes it. A crash while lines are appended leaves a torn one, which the
/// next append closes.
pub(super) struct Journal {
    directory: PathBuf,
    file: File,
    generation: u64,
    begin: u64,
    length: u64,
    torn: bool,
    pending: Vec<u8>,
}

impl Journal {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(NAME);
        let file = open_own(OpenOptions::new().read(true).append(true).create(true), &path)?;
        let mut torn = !ends_whole(&file)?;
        let (header, begin) = match Header::read_own(&file).map_err(|error| named(&path, error))? {
            Some(read) => read,
            None => {
                // a crash left it empty or with half its first line, and nothing was journaled behind that
                file.set_len(0)?;
                let header = Header::new(&file, 0)?;
                let bytes = line(&header)?;
                (&file).write_all(&bytes)?;
                torn = false;
                (header, bytes.len() as u64)
            }
        };
        let length = file.metadata()?.len();
        let (directory, generation) = (directory.to_owned(), header.generation);
        Ok(Self { directory, file, generation, begin, length, torn, pending: Vec::new() })
    }

    /// Adds a line to those that the next [`Journal::write`] appends.
    pub(super) fn add(&mut self, entry: &Entry) -> io::Result<()> {
        self.pending.extend(line(entry)?);
        Ok(())
    }

    /// Appends what was added. What the disk refuses stays for the next time, which may append a part of it twice.
    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.torn {
            self.file.write_all(TORN)?;
        }
        self.torn = true;
        self.file.write_all(&self.pending)?;
        self.torn = false;
        self.length += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Adds a line and appends all there is; what the disk refuses is as if it had not been added.
    pub(super) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let before = self.pending.len();
        self.add(entry)?;
        self.write().inspect_err(|_| self.pending.truncate(before))
    }

    /// Makes what was appended durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// How many bytes it has.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Reads the whole.
    pub(super) fn read(&self) -> io::Result<Journaled> {
        let (lines, _) = read_lines(&self.file, self.begin)?;
        let mut state = Journaled::default();
        for entry in records::<Entry>(&lines) {
            match entry {
                Entry::Claim { under, attempts } => {
                    state.known.extend(attempts.iter().cloned());
                    let claims = attempts.into_iter().map(|attempt| (attempt, Progress::Claimed(under.clone())));
                    state.open.extend(claims);
                }
                Entry::Starting { attempt } => {
                    if let Some(Progress::Claimed(under)) = state.open.get(&attempt) {
                        let starting = Progress::Starting(under.clone());
                        state.open.insert(attempt, starting);
                    }
                }
                // no process came of it, so it is as it was when it had only been claimed
                Entry::NoRoom { attempt, .. } => {
                    if let Some(Progress::Starting(under)) = state.open.get(&attempt) {
                        let claimed = Progress::Claimed(under.clone());
                        state.open.insert(attempt, claimed);
                    }
                }
                Entry::Start { attempt, process } => {
                    state.open.insert(attempt, Progress::Started(process));
                }
                Entry::Seen(record) => {
                    state.known.insert(record.attempt.clone());
                    state.open.insert(record.attempt.clone(), Progress::Seen(record));
                }
                Entry::End { attempt, .. } => {
                    state.open.remove(&attempt);
                }
                Entry::Settled { queue } => (state.queue, state.open) = (queue, HashMap::new()),
            }
        }
        Ok(state)
    }

    /// Begins the journal anew with these lines, after it has put by what ended. A crash in between leaves the old one,
    /// or the new one and all ends kept.
    pub(super) fn begin_anew(&mut self, ended: &mut Ended, open: &[Entry]) -> io::Result<()> {
        self.write()?;
        let (lines, _) = read_lines(&self.file, self.begin)?;
        ended.keep(self.generation, ends_of(&lines))?;
        crate::ground::failpoint::hit("local.ends-kept");
        let before = self.directory.join(".journal.before.tmp");
        let mut copy = open_own(OpenOptions::new().write(true).create(true).truncate(true), &before)?;
        copy.write_all(&line(&Header::new(&copy, self.generation)?)?)?;
        copy.write_all(&lines)?;
        let temporary = self.directory.join(".journal.tmp");
        let mut file = open_own(OpenOptions::new().read(true).write(true).create(true).truncate(true), &temporary)?;
        let header = line(&Header::new(&file, self.generation + 1)?)?;
        let mut bytes = header.clone();
        for entry in open {
            bytes.extend(line(entry)?);
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&before, self.directory.join(BEFORE))?;
        fs::rename(&temporary, self.directory.join(NAME))?;
        File::open(&self.directory)?.sync_all()?;
        crate::ground::failpoint::hit("local.journal-anew");
        *self = Self::open(&self.directory)?;
        Ok(())
    }
}

/// How attempts ended, by the lines of a journal.
fn ends_of(lines: &[u8]) -> Vec<ExitRecord> {
    let mut seen = HashMap::new();
    let mut ends = Vec::new();
    for entry in records::<Entry>(lines) {
        match entry {
            Entry::Seen(record) => {
                seen.insert(record.attempt.clone(), record);
            }
            Entry::End { attempt, note } => {
                ends.extend(seen.remove(&attempt).map(|record| record.with_note(note)));
            }
            Entry::Claim { .. }
            | Entry::Starting { .. }
            | Entry::NoRoom { .. }
            | Entry::Start { .. }
            | Entry::Settled { .. } => {}
        }
    }
    ends
}

/// Reads a journal that a supervisor may be writing: its header, where its lines begin, and what is wrong with it.
pub(super) fn header(file: &File) -> io::Result<(Header, u64)> {
    match Header::read(file)? {
        Some(read) => Ok(read),
        // a supervisor is just making it
        None => Ok((Header { format: FORMAT, generation: 0, inode: 0 }, file.metadata()?.len())),
    }
}
