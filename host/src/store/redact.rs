//! A copy of a run's database that is given away: without what was written over, and where it is asked for without the
//! names of people and machines. What decisions were given and answered is left as it is: it could not be replayed
//! otherwise.
use super::{Store, StoreError};
use crate::ground::names::Names;
use rusqlite::Connection;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Where names stand.
const COLUMNS: [(&str, &[&str]); 6] = [
    ("acts", &["user", "host", "arguments", "reason"]),
    ("environments", &["host", "variables", "recorded"]),
    (
        "attempts",
        &["handle", "note", "waits_for", "reason", "data", "prepared", "usage", "external_id", "host", "node"],
    ),
    ("tasks", &["reason"]),
    ("run", &["reason"]),
    ("history", &["reason"]),
];

impl Store {
    /// Takes out of a copy of a database what lies in it and belongs to nothing, and with `redact` puts other words in
    /// the place of the names of users and machines, which it returns.
    ///
    /// # Errors
    /// If the copy cannot be read or written.
    pub fn tidy_copy(path: &Path, redact: bool) -> Result<Names, StoreError> {
        let mut copy = Connection::open(path)?;
        let names = if redact { redacted(&mut copy)? } else { Names::default() };
        // what was written over or removed is still in pages that nothing uses
        copy.execute_batch("VACUUM")?;
        copy.close().map_err(|(_, error)| error)?;
        Ok(names)
    }
}

fn redacted(copy: &mut Connection) -> Result<Names, StoreError> {
    let transaction = copy.transaction()?;
    let names = names(&transaction)?;
    let triggers = taken_away(&transaction)?;
    for (table, columns) in COLUMNS {
        for column in columns {
            replace(&transaction, table, column, &names)?;
        }
    }
    triggers.iter().try_for_each(|sql| transaction.execute_batch(sql))?;
    transaction.commit()?;
    Ok(names)
}

/// Who and which machines the record names.
fn names(copy: &Connection) -> Result<Names, StoreError> {
    let texts = |sql: &str| -> Result<BTreeSet<String>, StoreError> {
        let mut statement = copy.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get::<_, Option<String>>(0))?;
        Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
    };
    let mut users = texts("SELECT user FROM acts")?;
    let mut hosts = texts(
        "SELECT host FROM acts UNION SELECT host FROM environments UNION SELECT host FROM attempts \
         UNION SELECT node FROM attempts UNION SELECT handle ->> '$.host' FROM attempts",
    )?;
    // who answered, by the word of the operator that asked
    for data in texts("SELECT data FROM attempts WHERE data ->> '$.by' IS NOT NULL")? {
        let data: Value = serde_json::from_str(&data).unwrap_or_default();
        let name = |key: &str| data["by"][key].as_str().map(str::to_owned);
        users.extend(name("user"));
        hosts.extend(name("host"));
    }
    for variables in texts("SELECT variables FROM environments")? {
        let variables: Value = serde_json::from_str(&variables).unwrap_or_default();
        let named = ["USER", "LOGNAME"].iter().filter_map(|key| variables[key].as_str());
        users.extend(named.map(str::to_owned));
    }
    Ok(Names::new(&users, &hosts))
}

/// Takes away what keeps rows from being changed; returns the statements that bring it back.
fn taken_away(copy: &Connection) -> Result<Vec<String>, StoreError> {
    let mut statement = copy.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let triggers: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
    for (name, _) in &triggers {
        copy.execute_batch(&format!("DROP TRIGGER {name}"))?;
    }
    Ok(triggers.into_iter().map(|(_, sql)| sql).collect())
}

fn replace(copy: &Connection, table: &str, column: &str, names: &Names) -> Result<(), StoreError> {
    let mut read = copy.prepare(&format!("SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL"))?;
    let mut write = copy.prepare(&format!("UPDATE {table} SET {column} = ?2 WHERE rowid = ?1"))?;
    let mut rows = read.query([])?;
    let mut changed: Vec<(i64, String)> = Vec::new();
    while let Some(row) = rows.next()? {
        let text: String = row.get(1)?;
        let other = names.replaced(&text);
        if other != text {
            changed.push((row.get(0)?, other.into_owned()));
        }
    }
    changed.iter().try_for_each(|(row, text)| write.execute((row, text)).map(drop))?;
    Ok(())
}
