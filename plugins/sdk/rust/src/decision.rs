//! Decisions that are written as documents, under the schema `decision`: what a program of `builtin:ask-tell` leaves
//! and a script's `plan` answers.
use crate::error::Detail;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A decision as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    state: Value,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    tasks: Option<Vec<Value>>,
    #[serde(default)]
    complete: Option<Value>,
    #[serde(default, rename = "wait")]
    _wait: Value,
    #[serde(default)]
    hold: Option<Value>,
    #[serde(default)]
    fail: Option<Value>,
    #[serde(default)]
    cancel: Vec<String>,
    #[serde(default)]
    wake_at_ms: Option<u64>,
    #[serde(default)]
    summary: Option<Value>,
    #[serde(default)]
    known: Option<String>,
}

/// What a decision says is to happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Run these tasks.
    Tasks(Vec<Value>),
    /// The campaign has reached its end, with this result.
    Complete(Value),
    /// Plan nothing now.
    Wait,
    /// A person must decide.
    Hold(Detail),
    /// The campaign gives up.
    Fail(Detail),
}

/// A decision that was written as a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The state after it, if it gives one.
    pub state: Option<Value>,
    /// What is to happen.
    pub said: Said,
    /// One sentence on why.
    pub reason: Option<String>,
    /// Tasks that are no longer wanted, by id.
    pub cancel: Vec<String>,
    /// When to ask again though nothing ended, in milliseconds since 1970-01-01T00:00:00Z.
    pub wake_at_ms: Option<u64>,
    /// How far the campaign has come.
    pub summary: Option<Value>,
    /// Whether tasks of the run that are planned again unchanged are passed over.
    pub skip_known: bool,
}

impl Decision {
    /// Reads a decision, or says what is wrong with it. A hold or a failure without a code has the code `program`.
    pub fn read(document: Map<String, Value>) -> Result<Self, String> {
        let [has_state, has_complete, waits] = ["state", "complete", "wait"].map(|key| document.contains_key(key));
        of_their_kinds(&document)?;
        let written: Written = serde_json::from_value(Value::Object(document)).map_err(|error| error.to_string())?;
        let said = [written.tasks.is_some(), has_complete, waits, written.hold.is_some(), written.fail.is_some()];
        match said.iter().filter(|said| **said).count() {
            1 => {}
            0 => return Err("it says none of `tasks`, `complete`, `wait`, `hold` and `fail`".to_owned()),
            _ => return Err("it says more than one of `tasks`, `complete`, `wait`, `hold` and `fail`".to_owned()),
        }
        let skip_known = match written.known.as_deref() {
            None => false,
            Some("skip") => true,
            Some(other) => return Err(format!("`known` is `{other}`; it can be `skip`")),
        };
        let said = match (written.tasks, written.hold, written.fail) {
            (Some(tasks), _, _) => Said::Tasks(tasks),
            (_, Some(hold), _) => Said::Hold(named("hold", hold)?),
            (_, _, Some(fail)) => Said::Fail(named("fail", fail)?),
            _ if has_complete => Said::Complete(written.complete.unwrap_or_default()),
            _ => Said::Wait,
        };
        Ok(Self {
            state: has_state.then_some(written.state),
            said,
            reason: written.reason,
            cancel: written.cancel,
            wake_at_ms: written.wake_at_ms,
            summary: written.summary,
            skip_known,
        })
    }
}

/// Names the key whose value is of another kind, which the reading of all of them would not.
fn of_their_kinds(document: &Map<String, Value>) -> Result<(), String> {
    type Fits = fn(&Value) -> bool;
    const KINDS: [(&str, &str, Fits); 5] = [
        ("reason", "a text", |value| value.is_string() || value.is_null()),
        ("tasks", "a list of tasks", |value| value.is_array() || value.is_null()),
        ("cancel", "a list of task ids", |value| value.as_array().is_some_and(|ids| ids.iter().all(Value::is_string))),
        ("wake_at_ms", "a whole number of milliseconds", |value| value.is_u64() || value.is_null()),
        ("known", "a text", |value| value.is_string() || value.is_null()),
    ];
    for (key, kind, fits) in KINDS {
        if let Some(value) = document.get(key).filter(|value| !fits(value)) {
            let shown = match value {
                Value::Object(_) => "an object".to_owned(),
                Value::Array(_) => "such a list".to_owned(),
                _ => value.to_string(),
            };
            return Err(format!("`{key}` is {shown}, and not {kind}"));
        }
    }
    Ok(())
}

/// Reads a sentence, or `{code?, message, data?}`: what a hold, a failure or a status says. Without a code it is
/// `program`.
pub fn detail(written: Value) -> Result<Detail, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Said {
        #[serde(default)]
        code: Option<String>,
        message: String,
        #[serde(default)]
        data: Option<Value>,
    }
    match written {
        Value::String(message) => return Ok(Detail::new("program", message)),
        Value::Object(_) => {}
        _ => return Err("it is neither a sentence nor an object with `message`".to_owned()),
    }
    let said: Said = serde_json::from_value(written).map_err(|error| error.to_string())?;
    let detail = Detail::new(said.code.unwrap_or_else(|| "program".to_owned()), said.message);
    Ok(Detail { data: said.data, ..detail })
}

fn named(key: &str, written: Value) -> Result<Detail, String> {
    detail(written).map_err(|why| format!("`{key}`: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn read(document: Value) -> Result<Decision, String> {
        let Value::Object(document) = document else { panic!("no object") };
        Decision::read(document)
    }

    #[test]
    fn a_state_is_absent_null_or_another() {
        for (document, state) in [
            (json!({"wait": null}), None),
            (json!({"wait": true, "state": null}), Some(Value::Null)),
            (json!({"wait": true, "state": [1]}), Some(json!([1]))),
        ] {
            let decision = read(document).unwrap();
            assert_eq!((decision.said, decision.state), (Said::Wait, state));
        }
    }

    #[test]
    fn what_happens_next_is_said_once() {
        for (document, said) in [
            (json!({"tasks": []}), Said::Tasks(Vec::new())),
            (json!({"complete": null}), Said::Complete(Value::Null)),
            (json!({"hold": "why"}), Said::Hold(Detail::new("program", "why"))),
            (json!({"fail": {"code": "c", "message": "m", "data": {}}}), {
                Said::Fail(Detail::new("c", "m").with_data(json!({})))
            }),
        ] {
            assert_eq!(read(document).unwrap().said, said);
        }
        for (document, why) in [
            (json!({}), "it says none of"),
            (json!({"wait": true, "complete": null}), "it says more than one of"),
            (json!({"hold": 3}), "`hold`: it is neither a sentence nor an object with `message`"),
            (json!({"fail": {"message": "m", "why": 1}}), "`fail`: unknown field `why`"),
            (json!({"wait": true, "known": "all"}), "`known` is `all`; it can be `skip`"),
            (json!({"wait": true, "next": 1}), "unknown field `next`"),
        ] {
            let said = read(document.clone()).unwrap_err();
            assert!(said.contains(why), "{document}: {said}");
        }
    }
}
