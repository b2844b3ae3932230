//! The schema and its versions. A migration is never edited once released.
use super::StoreError;
use rusqlite::Connection;
use std::path::Path;

const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_initial.sql")];

fn latest() -> i64 {
    MIGRATIONS.len() as i64
}

fn version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Creates the newest schema in an empty database.
pub(super) fn create(connection: &Connection) -> Result<(), StoreError> {
    apply(connection, 0)
}

fn apply(connection: &Connection, from: i64) -> Result<(), StoreError> {
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(from as usize) {
        connection
            .execute_batch(&format!("BEGIN IMMEDIATE; {migration}; PRAGMA user_version = {}; COMMIT", index + 1))?;
    }
    Ok(())
}

/// Tells databases of ours from others, and from those of before the record.
const APPLICATION: i64 = 0x4d53_5452;

/// Refuses a database of a later version, and one of before the first.
pub(super) fn refuse_newer(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let found = version(connection)?;
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if application == 0 && found > 0 {
        return Err(StoreError::Before(path.to_owned()));
    }
    if application != APPLICATION && found > 0 {
        return Err(StoreError::Corrupt(path.to_owned(), format!("its application id is {application}")));
    }
    if found > latest() {
        return Err(StoreError::TooNew(path.to_owned(), found, latest()));
    }
    if found == 0 {
        return Err(StoreError::Corrupt(path.to_owned(), "it has no schema".to_owned()));
    }
    Ok(())
}

/// Brings an older database to the newest schema, after a backup beside it.
pub(super) fn migrate(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    refuse_newer(connection, path)?;
    let found = version(connection)?;
    if found < latest() {
        let backup = path.with_extension(format!("sqlite.v{found}"));
        connection.execute("VACUUM INTO ?1", [backup.to_string_lossy().as_ref()])?;
        apply(connection, found)?;
    }
    Ok(())
}
