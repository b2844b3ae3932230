//! The `matterstack` command.
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next();
    if command.as_ref().is_some_and(|command| command == "__supervise") {
        let Some(directory) = arguments.next() else { return ExitCode::from(2) };
        return match matterstack::backend::local::supervise(std::path::Path::new(&directory)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(74),
        };
    }
    if command.is_some_and(|command| command == matterstack::plugin::COMPILE) {
        return matterstack::cli::compile(arguments);
    }
    matterstack::cli::run(std::env::args_os().collect())
}
