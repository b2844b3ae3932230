//! The values of a run that figures are of: what the campaign minimizes or maximizes, and numbers in documents.
use super::chart::Dot;
use serde_json::Value;
use std::collections::BTreeMap;

/// Series that are looked at; a document of many thousand numbers is none of results.
const SERIES: usize = 200;

/// Which way a value is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    Least,
    Most,
}

impl Goal {
    pub(super) fn is_better(self, value: f64, than: f64) -> bool {
        match self {
            Self::Least => value < than,
            Self::Most => value > than,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Least => "minimized",
            Self::Most => "maximized",
        }
    }
}

/// Values of one name, in the order in which their tasks ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    pub(super) points: Vec<Point>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Point {
    /// Orders them.
    pub(super) order: i64,
    /// The task or trial.
    pub(super) of: String,
    pub(super) value: f64,
}

/// The values of a run by name.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) series: BTreeMap<String, Series>,
    pub(super) left_out: bool,
}

impl Values {
    /// Takes a number in; what is none is passed over.
    pub(super) fn add(&mut self, name: &str, order: i64, of: &str, value: &Value) {
        let Some(value) = value.as_f64().filter(|value| value.is_finite()) else { return };
        if !self.series.contains_key(name) {
            if self.series.len() == SERIES {
                self.left_out = true;
                return;
            }
            self.series.insert(name.to_owned(), Series::default());
        }
        if let Some(series) = self.series.get_mut(name) {
            series.points.push(Point { order, of: of.to_owned(), value });
        }
    }

    /// Brings every series into the order in which tasks ended.
    pub(super) fn sort(&mut self) {
        self.series.values_mut().for_each(|series| series.points.sort_by_key(|point| point.order));
    }
}

/// A measured value: a number, one with its error, or replicates.
pub(super) fn measured(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Object(of) => of.get("mean")?.as_f64(),
        Value::Array(replicates) => {
            let sum: Option<f64> = replicates.iter().map(Value::as_f64).sum();
            Some(sum? / replicates.len() as f64).filter(|mean| mean.is_finite())
        }
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

impl Series {
    /// Each value, and the best so far after each, where it is known which way is better.
    pub(super) fn over_time(&self, goal: Option<Goal>) -> (Vec<Dot>, Vec<(f64, f64)>) {
        let (mut dots, mut steps) = (Vec::with_capacity(self.points.len()), Vec::<(f64, f64)>::new());
        for (place, point) in self.points.iter().enumerate() {
            let x = place as f64 + 1.0;
            let better = match (goal, steps.last()) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(goal), Some((_, best))) => goal.is_better(point.value, *best),
            };
            if better {
                steps.push((x, point.value));
            }
            dots.push(Dot { x, y: point.value, of: point.of.clone(), stands_out: false });
        }
        if let Some((_, best)) = steps.last().copied() {
            // the best so far is so to the end
            steps.push((dots.len() as f64, best));
        }
        (dots, steps)
    }
}

/// Two objectives of the same tasks against each other: all points, those of the front marked, and the front as a line
/// of steps.
pub(super) fn against(first: (&Series, Goal), second: (&Series, Goal)) -> (Vec<Dot>, Vec<(f64, f64)>) {
    let others: BTreeMap<(i64, &str), f64> =
        second.0.points.iter().map(|point| ((point.order, point.of.as_str()), point.value)).collect();
    let both = first.0.points.iter().filter_map(|point| {
        let y = *others.get(&(point.order, point.of.as_str()))?;
        Some(Dot { x: point.value, y, of: point.of.clone(), stands_out: false })
    });
    let mut dots: Vec<Dot> = both.collect();
    let sign = |goal: Goal| if goal == Goal::Least { 1.0 } else { -1.0 };
    let (on_x, on_y) = (sign(first.1), sign(second.1));
    dots.sort_by(|one, other| {
        (one.x * on_x).total_cmp(&(other.x * on_x)).then((one.y * on_y).total_cmp(&(other.y * on_y)))
    });
    let (mut steps, mut best) = (Vec::new(), f64::INFINITY);
    for dot in &mut dots {
        if dot.y * on_y < best {
            best = dot.y * on_y;
            dot.stands_out = true;
            steps.push((dot.x, dot.y));
        }
    }
    (dots, steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn series(values: &[f64]) -> Series {
        let point =
            |(order, value): (usize, &f64)| Point { order: order as i64, of: format!("t{order}"), value: *value };
        Series { points: values.iter().enumerate().map(point).collect() }
    }

    #[test]
    fn the_best_so_far_falls_or_rises_and_reaches_to_the_end() {
        let one = series(&[3.0, 5.0, 1.0, 2.0]);
        assert_eq!(one.over_time(Some(Goal::Least)).1, [(1.0, 3.0), (3.0, 1.0), (4.0, 1.0)]);
        assert_eq!(one.over_time(Some(Goal::Most)).1, [(1.0, 3.0), (2.0, 5.0), (4.0, 5.0)]);
        assert!(one.over_time(None).1.is_empty() && series(&[]).over_time(Some(Goal::Most)).1.is_empty());
    }

    #[test]
    fn nothing_on_the_front_is_beaten_in_both() {
        let (x, y) = (series(&[1.0, 2.0, 2.0, 3.0, 1.0]), series(&[5.0, 4.0, 3.0, 3.0, 6.0]));
        let front = |of: (Goal, Goal)| {
            let (dots, _) = against((&x, of.0), (&y, of.1));
            let mut names: Vec<String> = dots.into_iter().filter(|dot| dot.stands_out).map(|dot| dot.of).collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(front((Goal::Least, Goal::Least)), "t0 t2");
        assert_eq!(front((Goal::Most, Goal::Least)), "t3");
        assert_eq!(front((Goal::Most, Goal::Most)), "t1 t3 t4");
        assert!(against((&series(&[]), Goal::Least), (&y, Goal::Least)).0.is_empty());
    }

    #[test]
    fn a_value_may_have_an_error_or_replicates() {
        let cases = [
            (json!(2), Some(2.0)),
            (json!({"mean": 1.5, "sem": 0.1}), Some(1.5)),
            (json!([1, 3]), Some(2.0)),
            (json!([]), None),
            (json!("2"), None),
            (json!([1, "x"]), None),
        ];
        for (value, expected) in cases {
            assert_eq!(measured(&value), expected, "{value}");
        }
        let mut values = Values::default();
        (0..300).for_each(|n| values.add(&format!("v{n}"), 0, "t", &json!(1)));
        assert!(values.series.len() == SERIES && values.left_out);
    }
}
