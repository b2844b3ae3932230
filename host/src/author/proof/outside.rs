//! A compute system that is made up, and behaves as told.
use crate::backend::{Compute, JobKey};
use crate::model::code::Code;
use crate::model::contract::{Detail, Found, GuestError, Status, StatusReport, Submitted};
use crate::model::inputs::Inputs;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How it behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mood {
    /// As it should.
    #[default]
    Kind,
    /// Takes a job and gives no answer to that.
    TakesAndIsSilent,
    /// Takes nothing, and says that it is busy.
    Busy,
    /// Does not answer.
    Silent,
    /// Has forgotten every job.
    Forgetful,
    /// The job ended badly.
    Failing,
}

/// What it has, and what it was asked.
#[derive(Debug, Default)]
struct Ledger {
    mood: Mood,
    /// How often a job was handed over under each key.
    jobs: BTreeMap<String, usize>,
    /// Questions since the last submit.
    looks: usize,
    asked: usize,
}

/// A compute system in memory.
#[derive(Debug, Default)]
pub(super) struct Outside(Mutex<Ledger>);

impl Outside {
    pub(super) fn behave(&self, mood: Mood) {
        self.ledger().mood = mood;
    }

    /// How often a job was handed over under a key.
    pub(super) fn jobs(&self, key: &str) -> usize {
        self.ledger().jobs.get(key).copied().unwrap_or(0)
    }

    /// How often it was asked for anything.
    pub(super) fn asked(&self) -> usize {
        self.ledger().asked
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mood in which it is asked something.
    fn ask(&self) -> (MutexGuard<'_, Ledger>, Mood) {
        let mut ledger = self.ledger();
        ledger.asked += 1;
        let mood = ledger.mood;
        (ledger, mood)
    }
}

fn handle(key: &JobKey<'_>) -> String {
    json!({"job": key.attempt_id.as_str()}).to_string()
}

fn silent() -> GuestError {
    GuestError::transient(Code::Unreachable, "the outside does not answer")
}

impl Compute for Outside {
    fn submit(&self, _: &str, key: JobKey<'_>, _: &str, _: &Inputs) -> Result<String, GuestError> {
        let (mut ledger, mood) = self.ask();
        match mood {
            Mood::Busy | Mood::Silent => return Err(silent()),
            Mood::Kind | Mood::TakesAndIsSilent | Mood::Forgetful | Mood::Failing => {}
        }
        *ledger.jobs.entry(key.attempt_id.as_str().to_owned()).or_default() += 1;
        ledger.looks = 0;
        match mood {
            Mood::TakesAndIsSilent => {
                Err(GuestError::Ambiguous(Detail::new("timeout", "no answer came back from the outside")))
            }
            _ => Ok(handle(&key)),
        }
    }

    fn find(&self, _: &str, key: JobKey<'_>) -> Result<Found, GuestError> {
        let (ledger, mood) = self.ask();
        match mood {
            Mood::Silent => Err(silent()),
            _ if ledger.jobs.contains_key(key.attempt_id.as_str()) && mood != Mood::Forgetful => {
                Ok(Found::Yes(Submitted::new(handle(&key))))
            }
            _ => Ok(Found::No),
        }
    }

    fn status(&self, _: &str, _: JobKey<'_>, _: &str) -> Result<StatusReport, GuestError> {
        let (mut ledger, mood) = self.ask();
        ledger.looks += 1;
        let status = match (mood, ledger.looks) {
            (Mood::Silent, _) => return Err(silent()),
            (Mood::Forgetful, _) => Status::Lost(Detail::new("vanished", "the outside does not know this job")),
            (Mood::Busy, _) => Status::Unavailable(Detail::new("unreachable", "the outside does not answer")),
            (_, 1) => Status::Queued,
            (_, 2) => Status::Running(None),
            (Mood::Failing, _) => Status::Failed(Detail::new("exit-code", "the command ended with exit code 1")),
            (Mood::Kind | Mood::TakesAndIsSilent, _) => Status::Succeeded,
        };
        Ok(StatusReport { status, handle: None, poll_after_ms: Some(1) })
    }

    fn collect(&self, _: &str, _: JobKey<'_>, _: &str) -> Result<String, GuestError> {
        match self.ask().1 {
            Mood::Silent => Err(silent()),
            _ => Ok(json!({"code": 0}).to_string()),
        }
    }

    fn cancel(&self, _: &str, _: JobKey<'_>, _: &str) -> Result<(), GuestError> {
        match self.ask().1 {
            Mood::Silent => Err(silent()),
            _ => Ok(()),
        }
    }
}
