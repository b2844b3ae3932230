//! What the standard operators take as their `config`: they read it when a task is prepared, and it can be said before.
use super::layers::Wrong;
use crate::model::config::{COMPUTE, OperatorConfig, RunConfig};
use crate::model::document::{Place, way};
use crate::model::misfit;
use crate::model::workflow::{CommandLine, nearest};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// `config` of `builtin:compute`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Compute {
    backend: Option<String>,
    launcher: Option<CommandLine>,
}

/// `config` of `builtin:experiment`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Experiment {
    poll_s: Option<f64>,
}

/// `config` of `builtin:manual-hpc`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ManualHpc {
    #[serde(default)]
    header: Vec<String>,
    #[serde(default)]
    setup: Vec<String>,
    #[serde(default)]
    launcher: Vec<String>,
    settle_s: Option<f64>,
}

/// Refuses a `config` with which no task of its operator could be prepared.
pub(super) fn check(config: &RunConfig) -> Result<(), Wrong> {
    // one that is null stands for none
    for (key, operator) in config.operators.iter().filter(|(_, operator)| !operator.config.is_null()) {
        match operator.plugin.as_str() {
            COMPUTE => check_compute(key, operator)?,
            "builtin:experiment" => {
                let given: Experiment = read(key, operator)?;
                not_negative(key, "poll_s", given.poll_s)?;
            }
            "builtin:manual-hpc" => check_manual_hpc(key, &read(key, operator)?)?,
            _ => {}
        }
    }
    Ok(())
}

fn read<T: DeserializeOwned>(key: &str, operator: &OperatorConfig) -> Result<T, Wrong> {
    misfit::fit(&operator.config).map_err(|misfit| {
        let misfit = misfit.below(["operators", key, "config"].map(|key| Place::Key(key.to_owned())));
        let what = format!("`{}` ({}): {}", way(&misfit.place), operator.plugin, misfit.why);
        let wrong = Wrong::at(misfit.place, what);
        match misfit.near {
            Some(near) => wrong.hint(format!("did you mean `{near}`?")),
            None => wrong,
        }
    })
}

fn wrong(key: &str, part: &str, why: &str) -> Wrong {
    let place = format!("operators.{key}.config.{part}");
    Wrong::new(&place, format!("{place} {why}"))
}

fn not_negative(key: &str, part: &str, seconds: Option<f64>) -> Result<(), Wrong> {
    match seconds {
        Some(seconds) if seconds < 0.0 => Err(wrong(key, part, "is negative; it is a number of seconds")),
        _ => Ok(()),
    }
}

fn check_compute(key: &str, operator: &OperatorConfig) -> Result<(), Wrong> {
    let Compute { backend, launcher } = read(key, operator)?;
    let words = match launcher {
        Some(CommandLine::Argv(words)) => words,
        Some(CommandLine::Shell(line)) => vec![line],
        None => Vec::new(),
    };
    if words.iter().any(|word| word.contains('\0')) {
        return Err(wrong(key, "launcher", "holds a NUL character, which no command can"));
    }
    let granted = &operator.grants.compute;
    let Some(backend) = backend.filter(|backend| !granted.contains(backend)) else { return Ok(()) };
    let near = nearest(&backend, granted.iter().map(String::as_str));
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("grant it: `operators.{key}.grants.compute` lists the backends that the operator may use"),
    };
    let why = format!("is `{}`, a backend that the operator is not granted", backend.escape_debug());
    Err(wrong(key, "backend", &why).hint(hint))
}

fn check_manual_hpc(key: &str, given: &ManualHpc) -> Result<(), Wrong> {
    for (part, lines) in [("header", &given.header), ("setup", &given.setup), ("launcher", &given.launcher)] {
        if lines.iter().any(|line| line.contains(['\n', '\r', '\0'])) {
            return Err(wrong(key, part, "holds more than single lines"));
        }
    }
    if given.header.iter().any(|line| !line.starts_with('#')) {
        return Err(wrong(key, "header", "has a line that does not begin with `#`"));
    }
    not_negative(key, "settle_s", given.settle_s)
}
