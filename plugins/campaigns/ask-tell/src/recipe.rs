//! Templates of tasks: of the one that asks, and of those that measure.
use campaign_template::{Cell, Row};
use matterstack_sdk::json;
use serde_json::{Map, Value};
use std::rc::Rc;

/// What every template may say.
const KEYS: [&str; 11] =
    ["operator", "command", "call", "python", "files", "env", "outputs", "resources", "retry", "priority", "input"];
/// What marks an object as a template, rather than as templates by name.
const MARKS: [&str; 4] = ["command", "call", "operator", "input"];
/// Keys of a task that are not the template's to say.
const OWN: [&str; 4] = ["id", "depends_on", "allow_failure", "allow_dependency_failure"];
/// The shim that calls a function.
pub(crate) const SHIM: &str = include_str!("call.py");
/// Where the shim is staged.
const SHIM_PATH: &str = "_call.py";

/// A task to be made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    task: Map<String, Value>,
    call: Option<Call>,
}

/// A Python function.
#[derive(Debug, Clone, PartialEq)]
struct Call {
    /// The pinned file.
    path: String,
    /// Its name without folders.
    name: String,
    function: String,
    python: String,
}

/// What a template's task is given.
pub(crate) struct Given<'a> {
    pub(crate) id: String,
    /// The file that goes in, and where it comes from.
    pub(crate) document: (&'a str, Value),
    /// The file that comes out.
    pub(crate) answer: &'a str,
    /// A pattern of files that it leaves, beside those that the template names.
    pub(crate) pattern: Option<String>,
    /// The name of a value that is returned alone.
    pub(crate) objective: Option<&'a str>,
    /// The digest of the shim.
    pub(crate) shim: &'a str,
}

impl Template {
    /// Reads the template at `place`, which may say `more` than others.
    pub(crate) fn read(written: &Value, place: &str, more: &[&str]) -> Result<Self, String> {
        let object = written.as_object().ok_or_else(|| format!("`{place}` is no object but {written}"))?;
        for key in object.keys() {
            if OWN.contains(&key.as_str()) {
                return Err(format!("`{place}.{key}` is not the template's to say: the campaign sets it"));
            }
            if !KEYS.contains(&key.as_str()) && !more.contains(&key.as_str()) {
                return Err(format!("`{place}` has no key `{key}`; there are `{}`", KEYS.join("`, `")));
            }
        }
        let call = object.get("call").map(|call| Call::read(call, object, place)).transpose()?;
        if call.is_none() && object.contains_key("python") {
            return Err(format!("`{place}.python` is for `call`, which is not there"));
        }
        for (key, is_right) in [("files", Value::is_object as fn(&Value) -> bool), ("outputs", Value::is_array)] {
            if object.get(key).is_some_and(|value| !is_right(value)) {
                let shape = if key == "files" { "an object" } else { "a list" };
                return Err(format!("`{place}.{key}` must be {shape}"));
            }
        }
        let is_task = |key: &str| key != "call" && key != "python" && !more.contains(&key);
        let task = object.iter().filter(|(key, _)| is_task(key)).map(|(key, value)| (key.clone(), value.clone()));
        Ok(Self { task: task.collect(), call })
    }

    /// Whether a program runs.
    pub(crate) fn has_program(&self) -> bool {
        self.call.is_some() || self.task.contains_key("command")
    }

    /// Whether a function is called.
    pub(crate) fn is_call(&self) -> bool {
        self.call.is_some()
    }

    /// The names at which its files are staged, for a sentence on one that stands twice.
    pub(crate) fn stages(&self, path: &str) -> bool {
        self.task.get("files").is_some_and(|files| files.get(path).is_some())
    }

    /// The task: what runs, with the file that it gets and those that it leaves.
    pub(crate) fn task(&self, given: &Given<'_>) -> Map<String, Value> {
        let mut task = self.task.clone();
        task.insert("id".to_owned(), Value::String(given.id.clone()));
        task.insert("allow_failure".to_owned(), Value::Bool(true));
        if !self.has_program() {
            return task;
        }
        if let Some(call) = &self.call {
            task.insert("command".to_owned(), call.command(given));
            add_file(&mut task, &call.name, json!({"path": call.path}));
            add_file(&mut task, SHIM_PATH, json!({"digest": given.shim}));
        }
        add_file(&mut task, given.document.0, given.document.1.clone());
        let outputs = task.entry("outputs").or_insert_with(|| json!([])).as_array_mut();
        if let (Some(outputs), Some(pattern)) = (outputs, given.pattern.clone().map(Value::String))
            && !outputs.contains(&pattern)
        {
            outputs.push(pattern);
        }
        task
    }

    /// The template with the values of a trial in it.
    pub(crate) fn filled(&self, values: &Map<String, Value>, trial: &str, before: &str) -> Result<Self, String> {
        let named = |name: &str, value: Value| (Rc::<str>::from(name), Rc::new(Cell::Value(value)));
        let words = [named("trial", json!(trial)), named("before", json!(before))];
        let row = Row::new(values.iter().map(|(name, value)| named(name, value.clone())).chain(words));
        Ok(Self { task: campaign_template::fill(&self.task, &row)?, call: self.call.clone() })
    }

    /// Lets the operator have this document, unless the template says another.
    pub(crate) fn with_input(mut self, input: impl FnOnce() -> Value) -> Self {
        self.task.entry("input").or_insert_with(input);
        self
    }

    /// Sets a key, unless the template says it.
    pub(crate) fn with_default(mut self, key: &str, value: Value) -> Self {
        self.task.entry(key).or_insert(value);
        self
    }
}

