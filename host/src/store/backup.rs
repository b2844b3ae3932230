//! A consistent copy of a run's database, made while others read and write it.
use super::run::BACKUP;
use super::{Store, StoreError};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use std::path::Path;
use std::time::Duration;

/// How often a copy is tried that others are in the way of, and how long is waited between.
const TRIES: u32 = 200;
const BETWEEN: Duration = Duration::from_millis(50);

impl Store {
    /// Copies the database to a file that does not exist yet. All of it is of one moment. No tick goes on with the copy
    /// before a person has adopted it.
    ///
    /// # Errors
    /// If the database cannot be read or the file not written, or others keep the database locked.
    pub fn back_up(&self, path: &Path) -> Result<(), StoreError> {
        let mut copy = Connection::open(path)?;
        let backup = Backup::new(&self.connection, &mut copy)?;
        for _ in 0..TRIES {
            // all pages in one step, during which nobody can write in between
            match backup.step(-1)? {
                StepResult::Done => {
                    drop(backup);
                    // The copy stands alone: a reader of it needs no log beside it.
                    copy.pragma_update(None, "journal_mode", "delete")?;
                    // put in the run's place it knows nothing of what was begun since, so a person takes it over
                    copy.execute("UPDATE run SET token = ?1", [BACKUP])?;
                    return copy.close().map_err(|(_, error)| error.into());
                }
                _ => std::thread::sleep(BETWEEN),
            }
        }
        Err(StoreError::Busy)
    }
}
