//! When attempts were in a queue and when they ran: bars where there are few, and how many at a time.
use super::chart::{Frame, HEIGHT, RIGHT};
use super::scale::{Kind, Scale, number};
use super::table::{numbers_of, table, words_of};
use crate::ground::words::shortened;
use crate::model::evidence::AttemptUse;
use crate::model::states::AttemptState;
use minijinja::{Value, context};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Attempts that get a bar each.
const BARS: usize = 400;
/// Tasks that get a line each.
const NAMED: usize = 40;
/// Lines of bars.
const LANES: usize = 60;
/// Rows of the table beside it.
const ROWS: usize = 1000;
/// Moments at which attempts are counted, where they are too many for bars.
const MOMENTS: usize = 240;
/// Up to how many at a time, on average, a figure would show nothing.
const ALONE: f64 = 1.01;
/// What is left of bars whose lines have names.
const NAMES: f64 = 190.0;
/// What is above the bars.
const TOP: f64 = 8.0;
/// What is below them.
const BELOW: f64 = 48.0;
/// Characters of a name beside its line.
const NAME_MAX: usize = 22;

/// One attempt, in milliseconds after the run was made.
struct Bar {
    task: Option<String>,
    number: u32,
    state: AttemptState,
    queued: i64,
    started: i64,
    stopped: Option<i64>,
}

/// The attempts of a run that ran something.
#[derive(Default)]
pub(super) struct Timeline {
    bars: Vec<Bar>,
    untold: u64,
}

/// The unit of an axis of time: its name, and how many milliseconds it has.
fn unit(span_ms: i64) -> (&'static str, f64) {
    match span_ms {
        ..180_000 => ("s", 1000.0),
        180_000..10_800_000 => ("min", 60_000.0),
        10_800_000..259_200_000 => ("h", 3_600_000.0),
        _ => ("d", 86_400_000.0),
    }
}

fn class(state: AttemptState) -> &'static str {
    match state {
        AttemptState::Completed => "completed",
        AttemptState::Failed | AttemptState::Lost => "failed",
        AttemptState::Cancelled => "cancelled",
        AttemptState::Created
        | AttemptState::Prepared
        | AttemptState::Submitting
        | AttemptState::Submitted
        | AttemptState::Running
        | AttemptState::WaitingExternal => "live",
    }
}

impl Timeline {
    /// Takes an attempt in, of a run that was made at this time.
    pub(super) fn add(&mut self, one: &AttemptUse, made_ms: i64) {
        let Some(started) = one.started_ms.filter(|_| !one.taken) else {
            self.untold += u64::from(!one.taken);
            return;
        };
        let after = |ms: i64| (ms - made_ms).max(0);
        let started = after(started);
        self.bars.push(Bar {
            task: (self.bars.len() < ROWS).then(|| one.task.clone()),
            number: one.number,
            state: one.state,
            queued: one.queued_ms.map_or(started, after).min(started),
            started,
            stopped: one.stopped_ms.map(|ms| after(ms).max(started)),
        });
    }

    /// When the last of them ended, or began.
    fn end(&self) -> i64 {
        self.bars.iter().map(|bar| bar.stopped.unwrap_or(bar.started)).max().unwrap_or(0)
    }

    /// What the part is made from: a bar for each attempt where they are few, and how many there were at a time.
    pub(super) fn view(&self) -> Value {
        let bars = self.lanes().filter(|lanes| !lanes.is_empty()).map(|lanes| self.bars(&lanes));
        let (attempts, counts) = (self.bars.len(), self.at_a_time());
        context! { attempts, bars, numbers => self.numbers(), counts, untold => self.untold }
    }

    /// How many ran and how many were in a queue over time; none where it is never more than one.
    fn at_a_time(&self) -> Option<Value> {
        let end = self.end().max(1);
        let running = self.counts(end, &|bar| bar.started, &|bar| bar.stopped.unwrap_or(end));
        let queued = self.counts(end, &|bar| bar.queued, &|bar| bar.started);
        if running.iter().chain(&queued).all(|count| *count <= ALONE) {
            return None;
        }
        let (unit, unit_ms) = unit(end);
        let columns = [numbers_of(format!("after / {unit}")), numbers_of("ran"), numbers_of("in a queue")];
        // as often as they change
        let mut rows: Vec<Vec<String>> = Vec::new();
        for (place, counts) in running.iter().zip(&queued).enumerate() {
            if place == 0 || running[place - 1] != *counts.0 || queued[place - 1] != *counts.1 {
                let after = end as f64 / unit_ms * place as f64 / MOMENTS as f64;
                rows.push(vec![number(after), number(*counts.0), number(*counts.1)]);
            }
        }
        let frame = Frame { height: HEIGHT, left: 64.0, top: TOP, floor: HEIGHT - BELOW };
        let x = Scale::of([end as f64 / unit_ms].into_iter(), Kind::Span, (frame.left, RIGHT));
        let y = Scale::of(running.iter().chain(&queued).copied(), Kind::Span, (frame.floor, TOP));
        let line = |counts: &[f64]| {
            let step = end as f64 / unit_ms / MOMENTS as f64;
            let place = |(n, count): (usize, &f64)| format!("{} {}", x.at((n as f64 + 0.5) * step), y.at(*count));
            counts.iter().enumerate().map(place).collect::<Vec<_>>().join("L")
        };
        let description = format!(
            "{} attempts: how many ran and how many were in a queue at a time, on average over each of {MOMENTS} \
             stretches.",
            self.bars.len(),
        );
        Some(context! {
            title => "Attempts at a time",
            description,
            frame => frame.view(),
            x => x.axis(unit, Kind::Span),
            // there is no part of an attempt
            y => y.axis("attempts", Kind::Counts),
            running => line(&running),
            queued => line(&queued),
            numbers => table("How many attempts at a time", &columns, rows, 0),
        })
    }

