//! What the jobs of a run took of machines: by operator, and in all.
use crate::model::states::AttemptState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Milliseconds in an hour.
const HOUR_MS: f64 = 3_600_000.0;

/// What one attempt took, as far as its backend told.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptUse {
    /// Its place in the database.
    pub key: i64,
    /// The task's id.
    pub task: String,
    /// Its number at the task, from 1.
    pub number: u32,
    /// The operator key.
    pub operator: String,
    /// Where it stands.
    pub state: AttemptState,
    /// The cores that its task asked for; 1 if it said nothing.
    pub cores: u64,
    /// When its job was handed in, in milliseconds since the epoch.
    pub queued_ms: Option<i64>,
    /// When its job started.
    pub started_ms: Option<i64>,
    /// When its job ended.
    pub stopped_ms: Option<i64>,
    /// Processor time that its job used, in milliseconds.
    pub cpu_ms: Option<i64>,
    /// The most memory that its job had, in MiB.
    pub memory_mb: Option<i64>,
    /// Whether it ran nothing: it took what an earlier run left, or what an attempt before it did.
    pub taken: bool,
}

impl AttemptUse {
    /// How long its job was in the queue, in milliseconds; never below 0, whatever clocks say.
    pub fn waited_ms(&self) -> Option<i64> {
        Some((self.started_ms? - self.queued_ms?).max(0)).filter(|_| !self.taken)
    }

    /// How long its job ran, in milliseconds.
    pub fn ran_ms(&self) -> Option<i64> {
        Some((self.stopped_ms? - self.started_ms?).max(0)).filter(|_| !self.taken)
    }

    /// The cores it had, times how long it ran.
    pub fn core_hours(&self) -> Option<f64> {
        Some(self.cores as f64 * self.ran_ms()? as f64 / HOUR_MS)
    }
}

/// What attempts took of machines. What a backend does not tell counts as nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// Attempts made.
    pub attempts: u64,
    /// Those of them that ran nothing, because they took what there was already.
    pub reused: u64,
    /// Those of whose jobs it is known how long they ran.
    pub measured: u64,
    /// Cores that the tasks asked for, times how long the jobs ran, in hours.
    pub core_hours: f64,
    /// What of it went to attempts that failed or were lost.
    pub wasted_core_hours: f64,
    /// Processor time that jobs used, in hours.
    pub cpu_hours: f64,
    /// The most memory that one job had, in MiB.
    pub memory_peak_mb: Option<u64>,
    /// From being handed in to its start, of the job in the middle, in seconds.
    pub queued_median_s: Option<f64>,
    /// The same of the job that waited longest.
    pub queued_max_s: Option<f64>,
}

/// What a run took of machines.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResourcesRecord {
    /// All of it.
    pub total: Resources,
    /// Of the attempts of each operator.
    pub operators: BTreeMap<String, Resources>,
}

/// Adds up what attempts took.
#[derive(Debug, Default)]
pub struct Tally {
    operators: BTreeMap<String, Sum>,
}

#[derive(Debug, Clone, Default)]
struct Sum {
    of: Resources,
    waited_ms: Vec<i64>,
}

impl Sum {
    fn add(&mut self, one: &AttemptUse) {
        let of = &mut self.of;
        of.attempts += 1;
        of.reused += u64::from(one.taken);
        if let Some(hours) = one.core_hours() {
            of.measured += 1;
            of.core_hours += hours;
            of.wasted_core_hours +=
                if matches!(one.state, AttemptState::Failed | AttemptState::Lost) { hours } else { 0.0 };
        }
        self.waited_ms.extend(one.waited_ms());
        if !one.taken {
            of.cpu_hours += one.cpu_ms.unwrap_or(0) as f64 / HOUR_MS;
            of.memory_peak_mb = of.memory_peak_mb.max(one.memory_mb.and_then(|mb| u64::try_from(mb).ok()));
        }
    }

    fn join(&mut self, other: &Self) {
        let (of, more) = (&mut self.of, &other.of);
        of.attempts += more.attempts;
        of.reused += more.reused;
        of.measured += more.measured;
        of.core_hours += more.core_hours;
        of.wasted_core_hours += more.wasted_core_hours;
        of.cpu_hours += more.cpu_hours;
        of.memory_peak_mb = of.memory_peak_mb.max(more.memory_peak_mb);
        self.waited_ms.extend_from_slice(&other.waited_ms);
    }

    fn finish(mut self) -> Resources {
        self.waited_ms.sort_unstable();
        let (count, seconds) = (self.waited_ms.len(), |ms: i64| ms as f64 / 1000.0);
        let middle = |waited: &[i64]| seconds(waited[(count - 1) / 2] + waited[count / 2]) / 2.0;
        self.of.queued_median_s = (count > 0).then(|| middle(&self.waited_ms));
        self.of.queued_max_s = self.waited_ms.last().map(|ms| seconds(*ms));
        self.of
    }
}

impl Tally {
    /// Counts an attempt.
    pub fn add(&mut self, one: &AttemptUse) {
        match self.operators.get_mut(&one.operator) {
            Some(sum) => sum.add(one),
            None => self.operators.entry(one.operator.clone()).or_default().add(one),
        }
    }

    /// What it comes to.
    pub fn finish(self) -> ResourcesRecord {
        let mut total = Sum::default();
        self.operators.values().for_each(|sum| total.join(sum));
        let operators = self.operators.into_iter().map(|(key, sum)| (key, sum.finish())).collect();
        ResourcesRecord { total: total.finish(), operators }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(operator: &str, state: AttemptState, times: [i64; 3]) -> AttemptUse {
        let [queued_ms, started_ms, stopped_ms] = times.map(Some);
        AttemptUse {
            key: 1,
            task: "a".to_owned(),
            number: 1,
            operator: operator.to_owned(),
            state,
            cores: 2,
            queued_ms,
            started_ms,
            stopped_ms,
            cpu_ms: Some(1_800_000),
            memory_mb: Some(100),
            taken: false,
        }
    }

    #[test]
    fn core_hours_are_of_the_job_and_what_was_taken_counts_for_nothing() {
        let mut tally = Tally::default();
        tally.add(&one("local", AttemptState::Completed, [0, 1000, 3_601_000]));
        tally.add(&one("local", AttemptState::Failed, [0, 3000, 1_803_000]));
        tally.add(&AttemptUse { taken: true, ..one("local", AttemptState::Completed, [0, 0, 9_000_000]) });
        tally.add(&AttemptUse {
            stopped_ms: None,
            memory_mb: Some(900),
            ..one("hpc", AttemptState::Running, [0, 9000, 0])
        });
        // a clock that was set back
        tally.add(&AttemptUse { cpu_ms: None, ..one("hpc", AttemptState::Lost, [5000, 0, -9]) });
        let ResourcesRecord { total, operators } = tally.finish();
        let local = &operators["local"];
        assert_eq!((local.attempts, local.reused, local.measured), (3, 1, 2));
        assert_eq!((local.core_hours, local.wasted_core_hours, local.cpu_hours), (3.0, 1.0, 1.0));
        assert_eq!(
            (local.queued_median_s, local.queued_max_s, local.memory_peak_mb),
            (Some(2.0), Some(3.0), Some(100))
        );
        assert_eq!((total.attempts, total.core_hours, total.memory_peak_mb), (5, 3.0, Some(900)));
        assert_eq!((total.queued_median_s, total.queued_max_s), (Some(2.0), Some(9.0)));
        assert_eq!(Tally::default().finish(), ResourcesRecord::default());
    }
}
