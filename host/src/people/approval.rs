//! A person's word on a task that waits for approval: put where the next tick finds it. Giving it needs no lease; after
//! a crash it lies there whole or not at all.
use crate::failure::Failure;
use crate::ground::machine;
use crate::ground::words::positional_with;
use crate::model::rules::{Person, is_among, people};
use crate::run::{Run, Signature, Word};
use crate::store::Asked;
use std::io;

/// Something a run wants approved.
#[derive(Debug)]
pub struct Approval {
    /// The run's id.
    pub run_id: String,
    /// What is asked.
    pub asked: Asked,
    by: Vec<Person>,
    address: String,
}

/// What a task waits for approval of, if it does.
///
/// # Errors
/// If the store cannot be read.
pub fn approval(run: &Run, task: &str) -> Result<Option<Approval>, Failure> {
    let Some(row) = run.store.task(task)? else { return Ok(None) };
    let Some(asked) = run.store.asked_about(row.key)? else { return Ok(None) };
    let approve = run.config.operators.get(&asked.operator).and_then(|operator| operator.approve.as_ref());
    let by = approve.map(|approve| approve.by.clone()).unwrap_or_default();
    Ok(Some(Approval { run_id: run.dir.id(), asked, by, address: run.dir.address().to_owned() }))
}

impl Approval {
    /// Puts this user's word where the next tick takes it.
    ///
    /// # Errors
    /// If it is not this user's to give, it has been given already, or it cannot be written.
    pub fn give(&self, run: &Run, approved: bool, reason: Option<&str>, now_ms: i64) -> Result<Signature, Failure> {
        let Asked { task, approval, request, .. } = &self.asked;
        refuse_other_people(
            &self.by,
            task,
            &format!("respond {} {}", self.address, positional_with(task, "--approve")),
        )?;
        let mut by = Signature::of(b"", reason, now_ms);
        by.sha256.clone_from(request);
        let word = Word { approved, approval: approval.clone(), by };
        match run.dir.give_word(&word) {
            Ok(()) => Ok(word.by),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(self.given_before(run.dir.in_the_way(approval)))
            }
            Err(error) => {
                let place = run.dir.approvals();
                Err(Failure::machine(format!("`{}` cannot be written", place.display()), error))
            }
        }
    }
}

impl Approval {
    /// Why no word can be given where something lies already, of this user or of somebody else.
    fn given_before(&self, other: Option<u32>) -> Failure {
        let (task, address) = (&self.asked.task, &self.address);
        let Some(owner) = other else {
            let what = format!("you have answered on task `{task}` already");
            return Failure::input(what).hint(format!("`matterstack step {address}` takes that answer"));
        };
        let what = format!("something of uid {owner} lies where your answer on task `{task}` belongs");
        let hint = "moves it out of the way, by whoever runs the run; then give your answer again";
        Failure::input(what).hint(format!("`matterstack step {address}` {hint}"))
    }
}

/// Refuses a user whose answer would be set aside.
pub(super) fn refuse_other_people(by: &[Person], task: &str, command: &str) -> Result<(), Failure> {
    let user = machine::user_id();
    if is_among(by, user, &machine::user_number) {
        return Ok(());
    }
    let what = format!("only {} may answer on task `{task}`, and you are uid {user}", people(by));
    Err(Failure::input(what).hint(format!("ask one of them to give `matterstack {command}`")))
}
