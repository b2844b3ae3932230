//! A plan that was asked for, and that breaks no rule. It is read one task at a time, so that a large one is never held
//! as a tree of values; until it is taken it is in memory alone.
use crate::model::contract::{Decision, Next, PlanReason};
use crate::model::document;
use crate::model::evidence::DecisionKind;
use crate::model::id::TaskId;
use crate::model::outputs::refuse_impossible_sources;
use crate::model::rules::refuse_unaccepted;
use crate::model::states::RunState;
use crate::model::time::FUTURE_MAX_MS;
use crate::model::workflow::{PlannedTask, WorkflowError, read_task, validate};
use crate::store::{Came, Durability, RunRow, StoreError, Writer};
use crate::tick::attempts::digests::refuse_unknown_digests;
use crate::tick::attempts::verdict::earlier_task;
use crate::tick::campaign::PlanError;
use crate::tick::campaign::ask::{Asked, Question, Spent, Undecided, Written};
use crate::tick::campaign::decision::{
    canonical_next, canonical_output, raw_decision, rest_of_plan, sha256_of_answer, workflow,
};
use crate::tick::campaign::follow::{Unwanted, follow, unwanted};
use crate::tick::{Moment, Run};
use serde_json::value::RawValue;

/// Asks the campaign for the first decision and records it with what it planned, in one transaction. Returns how many
/// tasks were planned.
///
/// # Errors
/// If the campaign fails or answers with something the contract does not allow; then nothing is recorded.
pub fn plan_first(run: &mut Run, moment: Moment<'_>) -> Result<u64, PlanError> {
    let proposal = propose(run, moment, Occasion { heard: true, ..Occasion::default() });
    take(run, proposal).map_err(|undecided| undecided.error)
}

/// Plans what the amended list of a campaign has more than the run; the run's configuration is the amended one already,
/// of which this is the digest.
///
/// # Errors
/// If the campaign fails or answers with something the contract does not allow, or the list says something else of a
/// task that the run has.
pub fn propose_growth(run: &Run, config_sha256: &str, moment: Moment<'_>) -> Result<Proposal, PlanError> {
    let also = Some(PlanReason::Changed);
    let occasion = Occasion { config_sha256: Some(config_sha256), also, heard: true, ..Occasion::default() };
    propose(run, moment, occasion).map_err(|undecided| undecided.error)
}

/// Asks for a plan that sees what a person supplies (JSON text); the run goes on with it, whatever state it is in.
///
/// # Errors
/// If the campaign refuses what was supplied, or answers with something the contract does not allow.
pub(in crate::tick) fn propose_told(run: &Run, supplied: &str, moment: Moment<'_>) -> Result<Proposal, PlanError> {
    let occasion = Occasion { supplied: Some(supplied), also: Some(PlanReason::Resumed), ..Occasion::default() };
    propose(run, moment, occasion).map_err(|undecided| undecided.error)
}

/// Asks for a plan and takes it. Returns how many tasks it adds.
pub(in crate::tick) fn plan(run: &mut Run, moment: Moment<'_>) -> Result<u64, Undecided> {
    let proposal = propose(run, moment, Occasion::default());
    take(run, proposal)
}

fn take(run: &mut Run, proposal: Result<Proposal, Undecided>) -> Result<u64, Undecided> {
    let proposal = proposal?;
    run.store.transaction(Durability::Full, |writer| proposal.take(writer))?;
    Ok(proposal.planned())
}

/// On what occasion a plan is asked for.
#[derive(Clone, Copy, Default)]
struct Occasion<'a> {
    /// The configuration that it is asked under, where the store has another one yet.
    config_sha256: Option<&'a str>,
    /// Why, beside what the store says.
    also: Option<PlanReason>,
    /// What a person supplies with it, JSON text.
    supplied: Option<&'a str>,
    /// Whether somebody hears at once what is wrong with it: then tasks that the rules of their operator refuse are
    /// refused with the plan, and else each fails by itself, which the campaign hears of.
    heard: bool,
}

/// A plan that was asked for and that breaks no rule.
pub struct Proposal {
    pub(in crate::tick) asked: Asked,
    spent: Spent,
    pub(in crate::tick) row: RunRow,
    pub(in crate::tick) decision: Decision,
    state: String,
    rest: String,
    pub(in crate::tick) tasks: Vec<PlannedTask>,
    pub(in crate::tick) unwanted: Unwanted,
}

impl Proposal {
    /// How many tasks it adds to the run.
    pub fn planned(&self) -> u64 {
        self.tasks.len() as u64
    }

    /// Records it, and does what it says.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn take(&self, writer: &Writer<'_>) -> Result<(), StoreError> {
        let output_sha256 = sha256_of_answer(&self.rest, &self.state);
        let came = Came::Answer {
            state: &self.state,
            rest: &self.rest,
            next: Some(self.decision.next.word()),
            reason: &self.decision.reason,
            summary: self.decision.summary.as_deref(),
            output_sha256: &output_sha256,
        };
        self.asked.record(writer, &self.spent, came)?;
        follow(writer, self)
    }
}

