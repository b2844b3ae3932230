//! Values in JSON documents, under the names that columns have.
use crate::ground::files::open_regular;
use crate::model::document::sha256;
use crate::store::{LastAttempt, Output, Store};
use cap_std::fs::Dir;
use serde::Deserialize;
use serde_json::Value;
use std::io::Read;

/// The largest output whose fields are shown, in bytes.
const FIELDS_MAX: u64 = 1024 * 1024;

/// What stands for the parameters of a task in its text.
#[derive(Deserialize)]
struct Given {
    input: Option<Value>,
    #[serde(default)]
    files: Files,
}

#[derive(Default, Deserialize)]
struct Files {
    #[serde(rename = "params.json")]
    params: Option<Content>,
}

#[derive(Deserialize)]
struct Content {
    content: Option<String>,
}

/// Hands over the parameters of a task: the values of its `input`, and of a file `params.json` that stands in it.
pub(super) fn parameters(spec: &str, mut each: impl FnMut(String, Value)) {
    let Ok(Given { input, files }) = serde_json::from_str(spec) else { return };
    if let Some(input @ Value::Object(_)) = input {
        flatten("params".to_owned(), input, &mut each);
    }
    let written = files.params.and_then(|file| file.content).and_then(|text| serde_json::from_str(&text).ok());
    if let Some(params @ Value::Object(_)) = written {
        flatten("params".to_owned(), params, &mut each);
    }
}

/// The document that an operator returned of an attempt. The record of how a job ended is none: what it says has
/// columns of its own.
pub(super) fn data(attempt: &LastAttempt) -> Option<Value> {
    returned(&attempt.id, attempt.data.as_deref())
}

/// As [`data`], of the attempt's id and the text.
pub(super) fn returned(attempt: &str, data: Option<&str>) -> Option<Value> {
    let data: Value = serde_json::from_str(data?).ok()?;
    (data["attempt"] != attempt).then_some(data)
}

/// Hands over every value within a document that is no object, under the path to it with dots.
pub(super) fn flatten(name: String, value: Value, each: &mut impl FnMut(String, Value)) {
    match value {
        Value::Object(inner) => {
            inner.into_iter().for_each(|(key, value)| flatten(format!("{name}.{key}"), value, each))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => each(name, value),
    }
}

/// The JSON document in an output, which is compared with its digest.
///
/// # Errors
/// Why it cannot be shown, for a person.
pub(super) fn document(
    run: &Dir,
    (store, attempt): (&Store, i64),
    path: &str,
    output: &Output,
) -> Result<Value, String> {
    if let Some(removed) = store.removed_file(attempt, &output.path).map_err(|error| error.to_string())? {
        return Err(removed.sentence());
    }
    if let Some(remote) = &output.remote {
        return Err(format!("stayed on backend `{}`", remote.backend));
    }
    left_document(run, path, (output.size, &output.sha256))
}

/// As [`document`], of a file that was neither removed nor kept elsewhere; `path` is relative to the run.
pub(super) fn left_document(run: &Dir, path: &str, (size, digest): (u64, &str)) -> Result<Value, String> {
    if size > FIELDS_MAX {
        return Err(format!("has {size} bytes; fields are shown of up to {FIELDS_MAX}"));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    let file = open_regular(run, path).map_err(|error| error.to_string())?;
    file.take(FIELDS_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if sha256(&bytes) != digest {
        return Err("is not as it was left".to_owned());
    }
    serde_json::from_slice(&bytes).map_err(|error| format!("is no JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn all(spec: &Value) -> Vec<(String, Value)> {
        let mut found = Vec::new();
        parameters(&spec.to_string(), |name, value| found.push((name, value)));
        found
    }

    #[test]
    fn parameters_stand_in_the_input_and_in_one_file() {
        let spec = json!({
            "id": "a", "input": {"x": 1, "solvent": {"name": "water", "ratio": [1, 2]}},
            "files": {"params.json": {"content": "{\"y\": 0.5}"}, "other.json": {"path": "scripts/other.json"}},
        });
        let expected =
            [("params.x", json!(1)), ("params.solvent.name", json!("water")), ("params.solvent.ratio", json!([1, 2]))];
        let mut expected: Vec<_> = expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        expected.sort_by_key(|(name, _)| name.len());
        let mut found = all(&spec);
        assert_eq!(found.pop(), Some(("params.y".to_owned(), json!(0.5))));
        found.sort_by_key(|(name, _)| name.len());
        assert_eq!(found, expected);
        assert!(all(&json!({"id": "a", "input": 3, "files": {"params.json": {"content": "no JSON"}}})).is_empty());
    }
}
