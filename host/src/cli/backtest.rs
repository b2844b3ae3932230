//! `backtest`: campaigns against results that are known already.
use super::Session;
use super::output::{print, print_json, table, tell};
use super::runs::interrupts;
use crate::backtest::{self, Contestant, Course, Goal, Summary, Wanted};
use crate::failure::Failure;
use crate::ground::files::put;
use crate::run::RunDir;
use clap::Args;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// Tasks that a sentence names.
const NAMED: usize = 3;

#[derive(Debug, Args)]
pub(super) struct BacktestArgs {
    /// Runs whose results answer; the first has the configuration
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
    /// A campaign that decides: a .wasm file, a script, or builtin:NAME; also several [default: the run's own]
    #[arg(long = "plugin", value_name = "FILE")]
    plugins: Vec<PathBuf>,
    /// The program that builtin:ask-tell asks, as `scripts/ask.py:ask` of the workspace; also several
    #[arg(long = "ask", value_name = "FILE:FUNCTION")]
    asks: Vec<String>,
    /// How many virtual runs each has, with the seeds 1, 2, … [default: one, with the seed of the configuration]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seeds: Option<u64>,
    /// A table with further results: a column for each parameter, the others are the result; `duration_s` is how long
    /// it took
    #[arg(long, value_name = "FILE.csv")]
    oracle: Option<PathBuf>,
    /// A value that the configuration has otherwise, such as campaign.params.budget.trials=20
    #[arg(long = "set", value_name = "K=V")]
    sets: Vec<String>,
    /// Compare by this number of results, the smaller the better [default: the first objective]
    #[arg(long, value_name = "NAME", conflicts_with = "maximize")]
    minimize: Option<String>,
    /// Compare by this number of results, the larger the better
    #[arg(long, value_name = "NAME")]
    maximize: Option<String>,
    /// Write every result of every virtual run there, as CSV
    #[arg(long, value_name = "FILE.csv")]
    out: Option<PathBuf>,
    /// Write there how good the best so far was, in the middle and spread, after so many results and so much time, as
    /// CSV
    #[arg(long, value_name = "FILE.csv")]
    summary: Option<PathBuf>,
}

pub(super) fn backtest(session: &Session, arguments: &BacktestArgs) -> Result<u8, Failure> {
    let runs: Vec<RunDir> = arguments.runs.iter().map(|name| session.run(name)).collect::<Result<_, _>>()?;
    let plugins = arguments.plugins.iter().cloned().map(Contestant::Plugin);
    let mut contestants: Vec<Contestant> = plugins.chain(arguments.asks.iter().cloned().map(Contestant::Ask)).collect();
    if contestants.is_empty() {
        contestants.push(Contestant::Own);
    }
    let stop = interrupts()?;
    let least = arguments.minimize.clone().map(|name| (name, Goal::Least));
    let courses = backtest::backtest(&Wanted {
        runs: &runs,
        contestants: &contestants,
        seeds: arguments.seeds,
        table: arguments.oracle.as_deref(),
        sets: &arguments.sets,
        goal: least.or_else(|| arguments.maximize.clone().map(|name| (name, Goal::Most))),
        stop: stop.as_fd(),
    })?;
    let summaries = backtest::summaries(&courses);
    let files = [(&arguments.out, rows(&courses)), (&arguments.summary, points(&summaries))];
    for (out, text) in files.iter().filter_map(|(out, text)| Some((out.as_ref()?, text))) {
        std::path::absolute(out)
            .and_then(|out| put(&out, text.as_bytes(), true))
            .map_err(|error| Failure::machine(format!("`{}` cannot be written", out.display()), error))?;
    }
    if session.json {
        print_json(&courses)?;
    } else {
        let heading = ["PLUGIN", "SEED", "RESULTS", "BEST", "AFTER", "TIME", "UNANSWERED", "STATE"];
        print(&table(&heading, courses.iter().map(cells)))?;
        print(&together(&courses, &summaries))?;
    }
    say_unanswered(&courses);
    Ok(u8::from(say_held(&courses)))
}

