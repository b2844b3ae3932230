//! What no campaign can skip: before a task gets an attempt, the rules of its operator are looked at, whoever planned
//! it. What they say is recorded in the transaction that makes attempts: a crash before it leaves the tasks as they
//! were, and the next tick looks at the same.
use crate::model::code::{Code, Word};
use crate::model::config::OperatorConfig;
use crate::model::document::sha256;
use crate::model::id::AttemptId;
use crate::model::reason::Reason;
use crate::model::rules::{core_h, core_ms, needs_approval, refused, shown, to_core_ms};
use crate::model::states::TaskState;
use crate::model::workflow::Task;
use crate::store::{Durability, Store, StoreError, TaskSpec, Writer};
use crate::tick::attempts::start::task_with_retries;
use crate::tick::attempts::verdict::stored_task;
use crate::tick::{Moment, Run, TickError};

/// Tasks whose back-off has passed that are looked at, at once, for room in the budget of their operator.
const LOOKED_AT: u64 = 1_000;

/// What the rules of its operator say of a task that could start.
pub(in crate::tick) enum Ruling {
    /// It starts, and is counted on to take so much.
    Starts {
        /// Core milliseconds, where they are counted.
        core_ms: Option<u64>,
    },
    /// It never starts as it is.
    Refused(String),
    /// It waits for somebody's word: on which text, and the sentence.
    Asks { request: String, sentence: String },
}

/// Looks at the rules of its operator.
pub(in crate::tick) fn rule(run: &Run, spec: &TaskSpec) -> Result<Ruling, TickError> {
    let Some(operator) = run.config.operators.get(&spec.operator).filter(|operator| operator.rules()) else {
        return Ok(Ruling::Starts { core_ms: None });
    };
    let text = run.store.task_json(spec.key)?;
    let task = Task { operator: spec.operator.clone(), ..stored_task(&text)? };
    if let Some(why) = refused(&run.config, &task) {
        return Ok(Ruling::Refused(why));
    }
    let task = as_tried(&run.store, spec, task)?;
    // an approval holds for what follows it: further attempts, until the task comes back or is another one
    let approved = spec.state == TaskState::Running && run.store.is_approved(spec.key)?;
    match needs_approval(operator, &spec.operator, &task).filter(|_| !approved) {
        Some(sentence) => Ok(Ruling::Asks { request: sha256(text.as_bytes()), sentence }),
        None => Ok(Ruling::Starts { core_ms: core_ms(&task) }),
    }
}

/// The task as its next attempt runs it.
fn as_tried(store: &Store, spec: &TaskSpec, task: Task) -> Result<Task, StoreError> {
    if spec.attempts == 0 || task.retry.on.timeout.is_none() {
        return Ok(task);
    }
    let earlier: Vec<Word> = store.attempts(spec.key)?.into_iter().filter_map(|one| one.reason_code).collect();
    Ok(task_with_retries(&task, &earlier))
}

impl Ruling {
    /// Records that a task gets no attempt now; `id` names what is asked.
    pub(in crate::tick) fn record(
        self,
        writer: &Writer<'_>,
        spec: &TaskSpec,
        id: &AttemptId,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let runs = |writer: &Writer<'_>| match spec.state {
            TaskState::Pending => {
                writer.set_task_state(spec.key, (TaskState::Pending, TaskState::Running), None, now_ms)
            }
            TaskState::Running
            | TaskState::Completed
            | TaskState::Failed
            | TaskState::Cancelled
            | TaskState::Skipped => writer.clear_retry(spec.key),
        };
        match self {
            Self::Starts { .. } => Ok(()),
            Self::Refused(why) => {
                runs(writer)?;
                let reason = Reason::new(Code::NotAccepted, why);
                writer.set_task_state(spec.key, (TaskState::Running, TaskState::Failed), Some(&reason), now_ms)
            }
            Self::Asks { request, sentence } => {
                runs(writer)?;
                writer.ask_approval(&id.0, spec.key, &request, &sentence, now_ms)
            }
        }
    }
}

/// Why an operator's budget lets nothing more start.
#[derive(Debug, Clone, PartialEq)]
pub struct UsedUp {
    /// The setting, below `operators.<key>.budget`.
    pub bound: &'static str,
    /// In a sentence.
    pub sentence: String,
    /// A value that would let the next task start.
    pub enough: u64,
}

