//! Which job is next: the first that there is room for, in what this run may take and in the pool of the machine.
//!
//! Jobs may pass one that waits for more, a number of times or for a while; then nothing of this run starts before it.
use super::super::pool::{Answer, Grant, LOOK, LOOKED_AT, Needs, Room, is_overdue};
use super::super::record::{Entry, Job};
use super::Supervisor;
use std::time::{Duration, Instant};

/// How long a job waits for the room of others before that is told.
const TOLD_AFTER: Duration = Duration::from_millis(500);

/// The first job that waits for room.
#[derive(Debug, Default)]
pub(super) struct First {
    attempt: String,
    since: Option<Instant>,
    passed: u32,
    /// What was told of why it waits.
    told: String,
}

impl First {
    /// Whether nothing may pass it any more.
    fn is_overdue(&self) -> bool {
        let waited = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        is_overdue(self.passed, u64::try_from(waited.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A job with its room in hand.
pub(super) struct Picked {
    pub(super) job: Job,
    pub(super) needs: Needs,
    pub(super) grant: Grant,
    /// Whether it stands in the journal as claimed.
    pub(super) claimed: bool,
}

/// What a job takes.
pub(super) fn needs_of(job: &Job) -> Needs {
    job.needs.clone().unwrap_or_else(Needs::one_core)
}

/// What comes of looking at one job.
enum Look {
    Picked(Grant),
    /// There is no room for it; with why, where that is the machine's.
    Waits(Option<String>),
    /// There never is.
    Never(String),
}

impl Supervisor {
    /// The next job with its room in hand, beside what was picked before and has not started.
    pub(super) fn pick(&mut self, picked: &[Picked]) -> Option<Picked> {
        let mut refused: Vec<Needs> = Vec::new();
        let (mut first, mut never, mut found) = (true, false, None);
        self.waits_for_machine = false;
        if self.is_full(picked) {
            self.ask_at = None;
            return None;
        }
        let count = (self.claimed.len() + self.waiting.len()).min(LOOKED_AT);
        for place in 0..count {
            let Some(job) = self.job_at(place) else { break };
            let (needs, from) = (needs_of(job), job.settings.gpus.clone());
            if refused.contains(&needs) {
                continue;
            }
            match self.look_at(place, &needs, from.as_deref(), first, picked) {
                Look::Picked(grant) => {
                    if !first {
                        self.first.passed += 1;
                    }
                    found = self.take_out(place, needs, grant);
                    break;
                }
                Look::Never(why) => {
                    self.tell_no_room(place, &why, false);
                    never = true;
                }
                Look::Waits(why) => {
                    if first {
                        self.note_first(place, why.as_deref());
                        self.waits_for_machine = why.is_some();
                    }
                    first = false;
                    if self.first.is_overdue() {
                        break;
                    }
                }
            }
            refused.push(needs);
        }
        let soon = self.waits_for_machine && self.first.told.is_empty();
        let asks = found.is_none() && (self.waits_for_machine || never);
        self.ask_at = asks.then(|| Instant::now() + if soon { TOLD_AFTER } else { LOOK });
        if first {
            self.first = First::default();
        }
        found
    }

    /// Whether this run has no core left, so that nothing has to be looked at.
    pub(super) fn is_full(&self, picked: &[Picked]) -> bool {
        let Some(job) = self.job_at(0) else { return true };
        let picked: u32 = picked.iter().map(|picked| picked.needs.cores).sum();
        self.running.iter().map(|running| running.needs.cores).sum::<u32>() + picked >= job.settings.cores.max(1)
    }

    fn job_at(&self, place: usize) -> Option<&Job> {
        self.claimed.get(place).or_else(|| self.waiting.get(place.checked_sub(self.claimed.len())?))
    }

    fn look_at(
        &mut self,
        place: usize,
        needs: &Needs,
        from: Option<&[String]>,
        first: bool,
        picked: &[Picked],
    ) -> Look {
        let Some(job) = self.job_at(place) else { return Look::Waits(None) };
        let settings = &job.settings;
        let mut share = Room::share(settings.cores.max(1), settings.memory_mb, settings.gpus.clone());
        if let Some(lacks) = share.lacks_of_share(needs) {
            return Look::Never(format!("it asks for {lacks} is all that its backend may give to jobs"));
        }
        let running = self.running.iter().map(|running| (&running.needs, &running.grant));
        for (needs, grant) in running.chain(picked.iter().map(|picked| (&picked.needs, &picked.grant))) {
            share.take(needs, &grant.gpus);
        }
        if share.lacks_of_share(needs).is_some() {
            return Look::Waits(None);
        }
        match self.pool.ask(needs, from, first) {
            Answer::Granted(grant) => Look::Picked(grant),
            Answer::Wait(why) => Look::Waits(Some(why)),
            Answer::Never(why) => Look::Never(why),
        }
    }

    fn take_out(&mut self, place: usize, needs: Needs, grant: Grant) -> Option<Picked> {
        let claimed = place < self.claimed.len();
        let job = match place.checked_sub(self.claimed.len()) {
            None => self.claimed.remove(place),
            Some(place) => self.waiting.remove(place),
        };
        job.map(|job| Picked { job, needs, grant, claimed })
    }

    /// Notes that a job is the first that waits, and tells it when it has waited for others a while.
    fn note_first(&mut self, place: usize, why: Option<&str>) {
        let Some(attempt) = self.job_at(place).map(|job| job.attempt.clone()) else { return };
        if self.first.attempt != attempt {
            self.first = First { attempt, since: Some(Instant::now()), passed: 0, told: String::new() };
        }
        let long = self.first.since.is_some_and(|since| since.elapsed() >= TOLD_AFTER);
        if let Some(why) = why.filter(|_| long) {
            self.tell_no_room(place, why, true);
        }
    }

    /// Writes into the journal why a job does not start, unless that stands there.
    fn tell_no_room(&mut self, place: usize, why: &str, first: bool) {
        let Some(attempt) = self.job_at(place).map(|job| job.attempt.clone()) else { return };
        let told =
            if first { self.first.told == why } else { self.never.get(&attempt).is_some_and(|told| told == why) };
        if told {
            return;
        }
        if self.journal.append(&Entry::NoRoom { attempt: attempt.clone(), why: why.to_owned() }).is_err() {
            return;
        }
        if first {
            why.clone_into(&mut self.first.told);
        } else {
            self.never.insert(attempt, why.to_owned());
        }
        self.wake_due.get_or_insert_with(Instant::now);
    }
}
