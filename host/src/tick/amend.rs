//! What a change of the configuration may not take from under a run: an operator that tasks still need, and a backend that
//! holds what is live.
use super::{ControlError, Run, TickError};
use crate::model::config::RunConfig;
use std::mem::discriminant;

/// Tasks that an error names.
const NAMED: usize = 3;

/// Refuses a configuration in which an open task has no operator, or a live attempt no backend.
///
/// # Errors
/// If there is such a task or attempt, or the store cannot be read.
pub fn refuse_amendment(run: &Run, amended: &RunConfig) -> Result<(), ControlError> {
    refuse_missing_operators(run, amended)?;
    refuse_missing_backends(run, amended)
}

fn refuse_missing_operators(run: &Run, amended: &RunConfig) -> Result<(), ControlError> {
    for operator in run.config.operators.keys().filter(|key| !amended.operators.contains_key(*key)) {
        let open = run.store.open_tasks_of(operator).map_err(TickError::from)?;
        if !open.is_empty() {
            let what = format!("operator `{operator}` cannot be taken away: {} depend on it", named("task", &open));
            return Err(ControlError::NotNow(what, Some(let_it_end(run))));
        }
    }
    Ok(())
}

fn refuse_missing_backends(run: &Run, amended: &RunConfig) -> Result<(), ControlError> {
    for (operator, settings) in &run.config.operators {
        let granted = amended.operators.get(operator).map(|settings| &settings.grants.compute);
        let gone = settings.grants.compute.iter().find(|backend| {
            let kind = |config: &RunConfig| config.backends.get(*backend).map(discriminant);
            !granted.is_some_and(|granted| granted.contains(backend)) || kind(&run.config) != kind(amended)
        });
        let Some(backend) = gone else { continue };
        let live = run.store.live_tasks_of(operator).map_err(TickError::from)?;
        if !live.is_empty() {
            let what = format!(
                "backend `{backend}` cannot be taken from operator `{operator}`: attempts of {} are live",
                named("task", &live)
            );
            return Err(ControlError::NotNow(what, Some(let_it_end(run))));
        }
    }
    Ok(())
}

fn let_it_end(run: &Run) -> String {
    let run = run.dir.address();
    format!("let them end, or stop them with `matterstack cancel {run} TASK` and `matterstack step {run}`, then amend")
}

fn named(noun: &str, ids: &[String]) -> String {
    let mut named: Vec<String> = ids.iter().take(NAMED).map(|id| format!("`{id}`")).collect();
    if ids.len() > NAMED {
        named.push(format!("{} more", ids.len() - NAMED));
    }
    format!("{noun}(s) {}", named.join(", "))
}
