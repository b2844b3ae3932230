//! What is measured: objectives, constraints and observables, and what a result must hold.
use crate::trial::{Trial, TrialState};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Whether less or more of an objective is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Direction {
    /// Less is better.
    Minimize,
    /// More is better.
    Maximize,
}

impl Direction {
    /// The value, turned so that less is better.
    pub(crate) fn turned(self, value: f64) -> f64 {
        match self {
            Self::Minimize => value,
            Self::Maximize => -value,
        }
    }
}

/// What a value must keep to for its point to be feasible; a bound itself is allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Constraint {
    lo: f64,
    hi: f64,
}

impl Constraint {
    fn read(written: &Value) -> Result<Self, String> {
        let items = written.as_array().map(Vec::as_slice).unwrap_or_default();
        let number = |value: &Value| value.as_f64();
        let read = match items {
            [word, bound] if word == "LESS_THAN" => number(bound).map(|hi| Self { lo: f64::NEG_INFINITY, hi }),
            [word, bound] if word == "GREATER_THAN" => number(bound).map(|lo| Self { lo, hi: f64::INFINITY }),
            [word, Value::Array(bounds)] if word == "BOUNDS" && bounds.len() == 2 => {
                number(&bounds[0]).zip(number(&bounds[1])).map(|(lo, hi)| Self { lo, hi })
            }
            [word, lo, hi] if word == "BOUNDS" => number(lo).zip(number(hi)).map(|(lo, hi)| Self { lo, hi }),
            _ => None,
        };
        read.filter(|constraint| constraint.lo <= constraint.hi).ok_or_else(|| {
            "a constraint is `[\"LESS_THAN\", number]`, `[\"GREATER_THAN\", number]` or `[\"BOUNDS\", lo, hi]`"
                .to_owned()
        })
    }
}

/// What is wanted of a point.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Goals {
    /// The objectives, by name.
    pub(crate) objectives: BTreeMap<String, Direction>,
    constraints: BTreeMap<String, Constraint>,
    observables: Vec<String>,
}

/// What a result says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    /// The values that were wanted.
    pub(crate) values: Map<String, Value>,
    /// Whether it says that the point cannot be had at all.
    pub(crate) infeasible: bool,
    /// What it says that it has cost.
    pub(crate) cost: Option<Value>,
}

/// Why a result is none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unusable {
    /// One sentence.
    pub(crate) why: String,
    /// The values that are there and can be used.
    pub(crate) partial: Map<String, Value>,
}

impl Goals {
    /// Reads `objectives`, `constraints` and `observables`.
    pub(crate) fn read(
        objectives: &BTreeMap<String, Direction>,
        constraints: &BTreeMap<String, Value>,
        observables: &[String],
    ) -> Result<Self, String> {
        if objectives.is_empty() {
            return Err("`objectives` has none".to_owned());
        }
        let constraint = |(name, value): (&String, &Value)| {
            let read = Constraint::read(value).map_err(|why| format!("`constraints.{name}`: {why}"))?;
            Ok((name.clone(), read))
        };
        let constraints = constraints.iter().map(constraint).collect::<Result<_, String>>()?;
        Ok(Self { objectives: objectives.clone(), constraints, observables: observables.to_vec() })
    }

    /// The names of all that is taken from a result.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.needed().chain(self.observables.iter().map(String::as_str))
    }

    fn needed(&self) -> impl Iterator<Item = &str> {
        let more = self.constraints.keys().filter(|name| !self.objectives.contains_key(*name));
        self.objectives.keys().chain(more).map(String::as_str)
    }

    /// The objective, where there is one alone.
    pub(crate) fn only_objective(&self) -> Option<&str> {
        (self.objectives.len() == 1).then(|| self.objectives.keys().next().map(String::as_str)).flatten()
    }

    /// Whether a document looks like a result: it has every objective, or says that there is none to be had.
    pub(crate) fn are_in(&self, document: &Value) -> bool {
        is_infeasible(document) || self.objectives.keys().all(|name| document.get(name).is_some())
    }

    /// Takes from a document what is wanted. A plain number is the value of the only objective.
    pub(crate) fn take(&self, document: &Value) -> Result<Measured, Unusable> {
        let unusable = |why: String, partial| Err(Unusable { why, partial });
        let document = match (document, self.only_objective()) {
            (Value::Object(document), _) => document.clone(),
            (number @ Value::Number(_), Some(name)) => Map::from_iter([(name.to_owned(), number.clone())]),
            _ => return unusable("the result is no JSON object".to_owned(), Map::new()),
        };
        let infeasible = document.get("infeasible") == Some(&Value::Bool(true));
        let (mut values, mut why) = (Map::new(), None);
        for name in self.names() {
            let Some(value) = document.get(name) else { continue };
            match refuse(value) {
                None => drop(values.insert(name.to_owned(), value.clone())),
                Some(wrong) if self.needed().any(|needed| needed == name) => {
                    why = why.or_else(|| Some(format!("`{name}` {wrong}")));
                }
                // what is only looked on may be anything
                Some(_) => drop(values.insert(name.to_owned(), value.clone())),
            }
        }
        let missing = self.needed().find(|name| !document.contains_key(*name)).filter(|_| !infeasible);
        if let Some(why) = why.or_else(|| missing.map(|name| lacks(name, &document))) {
            return unusable(why, values);
        }
        let cost = document.get("cost").filter(|_| !self.names().any(|name| name == "cost"));
        Ok(Measured { values, infeasible, cost: cost.cloned() })
    }

    /// The objectives of a trial that counts: it has completed, and keeps to every constraint.
    pub(crate) fn point(&self, trial: &Trial) -> Option<Vec<f64>> {
        let result = trial.result.as_ref().filter(|_| trial.state == TrialState::Completed)?;
        let value = |name: &String| scalar(result.get(name)?);
        let keeps = |(name, constraint): (&String, &Constraint)| {
            value(name).is_some_and(|value| constraint.lo <= value && value <= constraint.hi)
        };
        if !self.constraints.iter().all(keeps) {
            return None;
        }
        self.objectives.keys().map(value).collect()
    }
}

