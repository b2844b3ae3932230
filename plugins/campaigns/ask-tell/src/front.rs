//! The best trials so far: those to which no other is at least as good in every objective.
use crate::goals::{Direction, Goals};
use crate::trial::{Trial, TrialState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A trial that counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Its id.
    pub(crate) trial: String,
    /// Its objectives, by name in their order.
    pub(crate) values: Vec<f64>,
}

/// The best trials so far, and how long there has been no better one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Front {
    objectives: BTreeMap<String, Direction>,
    /// One where there is one objective.
    points: Vec<Point>,
    /// Planned trials that ended since one of them was better.
    since_better: u64,
}

impl Front {
    /// Nothing so far.
    pub(crate) fn new(goals: &Goals) -> Self {
        Self { objectives: goals.objectives.clone(), ..Self::default() }
    }

    /// Whether it is one of these objectives.
    pub(crate) fn is_of(&self, goals: &Goals) -> bool {
        self.objectives == goals.objectives
    }

    /// Takes in a trial that has ended.
    pub(crate) fn add(&mut self, trial: &Trial, goals: &Goals) {
        if trial.state == TrialState::Abandoned {
            return;
        }
        let better = goals.point(trial).is_some_and(|values| self.improve(&trial.trial, values));
        if better {
            self.since_better = 0;
        } else if trial.is_planned() {
            self.since_better += 1;
        }
    }

    fn improve(&mut self, trial: &str, values: Vec<f64>) -> bool {
        let new = self.turned(&values);
        let as_good = |one: &[f64], other: &[f64]| one.iter().zip(other).all(|(one, other)| one <= other);
        if self.points.iter().any(|point| as_good(&self.turned(&point.values), &new)) {
            return false;
        }
        let turned: Vec<Vec<f64>> = self.points.iter().map(|point| self.turned(&point.values)).collect();
        let mut old = turned.iter();
        self.points.retain(|_| old.next().is_some_and(|old| !as_good(&new, old)));
        self.points.push(Point { trial: trial.to_owned(), values });
        true
    }

    fn turned(&self, values: &[f64]) -> Vec<f64> {
        self.objectives.values().zip(values).map(|(direction, value)| direction.turned(*value)).collect()
    }

    /// The best trials, in the order in which they ended.
    pub(crate) fn points(&self) -> &[Point] {
        &self.points
    }

    /// The objectives, by name.
    pub(crate) fn objectives(&self) -> &BTreeMap<String, Direction> {
        &self.objectives
    }

    /// How many planned trials have ended since one of them was better than all before.
    pub(crate) fn since_better(&self) -> u64 {
        self.since_better
    }

    /// The area between the front and a reference point, where there are two objectives. What is not better than the
    /// reference point adds nothing.
    pub(crate) fn hypervolume(&self, reference: [f64; 2]) -> Option<f64> {
        if self.objectives.len() != 2 {
            return None;
        }
        let corner = self.turned(&reference);
        let mut points: Vec<Vec<f64>> = self.points.iter().map(|point| self.turned(&point.values)).collect();
        points.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let (mut volume, mut ceiling) = (0.0, corner[1]);
        for point in points.iter().filter(|point| point[0] < corner[0]) {
            volume += (corner[0] - point[0]) * (ceiling - point[1]).max(0.0);
            ceiling = ceiling.min(point[1]);
        }
        Some(volume)
    }
}

/// The worst value of each of two objectives among points that count.
pub(crate) fn worst(points: &[Vec<f64>], goals: &Goals) -> Option<[f64; 2]> {
    let of = |place: usize, direction: Direction| {
        let values = points.iter().filter_map(|point| point.get(place).copied());
        values.max_by(|a, b| direction.turned(*a).total_cmp(&direction.turned(*b)))
    };
    let mut worst = goals.objectives.values().enumerate().map(|(place, direction)| of(place, *direction));
    Some([worst.next()??, worst.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;
    use matterstack_sdk::json;
    use serde_json::Value;

    fn goals(objectives: Value) -> Goals {
        let objectives = serde_json::from_value(objectives).expect("objectives");
        Goals::read(&objectives, &BTreeMap::new(), &[]).expect("goals")
    }

    fn completed(id: &str, result: Value) -> Trial {
        let mut trial = Trial::pending(id.to_owned(), serde_json::Map::new(), None);
        trial.state = TrialState::Completed;
        trial.result = result.as_object().cloned();
        trial
    }

    #[test]
    fn with_one_objective_it_is_the_best() {
        for (direction, best) in [("MINIMIZE", "b"), ("MAXIMIZE", "a")] {
            let goals = goals(json!({"y": direction}));
            let mut front = Front::new(&goals);
            for (id, value) in [("a", 3.0), ("b", 1.0), ("c", 2.0), ("d", 1.0)] {
                front.add(&completed(id, json!({"y": value})), &goals);
            }
            assert_eq!(front.points().len(), 1);
            assert_eq!(front.points()[0].trial, best);
        }
    }

    #[test]
    fn with_two_it_is_what_no_other_beats() {
        let goals = goals(json!({"a": "MINIMIZE", "b": "MAXIMIZE"}));
        let mut front = Front::new(&goals);
        for (id, a, b) in [("p", 1.0, 1.0), ("q", 2.0, 2.0), ("r", 2.0, 1.5), ("s", 1.0, 1.5)] {
            front.add(&completed(id, json!({"a": a, "b": b})), &goals);
        }
        let ids: Vec<&str> = front.points().iter().map(|point| point.trial.as_str()).collect();
        assert_eq!((ids, front.since_better()), (vec!["q", "s"], 0));
        // from (3, 0): q alone spans 1 x 2, s adds 1 x 1.5
        assert_eq!(front.hypervolume([3.0, 0.0]), Some(3.5));
        assert_eq!(front.hypervolume([2.0, 0.0]), Some(1.5));
        assert_eq!(front.hypervolume([0.5, 0.0]), Some(0.0));
        assert_eq!(worst(&[vec![1.0, 5.0], vec![4.0, 2.0]], &goals), Some([4.0, 2.0]));
    }

    #[test]
    fn what_brings_nothing_is_counted() {
        let goals = goals(json!({"y": "MINIMIZE"}));
        let mut front = Front::new(&goals);
        front.add(&completed("a", json!({"y": 1})), &goals);
        front.add(&completed("b", json!({"y": 1})), &goals);
        front.add(&Trial { state: TrialState::Failed, ..completed("c", json!({})) }, &goals);
        front.add(&Trial { state: TrialState::Abandoned, ..completed("d", json!({})) }, &goals);
        front.add(&completed("start-0001", json!({"y": 2})), &goals);
        assert_eq!(front.since_better(), 2);
        front.add(&completed("told-0001", json!({"y": 0})), &goals);
        assert_eq!(front.since_better(), 0);
    }
}
