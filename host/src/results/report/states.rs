//! What became of tasks: how many are in each state, of each iteration.
use super::chart::{RIGHT, WIDTH, begin, label};
use super::page::{Page, numbers_of};
use super::scale::tenth;
use crate::model::states::TaskState;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;

/// Bars; of more iterations several share one.
const BARS: usize = 30;
/// Rows of the table beside them.
const ROWS: usize = 1000;
/// How high a bar is, with what is between two.
const THICK: f64 = 22.0;
/// What is left of the bars.
const LEFT: f64 = 130.0;
/// What is right of them, for how many tasks they are.
const COUNTS: f64 = 190.0;
/// Characters for which there is room there.
const WORDS: usize = 30;
/// How many states there are.
const STATES: usize = TaskState::ALL.len();

/// Tasks in each state, by iteration.
#[derive(Default)]
pub(super) struct States {
    of: BTreeMap<u32, [u64; STATES]>,
}

fn class(state: TaskState) -> &'static str {
    match state {
        TaskState::Completed => "completed",
        TaskState::Failed => "failed",
        TaskState::Cancelled => "cancelled",
        TaskState::Skipped => "skipped",
        TaskState::Running => "live",
        TaskState::Pending => "queued",
    }
}

/// How many are in which states, in words.
fn said(counts: &[u64; STATES]) -> String {
    let states = TaskState::ALL.iter().zip(counts).filter(|(_, count)| **count > 0);
    states.map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", ")
}

impl States {
    /// Takes a task in.
    pub(super) fn add(&mut self, iteration: u32, state: TaskState) {
        let place = TaskState::ALL.iter().position(|one| *one == state).unwrap_or_default();
        self.of.entry(iteration).or_default()[place] += 1;
    }

    /// Draws them, with the numbers beside the figure.
    pub(super) fn write(&self, page: &mut Page<'_>) -> io::Result<()> {
        if self.of.is_empty() {
            return page.paragraph("No task was planned.");
        }
        page.open("figure", &[])?;
        self.draw(page)?;
        page.open("figcaption", &[])?;
        for state in TaskState::ALL {
            if self.of.values().any(|counts| counts[Self::place(*state)] > 0) {
                page.element("span", &[("class", &format!("key {}", class(*state)))], "")?;
                page.text(format!("{state} "))?;
            }
        }
        page.close("figcaption")?;
        let mut columns = vec![numbers_of("iteration")];
        columns.extend(TaskState::ALL.iter().map(numbers_of));
        let row = |(iteration, counts): (&u32, &[u64; STATES])| {
            [iteration.to_string()].into_iter().chain(counts.iter().map(ToString::to_string)).collect()
        };
        let rows: Vec<Vec<String>> = self.of.iter().take(ROWS).map(row).collect();
        let more = self.of.len() - rows.len();
        page.folded_table(("The numbers", "Tasks by iteration and state"), &columns, &rows, more)?;
        page.close("figure")
    }

    fn place(state: TaskState) -> usize {
        TaskState::ALL.iter().position(|one| *one == state).unwrap_or_default()
    }

    /// The iterations of each bar, and how many tasks it has in each state.
    fn bars(&self) -> Vec<(String, [u64; STATES])> {
        let iterations: Vec<_> = self.of.iter().collect();
        let share = iterations.len().div_ceil(BARS);
        let bar = |part: &[(&u32, &[u64; STATES])]| {
            let mut sums = [0; STATES];
            part.iter().for_each(|(_, counts)| sums.iter_mut().zip(*counts).for_each(|(sum, count)| *sum += count));
            let name = match part {
                [] => String::new(),
                [(one, _)] => format!("iteration {one}"),
                [(first, _), .., (last, _)] => format!("iterations {first}–{last}"),
            };
            (name, sums)
        };
        iterations.chunks(share).map(bar).collect()
    }

    fn draw(&self, page: &mut Page<'_>) -> io::Result<()> {
        let bars = self.bars();
        let most = bars.iter().map(|(_, counts)| counts.iter().sum::<u64>()).max().unwrap_or(0).max(1);
        let mut all = [0; STATES];
        bars.iter().for_each(|(_, counts)| all.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count));
        let text = format!("Tasks by iteration: {} in all.", said(&all));
        let width = WIDTH - RIGHT - LEFT - COUNTS;
        begin(page, THICK * bars.len() as f64 + 8.0, "What became of tasks", &text)?;
        for (line, (name, counts)) in bars.iter().enumerate() {
            let (y, mut done) = (THICK * line as f64 + 6.0, 0);
            label(page, "end", (LEFT - 8.0, y + 12.0), name)?;
            for (state, count) in TaskState::ALL.iter().zip(counts).filter(|(_, count)| **count > 0) {
                let x = LEFT + width * done as f64 / most as f64;
                done += count;
                let size = (width * *count as f64 / most as f64).max(1.0);
                segment(page, class(*state), (x, y, size), format!("{name}: {count} {state}"))?;
            }
            let x = LEFT + width * done as f64 / most as f64;
            // in words where there is room for them
            let words = Some(said(counts)).filter(|words| words.chars().count() <= WORDS);
            label(page, "begin", (x + 8.0, y + 12.0), words.unwrap_or_else(|| format!("{done} tasks")))?;
        }
        page.close("svg")
    }
}

fn segment(
    page: &mut Page<'_>,
    class: &'static str,
    (x, y, width): (f64, f64, f64),
    title: impl Display,
) -> io::Result<()> {
    let (x, y, width, height) = (tenth(x), tenth(y), tenth(width), THICK - 6.0);
    page.open("rect", &[("class", &class), ("x", &x), ("y", &y), ("width", &width), ("height", &height)])?;
    page.element("title", &[], title)?;
    page.close("rect")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_iterations_share_bars_and_no_task_is_lost() {
        let mut states = States::default();
        (1..=100).for_each(|n| states.add(n, TaskState::Completed));
        (1..=100).step_by(7).for_each(|n| states.add(n, TaskState::Failed));
        let bars = states.bars();
        assert!(bars.len() <= BARS && bars[0].0 == "iterations 1–4", "{bars:?}");
        assert_eq!(bars.iter().flat_map(|(_, counts)| counts).sum::<u64>(), 115);
        TaskState::ALL.iter().for_each(|state| states.add(1, *state));
        let mut out = Vec::new();
        states.write(&mut Page::new(&mut out)).expect("memory");
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(
            text.contains("101 completed, 16 failed") && text.contains("<summary>The numbers (100 rows)"),
            "{text}"
        );
        assert!(text.contains(">11 tasks</text>") && text.contains(">4 completed, 1 failed</text>"), "{text}");
    }
}
