//! What a task must have that is run as a command, as far as its text alone tells.
use super::{CommandLine, Task};
use crate::model::config::{COMPUTE, RunConfig};

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
