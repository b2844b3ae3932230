//! Cuts the copy of a run's database back to what it was just before a decision, for a new run that goes on from there.
//!
//! What the campaign had received by then is found in the decisions themselves, along the states that led to that one:
//! what the tasks' own rows say may have been changed since by a rerun. Outcomes that came later, of tasks planned
//! before, are kept too, so that nothing of them runs again, and the campaign of the new run receives them first. All
//! attempts that stay are those of the run before: they keep their ids, which the decisions name, and ran nothing here.
use super::history::Subject;
use super::transition::list;
use super::{Identity, NewConfig, NewEnvironment, Store, StoreError, Writer, changed_one, compress, document};
use crate::model::act::{Act, Verb};
use crate::model::code::Code;
use crate::model::contract::PlanReason;
use crate::model::result::TaskResult;
use rusqlite::config::DbConfig;
use rusqlite::{OptionalExtension, Row};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a run that goes on from another needs beside the copy of its database.
#[derive(Debug)]
pub struct NewFork<'a> {
    /// The run's id.
    pub run_id: &'a str,
    /// What a person calls the run.
    pub label: Option<&'a str>,
    /// What it goes by.
    pub config: NewConfig<'a>,
    /// Where it is made.
    pub environment: NewEnvironment,
    /// What tells the run directory from a copy.
    pub identity: Identity,
    /// The user who makes it.
    pub user_id: i64,
    /// Whether its campaign receives each result as it comes.
    pub each_result: bool,
    /// Whether its campaign goes by something else than the one before.
    pub changed: bool,
    /// Attempts of which a file is gone, by their places.
    pub lost: &'a [i64],
    /// The command that makes it.
    pub act: &'a Act,
}

/// What a fork has of the run before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shared {
    /// Decisions.
    pub decisions: u64,
    /// Tasks that have ended.
    pub tasks: u64,
    /// Tasks that are still to run.
    pub open: u64,
}

/// A file of an attempt that stays.
#[derive(Debug, Clone)]
pub struct SharedFile {
    /// The place of the attempt.
    pub attempt: i64,
    /// The directory of the attempt, relative to the run's.
    pub directory: String,
    /// Relative to that.
    pub path: String,
    /// SHA-256.
    pub sha256: String,
    /// Whether it is an output, and no log.
    pub output: bool,
}

/// Under which run the first decisions of a fork were made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MadeAs {
    /// The run.
    pub run: String,
    /// The number of the first decision that is not of it.
    pub at: u64,
}

/// Tables whose rows are of an attempt.
const OF_ATTEMPTS: [&str; 7] =
    ["attempt_inputs", "outputs", "logs", "reuse_keys", "reused", "reuse_rejections", "removed"];

/// What the campaign had received by then, what of it any decision was given, also one whose state a rerun has left
/// behind, and which attempts are left out.
const TABLES: &str = "CREATE TEMP TABLE heard (task_id TEXT PRIMARY KEY, number INTEGER NOT NULL, attempts INTEGER NOT NULL, \
     state TEXT NOT NULL, code TEXT, reason TEXT) STRICT; \
     CREATE TEMP TABLE given (task_id TEXT PRIMARY KEY, attempts INTEGER NOT NULL) STRICT; \
     CREATE TEMP TABLE dropped (attempt_key INTEGER PRIMARY KEY) STRICT";

