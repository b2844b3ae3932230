//! What the files of a bundle say, beside their digests: evidence.json against its published schema and against the
//! record, and the files that are there against those that the record names.
use super::open::Opened;
use super::verify::What;
use crate::failure::Failure;
use crate::ground::files::open_regular_path;
use crate::ground::words;
use crate::model::schema;
use crate::store::{Snapshot, Store, StoreError};
use matterstack_schema::Schema;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, ErrorKind};

/// The document.
pub(super) const DOCUMENT: &str = "evidence.json";
/// Where it says what is left out.
const OMITTED: &str = "omitted";
/// Mistakes in evidence.json that are told.
const MISTAKES_TOLD: usize = 20;
/// What evidence.json says of rows that does not stand in the record, but in the run of which it was made.
const NOT_RECORDED: [&str; 2] = ["used_by", "withheld"];

/// Compares evidence.json with its published schema and with the record, row by row; tells what is wrong, and hands
/// back the digests of what it says is left out.
pub(super) fn look_into_document(
    opened: &Opened,
    store: &Store,
    wrong: &mut dyn FnMut(What, String),
) -> Result<BTreeSet<String>, Failure> {
    let file = match open_regular_path(&opened.dir().join(DOCUMENT)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            wrong(What::Schema, "the bundle has none".to_owned());
            return Ok(BTreeSet::new());
        }
        Err(error) => return Err(Failure::io("evidence.json of the bundle cannot be read", error)),
    };
    let published = schema::evidence().to_value();
    store.snapshot(|view| {
        let mut document =
            Document { published: &published, view, wrong: Vec::new(), record: None, omitted: BTreeSet::new() };
        let mut reader = serde_json::Deserializer::from_reader(BufReader::<File>::with_capacity(256 * 1024, file));
        let read = reader.deserialize_map(&mut document).and_then(|()| reader.end());
        if let Some(error) = document.record {
            return Err(Failure::from(error));
        }
        document.wrong.drain(..).for_each(|(what, why)| wrong(what, why));
        if let Err(error) = read {
            wrong(What::Schema, format!("is not read to its end: {error}"));
        }
        Ok(document.omitted)
    })
}

/// The document, of which one row at a time is held.
struct Document<'a> {
    published: &'a Value,
    view: &'a Snapshot<'a>,
    wrong: Vec<(What, String)>,
    /// Why the record could not be read.
    record: Option<StoreError>,
    /// The digests of what is left out.
    omitted: BTreeSet<String>,
}

/// Why a list is read no further.
enum Halt<E> {
    Record(StoreError),
    Document(E),
}

impl<E> From<StoreError> for Halt<E> {
    fn from(error: StoreError) -> Self {
        Self::Record(error)
    }
}

impl Document<'_> {
    /// The schema of a part of the document, as one of its own, with the definitions that it uses: checking all of them
    /// for each part took longer than all the rest.
    fn part(&self, schema: &Value) -> Value {
        let fixed = || Map::from_iter([("const".to_owned(), json!(schema))]);
        let mut part = schema.as_object().cloned().unwrap_or_else(fixed);
        let (mut used, mut open) = (Map::new(), vec![schema]);
        while let Some(node) = open.pop() {
            match node {
                Value::Object(map) => open.extend(map.values()),
                Value::Array(all) => open.extend(all),
                Value::String(reference) => {
                    let name = reference.strip_prefix("#/$defs/").filter(|name| !used.contains_key(*name));
                    if let Some((name, definition)) =
                        name.and_then(|name| Some((name, self.published["$defs"].get(name)?)))
                    {
                        used.insert(name.to_owned(), definition.clone());
                        open.push(definition);
                    }
                }
                Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
        }
        part.insert("$defs".to_owned(), Value::Object(used));
        Value::Object(part)
    }

    fn learn_omitted(&mut self, rows: &Value) {
        let digests = rows.as_array().into_iter().flatten().filter_map(|row| row["sha256"].as_str());
        self.omitted.extend(digests.map(str::to_owned));
    }

    fn note(&mut self, what: What, why: String) {
        if self.wrong.len() < MISTAKES_TOLD {
            self.wrong.push((what, why));
        }
    }

    fn judge(&mut self, schema: &Schema<'_>, place: &str, value: &Value) {
        for mistake in schema.mistakes(value, MISTAKES_TOLD) {
            self.note(What::Schema, format!("at `{place}{}`: {}", mistake.place, mistake.text));
        }
    }

    /// Compares a part of the document with the record's.
    fn compare(&mut self, place: &str, told: &Value, recorded: &Value) {
        let Some(recorded) = recorded.as_object() else { return };
        let other = recorded.iter().filter(|(key, _)| !NOT_RECORDED.contains(&key.as_str()));
        let other: Vec<&String> =
            other.filter(|(key, value)| told.get(key) != Some(value)).map(|(key, _)| key).collect();
        for key in other {
            self.note(What::Record, format!("at `{place}/{key}`: the record says otherwise"));
        }
    }

    /// What the record has where the document has one value, if it has.
    fn recorded(&self, key: &str) -> Result<Option<Value>, StoreError> {
        Ok(match key {
            "run" => Some(value_of(&self.view.run()?)),
            "resources" => Some(value_of(&self.view.store().resources()?)),
            _ => None,
        })
    }
}

fn value_of(record: &impl Serialize) -> Value {
    serde_json::to_value(record).unwrap_or_else(|error| panic!("bug: a record has no JSON: {error}"))
}

