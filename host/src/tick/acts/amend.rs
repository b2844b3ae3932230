//! What a change of the configuration may not take from under a run: an operator that tasks still need, and a backend
//! that holds what is live. It reads alone, and a crash leaves nothing.
use crate::model::config::{BackendConfig, RunConfig};
use crate::model::remedy::Remedy;
use crate::tick::acts::control::not_now;
use crate::tick::{ControlError, Run, TickError};

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
            return Err(not_now(run, what, Some(Remedy::LetEnd)));
        }
    }
    Ok(())
}

fn refuse_missing_backends(run: &Run, amended: &RunConfig) -> Result<(), ControlError> {
    for (operator, settings) in &run.config.operators {
        let granted = amended.operators.get(operator).map(|settings| &settings.grants.compute);
        let gone = settings.grants.compute.iter().find(|backend| {
            !granted.is_some_and(|granted| granted.contains(backend))
                || place(&run.config, backend) != place(amended, backend)
        });
        let Some(backend) = gone else { continue };
        let live = run.store.live_tasks_of(operator).map_err(TickError::from)?;
        if !live.is_empty() {
            let verb = if amended.backends.contains_key(backend) && granted.is_some_and(|all| all.contains(backend)) {
                "go to another place (`kind`, `ssh.host`, `remote_root`) under"
            } else {
                "be taken from"
            };
            let what = format!(
                "backend `{backend}` cannot {verb} operator `{operator}`: attempts of {} are live",
                named("task", &live)
            );
            return Err(not_now(run, what, Some(Remedy::LetEnd)));
        }
    }
    Ok(())
}

/// Where a backend's jobs are looked for: nothing is found in another place, and would count as never started.
fn place<'a>(config: &'a RunConfig, backend: &str) -> Option<[Option<&'a str>; 3]> {
    Some(match config.backends.get(backend)? {
        BackendConfig::Local(_) => [Some("local"), None, None],
        BackendConfig::Slurm(slurm) => match &slurm.ssh {
            Some(ssh) => [Some("slurm"), Some(&ssh.host), slurm.remote_root.as_deref()],
            None => [Some("slurm"), None, None],
        },
    })
}

fn named(noun: &str, ids: &[String]) -> String {
    let mut named: Vec<String> = ids.iter().take(NAMED).map(|id| format!("`{id}`")).collect();
    if ids.len() > NAMED {
        named.push(format!("{} more", ids.len() - NAMED));
    }
    format!("{noun}(s) {}", named.join(", "))
}
