//! What a person is told when something cannot be done: what, which thing, why, and what would help.
use crate::backend::BackendTrouble;
use crate::ground::files::is_link;
use crate::ground::machine;
use crate::ground::words::quoted;
use crate::plugin::{PluginError, PluginErrorKind};
use crate::run::{LeaseError, RunDir};
use crate::store::StoreError;
use crate::tick::{PlanError, TickError, Unloaded};
use std::error::Error;
use std::sync::Arc;
use std::{fmt, io};

/// The kinds of trouble that exit codes tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Wrong usage or input: exit code 2.
    Input,
    /// Another process advances the run: exit code 3.
    Busy,
    /// A plugin cannot be loaded, linked or verified, or broke the contract: exit code 4.
    Plugin,
    /// A bug of the host: exit code 70.
    Bug,
    /// Trouble with the machine: permission, a damaged or newer database: exit code 74.
    Machine,
    /// A disk or a server that is full or fails, or a machine without room: it passes by itself, or when somebody mends
    /// it, and nothing was lost. Exit code 74.
    Disk,
    /// Interrupted: exit code 130.
    Interrupted,
}

/// Why something failed: an error, whose own source may say more.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Something that could not be done.
#[derive(Debug)]
pub struct Failure {
    /// The kind, which decides the exit code.
    pub kind: FailureKind,
    /// What, and which thing.
    pub what: String,
    /// Why, if it is known and not said yet.
    pub cause: Option<Cause>,
    /// One command or edit that would help.
    pub hint: Option<String>,
    /// The last lines that plugins logged, where they can be read nowhere else.
    pub log: Vec<String>,
}

impl Failure {
    /// Something a person asked for in a way that cannot be done.
    pub fn input(what: impl Into<String>) -> Self {
        Self::of(FailureKind::Input, what)
    }

    /// A person or the system asked to stop.
    pub fn interrupted() -> Self {
        Self::of(FailureKind::Interrupted, "interrupted")
    }

    /// Something the machine would not do.
    pub fn machine(what: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::of(FailureKind::Machine, what).because(cause)
    }

    /// Something that could not be read or written; whether it passes, the error tells.
    pub fn io(what: impl Into<String>, cause: io::Error) -> Self {
        let kind = if machine::is_trouble(&cause) { FailureKind::Disk } else { FailureKind::Machine };
        Self::of(kind, what).because(cause)
    }

    /// A failure of a kind.
    pub fn of(kind: FailureKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), cause: None, hint: None, log: Vec::new() }
    }

    /// Adds why.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds the last lines that plugins logged.
    #[must_use]
    pub fn logged(mut self, log: Vec<String>) -> Self {
        self.log = log;
        self
    }

    /// Why, and why that, as far as it is known: the nearest cause first.
    pub fn causes(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        let mut next = self.source();
        std::iter::from_fn(move || {
            let cause = next?;
            next = cause.source();
            Some(cause)
        })
    }

    /// Adds what would help.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.causes().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (kind, hint) = match &error {
            StoreError::TooNew(..) => (FailureKind::Machine, "use the matterstack that made the run, or a later one"),
            StoreError::OtherContract(..) => (FailureKind::Plugin, "finish the run with that version"),
            StoreError::Before(..) => (
                FailureKind::Machine,
                "finish the run with the matterstack that made it, or make a new one with `matterstack init WORKSPACE`",
            ),
            StoreError::Missing(_) => (FailureKind::Machine, "restore it from a backup"),
            StoreError::Corrupt(..) => (
                FailureKind::Machine,
                "the file is untouched; restore it from a backup, or look at it with `sqlite3 FILE .recover`",
            ),
            StoreError::Damaged(_) => (
                FailureKind::Machine,
                "restore state.sqlite from a backup, or look at it with `sqlite3 state.sqlite .recover`",
            ),
            StoreError::Setting { .. } => (FailureKind::Machine, OTHER_JOURNAL),
            StoreError::Disk(_) => (FailureKind::Disk, MAKE_ROOM),
            StoreError::Denied(_) | StoreError::LogUnread(_) => (FailureKind::Machine, MAKE_ROOM),
            StoreError::Busy => (FailureKind::Busy, "wait until the other process has done, then repeat the command"),
            StoreError::Exists(_) | StoreError::Illegal(_) | StoreError::NothingBack | StoreError::Circle(_) => {
                return Self::input(error.to_string());
            }
            // a statement of ours that SQLite does not take: rows or tables are not as the migrations make them
            StoreError::Row(_) | StoreError::Sqlite(_) => {
                let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                let what = "the database is not as this matterstack makes it";
                return Self::of(FailureKind::Machine, what).because(why).hint(DAMAGED);
            }
        };
        let failure = Self::of(kind, error.to_string()).hint(hint);
        // what lies below SQLite's own sentence says the same in other words
        match error.source() {
            Some(cause) => failure.because(cause.to_string()),
            None => failure,
        }
    }
}

