//! The `matterstack` command.
use std::process::ExitCode;

fn main() -> ExitCode {
    // Without it a limit ends the process where a failed write would be told.
    let _ = matterstack::ground::machine::survive_file_size_limit();
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next();
    if command.as_ref().is_some_and(|command| command == matterstack::backend::local::SUPERVISE) {
        return matterstack::cli::supervise(arguments);
    }
    if command.as_ref().is_some_and(|command| command == matterstack::backend::CARRY) {
        return matterstack::cli::carry();
    }
    if command.as_ref().is_some_and(|command| command == matterstack::cli::SHARE) {
        return matterstack::cli::share(arguments);
    }
    if command.is_some_and(|command| command == matterstack::plugin::COMPILE) {
        return matterstack::cli::compile(arguments);
    }
    // A `loop --all` holds several for each run.
    matterstack::ground::machine::raise_descriptor_limit();
    matterstack::cli::run(std::env::args_os().collect())
}
