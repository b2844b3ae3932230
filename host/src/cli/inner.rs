//! Processes that a command of ours starts, never a person: one that compiles a plugin, one that supervises local jobs,
//! one that carries news to a person.
use super::report::exit_code;
use crate::backend::{carry_news, local};
use crate::failure::FailureKind;
use crate::plugin::compile_as_told;
use crate::workspace::{granted_origins, log_for_person, user_config};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Compiles the component on standard input to standard output. The exit code 1 means that it is refused, in the words
/// on standard error.
pub fn compile(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<String> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    let code = match compile_as_told(&arguments, &mut std::io::stdin().lock()) {
        Ok(code) => code,
        Err(text) => {
            // Without standard error the exit code says enough.
            let _ = std::io::stderr().write_all(text.as_bytes());
            return ExitCode::FAILURE;
        }
    };
    let mut out = std::io::stdout().lock();
    match out.write_all(&code).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(exit_code(FailureKind::Machine)),
    }
}

/// Supervises the jobs of the backend directory that is named. There is nobody to tell what fails.
pub fn supervise(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(directory) = arguments.next() else { return ExitCode::from(exit_code(FailureKind::Input)) };
    match local::supervise(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(exit_code(FailureKind::Machine)),
    }
}

/// Carries the news on standard input from the run's directory, in which it was started. What could not be delivered
/// stands in the run's log.
pub fn carry() -> ExitCode {
    let told = |why: &str| log_for_person(Path::new("."), "notify", why);
    let granted = granted_origins(user_config().as_deref()).unwrap_or_else(|failure| {
        told(&failure.to_string());
        Vec::new()
    });
    match carry_news(&mut std::io::stdin().lock(), &granted) {
        Ok(failures) => {
            failures.iter().for_each(|why| told(why));
            if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            told(&error.to_string());
            ExitCode::from(exit_code(FailureKind::Machine))
        }
    }
}