impl From<TickError> for Failure {
    fn from(error: TickError) -> Self {
        match error {
            TickError::Store(error) => error.into(),
            TickError::Unasked(error) => {
                let hint = Self::from(error.clone()).hint;
                Self { hint, ..Self::machine("asking the campaign failed", error) }
            }
            TickError::Io(what, cause) => Self::io(format!("{what} failed"), cause)
                .hint("nothing was lost: mend the cause, then repeat the command"),
        }
    }
}

/// What helps where a row is not what the schema promises.
const DAMAGED: &str = "`doctor` says which rules are broken; restore state.sqlite from a backup";

/// What helps where a file system does not let SQLite work as a commit needs it.
const OTHER_JOURNAL: &str =
    "nothing was written: put the run on another file system, or make it with `store.journal` set to `rollback`";

/// What helps where the disk is full or does not let itself be written.
const MAKE_ROOM: &str = "nothing was lost: make room or mend the permission, then repeat the command";

/// What helps where a lease's file cannot be opened or locked.
fn lease_hint(run: &str, cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::PermissionDenied => MAKE_ROOM.to_owned(),
        io::ErrorKind::NotFound => format!(
            "the directory of run `{run}` was moved or removed; nothing that it holds is lost: go on at its new place \
             with `matterstack loop NEW-DIRECTORY`"
        ),
        kind if matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory) || is_link(cause) => {
            "it is a file that matterstack makes by itself: remove what is in its place".to_owned()
        }
        _ => "the file system of the run's directory must have locks".to_owned(),
    }
}

/// What helps who would change a bundle of evidence.
const BUNDLE_HINT: &str = "go on with the run that it was made from; all that only looks works on the bundle too";

/// Refuses to change what a bundle of evidence holds.
///
/// # Errors
/// If the directory is one.
pub fn refuse_bundle(dir: &RunDir) -> Result<(), Failure> {
    if dir.is_bundle() { Err(LeaseError::Bundle(dir.root().display().to_string()).into()) } else { Ok(()) }
}

impl From<LeaseError> for Failure {
    fn from(error: LeaseError) -> Self {
        let text = error.to_string();
        match error {
            LeaseError::Held(run, _) => {
                Self::of(FailureKind::Busy, text).hint(format!("wait for it, or look with `matterstack status {run}`"))
            }
            LeaseError::Bundle(_) => Self::input(text).hint(BUNDLE_HINT),
            LeaseError::Io(run, cause) => {
                let hint = lease_hint(&run, &cause);
                Self::io(text, cause).hint(hint)
            }
        }
    }
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        let text = error.to_string();
        match error.kind {
            PluginErrorKind::NotGranted { grant, .. } => {
                Self::of(FailureKind::Plugin, text).hint(format!("to grant it, add to config.json: {grant}"))
            }
            PluginErrorKind::Guest(_) => Self::of(FailureKind::Input, text),
            PluginErrorKind::Unstarted(_) | PluginErrorKind::Starved(_) => {
                Self::of(FailureKind::Machine, text).hint(GIVE_MORE)
            }
            PluginErrorKind::Ungiven(_) => Self::of(FailureKind::Machine, text)
                .hint("nothing was lost: put back what is missing in the run directory, then repeat the command"),
            PluginErrorKind::Deadline(_)
            | PluginErrorKind::Fuel(_)
            | PluginErrorKind::Memory(_)
            | PluginErrorKind::Limit(_) => Self::of(FailureKind::Plugin, text)
                .hint("raise that limit in config.json, or let the plugin do less in one call"),
            PluginErrorKind::Compile(_) => {
                Self::of(FailureKind::Plugin, text).hint("raise that limit in config.json, or make the plugin smaller")
            }
            PluginErrorKind::Load(_)
            | PluginErrorKind::Trap(_)
            | PluginErrorKind::Refusals(_)
            | PluginErrorKind::BadOutput(_) => Self::of(FailureKind::Plugin, text).hint(
                "`matterstack plugin check FILE` says what is wrong with a plugin; its log is `plugins/log.jsonl` in the run",
            ),
        }
    }
}

/// The arguments that grant an operator what it asks for; `grant` is that as config.json has it.
fn granting(operator: &str, grant: &str) -> String {
    let grant: serde_json::Value = serde_json::from_str(grant).unwrap_or_default();
    let grants = grant["operators"][operator]["grants"].as_object().into_iter().flatten();
    grants.map(|(name, value)| format!(" {}", quoted(&format!("operators.{operator}.grants.{name}={value}")))).collect()
}

/// What helps where the machine is too small for a plugin.
const GIVE_MORE: &str =
    "nothing was lost: see `ulimit -a` (`-v`, `-u`, `-n`) and the free memory of this machine, then repeat the command";

