//! Decisions: what the campaign was asked, with what, and what it answered, also where that was nothing.
use super::{FormerState, Store, StoreError, Writer, changed_one, compress, optional};
use crate::model::contract::{OpenTasksRead, ReadRefused, Reads};
use crate::model::evidence::{DecisionKind, DecisionOutcome, DecisionRecord, EngineRecord};
use crate::model::script::{CAMPAIGN, PinnedScript};
use crate::model::time::Time;
use rusqlite::Row;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

/// A decision to record.
#[derive(Debug, Clone)]
pub struct NewDecision<'a> {
    /// Its number in the run, from 1; one that failed is tried again under the same.
    pub number: u64,
    /// What was asked.
    pub kind: DecisionKind,
    /// The iteration it is made in.
    pub iteration: u32,
    /// The time the campaign sees, in milliseconds since the epoch.
    pub now_ms: i64,
    /// SHA-256 of the plugin.
    pub plugin_sha256: &'a str,
    /// What carries the plugin out.
    pub engine: &'a EngineRecord,
    /// The state the campaign is given.
    pub former: Option<FormerState<'a>>,
    /// Why a plan is asked for.
    pub asked: &'a [String],
    /// Tasks that are planned and have not ended.
    pub open_tasks: u64,
    /// What a person supplied.
    pub supplied: Option<&'a str>,
    /// The exact text of the results that `analyze` is given.
    pub finished: Option<&'a str>,
    /// SHA-256 of context, state and results, in canonical JSON.
    pub input_sha256: &'a str,
    /// Fuel used.
    pub fuel: u64,
    /// What it asked for beside its arguments.
    pub reads: &'a Reads,
    /// The files it wrote, by digest, with their sizes.
    pub written: &'a [(String, u64)],
}

/// What came of a decision.
#[derive(Debug, Clone, Copy)]
pub enum Came<'a> {
    /// An answer that holds.
    Answer {
        /// The state it left: canonical JSON.
        state: &'a str,
        /// All else that it said: canonical JSON, an object.
        rest: &'a str,
        /// What a plan chose, in one word.
        next: Option<&'a str>,
        /// The campaign's sentence on why.
        reason: &'a str,
        /// How far the campaign has come, in its own words: a JSON document.
        summary: Option<&'a str>,
        /// SHA-256 of the answer, in canonical JSON.
        output_sha256: &'a str,
    },
    /// None.
    Failure {
        /// How the call ended.
        outcome: DecisionOutcome,
        /// Why, in one sentence.
        error: &'a str,
        /// What it said that could not be taken.
        said: Option<&'a str>,
    },
}

/// Everything that a decision could depend on, and the exact answer.
#[derive(Debug, Clone)]
pub struct DecisionInput {
    /// What is recorded of it.
    pub record: DecisionRecord,
    /// The text of the configuration it was made under.
    pub config: String,
    /// Where its plugin lies, relative to the run directory; absent if no configuration pinned it.
    pub plugin: Option<String>,
    /// The exact text of the results that `analyze` was given.
    pub finished: Option<String>,
    /// What it answered but for the state.
    pub answer: Option<String>,
    /// The reads that it was refused.
    pub refusals: Vec<ReadRefused>,
    /// What it asked about open tasks, in order.
    pub open_tasks: Vec<OpenTasksRead>,
}

/// The compressed texts of a decision: configuration, results, answer; and the place of its plugin.
type Texts = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>, Option<String>);

