//! The StateStore of one run: the only place that knows SQL.
//!
//! Every state change goes through a state machine's `become_state`, carries its precondition, and adds one row to the
//! history in the same transaction. A crash inside a transaction leaves the state before it.
mod act;
mod amend;
mod approval;
mod asked;
mod attempt;
mod backup;
mod check;
mod compress;
mod cursor;
mod decision;
mod dependency;
mod fork;
mod gather;
mod history;
mod job;
mod look;
mod migrate;
mod names;
mod news;
mod outlook;
mod output;
mod ready;
mod redact;
mod rehearsal;
mod removed;
mod rerun;
mod reuse;
mod row;
mod rules;
mod run;
mod selection;
mod snapshot;
mod state;
mod task;
mod transition;
mod usage;
mod version;
mod waiting;
mod word;
mod workflow;

pub use amend::{AmendedTask, View};
pub use asked::Wake;
pub use attempt::{AttemptEnd, AttemptRow, Cancel, NewAttempt, SettledAttempt, Waiting};
pub use decision::{Came, DecisionInput, NewDecision};
pub use fork::{MadeAs, NewFork, Shared, SharedFile};
pub use gather::{GatherError, GatheredAttempt, GatheredTask, Gathering};
pub use job::{CarriedInput, NewInput};
pub use names::NamedFile;
pub use news::{Found, News, Topic};
pub use outlook::Outlook;
pub use output::{KeptOutput, Output, kept_path};
pub use ready::TaskSpec;
pub use removed::Removal;
pub use reuse::{Earlier, EarlierState};
pub use row::{LastAttempt, TaskEnd};
pub use rules::{Asked, Spent};
pub use run::{Identity, NewRun, RunRow};
pub use selection::{Chosen, SelectionError};
pub use snapshot::{AttemptPlace, Snapshot};
pub use state::FormerState;
pub use task::{Standing, TaskRow};
pub use version::{NewConfig, NewEnvironment};
pub use waiting::{WaitRow, Watched};
pub use workflow::{DATA_MAX, Portion};

use crate::model::config::Journal;
use crate::model::evidence::EngineRecord;
use crate::model::states::{AttemptState, IllegalTransition, RunState, TaskState};
use rusqlite::config::DbConfig;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file does not exist.
    #[error("no database `{0}`")]
    Missing(PathBuf),
    /// A new run was to be made where one is.
    #[error("there is a database `{0}` already")]
    Exists(PathBuf),
    /// Written by a later version.
    #[error("database `{0}` has schema version {1}; this matterstack knows up to {2}")]
    TooNew(PathBuf, i64, i64),
    /// Written before runs kept a record of themselves.
    #[error(
        "database `{0}` is of a matterstack from before the record (its application id is 0); this one cannot read it"
    )]
    Before(PathBuf),
    /// Of a run that was begun under this version of the plugin contract, with this version of ours.
    #[error("`{0}` is of a run under contract version {1}, of matterstack {2}")]
    OtherContract(PathBuf, String, String),
    /// Not a database, or a damaged one.
    #[error("database `{0}` is damaged or not a StateStore")]
    Corrupt(PathBuf, #[source] Cause),
    /// A database that was found to be damaged while it was in use.
    #[error("the database is damaged")]
    Damaged(#[source] Cause),
    /// SQLite did not take a setting that a commit needs; the file system may not let it.
    #[error("SQLite keeps `{name}` at `{kept}` where `{wanted}` is needed")]
    Setting {
        /// The setting, as SQLite calls it.
        name: &'static str,
        /// What was asked for.
        wanted: &'static str,
        /// What SQLite says it is.
        kept: String,
    },
    /// Another process holds the database.
    #[error("the database is locked by another process")]
    Busy,
    /// No space is left, or the disk failed.
    #[error("the database could not be used")]
    Disk(#[source] Cause),
    /// The database cannot be opened or written, which may be a matter of permission.
    #[error("the database could not be used")]
    Denied(#[source] Cause),
    /// The database cannot be read without what stands in the log beside it, and that not without writing there.
    #[error(
        "what was last written to `{0}` stands in the log beside it, which cannot be read where nothing can be written"
    )]
    LogUnread(PathBuf),
    /// A state machine has no such transition.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// A row is not what the schema promises, or was changed by somebody else.
    #[error("{0}")]
    Row(String),
    /// A task would wait for itself.
    #[error("task `{0}` would depend on itself, directly or through others")]
    Circle(String),
    /// Every task that was to come back would be skipped again.
    #[error("every task would be skipped again, because one that it depends on did not complete")]
    NothingBack,
    /// Anything else SQLite says.
    #[error("SQLite does not take a statement")]
    Sqlite(#[source] Cause),
}

/// What was found wrong, by SQLite, by the file system or by ourselves.
type Cause = Box<dyn std::error::Error + Send + Sync>;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => Self::Disk(error.into()),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => Self::Denied(error.into()),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.into()),
            _ => match error {
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::Utf8Error(..)
                | rusqlite::Error::IntegralValueOutOfRange(..) => Self::Damaged(error.into()),
                rusqlite::Error::QueryReturnedNoRows => Self::Row("a row is missing".to_owned()),
                other => Self::Sqlite(other.into()),
            },
        }
    }
}