/// Whether a result says that its point cannot be had.
fn is_infeasible(document: &Value) -> bool {
    document.get("infeasible") == Some(&Value::Bool(true))
}

fn lacks(name: &str, document: &Map<String, Value>) -> String {
    let keys: Vec<String> = document.keys().take(10).map(|key| format!("`{key}`")).collect();
    let has = if keys.is_empty() { "it is empty".to_owned() } else { format!("it has {}", keys.join(", ")) };
    format!("the result has no `{name}`; {has}")
}

/// The number that a value comes to: itself, its `mean`, or the mean of its replicates.
pub(crate) fn scalar(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Object(object) => object.get("mean")?.as_f64(),
        Value::Array(items) => {
            let numbers = items.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>()?;
            let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
            mean.is_finite().then_some(mean)
        }
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

/// Why a value is none, as the end of a sentence that begins with its name.
fn refuse(value: &Value) -> Option<String> {
    let fine = match value {
        Value::Object(object) => {
            let spread =
                object.get("sem").is_none_or(|sem| sem.as_f64().is_some_and(|sem| sem >= 0.0) || sem.is_null());
            spread && object.keys().all(|key| key == "mean" || key == "sem") && scalar(value).is_some()
        }
        _ => scalar(value).is_some(),
    };
    (!fine).then(|| format!("is {value}: a value is a number, `{{\"mean\", \"sem\"}}` or a list of numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use matterstack_sdk::json;

    fn goals() -> Goals {
        let read = |value: Value| serde_json::from_value(value).expect("parameters");
        let constraints: BTreeMap<String, Value> =
            serde_json::from_value(json!({"cost": ["LESS_THAN", 3]})).expect("constraints");
        Goals::read(&read(json!({"y": "MINIMIZE"})), &constraints, &["haze".to_owned()]).expect("goals")
    }

    #[test]
    fn a_value_is_a_number_a_mean_or_replicates() {
        for (value, expected) in [
            (json!(1.5), Some(1.5)),
            (json!({"mean": 2, "sem": 0.1}), Some(2.0)),
            (json!({"mean": 2}), Some(2.0)),
            (json!([1, 2, 6]), Some(3.0)),
            (json!([]), None),
            (json!([1, null]), None),
            (json!({"mean": "2"}), None),
            (json!("1.5"), None),
            (json!(null), None),
            (json!(true), None),
        ] {
            assert_eq!(scalar(&value), expected, "{value}");
            assert_eq!(refuse(&value).is_none(), expected.is_some(), "{value}");
        }
        assert!(refuse(&json!({"mean": 1, "sem": -1})).is_some());
        assert!(refuse(&json!({"mean": 1, "std": 1})).is_some());
    }

    #[test]
    fn a_result_holds_what_is_wanted_or_is_none() {
        let taken = goals().take(&json!({"y": 1, "cost": [2, 3], "haze": "some", "else": 4})).expect("a result");
        assert_eq!(Value::Object(taken.values), json!({"y": 1, "cost": [2, 3], "haze": "some"}));
        let taken = goals().take(&json!({"infeasible": true})).expect("a result");
        assert!(taken.infeasible && taken.values.is_empty());
        for (document, words) in [
            (json!({"y": "1", "cost": 1}), "`y` is \"1\": a value is a number"),
            (json!({"y": null, "cost": 1}), "`y` is null"),
            (json!({"cost": 1, "z": 2}), "the result has no `y`; it has `cost`, `z`"),
            (json!({"y": 1}), "the result has no `cost`"),
            (json!({}), "it is empty"),
            (json!([1]), "no JSON object"),
            (json!("no"), "no JSON object"),
        ] {
            let error = goals().take(&document).expect_err("a refusal");
            assert!(error.why.contains(words), "{document}: {}", error.why);
        }
        let partial = goals().take(&json!({"cost": 1})).expect_err("a refusal").partial;
        assert_eq!(Value::Object(partial), json!({"cost": 1}));
    }

    #[test]
    fn constraints_are_kept_at_their_bounds_and_written_in_three_ways() {
        for (written, inside, outside) in [
            (json!(["LESS_THAN", 3]), 3.0, 3.5),
            (json!(["GREATER_THAN", 3]), 3.0, 2.5),
            (json!(["BOUNDS", 1, 3]), 1.0, 0.5),
            (json!(["BOUNDS", [1, 3]]), 3.0, 3.5),
        ] {
            let read = Constraint::read(&written).expect("a constraint");
            let keeps = |value: f64| read.lo <= value && value <= read.hi;
            assert!(keeps(inside) && !keeps(outside), "{written}");
        }
        for wrong in [json!(["LESS", 3]), json!(["LESS_THAN"]), json!(["BOUNDS", 3, 1]), json!(3)] {
            assert!(Constraint::read(&wrong).expect_err("a refusal").contains("a constraint is"), "{wrong}");
        }
    }
}
