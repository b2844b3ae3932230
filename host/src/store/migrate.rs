//! The schema and its versions. A migration is never edited once released.
use super::StoreError;
use crate::model::evidence::EngineRecord;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::path::Path;

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_each_result.sql"),
    include_str!("migrations/0003_label.sql"),
    include_str!("migrations/0004_recorded.sql"),
    include_str!("migrations/0005_rules.sql"),
    include_str!("migrations/0006_removed.sql"),
];

/// Whether SQLite holds rows to what they refer to.
const FOREIGN_KEYS: &str = "foreign_keys";

fn latest() -> i64 {
    MIGRATIONS.len() as i64
}

fn version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Creates the newest schema in an empty database; refuses one that has a schema.
pub(super) fn create(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    if version(connection)? > 0 {
        return Err(StoreError::Exists(path.to_owned()));
    }
    apply(connection, MIGRATIONS)
}

/// Makes each migration that the database has not had, in a transaction of its own: one that fails, or that another
/// process was first to make, leaves the database as it was.
fn apply(connection: &Connection, migrations: &[&str]) -> Result<(), StoreError> {
    // a table that others refer to can be made anew only so; what refers to nothing then fails the migration
    let kept: bool = connection.pragma_query_value(None, FOREIGN_KEYS, |row| row.get(0))?;
    connection.pragma_update(None, FOREIGN_KEYS, false)?;
    let applied = apply_each(connection, migrations);
    connection.pragma_update(None, FOREIGN_KEYS, kept)?;
    applied
}

fn apply_each(connection: &Connection, migrations: &[&str]) -> Result<(), StoreError> {
    for (before, migration) in (0..).zip(migrations) {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        if version(&transaction)? == before {
            transaction.execute_batch(migration)?;
            if transaction.prepare("PRAGMA foreign_key_check")?.exists([])? {
                return Err(StoreError::Row(format!("migration {} leaves a row that refers to nothing", before + 1)));
            }
            transaction.pragma_update(None, "user_version", before + 1)?;
            transaction.commit()?;
        }
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
        return Err(StoreError::Corrupt(path.to_owned(), format!("its application id is {application}").into()));
    }
    if found > latest() {
        return Err(StoreError::TooNew(path.to_owned(), found, latest()));
    }
    if found == 0 {
        return Err(StoreError::Corrupt(path.to_owned(), "it has no schema".into()));
    }
    Ok(())
}

/// Whether a database is of an earlier version than the newest schema.
pub(super) fn is_older(connection: &Connection) -> Result<bool, StoreError> {
    Ok(version(connection)? < latest())
}

/// Refuses an older database whose last decision was made by an engine that is not ours.
pub(super) fn refuse_others(
    connection: &Connection,
    path: &Path,
    is_ours: impl FnOnce(&EngineRecord) -> bool,
) -> Result<(), StoreError> {
    if !is_older(connection)? {
        return Ok(());
    }
    let sql = "SELECT e.version, e.contract, e.runtime, e.target FROM decisions d JOIN engines e ON e.engine = d.engine \
         ORDER BY d.decision DESC LIMIT 1";
    let engine = connection.query_row(sql, [], |row| {
        Ok(EngineRecord { version: row.get(0)?, contract: row.get(1)?, runtime: row.get(2)?, target: row.get(3)? })
    });
    match engine.optional()? {
        Some(engine) if !is_ours(&engine) => {
            Err(StoreError::OtherContract(path.to_owned(), engine.contract, engine.version))
        }
        _ => Ok(()),
    }
}

/// Brings a copy in memory to the newest schema: so those read an older database who may not change it.
pub(super) fn migrate_copy(connection: &Connection) -> Result<(), StoreError> {
    apply(connection, MIGRATIONS)
}

/// Brings an older database to the newest schema, after a backup beside it.
pub(super) fn migrate(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    refuse_newer(connection, path)?;
    let found = version(connection)?;
    if found < latest() {
        let backup = path.with_extension(format!("sqlite.v{found}"));
        connection.execute("VACUUM INTO ?1", [backup.to_string_lossy().as_ref()])?;
        apply(connection, MIGRATIONS)?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::{apply, create, version};
    use rusqlite::Connection;
    use std::path::Path;

    /// The steps by which SQLite answers a query of a new store.
    pub(in crate::store) fn plan(sql: &str) -> Vec<String> {
        let connection = Connection::open_in_memory().expect("a database");
        create(&connection, Path::new("memory")).expect("a schema");
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a plan");
        let unknown = vec![rusqlite::types::Null; plan.parameter_count()];
        let steps = plan.query_map(rusqlite::params_from_iter(unknown), |row| row.get(3)).expect("steps");
        steps.map(|step| step.expect("a step")).collect()
    }

    /// Checks that a query reads tasks by this index alone, as far as it is asked to, and sorts nothing.
    pub(in crate::store) fn reads_in_order(sql: &str, index: &str) {
        let steps = plan(sql);
        let tasks: Vec<&String> =
            steps.iter().filter(|step| [" t ", " tasks "].iter().any(|n| step.contains(n))).collect();
        assert!(!tasks.is_empty() && tasks.iter().all(|step| step.contains(index)), "{sql}: {steps:?}");
        assert!(steps.iter().all(|step| !step.contains("TEMP B-TREE")), "{sql}: {steps:?}");
    }

    /// Checks that a query reads no whole table but `run`, which has one row.
    pub(in crate::store) fn reads_some(sql: &str) {
        let steps = plan(sql);
        let whole = |step: &&String| {
            step.starts_with("SCAN")
                && *step != "SCAN run"
                && !step.contains(" USING ")
                && !step.contains("VIRTUAL TABLE")
        };
        assert!(!steps.iter().any(|step| whole(&step)), "{sql}: {steps:?}");
    }

    #[test]
    fn a_migration_that_fails_or_was_made_leaves_the_database_as_it_was() {
        let connection = Connection::open_in_memory().expect("a database");
        let half = ["CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE a (x)"];
        apply(&connection, &half).expect_err("there is such a table");
        assert!(connection.is_autocommit(), "no transaction is left open");
        assert!(connection.table_exists(None, "a").expect("an answer"), "what was made before stays");
        assert!(!connection.table_exists(None, "b").expect("an answer"), "half a migration is none");
        assert_eq!(version(&connection).expect("a version"), 1);
        let whole = [half[0], "CREATE TABLE b (x)"];
        for _ in 0..2 {
            apply(&connection, &whole).expect("what is missing is made, once");
            assert_eq!(version(&connection).expect("a version"), 2);
        }
    }
}
