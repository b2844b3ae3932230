//! What a person is told of the pool.
use super::ledger::{Holder, Ledger, Record};
use super::living::lives;
use super::place;
use super::room::Needs;
use super::sources::Sources;
use crate::ground::machine;
use std::io;
use std::path::PathBuf;

/// How many runs a sentence names.
const NAMED: usize = 3;

/// What a run holds of the pool, or waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its supervisor.
    pub pid: i32,
    /// Whose it is.
    pub user: u32,
    /// Its directory.
    pub run: String,
    /// How much, in words.
    pub what: String,
    /// Whether it waits for it.
    pub waits: bool,
}

/// The pool of this machine, as a person is to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolLook {
    /// Its size, in words; or why the settings that say it cannot be used.
    pub size: Result<String, String>,
    /// Where its ledger lies; or why there is none, so that each run keeps to its own numbers. Nothing where a person
    /// wants none.
    pub place: Option<Result<PathBuf, String>>,
    /// Who holds something of it, and who waits.
    pub holders: Vec<Held>,
}

/// Looks at the pool of this machine.
pub fn look_at_pool() -> PoolLook {
    let (config, room) = match Sources::read().said {
        Ok(said) => said,
        Err(why) => return PoolLook { size: Err(why), place: None, holders: Vec::new() },
    };
    let mut words = vec![if room.cores == 1 { "1 core".to_owned() } else { format!("{} cores", room.cores) }];
    words.extend(room.memory_mb.map(|memory| format!("{memory} MiB of memory")));
    words.extend(config.gpus.as_ref().map(|gpus| format!("GPUs {}", gpus.join(", "))));
    words.extend(config.counts.iter().map(|(name, count)| format!("{count} of `{name}`")));
    let size = Ok(words.join(", "));
    if !config.pool {
        return PoolLook { size, place: None, holders: Vec::new() };
    }
    let found = match place::find(&config) {
        Ok(found) => found,
        Err(why) => return PoolLook { size, place: Some(Err(why)), holders: Vec::new() },
    };
    let (place, holders) = match Ledger::look(&found.directory) {
        Ok(ledger) => (Ok(found.directory), holders(&ledger, found.shared)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Ok(found.directory), Vec::new()),
        Err(error) => (Err(format!("`{}`: {error}", found.directory.display())), Vec::new()),
    };
    PoolLook { size, place: Some(place), holders }
}

fn holders(ledger: &Ledger, shared: bool) -> Vec<Held> {
    let boot = machine::boot_id().unwrap_or_default();
    let own = Record { boot, ..Record::new(Holder::default(), Needs::default()) };
    let named: Vec<(i32, i32)> =
        ledger.records().filter_map(|(_, record)| Some((record.supervisor.pid, record.job.as_ref()?.pid))).collect();
    let living = ledger.records().map(|(_, record)| record).filter(|record| lives(record, &own, shared, &named));
    let mut holders: Vec<(Held, Needs)> = Vec::new();
    for record in living {
        let waits = record.ticket.is_some();
        let same = holders.iter_mut().find(|(held, _)| held.pid == record.supervisor.pid && held.waits == waits);
        match same {
            Some((_, needs)) => needs.add(&record.needs),
            None => {
                let (pid, user, run) = (record.supervisor.pid, record.user, record.run.clone());
                holders.push((Held { pid, user, run, what: String::new(), waits }, record.needs.clone()));
            }
        }
    }
    holders.into_iter().map(|(held, needs)| Held { what: needs.to_string(), ..held }).collect()
}

/// Why a job waits, and for whom: a sentence of `explain`.
pub(super) fn waits_for(needs: &Needs, ledger: &Ledger, own: &Holder, kept: bool) -> String {
    let mut others: Vec<(&str, Needs, bool)> = Vec::new();
    for (_, record) in ledger.records().filter(|(_, record)| record.supervisor != *own) {
        let waits = record.ticket.is_some();
        match others.iter_mut().find(|(run, _, waiting)| *run == record.run && *waiting == waits) {
            Some((_, needs, _)) => needs.add(&record.needs),
            None => others.push((&record.run, record.needs.clone(), waits)),
        }
    }
    let told = |(run, needs, _): &(&str, Needs, bool)| format!("run `{run}` holds {needs}");
    let mut words: Vec<String> = others.iter().filter(|(.., waits)| !waits).take(NAMED).map(told).collect();
    if kept {
        let first = others.iter().find(|(.., waits)| *waits);
        words.extend(first.map(|(run, needs, _)| format!("{needs} are kept for run `{run}`, which waits longer")));
    }
    if words.is_empty() {
        return format!("waits for {needs} of the machine, which other jobs of this run hold");
    }
    format!("waits for {needs} of the machine: {}", words.join(", "))
}
