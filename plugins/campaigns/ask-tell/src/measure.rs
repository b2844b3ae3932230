//! What the results of its tasks make of a trial.
use crate::file;
use crate::goals::{Measured, Unusable};
use crate::params::Spec;
use crate::trial::{Source, Trial, TrialState};
use matterstack_sdk::{Outcome, TaskResult};
use serde_json::{Map, Value};

/// The file in which a program leaves its result.
pub(crate) const RESULT: &str = "result.json";
/// The code of a trial whose task completed and left nothing that can be used.
const NO_RESULT: &str = "no-result";

/// Ends a trial by the result of its last task, or of one that did not complete.
pub(crate) fn end(trial: &mut Trial, spec: &Spec<'_>, result: &TaskResult) {
    (trial.result, trial.code, trial.message, trial.cost) = (None, None, None, None);
    match result.outcome {
        Outcome::Completed => complete(trial, spec, result),
        Outcome::Cancelled => {
            trial.state = TrialState::Abandoned;
            trial.code.clone_from(&result.code);
        }
        Outcome::Failed | Outcome::Skipped => {
            trial.state = TrialState::Failed;
            trial.code = Some(result.code.clone().unwrap_or_else(|| "failed".to_owned()));
            trial.message.clone_from(&result.reason);
        }
    }
}

fn complete(trial: &mut Trial, spec: &Spec<'_>, result: &TaskResult) {
    let has_program = spec.recipe(trial.tell.as_deref()).ok().and_then(|r| r.last()).is_some_and(|t| t.has_program());
    let unusable = |why: String| Unusable { why, partial: Map::new() };
    let read = document(spec, result, has_program).map_err(unusable).and_then(|found| spec.goals.take(&found));
    match read {
        Ok(measured) => take(trial, measured),
        Err(Unusable { why, partial }) => {
            trial.state = TrialState::Failed;
            (trial.code, trial.message) = (Some(NO_RESULT.to_owned()), Some(why));
            trial.partial = (!partial.is_empty()).then_some(partial).or(trial.partial.take());
        }
    }
}

/// Gives a trial its values.
pub(crate) fn take(trial: &mut Trial, Measured { values, infeasible, cost }: Measured) {
    trial.state = if infeasible { TrialState::Infeasible } else { TrialState::Completed };
    trial.result = (!values.is_empty() || !infeasible).then_some(values);
    (trial.partial, trial.code, trial.message, trial.cost) = (None, None, None, cost);
}

/// Gives a trial the values that a person or a table tells.
pub(crate) fn tell(trial: &mut Trial, measured: Measured, source: Source) {
    take(trial, measured);
    trial.source = source;
}

/// Notes what a task in the midst of a chain has left, if it left a result.
pub(crate) fn note_partial(trial: &mut Trial, spec: &Spec<'_>, result: &TaskResult) {
    let found = result.output(RESULT).and_then(|file| file::document(file).ok());
    let Some(Value::Object(found)) = found else { return };
    let wanted = found.into_iter().filter(|(name, _)| spec.goals.names().any(|known| known == name));
    let partial: Map<String, Value> = trial.partial.take().into_iter().flatten().chain(wanted).collect();
    trial.partial = (!partial.is_empty()).then_some(partial);
}

/// The document that holds the result. A program's is its file: the output document is the host's own there. Of a
/// person or an instrument it is the output document, or the `answer` in it.
fn document(spec: &Spec<'_>, result: &TaskResult, has_program: bool) -> Result<Value, String> {
    let file = result.output(RESULT);
    if let (true, Some(file)) = (has_program, file) {
        return file::document(file);
    }
    let data = file::data(result);
    let answer = data.as_ref().and_then(|data| data.get("answer")).cloned();
    let told = answer.into_iter().chain(data.clone()).find(|document| spec.goals.are_in(document));
    match (told, file, data) {
        (Some(told), _, _) => Ok(told),
        (None, Some(file), _) => file::document(file),
        (None, None, Some(data)) => Ok(data.get("answer").cloned().unwrap_or(data)),
        (None, None, None) => Err(format!("the task left neither an output document nor `{RESULT}`")),
    }
}
