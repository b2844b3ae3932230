//! Who may take what of the machine: plain arithmetic over what is held and what is waited for.
use super::ledger::{Record, Ticket};
use crate::model::pool::MachineConfig;
use crate::model::workflow::Resources;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many jobs may pass one that waits, before nothing may take what it waits for.
const PASSES_MAX: u32 = 50;
/// How long one that waits may be passed, in milliseconds.
const PASSED_MS_MAX: u64 = 60_000;
/// How many jobs are looked at behind one that waits.
pub(in crate::backend::local) const LOOKED_AT: usize = 256;
/// How long room is kept for one that could have it and does not take it, in milliseconds: its supervisor may have been
/// stopped.
const CALLED_MS_MAX: u64 = 5_000;

/// Whether nothing may pass one any more that so many have passed, and that has waited so long.
pub(in crate::backend::local) fn is_overdue(passed: u32, waited_ms: u64) -> bool {
    passed >= PASSES_MAX || waited_ms >= PASSED_MS_MAX
}

/// What a job takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::backend::local) struct Needs {
    #[serde(default)]
    pub(in crate::backend::local) cores: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(in crate::backend::local) memory_mb: u64,
    #[serde(default, skip_serializing_if = "is_none_of")]
    pub(in crate::backend::local) gpus: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(in crate::backend::local) counts: BTreeMap<String, u32>,
}

impl Needs {
    /// What a job takes that says nothing.
    pub(in crate::backend::local) fn one_core() -> Self {
        Self { cores: 1, ..Self::default() }
    }

    /// What a task asks for, where that is more than a core.
    pub(in crate::backend::local) fn of(resources: &Resources) -> Option<Self> {
        let Resources { cores, memory_mb, gpus, counts, .. } = resources;
        let counts = counts.iter().filter(|(_, count)| **count > 0);
        let needs = Self {
            cores: cores.unwrap_or(1).max(1),
            memory_mb: memory_mb.unwrap_or(0),
            gpus: gpus.unwrap_or(0),
            counts: counts.map(|(name, count)| (name.clone(), *count)).collect(),
        };
        (needs != Self::one_core()).then_some(needs)
    }

    /// Adds what another job takes.
    pub(super) fn add(&mut self, other: &Self) {
        self.cores = self.cores.saturating_add(other.cores);
        self.memory_mb = self.memory_mb.saturating_add(other.memory_mb);
        self.gpus = self.gpus.saturating_add(other.gpus);
        for (name, count) in &other.counts {
            let sum = self.counts.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_none_of(number: &u32) -> bool {
    *number == 0
}

impl std::fmt::Display for Needs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |count: u64, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
        let mut words = vec![of(self.cores.into(), "core", "cores")];
        words.extend((self.memory_mb > 0).then(|| format!("{} MiB of memory", self.memory_mb)));
        words.extend((self.gpus > 0).then(|| of(self.gpus.into(), "GPU", "GPUs")));
        words.extend(self.counts.iter().map(|(name, count)| format!("{count} of `{name}`")));
        f.write_str(&words.join(", "))
    }
}

/// What there is, or what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend::local) struct Room {
    pub(in crate::backend::local) cores: u32,
    /// Nothing where it is not known: then it is not counted.
    pub(in crate::backend::local) memory_mb: Option<u64>,
    /// Nothing where nobody names any: then what a backend names is there.
    pub(in crate::backend::local) gpus: Option<Vec<String>>,
    /// Those that are taken, where nobody names any.
    taken: Vec<String>,
    pub(in crate::backend::local) counts: BTreeMap<String, u32>,
}

impl Room {
    /// The pool of a machine, with what is there where nothing is said.
    pub(in crate::backend::local) fn of(machine: &MachineConfig, cores: u32, memory_mb: Option<u64>) -> Self {
        Self {
            cores: machine.cores.unwrap_or(cores),
            memory_mb: machine.memory_mb.or(memory_mb),
            gpus: machine.gpus.clone(),
            taken: Vec::new(),
            counts: machine.counts.clone(),
        }
    }

    /// What the jobs of one run may take, whatever there is.
    pub(in crate::backend::local) fn share(cores: u32, memory_mb: Option<u64>, gpus: Option<Vec<String>>) -> Self {
        Self { cores, memory_mb, gpus, taken: Vec::new(), counts: BTreeMap::new() }
    }

    /// Takes away what a job has, as far as it is there.
    pub(in crate::backend::local) fn take(&mut self, needs: &Needs, gpus: &[String]) {
        self.cores = self.cores.saturating_sub(needs.cores);
        self.memory_mb = self.memory_mb.map(|memory| memory.saturating_sub(needs.memory_mb));
        match &mut self.gpus {
            Some(there) => there.retain(|gpu| !gpus.contains(gpu)),
            None => self.taken.extend_from_slice(gpus),
        }
        for (name, count) in &needs.counts {
            if let Some(left) = self.counts.get_mut(name) {
                *left = left.saturating_sub(*count);
            }
        }
    }

