//! Submits whose answer was lost: looked for by name until the cluster has answered often and long enough.
use super::claim::{read_owner, remove};
use super::handle::Handle;
use super::ledger::{Doubt, Element};
use super::state::Stage;
use super::{Memory, SlurmBackend, script, unavailable};
use crate::backend::JobKey;
use crate::backend::exit::read_exit;
use crate::model::attempt_dir::{self, CLAIM};
use crate::model::contract::{Found, GuestError, Submitted};
use std::fs::File;
use std::io;

impl SlurmBackend {
    pub(in crate::backend) fn find(&self, key: JobKey<'_>) -> Result<Found, GuestError> {
        let mut memory = self.memory();
        let failed = |error: io::Error| unavailable(&error);
        memory.ledger.refresh().and_then(|()| memory.ledger.load()).map_err(failed)?;
        let element = match script::ticket_in(key.directory) {
            Some((array, index)) => Some(Element { array, index }),
            None => memory.arrays.find(key.attempt_id.as_str()).map_err(failed)?,
        };
        let Some(element) = element.filter(|element| memory.arrays.member(element).is_some()) else {
            return Ok(Found::No);
        };
        let yes = |element: &Element, id: Option<String>| {
            Handle::of(element, id).text().map(|handle| Found::Yes(Submitted::of_job(handle)))
        };
        if let Err(error) = self.look(&mut memory, key, &element) {
            return Ok(undecided(&error.detail().message, self.poll_interval().as_millis() as i64));
        }
        if let Some(owner) = read_owner(key.directory) {
            return yes(&owner, memory.ledger.job(&owner).map(|job| job.id.clone()));
        }
        let claimed = key.directory.join(CLAIM).exists() || memory.arrays.has_started(&element);
        if claimed || read_exit(key.directory, key.attempt_id.as_str()).is_some() {
            return yes(&element, None);
        }
        let now = self.clock.now_ms();
        if !known(&memory, &element) {
            let doubt = Doubt { since_ms: now, answered_ms: None };
            memory.ledger.head.doubts.entry(element.array.clone()).or_insert(doubt);
            memory.ledger.touch();
            let seen = memory.seen;
            self.poll(&mut memory, seen, now).map_err(failed)?;
        }
        if known(&memory, &element) {
            memory.ledger.save().map_err(failed)?;
            return yes(&element, memory.ledger.job(&element).map(|job| job.id.clone()));
        }
        let answer = self.not_found(&mut memory, key, &element)?;
        memory.ledger.save().map_err(failed)?;
        Ok(answer)
    }

    /// What it means that the queue does not show a submit whose answer was lost.
    fn not_found(&self, memory: &mut Memory, key: JobKey<'_>, element: &Element) -> Result<Found, GuestError> {
        let head = &memory.ledger.head;
        let unknown = |message: &str, after: i64| Ok(undecided(message, after));
        let interval = self.poll_interval().as_millis() as i64;
        if let Some(silence) = &head.silent {
            return unknown(&format!("the cluster does not answer: {silence}"), interval);
        }
        let Some(doubt) = head.doubts.get(&element.array) else { return unknown("to be looked for", interval) };
        match doubt.answered_ms {
            Some(absent) if head.answered_ms >= absent.saturating_add(self.grace_ms()) => {
                // a job that comes to light after all finds no script that wants it
                self.unwant_there(key.attempt_id.as_str())?;
                unwant(key).map_err(|error| unavailable(&error))?;
                Ok(Found::No)
            }
            Some(absent) => {
                let left = absent.saturating_add(self.grace_ms()).saturating_sub(head.answered_ms);
                unknown("the queue does not show it; it is looked for once more", left.max(interval))
            }
            None => unknown("the queue has not been seen since", interval),
        }
    }
}

/// Takes the job script away, for good.
fn unwant(key: JobKey<'_>) -> io::Result<()> {
    remove(&key.directory.join(attempt_dir::JOB_SCRIPT))?;
    File::open(key.directory)?.sync_all()
}

fn undecided(message: &str, after: i64) -> Found {
    let note = serde_json::json!({ "message": message }).to_string();
    Found::Unknown { note, poll_after_ms: after.max(50) as u64 }
}

/// Whether the queue or `sbatch` itself has told of a job.
fn known(memory: &Memory, element: &Element) -> bool {
    memory.ledger.job(element).is_some_and(|job| job.stage() != Stage::Gone)
}