/// Leaves out what was planned later, and of what was planned before every attempt that came to nothing by then. What a
/// decision was given stays, since it may have read of it.
const TASKS: &str = "DELETE FROM workflows WHERE decision >= ?1; \
     INSERT INTO dropped SELECT a.attempt_key FROM attempts a JOIN tasks t ON t.task_key = a.task_key \
       LEFT JOIN heard h ON h.task_id = t.task_id LEFT JOIN given g ON g.task_id = t.task_id \
       WHERE t.iteration NOT IN (SELECT iteration FROM workflows) OR a.number > h.attempts OR a.ended_at_ms IS NULL OR \
       (h.task_id IS NULL AND t.state NOT IN ('completed', 'failed') AND a.number > coalesce(g.attempts, 0)); \
     DELETE FROM dependencies WHERE task_key IN (SELECT task_key FROM tasks WHERE iteration NOT IN (SELECT iteration FROM workflows)) \
       OR on_key IN (SELECT task_key FROM tasks WHERE iteration NOT IN (SELECT iteration FROM workflows)); \
     DELETE FROM task_specs WHERE task_key IN (SELECT task_key FROM tasks WHERE iteration NOT IN (SELECT iteration FROM workflows)); \
     DELETE FROM approvals WHERE state = 'asked' OR \
       task_key IN (SELECT task_key FROM tasks WHERE iteration NOT IN (SELECT iteration FROM workflows)); \
     DELETE FROM outcomes; DELETE FROM told_waits; DELETE FROM cursors; DELETE FROM history; \
     DELETE FROM tasks WHERE iteration NOT IN (SELECT iteration FROM workflows)";

/// Puts each task where it stood: those that the campaign had heard of as it had, the others as they ended.
const STANDING: &str = "UPDATE tasks SET state = h.state, reason_code = h.code, reason = iif(h.code IS NULL, NULL, coalesce(h.reason, h.code)), \
       retry_at_ms = NULL, retry_set_ms = NULL FROM heard h WHERE h.task_id = tasks.task_id AND \
       (tasks.state <> h.state OR tasks.delivered IS NOT h.number); \
     UPDATE tasks SET superseded = iif(?1, superseded, NULL), \
       delivered = (SELECT h.number FROM heard h WHERE h.task_id = tasks.task_id); \
     UPDATE tasks SET state = 'pending', reason_code = NULL, reason = NULL, tries = 0, misfires = 0, retry_at_ms = NULL, \
       retry_set_ms = NULL, stale = 0 WHERE delivered IS NULL AND state NOT IN ('completed', 'failed')";

/// Says of each attempt that stays whose it is.
const REUSED: &str = "INSERT OR REPLACE INTO reused (attempt_key, run, attempt, origin) SELECT a.attempt_key, r.run_id, a.attempt_id, \
       coalesce((SELECT u.origin FROM reused u WHERE u.attempt_key = a.attempt_key), a.attempt_id) FROM run r CROSS JOIN attempts a; \
     UPDATE attempts SET handle = json_object('reused', json_object('run', (SELECT run_id FROM run), 'attempt', attempt_id)), \
       note = NULL, environment = NULL, external_id = NULL, host = NULL, node = NULL, queued_ms = NULL, started_ms = NULL, stopped_ms = NULL, \
       cpu_ms = NULL, memory_peak_mb = NULL, usage = NULL, core_ms = NULL, given_back = 1, due_at_ms = 0, due_set_ms = 0, cancel_asked = 0; \
     UPDATE live_counts SET n = 0, started = 0, core_ms = 0";

/// Leaves out the record of what came later. What was done to tasks that stay, such as an amendment, stays with them.
const RECORD: &str = "DELETE FROM decision_reads WHERE decision >= ?2; DELETE FROM decision_refusals WHERE decision >= ?2; \
     DELETE FROM decision_open_tasks WHERE decision >= ?2; DELETE FROM decision_writes WHERE decision >= ?2; \
     DELETE FROM decisions WHERE decision >= ?2; DELETE FROM states WHERE number >= ?1; DELETE FROM configs WHERE config > ?3; \
     DELETE FROM acts WHERE at_ms > ?4 AND verb <> 'fork' AND act > (SELECT max(act) FROM configs) AND act NOT IN \
       (SELECT act FROM task_specs WHERE act IS NOT NULL UNION SELECT act FROM approvals WHERE act IS NOT NULL UNION \
        SELECT act FROM environments WHERE act IS NOT NULL UNION SELECT act FROM removed UNION SELECT act FROM reuse_rejections); \
     DELETE FROM plugins WHERE act NOT IN (SELECT act FROM acts)";

