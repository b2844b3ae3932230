//! The `matterstack` command.
use std::process::ExitCode;

fn main() -> ExitCode {
    matterstack::cli::run(std::env::args_os().collect())
}
