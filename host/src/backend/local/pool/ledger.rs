//! The file in which the supervisors of a machine write down what their jobs hold: slots of one size, each with a JSON
//! document or blank, behind a header in the first. Whoever edits it holds its lock, which is never longer than that.
//!
//! Nothing in it is worth more than the processes that it names: each supervisor knows what its own jobs hold, and
//! writes it again where it is missing. A crash leaves what the dead held, which others see to be dead. Of a reboot
//! nothing is left, so nothing is made durable.
use super::super::record;
use super::room::Needs;
use crate::ground::files::open_path_with;
use crate::ground::{machine, share};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The size of a slot, in bytes: a divisor of a page, so that a slot is written whole or not.
const SLOT: usize = 2048;
/// What of the first slot is written, in bytes.
const HEADER: usize = 256;
/// The most slots that are read.
const SLOTS_MAX: usize = 4096;
/// The longest path of a run that is written down, in bytes; of a longer one its end.
const RUN_MAX: usize = 300;
/// How long those who hold something have to write it again into a ledger that was damaged, in milliseconds.
const MENDING_MS: u64 = 1_000;
/// The format of the ledger.
const FORMAT: u32 = 1;
const NAME: &str = "ledger";

/// Names a process for as long as the machine is up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    pub(super) pid: i32,
    /// In clock ticks since the boot.
    pub(super) start: u64,
}

/// The place of one who waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ticket {
    pub(super) number: u64,
    /// Since when, in milliseconds since the boot.
    pub(super) since_ms: u64,
    /// When it was seen first that there is room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) called_ms: Option<u64>,
    /// How many jobs have passed it.
    #[serde(default)]
    pub(super) passed: u32,
}

/// What a job holds, or what is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) boot: String,
    pub(super) user: u32,
    /// The run's directory.
    pub(super) run: String,
    /// What tells the backend's directory from all others, also after it was moved.
    pub(super) at: (u64, u64),
    pub(super) supervisor: Holder,
    /// Whether the supervisor's jobs are the processes of a session that has its number.
    #[serde(default)]
    pub(super) session: bool,
    pub(super) needs: Needs,
    /// The graphics processors that it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) gpus: Vec<String>,
    /// Those among which it may have some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<Vec<String>>,
    /// The job's process, which leads a group; absent until it has run for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) job: Option<Holder>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ticket: Option<Ticket>,
}

impl Record {
    pub(super) fn new(supervisor: Holder, needs: Needs) -> Self {
        Self {
            boot: String::new(),
            user: machine::user_id(),
            run: String::new(),
            at: (0, 0),
            supervisor,
            session: false,
            needs,
            gpus: Vec::new(),
            from: None,
            job: None,
            ticket: None,
        }
    }

    /// The end of a long path, as it is written down.
    pub(super) fn named(run: &Path) -> String {
        let text = run.to_string_lossy();
        match text.len().checked_sub(RUN_MAX) {
            None => text.into_owned(),
            Some(cut) => {
                let from = (cut..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                format!("…{}", &text[from..])
            }
        }
    }
}

/// What stands in the first slot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    #[serde(rename = "matterstack-pool")]
    format: u32,
    /// Told anew by each beginning of the file.
    begun: u64,
    /// How often it was edited.
    edits: u64,
    /// The number of the next ticket.
    ticket: u64,
    /// When it was begun in place of one that was damaged, in milliseconds since the boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mended_ms: Option<u64>,
}

/// The ledger, as it was read last.
#[derive(Debug)]
pub(super) struct Ledger {
    directory: PathBuf,
    file: File,
    header: Header,
    slots: Vec<Option<Record>>,
}

