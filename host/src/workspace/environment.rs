//! What local jobs of a run have on this machine: pinned by a person's command, found again by every tick.
use super::init::workspace_of;
use crate::backend::local::{self, NotRecorded};
use crate::failure::Failure;
use crate::ground::machine;
use crate::ground::words::one_line;
use crate::model::config::{BackendConfig, RunConfig};
use crate::run::RunDir;
use crate::store::{Durability, NewEnvironment, Store, StoreError};

/// Where this process would hand in jobs, what they would inherit of it, and what the commands of `record` tell of the
/// programs there.
///
/// # Errors
/// If one of those commands fails: then jobs would not find what they need either.
pub fn environment_here(config: &RunConfig, run: &RunDir) -> Result<NewEnvironment, Failure> {
    let place = workspace_of(run).unwrap_or_default();
    let workspace = std::fs::canonicalize(&place)
        .map_err(|error| Failure::io(format!("workspace `{}`", place.display()), error))?;
    let (machine, host) = (machine::machine_id().to_owned(), machine::host_name());
    let variables = local::inherited(&config.pass_env());
    let mut recorded = Vec::new();
    for (name, backend) in &config.backends {
        if let BackendConfig::Local(local) = backend {
            let told = local::record((name, local), &variables, (&workspace, &run.id()));
            recorded.extend(told.map_err(|refused| not_recorded(name, &refused))?);
        }
    }
    Ok(NewEnvironment { machine, host, variables, recorded })
}

fn not_recorded(backend: &str, NotRecorded { command, why, output }: &NotRecorded) -> Failure {
    let last = output.lines().rev().find(|line| !line.trim().is_empty());
    let last = last.map(|line| format!("; it printed `{}`", one_line(line))).unwrap_or_default();
    Failure::input(format!("`{}` of backends.{backend}.record {why}{last}", one_line(command))).hint(
        "it runs as a job would, behind `setup`, in the directory of the workspace; where it may fail, add `|| true`",
    )
}

/// Goes on in the environment that was pinned on this machine, where that was another one before. On a machine on which
/// none was, no local job is handed in until a person pins one.
pub(super) fn note_environment(store: &mut Store) -> Result<(), Failure> {
    let machine = machine::machine_id();
    let elsewhere = store.environment()?.machine != machine && store.environment_on(machine)?.is_some();
    // what waited on a machine without one, and came back here
    let waits = || Ok::<_, StoreError>(store.environment()?.machine == machine && store.waits_for_environment()?);
    if elsewhere || waits()? {
        store.transaction(Durability::Full, |writer| writer.go_on_in(machine))?;
    }
    Ok(())
}

/// What is pinned on this machine.
///
/// # Errors
/// If the store cannot be read.
pub fn pinned_here(store: &Store) -> Result<Option<NewEnvironment>, Failure> {
    let machine = machine::machine_id();
    let last = store.environment()?;
    Ok(if last.machine == machine { Some(last) } else { store.environment_on(machine)? })
}
