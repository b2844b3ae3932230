//! Why a document that is JSON is not of the form it should have: which key, what is wanted there, in which unit, and
//! which key was probably meant.
use super::document::{Place, way};
use super::form::Form;
use super::workflow::nearest;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;

/// A part of a document that is not of the form it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The way from the top to the part.
    pub place: Vec<Place>,
    /// What is wrong with it, without its name.
    pub why: String,
    /// The key that was probably meant.
    pub near: Option<String>,
}

impl Misfit {
    /// As it is seen from further above.
    #[must_use]
    pub fn below(mut self, above: impl IntoIterator<Item = Place>) -> Self {
        self.place.splice(0..0, above);
        self
    }

    /// The sentence without the key that was probably meant, about a part at `place`.
    pub fn sentence(&self) -> String {
        match self.place.as_slice() {
            [] => self.why.clone(),
            place => format!("`{}`: {}", way(place), self.why),
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence())?;
        self.near.iter().try_for_each(|near| write!(f, "; did you mean `{near}`?"))
    }
}

/// Reads a value as what it should be.
///
/// # Errors
/// What does not fit, if anything.
pub fn fit<T: DeserializeOwned>(value: &Value) -> Result<T, Misfit> {
    // Keeping the way costs time, and is done only where it is needed.
    T::deserialize(Form(value)).or_else(|_| serde_path_to_error::deserialize(Form(value))).map_err(|error| {
        let place = error.path().iter().filter_map(|segment| match segment {
            serde_path_to_error::Segment::Seq { index } => Some(Place::Index(*index)),
            serde_path_to_error::Segment::Map { key } => Some(Place::Key(key.clone())),
            serde_path_to_error::Segment::Enum { .. } | serde_path_to_error::Segment::Unknown => None,
        });
        misfit(place.collect(), &error.into_inner().to_string())
    })
}

/// Puts what serde says into words for whoever wrote the document: it names types of ours, and lists every key.
fn misfit(mut place: Vec<Place>, message: &str) -> Misfit {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if let Some(key) = quoted.next().filter(|_| message.starts_with("unknown field ")) {
        if !matches!(place.last(), Some(Place::Key(last)) if last == key) {
            place.push(Place::Key(key.to_owned()));
        }
        let known: Vec<&str> = quoted.collect();
        let near = nearest(key, known.iter().copied());
        let near = near.or_else(|| known.iter().copied().find(|known| known.trim_end_matches(UNIT) == key));
        let known = match known.as_slice() {
            [] => "none is known there".to_owned(),
            known => format!("known are {}", known.join(", ")),
        };
        return Misfit {
            place,
            why: format!("unknown field `{}`; {known}", key.escape_debug()),
            near: near.map(str::to_owned),
        };
    }
    if let Some(word) = message.strip_prefix("unknown variant ").and_then(|_| message.split('`').nth(1)) {
        let known: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
        let why = format!("unknown variant `{}`; known are {}", word.escape_debug(), known.join(", "));
        return Misfit { place, why, near: nearest(word, known.iter().copied()).map(str::to_owned) };
    }
    let mut why = message.to_owned();
    if let Some(Place::Key(key)) = place.iter().rev().find(|step| matches!(step, Place::Key(_)))
        && let Some(unit) = unit_of(key)
        && message.starts_with("invalid ")
    {
        why += &format!(", {unit}");
    }
    Misfit { place, why, near: None }
}

/// Letters that end the name of a key whose value has a unit, such as `walltime_s`.
const UNIT: &[char] = &['_', 's', 'm', 'b'];

/// The unit that the name of a key tells.
fn unit_of(key: &str) -> Option<&'static str> {
    let ends = [
        ("_ms", "a number of milliseconds"),
        ("_s", "a number of seconds"),
        ("_mb", "a number of MiB"),
        ("_factor", "a multiple such as 1.5"),
        ("cores", "a whole number of cores"),
        ("gpus", "a whole number of GPUs"),
        ("nodes", "a whole number of machines"),
        ("tasks", "a whole number"),
        ("max_attempts", "a whole number of attempts"),
        ("max_active", "a whole number of attempts"),
    ];
    ends.into_iter().find(|(end, _)| key.ends_with(end)).map(|(_, unit)| unit)
}