    /// Which of these graphics processors are left; nothing: any.
    pub(in crate::backend::local) fn gpus_of(&self, own: Option<&[String]>) -> Vec<String> {
        let free = |gpu: &&String| match &self.gpus {
            Some(there) => there.contains(gpu),
            None => !self.taken.contains(gpu),
        };
        own.or(self.gpus.as_deref()).unwrap_or_default().iter().filter(free).cloned().collect()
    }

    /// What of a job's needs is not there, as a part of a sentence; nothing if there is room for it.
    pub(in crate::backend::local) fn lacks(&self, needs: &Needs, own: Option<&[String]>) -> Option<String> {
        let (cores, gpus) = (self.cores, self.gpus_of(own).len() as u32);
        if needs.cores > cores {
            return Some(format!("{} cores, and {cores}", needs.cores));
        }
        if let Some(memory) = self.memory_mb.filter(|memory| needs.memory_mb > *memory) {
            return Some(format!("{} MiB of memory, and {memory}", needs.memory_mb));
        }
        if needs.gpus > gpus {
            return Some(format!("{} GPUs, and {gpus}", needs.gpus));
        }
        needs.counts.iter().find_map(|(name, count)| {
            let left = self.counts.get(name).copied().unwrap_or(0);
            (*count > left).then(|| format!("{count} of `{name}`, and {left}"))
        })
    }

    /// The same of what one run may take, which has no counts, and graphics processors only where its backend names
    /// any.
    pub(in crate::backend::local) fn lacks_of_share(&self, needs: &Needs) -> Option<String> {
        let gpus = if self.gpus.is_some() { needs.gpus } else { 0 };
        self.lacks(&Needs { gpus, counts: BTreeMap::new(), ..needs.clone() }, None)
    }

    /// The graphics processors for a job, if there is room for it.
    fn fits(&self, needs: &Needs, own: Option<&[String]>) -> Option<Vec<String>> {
        self.lacks(needs, own).is_none().then(|| self.some_gpus(needs, own))
    }

    /// As many graphics processors as a job wants, as far as they are left.
    fn some_gpus(&self, needs: &Needs, own: Option<&[String]>) -> Vec<String> {
        self.gpus_of(own).into_iter().take(needs.gpus as usize).collect()
    }
}

/// What is decided over a job, and of the tickets that were looked at: by their numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// Its graphics processors, if it may start.
    pub(super) gpus: Option<Vec<String>>,
    /// Tickets that there is room for, whose supervisors are to take it.
    pub(super) called: Vec<u64>,
    /// Tickets that the job passes.
    pub(super) passed: Vec<u64>,
    /// Whether there would be room, were it not kept for others.
    pub(super) kept: bool,
}

/// Decides over a job with the ticket `own`, or behind all tickets. `records` are those of the living.
pub(super) fn decide(
    pool: &Room,
    records: &[&Record],
    (needs, from): (&Needs, Option<&[String]>),
    own: Option<u64>,
    now_ms: u64,
) -> Decision {
    let mut left = pool.clone();
    for held in records.iter().filter(|record| record.ticket.is_none()) {
        left.take(&held.needs, &held.gpus);
    }
    let mut tickets: Vec<(&Ticket, &Record)> =
        records.iter().filter_map(|record| Some((record.ticket.as_ref()?, *record))).collect();
    tickets.sort_by_key(|(ticket, _)| ticket.number);
    let mut decision = Decision::default();
    let bare = left.clone();
    for (ticket, record) in tickets {
        if own.is_some_and(|own| ticket.number >= own) {
            break;
        }
        let from = record.from.as_deref();
        let fits = left.fits(&record.needs, from).is_some();
        // of one that does not come although it was called, no room is kept
        let comes = ticket.called_ms.is_none_or(|at| now_ms.saturating_sub(at) < CALLED_MS_MAX);
        if fits && ticket.called_ms.is_none() {
            decision.called.push(ticket.number);
        }
        if fits && comes || !fits && ticket.is_overdue(now_ms) {
            let gpus = left.some_gpus(&record.needs, from);
            left.take(&record.needs, &gpus);
        } else {
            decision.passed.push(ticket.number);
        }
    }
    decision.gpus = left.fits(needs, from);
    decision.kept = decision.gpus.is_none() && bare.fits(needs, from).is_some();
    if decision.gpus.is_none() {
        decision.passed.clear();
    }
    decision
}

