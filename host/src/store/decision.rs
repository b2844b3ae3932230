//! Decisions: what the campaign was asked and answered, by digest.
use super::{Store, StoreError, Writer};
use serde::Serialize;

/// One recorded decision.
#[derive(Debug, Clone, Serialize)]
pub struct DecisionRow {
    /// Its number in the run, from 1.
    pub number: u64,
    /// `plan` or `analyze`.
    pub kind: String,
    /// The iteration it was made in.
    pub iteration: u32,
    /// What a plan chose: `workflow`, `wait`, `complete`, `fail` or `hold`.
    pub next: Option<String>,
    /// The campaign's sentence on why.
    pub reason: String,
    /// SHA-256 of the plugin.
    pub plugin_sha256: String,
    /// SHA-256 of context, state and results, in canonical JSON.
    pub input_sha256: String,
    /// SHA-256 of the answer, in canonical JSON.
    pub output_sha256: String,
    /// Fuel used.
    pub fuel: u64,
    /// The recorded time the campaign saw.
    pub now_ms: i64,
}

/// A decision to record.
pub type NewDecision = DecisionRow;

impl Writer<'_> {
    /// Records a decision with the state it left.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn add_decision(&self, decision: &NewDecision, state: &str) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO decisions (number, kind, iteration, next, reason, plugin_sha256, input_sha256, output_sha256, \
                 fuel, now_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute((
                decision.number as i64,
                &decision.kind,
                decision.iteration,
                &decision.next,
                &decision.reason,
                &decision.plugin_sha256,
                &decision.input_sha256,
                &decision.output_sha256,
                decision.fuel as i64,
                decision.now_ms,
            ))?;
        let sql = if decision.kind == "plan" {
            "UPDATE run SET decisions = ?1, state_document = ?2, supplied = NULL"
        } else {
            "UPDATE run SET decisions = ?1, state_document = ?2"
        };
        self.connection.prepare_cached(sql)?.execute((decision.number as i64, state))?;
        Ok(())
    }

    /// Records how many plans in a row planned nothing.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_idle_plans(&self, count: u32) -> Result<(), StoreError> {
        self.connection.execute("UPDATE run SET idle_plans = ?1", [count])?;
        Ok(())
    }

    /// Keeps the campaign's result.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_result(&self, document: &str) -> Result<(), StoreError> {
        self.connection.execute("UPDATE run SET result = ?1", [document])?;
        Ok(())
    }
}

impl Store {
    /// Every decision, in order.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn decisions(&self) -> Result<Vec<DecisionRow>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT number, kind, iteration, next, reason, plugin_sha256, input_sha256, output_sha256, fuel, now_ms \
             FROM decisions ORDER BY number",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(DecisionRow {
                number: row.get::<_, i64>(0)? as u64,
                kind: row.get(1)?,
                iteration: row.get(2)?,
                next: row.get(3)?,
                reason: row.get(4)?,
                plugin_sha256: row.get(5)?,
                input_sha256: row.get(6)?,
                output_sha256: row.get(7)?,
                fuel: row.get::<_, i64>(8)? as u64,
                now_ms: row.get(9)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