/// How long a statement waits for another process.
const BUSY: Duration = Duration::from_secs(10);

/// How surely a commit is on the disk when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Survives a power failure.
    Full,
    /// Survives the death of the process; a power failure may undo it, which repeating the tick then heals.
    Lazy,
}

/// The StateStore of one run.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    wal: bool,
    /// Whether nobody else can use the database while this is open.
    alone: bool,
    /// Whether nothing that is changed is kept.
    rehearses: bool,
    /// What keeps the file as it is while somebody else than its owner reads it.
    _held: Option<std::fs::File>,
}

impl Store {
    /// Creates the database of a new run.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(path: &Path, journal: Journal, network: bool) -> Result<Self, StoreError> {
        // Made here, it follows the umask and the group of its directory, and the files that SQLite makes beside it
        // follow it.
        let made = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path);
        made.map_err(|error| StoreError::Disk(format!("{}: {error}", path.display()).into()))?;
        let connection = Connection::open(path)?;
        let store = Self::configure(connection, journal, network)?;
        migrate::create(&store.connection, path)?;
        Ok(store)
    }

    /// Opens the database of a run for reading and writing. An older one is migrated if it may be, by the engine that
    /// made its last decision: else whoever made it can go on with it.
    ///
    /// # Errors
    /// If it is missing, damaged, newer, or locked; [`StoreError::OtherContract`].
    pub fn open(
        path: &Path,
        (journal, network): (Journal, bool),
        may_migrate: impl FnOnce(&EngineRecord) -> bool,
    ) -> Result<Self, StoreError> {
        refuse_stranger(path)?;
        Self::open_ours(path, (journal, network), may_migrate).map_err(|error| Self::name(path, error))
    }

    fn open_ours(
        path: &Path,
        (journal, network): (Journal, bool),
        may_migrate: impl FnOnce(&EngineRecord) -> bool,
    ) -> Result<Self, StoreError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // What is not ours is left as it is, so it is refused before its journal is touched.
        connection.busy_timeout(BUSY)?;
        migrate::refuse_newer(&connection, path)?;
        migrate::refuse_others(&connection, path, may_migrate)?;
        let store = Self::configure(connection, journal, network)?;
        migrate::migrate(&store.connection, path)?;
        Ok(store)
    }

    fn configure(connection: Connection, journal: Journal, network: bool) -> Result<Self, StoreError> {
        let wal = match journal {
            Journal::Auto => !network,
            Journal::Wal => true,
            Journal::Rollback => false,
        };
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(128);
        // A statement keeps its plan: else each of those that partial indexes serve is compiled again for every value
        // bound to it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        let wanted = if wal { "wal" } else { "delete" };
        let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        if mode != wanted {
            connection.pragma_update(None, "journal_mode", wanted)?;
        }
        // A rollback journal commits by being deleted, and only EXTRA makes sure that the deletion is on the disk: a
        // journal that a power failure brings back would undo a `submitting` whose submit took effect.
        let (synchronous, level) = if wal { ("FULL", "2") } else { ("EXTRA", "3") };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.execute_batch(
            "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -8000",
        )?;
        for (name, wanted) in [("synchronous", level), ("journal_mode", wanted), ("foreign_keys", "1")] {
            let kept = setting(&connection, name)?;
            if kept != wanted {
                return Err(StoreError::Setting { name, wanted, kept });
            }
        }
        Ok(Self { connection, wal, alone: false, rehearses: false, _held: None })
    }

    /// Names the file in which damage was found.
    fn name(path: &Path, error: StoreError) -> StoreError {
        match error {
            StoreError::Damaged(text) => StoreError::Corrupt(path.to_owned(), text),
            other => other,
        }
    }

    /// Runs `work` in one transaction; an error rolls it back.
    ///
    /// # Errors
    /// What `work` answers, or what the commit answers.
    pub fn transaction<T>(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&Writer<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.rehearses {
            return self.try_out(work);
        }
        // A rollback journal that is not synced can damage the database, so only WAL is ever written lazily.
        let lazy = durability == Durability::Lazy && self.wal;
        if lazy {
            self.connection.execute_batch("PRAGMA synchronous = NORMAL")?;
        }
        let result = (|| {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&Writer { connection: &transaction })?;
            crate::ground::failpoint::hit("store.before-commit");
            transaction.commit()?;
            crate::ground::failpoint::hit("store.after-commit");
            Ok(value)
        })();
        if lazy {
            self.connection.execute_batch("PRAGMA synchronous = FULL")?;
        }
        result
    }

    /// A number that changes when another connection has written to the database.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn data_version(&self) -> Result<i64, StoreError> {
        Ok(self.connection.query_row("PRAGMA data_version", [], |row| row.get(0))?)
    }
}