/// Counts anew what is counted.
const COUNTS: &str = "UPDATE task_counts SET n = (SELECT count(*) FROM tasks t WHERE t.state = task_counts.state); \
     UPDATE workflows SET open_tasks = (SELECT count(*) FROM tasks t WHERE t.iteration = workflows.iteration AND t.state = 'pending'), \
       analyzed_at_ms = iif(EXISTS (SELECT 1 FROM tasks t WHERE t.iteration = workflows.iteration AND t.delivered IS NULL), NULL, \
         coalesce(analyzed_at_ms, ?1)); \
     INSERT INTO outcomes (task_key) SELECT t.task_key FROM run r CROSS JOIN tasks t WHERE r.each_result AND t.delivered IS NULL \
       AND t.state IN ('completed', 'failed') ORDER BY (SELECT max(a.ended_at_ms) FROM attempts a WHERE a.task_key = t.task_key), t.task_key";

/// Begins the history with what there is.
const HISTORY: &str = "INSERT INTO history (at_ms, kind, subject, from_state, to_state, reason) \
       SELECT ?1, 'workflow', iteration, NULL, 'planned', tasks || ' tasks, as run `' || ?2 || '` has planned them' FROM workflows ORDER BY iteration; \
     INSERT INTO history (at_ms, kind, subject, from_state, to_state, reason) \
       SELECT ?1, 'attempt', attempt_id, NULL, state, 'as run `' || ?2 || '` has it' FROM attempts ORDER BY attempt_key; \
     INSERT INTO history (at_ms, kind, subject, from_state, to_state, reason) \
       SELECT ?1, 'task', task_id, 'pending', state, 'as run `' || ?2 || '` has it' FROM tasks WHERE state <> 'pending' ORDER BY task_key";

/// A decision before which a run is cut.
struct Cut {
    number: i64,
    /// The place of the first try.
    place: i64,
    /// The decision whose state it had.
    state_from: Option<i64>,
    config: i64,
    at_ms: i64,
    supplied: Option<String>,
    /// Why it was asked for, if it is a plan that was.
    asked: Option<Vec<String>>,
}

impl Cut {
    /// Whether the decision has not been made, so that the run is taken as it stands.
    fn is_now(&self) -> bool {
        self.at_ms == i64::MAX
    }
}