fn propose(run: &Run, moment: Moment<'_>, occasion: Occasion<'_>) -> Result<Proposal, Undecided> {
    let mut row = run.store.run()?;
    if let Some(supplied) = occasion.supplied {
        (row.supplied, row.state) = (Some(supplied.to_owned()), RunState::Active);
    }
    let config_sha256 = occasion.config_sha256.unwrap_or(&row.config_sha256);
    let question = Question { kind: DecisionKind::Plan, row: &row, finished: None, config_sha256, also: occasion.also };
    let asked = Asked::new(run, question, moment)?;
    crate::ground::failpoint::hit("plan.before");
    let answer = run.plugins.plan(&asked.context, asked.state());
    crate::ground::failpoint::hit("plan.after");
    let (mut spent, value, written) = Spent::of(answer);
    let mut decision = match value {
        Ok(decision) => decision,
        Err(error) => return Err(asked.undecided(error, spent)),
    };
    let read =
        read(run, &decision, (&asked, &written), occasion).and_then(|read| spent.keep(run, written).map(|()| read));
    let Read { state, next, tasks, unwanted } = match read {
        Ok(read) => read,
        Err(error) => return Err(asked.undecided(error, Spent { said: Some(raw_decision(&decision)), ..spent })),
    };
    let next = next.unwrap_or_else(|| {
        // a document of a million tasks is not held twice
        if let Next::Workflow(document) = &mut decision.next {
            *document = String::new();
        }
        workflow(tasks.iter().map(|planned| &*planned.json))
    });
    let rest = rest_of_plan(&decision, &next);
    Ok(Proposal { asked, spent, row, decision, state, rest, tasks, unwanted })
}

/// What a plan says, checked.
struct Read {
    /// Canonical JSON.
    state: String,
    /// Canonical JSON, where it is not just the tasks.
    next: Option<String>,
    tasks: Vec<PlannedTask>,
    unwanted: Unwanted,
}

fn read(
    run: &Run,
    decision: &Decision,
    (asked, written): (&Asked, &Written),
    occasion: Occasion<'_>,
) -> Result<Read, PlanError> {
    let state = canonical_output(&decision.state, "plan", "state")?;
    let tasks = read_tasks(run, decision, written, occasion.heard)?;
    refuse_overlap(run, asked, &tasks, occasion.also.is_some())?;
    refuse_late_wake(decision, asked)?;
    let unwanted = unwanted(run, &decision.cancel)?;
    let whole = decision.skips_known || !matches!(decision.next, Next::Workflow(_));
    let next = if whole { Some(canonical_next(&decision.next)?) } else { None };
    Ok(Read { state, next, tasks, unwanted })
}

/// Refuses a further iteration beside one that goes on, but where the campaign receives each result as it comes.
fn refuse_overlap(run: &Run, asked: &Asked, tasks: &[PlannedTask], grows: bool) -> Result<(), PlanError> {
    let open = asked.context.open_tasks;
    if tasks.is_empty() || open == 0 || grows || run.config.campaign.takes_each_result() {
        return Ok(());
    }
    Err(WorkflowError::Overlap(open).into())
}

/// Refuses a time that nobody can mean.
fn refuse_late_wake(decision: &Decision, asked: &Asked) -> Result<(), PlanError> {
    let latest = asked.context.now_ms.saturating_add(FUTURE_MAX_MS);
    match decision.wake_at_ms {
        Some(at) if at > latest => Err(WorkflowError::LateWake(at, latest).into()),
        _ => Ok(()),
    }
}

/// Reads a plan's tasks one at a time.
fn read_tasks(run: &Run, decision: &Decision, written: &Written, heard: bool) -> Result<Vec<PlannedTask>, PlanError> {
    let Next::Workflow(document) = &decision.next else { return Ok(Vec::new()) };
    let parts: Vec<&RawValue> = serde_json::from_str(document).map_err(|error| {
        let fault = document::check(document).err();
        WorkflowError::NoList(fault.map_or_else(|| error.to_string(), |fault| fault.sentence()))
    })?;
    let _view = run.store.view()?;
    let (known, most) = (run.store.task_counts()?.total, run.config.limits.max_tasks);
    let few_enough = |total: u64| if total > most { Err(WorkflowError::TooMany(total, most)) } else { Ok(()) };
    // of those that are known already the run gets no more
    few_enough(if decision.skips_known { parts.len() as u64 } else { known + parts.len() as u64 })?;
    let tasks = parts.iter().enumerate().filter_map(|(position, text)| {
        let text = text.get();
        let read = read_task(position, text, &run.config).map_err(|error| PlanError::from(error.at(text, document)));
        let read = read.and_then(|task| {
            let known = |digest: &str| written.contains_key(digest);
            refuse_unknown_digests::<PlanError>(run, (&task.0.id, &task.0), known)?;
            if heard {
                refuse_unaccepted(&run.config, &task.0)?;
            }
            Ok(task)
        });
        match read {
            Ok(task) if decision.skips_known => match is_known(run, &task.0.id, &task.1) {
                Ok(true) => None,
                Ok(false) => Some(Ok(task)),
                Err(error) => Some(Err(error)),
            },
            read => Some(read),
        }
    });
    let exists = |id: &TaskId| Ok::<_, PlanError>(known > 0 && run.store.has_task(id.as_str())?);
    let planned = validate(tasks, &run.config, &exists).and_then(|planned| {
        few_enough(known + planned.len() as u64)?;
        refuse_impossible_sources(&planned, |id| Ok::<_, PlanError>(earlier_task(run, id)?))?;
        Ok(planned)
    });
    planned.map_err(|error| match error {
        PlanError::Workflow(error) => {
            let texts: Vec<&str> = parts.iter().map(|part| part.get()).collect();
            error.in_list(&texts, document).into()
        }
        PlanError::Plugin(_) | PlanError::Tick(_) => error,
    })
}

/// Whether the run has a task just so, as it was planned or amended.
fn is_known(run: &Run, id: &TaskId, json: &str) -> Result<bool, PlanError> {
    match run.store.has_version(id.as_str(), json)? {
        None => Ok(false),
        Some(true) => Ok(true),
        Some(false) => Err(WorkflowError::Differs(id.clone()).into()),
    }
}
