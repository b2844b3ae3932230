//! What the campaign is asked, and what it proposes. Until the transaction that records and follows an answer it is in
//! memory alone: after a crash the next tick asks anew.
use crate::model::contract::{Context, Next, Reads};
use crate::model::document;
use crate::model::evidence::{DecisionKind, EngineRecord};
use crate::model::id::TaskId;
use crate::model::outputs::refuse_impossible_sources;
use crate::model::workflow::{PlannedTask, WorkflowError, read_task, validate};
use crate::plugin::Answer;
use crate::store::{Came, Durability, FormerState, NewDecision, RunRow, StoreError, Writer};
use crate::tick::attempts::verdict::earlier_task;
use crate::tick::campaign::PlanError;
use crate::tick::campaign::decision::{
    canonical_next, canonical_output, context, input_digest, raw_decision, sha256_of_answer, summary_of, workflow,
};
use crate::tick::campaign::follow::follow;
use crate::tick::{Moment, Run};
use serde_json::Value;
use serde_json::value::RawValue;

/// A decision that came to nothing.
pub(in crate::tick) struct Undecided {
    pub(in crate::tick) error: PlanError,
    /// What was asked, if it came to that.
    pub(in crate::tick) asked: Option<Box<Asked>>,
    /// What the call used, and what it said.
    pub(in crate::tick) answer: Spent,
}

impl<E: Into<PlanError>> From<E> for Undecided {
    fn from(error: E) -> Self {
        Self { error: error.into(), asked: None, answer: Spent::default() }
    }
}

/// What a call used beside its answer.
#[derive(Default)]
pub(in crate::tick) struct Spent {
    pub(in crate::tick) fuel: u64,
    pub(in crate::tick) reads: Reads,
    /// What it said, where that could not be taken.
    pub(in crate::tick) said: Option<String>,
}

/// What the campaign is to be asked.
pub(in crate::tick) struct Question<'a> {
    pub(in crate::tick) kind: DecisionKind,
    /// The run as it stands.
    pub(in crate::tick) row: &'a RunRow,
    /// The iteration that is analyzed or planned.
    pub(in crate::tick) iteration: u32,
    /// The results that are handed over, as canonical JSON.
    pub(in crate::tick) finished: Option<String>,
}

/// A decision as it is asked for: all that it can depend on.
pub(in crate::tick) struct Asked {
    kind: DecisionKind,
    pub(in crate::tick) iteration: u32,
    pub(in crate::tick) context: Context,
    former: Option<(u64, String)>,
    pub(in crate::tick) finished: Option<String>,
    plugin_sha256: String,
    engine: EngineRecord,
    input_sha256: String,
}

impl Asked {
    pub(in crate::tick) fn new(run: &Run, question: Question<'_>, moment: Moment<'_>) -> Result<Self, PlanError> {
        let Question { kind, row, iteration, finished } = question;
        let context = context(run, row, moment.now_ms, iteration)?;
        let former = run.store.campaign_state()?;
        let state = former.as_ref().map(|(_, text)| text.as_str());
        let input_sha256 = input_digest(kind, &context, state, finished.as_deref());
        let (plugin_sha256, engine) = (campaign_digest(run), run.plugins.engine());
        Ok(Self { kind, iteration, context, former, finished, plugin_sha256, engine, input_sha256 })
    }

    pub(in crate::tick) fn state(&self) -> Option<&str> {
        self.former.as_ref().map(|(_, text)| text.as_str())
    }

    pub(in crate::tick) fn record(&self, writer: &Writer<'_>, spent: &Spent, came: Came<'_>) -> Result<(), StoreError> {
        let former = self.former.as_ref().map(|(number, text)| FormerState { number: *number, text });
        let new = NewDecision {
            number: self.context.decision,
            kind: self.kind,
            iteration: self.iteration,
            now_ms: self.context.now_ms as i64,
            plugin_sha256: &self.plugin_sha256,
            engine: &self.engine,
            former,
            supplied: self.context.supplied.as_deref(),
            finished: self.finished.as_deref(),
            input_sha256: &self.input_sha256,
            fuel: spent.fuel,
            reads: &spent.reads,
        };
        writer.add_decision(&new, came)
    }

    /// It came to nothing.
    pub(in crate::tick) fn undecided(self, error: impl Into<PlanError>, answer: Spent) -> Undecided {
        Undecided { error: error.into(), asked: Some(Box::new(self)), answer }
    }
}

/// Asks the campaign for the first decision and records it with what it planned, in one transaction. Returns how many
/// tasks were planned.
///
/// # Errors
/// If the campaign fails or answers with something the contract does not allow; then nothing is recorded.
pub fn plan_first(run: &mut Run, moment: Moment<'_>) -> Result<u64, PlanError> {
    plan(run, moment).map_err(|undecided| undecided.error)
}

/// Plans what the amended list of a campaign has more than the run; the run's configuration is the amended one already.
///
/// # Errors
/// If the campaign fails or answers with something the contract does not allow, or the list says something else of a
/// task that the run has.
pub fn propose_growth(run: &Run, moment: Moment<'_>) -> Result<Proposal, PlanError> {
    propose(run, moment, Known::PassedOver).map_err(|undecided| undecided.error)
}

