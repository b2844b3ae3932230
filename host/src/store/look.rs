//! Opening a database to look at it, also where SQLite cannot make the files that readers and writers share: on a full disk
//! and where nothing can be written. What cannot be read for certain is refused: a database without its log is of the past.
use super::{BUSY, Store, StoreError, migrate, refuse_stranger};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::Path;

impl Store {
    /// Opens the database of a run for reading only; never migrates.
    ///
    /// # Errors
    /// If it is missing, damaged or newer, or cannot be read as it is without writing beside it.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        refuse_stranger(path)?;
        let (connection, alone) = match shared(path) {
            Ok(connection) => (connection, false),
            Err(error) => match instead(path, &error) {
                Some(other) => other,
                None if needs_its_log(path, &error) => return Err(StoreError::Unsettled(path.to_owned())),
                None => return Err(Self::name(path, error.into())),
            },
        };
        connection
            .execute_batch("PRAGMA query_only = ON; PRAGMA temp_store = MEMORY")
            .map_err(|error| Self::name(path, error.into()))?;
        migrate::refuse_newer(&connection, path).map_err(|error| Self::name(path, error))?;
        Ok(Self { connection, wal: true, alone })
    }

    /// Whether nobody else can use the database while this is open, so that it must not be kept open for long.
    pub fn keeps_others_out(&self) -> bool {
        self.alone
    }
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
        && let Ok(connection) = alone(path)
    {
        return Some((connection, true));
    }
    where_nobody_writes(path).map(|connection| (connection, false))
}

/// Opens the database for this process alone: then the index of its log is kept in memory, and a full disk is no hindrance.
fn alone(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    looked_at(connection)
}

/// Opens a database that nobody can write to, as one that never changes: it, or the directory in which a writer needs files
/// of its own, is read-only. Nothing if it may still be written to, or if a log beside it holds what the file does not.
fn where_nobody_writes(path: &Path) -> Option<Connection> {
    let beside = |end: &str| path.with_file_name(format!("state.sqlite{end}"));
    let locked = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_err();
    let log = std::fs::metadata(beside("-wal")).ok();
    let no_writer = locked(path) || (log.is_none() && !beside("-journal").exists() && locked(path.parent()?));
    if !no_writer || log.is_some_and(|log| log.len() > 0) {
        return None;
    }
    let encoded: String = path
        .to_str()?
        .chars()
        .map(|c| match c {
            '?' => "%3f".to_owned(),
            '#' => "%23".to_owned(),
            '%' => "%25".to_owned(),
            c => c.to_string(),
        })
        .collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    looked_at(Connection::open_with_flags(format!("file:{encoded}?immutable=1"), flags).ok()?).ok()
}

/// Whether an error comes of a log that must be read and cannot be opened.
fn needs_its_log(path: &Path, error: &rusqlite::Error) -> bool {
    let refused = [ErrorCode::DiskFull, ErrorCode::SystemIoFailure, ErrorCode::CannotOpen, ErrorCode::ReadOnly];
    let log = std::fs::metadata(path.with_file_name("state.sqlite-wal"));
    error.sqlite_error_code().is_some_and(|code| refused.contains(&code)) && log.is_ok_and(|log| log.len() > 0)
}
