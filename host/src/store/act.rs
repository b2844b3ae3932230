//! Acts: the commands that changed the run.
use super::{Store, StoreError, Writer};
use crate::model::act::{Act, ActRecord, Actor};
use crate::model::time::Time;

impl Writer<'_> {
    /// Records an act; returns its number.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn add_act(&self, act: &Act) -> Result<i64, StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO acts (at_ms, verb, arguments, reason, user_id, user, host, version) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute((
                act.at_ms,
                act.verb.as_str(),
                act.arguments.to_string(),
                &act.reason,
                act.by.user_id,
                &act.by.user,
                &act.by.host,
                &act.by.version,
            ))?;
        Ok(self.connection.last_insert_rowid())
    }
}

impl Store {
    /// Every act, in order.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn acts(&self) -> Result<Vec<ActRecord>, StoreError> {
        self.acts_where("1 ORDER BY act")
    }

    /// The note that was made last.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn last_note(&self) -> Result<Option<ActRecord>, StoreError> {
        Ok(self.acts_where("verb = 'note' ORDER BY act DESC LIMIT 1")?.pop())
    }

    fn acts_where(&self, filter: &str) -> Result<Vec<ActRecord>, StoreError> {
        let mut statement = self.connection.prepare(&format!(
            "SELECT act, at_ms, verb, arguments, reason, user_id, user, host, version FROM acts WHERE {filter}"
        ))?;
        let mut rows = statement.query([])?;
        let mut acts = Vec::new();
        while let Some(row) = rows.next()? {
            acts.push(ActRecord {
                act: row.get(0)?,
                at: Time(row.get(1)?),
                verb: row.get(2)?,
                arguments: super::document(&row.get::<_, String>(3)?)?,
                reason: row.get(4)?,
                by: Actor { user_id: row.get(5)?, user: row.get(6)?, host: row.get(7)?, version: row.get(8)? },
            });
        }
        Ok(acts)
    }
}
