//! What a run has gone by: every configuration and plugin it ever had, the engines that made its decisions, and where
//! its jobs ran.
use super::{Store, StoreError, Writer, changed_one, compress};
use crate::model::code::Code;
use crate::model::config::PinnedFile;
use crate::model::document::sha256;
use crate::model::evidence::{
    ConfigRecord, EngineRecord, EnvironmentRecord, NumberedEngine, PluginRecord, RecordedOutput,
};
use rusqlite::Row;
use std::collections::BTreeMap;

/// A configuration that a run is to go by.
#[derive(Debug, Clone, Copy)]
pub struct NewConfig<'a> {
    /// The text of config.json.
    pub text: &'a str,
    /// The plugins that it pins, by name; scripts and their modules count as such.
    pub plugins: &'a [(String, PinnedFile)],
}

/// Where jobs are handed in, and what they inherit there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEnvironment {
    /// Identifies the machine.
    pub machine: String,
    /// The name of the machine.
    pub host: String,
    /// The documented variables that are set, with their values.
    pub variables: BTreeMap<String, String>,
    /// What commands told of the programs there.
    pub recorded: Vec<RecordedOutput>,
}

impl Writer<'_> {
    /// Keeps a configuration and the plugins that it pins; from here on the run goes by it.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_config(&self, new: NewConfig<'_>, act: i64) -> Result<(), StoreError> {
        let digest = sha256(new.text.as_bytes());
        self.connection.execute(
            "INSERT INTO configs (sha256, size, text, act) VALUES (unhex(?1), ?2, ?3, ?4)",
            (&digest, new.text.len() as i64, compress::pack(new.text, None)?, act),
        )?;
        let mut keep = self.connection.prepare_cached(
            "INSERT OR IGNORE INTO plugins (name, sha256, path, size, act) VALUES (?1, unhex(?2), ?3, ?4, ?5)",
        )?;
        for (name, file) in new.plugins {
            keep.execute((name, &file.sha256, &file.path, file.size as i64, act))?;
        }
        changed_one(self.connection.execute("UPDATE run SET config_sha256 = unhex(?1)", [digest])?, "the run")
    }

    /// Pins the environment in which jobs are handed in from here on, by an act: one that was noted before keeps its
    /// number.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_environment(&self, new: &NewEnvironment, act: i64) -> Result<(), StoreError> {
        let NewEnvironment { machine, host, variables, recorded } = new;
        let bad = |error: serde_json::Error| StoreError::Row(error.to_string());
        let variables = serde_json::to_string(variables).map_err(bad)?;
        let recorded = serde_json::to_string(recorded).map_err(bad)?;
        self.connection.execute(
            "INSERT INTO environments (machine, host, variables, recorded, act) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO UPDATE SET act = excluded.act",
            (machine, host, &variables, &recorded, act),
        )?;
        self.go_on_in(machine).map(drop)
    }

    /// Lets jobs be handed in from here on in the environment that was pinned last on a machine, and lets those start
    /// that waited for it. Whether there is one.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn go_on_in(&self, machine: &str) -> Result<bool, StoreError> {
        let pinned = format!("SELECT environment FROM environments WHERE machine = ?1 {LAST_PINNED}");
        let changed = self
            .connection
            .execute(&format!("UPDATE run SET environment = ({pinned}) WHERE EXISTS ({pinned})"), [machine])?;
        if changed > 0 {
            self.make_due_for(Code::Environment)?;
        }
        Ok(changed > 0)
    }
}

/// The environment of a machine that was pinned last.
const LAST_PINNED: &str = "ORDER BY coalesce(act, 0) DESC, environment DESC LIMIT 1";

