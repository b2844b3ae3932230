//! What became of tasks: how many are in each state, of each iteration.
use super::chart::{Frame, RIGHT};
use super::table::{numbers_of, table};
use crate::model::states::TaskState;
use minijinja::{Value, context};
use std::collections::BTreeMap;

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

    /// What the part is made from.
    pub(super) fn view(&self) -> Value {
        let all = sum(self.of.values());
        let there = TaskState::ALL.iter().zip(all).filter(|(_, count)| *count > 0);
        let keys: Vec<_> = there.map(|(state, _)| (class(*state), state.as_str())).collect();
        let mut columns = vec![numbers_of("iteration")];
        columns.extend(TaskState::ALL.iter().map(numbers_of));
        let row = |(iteration, counts): (&u32, &[u64; STATES])| {
            [iteration.to_string()].into_iter().chain(counts.iter().map(ToString::to_string)).collect()
        };
        let rows = self.of.iter().take(ROWS).map(row).collect();
        let more = self.of.len().saturating_sub(ROWS);
        let figure = (!keys.is_empty()).then(|| self.figure(&all));
        context! { figure, keys, numbers => table("Tasks by iteration and state", &columns, rows, more) }
    }

    /// The iterations of each bar, and how many tasks it has in each state.
    fn bars(&self) -> Vec<(String, [u64; STATES])> {
        let iterations: Vec<_> = self.of.iter().collect();
        let share = iterations.len().div_ceil(BARS);
        let bar = |part: &[(&u32, &[u64; STATES])]| {
            let name = match part {
                [] => String::new(),
                [(one, _)] => format!("iteration {one}"),
                [(first, _), .., (last, _)] => format!("iterations {first}–{last}"),
            };
            (name, sum(part.iter().map(|(_, counts)| *counts)))
        };
        iterations.chunks(share).map(bar).collect()
    }

    /// What the bars are drawn from, of so many tasks in all.
    fn figure(&self, all: &[u64; STATES]) -> Value {
        let bars = self.bars();
        let most = bars.iter().map(|(_, counts)| counts.iter().sum::<u64>()).max().unwrap_or(0).max(1);
        let long = |count: u64| (RIGHT - LEFT - COUNTS) * count as f64 / most as f64;
        let bar = |(line, (name, counts)): (usize, &(String, [u64; STATES]))| {
            let mut done = 0;
            let there = TaskState::ALL.iter().zip(counts).filter(|(_, count)| **count > 0);
            let segments = there.map(|(state, count)| {
                let x = LEFT + long(done);
                done += count;
                (class(*state), x, long(*count).max(1.0), format!("{name}: {count} {state}"))
            });
            let segments: Vec<_> = segments.collect();
            // in words where there is room for them
            let words = Some(said(counts)).filter(|words| words.chars().count() <= WORDS);
            let text = words.unwrap_or_else(|| format!("{done} tasks"));
            context! { y => THICK * line as f64 + 6.0, name, segments, end => LEFT + long(done), text }
        };
        let height = THICK * bars.len() as f64 + 8.0;
        context! {
            title => "What became of tasks",
            description => format!("Tasks by iteration: {} in all.", said(all)),
            frame => Frame { height, left: LEFT, top: 0.0, floor: height }.view(),
            bars => bars.iter().enumerate().map(bar).collect::<Vec<_>>(),
        }
    }
}

/// How many are in each state, of all of these.
fn sum<'a>(counts: impl Iterator<Item = &'a [u64; STATES]>) -> [u64; STATES] {
    counts.fold([0; STATES], |sums, counts| std::array::from_fn(|place| sums[place] + counts[place]))
}

#[cfg(test)]
mod tests {
    use super::super::templates::render;
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
        render("states.html", context! { states => states.view() }, &mut out).expect("memory");
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(
            text.contains("101 completed, 16 failed") && text.contains("<summary>The numbers (100 rows)"),
            "{text}"
        );
        assert!(text.contains(">11 tasks</text>") && text.contains(">4 completed, 1 failed</text>"), "{text}");
    }
}