impl Ticket {
    /// Whether nothing may pass it any more.
    fn is_overdue(&self, now_ms: u64) -> bool {
        is_overdue(self.passed, now_ms.saturating_sub(self.since_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::{CALLED_MS_MAX, Decision, Needs, PASSED_MS_MAX, PASSES_MAX, Room, decide};
    use crate::backend::local::pool::ledger::{Holder, Record, Ticket};
    use crate::model::pool::MachineConfig;
    use std::collections::BTreeMap;

    fn cores(cores: u32) -> Needs {
        Needs { cores, ..Needs::default() }
    }

    fn held(needs: Needs, gpus: &[&str]) -> Record {
        Record { gpus: gpus.iter().map(|gpu| (*gpu).to_owned()).collect(), ..Record::new(Holder::default(), needs) }
    }

    fn waits(number: u64, needs: Needs) -> Record {
        let ticket = Ticket { number, since_ms: 0, called_ms: None, passed: 0 };
        Record { ticket: Some(ticket), ..held(needs, &[]) }
    }

    fn ask(pool: &Room, records: &[Record], needs: &Needs, own: Option<u64>, now_ms: u64) -> Decision {
        decide(pool, &records.iter().collect::<Vec<_>>(), (needs, None), own, now_ms)
    }

    fn pool(cores: u32) -> Room {
        Room::of(&MachineConfig::default(), cores, Some(1000))
    }

    #[test]
    fn what_is_held_is_not_there_for_others() {
        let records = [held(cores(2), &[]), held(Needs { cores: 1, memory_mb: 600, ..cores(1) }, &[])];
        assert!(ask(&pool(4), &records, &cores(1), None, 0).gpus.is_some());
        assert!(ask(&pool(4), &records, &cores(2), None, 0).gpus.is_none());
        let large = Needs { memory_mb: 401, ..cores(1) };
        assert!(ask(&pool(4), &records, &large, None, 0).gpus.is_none());
        // more may be held than there is: the pool was made smaller
        assert!(ask(&pool(2), &records, &cores(1), None, 0).gpus.is_none());
    }

    #[test]
    fn graphics_processors_are_given_by_name_and_counts_by_number() {
        let gpus = Some(vec!["0".to_owned(), "1".to_owned(), "GPU-a".to_owned()]);
        let machine = MachineConfig { gpus, counts: BTreeMap::from([("licence".to_owned(), 2)]), ..Default::default() };
        let pool = Room::of(&machine, 9, None);
        let two = Needs { gpus: 2, ..cores(1) };
        let given = |records: &[Record], needs: &Needs| ask(&pool, records, needs, None, 0).gpus;
        assert_eq!(given(&[held(cores(1), &["0"])], &two), Some(vec!["1".to_owned(), "GPU-a".to_owned()]));
        assert_eq!(given(&[held(cores(1), &["0"]), held(cores(1), &["1"])], &two), None);
        let licence = Needs { counts: BTreeMap::from([("licence".to_owned(), 2)]), ..cores(1) };
        assert!(given(&[], &licence).is_some());
        assert_eq!(given(std::slice::from_ref(&held(licence.clone(), &[])), &licence), None);
        assert_eq!(given(&[], &Needs { counts: BTreeMap::from([("furnace".to_owned(), 1)]), ..cores(1) }), None);
        // where the machine names none, what a backend names is there, once
        let bare = Room::of(&MachineConfig::default(), 9, None);
        let own = ["7".to_owned()];
        let one = Needs { gpus: 1, ..cores(1) };
        let taken = held(cores(1), &["7"]);
        assert_eq!(decide(&bare, &[], (&one, Some(&own)), None, 0).gpus, Some(vec!["7".to_owned()]));
        assert_eq!(decide(&bare, &[&taken], (&one, Some(&own)), None, 0).gpus, None);
    }

    #[test]
    fn small_jobs_pass_a_large_one_and_not_for_ever() {
        let mut records = [held(cores(2), &[]), waits(5, cores(4))];
        let passed = ask(&pool(4), &records, &cores(1), None, 0);
        assert_eq!((passed.gpus.is_some(), passed.passed), (true, vec![5]));
        for (passed, now_ms) in [(PASSES_MAX, 0), (0, PASSED_MS_MAX)] {
            records[1].ticket = Some(Ticket { number: 5, since_ms: 0, called_ms: None, passed });
            let refused = ask(&pool(4), &records, &cores(1), None, now_ms);
            assert_eq!((refused.gpus.is_some(), refused.kept), (false, true), "{passed} {now_ms}");
            // and of what it does not need nothing is kept
            assert!(ask(&pool(8), &records, &cores(1), None, now_ms).gpus.is_some());
        }
    }

    #[test]
    fn room_is_kept_for_whoever_waited_first_as_long_as_they_come() {
        let mut records = [held(cores(3), &[]), waits(1, cores(1))];
        let kept = ask(&pool(4), &records, &cores(1), None, 7);
        assert_eq!((kept.gpus.is_some(), kept.called.as_slice(), kept.kept), (false, &[1][..], true));
        assert!(ask(&pool(4), &records, &cores(1), Some(1), 7).gpus.is_some(), "it is its own");
        assert!(ask(&pool(4), &records, &cores(1), Some(2), 7).gpus.is_none());
        records[1].ticket = Some(Ticket { number: 1, since_ms: 0, called_ms: Some(7), passed: 0 });
        assert!(ask(&pool(4), &records, &cores(1), Some(2), 7 + CALLED_MS_MAX).gpus.is_some());
    }
}
