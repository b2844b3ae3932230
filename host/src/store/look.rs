//! Opening a database to look at it. Looking leaves nothing behind that the owner could not write: where somebody else
//! looks, no file is made beside the database. It works too where SQLite cannot make the files that readers and writers
//! share: on a full disk and where nothing can be written. What cannot be read for certain is refused: a database
//! without its log is of the past.
use super::{BUSY, Store, StoreError, migrate, refuse_stranger};
use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How often somebody else looks again while the owner opens or closes the database in the same moment.
const GUEST_TRIES: u32 = 50;

impl Store {
    /// Opens the database of a run for reading only; never migrates.
    ///
    /// # Errors
    /// If it is missing, damaged or newer, or cannot be read as it is without writing beside it.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        refuse_stranger(path)?;
        let opened = match is_ours(path) {
            true => shared(path).map(|connection| (connection, None)),
            false => as_guest(path, GUEST_TRIES),
        };
        let (connection, alone, held) = match opened {
            Ok((connection, held)) => (connection, false, held),
            Err(error) => match instead(path, &error) {
                Some((connection, alone)) => (connection, alone, None),
                None if needs_its_log(path, &error) => return Err(StoreError::LogUnread(path.to_owned())),
                None => return Err(Self::name(path, error.into())),
            },
        };
        Self::looking(path, connection, alone, held)
    }

    /// Opens the database of a run for a look that is over at once, of which a program takes many. Where everything
    /// stands in the file, as in a run that nobody is at work on, none is made beside it.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn glance(path: &Path) -> Result<Self, StoreError> {
        refuse_stranger(path)?;
        let log = std::fs::metadata(beside(path, "-wal"));
        if log.map_or(true, |log| log.len() == 0)
            && let Ok((connection, held)) = as_guest(path, 1)
            && let Ok(store) = Self::looking(path, connection, false, held)
        {
            return Ok(store);
        }
        // whoever works on it is let be, and what is wrong with it is told as ever
        Self::read(path)
    }

    fn looking(path: &Path, connection: Connection, alone: bool, held: Option<File>) -> Result<Self, StoreError> {
        connection.set_prepared_statement_cache_capacity(64);
        // as for the owner: a statement keeps its plan
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection
            .execute_batch("PRAGMA query_only = ON; PRAGMA temp_store = MEMORY")
            .map_err(|error| Self::name(path, error.into()))?;
        migrate::refuse_newer(&connection, path).map_err(|error| Self::name(path, error))?;
        if migrate::is_older(&connection)? {
            let copy = newest(&connection).map_err(|error| Self::name(path, error))?;
            return Ok(Self { connection: copy, wal: true, alone: false, rehearses: false, _held: None });
        }
        Ok(Self { connection, wal: true, alone, rehearses: false, _held: held })
    }

    /// Whether nobody else can use the database while this is open, so that it must not be kept open for long.
    pub fn keeps_others_out(&self) -> bool {
        self.alone
    }
}

/// A copy in memory of an older database, in the newest schema.
fn newest(older: &Connection) -> Result<Connection, StoreError> {
    let mut copy = Connection::open_in_memory()?;
    Backup::new(older, &mut copy)?.step(-1)?;
    migrate::migrate_copy(&copy)?;
    copy.execute_batch("PRAGMA query_only = ON")?;
    Ok(copy)
}

/// Whether the files that SQLite makes beside a database are the owner's: root gives them to the owner of the database.
fn is_ours(path: &Path) -> bool {
    let user = rustix::process::geteuid();
    user.is_root() || std::fs::metadata(path).is_ok_and(|metadata| metadata.uid() == user.as_raw())
}