    /// How many lie between these moments, on average over each stretch of time.
    fn counts(&self, end: i64, from: &dyn Fn(&Bar) -> i64, to: &dyn Fn(&Bar) -> i64) -> Vec<f64> {
        let (stretch, mut share) = (end as f64 / MOMENTS as f64, vec![0.0; MOMENTS]);
        for bar in &self.bars {
            let (from, to) = (from(bar) as f64 / stretch, to(bar) as f64 / stretch);
            for (place, share) in share.iter_mut().enumerate().skip(from as usize).take_while(|(n, _)| (*n as f64) < to)
            {
                *share += (to.min(place as f64 + 1.0) - from.max(place as f64)).max(0.0);
            }
        }
        share
    }

    /// The line of each bar, if they are few enough: one a task where those are few.
    fn lanes(&self) -> Option<Vec<usize>> {
        if self.bars.len() > BARS {
            return None;
        }
        let names = self.names();
        if names.len() <= NAMED {
            let lane = |bar: &Bar| names.iter().position(|name| *name == bar.task.as_deref()).unwrap_or(0);
            return Some(self.bars.iter().map(lane).collect());
        }
        let mut order: Vec<usize> = (0..self.bars.len()).collect();
        order.sort_by_key(|place| self.bars[*place].queued);
        let (mut lanes, mut free, mut used) = (vec![0; self.bars.len()], BinaryHeap::<Reverse<(i64, usize)>>::new(), 0);
        for place in order {
            let bar = &self.bars[place];
            let lane = match free.peek() {
                Some(Reverse((end, lane))) if *end <= bar.queued => *lane,
                _ => used,
            };
            if lane == used {
                used += 1;
            } else {
                free.pop();
            }
            free.push(Reverse((bar.stopped.unwrap_or(i64::MAX), lane)));
            lanes[place] = lane;
        }
        (used <= LANES).then_some(lanes)
    }

    /// The tasks of the bars, in order; more than [`NAMED`] are not all looked for.
    fn names(&self) -> Vec<Option<&str>> {
        let mut names = Vec::new();
        for bar in &self.bars {
            let name = bar.task.as_deref();
            if names.len() <= NAMED && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// What the bars are drawn from.
    fn bars(&self, lanes: &[usize]) -> Value {
        let names = self.names();
        let named = names.len() <= NAMED;
        let count = lanes.iter().max().map_or(1, |most| most + 1);
        let thick = if named { 18.0 } else { (280.0 / count as f64).clamp(5.0, 18.0) };
        let (left, floor) = (if named { NAMES } else { 24.0 }, TOP + thick * count as f64);
        let (unit, unit_ms) = unit(self.end());
        let x = Scale::of([self.end() as f64 / unit_ms].into_iter(), Kind::Span, (left, RIGHT));
        let names = names.iter().enumerate().filter(|_| named).map(|(place, task)| {
            (TOP + thick * (place as f64 + 0.5), shortened(task.unwrap_or_default(), NAME_MAX, true))
        });
        let bars = self.bars.iter().zip(lanes).map(|(bar, lane)| {
            let at = |ms: i64| x.at(ms as f64 / unit_ms);
            let (started, stopped) = (at(bar.started), at(bar.stopped.unwrap_or_else(|| self.end())));
            let title = format!(
                "{} attempt {}: {}, started after {} s",
                bar.task.as_deref().unwrap_or_default(),
                bar.number,
                bar.state,
                number(bar.started as f64 / 1000.0),
            );
            let y = TOP + thick * *lane as f64 + 1.5;
            (class(bar.state), y, at(bar.queued), started, (stopped - started).max(1.5), title)
        });
        let description =
            format!("{} attempts, each from being handed in to its start and on to its end.", self.bars.len());
        context! {
            title => "Timeline of attempts",
            description,
            frame => Frame { height: floor + BELOW, left, top: TOP, floor }.view(),
            x => x.axis(unit, Kind::Span),
            names => names.collect::<Vec<_>>(),
            thick => thick - 3.0,
            bars => bars.collect::<Vec<_>>(),
        }
    }

    fn numbers(&self) -> Value {
        let seconds = |ms: i64| number(ms as f64 / 1000.0);
        let columns = [
            words_of("task"),
            numbers_of("attempt"),
            words_of("state"),
            numbers_of("started after / s"),
            numbers_of("queued / s"),
            numbers_of("ran / s"),
        ];
        let rows = self.bars.iter().take(ROWS).map(|bar| {
            vec![
                bar.task.clone().unwrap_or_default(),
                bar.number.to_string(),
                bar.state.to_string(),
                seconds(bar.started),
                seconds(bar.started - bar.queued),
                bar.stopped.map(|stopped| seconds(stopped - bar.started)).unwrap_or_default(),
            ]
        });
        let more = self.bars.len().saturating_sub(ROWS);
        table("Attempts that ran, in the order made", &columns, rows.collect(), more)
    }
}
