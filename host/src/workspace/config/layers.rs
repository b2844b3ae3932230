//! The layers that a configuration is joined from, so that what is wrong is told where it was written: in which line of
//! which file, or by which `--set`.
use super::{read_document, read_file};
use crate::failure::Failure;
use crate::model::config::{BackendConfig, RunConfig};
use crate::model::document::{self, Dialect, Place, way};
use crate::model::misfit::{self, Misfit};
use crate::model::pool::MachineConfig;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// The format of configurations.
pub(super) const FORMAT: u32 = 1;

/// The option behind which single values are given.
pub const SET: &str = "--set ";

/// A setting that cannot be meant.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The way to it.
    pub(super) place: Vec<Place>,
    /// What is wrong, the key included.
    pub(super) what: String,
    /// Why, if that is not said.
    pub(super) cause: Option<String>,
    /// What would help.
    pub(super) hint: Option<String>,
}

impl Wrong {
    /// Of a key, dots between its parts.
    pub(super) fn new(key: &str, what: impl Into<String>) -> Self {
        Self::at(key.split('.').map(|key| Place::Key(key.to_owned())).collect(), what)
    }

    pub(super) fn at(place: Vec<Place>, what: impl Into<String>) -> Self {
        Self { place, what: what.into(), cause: None, hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }
}

/// Layers of a configuration, and the value they make together.
#[derive(Debug)]
pub(super) struct Layers {
    /// What all of them say together.
    pub(super) value: Value,
    files: Vec<(String, Vec<u8>)>,
    sets: Vec<String>,
    /// What stands before a setting where it was given.
    option: &'static str,
}

impl Default for Layers {
    fn default() -> Self {
        Self { value: Value::Object(Map::new()), files: Vec::new(), sets: Vec::new(), option: SET }
    }
}

impl Layers {
    /// Lays a file over what there is.
    pub(super) fn add_file(&mut self, path: &Path) -> Result<(), Failure> {
        self.add_text(&path.display().to_string(), &read_file(path)?)
    }

    /// Lays the text of a file over what there is.
    pub(super) fn add_text(&mut self, name: &str, text: &[u8]) -> Result<(), Failure> {
        let given = read_document(text, name)?;
        self.files.push((name.to_owned(), text.to_owned()));
        if let Some(format) = given.get("format").filter(|format| format.as_f64() != Some(f64::from(FORMAT))) {
            let wrong = Wrong::new("format", format!("configuration `{name}` is of format {format}"))
                .hint(format!("this version reads format {FORMAT}"));
            return Err(self.failure(wrong));
        }
        merge(&mut self.value, given);
        Ok(())
    }

    /// Sets single values, each of which was given behind `option`.
    pub(super) fn add_sets(&mut self, sets: &[String], option: &'static str) -> Result<(), Failure> {
        self.sets.extend_from_slice(sets);
        self.option = option;
        set_values(&mut self.value, sets, option)
    }

    /// Checks what is said of the machine, and leaves it out: it is no run's, and is read where jobs start.
    pub(super) fn take_machine(&mut self) -> Result<(), Failure> {
        let Some(said) = self.value.as_object_mut().and_then(|keys| keys.remove("machine")) else { return Ok(()) };
        let said: MachineConfig =
            misfit::fit(&said).map_err(|misfit| self.misfit(&misfit.below([Place::Key("machine".to_owned())])))?;
        said.check().map_err(|(key, why)| {
            let key = format!("machine.{key}");
            self.failure(Wrong::new(&key, format!("{key} {why}")))
        })
    }

    /// What the layers say together, as a configuration.
    pub(super) fn parse(&self) -> Result<RunConfig, Failure> {
        let backends = self.value.get("backends").and_then(Value::as_object);
        for (name, backend) in backends.into_iter().flatten() {
            if let Err(misfit) = BackendConfig::read(backend) {
                let above = ["backends", name].map(|key| Place::Key(key.to_owned()));
                return Err(self.misfit(&misfit.below(above)));
            }
        }
        misfit::fit(&self.value).map_err(|misfit| self.misfit(&misfit))
    }

    fn misfit(&self, misfit: &Misfit) -> Failure {
        let place = if misfit.place.is_empty() { String::new() } else { format!(" at `{}`", way(&misfit.place)) };
        let (subject, line) = match self.origin(&misfit.place) {
            Some(Origin::Set(set)) => (format!("`{}{set}`", self.option), String::new()),
            Some(Origin::Line(name, line)) => (format!("configuration `{name}`"), format!(" (line {line})")),
            None => match self.files.last() {
                Some((name, _)) => (format!("configuration `{name}`"), String::new()),
                None => ("the configuration".to_owned(), String::new()),
            },
        };
        let failure = Failure::input(format!("{subject} is not valid{place}{line}")).because(misfit.why.as_str());
        match &misfit.near {
            Some(near) => failure.hint(format!("did you mean `{near}`? `matterstack config schema` prints every key")),
            None => failure.hint("`matterstack config schema` prints every key and its type"),
        }
    }

    /// A setting that cannot be meant, told with where it was written.
    pub(super) fn failure(&self, wrong: Wrong) -> Failure {
        let told = match self.origin(&wrong.place) {
            Some(Origin::Set(set)) => format!(" (`{}{set}`)", self.option),
            Some(Origin::Line(name, line)) => format!(" (line {line} of `{name}`)"),
            None => String::new(),
        };
        let mut failure = Failure::input(format!("{}{told}", wrong.what));
        (failure.cause, failure.hint) = (wrong.cause.map(Into::into), wrong.hint);
        failure
    }

