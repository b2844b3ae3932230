//! What `loop` shows while it runs: a bar on a terminal, one line for each iteration elsewhere.
use super::output::{is_quiet, one_line, tell};
use crate::ground::machine;
use crate::model::states::TaskCounts;
use crate::run::Run;
use crate::tick::Tick;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// What is shown of one run.
pub(super) struct Progress {
    run: String,
    bar: Option<ProgressBar>,
    iteration: u32,
    begun: Instant,
    counts: TaskCounts,
}

impl Progress {
    /// Shows nothing yet. Only a run that is driven alone has a bar.
    pub(super) fn new(run: &str, alone: bool) -> Self {
        let bar = (alone && !is_quiet() && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            let style =
                ProgressStyle::with_template("{spinner} {prefix} [{bar:30}] {pos}/{len} tasks, {elapsed} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            // It turns in a thread of its own; without one it turns with each tick.
            if machine::has_room_for_a_thread() {
                bar.enable_steady_tick(Duration::from_millis(200));
            }
            bar
        });
        Self { run: run.to_owned(), bar, iteration: 0, begun: Instant::now(), counts: TaskCounts::default() }
    }

    /// Shows where the run stands after a tick.
    pub(super) fn show(&mut self, run: &Run, tick: &Tick) {
        let (Ok(counts), Ok(row)) = (run.store.task_counts(), run.store.run()) else { return };
        self.counts = counts;
        let best = row.summary_line().as_deref().map(one_line);
        let ended = counts.completed + counts.failed + counts.cancelled + counts.skipped;
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(format!("iteration {}", tick.iteration));
                bar.set_length(counts.total);
                bar.set_position(ended);
                let failed = if counts.failed > 0 { format!("{} failed; ", counts.failed) } else { String::new() };
                bar.set_message(format!("{failed}{}", best.unwrap_or_default()));
            }
            None if tick.iteration != self.iteration => {
                let best = best.map(|text| format!("; {text}")).unwrap_or_default();
                tell(&format!(
                    "{}: iteration {}, {ended}/{} tasks ended{best}",
                    self.run, tick.iteration, counts.total
                ));
            }
            None => {}
        }
        self.iteration = tick.iteration;
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
