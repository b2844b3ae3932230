//! What a supervisor did, one line each; and what the next one reads from it: what each unsettled attempt came to.
use super::ended::Ended;
use super::lock;
use super::record::{
    Entry, Foreign, Header, Mark, Position, Process, Reign, TORN, ends_whole, fresh, is_in_place, line, mark_of, named,
    open_own, read_lines, records,
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
    /// The graphics processors of those that were about to start.
    pub(super) gpus: HashMap<String, Vec<String>>,
    /// Every attempt that this generation names.
    pub(super) known: HashSet<String>,
}

/// The journal of a backend, as its supervisor writes it. A crash while lines are appended leaves a torn one, which the
/// next append closes.
pub(super) struct Journal {
    directory: PathBuf,
    path: PathBuf,
    file: File,
    mark: Mark,
    generation: u64,
    pair: Option<u64>,
    begin: u64,
    length: u64,
    torn: bool,
    pending: Vec<u8>,
}

impl Journal {
    /// Opens the journal to write it, which nobody else does meanwhile; nothing if another supervisor has it.
    pub(super) fn open(directory: &Path) -> io::Result<Option<Self>> {
        let path = directory.join(NAME);
        loop {
            let file = open_own(OpenOptions::new().read(true).append(true), &path)?;
            // the lock's own file may have been removed under a supervisor that lives
            if !lock::hold(&file)? {
                return Ok(None);
            }
            // a supervisor may just have begun it anew, and left
            let mark = mark_of(&file)?;
            if !is_in_place(mark, &path, 0)? {
                continue;
            }
            let torn = !ends_whole(&file)?;
            let read = Header::read_own(&file).map_err(|error| named(&path, error))?;
            let (Header { generation, pair, .. }, begin) = read.ok_or(Foreign::Gone)?;
            let (directory, length) = (directory.to_owned(), file.metadata()?.len());
            let pending = Vec::new();
            return Ok(Some(Self { directory, path, file, mark, generation, pair, begin, length, torn, pending }));
        }
    }

    /// Whether the file that has the name is this one, with all that was written.
    pub(super) fn is_in_place(&self) -> io::Result<bool> {
        is_in_place(self.mark, &self.path, self.length)
    }

    /// Lets another supervisor write it.
    pub(super) fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
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
                Entry::Starting { attempt, gpus } => {
                    if !gpus.is_empty() {
                        state.gpus.insert(attempt.clone(), gpus);
                    }
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
        copy.write_all(&line(&Header::new(&copy, self.generation, self.pair)?)?)?;
        copy.write_all(&lines)?;
        let temporary = self.directory.join(".journal.tmp");
        let mut file = open_own(OpenOptions::new().read(true).append(true).create(true), &temporary)?;
        if !lock::hold(&file)? {
            return Err(named(&temporary, io::Error::new(io::ErrorKind::TimedOut, "somebody keeps it locked")));
        }
        file.set_len(0)?;
        let mut bytes = line(&Header::new(&file, self.generation + 1, self.pair)?)?;
        let begin = bytes.len() as u64;
        for entry in open {
            bytes.extend(line(entry)?);
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&before, self.directory.join(BEFORE))?;
        fs::rename(&temporary, &self.path)?;
        File::open(&self.directory)?.sync_all()?;
        crate::ground::failpoint::hit("local.journal-anew");
        self.mark = mark_of(&file)?;
        (self.file, self.generation, self.begin, self.length) = (file, self.generation + 1, begin, bytes.len() as u64);
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

/// Makes sure that there is a journal, for a queue that begins; tells what they are to have in common. The caller holds
/// the queue's lock.
pub(super) fn found(directory: &Path) -> io::Result<Option<u64>> {
    let path = directory.join(NAME);
    let mut file = open_own(OpenOptions::new().read(true).append(true).create(true), &path)?;
    if let Some((header, _)) = Header::read_own(&file).map_err(|error| named(&path, error))? {
        return Ok(header.pair);
    }
    // a crash left it empty or with half its first line, and nothing was journaled behind that
    file.set_len(0)?;
    let pair = fresh()?;
    file.write_all(&line(&Header::new(&file, pair, Some(pair))?)?)?;
    file.sync_data()?;
    Ok(Some(pair))
}
