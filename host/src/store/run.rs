//! The run's own row.
use super::history::Subject;
use super::word::columns;
use super::{NewConfig, NewEnvironment, Store, StoreError, Writer, changed_one};
use crate::model::act::Act;
use crate::model::code::Word;
use crate::model::contract::PlanReason;
use crate::model::document::sha256;
use crate::model::reason::Reason;
use crate::model::result::Summary;
use crate::model::states::RunState;
use rusqlite::named_params;

/// What tells a run's directory from a copy of it. The number of a device is no part of it: the next mount may bring
/// another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// A random word that the directory and the store share.
    pub token: String,
    /// The directory's number on its file system.
    pub inode: i64,
    /// When the directory was made, in nanoseconds since the epoch; nothing where the file system does not tell.
    pub born_ns: Option<i64>,
    /// The part of a file system that a snapshot does not share; nothing where there is no such thing.
    pub volume: Option<i64>,
}

/// The token of a database that was copied for safety: no directory has it.
pub(super) const BACKUP: &str = "backup";

impl Identity {
    /// Whether this is of a database that was copied for safety, and has been put in the place of the run's own.
    pub fn is_backup(&self) -> bool {
        self.token == BACKUP
    }

    /// Whether both are of one directory. What one of them does not tell does not count.
    pub fn is_of(&self, other: &Self) -> bool {
        let same = |a: Option<i64>, b: Option<i64>| a.is_none() || b.is_none() || a == b;
        let token = self.token.is_empty() || other.token.is_empty() || self.token == other.token;
        token && self.inode == other.inode && same(self.born_ns, other.born_ns) && same(self.volume, other.volume)
    }
}

/// The run's own row.
#[derive(Debug, Clone)]
pub struct RunRow {
    /// The run's id.
    pub run_id: String,
    /// The workspace's slug.
    pub workspace: String,
    /// What a person calls the run.
    pub label: Option<String>,
    /// Where the run stands.
    pub state: RunState,
    /// Why, for a program.
    pub reason_code: Option<Word>,
    /// Why, for a person.
    pub reason: Option<String>,
    /// The current iteration; 0 before the first workflow.
    pub iteration: u32,
    /// Decisions made so far.
    pub decisions: u64,
    /// Plans in a row that planned nothing.
    pub idle_plans: u32,
    /// How far the campaign has come, in its own words: a JSON document.
    summary: Option<String>,
    /// The campaign's result, once it completed.
    pub result: Option<String>,
    /// What a person supplied for the next plan.
    pub supplied: Option<String>,
    /// SHA-256 of the config.json the run goes by.
    pub config_sha256: String,
    /// What tells the run directory from a copy.
    pub identity: Identity,
    /// The user who owns the run.
    pub user_id: i64,
    /// When the run was made.
    pub created_at_ms: i64,
    /// When the run ended.
    pub ended_at_ms: Option<i64>,
    /// Whether it is held, and starts nothing either.
    pub also_paused: bool,
}

/// What `init` knows of a run.
#[derive(Debug, Clone)]
pub struct NewRun<'a> {
    /// The run's id.
    pub run_id: &'a str,
    /// The workspace's slug.
    pub workspace: &'a str,
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
    /// The command that makes it.
    pub act: &'a Act,
}

impl RunRow {
    /// How far the campaign has come, in its own words.
    ///
    /// # Errors
    /// If what is stored is none of its words.
    pub fn summary(&self) -> Result<Option<Summary>, StoreError> {
        super::optional(self.summary.as_deref())
    }

    /// The same as one line for a person.
    pub fn summary_line(&self) -> Option<String> {
        let Summary { text, done, total, metrics } = self.summary().ok()??;
        let part = done.zip(total).map(|(done, total)| format!("{done} of {total}"));
        match (text, part) {
            (Some(text), Some(part)) => Some(format!("{text} ({part})")),
            (Some(only), None) | (None, Some(only)) => Some(only),
            (None, None) => {
                let metrics: Vec<String> = metrics.iter().map(|(name, value)| format!("{name} {value}")).collect();
                (!metrics.is_empty()).then(|| metrics.join(", "))
            }
        }
    }
}

impl Store {
    /// The run's own row.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn run(&self) -> Result<RunRow, StoreError> {
        Ok(self
            .connection
            .prepare_cached(
                "SELECT run_id, workspace, state, reason_code, reason, iteration, decisions, idle_plans, \
                 (SELECT d.summary FROM decisions d WHERE d.number = state_of AND d.outcome = 'answered'), result, \
                 supplied, lower(hex(config_sha256)), token, inode, born_ns, volume, user_id, created_at_ms, ended_at_ms, also_paused, label \
                 FROM run",
            )?
            .query_row([], |row| {
                Ok(RunRow {
                        run_id: row.get(0)?,
                        workspace: row.get(1)?,
                        state: row.get(2)?,
                        reason_code: row.get(3)?,
                        reason: row.get(4)?,
                        iteration: row.get(5)?,
                        decisions: row.get::<_, i64>(6)? as u64,
                        idle_plans: row.get(7)?,
                        summary: row.get(8)?,
                        result: row.get(9)?,
                        supplied: row.get(10)?,
                        config_sha256: row.get(11)?,
                        identity: Identity {
                            token: row.get(12)?,
                            inode: row.get(13)?,
                            born_ns: row.get(14)?,
                            volume: row.get(15)?,
                        },
                        user_id: row.get(16)?,
                        created_at_ms: row.get(17)?,
                        ended_at_ms: row.get(18)?,
                        also_paused: row.get(19)?,
                        label: row.get(20)?,
                })
            })?)
    }
}

