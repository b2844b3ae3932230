//! Words for why something does not move, and who said them.
//!
//! The host steers by its own words alone. What a plugin says of itself is kept, shown and never compared: it lives in
//! a space of its own, so that a campaign that holds with `lost` is no run with a lost attempt.
use crate::model::limit::Limit;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Where a word is used, and who may say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Of a run: the host says it.
    Run,
    /// Of a plugin that did not answer: the host says it.
    Plugin,
    /// Of a task or an attempt: the host says it.
    Task,
    /// The kind of thing that an attempt waits for outside: operators say it.
    Kind,
    /// Of a job: the host's backends say it, and operators pass it on or say it themselves.
    Job,
}

macro_rules! codes {
    ($($place:ident { $($variant:ident = $word:literal: $meaning:literal;)+ })+) => {
        /// A word of the host's own. Programs compare it, and the documentation lists it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[doc = $meaning] $variant,)+)+ }

        impl Code {
            /// Every word, in the order of the documentation.
            pub const ALL: &'static [Code] = &[$($(Code::$variant,)+)+];

            /// The word itself.
            pub fn as_str(self) -> &'static str {
                match self { $($(Self::$variant => $word,)+)+ }
            }

            /// What it means, as the documentation says it.
            pub fn meaning(self) -> &'static str {
                match self { $($(Self::$variant => $meaning,)+)+ }
            }

            /// Where it is used, and who may say it.
            pub fn place(self) -> Place {
                match self { $($(Self::$variant => Place::$place,)+)+ }
            }
        }
    };
}