    /// Where the value at a place was written, or what holds it: the uppermost layer that says something about it.
    fn origin(&self, place: &[Place]) -> Option<Origin<'_>> {
        let way = way(place);
        let set = self.sets.iter().rev().find(|set| {
            let key = set.split_once('=').map_or(set.as_str(), |(key, _)| key);
            let below = |one: &str, other: &str| {
                one.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            below(&way, key) || below(key, &way)
        });
        if let Some(set) = set {
            return Some(Origin::Set(set));
        }
        (1..=place.len()).rev().find_map(|length| {
            self.files.iter().rev().find_map(|(name, text)| {
                let text = document::text(text).ok()?;
                Some(Origin::Line(name, document::line_of(text, Dialect::Commented, &place[..length])?))
            })
        })
    }
}

/// Where something was written.
enum Origin<'a> {
    /// By a `--set`.
    Set(&'a str),
    /// In a line of a file.
    Line(&'a str, usize),
}

/// Lays one document over another: objects are joined, anything else is replaced.
pub(super) fn merge(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                match below.get_mut(&key) {
                    // entries of another kind do not mix: `kind` says which keys belong together
                    Some(old) if old.get("kind") == value.get("kind") || value.get("kind").is_none() => {
                        merge(old, value);
                    }
                    _ => {
                        below.insert(key, value);
                    }
                }
            }
        }
        (below, above) => *below = above,
    }
}

/// Sets values, given as `KEY=VALUE` behind `option`.
///
/// # Errors
/// Those of [`set_value`], and if a key is given twice: one of the two would be without effect.
pub fn set_values(document: &mut Value, sets: &[String], option: &str) -> Result<(), Failure> {
    refuse_twice(sets, option)?;
    sets.iter().try_for_each(|set| set_value(document, set, option))
}

/// Refuses settings of which two set the same key.
///
/// # Errors
/// The key that is given twice.
pub fn refuse_twice(sets: &[String], option: &str) -> Result<(), Failure> {
    let mut values: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in sets.iter().filter_map(|set| set.split_once('=')) {
        if let Some(before) = values.insert(key, value) {
            let what = format!("`{key}` is set twice: `{option}{key}={before}` and `{option}{key}={value}`");
            return Err(Failure::input(what).hint("leave one of them out"));
        }
    }
    Ok(())
}

/// Sets one value, given as `KEY=VALUE` behind `option`; dots separate keys, the value is JSON if it parses, else text.
///
/// # Errors
/// If there is no `=`, a key is empty, the path leads through something that is not an object, or the value is JSON
/// that readers would not all read alike.
pub fn set_value(document: &mut Value, text: &str, option: &str) -> Result<(), Failure> {
    let wrong = |why: &str| {
        Failure::input(format!("`{option}{text}`: {why}"))
            .hint(format!("write it as {option}KEY=VALUE; dots separate keys"))
    };
    let (path, value) = text.split_once('=').ok_or_else(|| wrong("there is no `=`"))?;
    let keys: Vec<&str> = path.split('.').collect();
    if keys.iter().any(|key| key.is_empty()) {
        return Err(wrong("a key is empty"));
    }
    let value = match document::read(value.as_bytes(), Dialect::Strict) {
        Ok(value) => value,
        Err(fault) if fault.kind.is_syntax() => Value::String(value.to_owned()),
        Err(mut fault) => {
            fault.place.splice(0..0, keys.iter().map(|key| Place::Key((*key).to_owned())));
            return Err(Failure::input(format!("`{option}{text}` cannot be taken")).because(fault.sentence()));
        }
    };
    let mut place = document;
    for key in keys {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let object = place.as_object_mut().ok_or_else(|| wrong(&format!("what holds `{key}` is not an object")))?;
        place = object.entry(key).or_insert(Value::Null);
    }
    *place = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{SET, merge, set_value};
    use serde_json::json;

    #[test]
    fn a_set_value_is_json_if_it_parses() {
        let mut document = json!({"campaign": {"params": {"batch": 5}}});
        let sets =
            ["campaign.params.batch=8", "campaign.plugin=a.wasm", "limits.max_active=3", "campaign.note=a=b", "n=NaN"];
        for set in sets {
            set_value(&mut document, set, SET).expect(set);
        }
        let expected = json!({
            "campaign": {"params": {"batch": 8}, "plugin": "a.wasm", "note": "a=b"}, "limits": {"max_active": 3}, "n": "NaN",
        });
        assert_eq!(document, expected);
        for wrong in ["campaign", "=3", "a..b=3", "campaign.plugin.x=3"] {
            assert!(set_value(&mut document, wrong, SET).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_set_value_that_readers_would_change_is_named() {
        for (set, words) in [
            ("a.b=9007199254740993", "`a.b` is 9007199254740993"),
            ("a={\"n\":[1,-18446744073709551616]}", "`a.n[1]` is -18446744073709551616"),
            ("a={\"x\":1,\"x\":2}", "`a.x` stands twice"),
            ("a=1e400", "`a` is 1e400"),
            ("a=\"\\ud800\"", "half of a surrogate pair"),
        ] {
            let failure = set_value(&mut json!({}), set, SET).expect_err(set);
            assert!(failure.what.contains(&format!("`--set {set}`")), "{failure}");
            assert!(failure.to_string().contains(words), "{failure}");
        }
    }

    #[test]
    fn objects_are_joined_and_kinds_are_not() {
        let mut below = json!({"backends": {"local": {"kind": "local", "cores": 8}, "hpc": {"kind": "slurm", "x": 1}}});
        merge(&mut below, json!({"backends": {"local": {"kind": "local"}, "hpc": {"kind": "local"}}, "n": [1]}));
        let expected =
            json!({"backends": {"local": {"kind": "local", "cores": 8}, "hpc": {"kind": "local"}}, "n": [1]});
        assert_eq!(below, expected);
    }
}
