//! What many virtual runs of each campaign say together: how good the best so far is in the middle, how far that
//! spreads, and who is ahead, after so many results and after so much time.
use super::outcome::{Course, Goal};
use serde::Serialize;
use std::collections::BTreeMap;

/// The most points of each curve.
const POINTS: usize = 200;

/// The best so far of the virtual runs of a campaign, at one point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// What decided.
    pub plugin: String,
    /// After what: `results` or `time_s`.
    pub by: &'static str,
    /// After how much of it.
    pub at: f64,
    /// How many virtual runs had a result by then.
    pub runs: usize,
    /// Half of them are as good or better.
    pub median: f64,
    /// A quarter of them are smaller.
    pub lower_quartile: f64,
    /// A quarter of them are larger.
    pub upper_quartile: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
    /// Of how many seeds it is the best of all campaigns; a seed is shared by those that are equal.
    pub ahead: f64,
}

/// Sums virtual runs up that came as [`super::backtest`] returns them.
pub fn summaries(courses: &[Course]) -> Vec<Summary> {
    let campaigns: Vec<&[Course]> =
        courses.chunk_by(|one, next| one.plugin == next.plugin && one.seed < next.seed).collect();
    let most = courses.iter().map(|course| course.trials.len()).max().unwrap_or(0);
    let longest = courses.iter().map(|course| course.time_s).fold(0.0, f64::max);
    let counts = (1..=POINTS.min(most)).map(|n| ("results", (n * most / POINTS.min(most)) as f64));
    let times = (1..=POINTS).filter(|_| longest > 0.0).map(|n| ("time_s", n as f64 * longest / POINTS as f64));
    let points: Vec<(&'static str, f64)> = counts.chain(times).collect();
    campaigns
        .iter()
        .enumerate()
        .flat_map(|(place, _)| points.iter().map(move |point| (place, *point)))
        .filter_map(|(place, point)| summed_up(&campaigns, place, point))
        .collect()
}

/// The best that a virtual run had at a point.
fn best_at(course: &Course, (by, at): (&str, f64)) -> Option<f64> {
    let trials = &course.trials;
    let count = match by {
        "results" => trials.len().min(at as usize),
        _ => trials.partition_point(|trial| trial.time_s <= at),
    };
    Some(trials.get(count.checked_sub(1)?)?.best)
}

fn summed_up(campaigns: &[&[Course]], place: usize, point: (&'static str, f64)) -> Option<Summary> {
    let courses = campaigns.get(place)?;
    let mut values: Vec<f64> = courses.iter().filter_map(|course| best_at(course, point)).collect();
    values.sort_by(f64::total_cmp);
    let (least, most) = (*values.first()?, *values.last()?);
    let ahead = courses.iter().filter_map(|course| {
        let own = best_at(course, point)?;
        let others: BTreeMap<usize, f64> = campaigns
            .iter()
            .enumerate()
            .filter_map(|(at, all)| Some((at, best_at(all.iter().find(|one| one.seed == course.seed)?, point)?)))
            .collect();
        let is_beaten = others.values().any(|other| match course.goal {
            Goal::Least => *other < own,
            Goal::Most => *other > own,
        });
        (!is_beaten).then(|| 1.0 / others.values().filter(|other| **other == own).count().max(1) as f64)
    });
    Some(Summary {
        plugin: courses.first()?.plugin.clone(),
        by: point.0,
        at: point.1,
        runs: values.len(),
        median: quantile(&values, 0.5),
        lower_quartile: quantile(&values, 0.25),
        upper_quartile: quantile(&values, 0.75),
        least,
        most,
        ahead: ahead.sum(),
    })
}

/// The value below which a part of sorted values lies, between two of them in proportion.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}