impl Store {
    /// What a run that is being cancelled ends in, where that is the campaign's word.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn ends_in(&self) -> Result<Option<RunState>, StoreError> {
        Ok(self.connection.prepare_cached("SELECT ends_in FROM run")?.query_row([], |row| row.get(0))?)
    }

    /// Whose turn the last tick left it to be (JSON text), if it was cut short.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn turn(&self) -> Result<Option<String>, StoreError> {
        Ok(self.connection.prepare_cached("SELECT turn FROM run")?.query_row([], |row| row.get(0))?)
    }
}

impl Writer<'_> {
    /// Makes the run's row.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn create_run(&self, run: &NewRun<'_>) -> Result<(), StoreError> {
        let state = RunState::default().as_str();
        self.connection.execute(
            "INSERT INTO run (one, run_id, workspace, state, config_sha256, token, inode, born_ns, volume, user_id, created_at_ms, \
             each_result, label) VALUES (1, :id, :workspace, :state, unhex(:config), :token, :inode, :born_ns, :volume, :user, :now, \
             :each_result, :label)",
            named_params! {
                ":id": run.run_id,
                ":workspace": run.workspace,
                ":state": state,
                ":config": sha256(run.config.text.as_bytes()),
                ":token": run.identity.token,
                ":inode": run.identity.inode,
                ":born_ns": run.identity.born_ns,
                ":volume": run.identity.volume,
                ":user": run.user_id,
                ":now": run.act.at_ms,
                ":each_result": run.each_result,
                ":label": run.label,
            },
        )?;
        self.ask_plan(PlanReason::First)?;
        let act = self.add_act(run.act)?;
        self.set_config(run.config, act)?;
        self.set_environment(&run.environment, act)?;
        for state in crate::model::states::TaskState::ALL {
            self.connection.execute("INSERT INTO task_counts (state, n) VALUES (?1, 0)", [state.as_str()])?;
        }
        self.record(run.act.at_ms, Subject::Run(run.run_id), (None, state), None)
    }

    /// Moves the run to another state, with its reason.
    ///
    /// # Errors
    /// If the run is not in `from`, or cannot go to `to` from there.
    pub fn set_run_state(
        &self,
        from: RunState,
        to: RunState,
        reason: Option<&Reason>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let to = from.become_state(to)?;
        let (code, text) = columns(reason);
        let ended = to.ended().then_some(now_ms);
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE run SET state = ?2, reason_code = ?3, reason = ?4, ended_at_ms = ?5, also_paused = 0, ends_in = NULL, \
                 wake_at_ms = iif(?5 IS NULL, wake_at_ms, NULL), wake_set_ms = iif(?5 IS NULL, wake_set_ms, NULL) \
                 WHERE state = ?1",
            )?
            .execute((from.as_str(), to.as_str(), code, text, ended))?;
        changed_one(changed, "the run")?;
        let id: String = self.connection.query_row("SELECT run_id FROM run", [], |row| row.get(0))?;
        self.record(now_ms, Subject::Run(&id), (Some(from.as_str()), to.as_str()), text)
    }

    /// Begins to end an active run by the campaign's word, while something of it is live.
    ///
    /// # Errors
    /// If the run is not active, or cannot end so.
    pub fn begin_to_end(&self, to: RunState, reason: &Reason, now_ms: i64) -> Result<(), StoreError> {
        RunState::Cancelling.become_state(to)?;
        self.set_run_state(RunState::Active, RunState::Cancelling, Some(reason), now_ms)?;
        changed_one(self.connection.execute("UPDATE run SET ends_in = ?1", [to.as_str()])?, "the run")
    }

    /// Lets a held run start nothing either.
    ///
    /// # Errors
    /// If the run is not held, or does so already.
    pub fn pause_held(&self) -> Result<(), StoreError> {
        let sql = "UPDATE run SET also_paused = 1 WHERE state = 'held' AND also_paused = 0";
        changed_one(self.connection.execute(sql, [])?, "the run")
    }

    /// Leaves to the next tick whose turn it is (JSON text); nothing if this one was not cut short.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_turn(&self, turn: Option<&str>) -> Result<(), StoreError> {
        self.connection.execute("UPDATE run SET turn = ?1", [turn])?;
        Ok(())
    }

    /// Records what a person supplied for the next plan.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn supply(&self, document: Option<&str>) -> Result<(), StoreError> {
        self.connection.execute("UPDATE run SET supplied = ?1, idle_plans = 0", [document])?;
        Ok(())
    }

    /// Records where the run directory now is and whose it is.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_identity(&self, identity: &Identity, user_id: i64, now_ms: i64) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE run SET token = ?1, inode = ?2, born_ns = ?3, volume = ?4, user_id = ?5",
            (&identity.token, identity.inode, identity.born_ns, identity.volume, user_id),
        )?;
        self.record(now_ms, Subject::Directory, (None, "adopted"), None)
    }
}
