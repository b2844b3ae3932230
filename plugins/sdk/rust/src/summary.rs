//! How far a campaign has come, for the people who watch it.
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// How far a campaign has come, under the schema `summary`. JSON has no number that is not finite, so such a one is
/// left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// One line for a person.
    pub text: String,
    /// How much is done, of `total`, in a unit of the campaign's own.
    #[serde(skip_serializing_if = "is_no_number")]
    pub done: Option<f64>,
    /// How much there is to do at most.
    #[serde(skip_serializing_if = "is_no_number")]
    pub total: Option<f64>,
    /// Numbers worth watching, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "numbers")]
    pub metrics: BTreeMap<String, f64>,
}

impl Summary {
    /// Starts from the line for a person.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Sets how much is done.
    pub fn done(mut self, done: f64) -> Self {
        self.done = Some(done);
        self
    }

    /// Sets how much there is to do at most.
    pub fn total(mut self, total: f64) -> Self {
        self.total = Some(total);
        self
    }

    /// Adds a number worth watching.
    pub fn metric(mut self, name: impl Into<String>, value: f64) -> Self {
        self.metrics.insert(name.into(), value);
        self
    }
}

fn is_no_number(number: &Option<f64>) -> bool {
    !number.is_some_and(f64::is_finite)
}

fn numbers<S: Serializer>(metrics: &BTreeMap<String, f64>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for (name, value) in metrics.iter().filter(|(_, value)| value.is_finite()) {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_not_written() {
        let text = |summary: &Summary| serde_json::to_string(summary).unwrap();
        let summary = Summary::new("half way");
        assert_eq!(text(&summary), r#"{"text":"half way"}"#);
        let summary = summary.done(1.5).total(3.0).metric("loss", 0.25);
        assert_eq!(text(&summary), r#"{"text":"half way","done":1.5,"total":3.0,"metrics":{"loss":0.25}}"#);
        let summary = summary.done(f64::NAN).metric("bad", f64::INFINITY);
        assert_eq!(text(&summary), r#"{"text":"half way","total":3.0,"metrics":{"loss":0.25}}"#);
    }
}
