//! Commands that make runs and move them.
use super::output::{one_line, print, print_json, tell};
use super::progress::Progress;
use super::report::{exit_code, exit_code_of_loop, report};
use super::schema::SchemaName;
use super::subject::LATEST;
use super::{Session, author, shown};
use crate::drive::{Ending, Patience, Seen, drive};
use crate::failure::{Failure, FailureKind};
use crate::model::act::Verb;
use crate::model::config::{Grants, OperatorConfig, RunConfig};
use crate::model::reuse::Ignorable;
use crate::model::rules::Approve;
use crate::run::{Lease, Run, RunDir};
use crate::tick::{Survey, Tick};
use crate::workspace::{self, Access, Aside, Init, Made, Resolved, open_run, open_to_rehearse, user_config};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// The longest time that an option takes: what comes later is beyond clocks.
const DURATION_MAX: Duration = Duration::from_secs(36_500 * 86_400);

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The workspace, by its path below the workspaces root
    workspace: String,
    /// A configuration in place of the workspace's config.json
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A value that overrides all others; JSON if it parses, else text; dots separate keys
    #[arg(long = "set", value_name = "K=V")]
    sets: Vec<String>,
    /// The id of the run [default: made from the time]
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// Whose results its tasks take in place of running: a run of the workspace, `workspace` for all of them, or `none`
    #[arg(long, value_name = "RUN|workspace|none")]
    reuse: Option<String>,
    /// In what earlier results may differ and be taken all the same; also several
    #[arg(long, value_name = "PART", value_parser = Ignorable::ALL.map(|(word, _)| word))]
    reuse_ignore: Vec<String>,
    /// What to call the run beside its id
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct LoopArgs {
    /// The run [default: latest]
    run: Option<String>,
    /// Every run that has not ended
    #[arg(long, conflicts_with = "run")]
    all: bool,
    /// Wait for people, instruments and kits too
    #[arg(long)]
    wait: bool,
    /// Stop after this time, such as 90s, 30m or 12h
    #[arg(long, value_name = "D", value_parser = duration)]
    timeout: Option<Duration>,
    /// Say how long each part of its ticks took
    #[arg(long)]
    timings: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print a JSON Schema
    ///
    /// It is JSON with and without --json.
    Schema {
        /// Of what
        #[arg(value_enum, default_value_t = SchemaName::Config)]
        of: SchemaName,
    },
    /// Check a workspace's configuration and print it with every default
    ///
    /// config.json may hold comments (`//`, `/* */`) and trailing commas. It is UTF-8 without a byte order mark. A key
    /// that is not known or stands twice is an error that names it and its line, and so is a number that a reader of
    /// JSON would change (an integer beyond 2^53, anything beyond the doubles) and one that is none (NaN). What `--set`
    /// and config.json say goes before ~/.config/matterstack/config.json.
    ///
    /// With --json: the configuration, as `matterstack config schema` describes it.
    Check {
        /// The workspace
        workspace: String,
        /// A configuration in place of the workspace's config.json
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// A value that overrides all others
        #[arg(long = "set", value_name = "K=V")]
        sets: Vec<String>,
    },
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 =
        text[..text.len() - unit.len()].parse().map_err(|_| "write it as 90s, 30m, 12h or 3d".to_owned())?;
    let seconds = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("the unit is ms, s, m, h or d".to_owned()),
    };
    let duration = Duration::try_from_secs_f64(number * seconds).unwrap_or(Duration::MAX);
    if duration > DURATION_MAX { Err("at most 36500d, which is a hundred years".to_owned()) } else { Ok(duration) }
}

impl InitArgs {
    /// Of a workspace as it is, but for these values.
    pub(super) fn of(workspace: String, sets: Vec<String>, label: Option<String>) -> Self {
        Self { workspace, config: None, sets, run_id: None, reuse: None, reuse_ignore: Vec::new(), label }
    }
}

pub(super) fn init(session: &Session, arguments: &InitArgs) -> Result<u8, Failure> {
    let run = init_run(session, arguments)?.dir;
    if session.json {
        print_json(&json!({"run_id": run.id(), "path": run.root()}))?;
    } else {
        print(&format!("{}\n", run.id()))?;
    }
    Ok(0)
}

