//! `cargo xtask bench`: the budgets of the design, measured beside their peers in one run.
//!
//! Each row is measured with its tasks given inline and by a file, on a file system in memory and on the disk. CPU
//! seconds count, because wall time depends on what else the machine does; the latency of a durable write is printed
//! beside the wall times. Nothing here fails because a number is missed: a benchmark shows, it does not judge. A row
//! that cannot be measured says so, and the others are measured all the same.
mod ask_tell;
mod authors;
mod cluster;
mod each_result;
mod evidence;
mod ground;
mod measure;
mod mend;
mod million;
mod peers;
mod pool;
mod record;
mod results;
mod reuse;
mod rows;
mod table;
mod what_if;

pub(crate) use measure::{MEASURE, measure};

use crate::project::Project;
use anyhow::Result;
use ground::{Given, Ground, Place};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only the rows whose name contains this text: independent, chain, idle, per-task, after,
    /// cold-start, calls, plan, record, mend, reuse, each-result, results, evidence, pool, ask-tell, botorch, what-if,
    /// authors, million, slurm, ssh
    row: Option<String>,
    /// Only on the file system in memory, or only on the disk
    #[arg(long, value_enum)]
    on: Option<Place>,
    /// Only with the tasks inline in config.json, or only by a file
    #[arg(long, value_enum)]
    tasks: Option<Given>,
}

/// A row: what it is called, and how it is measured.
struct Row {
    name: &'static str,
    measured: Measured,
}

/// How often a row is measured.
enum Measured {
    /// For each way to give tasks, in each place.
    Everywhere(fn(&Ground, Given) -> Result<()>),
    /// In each place: it has no tasks, or too many to give them inline.
    InEachPlace(fn(&Ground) -> Result<()>),
    /// Once, on the disk: what it costs is another program's time.
    OnDisk(fn(&Ground) -> Result<()>),
}

const ROWS: [Row; 22] = [
    Row { name: "independent", measured: Measured::Everywhere(rows::independent) },
    Row { name: "chain", measured: Measured::Everywhere(rows::chain) },
    Row { name: "idle", measured: Measured::Everywhere(rows::idle) },
    Row { name: "per-task", measured: Measured::Everywhere(rows::per_task) },
    Row { name: "after", measured: Measured::InEachPlace(rows::after) },
    Row { name: "cold-start", measured: Measured::InEachPlace(rows::cold_start) },
    Row { name: "calls", measured: Measured::InEachPlace(rows::calls) },
    Row { name: "plan", measured: Measured::Everywhere(rows::plan) },
    Row { name: "record", measured: Measured::InEachPlace(record::record) },
    Row { name: "mend", measured: Measured::InEachPlace(mend::mend) },
    Row { name: "reuse", measured: Measured::InEachPlace(reuse::reuse) },
    Row { name: "each-result", measured: Measured::InEachPlace(each_result::each_result) },
    Row { name: "results", measured: Measured::InEachPlace(results::results) },
    Row { name: "evidence", measured: Measured::InEachPlace(evidence::evidence) },
    Row { name: "pool", measured: Measured::InEachPlace(pool::pool) },
    Row { name: "ask-tell", measured: Measured::InEachPlace(ask_tell::ask_tell) },
    Row { name: "botorch", measured: Measured::OnDisk(ask_tell::botorch) },
    Row { name: "what-if", measured: Measured::InEachPlace(what_if::what_if) },
    Row { name: "authors", measured: Measured::InEachPlace(authors::authors) },
    Row { name: "million", measured: Measured::InEachPlace(million::million) },
    Row { name: "slurm", measured: Measured::OnDisk(cluster::slurm) },
    Row { name: "ssh", measured: Measured::OnDisk(cluster::ssh) },
];

/// Measures the rows that were asked for and prints them; false if one of them could not be measured.
pub(crate) fn bench(project: &Project, arguments: &Arguments) -> Result<bool> {
    let places = [Place::Memory, Place::Disk].into_iter().filter(|place| arguments.on.is_none_or(|on| on == *place));
    let grounds = places.map(|place| Ground::new(project, place)).collect::<Result<Vec<Ground>>>()?;
    let mut all_well = true;
    for ground in &grounds {
        ground.machine()?;
    }
    table::head();
    for row in ROWS.iter().filter(|row| arguments.row.as_ref().is_none_or(|asked| row.name.contains(asked.as_str()))) {
        for ground in &grounds {
            let mut attempt = |given: Option<Given>, done: Result<()>| {
                if let Err(error) = done {
                    table::not_measured(row.name, given, ground.place, &error);
                    all_well = false;
                }
            };
            match row.measured {
                Measured::Everywhere(measure) => {
                    for given in [Given::Inline, Given::File] {
                        if arguments.tasks.is_none_or(|tasks| tasks == given) {
                            attempt(Some(given), measure(ground, given));
                        }
                    }
                }
                Measured::InEachPlace(measure) => attempt(None, measure(ground)),
                Measured::OnDisk(measure) if ground.place == Place::Disk => attempt(None, measure(ground)),
                Measured::OnDisk(_) => {}
            }
        }
    }
    Ok(all_well)
}