codes! {
    Run {
        Paused = "paused": "a person paused the run";
        Held = "held": "the campaign asked for a person and gave no word of its own";
        Cancelling = "cancelling": "waits for what is live to stop";
        WakeAt = "wake-at": "the campaign asked to be asked again at a time, and nothing else moves before";
        PlannedNothing = "planned-nothing": "the campaign planned nothing twice in a row";
        Stuck = "stuck": "nothing is live, nothing can start and no back-off ends: the sentence says why; `resume` tries again";
        Revived = "revived": "a person brought the run back";
        FilesChanged = "files-changed": "the workspace has another copy of files that the run has pinned: `amend … file` takes it into the run";
        SupervisorStopped = "supervisor-stopped": "somebody stopped the process that watches the local jobs; the command lets it go on";
    }
    Plugin {
        PluginLoad = "plugin-load": "a plugin is missing, not a component, for another world or contract, or has another digest";
        PluginCompile = "plugin-compile": "compiling a plugin takes more than `limits.compile` allows";
        PluginUnstarted = "plugin-unstarted": "the machine gave too little to start a call of a plugin";
        PluginStarved = "plugin-starved": "the machine had no more memory to give in the midst of a call";
        PluginNotGranted = "plugin-not-granted": "a plugin needs what the configuration does not grant";
        PluginTrap = "plugin-trap": "a plugin panicked or did something illegal";
        PluginDeadline = "plugin-deadline": "an operator's call took longer than `limits.plugin.call_ms`, or a campaign's longer than its fuse `limits.plugin.plan_ms`";
        PluginFuel = "plugin-fuel": "a campaign's call used up `limits.plugin.fuel`";
        PluginMemory = "plugin-memory": "memories and tables of a plugin together were more than `limits.plugin.memory_mb`";
        PluginLimit = "plugin-limit": "another limit of a call: the sentence names its key, as `limits.plugin.output_mb` or `limits.plugin.handles`, unless it is fixed";
        PluginError = "plugin-error": "a plugin answered with an error";
        PluginBadOutput = "plugin-bad-output": "a plugin answered with what the contract does not allow";
    }
    Task {
        Dependency = "dependency": "waits for tasks that have not ended";
        DependencyFailed = "dependency-failed": "a task it depends on did not complete";
        Ready = "ready": "the next tick starts it";
        RunPaused = "run-paused": "ready or not submitted yet, but the run is paused";
        RunHeld = "run-held": "ready or not submitted yet, but the run is held";
        RunCancelling = "run-cancelling": "ready, but the run is being cancelled";
        RunCompleted = "run-completed": "ready, but the run has completed";
        RunFailed = "run-failed": "ready, but the run has failed";
        RunCancelled = "run-cancelled": "ready, but the run was cancelled";
        Capacity = "capacity": "ready, but as many attempts are live as `limits.max_active` or the operator's `max_active` allows; or submitted, and the machine has no room for the job until others have ended: what runs share of it (`machine`), a process, a descriptor, memory or disk";
        Budget = "budget": "ready, but the operator's `budget` is used up, or has no room for the next task; `amend` raises it";
        Approval = "approval": "waits for the word of one of the people whom the operator's `approve` names; the sentence says who they are";
        NotAccepted = "not-accepted": "the rules of the operator refuse the task: its `input` by `accepts`, or that it names no walltime where core hours are counted; nothing was started";
        Starting = "starting": "an attempt is being prepared";
        TurnedAway = "turned-away": "the operator's system is busy; asked again after a delay";
        UnknownSubmit = "unknown-submit": "it is not known yet whether the submit took effect; the next tick asks";
        Found = "found": "a submit whose answer was lost had taken effect";
        Queued = "queued": "accepted outside, not started";
        NotCarried = "not-carried": "accepted outside, and has nothing of the attempt before to go on from: that is no longer where it was left";
        Running = "running": "an attempt runs";
        Progress = "progress": "an attempt runs, and says how far it is";
        Retry = "retry": "a back-off before the next attempt";
        Lost = "lost": "nobody knows whether the attempt ran; a person decides";
        Settled = "settled": "a person said what a lost attempt came to, or what stale results are worth";
        Adopted = "adopted": "the run was adopted while the attempt was live";
        Rerun = "rerun": "a person brought the task back";
        CancelFailed = "cancel-failed": "the operator could not pass on the cancel; asked again";
        CollectFailed = "collect-failed": "the attempt has ended, and its results cannot be fetched yet; asked again";
        OutputMissing = "output-missing": "a pattern in `outputs` matches nothing";
        OutputUnreadable = "output-unreadable": "what a pattern in `outputs` matches cannot be read";
        OutputQuota = "output-quota": "the attempt left more than `limits.attempt_files` or `limits.attempt_mb` allows, or folders nested too deep; once `amend` has raised them, what it left is collected again";
        Collecting = "collecting": "its outputs are large, and are hashed in turns; of a live attempt `staging` says the same of its files";
        CollectedAgain = "collected-again": "what was over a quota was collected again after that was raised";
        Reused = "reused": "the task did not run: it has the results of an earlier attempt, of another run";
        Reusable = "reusable": "an earlier attempt has the results that the task would take in place of running";
        NotReused = "not-reused": "no earlier attempt has results that the task could take; the sentence says why";
        InputChanged = "input-changed": "the job wrote into a file that it had with `\"stage\": \"link\"`";
        Stale = "stale": "the task completed, and what it computed with has been changed since: by `amend`, or because a task that it took files from has run again";
        Staging = "staging": "a file for the task could not be put in place";
        Completed = "completed": "the task, or the run, has ended so";
        Failed = "failed": "the task, or the run, has ended so, and no other word is known";
        Cancelled = "cancelled": "the task, or the run, has ended so";
        Skipped = "skipped": "the task has ended so";
    }
    Kind {
        Person = "person": "waits for a person, outside";
        Kit = "kit": "waits for a kit to be carried to a cluster and back";
        Instrument = "instrument": "waits for an instrument, outside";
        Scheduler = "scheduler": "the attempt is in the queue outside: accepted and not started, or held back there until a person moves it, as the sentence then says";
        Queue = "queue": "the cluster says why it does not start the job yet, and that may pass: limits of the account, nodes that are away";
        Machine = "machine": "a local job on another machine, which alone can tell how it ends";
        Waiting = "waiting": "waits for something else outside";
    }
    Job {
        Exit = "exit-code": "the command ended with that";
        Signal = "signal": "the command was ended by that";
        Timeout = "timeout": "the command was killed at its walltime";
        Oom = "oom": "the command was killed for its memory";
        NotFound = "not-found": "the program is missing";
        NotExecutable = "not-executable": "the program cannot be executed";
        CannotStart = "cannot-start": "the machine refuses to start the command, and would again";
        NotStarted = "not-started": "the command provably never started";
        NoRoom = "no-room": "the cluster has no room for the files of the job; tried again, as often as it takes";
        LaunchFailed = "launch-failed": "the cluster could not launch the job";
        Terminated = "terminated": "stopped by the scheduler, which did not tell why";
        NodeFail = "node-fail": "its node failed; another attempt follows without using up the task's own";
        Preempted = "preempted": "another job took its place; another attempt follows without using up the task's own";
        Requeued = "requeued": "the scheduler stopped it to start it again; another attempt follows without using up the task's own";
        Vanished = "vanished": "the backend no longer holds the job, which therefore cannot start";
        Refused = "refused": "the cluster refuses the job as it is: the sentence is `sbatch`'s own; the command changes a setting of the backend";
        Invalid = "invalid": "the task is one the operator cannot run";
        Config = "config": "the operator's `config` is not one that its plugin takes";
        Rejected = "rejected": "a person rejected it";
        Deadline = "deadline": "nobody answered in time";
        Denied = "denied": "the operator asked for something that is not granted; the sentence holds the grant";
        ClusterSilent = "cluster-silent": "the cluster does not answer; asked again";
        AccountsSilent = "accounts-silent": "the accounts of the cluster do not answer; asked again";
        ClusterFull = "cluster-full": "the cluster takes no more jobs now; tried again";
        SubmitRate = "submit-rate": "as many submits were made in this minute as the backend's settings allow";
        NoAnswer = "no-answer": "a submit had no answer";
        UnknownBackend = "unknown-backend": "the configuration names no such backend";
        InputGone = "input-gone": "an input that was left on a cluster is no longer there";
        Job = "job": "the job is not one that the backend can run";
        Template = "template": "the template of the job script cannot be filled in";
        Handle = "handle": "what the operator gives back is not the handle of its job";
        Ended = "ended": "the attempt has an exit record already";
        NoExitRecord = "no-exit-record": "the job has left no exit record";
        LateRecord = "late-record": "the exit record does not show yet; asked again";
        Fetch = "fetch": "the results cannot be fetched from the cluster";
        OtherMachine = "other-machine": "the job is on another machine, which alone can tell how it ends";
        LocalBackend = "local-backend": "the files of the local backend cannot be used";
        SlurmBackend = "slurm-backend": "the files of the Slurm backend cannot be used";
        UnknownDigest = "unknown-digest": "the run has no file with that digest";
        Unreachable = "unreachable": "a granted directory cannot be opened";
        Setup = "setup": "a line of `setup` failed before the command";
        Secret = "secret": "a secret of the task's `env` cannot be read where the job was to start; the command did not start";
        Environment = "environment": "what local jobs inherit is not pinned on this machine: `amend RUN environment`, given there, pins it";
        LogLimit = "log-limit": "the command printed more than `limits.attempt_log_mb` allows, and was ended";
        BadConstraints = "bad-constraints": "the cluster has no nodes that could run the job";
        FileChanged = "file-changed": "a file of the run was changed after its digest was recorded";
        FileUnreadable = "file-unreadable": "a file of the run cannot be read";
        StoreUnreadable = "store-unreadable": "the run's database cannot be read";
        EndUnseen = "end-unseen": "the command ran, and nobody saw how it ended; `settle RUN TASK --completed` takes the outputs that it left, `--failed` gives it up";
        StartUnseen = "start-unseen": "nobody saw whether the command started";
        OtherFormat = "other-format": "a supervisor of another version, or one whose files were tampered with, is at work in the run; what is new waits until its jobs have ended";
    }
}