/// Makes a run, and says what a person must know of it.
pub(super) fn init_run(session: &Session, arguments: &InitArgs) -> Result<Made, Failure> {
    let workspaces = session.workspaces()?;
    let user = user_config();
    let directory = workspaces.workspace(&arguments.workspace)?;
    author::build_if_older(&directory, arguments.config.as_deref(), &arguments.sets)?;
    let made = workspace::init(&Init {
        workspaces: &workspaces,
        slug: &arguments.workspace,
        config: arguments.config.as_deref(),
        user_config: user.as_deref(),
        sets: &arguments.sets,
        run_id: arguments.run_id.as_deref(),
        reuse: arguments.reuse.as_deref(),
        reuse_ignore: ignored(&arguments.reuse_ignore),
        label: arguments.label.as_deref(),
        act: workspace::act(Verb::Init, init_act(arguments), None),
    })?;
    made.implied.iter().for_each(|text| tell(text));
    tell(&reach(&made.config));
    made.reusable.iter().for_each(|survey| tell(&would_reuse(survey)));
    Ok(made)
}

/// The parts of keys that these words name.
fn ignored(words: &[String]) -> Vec<Ignorable> {
    let named = |(word, _): &&(&str, Ignorable)| words.iter().any(|one| one == word);
    Ignorable::ALL.iter().filter(named).map(|(_, part)| *part).collect()
}

/// The arguments of `init`, for the record.
fn init_act(arguments: &InitArgs) -> Value {
    let mut recorded = json!({"workspace": arguments.workspace, "set": arguments.sets});
    for (key, text) in [("reuse", &arguments.reuse), ("label", &arguments.label)] {
        if let Some(text) = text {
            recorded[key] = json!(text);
        }
    }
    if !arguments.reuse_ignore.is_empty() {
        recorded["reuse_ignore"] = json!(arguments.reuse_ignore);
    }
    recorded
}

/// What a new run would take over, for a person.
fn would_reuse(survey: &Survey) -> String {
    let Survey { ready, more, found, passed } = survey;
    let first = if *more { "first " } else { "" };
    let passed: String = passed.iter().map(|why| format!("\n  passed over: {why}")).collect();
    format!(
        "reuse: earlier runs have results for {found} of the {first}{ready} task(s) that can start now; those of what depends on them are \
         looked for when it is ready{passed}"
    )
}

/// What the campaign can reach through its operators, said before anything runs.
fn reach(config: &RunConfig) -> String {
    if config.operators.is_empty() {
        return "the campaign can reach nothing: no operator is configured".to_owned();
    }
    let lines = config.operators.iter().map(|(key, operator)| {
        let Grants { compute, work, clock, random, env, exchange } = &operator.grants;
        let mut grants: Vec<String> =
            compute.iter().map(|backend| format!("any command on backend `{backend}`")).collect();
        grants.extend(work.then(|| "its attempt directories".to_owned()));
        grants.extend(exchange.as_ref().map(|path| format!("everything in `{}`", path.display())));
        grants.extend(clock.then(|| "the clock".to_owned()));
        grants.extend(random.then(|| "random numbers".to_owned()));
        grants.extend((!env.is_empty()).then(|| format!("environment {}", env.join(", "))));
        let bounds: String = bounds(operator).iter().map(|bound| format!("; {bound}")).collect();
        format!("  operator `{key}` ({}): {}{bounds}", operator.plugin, grants.join(", "))
    });
    let lines: Vec<String> = lines.collect();
    format!("the campaign can reach:\n{}", lines.join("\n"))
}

/// What holds for an operator whatever the campaign plans, for a person.
fn bounds(operator: &OperatorConfig) -> Vec<String> {
    let mut bounds = Vec::new();
    bounds.extend(operator.accepts.as_ref().map(|_| "only requests that `accepts` takes".to_owned()));
    if let Some(budget) = &operator.budget {
        bounds.extend(budget.attempts.map(|attempts| format!("at most {attempts} attempts")));
        bounds.extend(budget.core_h.map(|hours| format!("at most {hours} core hours")));
    }
    if let Some(Approve { by, over }) = &operator.approve {
        let by: Vec<String> = by.iter().map(ToString::to_string).collect();
        let what = match over {
            Some(over) => format!("tasks of more than {} core hours", over.core_h),
            None => "every task".to_owned(),
        };
        bounds.push(format!("{what} with the word of {} alone", by.join(" or ")));
    }
    bounds
}

/// The run that a command moves; which one `latest` leads to is said before anything is done.
pub(super) fn moved(session: &Session, name: &str) -> Result<RunDir, Failure> {
    let dir = session.run(name)?;
    if name == LATEST {
        tell(&format!("run `{}` is the latest", dir.address()));
    }
    Ok(dir)
}

