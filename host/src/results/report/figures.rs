//! The figures of a page: how values came over time, two objectives against each other, what the campaign told.
use super::chart::{Chart, Dot};
use super::scale::{Kind, number};
use super::seen::Seen;
use super::table::{Column, numbers_of, table, words_of};
use super::values::{Goal, Point, Series, against};
use minijinja::{Value, context};

/// Figures of numbers of which nobody said which way is better.
const PLAIN: usize = 6;
/// Figures of numbers that the campaign told.
const TOLD: usize = 4;
/// Pairs of objectives that are drawn against each other.
const FRONTS: usize = 3;
/// Rows of the table beside a figure.
const ROWS: usize = 1000;

/// What the campaign aims at: its name, its values, and which way is better.
type Aim<'a> = (&'a str, &'a Series, Goal);

/// What the part is made from.
pub(super) fn view(seen: &Seen) -> Value {
    let known = |name: &str| seen.values.series.get(name).filter(|series| !series.points.is_empty());
    let aims: Vec<Aim<'_>> =
        seen.goals.iter().filter_map(|(name, goal)| Some((name.as_str(), known(name)?, *goal))).collect();
    let mut drawn: Vec<Value> = aims.iter().map(|(name, series, goal)| over_time(name, series, Some(*goal))).collect();
    let pairs = (0..aims.len()).flat_map(|one| (one + 1..aims.len()).map(move |other| (one, other)));
    drawn.extend(pairs.take(FRONTS).map(|(one, other)| front(aims[one], aims[other], aims.len())));
    let has_goal = |name: &str| {
        let is_of = |goal: &String| name == goal || (!goal.contains('.') && name.rsplit('.').next() == Some(goal));
        seen.goals.iter().any(|(goal, _)| is_of(goal))
    };
    let plain: Vec<_> = seen.values.series.iter().filter(|(name, _)| !has_goal(name)).collect();
    drawn.extend(plain.iter().take(PLAIN).map(|(name, series)| over_time(name, series, None)));
    let more: Vec<_> = plain.iter().skip(PLAIN).take(ROWS).map(|(name, _)| name.as_str()).collect();
    let metrics = seen.metrics.series.iter().filter(|(name, series)| !has_goal(name) && series.points.len() > 1);
    drawn.extend(metrics.take(TOLD).map(|(name, series)| told(name, series)));
    context! { drawn, more => more.join(", ") }
}

/// Each value of a name in the order in which tasks ended, and the best so far.
fn over_time(name: &str, series: &Series, goal: Option<Goal>) -> Value {
    let (dots, steps) = series.over_time(goal);
    let best = steps.last().and_then(|(_, best)| {
        let of = series.points.iter().find(|point| point.value == *best)?;
        Some(format!(" The best is {} ({}).", number(*best), of.of))
    });
    let goal_word = goal.map(|goal| format!(", {}", goal.word())).unwrap_or_default();
    let line = if goal.is_some() { " The line is the best so far." } else { "" };
    let mut so_far: Option<f64> = None;
    let rows = dots.iter().take(ROWS).map(|dot| {
        so_far = goal.map(|goal| so_far.filter(|best| !goal.is_better(dot.y, *best)).unwrap_or(dot.y));
        let cells = [number(dot.x), dot.of.clone(), dot.y.to_string()];
        cells.into_iter().chain(so_far.map(|best| best.to_string())).collect()
    });
    let mut columns = vec![numbers_of("place"), words_of("of"), numbers_of(name)];
    columns.extend(goal.map(|_| numbers_of("best so far")));
    Chart {
        title: format!("{name}{goal_word}"),
        description: format!(
            "{} values, a point each, in the order in which they came.{line}{}",
            dots.len(),
            best.unwrap_or_default()
        ),
        x: ("number of the value, in the order in which tasks ended", Kind::Counts),
        y: name,
        dots: &dots,
        steps: &steps,
        numbers: numbers(name, &columns, rows.collect(), dots.len()),
    }
    .view()
}

/// Two of so many objectives against each other.
fn front(first: Aim<'_>, second: Aim<'_>, aims: usize) -> Value {
    let (dots, steps) = against((first.1, first.2), (second.1, second.2));
    let best: Vec<&Dot> = dots.iter().filter(|dot| dot.stands_out).collect();
    let label = |(name, _, goal): Aim<'_>| format!("{name}, {}", goal.word());
    let rows = best.iter().take(ROWS).map(|dot| vec![dot.of.clone(), dot.x.to_string(), dot.y.to_string()]);
    let columns = [words_of("of"), numbers_of(first.0), numbers_of(second.0)];
    Chart {
        title: if aims > 2 { format!("Pareto front: {}, {}", first.0, second.0) } else { "Pareto front".to_owned() },
        description: format!(
            "{} against {}: {} points, of which {} are on the Pareto front{}, drawn as diamonds and joined by a line.",
            second.0,
            first.0,
            dots.len(),
            best.len(),
            if aims > 2 { " of these two" } else { "" },
        ),
        x: (&label(first), Kind::Values),
        y: &label(second),
        dots: &dots,
        steps: &steps,
        numbers: numbers("The front", &columns, rows.collect(), best.len()),
    }
    .view()
}

/// What the campaign told with its decisions.
fn told(name: &str, series: &Series) -> Value {
    let dot = |point: &Point| Dot { x: point.order as f64, y: point.value, of: point.of.clone(), stands_out: false };
    let dots: Vec<Dot> = series.points.iter().map(dot).collect();
    let rows = dots.iter().take(ROWS).map(|dot| vec![number(dot.x), dot.y.to_string()]);
    Chart {
        title: format!("{name}, as the campaign told it"),
        description: format!("What the campaign said with each of {} decisions.", dots.len()),
        x: ("number of the decision", Kind::Counts),
        y: name,
        dots: &dots,
        steps: &[],
        numbers: numbers(name, &[numbers_of("decision"), numbers_of(name)], rows.collect(), dots.len()),
    }
    .view()
}

/// The numbers of a figure.
fn numbers(caption: &str, columns: &[Column], rows: Vec<Vec<String>>, all: usize) -> Value {
    table(caption, columns, rows, all.saturating_sub(ROWS))
}
