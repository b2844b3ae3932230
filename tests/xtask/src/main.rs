//! `cargo xtask`: what a person needs to run, test and measure this project, installed and built where it is missing.
mod bench;

use anyhow::Result;
use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Measure the budgets beside their peers
    Bench(bench::Arguments),
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(bench::MEASURE) {
        return bench::measure(&arguments.next().unwrap_or_default());
    }
    match Task::parse() {
        Task::Bench(arguments) => bench::bench(&arguments, &std::env::current_exe()?.with_file_name("matterstack")),
    }
}