pub(super) fn print_tick(session: &Session, tick: &Tick, timings: bool) -> Result<(), Failure> {
    if let Some(warning) = &tick.warning {
        tell(&format!("warning: {warning}"));
    }
    if session.json && timings {
        let told = |error| panic!("bug: a tick has no JSON: {error}");
        let mut document = serde_json::to_value(tick).unwrap_or_else(told);
        document["timings"] = serde_json::to_value(tick.timings).unwrap_or_else(told);
        return print_json(&document);
    }
    if session.json {
        return print_json(tick);
    }
    if timings {
        let parts = tick.timings.parts().map(|(part, took)| format!("{part} {:.3}", took.as_secs_f64() * 1000.0));
        tell(&format!("timings in ms: {}", parts.join(", ")));
    }
    print(&tick_line(tick))
}

fn tick_line(tick: &Tick) -> String {
    let reason = tick.reason.as_ref().map(|reason| format!(" ({})", one_line(reason))).unwrap_or_default();
    format!(
        "{}: {}{reason}, iteration {}; polled {}, submitted {}, finished {}, planned {}\n",
        tick.run_id, tick.state, tick.iteration, tick.polled, tick.submitted, tick.finished, tick.planned
    )
}

pub(super) fn drive_runs(session: &Session, arguments: &LoopArgs) -> Result<u8, Failure> {
    let interrupt = interrupts()?;
    let deadline = arguments.timeout.map(|timeout| Instant::now() + timeout);
    let patience = Patience { wait: arguments.wait, deadline };
    if !arguments.all {
        let dir = moved(session, arguments.run.as_deref().unwrap_or(LATEST))?;
        return drive_one(
            session,
            &dir,
            patience,
            interrupt.as_fd(),
            Shown { alone: true, timings: arguments.timings, is_data: true },
        );
    }
    let runs = going_on(session)?;
    let codes = std::thread::scope(|scope| {
        let drive = |dir: &RunDir| {
            drive_one(
                session,
                dir,
                patience,
                interrupt.as_fd(),
                Shown { alone: false, timings: arguments.timings, is_data: true },
            )
            .unwrap_or_else(|failure| report(&failure))
        };
        let start = |dir| std::thread::Builder::new().spawn_scoped(scope, move || drive(dir));
        let threads: Vec<_> = runs.iter().map(|dir| (dir, start(dir))).collect();
        let joined = threads.into_iter().map(|(dir, thread)| match thread {
            Ok(thread) => thread.join().unwrap_or(exit_code(FailureKind::Bug)),
            Err(error) => {
                let failure = Failure::machine(format!("run `{}` cannot be driven", dir.address()), error)
                    .hint("no further thread can be had (`ulimit -u`): drive fewer runs at once");
                report(&failure)
            }
        });
        joined.collect::<Vec<u8>>()
    });
    Ok(codes.into_iter().max().unwrap_or(0))
}

/// Every run that has not ended; that there is none is said.
pub(super) fn going_on(session: &Session) -> Result<Vec<RunDir>, Failure> {
    let runs: Vec<RunDir> = session.workspaces()?.runs().into_iter().map(|(_, run)| run).filter(goes_on).collect();
    if runs.is_empty() {
        tell("every run has ended");
    }
    Ok(runs)
}

fn goes_on(dir: &RunDir) -> bool {
    // A run that cannot be read is not passed over: its loop says why.
    workspace::open_for_reading(dir).and_then(|(store, _)| Ok(store.run()?)).map_or(true, |row| !row.state.ended())
}

/// Ticks a run that was just made until it ends.
pub(super) fn drive_made(
    session: &Session,
    dir: &RunDir,
    wait: bool,
    timeout: Option<Duration>,
) -> Result<u8, Failure> {
    let patience = Patience { wait, deadline: timeout.map(|timeout| Instant::now() + timeout) };
    tell(&format!("run `{}`", dir.address()));
    let shown = Shown { alone: true, timings: false, is_data: session.json };
    drive_one(session, dir, patience, interrupts()?.as_fd(), shown)
}

/// A stream that becomes readable when a person or the system asks this process to stop.
pub(super) fn interrupts() -> Result<UnixStream, Failure> {
    let work = || {
        let (read, write) = UnixStream::pair()?;
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // The first asks, and is answered between two ticks; a second does not wait for that.
            let code = i32::from(exit_code(FailureKind::Interrupted));
            signal_hook::flag::register_conditional_shutdown(signal, code, asked.clone())?;
            signal_hook::flag::register(signal, asked.clone())?;
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(read)
    };
    work().map_err(|error: std::io::Error| Failure::machine("listening for signals", error))
}