impl Ledger {
    /// Opens the ledger of a directory that was found fit for it, and makes it where there is none.
    pub(super) fn open(directory: &Path, mode: u32) -> io::Result<Self> {
        let path = directory.join(NAME);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = open_path_with(&mut options, &path)?;
        let found = file.metadata()?;
        // whatever the umask: the group may write it, or nobody else may
        if found.uid() == machine::user_id() && found.permissions().mode() & 0o777 != mode {
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        Ok(Self { directory: directory.to_owned(), file, header: Header::default(), slots: Vec::new() })
    }

    /// Opens the ledger of a directory only to read it.
    pub(super) fn look(directory: &Path) -> io::Result<Self> {
        let file = open_path_with(OpenOptions::new().read(true), &directory.join(NAME))?;
        let mut ledger = Self { directory: directory.to_owned(), file, header: Header::default(), slots: Vec::new() };
        ledger.file.lock_shared()?;
        let read = ledger.read_slots();
        ledger.file.unlock()?;
        read.map(|()| ledger)
    }

    /// Whether the file that has the name is this one.
    pub(super) fn is_in_place(&self) -> bool {
        let mark = |file: std::fs::Metadata| (file.dev(), file.ino());
        let there = self.directory.join(NAME).symlink_metadata().map(mark);
        matches!((self.file.metadata().map(mark), there), (Ok(own), Ok(there)) if own == there)
    }

    /// Whether nobody has edited it since it was read last; read without the lock.
    pub(super) fn is_unchanged(&self) -> bool {
        let mut bytes = [0_u8; HEADER];
        let filled = record::read_at_most(&self.file, &mut bytes, 0).unwrap_or(0);
        header_of(&bytes[..filled]).is_some_and(|header| header == self.header)
    }

    /// Does something under the lock, with what the file says by then.
    pub(super) fn edit<T>(&mut self, work: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        self.file.lock()?;
        let done = self.refresh().and_then(|()| work(self));
        let unlocked = self.file.unlock();
        done.and_then(|done| unlocked.map(|()| done))
    }

    /// Reads what others have edited; begins the file anew if it is none.
    fn refresh(&mut self) -> io::Result<()> {
        if !self.header_is_current()? {
            self.read_slots()?;
        }
        Ok(())
    }

    fn header_is_current(&mut self) -> io::Result<bool> {
        let length = self.file.metadata()?.len();
        if length > (SLOT * SLOTS_MAX) as u64 {
            return self.begin(length).map(|()| true);
        }
        let mut bytes = [0_u8; HEADER];
        let filled = record::read_at_most(&self.file, &mut bytes, 0)?;
        match header_of(&bytes[..filled]) {
            Some(header) => Ok(std::mem::replace(&mut self.header, header.clone()) == header),
            // what the dead held is lost with it; the living write theirs again
            None => self.begin(length).map(|()| true),
        }
    }

    fn begin(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(0)?;
        let begun = record::fresh()?;
        let mended_ms = (length > 0).then(share::since_boot_ms);
        self.header = Header { format: FORMAT, begun, edits: 0, ticket: 1, mended_ms };
        self.slots.clear();
        self.write_header()
    }

    fn read_slots(&mut self) -> io::Result<()> {
        let length = usize::try_from(self.file.metadata()?.len()).unwrap_or(usize::MAX).min(SLOT * SLOTS_MAX);
        let mut bytes = vec![0_u8; length];
        let filled = record::read_at_most(&self.file, &mut bytes, 0)?;
        // what is damaged is as if it were blank: who holds it writes it again
        self.slots = bytes[..filled].chunks(SLOT).skip(1).map(document_in).collect();
        Ok(())
    }

    /// The records, with the numbers of their slots.
    pub(super) fn records(&self) -> impl Iterator<Item = (usize, &Record)> {
        self.slots.iter().enumerate().filter_map(|(slot, record)| Some((slot, record.as_ref()?)))
    }

    /// What stands in a slot.
    pub(super) fn at(&self, slot: usize) -> Option<&Record> {
        self.slots.get(slot)?.as_ref()
    }

    /// Whether it was damaged just now, so that what others hold may be missing yet.
    pub(super) fn is_being_mended(&self) -> bool {
        self.header.mended_ms.is_some_and(|at| share::since_boot_ms().saturating_sub(at) < MENDING_MS)
    }

    /// The number for a new ticket.
    pub(super) fn next_ticket(&mut self) -> u64 {
        self.header.ticket += 1;
        self.header.ticket - 1
    }

    /// Writes a record into the first blank slot; tells which.
    pub(super) fn add(&mut self, record: Record) -> io::Result<usize> {
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if slot + 1 >= SLOTS_MAX {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the ledger of the pool is full"));
        }
        self.set(slot, Some(record))?;
        Ok(slot)
    }

    /// Writes what a slot holds.
    pub(super) fn set(&mut self, slot: usize, record: Option<Record>) -> io::Result<()> {
        let mut bytes = match &record {
            Some(record) => serde_json::to_vec(record)?,
            None => Vec::new(),
        };
        if bytes.len() >= SLOT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an entry is too long for the ledger of the pool"));
        }
        bytes.resize(SLOT - 1, b' ');
        bytes.push(b'\n');
        // the header first: whoever sees an edit that was not made only looks once more
        self.header.edits += 1;
        self.write_header()?;
        self.file.write_all_at(&bytes, ((slot + 1) * SLOT) as u64)?;
        if slot >= self.slots.len() {
            self.slots.resize(slot + 1, None);
        }
        self.slots[slot] = record;
        Ok(())
    }

    fn write_header(&self) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(&self.header)?;
        bytes.resize(HEADER - 1, b' ');
        bytes.push(b'\n');
        self.file.write_all_at(&bytes, 0)
    }
}

fn header_of(bytes: &[u8]) -> Option<Header> {
    document_in::<Header>(bytes).filter(|header| header.format == FORMAT)
}

fn document_in<T: for<'a> Deserialize<'a>>(slot: &[u8]) -> Option<T> {
    let slot = slot.trim_ascii();
    if slot.is_empty() { None } else { serde_json::from_slice(slot).ok() }
}