impl Code {
    /// Reads a word back.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }

    /// Whether it names an end that the machines or the scheduler brought about: the command provably ended by no doing
    /// of the task's, so another attempt follows without using up the task's own.
    pub fn is_infrastructure(self) -> bool {
        matches!(self, Self::NodeFail | Self::Preempted | Self::Requeued)
    }

    /// Whether an operator may say it of what became of an attempt.
    pub(super) fn is_of_job(self) -> bool {
        self.place() == Place::Job || matches!(self, Self::Staging | Self::OutputQuota | Self::OutputUnreadable)
    }

    /// Whether an operator may say that an attempt waits for it.
    pub fn is_kind(self) -> bool {
        self.place() == Place::Kind || self == Self::Capacity
    }

    /// Whether it says of a task that it could start, but for the run: it waits for nothing outside.
    pub fn is_of_ready_task(self) -> bool {
        use Code::{Ready, RunCancelled, RunCancelling, RunCompleted, RunFailed, RunHeld, RunPaused};
        matches!(self, Ready | RunPaused | RunHeld | RunCancelling | RunCompleted | RunFailed | RunCancelled)
    }

    /// Whether it says that a plugin, rather than a task, is at fault.
    pub fn is_of_plugin(self) -> bool {
        self.place() == Place::Plugin
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq<&str> for Code {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

/// A word as it stands in a record: the host's own, or a plugin's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Word {
    /// One of the host's own.
    Own(Code),
    /// One of the host's own, for a limit that was reached.
    Limit(Code, Limit),
    /// What a plugin says of itself. Nothing but a person or another program heeds it.
    Guest(String),
}

/// How a plugin's word begins in the store, and wherever else it would read as one of the host's own.
const GUEST: &str = "plugin:";

/// Whether a plugin's word is told apart from those of the host by a mark.
fn is_marked(text: &str) -> bool {
    text.starts_with(GUEST) || Code::parse(text).is_some()
}

impl Word {
    /// The word that an operator gives for what became of an attempt: those of backends keep their meaning.
    pub fn of_operator(text: &str) -> Self {
        Self::among(text, Code::is_of_job)
    }

    /// The kind of thing that an operator says an attempt waits for.
    pub fn of_kind(text: &str) -> Self {
        Self::among(text, Code::is_kind)
    }

    /// The word that a campaign gives.
    pub fn of_campaign(text: &str) -> Self {
        Self::Guest(text.to_owned())
    }

    fn among(text: &str, belongs: impl Fn(Code) -> bool) -> Self {
        match Code::parse(text).filter(|code| belongs(*code)) {
            Some(code) => Self::Own(code),
            None => Self::Guest(text.to_owned()),
        }
    }

    /// The host's own word, if it is one.
    pub fn own(&self) -> Option<Code> {
        match self {
            Self::Own(code) | Self::Limit(code, _) => Some(*code),
            Self::Guest(_) => None,
        }
    }

    /// The limit that was reached.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Limit(_, limit) => Some(*limit),
            Self::Own(_) | Self::Guest(_) => None,
        }
    }