impl Writer<'_> {
    /// Records a decision with what came of it.
    ///
    /// # Errors
    /// If the number was answered already, or the database cannot be written.
    pub fn add_decision(&self, new: &NewDecision<'_>, came: Came<'_>) -> Result<(), StoreError> {
        let decision = self.insert_decision(new, came)?;
        self.keep_reads(decision, new.reads)?;
        match came {
            Came::Answer { state, .. } => {
                self.keep_writes(decision, new.written)?;
                self.take_answer(new, state)
            }
            Came::Failure { .. } => Ok(()),
        }
    }

    /// Adds the row of a decision; returns its place.
    fn insert_decision(&self, new: &NewDecision<'_>, came: Came<'_>) -> Result<i64, StoreError> {
        let (outcome, error, rest) = match came {
            Came::Answer { rest, .. } => (DecisionOutcome::Answered, None, Some(rest)),
            Came::Failure { outcome, error, said } => (outcome, Some(error), said),
        };
        let (next, reason, summary, output) = match came {
            Came::Answer { next, reason, summary, output_sha256, .. } => {
                (next, Some(reason), summary, Some(output_sha256))
            }
            Came::Failure { .. } => (None, None, None, None),
        };
        let finished = new.finished.map(|text| compress::pack(text, None)).transpose()?;
        let rest = rest.map(|text| compress::pack(text, None)).transpose()?;
        let engine = self.engine(new.engine)?;
        self.connection
            .prepare_cached(
                "INSERT INTO decisions (number, try, kind, iteration, now_ms, config, plugin_sha256, engine, state_from, \
                 asked, open_tasks, supplied, finished, input_sha256, outcome, error, answer, next, reason, summary, output_sha256, fuel) \
                 VALUES (:number, (SELECT count(*) + 1 FROM decisions WHERE number = :number), :kind, :iteration, :now, \
                 (SELECT max(config) FROM configs), unhex(:plugin), :engine, :state_from, :asked, :open_tasks, :supplied, :finished, \
                 unhex(:input), :outcome, :error, :answer, :next, :reason, :summary, unhex(:output), :fuel)",
            )?
            .execute(rusqlite::named_params! {
                ":number": new.number as i64,
                ":kind": new.kind.as_str(),
                ":iteration": new.iteration,
                ":now": new.now_ms,
                ":plugin": new.plugin_sha256,
                ":engine": engine,
                ":state_from": new.former.map(|former| former.number as i64),
                ":asked": json!(new.asked).to_string(),
                ":open_tasks": new.open_tasks as i64,
                ":supplied": new.supplied,
                ":finished": finished,
                ":input": new.input_sha256,
                ":outcome": outcome.as_str(),
                ":error": error,
                ":answer": rest,
                ":next": next,
                ":reason": reason,
                ":summary": summary,
                ":output": output,
                ":fuel": new.fuel as i64,
            })?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Lets the run go by the state that a decision was answered with.
    fn take_answer(&self, new: &NewDecision<'_>, state: &str) -> Result<(), StoreError> {
        self.keep_state(new.number, state, new.former)?;
        let sql = match new.kind {
            DecisionKind::Plan => {
                self.plan_answered()?;
                "UPDATE run SET decisions = ?1, state_of = ?1, supplied = NULL"
            }
            DecisionKind::Analyze => "UPDATE run SET decisions = ?1, state_of = ?1",
        };
        changed_one(self.connection.prepare_cached(sql)?.execute([new.number as i64])?, "the run")
    }

    /// The place of an engine, which is new the first time.
    fn engine(&self, engine: &EngineRecord) -> Result<i64, StoreError> {
        let named = (&engine.version, &engine.contract, &engine.runtime, &engine.target);
        self.connection
            .prepare_cached(
                "INSERT OR IGNORE INTO engines (version, contract, runtime, target) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(named)?;
        let mut find = self.connection.prepare_cached(
            "SELECT engine FROM engines WHERE version = ?1 AND contract = ?2 AND runtime = ?3 AND target = ?4",
        )?;
        Ok(find.query_row(named, |row| row.get(0))?)
    }

    fn keep_reads(&self, decision: i64, reads: &Reads) -> Result<(), StoreError> {
        let mut read =
            self.connection.prepare_cached("INSERT INTO decision_reads (decision, sha256) VALUES (?1, unhex(?2))")?;
        for digest in &reads.digests {
            read.execute((decision, digest))?;
        }
        let mut refused = self
            .connection
            .prepare_cached("INSERT INTO decision_refusals (decision, seq, answer) VALUES (?1, ?2, ?3)")?;
        for one in &reads.refused {
            let answer = serde_json::to_string(&one.answer).map_err(|error| StoreError::Row(error.to_string()))?;
            refused.execute((decision, one.seq as i64, answer))?;
        }
        let mut open = self
            .connection
            .prepare_cached("INSERT INTO decision_open_tasks (decision, seq, answer) VALUES (?1, ?2, ?3)")?;
        for (seq, one) in reads.open_tasks.iter().enumerate() {
            let answer = serde_json::to_string(one).map_err(|error| StoreError::Row(error.to_string()))?;
            open.execute((decision, seq as i64, compress::pack(&answer, None)?))?;
        }
        Ok(())
    }

    fn keep_writes(&self, decision: i64, written: &[(String, u64)]) -> Result<(), StoreError> {
        for (digest, size) in written {
            self.keep_file(digest, *size)?;
            self.connection
                .prepare_cached("INSERT INTO decision_writes (decision, sha256) VALUES (?1, unhex(?2))")?
                .execute((decision, digest))?;
        }
        Ok(())
    }

    /// Notes that the run keeps a file beside those of attempts.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub(super) fn keep_file(&self, sha256: &str, size: u64) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO kept_files (sha256, size) VALUES (unhex(?1), ?2)")?
            .execute((sha256, size as i64))?;
        Ok(())
    }

    /// Records how many plans in a row planned nothing.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_idle_plans(&self, count: u32) -> Result<(), StoreError> {
        changed_one(self.connection.execute("UPDATE run SET idle_plans = ?1", [count])?, "the run")
    }

    /// Keeps the campaign's result.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_result(&self, document: &str) -> Result<(), StoreError> {
        changed_one(self.connection.execute("UPDATE run SET result = ?1", [document])?, "the run")
    }
}