fn cells(course: &Course) -> Vec<String> {
    let known = |value: Option<String>| value.unwrap_or_default();
    vec![
        course.plugin.clone(),
        course.seed.to_string(),
        course.trials.len().to_string(),
        known(course.best.map(|best| best.to_string())),
        known(course.best_after.map(|after| after.to_string())),
        format!("{:.1} s", course.time_s),
        course.unanswered.len().to_string(),
        format!("{} ({})", course.state, course.reason),
    ]
}

/// What the virtual runs of each campaign say together, after as many results as the longest had; nothing of one alone.
fn together(courses: &[Course], summaries: &[Summary]) -> String {
    let last = |summary: &&Summary| summary.by == "results";
    let most = summaries.iter().filter(last).map(|summary| summary.at).fold(0.0, f64::max);
    let at_the_end = summaries.iter().filter(last).filter(|summary| summary.at == most);
    let cells = at_the_end.map(|summary| {
        let Summary { lower_quartile, upper_quartile, least, most, .. } = summary;
        vec![
            summary.plugin.clone(),
            summary.runs.to_string(),
            summary.median.to_string(),
            format!("{lower_quartile} to {upper_quartile}"),
            format!("{least} to {most}"),
            ((summary.ahead * 100.0).round() / 100.0).to_string(),
        ]
    });
    if courses.len() < 2 || most == 0.0 {
        return String::new();
    }
    format!("\n{}", table(&["PLUGIN", "RUNS", "MEDIAN", "QUARTILES", "RANGE", "AHEAD"], cells))
}

/// A text as a cell of CSV.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

fn points(summaries: &[Summary]) -> String {
    let mut text = "plugin,by,at,runs,median,lower_quartile,upper_quartile,least,most,ahead\n".to_owned();
    for summary in summaries {
        let Summary { by, at, runs, median, lower_quartile, upper_quartile, least, most, ahead, .. } = summary;
        let plugin = quoted(&summary.plugin);
        text.push_str(&format!(
            "{plugin},{by},{at},{runs},{median},{lower_quartile},{upper_quartile},{least},{most},{ahead}\n"
        ));
    }
    text
}

/// Says which virtual runs came to no end, if any.
fn say_held(courses: &[Course]) -> bool {
    let held: Vec<&Course> = courses.iter().filter(|course| course.state == "held").collect();
    let Some(first) = held.first() else { return false };
    tell(&format!(
        "{} of {} virtual runs came to no end; that of `{}` with seed {}: {}",
        held.len(),
        courses.len(),
        first.plugin,
        first.seed,
        first.reason
    ));
    true
}

/// Every result of every virtual run, a row each.
fn rows(courses: &[Course]) -> String {
    let mut text = "plugin,seed,result,task,time_s,value,best\n".to_owned();
    for course in courses {
        for (place, trial) in course.trials.iter().enumerate() {
            let (plugin, task) = (quoted(&course.plugin), quoted(&trial.task));
            let numbers = format!("{},{},{}", trial.time_s, trial.value, trial.best);
            text.push_str(&format!("{plugin},{},{},{task},{numbers}\n", course.seed, place + 1));
        }
    }
    text
}

fn say_unanswered(courses: &[Course]) {
    let count: usize = courses.iter().map(|course| course.unanswered.len()).sum();
    let Some(first) = courses.iter().find(|course| !course.unanswered.is_empty()) else { return };
    let named: Vec<String> = first.unanswered.iter().take(NAMED).map(|task| format!("`{task}`")).collect();
    tell(&format!(
        "{count} task(s) are neither in the record nor in a table, and their campaigns were told that they failed; of seed {} \
         such as {}",
        first.seed,
        named.join(", ")
    ));
}