/// Everything that changes the store; exists only inside a transaction. Whoever is given one is given no run with its
/// plugins and backends, which a test follows: so none of those runs while a transaction is open.
#[derive(Debug)]
pub struct Writer<'a> {
    connection: &'a Connection,
}

/// What SQLite says that a setting is.
fn setting(connection: &Connection, name: &str) -> Result<String, StoreError> {
    Ok(connection.pragma_query_value(None, name, |row| {
        Ok(match row.get_ref(0)? {
            ValueRef::Integer(number) => number.to_string(),
            other => other.as_str()?.to_owned(),
        })
    })?)
}

/// The size of the header of a database, in bytes.
const HEADER: u64 = 100;

/// Refuses a file that SQLite would take for an empty database, or that is none. The file is not opened: closing it
/// would take away the locks of a connection that this process has to it already.
fn refuse_stranger(path: &Path) -> Result<(), StoreError> {
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => StoreError::Missing(path.to_owned()),
        _ if crate::ground::machine::is_trouble(&error) => {
            StoreError::Disk(format!("{}: {error}", path.display()).into())
        }
        _ => StoreError::Denied(format!("{}: {error}", path.display()).into()),
    })?;
    if metadata.is_file() && metadata.len() < HEADER {
        return Err(StoreError::Corrupt(path.to_owned(), format!("it has only {} bytes", metadata.len()).into()));
    }
    Ok(())
}

/// Reads a state's word from a column.
macro_rules! state_column {
    ($($state:ty),+) => {$(
        impl FromSql for $state {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let word = value.as_str()?;
                Self::parse(word).ok_or_else(|| FromSqlError::Other(format!("unknown state `{word}`").into()))
            }
        }
    )+};
}

state_column!(RunState, TaskState, AttemptState);

/// Reads a JSON document as it stands in a row.
///
/// # Errors
/// If it is none, or another one than belongs there.
pub fn document<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Row(format!("a stored document cannot be read: {error}")))
}

/// Reads a JSON document from a row that may have none.
fn optional<T: DeserializeOwned>(text: Option<&str>) -> Result<Option<T>, StoreError> {
    text.map(document).transpose()
}

/// Insists that a guarded update changed exactly one row.
fn changed_one(changed: usize, what: &str) -> Result<(), StoreError> {
    if changed == 1 { Ok(()) } else { Err(StoreError::Row(format!("{what} was changed by somebody else"))) }
}

#[cfg(test)]
mod tests {
    use super::{Journal, Store, StoreError};
    use rusqlite::Connection;

    #[test]
    fn a_setting_that_is_not_taken_is_named() {
        // a database in memory has no write-ahead log
        let memory = Connection::open_in_memory().expect("a database");
        let refused = Store::configure(memory, Journal::Wal, false).expect_err("no write-ahead log");
        let StoreError::Setting { name, wanted, kept } = &refused else { panic!("{refused:?}") };
        assert_eq!((*name, *wanted, kept.as_str()), ("journal_mode", "wal", "memory"));
        assert_eq!(refused.to_string(), "SQLite keeps `journal_mode` at `memory` where `wal` is needed");
    }

    #[test]
    fn a_commit_is_on_the_disk_in_either_journal() {
        for (journal, level) in [(Journal::Wal, 2), (Journal::Rollback, 3)] {
            let path = std::env::temp_dir().join(format!("matterstack-{}-{level}.sqlite", std::process::id()));
            let store = Store::create(&path, journal, false).expect("a new store");
            let kept: i64 = store.connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).expect("the level");
            drop(store);
            std::fs::remove_file(&path).expect("the file");
            assert_eq!(kept, level, "{journal:?}");
        }
    }
}