    /// Whether it is this word of the host's own.
    pub fn is(&self, code: Code) -> bool {
        self.own() == Some(code)
    }

    /// As a plugin is told it: whoever said it, in their own words.
    pub fn bare(&self) -> &str {
        match self {
            Self::Own(code) | Self::Limit(code, _) => code.as_str(),
            Self::Guest(text) => text,
        }
    }

    /// As the store keeps it.
    pub fn stored(&self) -> String {
        match self {
            Self::Own(code) => code.as_str().to_owned(),
            Self::Limit(code, limit) => format!("{code} {}", limit.key()),
            Self::Guest(text) => format!("{GUEST}{text}"),
        }
    }

    /// Reads what [`Word::stored`] made; nothing if it is none of those.
    pub fn from_stored(text: &str) -> Option<Self> {
        if let Some(guest) = text.strip_prefix(GUEST) {
            return Some(Self::Guest(guest.to_owned()));
        }
        match text.split_once(' ') {
            Some((code, limit)) => Some(Self::Limit(Code::parse(code)?, Limit::parse(limit)?)),
            None => Code::parse(text).map(Self::Own),
        }
    }
}

impl From<Code> for Word {
    fn from(code: Code) -> Self {
        Self::Own(code)
    }
}

/// As programs and people see it. A plugin's word that reads as one of the host's own is marked.
impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(code) | Self::Limit(code, _) => code.fmt(f),
            Self::Guest(text) if is_marked(text) => write!(f, "{GUEST}{text}"),
            Self::Guest(text) => f.write_str(text),
        }
    }
}

impl PartialEq<&str> for Word {
    fn eq(&self, other: &&str) -> bool {
        match self {
            Self::Own(code) | Self::Limit(code, _) => code.as_str() == *other,
            Self::Guest(text) if is_marked(text) => other.strip_prefix(GUEST) == Some(text),
            Self::Guest(text) => text == other,
        }
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(match (text.strip_prefix(GUEST), Code::parse(&text)) {
            (Some(guest), _) => Self::Guest(guest.to_owned()),
            (None, Some(code)) => Self::Own(code),
            (None, None) => Self::Guest(text),
        })
    }
}

impl JsonSchema for Word {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Word".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Word};
    use crate::model::limit::Limit;
    use std::collections::BTreeSet;

    #[test]
    fn every_word_is_used_once_and_read_back() {
        let words: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        for &code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
            assert!(!code.meaning().is_empty() && !code.meaning().ends_with('.'), "{code}");
        }
    }

    #[test]
    fn what_a_plugin_says_is_never_taken_for_a_word_of_the_host() {
        for &code in Code::ALL {
            let text = code.as_str();
            assert_eq!(Word::of_campaign(text).own(), None, "{text}");
            assert_eq!(Word::of_operator(text).own().is_some(), code.is_of_job(), "{text}");
            assert_eq!(Word::of_kind(text).own().is_some(), code.is_kind(), "{text}");
            assert_eq!(Word::from_stored(&Word::of_campaign(text).stored()), Some(Word::of_campaign(text)));
            assert_ne!(Word::of_campaign(text).to_string(), text);
            assert_eq!(Word::of_campaign(text).bare(), text);
        }
    }

    #[test]
    fn a_word_comes_back_from_the_store_and_from_documents() {
        let words = [
            Word::Own(Code::Lost),
            Word::Limit(Code::PluginLimit, Limit::HostCalls),
            Word::Guest("quota".to_owned()),
            Word::Guest("plugin:lost".to_owned()),
            Word::Guest("a b".to_owned()),
            Word::Guest(String::new()),
        ];
        for word in words {
            assert_eq!(Word::from_stored(&word.stored()), Some(word.clone()));
            let json = serde_json::to_string(&word).expect("JSON");
            let back: Word = serde_json::from_str(&json).expect("a word");
            assert_eq!((back.own(), back.bare()), (word.own(), word.bare()));
        }
        assert_eq!(Word::from_stored("quota"), None, "a word of nobody's");
    }
}
