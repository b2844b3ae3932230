//! What the files of a bundle say, beside their digests: evidence.json against its published schema, and the files that
//! are there against those that the record names.
use super::open::Opened;
use crate::failure::Failure;
use crate::model::schema;
use crate::store::Store;
use matterstack_schema::Schema;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::BufReader;

/// Mistakes in evidence.json that are told.
const MISTAKES_TOLD: usize = 20;

/// Compares evidence.json with its published schema, row by row; tells what is wrong.
pub(super) fn schema_of_document(opened: &Opened, mut wrong: impl FnMut(String)) -> Result<(), Failure> {
    let path = opened.dir().join("evidence.json");
    let file = match crate::ground::files::open_regular_path(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            wrong("the bundle has none".to_owned());
            return Ok(());
        }
        Err(error) => return Err(Failure::io("evidence.json of the bundle cannot be read", error)),
    };
    let published = schema::evidence().to_value();
    let mut document = Document { published: &published, wrong: Vec::new() };
    let mut reader = serde_json::Deserializer::from_reader(BufReader::<File>::with_capacity(256 * 1024, file));
    let read = reader.deserialize_map(&mut document).and_then(|()| reader.end());
    document.wrong.drain(..).for_each(&mut wrong);
    if let Err(error) = read {
        wrong(format!("is not read to its end: {error}"));
    }
    Ok(())
}

/// The document, of which one row at a time is held.
struct Document<'a> {
    published: &'a Value,
    wrong: Vec<String>,
}

impl Document<'_> {
    /// The schema of a part of the document, as one of its own.
    fn part(&self, schema: &Value) -> Value {
        let mut part =
            schema.as_object().cloned().unwrap_or_else(|| Map::from_iter([("const".to_owned(), json!(schema))]));
        part.insert("$defs".to_owned(), self.published["$defs"].clone());
        Value::Object(part)
    }

    fn judge(&mut self, schema: &Schema<'_>, place: &str, value: &Value) {
        for mistake in schema.mistakes(value, MISTAKES_TOLD) {
            if self.wrong.len() < MISTAKES_TOLD {
                self.wrong.push(format!("at `{place}{}`: {}", mistake.place, mistake.text));
            }
        }
    }
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
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let rows = schema.get("items").filter(|_| schema["type"] == "array");
            let part = self.part(rows.unwrap_or(schema));
            let checked = Schema::new(&part).map_err(A::Error::custom)?;
            let place = format!("/{key}");
            if rows.is_some() {
                map.next_value_seed(Rows { document: self, schema: &checked, place })?;
            } else {
                let value = map.next_value::<Value>()?;
                self.judge(&checked, &place, &value);
            }
        }
        for name in self.published["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !seen.contains(name) {
                self.wrong.push(format!("`{name}` is missing"));
            }
        }
        Ok(())
    }
}

struct Rows<'a, 'b> {
    document: &'a mut Document<'b>,
    schema: &'a Schema<'a>,
    place: String,
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
        let mut at = 0_u64;
        while let Some(row) = rows.next_element::<Value>()? {
            self.document.judge(self.schema, &format!("{}/{at}", self.place), &row);
            at += 1;
        }
        Ok(())
    }
}

/// Compares the files of a bundle with what the record names; tells the path and what is wrong.
pub(super) fn what_the_record_lacks(
    store: &Store,
    there: &BTreeSet<&str>,
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
    Ok(())
}