/// A row of the record as evidence.json has it.
fn text_of(record: &impl Serialize) -> String {
    let text = serde_json::to_string(record).unwrap_or_else(|error| panic!("bug: a record has no JSON: {error}"));
    words::json(&text).into_owned()
}

/// Hands out the rows that the record has where the document has a list; returns whether it has any such.
fn each_recorded<E>(
    view: &Snapshot<'_>,
    key: &str,
    each: &mut dyn FnMut(&str) -> Result<(), Halt<E>>,
) -> Result<bool, Halt<E>> {
    let store = view.store();
    match key {
        "plugins" => store.plugin_versions()?.iter().try_for_each(|row| each(&text_of(row)))?,
        "acts" => store.acts()?.iter().try_for_each(|row| each(&text_of(row)))?,
        "approvals" => view.each_approval(|row| each(&text_of(&row)))?,
        "configs" => store.each_config(|row| each(&text_of(&row)))?,
        "engines" => store.engines()?.iter().try_for_each(|row| each(&text_of(row)))?,
        "environments" => store.environments()?.iter().try_for_each(|row| each(&text_of(row)))?,
        "decisions" => view.each_decision(|row| each(&text_of(&row)))?,
        "workflows" => view.each_workflow(|row| each(&text_of(&row)))?,
        "tasks" => view.each_task(|row| each(&text_of(&row)))?,
        "attempts" => view.each_attempt(|(_, row)| each(&text_of(&row)))?,
        "history" => view.each_transition(|row| each(&text_of(&row)))?,
        _ => return Ok(false),
    }
    Ok(true)
}

impl<'de> Visitor<'de> for &mut Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format!("`{key}` is there twice")));
            }
            let Some(schema) = self.published["properties"].get(&key) else {
                // what a later version says beside is passed over, as readers are told to
                match key.as_str() {
                    OMITTED => self.learn_omitted(&map.next_value()?),
                    _ => drop(map.next_value::<IgnoredAny>()?),
                }
                continue;
            };
            let rows = schema.get("items").filter(|_| schema["type"] == "array");
            let part = self.part(rows.unwrap_or(schema));
            let checked = Schema::new(&part).map_err(A::Error::custom)?;
            if rows.is_some() {
                map.next_value_seed(Rows { document: self, schema: &checked, key })?;
                continue;
            }
            let (place, value) = (format!("/{key}"), map.next_value::<Value>()?);
            self.judge(&checked, &place, &value);
            match self.recorded(&key) {
                Ok(recorded) => recorded.iter().for_each(|recorded| self.compare(&place, &value, recorded)),
                Err(error) => self.record = Some(error),
            }
        }
        for name in self.published["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !seen.contains(name) {
                self.note(What::Schema, format!("`{name}` is missing"));
            }
        }
        Ok(())
    }
}

fn parsed<E: serde::de::Error>(text: &str) -> Result<Value, E> {
    serde_json::from_str(text).map_err(E::custom)
}

struct Rows<'a, 'b> {
    document: &'a mut Document<'b>,
    schema: &'a Schema<'a>,
    key: String,
}

impl<'de> DeserializeSeed<'de> for Rows<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        let Self { document, schema, key } = self;
        let (mut at, mut lacking) = (0_u64, 0_u64);
        let view = document.view;
        let compared = each_recorded(view, &key, &mut |recorded| {
            let Some(row) = rows.next_element::<Box<RawValue>>().map_err(Halt::Document)? else {
                lacking += 1;
                return Ok(());
            };
            // the schema is made of the type that the record is read into, so what it writes fits the schema
            if row.get() != recorded {
                let (place, row) = (format!("/{key}/{at}"), parsed(row.get()).map_err(Halt::Document)?);
                document.judge(schema, &place, &row);
                document.compare(&place, &row, &parsed(recorded).map_err(Halt::Document)?);
            }
            at += 1;
            Ok(())
        });
        let is_recorded = match compared {
            Ok(is_recorded) => is_recorded,
            Err(Halt::Document(error)) => return Err(error),
            Err(Halt::Record(error)) => {
                document.record = Some(error);
                true
            }
        };
        if lacking > 0 {
            document.note(What::Record, format!("at `/{key}`: the record has {lacking} more"));
        }
        let recorded = at;
        while let Some(row) = rows.next_element::<Value>()? {
            document.judge(schema, &format!("/{key}/{at}"), &row);
            if key == OMITTED {
                document.omitted.extend(row["sha256"].as_str().map(str::to_owned));
            }
            at += 1;
        }
        if is_recorded && at > recorded {
            document.note(What::Record, format!("at `/{key}`: the record has only {recorded}"));
        }
        Ok(())
    }
}

/// Compares the files of a bundle with what the record names; tells the path and what is wrong.
pub(super) fn what_the_record_lacks(
    store: &Store,
    there: &BTreeSet<&str>,
    omitted: &BTreeSet<String>,
    wrong: &mut dyn FnMut(&str, String),
) -> Result<(), Failure> {
    let mut named = BTreeSet::new();
    store.each_left(&mut |sha256| {
        named.insert(sha256);
    })?;
    for path in there.iter().filter(|path| path.starts_with("files/")) {
        if !named.contains(&path["files/".len()..]) {
            wrong(path, "nothing in the record left it".to_owned());
        }
    }
    for sha256 in named.difference(omitted) {
        let path = format!("files/{sha256}");
        if !there.contains(path.as_str()) {
            wrong(&path, "an attempt left it, and it is neither here nor said to be left out".to_owned());
        }
    }
    Ok(())
}