const COLUMNS: &str = "d.decision, d.number, d.try, d.kind, d.iteration, d.now_ms, lower(hex(c.sha256)), \
     lower(hex(d.plugin_sha256)), d.engine, d.state_from, d.supplied, lower(hex(d.input_sha256)), d.outcome, d.error, d.next, \
     d.reason, d.summary, lower(hex(d.output_sha256)), d.fuel, d.asked, d.open_tasks FROM decisions d JOIN configs c ON c.config = d.config";

/// A row of `COLUMNS`, whose first column is its place.
fn decision_row(row: &Row<'_>) -> Result<DecisionRecord, StoreError> {
    let word = |index: usize| row.get::<_, String>(index);
    Ok(DecisionRecord {
        number: row.get::<_, i64>(1)? as u64,
        attempt: row.get(2)?,
        kind: DecisionKind::parse(&word(3)?).ok_or_else(|| StoreError::Row("unknown kind of decision".to_owned()))?,
        iteration: row.get(4)?,
        at: Time(row.get(5)?),
        config_sha256: row.get(6)?,
        plugin_sha256: row.get(7)?,
        script_sha256: None,
        engine: row.get(8)?,
        state_from: row.get::<_, Option<i64>>(9)?.map(|number| number as u64),
        supplied: optional(row.get::<_, Option<String>>(10)?.as_deref())?,
        input_sha256: row.get(11)?,
        outcome: DecisionOutcome::parse(&word(12)?)
            .ok_or_else(|| StoreError::Row("unknown outcome of a decision".to_owned()))?,
        error: row.get(13)?,
        next: row.get(14)?,
        reason: row.get(15)?,
        summary: optional(row.get::<_, Option<String>>(16)?.as_deref())?,
        output_sha256: row.get::<_, Option<String>>(17)?.filter(|digest| !digest.is_empty()),
        fuel: row.get::<_, i64>(18)? as u64,
        asked: super::document(row.get_ref(19)?.as_str().unwrap_or_default())?,
        open_tasks: row.get::<_, i64>(20)? as u64,
    })
}

/// SHA-256 of the script that the text of a configuration pins as its campaign.
fn script_in(config: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Config {
        pinned: Option<Pinned>,
    }
    #[derive(Deserialize)]
    struct Pinned {
        #[serde(default)]
        scripts: BTreeMap<String, PinnedScript>,
    }
    let Config { pinned } = serde_json::from_str(config).ok()?;
    pinned?.scripts.remove(CAMPAIGN).map(|script| script.file.sha256)
}