impl Call {
    fn read(written: &Value, object: &Map<String, Value>, place: &str) -> Result<Self, String> {
        if object.contains_key("command") {
            return Err(format!("`{place}` has `call` and `command`: one of them runs"));
        }
        let wrong = || {
            format!(
                "`{place}.call` is {written}; it names a pinned file and a function, as `scripts/measure.py:measure`"
            )
        };
        let (path, function) = written.as_str().and_then(|text| text.rsplit_once(':')).ok_or_else(wrong)?;
        let name = path.rsplit('/').next().unwrap_or(path);
        if !name.ends_with(".py") || !campaign_template::is_name(function) {
            return Err(wrong());
        }
        let python = match object.get("python") {
            None => "python3",
            Some(Value::String(python)) => python,
            Some(other) => return Err(format!("`{place}.python` is no text but {other}")),
        };
        let (path, name) = (path.to_owned(), name.to_owned());
        Ok(Self { path, name, function: function.to_owned(), python: python.to_owned() })
    }

    fn command(&self, given: &Given<'_>) -> Value {
        let words = [&self.python, SHIM_PATH, &self.name, &self.function, given.document.0, given.answer];
        Value::from(words.into_iter().chain(given.objective).collect::<Vec<&str>>())
    }
}

fn add_file(task: &mut Map<String, Value>, destination: &str, source: Value) {
    if let Some(files) = task.entry("files").or_insert_with(|| json!({})).as_object_mut() {
        files.entry(destination).or_insert(source);
    }
}

/// What measures a trial: tasks, one after the other.
pub(crate) type Recipe = Vec<Template>;

/// Reads `tell`: a template, templates by name, or a list of them that come one after the other. A single one has no
/// name.
pub(crate) fn read_tell(written: &Value) -> Result<Vec<(Option<String>, Recipe)>, String> {
    match written {
        Value::Object(object) if !object.is_empty() && !MARKS.iter().any(|mark| object.contains_key(*mark)) => {
            let named =
                |(name, value): (&String, &Value)| Ok((Some(name.clone()), recipe(value, &format!("tell.{name}"))?));
            object.iter().map(named).collect()
        }
        _ => Ok(vec![(None, recipe(written, "tell")?)]),
    }
}

fn recipe(written: &Value, place: &str) -> Result<Recipe, String> {
    match written {
        Value::Array(items) if items.is_empty() => Err(format!("`{place}` is an empty list")),
        Value::Array(items) => {
            let step = |(place_of, item)| Template::read(item, &format!("{place}[{place_of}]"), &[]);
            items.iter().enumerate().map(step).collect()
        }
        Value::Object(object) if MARKS.iter().any(|mark| object.contains_key(*mark)) => {
            Ok(vec![Template::read(written, place, &[])?])
        }
        _ => Err(format!("`{place}` is no template: it needs one of `{}`", MARKS.join("`, `"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tell: Value) -> Result<Vec<(Option<String>, usize)>, String> {
        Ok(read_tell(&tell)?.into_iter().map(|(name, recipe)| (name, recipe.len())).collect())
    }

    #[test]
    fn tell_is_a_template_or_several_by_name_or_a_chain() {
        let one = json!({"command": "true"});
        assert_eq!(read(one.clone()), Ok(vec![(None, 1)]));
        assert_eq!(read(json!([one, {"input": {}}])), Ok(vec![(None, 2)]));
        let named = vec![(Some("cheap".to_owned()), 1), (Some("exact".to_owned()), 2)];
        assert_eq!(read(json!({"cheap": one, "exact": [one, one]})), Ok(named));
        for (tell, words) in [
            (json!({}), "`tell` is no template"),
            (json!([]), "`tell` is an empty list"),
            (json!("true"), "`tell` is no template"),
            (json!({"cheap": {"files": {}}}), "`tell.cheap` is no template"),
            (json!({"command": "true", "comand": "x"}), "`tell` has no key `comand`"),
            (json!([{"command": "true"}, {"id": "x"}]), "`tell[1].id` is not the template's to say"),
            (json!({"command": "true", "files": []}), "`tell.files` must be an object"),
            (json!({"command": "true", "outputs": {}}), "`tell.outputs` must be a list"),
            (json!({"command": "true", "python": "p"}), "`tell.python` is for `call`"),
            (json!({"command": "true", "call": "m.py:f"}), "`call` and `command`"),
            (json!({"call": "m.py"}), "names a pinned file and a function"),
            (json!({"call": "m:f"}), "names a pinned file and a function"),
            (json!({"call": "m.py:f()"}), "names a pinned file and a function"),
            (json!({"call": "m.py:f", "python": 3}), "`tell.python` is no text but 3"),
        ] {
            let error = read(tell.clone()).expect_err("a refusal");
            assert!(error.contains(words), "{tell}: {error}");
        }
    }

    #[test]
    fn a_call_runs_the_shim_on_the_pinned_file() {
        let written = json!({"call": "scripts/deep/m.py:f", "python": "python3.11", "files": {"x": {"path": "x"}}});
        let template = Template::read(&written, "tell", &[]).expect("a template");
        let document = ("params.json", json!({"content": "{}"}));
        let given = Given {
            id: "t".into(),
            document,
            answer: "result.json",
            pattern: Some("result.json".into()),
            objective: Some("y"),
            shim: "d",
        };
        let expected = json!({
            "id": "t", "allow_failure": true, "outputs": ["result.json"],
            "command": ["python3.11", "_call.py", "m.py", "f", "params.json", "result.json", "y"],
            "files": {
                "x": {"path": "x"}, "m.py": {"path": "scripts/deep/m.py"}, "_call.py": {"digest": "d"},
                "params.json": {"content": "{}"},
            },
        });
        assert_eq!(Value::Object(template.task(&given)), expected);
    }
}
