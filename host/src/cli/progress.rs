//! What `loop` shows while it runs: a bar on a terminal, one line for each iteration elsewhere.
use super::output::{one_line, tell};
use crate::ground::machine;
use crate::run::Run;
use crate::tick::Tick;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// What is shown of one run.
pub(super) struct Progress {
    run: String,
    bar: Option<ProgressBar>,
    iteration: u32,
}

impl Progress {
    /// Shows nothing yet. Only a run that is driven alone has a bar.
    pub(super) fn new(run: &str, alone: bool) -> Self {
        let bar = (alone && std::io::stderr().is_terminal()).then(|| {
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
        Self { run: run.to_owned(), bar, iteration: 0 }
    }

    /// Shows where the run stands after a tick.
    pub(super) fn show(&mut self, run: &Run, tick: &Tick) {
        let (Ok(counts), Ok(row)) = (run.store.task_counts(), run.store.run()) else { return };
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

    /// Leaves the bar as it is.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}
