//! `campaign.params`, checked key by key.
use serde::Deserialize;
use serde_json::{Map, Value};

/// Candidates that one campaign may propose: the cost of a fit grows with their third power.
pub const CANDIDATES_MAX: u64 = 200;
/// Candidates that may be under way at once.
const PARALLEL_MAX: u64 = 50;
const NAMES: [&str; 6] = ["initial", "batch", "max_iterations", "pool", "tolerance", "parallel"];

/// `campaign.params`. What is absent has its default; unknown keys and values out of range are errors.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct Params {
    /// Candidates of the space-filling initial design, 2 to 200; 10 by default.
    pub initial: usize,
    /// Candidates of each further iteration, 1 to 20; 5 by default.
    pub batch: usize,
    /// Iterations at most, the initial design included, from 1; 10 by default.
    pub max_iterations: u32,
    /// Candidates that are chosen from at a time, `batch` and `parallel` to 2000; 500 by default.
    pub pool: usize,
    /// The growth of the hypervolume that counts as progress, 0 to 1; 0.002 by default.
    pub tolerance: f64,
    /// How many candidates are under way at once, 1 to 50; absent: as many as a batch has, and then the next batch.
    pub parallel: Option<usize>,
}

impl TryFrom<Map<String, Value>> for Params {
    type Error = String;

    fn try_from(given: Map<String, Value>) -> Result<Self, String> {
        if let Some(unknown) = given.keys().find(|key| !NAMES.contains(&key.as_str())) {
            return Err(format!("unknown parameter `{unknown}`; there are `{}`", NAMES.join("`, `")));
        }
        let batch = whole(&given, "batch", 5, 1, 20)?;
        let parallel = given.get("parallel").map(|_| whole(&given, "parallel", 1, 1, PARALLEL_MAX)).transpose()?;
        let at_once = batch.max(parallel.unwrap_or_default());
        let params = Self {
            initial: whole(&given, "initial", 10, 2, CANDIDATES_MAX)? as usize,
            batch: batch as usize,
            max_iterations: whole(&given, "max_iterations", 10, 1, CANDIDATES_MAX)? as u32,
            pool: whole(&given, "pool", 500, at_once, 2000)? as usize,
            tolerance: share(&given, "tolerance", 0.002)?,
            parallel: parallel.map(|parallel| parallel as usize),
        };
        let budget = params.budget();
        if budget > CANDIDATES_MAX as usize {
            return Err(format!(
                "`initial`, `batch` and `max_iterations` ask for {budget} candidates, and {CANDIDATES_MAX} is the most"
            ));
        }
        Ok(params)
    }
}

impl Params {
    /// Candidates that are proposed at most.
    pub fn budget(&self) -> usize {
        self.initial + (self.max_iterations as usize - 1) * self.batch
    }
}

fn whole(given: &Map<String, Value>, name: &str, default: u64, least: u64, most: u64) -> Result<u64, String> {
    let Some(value) = given.get(name) else { return Ok(default) };
    value
        .as_u64()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("`{name}` is {value}; it must be a whole number from {least} to {most}"))
}

fn share(given: &Map<String, Value>, name: &str, default: f64) -> Result<f64, String> {
    let Some(value) = given.get(name) else { return Ok(default) };
    value
        .as_f64()
        .filter(|number| (0.0..=1.0).contains(number))
        .ok_or_else(|| format!("`{name}` is {value}; it must be a number from 0 to 1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use matterstack_sdk::json;

    fn refused(params: Value) -> String {
        serde_json::from_value::<Params>(params).unwrap_err().to_string()
    }

    #[test]
    fn what_is_absent_has_its_default() {
        let params: Params = serde_json::from_value(json!({"batch": 3})).unwrap();
        let expected =
            Params { initial: 10, batch: 3, max_iterations: 10, pool: 500, tolerance: 0.002, parallel: None };
        assert_eq!(params, expected);
    }

    #[test]
    fn bad_parameters_are_named() {
        let check = |params: Value, expected: &str| {
            let message = refused(params);
            assert!(message.contains(expected), "{message}");
        };
        check(json!({"bacth": 5}), "unknown parameter `bacth`; there are `initial`, `batch`");
        check(json!({"batch": 0}), "`batch` is 0; it must be a whole number from 1 to 20");
        check(json!({"initial": -1}), "`initial` is -1; it must be a whole number from 2 to 200");
        check(json!({"initial": "ten"}), "`initial` is \"ten\"");
        check(json!({"max_iterations": 2.5}), "`max_iterations` is 2.5");
        check(json!({"batch": 8, "pool": 7}), "`pool` is 7; it must be a whole number from 8 to 2000");
        check(json!({"parallel": 0}), "`parallel` is 0; it must be a whole number from 1 to 50");
        check(json!({"parallel": null}), "`parallel` is null; it must be a whole number from 1 to 50");
        check(json!({"parallel": 51}), "`parallel` is 51");
        check(json!({"parallel": 9, "pool": 8}), "`pool` is 8; it must be a whole number from 9 to 2000");
        check(json!({"tolerance": -0.1}), "`tolerance` is -0.1; it must be a number from 0 to 1");
        check(json!({"max_iterations": 40}), "ask for 205 candidates, and 200 is the most");
        check(json!([1]), "expected a map");
    }
}
