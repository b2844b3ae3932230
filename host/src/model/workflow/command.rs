//! What a task must have that is run as a command, as far as its text alone tells.
use super::{CommandLine, Task};
use crate::model::config::{BackendConfig, COMPUTE, LocalConfig, RunConfig};

/// Why no attempt of a task could start its command; nothing if it can, or if its operator runs none.
pub(super) fn cannot_start(task: &Task, config: &RunConfig) -> Option<String> {
    if config.operators.get(&task.operator)?.plugin != COMPUTE {
        return None;
    }
    let (empty, nul) = match &task.command {
        None => return Some(format!("it has no `command`, which operator `{}` needs", task.operator)),
        Some(CommandLine::Argv(words)) => {
            (words.first().is_none_or(String::is_empty), words.iter().any(|word| word.contains('\0')))
        }
        Some(CommandLine::Shell(line)) => (line.trim().is_empty(), line.contains('\0')),
    };
    if empty {
        return Some(
            "its `command` is empty: it is a list that begins with a program, or a line for the shell".to_owned(),
        );
    }
    if nul {
        return Some("its `command` holds a NUL character, which no command can".to_owned());
    }
    task.env.iter().find_map(|(name, value)| {
        if name.is_empty() {
            Some("`env` has a variable without a name".to_owned())
        } else if name.contains(['=', '\0']) {
            Some(format!("`env` has a variable `{}`; a name holds no `=` and no NUL character", name.escape_debug()))
        } else {
            value.fault().map(|why| format!("`env.{name}` {why}"))
        }
    })
}

/// The backend on this machine that runs the commands of an operator, with its name; nothing if none does, or if it is
/// not known where they will run.
pub fn local_backend<'a>(operator: &str, config: &'a RunConfig) -> Option<(&'a str, &'a LocalConfig)> {
    let operator = config.operators.get(operator).filter(|operator| operator.plugin == COMPUTE)?;
    let name = match (operator.config.get("backend"), operator.grants.compute.as_slice()) {
        (Some(named), _) => named.as_str()?,
        (None, [only]) => only,
        (None, _) => return None,
    };
    match config.backends.get(name)? {
        BackendConfig::Local(local) => Some((name, local)),
        BackendConfig::Slurm(_) => None,
    }
}

/// Which resource a task asks for beyond what its backend on this machine may ever give to jobs; nothing if there is
/// none, or if it is not known where the task will run. What the machine has is known where it runs.
pub(super) fn asks_too_much(task: &Task, config: &RunConfig) -> Option<String> {
    let (name, backend) = local_backend(&task.operator, config)?;
    let asked = task.resources.as_ref()?;
    let gpus = backend.gpus.as_ref().map(|gpus| gpus.len() as u64);
    let numbers = [
        ("cores", asked.cores.map(u64::from), Some(u64::from(backend.cores))),
        ("memory_mb", asked.memory_mb, backend.memory_mb),
        ("gpus", asked.gpus.map(u64::from), gpus),
    ];
    numbers.into_iter().find_map(|(key, asked, most)| {
        let (asked, most) = (asked?, most?);
        let has = if key == "gpus" { "names" } else { "is" };
        (asked > most).then(|| format!("resources.{key} is {asked}, and `backends.{name}.{key}` {has} {most}"))
    })
}
