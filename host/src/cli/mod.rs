//! The command line: the only place that prints or exits.
mod author;
mod backend;
mod backtest;
mod backup;
mod compare;
mod control;
mod doctor;
mod evidence;
mod exchange;
mod export;
mod fork;
mod graph;
mod inner;
mod keep;
mod kit;
mod layout;
mod list;
mod logs;
mod manual;
mod mend;
mod new;
mod once;
mod output;
mod page;
mod path;
mod plugin;
mod progress;
mod query;
mod remedy;
mod replay;
mod report;
mod respond;
mod reuse;
mod runner;
mod runs;
mod schedule;
mod schema;
mod share;
mod show;
mod step;
mod study;
mod subject;
mod table;
mod tasks;
mod tell;
mod verify;

pub use inner::{carry, compile, supervise};
pub use share::{SHARE, share};

use self::manual::{Cli, Command, GraphFormat};
use crate::failure::{Failure, FailureKind};
use crate::plugin::when_compiling;
use crate::run::RunDir;
use crate::workspace::{Workspaces, find_run};
use clap::Parser;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What every command needs.
struct Session {
    workspaces: Option<PathBuf>,
    json: bool,
}

impl Session {
    fn workspaces(&self) -> Result<Workspaces, Failure> {
        let current = std::env::current_dir().map_err(|error| Failure::machine("the current directory", error))?;
        Workspaces::find(self.workspaces.as_deref(), &current)
    }

    fn run(&self, name: &str) -> Result<RunDir, Failure> {
        find_run(name, || self.workspaces())
    }
}

/// Runs the command line and returns the exit code.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let code = error.exit_code() as u8;
            return ExitCode::from(match error.print() {
                // A reader that has gone away, or a closed standard error, leaves nobody to tell.
                Err(cause) if !error.use_stderr() && cause.kind() != std::io::ErrorKind::BrokenPipe => {
                    report::report(&Failure::machine("standard output", cause))
                }
                _ => code,
            });
        }
    };
    if cli.quiet {
        output::be_quiet();
    }
    when_compiling(|plugin| output::tell(&format!("compiling `{plugin}`, once per machine")));
    let session = Session { workspaces: cli.workspaces, json: cli.json };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| dispatch(&session, cli.command)));
    ExitCode::from(match result {
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => report::report(&failure),
        Err(_) => report::report(
            &Failure::of(FailureKind::Bug, "matterstack stopped because of a bug of its own")
                .hint("nothing that was recorded is lost; please report the message above with the command you gave"),
        ),
    })
}

fn dispatch(session: &Session, command: Command) -> Result<u8, Failure> {
    match command {
        Command::New(arguments) => new::new(session, &arguments),
        Command::Init(arguments) => runs::init(session, &arguments),
        Command::Run(arguments) => once::run(session, arguments),
        Command::Fork(arguments) => fork::fork(session, &arguments),
        Command::Step(arguments) => step::step(session, &arguments),
        Command::Loop(arguments) => runs::drive_runs(session, &arguments),
        Command::Status { run, watch } => show::status(session, &run, watch),
        Command::List { workspace, label } => list::list(session, workspace.as_deref(), label.as_deref()),
        Command::Explain { of, reuse: true, .. } => {
            let (run, task) = subject::task(session, of)?;
            show::explain_reuse(session, &run, &task)
        }
        Command::Explain { of, reuse: false, choice } => {
            let (run, task) = subject::run_or_task(session, of)?;
            show::explain(session, &run, &choice.of(task))
        }
        Command::Tasks { of, choice } => {
            let (run, task) = subject::run_or_task(session, of)?;
            tasks::tasks(session, &run, &choice.of(task))
        }
        Command::Attempts { of } => {
            let (run, task) = subject::task(session, of)?;
            tasks::attempts(session, &run, &task)
        }
        Command::Logs { of, tail, follow, attempt } => {
            let (run, task) = subject::run_or_task(session, of)?;
            match task {
                Some(task) => logs::logs(session, &run, &task, logs::Which { follow, attempt, tail }),
                None => logs::of_plugins(session, &run, tail),
            }
        }
        Command::Graph { run, format, fold } => graph::graph(session, &run, format, fold),
        Command::Table(arguments) => table::table(session, &arguments),
        Command::Report(arguments) => page::report(session, arguments),
        Command::Compare { first, second } => compare::compare(session, &first, &second),
        Command::Path { of } => path::path(session, of),
        Command::Export(arguments) => export::export(session, arguments),
        Command::Du { runs } => keep::du(session, &runs),
        Command::Clean(arguments) => keep::clean(session, &arguments),
        Command::Rm(arguments) => keep::rm(session, &arguments),
        Command::Note { of } => keep::note(session, of),
        Command::Pause { run, reason } => control::pause(session, &run, reason.as_deref()),
        Command::Resume { run, sets, how } => control::resume(session, &run, &sets, &how),
        Command::Cancel { run, task, choice, how } => control::cancel(session, &run, &choice.of(task), &how),
        Command::Amend(arguments) => mend::amend(session, arguments),
        Command::Rerun(arguments) => {
            let (run, task) = subject::run_or_task(session, arguments.of.clone())?;
            mend::rerun(session, &run, task, &arguments)
        }
        Command::Settle(arguments) => control::settle(session, &arguments),
        Command::Reuse(command) => reuse::reuse(session, &command),
        Command::Adopt { run, reason } => control::adopt(session, &run, reason.as_deref()),
        Command::Respond(arguments) => {
            let (run, task) = subject::task(session, arguments.of.clone())?;
            respond::respond(session, (&run, &task), &arguments)
        }
        Command::Tell { of } => tell::tell(session, of),
        Command::Kit(command) => kit::kit(session, &command),
        Command::Evidence(arguments) => evidence::evidence(session, &arguments),
        Command::Backtest(arguments) => backtest::backtest(session, &arguments),
        Command::Replay { run } => replay::replay(session, &run),
        Command::Query { workspace, out } => query::query(session, &workspace, &out),
        Command::Backup { run, out } => backup::backup(session, &run, &out),
        Command::Config(command) => runs::config(session, &command),
        Command::Plugin(command) => plugin::plugin(session, &command),
        Command::Backend(command) => backend::backend(session, &command),
        Command::Doctor { run } => doctor::doctor(session, run.as_deref()),
        Command::Schedule { run } => schedule::schedule(session, run.as_deref()),
        Command::Completions { shell } => completions(shell),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<u8, Failure> {
    output::print(&share::completion(shell))?;
    Ok(0)
}

/// A path as a person would type it from here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let relative = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    relative.unwrap_or(path).display().to_string()
}