/// Asks for a plan and takes it. Returns how many tasks it adds.
pub(in crate::tick) fn plan(run: &mut Run, moment: Moment<'_>) -> Result<u64, Undecided> {
    let proposal = propose(run, moment, Known::Refused)?;
    run.store.transaction(Durability::Full, |writer| proposal.take(writer))?;
    Ok(proposal.planned())
}

/// What becomes of a planned task whose id the run has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// The plan is refused.
    Refused,
    /// It is passed over if it is as it was planned, or as it was amended.
    PassedOver,
}

/// A plan that was asked for and that breaks no rule.
pub struct Proposal {
    pub(in crate::tick) asked: Asked,
    spent: Spent,
    pub(in crate::tick) row: RunRow,
    pub(in crate::tick) next: Next,
    state: String,
    rest: String,
    pub(in crate::tick) reason: String,
    pub(in crate::tick) tasks: Vec<PlannedTask>,
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
        let (summary, output_sha256) = (summary_of(&self.state), sha256_of_answer(&self.rest, &self.state));
        let came = Came::Answer {
            state: &self.state,
            rest: &self.rest,
            next: Some(self.next.word()),
            reason: &self.reason,
            summary: summary.as_deref(),
            output_sha256: &output_sha256,
        };
        self.asked.record(writer, &self.spent, came)?;
        follow(writer, self)
    }
}

fn propose(run: &Run, moment: Moment<'_>, known: Known) -> Result<Proposal, Undecided> {
    let row = run.store.run()?;
    let question = Question { kind: DecisionKind::Plan, row: &row, iteration: row.iteration + 1, finished: None };
    let asked = Asked::new(run, question, moment)?;
    crate::ground::failpoint::hit("plan.before");
    let Answer { value, fuel, reads } = run.plugins.plan(&asked.context, asked.state());
    crate::ground::failpoint::hit("plan.after");
    let spent = Spent { fuel, reads, said: None };
    let mut decision = match value {
        Ok(decision) => decision,
        Err(error) => return Err(asked.undecided(error, spent)),
    };
    let taken = canonical_output(&decision.state, "plan", "state").map_err(PlanError::from).and_then(|state| {
        let tasks = read_tasks(run, &decision.next, known)?;
        let whole = known == Known::PassedOver || !matches!(decision.next, Next::Workflow(_));
        let next = if whole { Some(canonical_next(&decision.next)?) } else { None };
        Ok((state, next, tasks))
    });
    let (state, next, tasks) = match taken {
        Ok(taken) => taken,
        Err(error) => return Err(asked.undecided(error, Spent { said: Some(raw_decision(&decision)), ..spent })),
    };
    let next = next.unwrap_or_else(|| {
        // a document of a million tasks is not held twice
        if let Next::Workflow(document) = &mut decision.next {
            *document = String::new();
        }
        workflow(tasks.iter().map(|planned| &*planned.json))
    });
    let mut rest = next;
    rest.insert_str(0, "{\"next\":");
    rest.push_str(&format!(",\"reason\":{}}}", Value::from(decision.reason.as_str())));
    Ok(Proposal { asked, spent, row, next: decision.next, state, rest, reason: decision.reason, tasks })
}

/// Reads a plan's tasks one at a time, so that a large plan is never held as a tree of values.
fn read_tasks(run: &Run, next: &Next, passed: Known) -> Result<Vec<PlannedTask>, PlanError> {
    let Next::Workflow(document) = next else { return Ok(Vec::new()) };
    let parts: Vec<&RawValue> = serde_json::from_str(document).map_err(|error| {
        let fault = document::check(document).err();
        WorkflowError::NoList(fault.map_or_else(|| error.to_string(), |fault| fault.sentence()))
    })?;
    let _view = run.store.view()?;
    let known = run.store.task_counts()?.total;
    let total = if passed == Known::PassedOver { parts.len() as u64 } else { known + parts.len() as u64 };
    if total > run.config.limits.max_tasks {
        return Err(WorkflowError::TooMany(total, run.config.limits.max_tasks).into());
    }
    let tasks = parts.iter().enumerate().filter_map(|(position, text)| {
        let text = text.get();
        let read = read_task(position, text, &run.config).map_err(|error| PlanError::from(error.at(text, document)));
        match read {
            Ok(task) if passed == Known::PassedOver => match is_known(run, &task.0.id, &task.1) {
                Ok(true) => None,
                Ok(false) => Some(Ok(task)),
                Err(error) => Some(Err(error)),
            },
            read => Some(read),
        }
    });
    let exists = |id: &TaskId| Ok::<_, PlanError>(known > 0 && run.store.has_task(id.as_str())?);
    let planned = validate(tasks, &run.config, &exists).and_then(|planned| {
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

fn campaign_digest(run: &Run) -> String {
    let pinned = run.config.pinned.as_ref().and_then(|pinned| pinned.plugins.get(&run.config.campaign.plugin));
    pinned.map(|file| file.sha256.clone()).unwrap_or_default()
}
