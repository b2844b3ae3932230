//! What `loop` shows while it runs: a bar on a terminal, one line for each iteration elsewhere.
use super::output::{is_quiet, one_line, tell};
use crate::ground::machine;
use crate::model::states::TaskCounts;
use crate::run::Run;
use crate::tick::Tick;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Jobs that must have ended, and the time over which, before a pace is told.
const EVIDENCE: u64 = 4;
const EVIDENCE_SPAN: Duration = Duration::from_secs(3);
/// Looks that a pace is taken from.
const LOOKS: usize = 64;

/// What is shown of one run.
pub(super) struct Progress {
    run: String,
    bar: Option<ProgressBar>,
    iteration: u32,
    /// Tasks of earlier iterations.
    before: u64,
    begun: Instant,
    counts: TaskCounts,
    pace: Pace,
}

impl Progress {
    /// Shows nothing yet. Only a run that is driven alone has a bar.
    pub(super) fn new(run: &str, alone: bool) -> Self {
        let bar = (alone && !is_quiet() && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            // It turns in a thread of its own; without one it turns with each tick.
            if machine::has_room_for_a_thread() {
                bar.enable_steady_tick(Duration::from_millis(200));
            }
            bar
        });
        let (begun, counts) = (Instant::now(), TaskCounts::default());
        Self { run: run.to_owned(), bar, iteration: 0, before: 0, begun, counts, pace: Pace::default() }
    }

    /// Shows where the run stands after a tick.
    pub(super) fn show(&mut self, run: &Run, tick: &Tick) {
        let (Ok(counts), Ok(row)) = (run.store.task_counts(), run.store.run()) else { return };
        let best = row.summary_line().as_deref().map(one_line);
        let anew = tick.iteration != self.iteration;
        if anew {
            // an iteration is planned when those before it have ended
            let begins = self.iteration > 0;
            self.before = if begins { self.counts.total } else { run.store.tasks_before(tick.iteration).unwrap_or(0) };
        }
        (self.counts, self.iteration) = (counts, tick.iteration);
        // a campaign that plans after each result has planned little ahead, and nobody knows how much comes
        let planned = (!run.config.campaign.takes_each_result()).then(|| counts.total.saturating_sub(self.before));
        let ended = ended(counts).saturating_sub(if planned.is_some() { self.before } else { 0 });
        match &self.bar {
            Some(bar) => {
                self.pace.look(Instant::now(), counts.completed + counts.failed);
                bar.set_style(style(planned.is_some()));
                bar.set_prefix(format!("iteration {}", tick.iteration));
                bar.set_length(planned.unwrap_or(ended));
                bar.set_position(ended);
                bar.set_message(self.message(planned.map(|planned| planned.saturating_sub(ended)), best));
            }
            None if anew => {
                let best = best.map(|text| format!("; {text}")).unwrap_or_default();
                let of = planned.map(|planned| format!("/{planned}")).unwrap_or_default();
                tell(&format!("{}: iteration {}, {ended}{of} tasks ended{best}", self.run, tick.iteration));
            }
            None => {}
        }
    }

    /// What stands behind the bar: how fast it goes, what has failed, and how far the campaign says it is.
    fn message(&self, left: Option<u64>, best: Option<String>) -> String {
        let failed = (self.counts.failed > 0).then(|| format!("{} failed", self.counts.failed));
        let pace = self.pace.told(Instant::now(), left);
        [pace, failed, best].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// How many tasks have failed, if any.
    pub(super) fn failed(&self) -> Option<u64> {
        Some(self.counts.failed).filter(|failed| *failed > 0)
    }

    /// What the tasks have come to, and how long it took; nothing where there are none.
    pub(super) fn outcome(&self) -> Option<String> {
        let TaskCounts { total, completed, failed, cancelled, skipped, .. } = self.counts;
        let ended = [(completed, "completed"), (failed, "failed"), (cancelled, "cancelled"), (skipped, "skipped")];
        let open = total.saturating_sub(ended.iter().map(|(count, _)| count).sum());
        let all = ended.into_iter().chain([(open, "not ended")]);
        let words: Vec<String> = all.filter(|(count, _)| *count > 0).map(|(n, word)| format!("{n} {word}")).collect();
        (total > 0).then(|| format!("{} in {}", words.join(", "), span(self.begun.elapsed())))
    }

    /// Leaves the bar as it is.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

/// How many tasks have ended.
fn ended(counts: TaskCounts) -> u64 {
    counts.completed + counts.failed + counts.cancelled + counts.skipped
}

/// A bar where it is known how much there is, else a number.
fn style(bar: bool) -> ProgressStyle {
    let shown = if bar { "[{bar:30}] {pos}/{len} tasks" } else { "{pos} tasks ended" };
    let style = ProgressStyle::with_template(&format!("{{spinner}} {{prefix}} {shown}, {{elapsed}} {{wide_msg}}"));
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

/// How fast jobs end, as this process has seen it.
#[derive(Debug, Default)]
struct Pace {
    looks: VecDeque<(Instant, u64)>,
}

impl Pace {
    /// Notes how many jobs have ended.
    fn look(&mut self, now: Instant, ended: u64) {
        if self.looks.back().is_some_and(|(_, before)| ended < *before) {
            // tasks were brought back: what was before says nothing of what comes
            self.looks.clear();
        }
        if self.looks.back().is_none_or(|(_, before)| ended > *before) {
            self.looks.push_back((now, ended));
        }
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
    }

    /// The pace, and the time left for so many tasks; nothing before there is evidence. A stall makes it slower.
    fn told(&self, now: Instant, left: Option<u64>) -> Option<String> {
        let ((begin, first), (_, last)) = (self.looks.front()?, self.looks.back()?);
        let (passed, ended) = (now.saturating_duration_since(*begin), last - first);
        if ended < EVIDENCE || passed < EVIDENCE_SPAN {
            return None;
        }
        let rate = ended as f64 / passed.as_secs_f64();
        let (number, unit) = match rate {
            rate if rate >= 1.0 => (rate, "s"),
            rate if rate * 60.0 >= 1.0 => (rate * 60.0, "min"),
            rate => (rate * 3600.0, "h"),
        };
        let pace = format!("{number:.1}/{unit}");
        let left = left.filter(|left| *left > 0);
        let left = left.and_then(|left| Duration::try_from_secs_f64(left as f64 / rate).ok());
        Some(left.map_or(pace.clone(), |left| format!("{pace}, {} left", span(left))))
    }
}

/// A span of time in its two largest units.
fn span(span: Duration) -> String {
    match span.as_secs() {
        0 => "less than a second".to_owned(),
        s @ 1..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {} s", s / 60, s % 60),
        s @ 3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        s => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use std::time::{Duration, Instant};

    #[test]
    fn a_pace_is_told_once_there_is_evidence_and_slows_with_a_stall() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        pace.look(at(0), 10);
        assert_eq!(pace.told(at(60), Some(5)), None, "what had ended before is no evidence");
        pace.look(at(1), 14);
        assert_eq!(pace.told(at(2), Some(5)), None, "a moment is none");
        pace.look(at(10), 30);
        assert_eq!(pace.told(at(10), Some(60)).as_deref(), Some("2.0/s, 30 s left"));
        assert_eq!(pace.told(at(10), None).as_deref(), Some("2.0/s"), "nobody knows how much comes");
        assert_eq!(pace.told(at(40), Some(60)).as_deref(), Some("30.0/min, 2 min 0 s left"));
        assert_eq!(pace.told(at(7200), Some(0)).as_deref(), Some("10.0/h"));
        pace.look(at(7201), 3);
        assert_eq!(pace.told(at(9000), Some(9)), None, "tasks were brought back");
    }
}
