//! What ticks ask for, in the order asked: they append, a supervisor reads. A supervisor begins the file anew when most
//! of it is done with, under its lock, so whoever has opened it looks whether it is still the one.
use super::journal;
use super::record::{
    Header, Order, Position, TORN, ends_whole, fresh, is_in_place, line, mark_of, named, open_own, read_lines, records,
};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(super) const NAME: &str = "queue";
/// How long an append waits for the lock, which is held for a few writes only.
const PATIENCE: Duration = Duration::from_secs(10);

/// The queue of a backend, locked: nobody else changes it meanwhile.
pub(super) struct Locked {
    file: File,
}

/// The queue as a supervisor reads it.
pub(super) struct Queue {
    path: PathBuf,
    file: File,
    generation: u64,
    pair: Option<u64>,
    offset: u64,
}

/// Opens the queue, with its first line, for this directory and no copy of it.
fn open(path: &Path) -> io::Result<(File, Header, u64)> {
    let file = open_own(OpenOptions::new().read(true).append(true).create(true), path)?;
    if let Some((header, begin)) = Header::read_own(&file).map_err(|error| named(path, error))? {
        return Ok((file, header, begin));
    }
    let locked = Locked::take(file, path)?;
    let file = locked.file;
    if let Some((header, begin)) = Header::read_own(&file).map_err(|error| named(path, error))? {
        file.unlock()?;
        return Ok((file, header, begin));
    }
    // a crash left it empty or with half its first line, and nothing was asked for behind that
    file.set_len(0)?;
    // the journal first: a queue without its journal is one that was tampered with
    let pair = journal::found(path.parent().unwrap_or(Path::new(".")))?;
    let header = Header::new(&file, fresh()?, pair)?;
    let bytes = line(&header)?;
    (&file).write_all(&bytes)?;
    file.unlock()?;
    Ok((file, header, bytes.len() as u64))
}

impl Locked {
    fn take(file: File, path: &Path) -> io::Result<Self> {
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { file }),
                Err(TryLockError::Error(error)) => return Err(named(path, error)),
                Err(TryLockError::WouldBlock) if start.elapsed() >= PATIENCE => {
                    return Err(named(path, io::Error::new(io::ErrorKind::TimedOut, "somebody keeps it locked")));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Opens and locks the queue that has the name now.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        loop {
            let (file, ..) = open(path)?;
            let locked = Self::take(file, path)?;
            if is_in_place(mark_of(&locked.file)?, path, 0)? {
                return Ok(locked);
            }
        }
    }

    /// Appends whole lines.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if !ends_whole(&self.file)? {
            self.file.write_all(TORN)?;
        }
        self.file.write_all(lines)
    }
}

impl Queue {
    /// Opens the queue to read it from a place on; from its beginning if it has been begun anew since, or lost its end.
    pub(super) fn open(directory: &Path, from: Position) -> io::Result<Self> {
        let path = directory.join(NAME);
        let (file, header, begin) = open(&path)?;
        let holds = header.generation == from.generation && from.offset <= file.metadata()?.len();
        let offset = if holds { from.offset.max(begin) } else { begin };
        Ok(Self { path, file, generation: header.generation, pair: header.pair, offset })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Up to where it was read.
    pub(super) fn position(&self) -> Position {
        Position { generation: self.generation, offset: self.offset }
    }

    /// Whether the file that has the name is this one, with all that was read.
    pub(super) fn is_in_place(&self) -> io::Result<bool> {
        is_in_place(mark_of(&self.file)?, &self.path, self.offset)
    }

    /// Makes what was asked for durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// What was asked for since it was read last.
    pub(super) fn read(&mut self) -> io::Result<Vec<Order>> {
        let (lines, end) = read_lines(&self.file, self.offset)?;
        self.offset = end;
        Ok(records::<Order>(&lines).collect())
    }

    /// Locks it, and closes a line that a tick which died left torn.
    pub(super) fn lock(&self) -> io::Result<()> {
        let locked = Locked::take(self.file.try_clone()?, &self.path)?;
        let whole = ends_whole(&locked.file);
        whole
            .and_then(|whole| if whole { Ok(()) } else { (&locked.file).write_all(TORN) })
            .inspect_err(|_| drop(locked.file.unlock()))
    }

    pub(super) fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    /// Begins the queue anew with what is still wanted. The caller holds its lock, and everything in it has been read.
    /// A crash leaves the old one or the new one.
    pub(super) fn begin_anew(&mut self, wanted: &[Order]) -> io::Result<()> {
        let temporary = self.path.with_file_name(".queue.tmp");
        let mut file = open_own(OpenOptions::new().read(true).append(true).create(true), &temporary)?;
        file.set_len(0)?;
        let mut bytes = line(&Header::new(&file, self.generation + 1, self.pair)?)?;
        for order in wanted {
            bytes.extend(line(order)?);
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&temporary, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        crate::ground::failpoint::hit("local.queue-anew");
        (self.file, self.generation, self.offset) = (file, self.generation + 1, bytes.len() as u64);
        Ok(())
    }
}
