//! Acts: the commands that changed a run, and who gave them.
use super::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of this program, as records name it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a command does to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Made the run.
    Init,
    /// Made the run of another, from before a decision of that.
    Fork,
    /// Let it start nothing new.
    Pause,
    /// Let it go on, also where it had ended.
    Resume,
    /// Cancelled it, or a task of it.
    Cancel,
    /// Changed its configuration, a task, a file, a plugin or its environment.
    Amend,
    /// Brought tasks back.
    Rerun,
    /// Made a copy, or another user's run, one's own.
    Adopt,
    /// Said what became of an attempt whose end nobody saw.
    Settle,
    /// Answered a question.
    Respond,
    /// Took a result out of what later runs may reuse.
    ReuseReject,
    /// Removed what attempts had left.
    Clean,
    /// Kept a note.
    Note,
    /// Told the campaign results.
    Tell,
    /// Brought back what a cluster that cannot be reached has computed.
    KitImport,
}

impl Verb {
    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Fork => "fork",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Amend => "amend",
            Self::Rerun => "rerun",
            Self::Adopt => "adopt",
            Self::Settle => "settle",
            Self::Respond => "respond",
            Self::ReuseReject => "reuse_reject",
            Self::Clean => "clean",
            Self::Note => "note",
            Self::Tell => "tell",
            Self::KitImport => "kit_import",
        }
    }
}

/// Who gave a command, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// The number of the user.
    pub user_id: u32,
    /// The name of the user.
    pub user: String,
    /// The machine.
    pub host: String,
    /// The version of this program; absent for what was put into a file by hand.
    pub version: Option<String>,
}

/// A command that changes a run.
#[derive(Debug, Clone)]
pub struct Act {
    /// What it does.
    pub verb: Verb,
    /// Its arguments, a JSON object.
    pub arguments: Value,
    /// Why, in the words of who gave it.
    pub reason: Option<String>,
    /// Who gave it.
    pub by: Actor,
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
}

/// An act as recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActRecord {
    /// Its number in the run, from 1.
    pub act: i64,
    /// When.
    pub at: Time,
    /// What it does: `init`, `fork`, `pause`, `resume`, `cancel`, `amend`, `rerun`, `adopt`, `settle`,
    /// `respond`, `reuse_reject`, `clean`, `note`, `tell`, `kit_import`, and what later versions add.
    pub verb: String,
    /// Its arguments, an object.
    pub arguments: Value,
    /// Why, in the words of who gave it.
    pub reason: Option<String>,
    /// Who gave it.
    #[serde(flatten)]
    pub by: Actor,
}
