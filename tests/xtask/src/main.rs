//! `cargo xtask`: what a person needs to see, test and measure this project, installed and built where it is missing.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the command line tells what it does")]
mod bench;
mod demo;
mod dist;
mod fresh;
mod guests;
mod lint;
mod project;
mod runners;
mod test;
mod tools;

use anyhow::Result;
use clap::{Parser, Subcommand};
use project::Project;
use std::process::ExitCode;

/// Builds, shows, tests and measures MatterStack. What is missing is installed first, and each step says what it does.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything, run the coatings campaign to its end, and show what it found
    Demo,
    /// Install what the tests need, and run them
    Test {
        /// Only tests whose name contains one of these
        filters: Vec<String>,
        /// Also the tests that take minutes
        #[arg(long)]
        slow: bool,
    },
    /// Build what a person installs who has no clone, into target/dist/: a wheel for `pip install`, and an archive with
    /// binary, manual pages and completions
    ///
    /// Both carry the same binary, linked statically, with the runners of scripts inside. Nothing is published.
    Dist,
    /// Give both commands of the README in a fresh clone on a fresh machine: a minimal Debian tree below target/. Needs
    /// root
    Fresh {
        /// Other commands to give there instead
        commands: Vec<String>,
    },
    /// Check format, lints and documentation of every crate
    Lint,
    /// Measure the budgets beside their peers
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let done = if arguments.next().as_deref() == Some(bench::MEASURE) {
        bench::measure(&arguments.next().unwrap_or_default()).map(|()| true)
    } else {
        dispatch(Cli::parse().command)
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does what was asked, and tells whether all is well.
fn dispatch(command: Command) -> Result<bool> {
    let project = Project::here()?;
    match command {
        Command::Demo => demo::demo(&project),
        Command::Test { filters, slow } => test::test(&project, &filters, slow),
        Command::Dist => dist::dist(&project),
        Command::Fresh { commands } => fresh::fresh(&project, &commands),
        Command::Lint => lint::lint(&project).map(|()| true),
        Command::Bench(arguments) => {
            tools::ensure(&project, tools::FOR_BENCH)?;
            runners::build(&project)?;
            project.build_host()?;
            bench::bench(&project, &arguments)
        }
    }
}