/// Opens a database of somebody else, beside whoever uses it, and makes no file.
///
/// A lock on the file keeps the owner from moving the log into it and from taking the log away as long as this reads:
/// where there is a log it is read, with its index, and SQLite, which would make one, always finds it; where there is
/// none, the file holds everything. Only a single tick that writes more than the log may hold (16 MB) moves it all the
/// same, and then a look without a log may fail or be of two moments.
///
/// Where there may be a log, the whole look is one transaction: a log that nobody had open may be opened by its owner
/// meanwhile, and whoever began to read without an index could not go on then.
fn as_guest(path: &Path, tries: u32) -> rusqlite::Result<(Connection, Option<File>)> {
    let open = |parameters: &str, begin: &str| {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(uri(path, parameters), flags)?;
        connection.execute_batch(begin)?;
        looked_at(connection)
    };
    let mut last = None;
    for once in 0..tries {
        // Opened anew each time: the lock ends when any file of this process on the database is closed, SQLite's too.
        // For the same reason nobody looks at one database twice at once.
        let Ok(file) = File::open(path) else { return Err(of_code(rusqlite::ffi::SQLITE_CANTOPEN)) };
        if !has_log(&file) {
            drop(file);
            return open("mode=ro", "").map(|connection| (connection, None));
        }
        if rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockShared).is_ok() {
            let log = std::fs::metadata(beside(path, "-wal"));
            let parameters = if log.map_or(true, |log| log.len() == 0) { "immutable=1" } else { "readonly_shm=1" };
            match open(parameters, "BEGIN") {
                Ok(connection) => return Ok((connection, Some(file))),
                Err(error) => last = Some(error),
            }
        }
        // The owner opens or closes it in this moment; nobody tells when that is done.
        if once + 1 < tries {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
    Err(last.unwrap_or_else(|| of_code(rusqlite::ffi::SQLITE_BUSY)))
}

/// An error as SQLite gives it.
fn of_code(code: std::ffi::c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
}

/// Whether the database keeps a write-ahead log, as its header says.
fn has_log(file: &File) -> bool {
    let mut format = [0_u8; 2];
    file.read_exact_at(&mut format, 18).is_ok() && format[0] == 2
}

/// A file beside the database.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// A path as SQLite's URIs have it.
fn uri(path: &Path, parameters: &str) -> PathBuf {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut text = b"file:".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'?' => text.extend_from_slice(b"%3f"),
            b'#' => text.extend_from_slice(b"%23"),
            b'%' => text.extend_from_slice(b"%25"),
            byte => text.push(*byte),
        }
    }
    text.push(b'?');
    text.extend_from_slice(parameters.as_bytes());
    std::ffi::OsString::from_vec(text).into()
}

/// Opens the database beside whoever else uses it.
fn shared(path: &Path) -> rusqlite::Result<Connection> {
    looked_at(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?)
}

/// Looks into the database, which is what makes SQLite open its log.
fn looked_at(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(BUSY)?;
    connection.query_row("PRAGMA user_version", [], |_| Ok(()))?;
    Ok(connection)
}

/// Opens the database in another way that is as sure, if there is one; with whether that keeps others out.
fn instead(path: &Path, error: &rusqlite::Error) -> Option<(Connection, bool)> {
    if matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
        && is_ours(path)
        && let Ok(connection) = alone(path)
    {
        return Some((connection, true));
    }
    where_nobody_writes(path).map(|connection| (connection, false))
}

/// Opens the database for this process alone: then the index of its log is kept in memory, and a full disk is no
/// hindrance.
fn alone(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    looked_at(connection)
}

/// Opens a database that nobody can write to, as one that never changes: it, or the directory in which a writer needs
/// files of its own, is read-only. Nothing if it may still be written to, or if a log beside it holds what the file
/// does not.
fn where_nobody_writes(path: &Path) -> Option<Connection> {
    let locked = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_err();
    let log = std::fs::metadata(beside(path, "-wal")).ok();
    let no_writer = locked(path) || (log.is_none() && !beside(path, "-journal").exists() && locked(path.parent()?));
    if !no_writer || log.is_some_and(|log| log.len() > 0) {
        return None;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    looked_at(Connection::open_with_flags(uri(path, "immutable=1"), flags).ok()?).ok()
}

/// Whether an error comes of a log that must be read and cannot be opened.
fn needs_its_log(path: &Path, error: &rusqlite::Error) -> bool {
    let refused = [ErrorCode::DiskFull, ErrorCode::SystemIoFailure, ErrorCode::CannotOpen, ErrorCode::ReadOnly];
    let log = std::fs::metadata(beside(path, "-wal"));
    error.sqlite_error_code().is_some_and(|code| refused.contains(&code)) && log.is_ok_and(|log| log.len() > 0)
}

#[cfg(test)]
mod tests {
    use super::{Store, as_guest, beside};
    use crate::model::config::Journal;
    use crate::store::Durability;

    #[test]
    fn a_look_is_of_one_moment_while_the_owner_goes_on() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = scratch.path().join("state.sqlite");
        let mut owner = Store::create(&path, Journal::Wal, false).expect("a new store");
        let mut write = |position: &str| {
            owner.transaction(Durability::Full, |writer| writer.set_cursor("local", position)).expect("a commit");
        };
        let seen = |look: &rusqlite::Connection| -> String {
            look.query_row("SELECT position FROM cursors", [], |row| row.get(0)).expect("a cursor")
        };
        write("one");
        assert!(beside(&path, "-wal").exists());
        let (look, held) = as_guest(&path, 1).expect("a look");
        assert!(held.is_some());
        write("two");
        assert_eq!(seen(&look), "one");
        drop((look, held));
        assert_eq!(seen(&as_guest(&path, 1).expect("another").0), "two");
    }
}