impl Store {
    /// Every decision, in the order made.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn decisions(&self) -> Result<Vec<DecisionRecord>, StoreError> {
        let mut all = Vec::new();
        self.each_decision(|record| {
            all.push(record);
            Ok::<_, StoreError>(())
        })?;
        Ok(all)
    }

    /// Hands over every decision, in the order made.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_decision<E: From<StoreError>>(
        &self,
        each: impl FnMut(DecisionRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut each = each;
        let mut scripts = BTreeMap::new();
        self.each(&format!("SELECT {COLUMNS} ORDER BY d.decision"), decision_row, |mut record| {
            if !scripts.contains_key(&record.config_sha256) {
                scripts.insert(record.config_sha256.clone(), self.script_of(&record.config_sha256)?);
            }
            record.script_sha256 = scripts.get(&record.config_sha256).cloned().flatten();
            each(record)
        })
    }

    /// SHA-256 of the script that decided under a configuration; nothing if it named none.
    fn script_of(&self, config_sha256: &str) -> Result<Option<String>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT text FROM configs WHERE sha256 = unhex(?1) LIMIT 1")?;
        let text: Vec<u8> = statement.query_row([config_sha256], |row| row.get(0))?;
        Ok(script_in(&compress::unpack_alone(&text)?))
    }

    /// Everything that one decision could depend on but for its state; `place` counts the decisions made, from 1.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn decision_input(&self, place: i64) -> Result<Option<DecisionInput>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!("SELECT {COLUMNS} WHERE d.decision = ?1"))?;
        let mut rows = statement.query([place])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let mut record = decision_row(row)?;
        let mut texts = self.connection.prepare_cached(
            "SELECT c.text, d.finished, d.answer, (SELECT min(p.path) FROM plugins p WHERE p.sha256 = d.plugin_sha256) \
             FROM decisions d JOIN configs c ON c.config = d.config WHERE d.decision = ?1",
        )?;
        let (config, finished, answer, plugin): Texts =
            texts.query_row([place], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| compress::unpack_alone(&bytes)).transpose();
        let config = compress::unpack_alone(&config)?;
        record.script_sha256 = script_in(&config);
        Ok(Some(DecisionInput {
            record,
            config,
            plugin,
            finished: text(finished)?,
            answer: text(answer)?,
            refusals: self.refusals(place)?,
            open_tasks: self.open_tasks_reads(place)?,
        }))
    }

    fn refusals(&self, place: i64) -> Result<Vec<ReadRefused>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT seq, answer FROM decision_refusals WHERE decision = ?1 ORDER BY seq")?;
        let mut rows = statement.query([place])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let answer = super::document(row.get_ref(1)?.as_str().unwrap_or_default())?;
            all.push(ReadRefused { seq: row.get::<_, i64>(0)? as u64, answer });
        }
        Ok(all)
    }

    fn open_tasks_reads(&self, place: i64) -> Result<Vec<OpenTasksRead>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT answer FROM decision_open_tasks WHERE decision = ?1 ORDER BY seq")?;
        let answers = statement.query_map([place], |row| row.get::<_, Vec<u8>>(0))?;
        answers.map(|answer| super::document(&compress::unpack_alone(&answer?)?)).collect()
    }

    /// The digests of the files that a decision wrote; `place` as for [`Store::decision_input`].
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn decision_writes(&self, place: i64) -> Result<Vec<String>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT lower(hex(sha256)) FROM decision_writes WHERE decision = ?1 ORDER BY sha256")?;
        let digests = statement.query_map([place], |row| row.get(0))?;
        Ok(digests.collect::<Result<_, _>>()?)
    }

    /// The digests of the files that a decision read; `place` as for [`Store::decision_input`].
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn decision_reads(&self, place: i64) -> Result<Vec<String>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT lower(hex(sha256)) FROM decision_reads WHERE decision = ?1 ORDER BY sha256")?;
        let digests = statement.query_map([place], |row| row.get(0))?;
        Ok(digests.collect::<Result<_, _>>()?)
    }

    /// How many decisions were made, those that failed included.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn decisions_made(&self) -> Result<i64, StoreError> {
        Ok(self.connection.query_row("SELECT coalesce(max(decision), 0) FROM decisions", [], |row| row.get(0))?)
    }
}
