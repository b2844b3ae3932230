//! Proposals: what a person is asked, and what came of it.
use crate::State;
use crate::alloys::Alloy;
use matterstack_sdk::{Outcome, Task, TaskResult, json};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Write;

const OPERATOR: &str = "human";
/// The id of an approval's task, before the number of its proposal.
const PREFIX: &str = "approve-";
/// Characters of a person's comment that the state keeps.
const COMMENT_MAX: usize = 500;

/// Alloys that a person was asked about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Proposal {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) alloys: Vec<String>,
    pub(crate) verdict: Verdict,
    /// What the person said, if anything.
    comment: String,
}

/// What came of a proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Nobody has answered yet.
    Pending,
    /// These alloys are to be computed.
    Approved(Vec<String>),
    /// None of them.
    Rejected,
    /// The question ended without an answer.
    Unanswered {
        reason: String,
        /// Whether the run was held for it.
        held: bool,
    },
}

impl Proposal {
    pub(crate) fn new(number: usize, alloys: &[&Alloy]) -> Self {
        let alloys = alloys.iter().map(|alloy| alloy.id.clone()).collect();
        Self { number, alloys, verdict: Verdict::Pending, comment: String::new() }
    }

    /// The person's comment, or words that say there is none.
    pub(crate) fn comment(&self) -> &str {
        if self.comment.is_empty() { "none was given" } else { &self.comment }
    }

    pub(crate) fn hold(&mut self) {
        if let Verdict::Unanswered { held, .. } = &mut self.verdict {
            *held = true;
        }
    }

    /// Takes the person's answer. Who approves without choosing approves all.
    pub(crate) fn answer(&mut self, result: &TaskResult) {
        #[derive(Deserialize)]
        struct Answer {
            approved: bool,
            #[serde(default)]
            candidates: Vec<String>,
            #[serde(default)]
            comment: String,
        }
        let answer = result.data.as_ref().and_then(|data| data.get("answer")).cloned().unwrap_or(Value::Null);
        let answer = match (result.outcome, serde_json::from_value::<Answer>(answer)) {
            (Outcome::Completed, Ok(answer)) => answer,
            (Outcome::Completed, Err(error)) => return self.unanswered(&format!("the answer cannot be read: {error}")),
            _ => return self.unanswered(result.reason.as_deref().unwrap_or("no reason was given")),
        };
        self.comment = answer.comment.chars().take(COMMENT_MAX).collect();
        self.verdict = match (answer.approved, answer.candidates.is_empty()) {
            (false, _) => Verdict::Rejected,
            (true, true) => Verdict::Approved(self.alloys.clone()),
            (true, false) => {
                let chosen = self.alloys.iter().filter(|id| answer.candidates.contains(id));
                Verdict::Approved(chosen.cloned().collect())
            }
        };
    }

    fn unanswered(&mut self, reason: &str) {
        self.verdict = Verdict::Unanswered { reason: reason.chars().take(COMMENT_MAX).collect(), held: false };
    }
}

/// The number in the id of an approval's task.
pub(crate) fn number(task: &str) -> Option<usize> {
    task.strip_prefix(PREFIX)?.parse().ok()
}

/// The question. A rejection is a result, so that the campaign can propose something else.
pub(crate) fn task(number: usize, alloys: &[&Alloy], shift: f64, state: &State) -> Task {
    let ids: Vec<&String> = alloys.iter().map(|alloy| &alloy.id).collect();
    let schema = json!({
        "type": "object",
        "required": ["approved"],
        "additionalProperties": false,
        "properties": {
            "approved": {"type": "boolean", "title": "Compute any of these alloys?"},
            "candidates": {
                "type": "array", "items": {"enum": ids}, "uniqueItems": true, "minItems": 1,
                "title": "Which ones; all if left out",
            },
            "comment": {"type": "string", "title": "What the record should say"},
        },
    });
    let input =
        json!({"instructions": instructions(number, alloys, shift, state), "schema": schema, "on_reject": "result"});
    Task::new(format!("{PREFIX}{number}"), OPERATOR).input(input).allow_failure()
}

fn instructions(number: usize, alloys: &[&Alloy], shift: f64, state: &State) -> String {
    let mut text = format!("# Proposal {number}: which of {} alloys may be computed?\n\n", alloys.len());
    text += "| alloy | estimated binding (eV) | relative price |\n|---|---:|---:|\n";
    for alloy in alloys {
        let _ = writeln!(text, "| {} | {:.3} | {:.2} |", alloy.id, alloy.estimate_ev + shift, alloy.price);
    }
    if shift != 0.0 {
        let _ =
            writeln!(text, "\nThe estimates are corrected by {shift:+.3} eV, the mean of what was computed so far.");
    }
    for proposal in state.proposals.iter().filter(|proposal| proposal.verdict == Verdict::Rejected) {
        let (number, alloys) = (proposal.number, proposal.alloys.join(", "));
        let _ = writeln!(text, "\nProposal {number} ({alloys}) was rejected; the comment: {}", proposal.comment());
    }
    text += "\nApprove all, approve with `candidates` those to compute, or reject; then others are proposed.\n";
    text
}
