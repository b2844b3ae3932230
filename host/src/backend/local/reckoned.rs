//! The rule by which the jobs of one run start on a backend of this machine, for whoever reckons with it and starts
//! none: its own cores, memory and graphics processors. What other runs hold of the machine is not known there.
use super::pool::{LOOKED_AT, Needs, Room, is_overdue};
use crate::model::config::LocalConfig;
use crate::model::workflow::Resources;
use std::collections::{BTreeMap, VecDeque};

/// Jobs that wait for room on a backend, or have it.
#[derive(Debug)]
pub struct Reckoned {
    all: Room,
    waiting: VecDeque<(String, Needs)>,
    running: BTreeMap<String, (Needs, Vec<String>)>,
    first: First,
}

/// The first that waits for room.
#[derive(Debug, Default)]
struct First {
    job: String,
    since_ms: u64,
    passed: u32,
}

impl Reckoned {
    /// Of a backend that has nothing to do.
    pub fn new(config: &LocalConfig) -> Self {
        let all = Room::share(config.cores.max(1), config.memory_mb, config.gpus.clone());
        Self { all, waiting: VecDeque::new(), running: BTreeMap::new(), first: First::default() }
    }

    /// Hands a job in.
    ///
    /// # Errors
    /// If there is never room for it: the sentence.
    pub fn hand_in(&mut self, job: &str, resources: Option<&Resources>) -> Result<(), String> {
        let needs = resources.and_then(Needs::of).unwrap_or_else(Needs::one_core);
        if let Some(lacks) = self.all.lacks_of_share(&needs) {
            return Err(format!("it asks for {lacks} is all that its backend may give to jobs"));
        }
        self.waiting.push_back((job.to_owned(), needs));
        Ok(())
    }

    /// Takes a job away that has ended, or is not wanted any more.
    pub fn end(&mut self, job: &str) {
        if self.running.remove(job).is_none() {
            self.waiting.retain(|(other, _)| other != job);
        }
    }

    /// The next job that starts, if there is room for one.
    pub fn start(&mut self, now_ms: u64) -> Option<String> {
        let mut left = self.all.clone();
        self.running.values().for_each(|(needs, gpus)| left.take(needs, gpus));
        let (mut first, mut refused) = (true, Vec::new());
        for place in 0..self.waiting.len().min(LOOKED_AT) {
            let (job, needs) = self.waiting.get(place).filter(|_| left.cores > 0)?.clone();
            if refused.contains(&needs) {
                continue;
            }
            if left.lacks_of_share(&needs).is_none() {
                self.first = if first { First::default() } else { self.first.passed_once() };
                let gpus = left.gpus_of(None).into_iter().take(needs.gpus as usize).collect();
                self.waiting.remove(place);
                self.running.insert(job.clone(), (needs, gpus));
                return Some(job);
            }
            if first && self.first.job != job {
                self.first = First { job, since_ms: now_ms, passed: 0 };
            }
            first = false;
            if is_overdue(self.first.passed, now_ms.saturating_sub(self.first.since_ms)) {
                return None;
            }
            refused.push(needs);
        }
        None
    }
}

impl First {
    fn passed_once(&mut self) -> Self {
        Self { job: std::mem::take(&mut self.job), since_ms: self.since_ms, passed: self.passed + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::Reckoned;
    use crate::model::config::LocalConfig;
    use crate::model::workflow::Resources;

    #[test]
    fn what_there_is_no_room_for_waits_and_is_not_passed_for_ever() {
        let of = |cores| Resources { cores: Some(cores), ..Resources::default() };
        let mut backend = Reckoned::new(&LocalConfig { cores: 4, ..LocalConfig::default() });
        assert!(backend.hand_in("huge", Some(&of(5))).is_err_and(|why| why.contains("5 cores, and 4 is all")));
        backend.hand_in("a", Some(&of(3))).expect("room");
        backend.hand_in("large", Some(&of(4))).expect("room");
        (0..2).for_each(|n| backend.hand_in(&format!("small-{n}"), None).expect("room"));
        let starts =
            |backend: &mut Reckoned, now_ms| std::iter::from_fn(|| backend.start(now_ms)).collect::<Vec<_>>().join(" ");
        assert_eq!(starts(&mut backend, 0), "a small-0");
        backend.end("small-0");
        assert_eq!(starts(&mut backend, 70_000), "", "it has waited for long");
        backend.end("a");
        assert_eq!(starts(&mut backend, 80_000), "large");
        backend.end("large");
        assert_eq!(starts(&mut backend, 90_000), "small-1");
        backend.hand_in("last", None).expect("room");
        backend.end("last");
        assert_eq!(starts(&mut backend, 90_000), "");
    }
}
