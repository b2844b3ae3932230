//! When attempts were in a queue and when they ran: bars where there are few, and how many at a time.
use super::chart::{HEIGHT, RIGHT, WIDTH, begin, label, line};
use super::page::{Page, numbers_of, words_of};
use super::scale::{Kind, Scale, number, tenth};
use crate::ground::words::shortened;
use crate::model::evidence::AttemptUse;
use crate::model::states::AttemptState;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;

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

    /// Draws it, with the numbers beside it: a bar for each where they are few, and how many there were at a time.
    pub(super) fn write(&self, page: &mut Page<'_>) -> io::Result<()> {
        if self.bars.is_empty() {
            return page.paragraph("No job of the run is known to have started.");
        }
        page.open("figure", &[])?;
        if let Some(lanes) = self.lanes() {
            self.draw_bars(page, &lanes)?;
            page.open("figcaption", &[])?;
            page.markup("<span class=\"key queued\"></span>in the queue ")?;
            page.markup("<span class=\"key completed\"></span>ran, completed ")?;
            page.markup("<span class=\"key failed\"></span>ran, failed or lost ")?;
            page.markup("<span class=\"key cancelled\"></span>ran, cancelled ")?;
            page.markup("<span class=\"key live\"></span>has not ended. ")?;
            page.close("figcaption")?;
        } else {
            page.element("figcaption", &[], format!("{} attempts are too many for a bar each.", self.bars.len()))?;
        }
        self.numbers(page)?;
        page.close("figure")?;
        if self.bars.len() > 1 {
            self.at_a_time(page)?;
        }
        if self.untold > 0 {
            page.paragraph(format!("Of {} more attempts no time is known at which a job started.", self.untold))?;
        }
        Ok(())
    }

    /// How many ran and how many were in a queue over time.
    fn at_a_time(&self, page: &mut Page<'_>) -> io::Result<()> {
        let end = self.end().max(1);
        let running = self.counts(end, &|bar| bar.started, &|bar| bar.stopped.unwrap_or(end));
        let queued = self.counts(end, &|bar| bar.queued, &|bar| bar.started);
        page.element("h3", &[], "How many at a time")?;
        let most = |counts: &[f64]| counts.iter().copied().fold(0.0, f64::max);
        if most(&running) <= ALONE && most(&queued) <= ALONE {
            return page.paragraph("Never more than one attempt ran or was in a queue for long.");
        }
        page.open("figure", &[])?;
        self.draw_counts(page, end, (&running, &queued))?;
        page.open("figcaption", &[])?;
        page.markup(
            "The area is how many attempts ran at a time, the dashed line how many were in a queue, on average. ",
        )?;
        page.close("figcaption")?;
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
        page.folded_table(("The numbers", "How many attempts at a time"), &columns, &rows, 0)?;
        page.close("figure")
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

    fn draw_bars(&self, page: &mut Page<'_>, lanes: &[usize]) -> io::Result<()> {
        let names = self.names();
        let named = names.len() <= NAMED;
        let count = lanes.iter().max().map_or(1, |most| most + 1);
        let thick = if named { 18.0 } else { (280.0 / count as f64).clamp(5.0, 18.0) };
        let (left, floor) = (if named { NAMES } else { 24.0 }, TOP + thick * count as f64);
        let (name, unit_ms) = unit(self.end());
        let x = Scale::of([self.end() as f64 / unit_ms].into_iter(), Kind::Span, (left, WIDTH - RIGHT));
        let text = format!("{} attempts, each from being handed in to its start and on to its end.", self.bars.len());
        begin(page, floor + BELOW, "Timeline of attempts", &text)?;
        time_axis(page, &x, name, (left, TOP, floor))?;
        for (place, task) in names.iter().enumerate().filter(|_| named) {
            let at = (left - 8.0, TOP + thick * (place as f64 + 0.5) + 4.0);
            label(page, "end", at, shortened(task.unwrap_or_default(), NAME_MAX, true))?;
        }
        for (bar, lane) in self.bars.iter().zip(lanes) {
            let (y, height) = (TOP + thick * *lane as f64 + 1.5, thick - 3.0);
            let at = |ms: i64| x.at(ms as f64 / unit_ms);
            let (queued, started) = (at(bar.queued), at(bar.started));
            let stopped = at(bar.stopped.unwrap_or_else(|| self.end()));
            if started - queued >= 0.1 {
                let thin = (queued, tenth(y + height / 3.0), started - queued, tenth(height / 3.0));
                rectangle(page, "queued", thin, None)?;
            }
            let title = format!(
                "{} attempt {}: {}, started after {} s",
                bar.task.as_deref().unwrap_or_default(),
                bar.number,
                bar.state,
                number(bar.started as f64 / 1000.0),
            );
            rectangle(
                page,
                class(bar.state),
                (started, tenth(y), (stopped - started).max(1.5), tenth(height)),
                Some(title),
            )?;
        }
        page.close("svg")
    }

    fn draw_counts(&self, page: &mut Page<'_>, end: i64, (running, queued): (&[f64], &[f64])) -> io::Result<()> {
        let (name, unit_ms) = unit(end);
        let floor = HEIGHT - BELOW;
        let (left, most) = (64.0, running.iter().chain(queued).copied());
        let x = Scale::of([end as f64 / unit_ms].into_iter(), Kind::Span, (left, WIDTH - RIGHT));
        let y = Scale::of(most, Kind::Span, (floor, TOP));
        let text = format!(
            "{} attempts: how many ran and how many were in a queue at a time, on average over each of {MOMENTS} \
             stretches.",
            self.bars.len(),
        );
        begin(page, HEIGHT, "Attempts at a time", &text)?;
        for tick in y.ticks(Kind::Span).into_iter().filter(|tick| tick.fract() == 0.0) {
            line(page, "grid", (left, y.at(tick)), (WIDTH - RIGHT, y.at(tick)))?;
            label(page, "end", (left - 8.0, y.at(tick) + 4.0), number(tick))?;
        }
        let path = |counts: &[f64], closed: bool| {
            let step = end as f64 / unit_ms / MOMENTS as f64;
            let points = counts
                .iter()
                .enumerate()
                .map(|(n, count)| format!("{} {}", x.at((n as f64 + 0.5) * step), y.at(*count)));
            let points = points.collect::<Vec<_>>().join("L");
            if closed { format!("M{left} {floor}L{points}L{} {floor}Z", WIDTH - RIGHT) } else { format!("M{points}") }
        };
        page.element("path", &[("class", &"completed"), ("d", &path(running, true))], "")?;
        page.element("path", &[("class", &"waiting"), ("d", &path(queued, false))], "")?;
        time_axis(page, &x, name, (left, TOP, floor))?;
        let (at_x, at_y) = (16.0, tenth((TOP + floor) / 2.0));
        let turned = format!("rotate(-90 {at_x} {at_y})");
        page.element("text", &[("class", &"middle"), ("x", &at_x), ("y", &at_y), ("transform", &turned)], "attempts")?;
        page.close("svg")
    }

    fn numbers(&self, page: &mut Page<'_>) -> io::Result<()> {
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
        let rows: Vec<_> = rows.collect();
        let caption = "Attempts that ran, in the order made";
        page.folded_table(("The numbers", caption), &columns, &rows, self.bars.len() - rows.len())
    }
}

fn time_axis(page: &mut Page<'_>, x: &Scale, unit: &str, (left, top, floor): (f64, f64, f64)) -> io::Result<()> {
    for tick in x.ticks(Kind::Span) {
        let at = x.at(tick);
        line(page, "grid", (at, top), (at, floor))?;
        label(page, "middle", (at, floor + 18.0), number(tick))?;
    }
    line(page, "axis", (left, floor), (WIDTH - RIGHT, floor))?;
    label(page, "middle", ((left + WIDTH - RIGHT) / 2.0, floor + 38.0), format!("time since the run was made / {unit}"))
}

fn rectangle(
    page: &mut Page<'_>,
    class: &'static str,
    (x, y, width, height): (f64, f64, f64, f64),
    title: Option<String>,
) -> io::Result<()> {
    let width = tenth(width);
    page.open("rect", &[("class", &class), ("x", &x), ("y", &y), ("width", &width), ("height", &height)])?;
    if let Some(title) = title {
        page.element("title", &[], title)?;
    }
    page.close("rect")
}