impl Failure {
    /// What to say after a tick in which an operator's plugin could not be loaded.
    pub fn unloaded(dir: &RunDir, unloaded: &Unloaded) -> Self {
        let run = dir.address();
        let (error, key) = (&unloaded.error, &unloaded.operator);
        let hint = match &error.kind {
            PluginErrorKind::NotGranted { grant, .. } => {
                format!("`matterstack amend {run} config{}` grants it", granting(key, grant))
            }
            PluginErrorKind::Unstarted(_) | PluginErrorKind::Starved(_) => {
                return Self::of(FailureKind::Machine, error.to_string()).hint(GIVE_MORE);
            }
            PluginErrorKind::Compile(bound) => format!(
                "raise that limit with `matterstack amend {run} config {}={}`; until then its attempts stay where they are",
                bound.key,
                bound.value.saturating_mul(2)
            ),
            PluginErrorKind::Load(_)
            | PluginErrorKind::Ungiven(_)
            | PluginErrorKind::Trap(_)
            | PluginErrorKind::Deadline(_)
            | PluginErrorKind::Fuel(_)
            | PluginErrorKind::Memory(_)
            | PluginErrorKind::Limit(_)
            | PluginErrorKind::Refusals(_)
            | PluginErrorKind::Guest(_)
            | PluginErrorKind::BadOutput(_) => format!(
                "restore the file, or put another plugin in its place with `matterstack amend {run} plugin FILE \
                 --operator {key}`; until then its attempts stay where they are"
            ),
        };
        Self::of(FailureKind::Plugin, error.to_string()).hint(hint)
    }
}

impl From<&BackendTrouble> for Failure {
    fn from(trouble: &BackendTrouble) -> Self {
        let kind = if machine::is_trouble(&trouble.error) { FailureKind::Disk } else { FailureKind::Machine };
        Self::of(kind, format!("{trouble} failed"))
            .because(Arc::clone(&trouble.error))
            .hint("nothing was lost: mend the cause, then repeat the command")
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Plugin(error) => error.into(),
            PlanError::Workflow(_) => Self::of(FailureKind::Input, error.to_string()),
            PlanError::Tick(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, FailureKind};
    use crate::model::workflow::WorkflowError;
    use crate::plugin::{PluginError, PluginErrorKind};
    use crate::run::{LeaseError, RunDir};
    use crate::store::StoreError;
    use crate::tick::{PlanError, TickError};
    use std::io::{Error, ErrorKind};
    use std::time::Duration;

    #[test]
    fn a_setting_of_the_database_is_not_told_as_damage() {
        let setting = StoreError::Setting { name: "journal_mode", wanted: "wal", kept: "delete".to_owned() };
        let Failure { kind, hint, .. } = setting.into();
        let hint = hint.unwrap_or_default();
        assert_eq!(kind, FailureKind::Machine);
        assert!(hint.contains("`store.journal`") && !hint.contains("backup"), "{hint}");
        let damaged = Failure::from(StoreError::Damaged("malformed".into())).hint.unwrap_or_default();
        assert!(damaged.contains("restore state.sqlite from a backup"), "{damaged}");
    }

    #[test]
    fn a_plan_that_breaks_a_rule_is_told_once() {
        let plan = PlanError::from(WorkflowError::NoList("it is a number".to_owned()));
        assert!(std::error::Error::source(&plan).is_none(), "the text holds the cause already");
        let (text, failure) = (plan.to_string(), Failure::from(plan));
        assert!(text.starts_with("plan: ") && text.contains("it is a number"), "{text}");
        assert_eq!((failure.what.as_str(), failure.causes().count()), (text.as_str(), 0));
    }

    #[test]
    fn a_machine_that_does_not_let_the_campaign_be_asked_is_named() {
        let kind = PluginErrorKind::Starved("no memory".to_owned());
        let error = PluginError { plugin: "campaign".to_owned(), call: Some("plan"), kind };
        let Failure { kind, what, cause, hint, .. } = TickError::Unasked(error).into();
        assert_eq!((kind, what.as_str()), (FailureKind::Machine, "asking the campaign failed"));
        let cause = cause.map(|cause| cause.to_string()).unwrap_or_default();
        assert!(cause.contains("no memory") && hint.unwrap_or_default().contains("free memory"));
    }

    #[test]
    fn a_lease_that_is_not_given_says_what_helps() {
        let hint = |kind| Failure::from(LeaseError::Io("r".to_owned(), Error::from(kind))).hint.unwrap_or_default();
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::PermissionDenied] {
            assert!(hint(kind).contains("make room or mend the permission"), "{kind}");
        }
        let gone = RunDir::new("/nonexistent/r").lease(Duration::ZERO).expect_err("there is no directory");
        let gone = Failure::from(gone).hint.unwrap_or_default();
        assert!(gone.contains("moved or removed") && gone.contains("matterstack loop NEW-DIRECTORY"), "{gone}");
        assert!(hint(ErrorKind::InvalidData).contains("remove what is in its place"));
        assert!(hint(ErrorKind::Unsupported).contains("must have locks"));
    }
}