/// Whether the budget of an operator has no room for the task that would come next.
///
/// # Errors
/// If the store cannot be read.
pub fn used_up(store: &Store, key: &str, settings: &OperatorConfig) -> Result<Option<UsedUp>, StoreError> {
    let Some(budget) = &settings.budget else { return Ok(None) };
    let spent = store.spent(key)?;
    if let Some(most) = budget.attempts.filter(|most| spent.attempts >= *most) {
        let sentence = format!("`operators.{key}.budget.attempts` is {most}, and {} have been started", spent.attempts);
        return Ok(Some(UsedUp { bound: "attempts", sentence, enough: (most * 2).max(spent.attempts + 1) }));
    }
    let Some(most) = budget.core_h else { return Ok(None) };
    let mut next = store.waiting_in_budget(key, 1)?;
    if next.is_empty() {
        next = store.ready_tasks(key, 1)?;
    }
    let Some(next) = next.first() else { return Ok(None) };
    let asked = counted_on(store, next)?;
    if spent.core_ms.saturating_add(asked) <= to_core_ms(most) {
        return Ok(None);
    }
    let sentence = format!(
        "`operators.{key}.budget.core_h` is {most}, of which {} are used or counted on, and task `{}` asks for {}",
        shown(core_h(spent.core_ms)),
        next.id,
        shown(core_h(asked))
    );
    let enough = core_h(spent.core_ms.saturating_add(asked)).ceil() as u64;
    Ok(Some(UsedUp { bound: "core_h", sentence, enough }))
}

/// The core milliseconds that the next attempt at a task is counted on to take; none where they cannot be told: such a
/// task is refused before it starts.
fn counted_on(store: &Store, spec: &TaskSpec) -> Result<u64, StoreError> {
    let task: Task = crate::store::document(&store.task_json(spec.key)?)?;
    Ok(core_ms(&as_tried(store, spec, task)?).unwrap_or(0))
}

/// How many more attempts the budget of an operator lets start.
pub(in crate::tick) fn attempts_left(store: &Store, key: &str, settings: &OperatorConfig) -> Result<u64, StoreError> {
    match settings.budget.as_ref().and_then(|budget| budget.attempts) {
        Some(most) => Ok(most.saturating_sub(store.spent(key)?.attempts)),
        None => Ok(u64::MAX),
    }
}

/// Of tasks of an operator those that its budget of core hours has room for, in their order: what does not fit keeps
/// those behind it waiting too, so that many small tasks do not use up what a large one before them needs.
pub(in crate::tick) fn within_core_hours(
    store: &Store,
    key: &str,
    settings: &OperatorConfig,
    mut tasks: Vec<TaskSpec>,
) -> Result<Vec<TaskSpec>, StoreError> {
    let Some(most) = settings.budget.as_ref().and_then(|budget| budget.core_h) else { return Ok(tasks) };
    let mut left = to_core_ms(most).saturating_sub(store.spent(key)?.core_ms);
    for position in 0..tasks.len() {
        let asked = counted_on(store, &tasks[position])?;
        if asked > left {
            tasks.truncate(position);
            break;
        }
        left -= asked;
    }
    Ok(tasks)
}

/// Lets tasks wait whose back-off has passed while the budget of their operator has no room for them: else every tick
/// would find them due.
pub(in crate::tick) fn wait_in_budgets(run: &mut Run, moment: Moment<'_>) -> Result<(), TickError> {
    let mut waits: Vec<(i64, Reason)> = Vec::new();
    for (key, settings) in run.config.operators.iter().filter(|(_, settings)| settings.budget.is_some()) {
        let due = run.store.retries_due(key, moment.now_ms, LOOKED_AT)?;
        if due.is_empty() {
            continue;
        }
        let left = attempts_left(&run.store, key, settings)?;
        let fits: Vec<TaskSpec> = due.iter().take(usize::try_from(left).unwrap_or(usize::MAX)).cloned().collect();
        let fit = within_core_hours(&run.store, key, settings, fits)?.len();
        let text = format!("waits for room in `operators.{key}.budget`");
        waits.extend(due[fit..].iter().map(|spec| (spec.key, Reason::new(Code::Budget, text.clone()))));
    }
    if waits.is_empty() {
        return Ok(());
    }
    run.store.transaction(Durability::Lazy, |writer| {
        waits.iter().try_for_each(|(key, reason)| writer.wait_in_budget(*key, reason))
    })?;
    Ok(())
}