impl Store {
    /// The runs under which decisions of this one were made, where it goes on from others, in the order in which they
    /// count.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn made_as(&self) -> Result<Vec<MadeAs>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT arguments FROM acts WHERE verb = ?1 ORDER BY act")?;
        let rows = statement.query_map([Verb::Fork.as_str()], |row| row.get::<_, String>(0))?;
        rows.map(|text| document(&text?)).collect()
    }

    /// The text of the configuration under which a decision was made; of one that has not been made yet, the present
    /// one.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn config_at(&self, number: u64) -> Result<String, StoreError> {
        let sql = "SELECT text FROM configs WHERE config = coalesce((SELECT config FROM decisions WHERE number = ?1 \
             ORDER BY decision LIMIT 1), (SELECT max(config) FROM configs))";
        let text: Vec<u8> = self.connection.prepare(sql)?.query_row([number as i64], |row| row.get(0))?;
        compress::unpack_alone(&text)
    }

    /// Cuts this copy of a run's database back to what it was before a decision of that number. It is that of no run
    /// until [`Store::finish_fork`].
    ///
    /// # Errors
    /// If the database cannot be read or written.
    pub fn cut_before(&mut self, number: u64) -> Result<(), StoreError> {
        // rows go in an order of their own, and what is append-only is begun anew
        self.connection.pragma_update(None, "foreign_keys", false)?;
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        self.connection.execute_batch(TABLES)?;
        self.transaction(super::Durability::Lazy, |writer| {
            let cut = writer.cut(number as i64)?;
            writer.hear(&cut)?;
            writer.batch(TASKS, &[&cut.number])?;
            writer.drop_attempts()?;
            writer.batch(STANDING, &[&cut.is_now()])?;
            writer.batch(REUSED, &[])?;
            let sentence = "it has the results that the run before has of it, and ran nothing";
            writer.connection.execute(
                "UPDATE attempts SET reason_code = ?1, reason = ?2 WHERE state = 'completed' AND coalesce(reason_code, '') <> ?3",
                (Code::Reused.as_str(), sentence, Code::Settled.as_str()),
            )?;
            writer.stand_before(&cut)?;
            writer.batch(RECORD, &[&cut.number, &cut.place, &cut.config, &cut.at_ms])
        })
    }

    /// Hands over the files of the attempts that stay.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_shared_file<E: From<StoreError>>(
        &self,
        each: impl FnMut(SharedFile) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT a.attempt_key, a.directory, f.path, f.sha256, f.output FROM attempts a JOIN \
             (SELECT attempt_key, path, lower(hex(sha256)) AS sha256, 1 AS output FROM outputs WHERE remote IS NULL UNION ALL \
             SELECT attempt_key, iif(kind = 'exit', 'exit.json', kind), lower(hex(sha256)), 0 FROM logs) f \
             ON f.attempt_key = a.attempt_key WHERE NOT EXISTS (SELECT 1 FROM removed d WHERE d.attempt_key = a.attempt_key \
             AND d.path IN ('', f.path)) ORDER BY a.attempt_key, f.path";
        let map = |row: &Row<'_>| {
            Ok(SharedFile {
                attempt: row.get(0)?,
                directory: row.get(1)?,
                path: row.get(2)?,
                sha256: row.get(3)?,
                output: row.get(4)?,
            })
        };
        self.each(sql, map, each)
    }

    /// Makes what was cut that of a new run.
    ///
    /// # Errors
    /// If the database cannot be written, or a row refers to what was left out.
    pub fn finish_fork(&mut self, new: &NewFork<'_>) -> Result<Shared, StoreError> {
        let before = self.run()?.run_id;
        let now = new.act.at_ms;
        let shared = self.transaction(super::Durability::Full, |writer| {
            writer.give_up(new.lost)?;
            writer.be_new(new)?;
            writer.batch(COUNTS, &[&now])?;
            writer.record(
                now,
                Subject::Run(new.run_id),
                (None, "active"),
                Some(&format!("forked from run `{before}`")),
            )?;
            writer.batch(HISTORY, &[&now, &before])?;
            let act = writer.add_act(new.act)?;
            writer.set_config(new.config, act)?;
            writer.set_environment(&new.environment, act)?;
            let mut pending = writer.connection.prepare("SELECT task_key FROM tasks WHERE state = 'pending'")?;
            let pending = list(pending.query_map([], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?);
            writer.count_unmet(&pending)?;
            writer.skip_unreachable(&pending, now)?;
            writer.owe_a_plan(new.changed)?;
            if writer.connection.prepare("PRAGMA foreign_key_check")?.exists([])? {
                return Err(StoreError::Row("bug: a row of the fork refers to one that was left out".to_owned()));
            }
            writer.shared()
        })?;
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true)?;
        self.connection
            .execute_batch("DROP TABLE temp.heard; DROP TABLE temp.given; DROP TABLE temp.dropped; VACUUM")?;
        self.connection.pragma_update(None, "foreign_keys", true)?;
        Ok(shared)
    }
}

