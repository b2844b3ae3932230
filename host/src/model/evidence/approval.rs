//! What people were asked, and what they answered.
use crate::model::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that a person was asked to allow, or an answer to the question of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalRecord {
    /// Which of both.
    pub kind: ApprovalKind,
    /// The task's id.
    pub task: String,
    /// The version of the task that was asked about, or that asked.
    pub version: u32,
    /// The operator key.
    pub operator: String,
    /// The attempt that asked; absent where it was asked before there was one.
    pub attempt_id: Option<String>,
    /// When it was asked.
    pub asked_at: Time,
    /// What came of it.
    pub state: ApprovalState,
    /// Who answered; absent as long as nobody has, and where a file that was written by hand does not tell.
    pub by: Option<Answerer>,
    /// When the answer was given.
    pub at: Option<Time>,
    /// Whether it was put into a file by hand, and not given by a command.
    pub by_hand: bool,
    /// SHA-256 of the answer; of a word on whether a task may start, of the text of that task.
    pub sha256: String,
    /// The answer's document; absent for a word on whether a task may start, which is no more than its state.
    pub answer: Option<Value>,
    /// Why, in the words of who answered.
    pub reason: Option<String>,
    /// The act that records it, if one does.
    pub act: Option<i64>,
}

/// What a person was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalKind {
    /// Whether a task may start, by `approve` of its operator.
    Start,
    /// A question that is a task of its own.
    Question,
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Nothing yet.
    Asked,
    /// It was allowed.
    Approved,
    /// It was refused.
    Rejected,
    /// Nobody needed the answer any more.
    Withdrawn,
    /// The question was answered.
    Answered,
}

impl ApprovalState {
    /// Every state.
    const ALL: [Self; 5] = [Self::Asked, Self::Approved, Self::Rejected, Self::Withdrawn, Self::Answered];

    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
            Self::Answered => "answered",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// Who answered, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answerer {
    /// The number of the user.
    #[serde(alias = "uid")]
    pub user_id: u32,
    /// The name of the user.
    pub user: String,
    /// The machine.
    pub host: String,
}

impl ApprovalRecord {
    /// Who answered, for a person; empty if nobody has.
    pub fn who(&self) -> String {
        let hand = if self.by_hand { ", by hand" } else { "" };
        match &self.by {
            Some(by) => format!("{} ({}) on {}{hand}", by.user, by.user_id, by.host),
            None if self.by_hand => "by hand".to_owned(),
            None => String::new(),
        }
    }
}
