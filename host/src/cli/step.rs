//! `step`: one tick, of one run or of all that go on.
use super::Session;
use super::output::{lines, one_line, print, print_json, tell};
use super::report::{exit_code_of_step, report};
use super::runs::{going_on, moved, print_tick};
use super::subject::LATEST;
use crate::drive::note_tick;
use crate::failure::{Failure, refuse_bundle};
use crate::run::RunDir;
use crate::tick::{step_run, would_start};
use crate::workspace::{self, Access, moment, now_ms, open_run, stopwatch};
use clap::Args;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(super) struct StepArgs {
    /// The run [default: latest]
    run: Option<String>,
    /// Every run that has not ended, one after the other
    #[arg(long, conflicts_with = "run")]
    all: bool,
    /// Print what would be submitted, job scripts included, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Say how long each part of the tick took
    #[arg(long, conflicts_with = "dry_run")]
    timings: bool,
}

pub(super) fn step(session: &Session, arguments: &StepArgs) -> Result<u8, Failure> {
    let StepArgs { run, all, dry_run: dry, timings } = arguments;
    let one = |dir: &RunDir| if *dry { dry_run(session, dir) } else { step_one(session, dir, *timings) };
    if !all {
        let name = run.as_deref().unwrap_or(LATEST);
        let dir = if *dry { session.run(name)? } else { moved(session, name)? };
        return refuse_bundle(&dir).and_then(|()| one(&dir));
    }
    let codes = going_on(session)?.into_iter().map(|dir| {
        if *dry && !session.json {
            tell(&format!("run `{}`:", dir.address()));
        }
        one(&dir).unwrap_or_else(|failure| report(&failure))
    });
    Ok(codes.max().unwrap_or(0))
}

fn step_one(session: &Session, dir: &RunDir, timings: bool) -> Result<u8, Failure> {
    let opened = stopwatch();
    let mut held = open_run(dir, Duration::ZERO, Access::Own)?;
    let (begun, at_ms) = (Instant::now(), now_ms());
    let open = opened();
    let mut tick = step_run(&mut held.run, moment(at_ms, &stopwatch()))?;
    tick.timings.open = open;
    note_tick(&held.lease, at_ms, begun)?;
    print_tick(session, &tick, timings)?;
    match (tick.troubles.first(), &tick.unloaded) {
        // a run that has ended needs neither
        _ if tick.state.ended() => Ok(exit_code_of_step(tick.state)),
        (Some(trouble), _) => Err(trouble.into()),
        (None, Some(unloaded)) => Err(Failure::unloaded(dir, unloaded)),
        (None, None) => Ok(exit_code_of_step(tick.state)),
    }
}

fn dry_run(session: &Session, dir: &RunDir) -> Result<u8, Failure> {
    let run = workspace::open_to_look(dir)?;
    let jobs = would_start(&run, now_ms())?;
    if session.json {
        return print_json(&jobs).map(|()| 0);
    }
    if jobs.is_empty() {
        tell("a tick would submit nothing now");
    }
    for job in &jobs {
        let notes: String = job.notes.iter().map(|note| format!("# {}\n", one_line(note))).collect();
        let heading = one_line(&format!("task `{}` through operator `{}`", job.task, job.operator));
        print(&format!("# {heading}\n{notes}{}\n", lines(&job.script)))?;
    }
    Ok(0)
}