/// What a person sees of a `loop`.
#[derive(Clone, Copy)]
struct Shown {
    /// Whether it is the only one of this process.
    alone: bool,
    /// Whether it says how long the parts of its ticks took.
    timings: bool,
    /// Whether how it ended is data, and not beside data that follows.
    is_data: bool,
}

fn drive_one(
    session: &Session,
    dir: &RunDir,
    patience: Patience,
    interrupt: BorrowedFd<'_>,
    shown: Shown,
) -> Result<u8, Failure> {
    let mut progress = Progress::new(&dir.id(), shown.alone);
    let mut total: Option<Tick> = None;
    let ending = drive(dir, patience, interrupt, &mut |seen| match seen {
        Seen::Tick(run, tick) => {
            let before = total.take().unwrap_or_default();
            total = Some(Tick {
                polled: before.polled + tick.polled,
                submitted: before.submitted + tick.submitted,
                finished: before.finished + tick.finished,
                planned: before.planned + tick.planned,
                timings: before.timings.plus(tick.timings),
                warning: before.warning.or_else(|| tick.warning.clone()),
                ..tick.clone()
            });
            progress.show(run, tick);
        }
        Seen::Trouble(failure) => tell(&format!("{}: waits, and goes on by itself: {failure}", dir.address())),
        Seen::Without(failure) => tell(&format!("{}: the rest goes on: {failure}", dir.address())),
    });
    progress.finish();
    let ending = ending?;
    // a disk that fails from the beginning lets nothing be done
    match &total {
        Some(total) if shown.is_data => print_tick(session, total, shown.timings)?,
        Some(total) => tell(tick_line(total).trim_end()),
        None => {}
    }
    let run = dir.address();
    progress.outcome().iter().for_each(|outcome| tell(&format!("{run}: {outcome}")));
    if let Some(failed) = progress.failed().filter(|_| ending == Ending::Completed) {
        let list = format!("matterstack tasks {run} --state failed");
        tell(&format!("{run}: completed, although {failed} task(s) failed: `{list}` shows them"));
    }
    match ending {
        Ending::Completed | Ending::Failed => {}
        Ending::Waiting => {
            tell(&format!("hint: `matterstack explain {run}` says what it waits for; `loop --wait` waits too"));
        }
        Ending::TimedOut => {
            tell("the time is over; the run goes on with the next `loop` or `step`, and its jobs go on now");
        }
        Ending::Interrupted => {
            tell("interrupted; the run goes on with the next `loop` or `step`, and its jobs go on now");
        }
    }
    Ok(exit_code_of_loop(ending))
}

pub(super) fn config(session: &Session, command: &ConfigCommand) -> Result<u8, Failure> {
    match command {
        ConfigCommand::Schema { of } => print_json(&of.schema())?,
        ConfigCommand::Check { workspace, config, sets } => {
            let directory = session.workspaces()?.workspace(workspace)?;
            let file = config.clone().unwrap_or_else(|| directory.join("config.json"));
            let Resolved { config, implied } = workspace::resolve(&file, user_config().as_deref(), sets)?;
            workspace::check_files(&config, &directory)?;
            implied.iter().for_each(|text| tell(text));
            if session.json {
                print_json(&config)?;
            } else {
                print(&format!("{} is valid\n", shown(&file)))?;
            }
        }
    }
    Ok(0)
}

/// A run that an act is carried out on, or tried out.
pub(super) struct InHand {
    pub(super) run: Run,
    /// The right to change it, or what goes with a try.
    _kept: Result<Lease, Aside>,
}

pub(super) fn hold(session: &Session, name: &str, access: Access) -> Result<InHand, Failure> {
    let dir = session.run(name)?;
    let held = open_run(&dir, dir.patience(), access)?;
    Ok(InHand { run: held.run, _kept: Ok(held.lease) })
}

/// Takes a run in hand to change it, or with `dry_run` to say what a change would come to.
pub(super) fn take(session: &Session, name: &str, dry_run: bool) -> Result<InHand, Failure> {
    if !dry_run {
        return hold(session, name, Access::Own);
    }
    let (run, aside) = open_to_rehearse(&session.run(name)?)?;
    Ok(InHand { run, _kept: Err(aside) })
}
