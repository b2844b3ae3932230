//! The job document that an operator hands to a backend, under the published schema `job`.
use super::setup::{shell_or_usual, shell_words};
use crate::ground::words::quoted;
use crate::model::code::Code;
use crate::model::contract::{Detail, GuestError};
pub(super) use crate::model::job::JobDocument;
pub(super) use crate::model::workflow::CommandLine as Command;
use crate::model::workflow::{OutputPattern, Secret, Variable, WALLTIME_MAX_S};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What becomes of the files that a job leaves: patterns of those that come back, and of those that stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OutputPatterns {
    pub(super) fetch: Vec<String>,
    pub(super) keep: Vec<String>,
}

fn words(command: &Command) -> Vec<&str> {
    match command {
        Command::Argv(argv) => argv.iter().map(String::as_str).collect(),
        Command::Shell(text) => vec![text],
    }
}

/// A command as a shell takes it; a text is a whole line for this shell, or, without one, words as they stand.
pub(super) fn shell_text(command: &Command, shell: Option<&[String]>) -> String {
    match command {
        Command::Argv(words) => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        Command::Shell(text) => match shell {
            Some(shell) => format!("{} {}", shell_words(shell), quoted(text)),
            None => text.clone(),
        },
    }
}

impl JobDocument {
    /// The variables whose values are known, and those that are set to a secret, with its name.
    pub(super) fn take_env(&mut self) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
        let (mut texts, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        for (name, value) in std::mem::take(&mut self.env) {
            match value {
                Variable::Text(text) => texts.insert(name, text),
                Variable::Secret(Secret { secret }) => secrets.insert(name, secret),
            };
        }
        (texts, secrets)
    }

    /// The command behind its launcher; a line of it is for this shell.
    pub(super) fn launched(&mut self, shell: &[String]) -> Command {
        let command = std::mem::replace(&mut self.command, Command::Argv(Vec::new()));
        match (self.launcher.take(), command) {
            (None, command) => command,
            (Some(Command::Argv(mut words)), Command::Argv(argv)) => {
                words.extend(argv);
                Command::Argv(words)
            }
            (Some(Command::Argv(mut words)), Command::Shell(line)) => {
                words.extend(shell_or_usual(shell));
                words.push(line);
                Command::Argv(words)
            }
            (Some(Command::Shell(text)), command) => {
                Command::Shell(format!("exec {text} {}", shell_text(&command, Some(shell))))
            }
        }
    }

    /// What becomes of the files it leaves.
    pub(super) fn patterns(&self) -> OutputPatterns {
        let (keep, fetch): (Vec<_>, Vec<_>) = self.outputs.iter().partition(|output| output.stays());
        let texts = |all: Vec<&OutputPattern>| all.into_iter().map(|output| output.pattern().to_owned()).collect();
        OutputPatterns { fetch: texts(fetch), keep: texts(keep) }
    }

    /// Reads a job document and refuses what no backend can run.
    pub(super) fn parse(job: &str) -> Result<Self, GuestError> {
        let invalid = |message: String| GuestError::Invalid(Detail::of(Code::Job, message));
        let job: Self =
            serde_json::from_str(job).map_err(|error| invalid(format!("the job document is not valid: {error}")))?;
        let argv = words(&job.command);
        if argv.first().is_none_or(|program| program.is_empty()) {
            return Err(invalid("`command` is empty".to_owned()));
        }
        let bad_name = job.env.keys().find(|name| name.is_empty() || name.contains('='));
        if let Some(name) = bad_name {
            return Err(invalid(format!("`{name}` cannot name an environment variable")));
        }
        let launcher = job.launcher.iter().flat_map(words);
        let names = job.env.keys().map(String::as_str);
        if argv.into_iter().chain(launcher).chain(names).any(|word| word.contains('\0')) {
            return Err(invalid("`command` and `env` cannot hold NUL characters".to_owned()));
        }
        if let Some((name, why)) = job.env.iter().find_map(|(name, value)| Some((name, value.fault()?))) {
            return Err(invalid(format!("`env.{name}` {why}")));
        }
        if job.resources.walltime_s.is_some_and(|seconds| !(seconds.is_finite() && seconds > 0.0)) {
            return Err(invalid("`resources.walltime_s` is not a positive number".to_owned()));
        }
        if job.resources.walltime_s.is_some_and(|seconds| seconds > WALLTIME_MAX_S) {
            return Err(invalid(format!("`resources.walltime_s` is more than ten years ({WALLTIME_MAX_S})")));
        }
        Ok(job)
    }
}