impl Writer<'_> {
    /// Executes statements that take these parameters, each of them those that it names.
    fn batch(&self, sql: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<(), StoreError> {
        for one in sql.split("; ") {
            let mut statement = self.connection.prepare(one)?;
            for (at, value) in parameters.iter().enumerate().take(statement.parameter_count()) {
                statement.raw_bind_parameter(at + 1, value)?;
            }
            statement.raw_execute()?;
        }
        Ok(())
    }

    /// What is known of the decision before which the run is cut; one that has not been made stands as the run does.
    fn cut(&self, number: i64) -> Result<Cut, StoreError> {
        let sql = "SELECT decision, state_from, config, now_ms, supplied, kind, asked FROM decisions WHERE number = ?1 \
             ORDER BY decision LIMIT 1";
        let made = self.connection.query_row(sql, [number], |row| {
            let (kind, asked): (String, String) = (row.get(5)?, row.get(6)?);
            let cut = Cut {
                number,
                place: row.get(0)?,
                state_from: row.get(1)?,
                config: row.get(2)?,
                at_ms: row.get(3)?,
                supplied: row.get(4)?,
                asked: None,
            };
            Ok((cut, kind == "plan", asked))
        });
        if let Some((cut, plans, asked)) = made.optional()? {
            let asked = if plans { document(&asked)? } else { Vec::new() };
            return Ok(Cut { asked: Some(asked), ..cut });
        }
        let sql = "SELECT (SELECT coalesce(max(decision), 0) + 1 FROM decisions), state_of, (SELECT max(config) FROM configs), supplied \
             FROM run";
        Ok(self.connection.query_row(sql, [], |row| {
            let (place, state_from, config, supplied) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(Cut { number, place, state_from, config, at_ms: i64::MAX, supplied, asked: None })
        })?)
    }

    /// Notes what the campaign had received, along the states that led to the one it then had: a state that a rerun has
    /// left behind counts no more.
    fn hear(&self, cut: &Cut) -> Result<(), StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT number, state_from FROM decisions WHERE outcome = 'answered' AND number < ?1")?;
        let led =
            statement.query_map([cut.number], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)))?;
        let led: BTreeMap<i64, Option<i64>> = led.collect::<Result<_, _>>()?;
        let mut chain = BTreeSet::new();
        let mut next = cut.state_from;
        while let Some(number) = next {
            chain.insert(number);
            next = led.get(&number).copied().flatten().filter(|earlier| *earlier < number);
        }
        let mut finished = self.connection.prepare(
            "SELECT number, outcome = 'answered', finished FROM decisions WHERE decision < ?1 AND finished IS NOT NULL \
             ORDER BY decision",
        )?;
        let mut keep = self.connection.prepare("INSERT OR REPLACE INTO heard VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        let mut give = self.connection.prepare(
            "INSERT INTO given VALUES (?1, ?2) ON CONFLICT (task_id) DO UPDATE SET attempts = max(attempts, excluded.attempts)",
        )?;
        let mut rows = finished.query([cut.place])?;
        while let Some(row) = rows.next()? {
            let (number, answered, text): (i64, bool, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let results: Vec<TaskResult> = document(&compress::unpack_alone(&text)?)?;
            for result in results {
                give.execute((&result.task, result.attempts))?;
                if answered && chain.contains(&number) {
                    let state = result.outcome.state().as_str();
                    keep.execute((&result.task, number, result.attempts, state, &result.code, &result.reason))?;
                }
            }
        }
        // what is taken back now is still to be heard of anew
        let taken_back = "DELETE FROM heard WHERE task_id IN (SELECT task_id FROM tasks WHERE superseded IS NOT NULL)";
        if cut.is_now() {
            self.connection.execute(taken_back, []).map(drop)?
        }
        Ok(())
    }

    /// Takes attempts away with all that is theirs.
    fn drop_attempts(&self) -> Result<(), StoreError> {
        for table in OF_ATTEMPTS {
            let sql = format!("DELETE FROM {table} WHERE attempt_key IN (SELECT attempt_key FROM dropped)");
            self.connection.execute(&sql, [])?;
        }
        self.connection.execute("DELETE FROM attempts WHERE attempt_key IN (SELECT attempt_key FROM dropped)", [])?;
        let sql = "UPDATE attempt_inputs SET from_attempt = NULL WHERE from_attempt NOT IN (SELECT attempt_key FROM attempts)";
        self.connection.execute(sql, [])?;
        Ok(())
    }

    /// Puts the run's own row where it stood before the decision, and what was owed to the campaign then.
    fn stand_before(&self, cut: &Cut) -> Result<(), StoreError> {
        let wake = "SELECT answer, now_ms FROM decisions WHERE kind = 'plan' AND outcome = 'answered' AND number < ?1 \
             ORDER BY number DESC LIMIT 1";
        let last: Option<(Option<Vec<u8>>, i64)> =
            self.connection.query_row(wake, [cut.number], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let wake = match last {
            Some((Some(answer), set)) => wake_in(&compress::unpack_alone(&answer)?)?.map(|at| (at, set)),
            _ => None,
        };
        let (at, set) = wake.unzip();
        self.connection.execute(
            "UPDATE run SET state = 'active', reason_code = NULL, reason = NULL, result = NULL, idle_plans = 0, turn = NULL, \
             ended_at_ms = NULL, also_paused = 0, ends_in = NULL, notified_seq = 0, decisions = ?1, state_of = ?2, supplied = ?3, \
             wake_at_ms = ?4, wake_set_ms = ?5, iteration = (SELECT coalesce(max(iteration), 0) FROM workflows)",
            (cut.number - 1, cut.state_from, &cut.supplied, at, set),
        )?;
        let Some(asked) = &cut.asked else { return Ok(()) };
        self.connection.execute("DELETE FROM asked", [])?;
        let mut owe = self.connection.prepare("INSERT OR IGNORE INTO asked (word) VALUES (?1)")?;
        for word in asked.iter().filter(|word| *word != PlanReason::Time.as_str()) {
            owe.execute([word])?;
        }
        Ok(())
    }

    /// Lets tasks run again whose outcome the campaign has not received and of whose results something is gone.
    fn give_up(&self, lost: &[i64]) -> Result<(), StoreError> {
        let lost = list(lost.iter().copied());
        self.connection.execute("DELETE FROM dropped", [])?;
        self.connection.execute(
            "INSERT INTO dropped SELECT a.attempt_key FROM attempts a JOIN tasks t ON t.task_key = a.task_key WHERE \
             t.delivered IS NULL AND t.task_key IN (SELECT b.task_key FROM json_each(?1) k JOIN attempts b ON b.attempt_key = k.value)",
            [&lost],
        )?;
        let again = "UPDATE tasks SET state = 'pending', reason_code = NULL, reason = NULL, tries = 0, misfires = 0, stale = 0 \
             WHERE task_key IN (SELECT a.task_key FROM dropped d JOIN attempts a ON a.attempt_key = d.attempt_key)";
        self.connection.execute(again, [])?;
        self.drop_attempts()
    }

    /// Gives the run its own name and place.
    fn be_new(&self, new: &NewFork<'_>) -> Result<(), StoreError> {
        let Identity { token, inode, born_ns, volume } = &new.identity;
        let changed = self.connection.execute(
            "UPDATE run SET run_id = ?1, label = ?2, token = ?3, inode = ?4, born_ns = ?5, volume = ?6, user_id = ?7, \
             created_at_ms = ?8, each_result = ?9",
            (new.run_id, new.label, token, inode, born_ns, volume, new.user_id, new.act.at_ms, new.each_result),
        )?;
        changed_one(changed, "the run")
    }

    /// Owes the campaign a plan where nothing else would move the run, or where it goes by something else.
    fn owe_a_plan(&self, changed: bool) -> Result<(), StoreError> {
        let each: bool = self.connection.query_row("SELECT each_result FROM run", [], |row| row.get(0))?;
        if changed && each {
            self.ask_plan(PlanReason::Changed)?;
        }
        let waits = "SELECT 1 FROM run WHERE EXISTS (SELECT 1 FROM asked) OR EXISTS (SELECT 1 FROM outcomes) OR \
             EXISTS (SELECT 1 FROM workflows WHERE analyzed_at_ms IS NULL) OR wake_at_ms IS NOT NULL";
        if self.connection.prepare(waits)?.exists([])? { Ok(()) } else { self.ask_plan(PlanReason::Reopened) }
    }

    fn shared(&self) -> Result<Shared, StoreError> {
        let sql = "SELECT decisions, (SELECT count(*) FROM tasks WHERE state <> 'pending'), (SELECT count(*) FROM tasks WHERE \
             state = 'pending') FROM run";
        Ok(self.connection.query_row(sql, [], |row| {
            let number = |at| row.get::<_, i64>(at).map(|number| number as u64);
            Ok(Shared { decisions: number(0)?, tasks: number(1)?, open: number(2)? })
        })?)
    }
}

/// When an answer wanted the campaign to be asked again.
fn wake_in(answer: &str) -> Result<Option<i64>, StoreError> {
    #[derive(Deserialize)]
    struct Answer {
        wake_at_ms: Option<u64>,
    }
    let Answer { wake_at_ms } = document(answer)?;
    Ok(wake_at_ms.and_then(|at| i64::try_from(at).ok()))
}