#[cfg(test)]
mod tests {
    use super::fit;
    use crate::model::workflow::Task;
    use serde_json::{Value, json};

    fn why(mut more: Value) -> String {
        more["id"] = json!("a");
        fit::<Task>(&more).expect_err("a misfit").to_string()
    }

    #[test]
    fn a_misfit_names_key_unit_and_what_was_meant() {
        let cases = [
            (
                json!({"resources": {"walltime": 60}}),
                "`resources.walltime`: unknown field",
                "did you mean `walltime_s`?",
            ),
            (json!({"resources": {"memory": 60}}), "`resources.memory`: unknown field", "did you mean `memory_mb`?"),
            (json!({"resources": {"walltime_s": "1h"}}), "`resources.walltime_s`: ", "a number of seconds"),
            (json!({"resources": {"memory_mb": 1.5}}), "`resources.memory_mb`: ", "a number of MiB"),
            (json!({"resources": {"cores": -1}}), "`resources.cores`: ", "a whole number of cores"),
            (json!({"retry": {"on": {"oom": {"memory_factor": "2"}}}}), "`retry.on.oom.memory_factor`", "a multiple"),
            (json!({"dependson": []}), "`dependson`: unknown field", "did you mean `depends_on`?"),
            (json!({"files": {"x": {"pth": "y"}}}), "`files.x.pth`: unknown field", "did you mean `path`?"),
            (json!({"files": {"x": {"path": "y", "stage": "lnik"}}}), "`files.x.stage`: ", "did you mean `link`?"),
            (json!({"files": {"x": {"path": "y", "executable": "yes"}}}), "`files.x.executable`: ", "a boolean"),
            (json!({"files": {"x": {"path": "y", "content": "z"}}}), "`files.x`: ", "{\"path\": …}"),
            (json!({"files": {"x": {"from": "y"}}}), "`files.x`: ", "\"output\": …"),
            (json!({"outputs": [{"pattern": "x", "keep": "remot"}]}), "`outputs[0].keep`: ", "`remote`"),
            (json!({"command": {"x": 1}}), "`command`: ", "a list of texts"),
            (json!({"outputs": [["x", "remote"]]}), "`outputs[0]`: ", "a text, or {\"pattern\": …"),
            (json!({"resources": [3, 5]}), "`resources`: ", "expected an object"),
            (json!({"retry": [4, 0.5]}), "`retry`: ", "expected an object"),
            (json!({"retry": {"on": [null]}}), "`retry.on`: ", "expected an object"),
            (json!({"files": {"x": ["scripts/s"]}}), "`files.x`: ", "expected an object"),
            (json!({"files": {"x": "scripts/s"}}), "`files.x`: ", "{\"path\": …}"),
            (json!({"resources": {"cores": 9e15}}), "`resources.cores`: ", "a whole number of cores"),
            (json!({"outputs": [3]}), "`outputs[0]`: ", "{\"pattern\": …, \"keep\": \"remote\"}"),
        ];
        for (task, one, two) in cases {
            let text = why(task.clone());
            assert!(text.contains(one) && text.contains(two), "{task}: {text}");
        }
    }

    #[test]
    fn a_whole_number_is_an_integer_however_it_is_written() {
        let text = r#"{"id": "a", "resources": {"cores": 2.0, "memory_mb": 3.6e3, "gpus": -0}, "retry": {"max_attempts": 1.0}}"#;
        let task: Task = fit(&serde_json::from_str(text).expect("JSON")).expect("a task");
        let resources = task.resources.expect("resources");
        assert_eq!((resources.cores, resources.memory_mb, resources.gpus), (Some(2), Some(3600), Some(0)));
        for (number, fits) in [(9_007_199_254_740_992.0, true), (9_007_199_254_740_994.0, false), (-1.0, false)] {
            let task = fit::<Task>(&json!({"id": "a", "resources": {"memory_mb": number}}));
            assert_eq!(task.is_ok(), fits, "{number}");
        }
    }
}
