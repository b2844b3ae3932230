//! A change of a task that was planned, as a person writes it: `KEY=VALUE`.
use super::nearest;
use crate::model::document::{self, Dialect, Place};
use serde_json::{Map, Value};

/// What of a task can be changed.
const KEYS: [&str; 10] =
    ["command", "files", "env", "resources", "retry", "outputs", "operator", "priority", "input", "depends_on"];
/// Those whose second part is a name that may hold dots.
const NAMED: [&str; 2] = ["files", "env"];
/// Those of which a word is a text, although it reads as a number or as `true`.
const TEXTS: [&str; 3] = ["env", "command", "operator"];

/// A change of one value of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskChange {
    path: Vec<String>,
    value: Value,
}

impl TaskChange {
    /// Reads `KEY=VALUE`. Dots separate keys, but for what follows `files.` and `env.`, which is one name; the value is
    /// JSON if it parses, else text, and `null` takes the key away. Of `env`, `command` and `operator` a word is always
    /// text.
    ///
    /// # Errors
    /// A sentence on what is wrong with it, and one on what would help.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let shape = || "write it as KEY=VALUE, such as resources.walltime_s=3600; dots separate keys".to_owned();
        let (key, value) = text.split_once('=').ok_or_else(|| ("there is no `=`".to_owned(), shape()))?;
        let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
        if !KEYS.contains(&first) {
            let hint = match nearest(first, KEYS.into_iter()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("what can be changed of a task: {}", KEYS.join(", ")),
            };
            return Err((format!("`{first}` of a task cannot be changed"), hint));
        }
        let mut path = vec![first.to_owned()];
        match rest {
            Some(name) if NAMED.contains(&first) => path.push(name.to_owned()),
            Some(keys) => path.extend(keys.split('.').map(str::to_owned)),
            None => {}
        }
        if path.iter().any(String::is_empty) {
            return Err(("a key is empty".to_owned(), shape()));
        }
        let value = match document::read(value.as_bytes(), Dialect::Strict) {
            Ok(Value::Bool(_) | Value::Number(_)) if TEXTS.contains(&first) => Value::String(value.to_owned()),
            Ok(value) => value,
            Err(fault) if fault.kind.is_syntax() => Value::String(value.to_owned()),
            Err(mut fault) => {
                fault.place.splice(0..0, path.iter().map(|key| Place::Key(key.clone())));
                return Err((fault.sentence(), shape()));
            }
        };
        Ok(Self { path, value })
    }

    /// Makes the change.
    ///
    /// # Errors
    /// If something that is no object stands in the way; the key that it would hold.
    pub fn apply(&self, task: &mut Value) -> Result<(), String> {
        let mut place = task;
        for (depth, key) in self.path.iter().enumerate() {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            let object = place.as_object_mut().ok_or_else(|| key.clone())?;
            if depth + 1 == self.path.len() && self.value.is_null() {
                object.remove(key);
                return Ok(());
            }
            place = object.entry(key).or_insert(Value::Null);
        }
        *place = self.value.clone();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::TaskChange;
    use serde_json::json;

    #[test]
    fn values_are_set_made_and_taken_away() {
        let mut task = json!({"id": "a", "command": "true", "files": {"x.py": {"path": "x.py"}}});
        for text in [
            "resources.walltime_s=60",
            "command=[\"echo\",\"1\"]",
            "files.run.sh={\"content\":\"a=b\"}",
            "files.x.py=null",
            "env.A.B=c=d",
            "env.N=4",
        ] {
            TaskChange::parse(text).expect(text).apply(&mut task).expect(text);
        }
        let expected = json!({
            "id": "a", "command": ["echo", "1"], "files": {"run.sh": {"content": "a=b"}},
            "resources": {"walltime_s": 60}, "env": {"A.B": "c=d", "N": "4"},
        });
        assert_eq!(task, expected);
    }

    #[test]
    fn what_cannot_be_changed_is_named() {
        for (text, words) in [
            ("id=b", "`id`"),
            ("resources", "no `=`"),
            ("comand=x", "`command`"),
            ("resources..x=1", "empty"),
            ("input={\"a\":1,\"a\":2}", "`input.a` stands twice"),
        ] {
            let (what, hint) = TaskChange::parse(text).expect_err(text);
            assert!(format!("{what} {hint}").contains(words), "{text}: {what} {hint}");
        }
        let through = TaskChange::parse("command.x=1").expect("a change").apply(&mut json!({"command": "true"}));
        assert_eq!(through, Err("x".to_owned()));
    }
}
