//! A rehearsal: changes are made, looked at and never committed. They are one transaction from the first of them to the
//! end, in which others read what there was before and nobody else writes, so it must be short; a process that dies in
//! it leaves the database as it was.
use super::{BUSY, Store, StoreError, Writer, migrate, refuse_stranger};
use crate::model::evidence::EngineRecord;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

impl Store {
    /// Opens the database of a run so that everything that is changed is forgotten at the end. An older one is not,
    /// whose last decision an engine made that is not ours.
    ///
    /// # Errors
    /// If it is missing, damaged, newer or older, or cannot be opened.
    pub fn rehearse(path: &Path, is_ours: impl FnOnce(&EngineRecord) -> bool) -> Result<Self, StoreError> {
        refuse_stranger(path)?;
        let open = || {
            let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            connection.busy_timeout(BUSY)?;
            migrate::refuse_newer(&connection, path)?;
            migrate::refuse_others(&connection, path, is_ours)?;
            connection.set_prepared_statement_cache_capacity(64);
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
            // pages that do not fit would be written before a commit, and there is none
            connection
                .execute_batch("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_spill = OFF")?;
            Ok(Self { connection, wal: true, alone: false, rehearses: true, _held: None })
        };
        open().map_err(|error| Self::name(path, error))
    }

    /// Whether nothing that is changed will be kept.
    pub fn rehearses(&self) -> bool {
        self.rehearses
    }

    /// Runs `work` within the transaction that is never committed, which begins with the first.
    pub(super) fn try_out<T>(
        &mut self,
        work: impl FnOnce(&Writer<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.connection.is_autocommit() {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
        }
        let savepoint = self.connection.savepoint()?;
        let value = work(&Writer { connection: &savepoint })?;
        savepoint.commit()?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::Store;
    use crate::model::config::Journal;
    use crate::store::Durability;

    #[test]
    fn what_is_tried_out_is_seen_by_nobody_else_and_forgotten() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = scratch.path().join("state.sqlite");
        for journal in [Journal::Wal, Journal::Rollback] {
            let mut owner = Store::create(&path, journal, false).expect("a new store");
            owner.transaction(Durability::Full, |writer| writer.set_cursor("local", "kept")).expect("a commit");
            let seen = |store: &Store| {
                let sql = "SELECT position FROM cursors";
                store.connection.query_row(sql, [], |row| row.get::<_, String>(0)).expect("a cursor")
            };
            let mut rehearsal = Store::rehearse(&path, |_| true).expect("a rehearsal");
            for position in ["one", "two"] {
                rehearsal
                    .transaction(Durability::Full, |writer| writer.set_cursor("local", position))
                    .expect("a change");
                assert_eq!((seen(&rehearsal), seen(&owner)), (position.to_owned(), "kept".to_owned()));
            }
            drop(rehearsal);
            assert_eq!(seen(&owner), "kept");
            owner.transaction(Durability::Full, |writer| writer.set_cursor("local", "on")).expect("a commit");
            drop(owner);
            std::fs::remove_file(&path).expect("the file");
        }
    }
}
