//! The figures of a page: how values came over time, two objectives against each other, what the campaign told.
use super::chart::{Chart, Dot};
use super::page::{Page, numbers_of, words_of};
use super::scale::{Kind, number};
use super::seen::Seen;
use super::values::{Goal, Series, against};
use std::io;

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

/// Draws them all; says where there are none what would bring one.
pub(super) fn write(page: &mut Page<'_>, seen: &Seen) -> io::Result<()> {
    let before = page.figures();
    let known = |name: &str| seen.values.series.get(name).filter(|series| !series.points.is_empty());
    let aims: Vec<Aim<'_>> =
        seen.goals.iter().filter_map(|(name, goal)| Some((name.as_str(), known(name)?, *goal))).collect();
    for (name, series, goal) in &aims {
        over_time(page, name, series, Some(*goal))?;
    }
    let pairs = (0..aims.len()).flat_map(|one| (one + 1..aims.len()).map(move |other| (one, other)));
    for (one, other) in pairs.take(FRONTS) {
        front(page, aims[one], aims[other], aims.len())?;
    }
    let has_goal = |name: &str| {
        let is_of = |goal: &String| name == goal || (!goal.contains('.') && name.rsplit('.').next() == Some(goal));
        seen.goals.iter().any(|(goal, _)| is_of(goal))
    };
    let plain: Vec<_> = seen.values.series.iter().filter(|(name, _)| !has_goal(name)).collect();
    for (name, series) in plain.iter().take(PLAIN) {
        over_time(page, name, series, None)?;
    }
    if plain.len() > PLAIN {
        let more = plain[PLAIN..].iter().take(ROWS).map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        page.paragraph(format!("Not drawn: {more}. `matterstack table` has the values of all."))?;
    }
    let metrics = seen.metrics.series.iter().filter(|(name, series)| !has_goal(name) && series.points.len() > 1);
    for (name, series) in metrics.take(TOLD) {
        told(page, name, series)?;
    }
    if page.figures() == before {
        page.paragraph(
            "There is no number to draw. With `--fields y.json`, `matterstack report` draws the numbers in the outputs \
             y.json of all tasks, and with `--minimize y.loss` also the best of them so far.",
        )?;
    }
    Ok(())
}

/// Each value of a name in the order in which tasks ended, and the best so far.
fn over_time(page: &mut Page<'_>, name: &str, series: &Series, goal: Option<Goal>) -> io::Result<()> {
    let (dots, steps) = series.over_time(goal);
    let best = steps.last().and_then(|(_, best)| {
        let of = series.points.iter().find(|point| point.value == *best)?;
        Some(format!(" The best is {} ({}).", number(*best), of.of))
    });
    let goal_word = goal.map(|goal| format!(", {}", goal.word())).unwrap_or_default();
    let title = format!("{name}{goal_word}");
    page.element("h3", &[], &title)?;
    let line = if goal.is_some() { " The line is the best so far." } else { "" };
    let description = format!(
        "{} values, a point each, in the order in which they came.{line}{}",
        dots.len(),
        best.unwrap_or_default()
    );
    let chart = Chart {
        title,
        description: description.clone(),
        x: ("number of the value, in the order in which tasks ended", Kind::Counts),
        y: name,
        dots: &dots,
        steps: &steps,
    };
    page.open("figure", &[])?;
    chart.draw(page)?;
    page.element("figcaption", &[], description)?;
    let mut so_far: Option<f64> = None;
    let rows = dots.iter().take(ROWS).map(|dot| {
        if let Some(goal) = goal
            && so_far.is_none_or(|best| goal.is_better(dot.y, best))
        {
            so_far = Some(dot.y);
        }
        vec![number(dot.x), dot.of.clone(), dot.y.to_string(), so_far.map(|best| best.to_string()).unwrap_or_default()]
    });
    let mut columns = vec![numbers_of("place"), words_of("of"), numbers_of(name)];
    columns.extend(goal.map(|_| numbers_of("best so far")));
    numbers(page, name, &columns, rows.collect(), dots.len())?;
    page.close("figure")
}

/// Two of so many objectives against each other.
fn front(page: &mut Page<'_>, first: Aim<'_>, second: Aim<'_>, aims: usize) -> io::Result<()> {
    let (dots, steps) = against((first.1, first.2), (second.1, second.2));
    let best: Vec<&Dot> = dots.iter().filter(|dot| dot.stands_out).collect();
    let description = format!(
        "{} against {}: {} points, of which {} are on the Pareto front{}, drawn as diamonds and joined by a line.",
        second.0,
        first.0,
        dots.len(),
        best.len(),
        if aims > 2 { " of these two" } else { "" },
    );
    let title = if aims > 2 { format!("Pareto front: {}, {}", first.0, second.0) } else { "Pareto front".to_owned() };
    page.element("h3", &[], &title)?;
    let label = |(name, _, goal): Aim<'_>| format!("{name}, {}", goal.word());
    let (x, y) = (label(first), label(second));
    let chart =
        Chart { title, description: description.clone(), x: (&x, Kind::Values), y: &y, dots: &dots, steps: &steps };
    page.open("figure", &[])?;
    chart.draw(page)?;
    page.element("figcaption", &[], description)?;
    let rows = best.iter().take(ROWS).map(|dot| vec![dot.of.clone(), dot.x.to_string(), dot.y.to_string()]);
    let columns = [words_of("of"), numbers_of(first.0), numbers_of(second.0)];
    numbers(page, "The front", &columns, rows.collect(), best.len())?;
    page.close("figure")
}

/// What the campaign told with its decisions.
fn told(page: &mut Page<'_>, name: &str, series: &Series) -> io::Result<()> {
    let title = format!("{name}, as the campaign told it");
    page.element("h3", &[], &title)?;
    let dot = |point: &super::values::Point| Dot {
        x: point.order as f64,
        y: point.value,
        of: point.of.clone(),
        stands_out: false,
    };
    let dots: Vec<Dot> = series.points.iter().map(dot).collect();
    let description = format!("What the campaign said with each of {} decisions.", dots.len());
    let x = ("number of the decision", Kind::Counts);
    let chart = Chart { title, description: description.clone(), x, y: name, dots: &dots, steps: &[] };
    page.open("figure", &[])?;
    chart.draw(page)?;
    page.element("figcaption", &[], description)?;
    let rows = dots.iter().take(ROWS).map(|dot| vec![number(dot.x), dot.y.to_string()]);
    numbers(page, name, &[numbers_of("decision"), numbers_of(name)], rows.collect(), dots.len())?;
    page.close("figure")
}

/// The numbers of a figure.
fn numbers(
    page: &mut Page<'_>,
    caption: &str,
    columns: &[super::page::Column],
    rows: Vec<Vec<String>>,
    all: usize,
) -> io::Result<()> {
    page.folded_table(("The numbers", caption), columns, &rows, all - rows.len())
}
