//! `builtin:compute`, the operator that runs a task's command on a compute backend of the host.
//!
//! The backend is `config.backend`, or else the only one granted. The handle keeps its name, so that a live job goes
//! on being asked about where it runs when the configuration changes.
use matterstack_sdk::{Attempt, Collected, Error, Found, Operator, StatusReport, Submitted, compute};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The operator.
pub struct Compute;

matterstack_sdk::export_operator!(Compute, manifest: concat!(
    r#"{"format": 1, "name": "compute", "version": ""#,
    env!("CARGO_PKG_VERSION"),
    r#"", "reuse_version": "1"}"#
));

/// `operators.<key>.config`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Config<'a> {
    #[serde(borrow, default)]
    backend: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    launcher: Option<&'a RawValue>,
}

/// The job document; read from the task, whose other keys are not the backend's business.
#[derive(Deserialize, Serialize)]
struct Job<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    command: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    env: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    resources: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    outputs: Option<&'a RawValue>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    launcher: Option<&'a RawValue>,
}

#[derive(Deserialize, Serialize)]
struct Handle<'a> {
    #[serde(borrow)]
    backend: Cow<'a, str>,
    #[serde(borrow)]
    job: &'a RawValue,
}

/// A command that can be run: an argument vector with a program, or a line for a shell.
#[derive(Deserialize)]
#[serde(untagged)]
enum Command {
    Argv(Vec<String>),
    Shell(String),
}

impl Operator for Compute {
    fn prepare(attempt: &Attempt) -> Result<Option<String>, Error> {
        check_command(attempt.task::<Job<'_>>()?.command)?;
        backend(&config(attempt)?).map(|_| None)
    }

    fn submit(attempt: &Attempt) -> Result<Submitted, Error> {
        let config = config(attempt)?;
        let backend = backend(&config)?;
        let job = Job { launcher: config.launcher, ..attempt.task()? };
        wrapped(&backend, compute::submit(&backend, &serde_json::to_string(&job)?)?)
    }

    fn reconcile(attempt: &Attempt) -> Result<Found, Error> {
        let backend = backend(&config(attempt)?)?;
        Ok(match compute::find(&backend)? {
            Found::Yes(submitted) => Found::Yes(wrapped(&backend, submitted)?),
            undecided => undecided,
        })
    }

    fn check_status(attempt: &Attempt) -> Result<StatusReport, Error> {
        let handle = handle(attempt)?;
        let mut report = compute::status(&handle.backend, handle.job.get())?;
        report.handle = report.handle.map(|job| wrap(&handle.backend, &job)).transpose()?;
        Ok(report)
    }

    fn collect_results(attempt: &Attempt) -> Result<Collected, Error> {
        let handle = handle(attempt)?;
        compute::collect(&handle.backend, handle.job.get()).map(Collected::output)
    }

    fn cancel(attempt: &Attempt) -> Result<(), Error> {
        let handle = handle(attempt)?;
        compute::cancel(&handle.backend, handle.job.get())
    }
}

fn check_command(command: Option<&RawValue>) -> Result<(), Error> {
    let Some(command) = command.filter(|command| command.get() != "null") else {
        return Err(Error::invalid("no-command", "the task has no `command`"));
    };
    let empty = match serde_json::from_str(command.get()) {
        Ok(Command::Argv(argv)) => argv.first().is_none_or(String::is_empty),
        Ok(Command::Shell(line)) => line.trim().is_empty(),
        Err(_) => {
            return Err(Error::invalid(
                "bad-command",
                "`command` must be an array of strings, or a string for a shell",
            ));
        }
    };
    if empty { Err(Error::invalid("no-command", "the task's `command` is empty")) } else { Ok(()) }
}

fn config(attempt: &Attempt) -> Result<Config<'_>, Error> {
    match attempt.config.as_str() {
        "{}" | "null" | "" => Ok(Config::default()),
        _ => attempt.config(),
    }
}

fn backend(config: &Config<'_>) -> Result<String, Error> {
    if let Some(name) = &config.backend {
        return Ok(name.clone().into_owned());
    }
    let mut granted = compute::backends();
    match granted.len() {
        1 => Ok(granted.remove(0)),
        0 => Err(Error::invalid("no-backend", "the operator is granted no compute backend (`grants.compute`)")),
        _ => {
            let names = granted.join("`, `");
            let message =
                format!("several backends are granted (`{names}`): name one in the operator's `config.backend`");
            Err(Error::invalid("backend-not-chosen", message))
        }
    }
}

/// The backend's own answer, with a handle that names the backend.
fn wrapped(backend: &str, submitted: Submitted) -> Result<Submitted, Error> {
    Ok(Submitted { handle: wrap(backend, &submitted.handle)?, ..submitted })
}

fn wrap(backend: &str, job: &str) -> Result<String, Error> {
    Ok(serde_json::to_string(&Handle { backend: Cow::Borrowed(backend), job: serde_json::from_str(job)? })?)
}

fn handle(attempt: &Attempt) -> Result<Handle<'_>, Error> {
    serde_json::from_str(attempt.handle()?)
        .map_err(|error| Error::invalid("bad-handle", format!("cannot read the handle: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(task: &str, config: &str) -> Attempt {
        Attempt {
            run_id: "run".into(),
            attempt_id: "a".into(),
            number: 1,
            task: task.into(),
            submit_key: "a".into(),
            prepared: None,
            handle: None,
            note: None,
            config: config.into(),
        }
    }

    fn prepare_code(task: &str, config: &str) -> Option<String> {
        Compute::prepare(&attempt(task, config)).err().map(|error| error.detail().code.clone())
    }

    #[test]
    fn a_task_without_a_command_is_invalid() {
        for task in ["{}", r#"{"command":null}"#, r#"{"command":[]}"#, r#"{"command":[""]}"#, r#"{"command":" "}"#] {
            assert_eq!(prepare_code(task, r#"{"backend":"local"}"#).as_deref(), Some("no-command"), "{task}");
        }
        assert_eq!(prepare_code(r#"{"command":7}"#, r#"{"backend":"local"}"#).as_deref(), Some("bad-command"));
    }

    #[test]
    fn commands_of_both_forms_pass() {
        for task in [r#"{"id":"a","command":["true"]}"#, r#"{"command":"echo a | wc"}"#] {
            assert_eq!(prepare_code(task, r#"{"backend":"local"}"#), None, "{task}");
        }
    }

    #[test]
    fn an_unknown_configuration_key_is_named() {
        let error = Compute::prepare(&attempt(r#"{"command":"a"}"#, r#"{"backnd":"local"}"#)).unwrap_err();
        assert!(error.detail().message.contains("backnd"), "{error}");
    }

    #[test]
    fn a_handle_keeps_the_backend_and_the_job_as_it_was() {
        let submitted = wrapped("cluster", Submitted::new(r#"{"id":7,"f":1.50}"#).known_as("7")).unwrap();
        assert_eq!(submitted, Submitted::new(r#"{"backend":"cluster","job":{"id":7,"f":1.50}}"#).known_as("7"));
    }
}