impl Store {
    /// The environment in which jobs were handed in last.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn environment(&self) -> Result<NewEnvironment, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT machine, host, variables, recorded FROM environments WHERE environment = (SELECT environment FROM run)",
        )?;
        let mut rows = statement.query([])?;
        let row = rows.next()?.ok_or_else(|| StoreError::Row("the run has no environment".to_owned()))?;
        let variables = super::document(row.get_ref(2)?.as_str().unwrap_or_default())?;
        let recorded = super::document(row.get_ref(3)?.as_str().unwrap_or_default())?;
        Ok(NewEnvironment { machine: row.get(0)?, host: row.get(1)?, variables, recorded })
    }

    /// The environment that was pinned last on a machine; none if there was none.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn environment_on(&self, machine: &str) -> Result<Option<NewEnvironment>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT host, variables, recorded FROM environments WHERE machine = ?1 {LAST_PINNED}"
        ))?;
        let mut rows = statement.query([machine])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let variables = super::document(row.get_ref(1)?.as_str().unwrap_or_default())?;
        let recorded = super::document(row.get_ref(2)?.as_str().unwrap_or_default())?;
        Ok(Some(NewEnvironment { machine: machine.to_owned(), host: row.get(0)?, variables, recorded }))
    }

    /// Hands over every configuration the run ever had, oldest first.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_config<E: From<StoreError>>(&self, each: impl FnMut(ConfigRecord) -> Result<(), E>) -> Result<(), E> {
        let sql = "SELECT lower(hex(sha256)), act, text FROM configs ORDER BY config";
        let map = |row: &Row<'_>| {
            Ok(ConfigRecord {
                sha256: row.get(0)?,
                act: row.get(1)?,
                text: compress::unpack_alone(&row.get::<_, Vec<u8>>(2)?)?,
            })
        };
        self.each(sql, map, each)
    }

    /// Every plugin the run ever had, oldest first; what uses them now is not known here.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn plugin_versions(&self) -> Result<Vec<PluginRecord>, StoreError> {
        let sql = "SELECT name, lower(hex(sha256)), path, size, act FROM plugins ORDER BY plugin";
        let map = |row: &Row<'_>| {
            Ok(PluginRecord {
                name: row.get(0)?,
                used_by: Vec::new(),
                sha256: row.get(1)?,
                path: row.get(2)?,
                size: row.get::<_, i64>(3)? as u64,
                act: row.get(4)?,
            })
        };
        self.all(sql, map)
    }

    /// Every engine that made a decision, with the number by which decisions refer to it.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn engines(&self) -> Result<Vec<NumberedEngine>, StoreError> {
        let sql = "SELECT engine, version, contract, runtime, target FROM engines ORDER BY engine";
        let map = |row: &Row<'_>| {
            let engine =
                EngineRecord { version: row.get(1)?, contract: row.get(2)?, runtime: row.get(3)?, target: row.get(4)? };
            Ok(NumberedEngine { number: row.get(0)?, engine })
        };
        self.all(sql, map)
    }

    /// Every environment in which jobs ran, oldest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn environments(&self) -> Result<Vec<EnvironmentRecord>, StoreError> {
        let sql = "SELECT environment, machine, host, variables, recorded, act FROM environments ORDER BY environment";
        let map = |row: &Row<'_>| {
            Ok(EnvironmentRecord {
                environment: row.get(0)?,
                machine: row.get(1)?,
                host: row.get(2)?,
                variables: super::document(&row.get::<_, String>(3)?)?,
                recorded: super::document(&row.get::<_, String>(4)?)?,
                act: row.get(5)?,
            })
        };
        self.all(sql, map)
    }

    /// Hands over what `map` makes of every row.
    pub(super) fn each<R, E: From<StoreError>>(
        &self,
        sql: &str,
        map: impl Fn(&Row<'_>) -> Result<R, StoreError>,
        mut each: impl FnMut(R) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = self.connection.prepare(sql).map_err(StoreError::from)?;
        let mut rows = statement.query([]).map_err(StoreError::from)?;
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            each(map(row)?)?;
        }
        Ok(())
    }

    /// What `map` makes of every row.
    fn all<R>(&self, sql: &str, map: impl Fn(&Row<'_>) -> Result<R, StoreError>) -> Result<Vec<R>, StoreError> {
        let mut all = Vec::new();
        self.each(sql, map, |one| {
            all.push(one);
            Ok::<_, StoreError>(())
        })?;
        Ok(all)
    }
}
