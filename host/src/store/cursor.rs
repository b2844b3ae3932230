//! How far the journals of backends have been read.
use super::{Store, StoreError, Writer};
use std::collections::BTreeMap;

impl Writer<'_> {
    /// Forgets how far the journals of backends have been read.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn forget_cursors(&self) -> Result<(), StoreError> {
        self.connection.execute("DELETE FROM cursors", [])?;
        Ok(())
    }

    /// Keeps how far the journals of backends have been read.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_cursor(&self, backend: &str, position: &str) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO cursors (backend, position) VALUES (?1, ?2) \
                 ON CONFLICT (backend) DO UPDATE SET position = excluded.position",
            )?
            .execute((backend, position))?;
        Ok(())
    }
}

impl Store {
    /// How far the journal of each backend has been read.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn cursors(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT backend, position FROM cursors")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
