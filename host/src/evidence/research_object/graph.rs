//! The flat JSON-LD of a crate, written entity by entity: a crate of a large run is never held in memory.
use crate::ground::words;
use crate::model::time::Time;
use std::fmt::Write as _;
use std::io::{self, Write};

/// A path, or the name of something in the crate, as part of an `@id`.
pub(super) fn encoded(text: &str) -> String {
    let mut id = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            id.push(char::from(byte));
        } else {
            let _ = write!(id, "%{byte:02X}");
        }
    }
    id
}

/// A moment as the profiles want it: with three decimals, and the offset in numbers.
pub(super) fn moment(time: Time) -> String {
    let text = time.to_string();
    format!("{}+00:00", text.trim_end_matches('Z'))
}

fn json(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned());
    match words::json(&quoted) {
        std::borrow::Cow::Borrowed(_) => quoted,
        std::borrow::Cow::Owned(escaped) => escaped,
    }
}

fn reference(id: &str) -> String {
    format!("{{\"@id\":{}}}", json(id))
}

/// An entity that is being put together, as the text of a JSON object without its end.
#[derive(Debug)]
pub(super) struct Entity {
    text: String,
}

impl Entity {
    /// One of these types.
    pub(super) fn new(id: &str, types: &[&str]) -> Self {
        let mut text = format!("{{\"@id\":{},\"@type\":", json(id));
        match types {
            [one] => text += &json(one),
            many => {
                let many: Vec<String> = many.iter().map(|one| json(one)).collect();
                let _ = write!(text, "[{}]", many.join(","));
            }
        }
        Self { text }
    }

    fn key(&mut self, key: &str) {
        let _ = write!(self.text, ",\"{key}\":");
    }

    /// Says something in words.
    pub(super) fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        self.text += &json(value);
        self
    }

    /// Says something in words, if there is anything to say.
    pub(super) fn maybe(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    /// Says a whole number.
    pub(super) fn number(mut self, key: &str, value: i64) -> Self {
        self.key(key);
        let _ = write!(self.text, "{value}");
        self
    }

    /// Says when, if that is known.
    pub(super) fn time(self, key: &str, time: Option<Time>) -> Self {
        self.maybe(key, time.map(moment).as_deref())
    }

    /// Names another entity.
    pub(super) fn link(self, key: &str, id: &str) -> Self {
        self.links(key, [id])
    }

    /// Names other entities, if there are any: a list has more than one.
    pub(super) fn links<T: AsRef<str>>(self, key: &str, ids: impl IntoIterator<Item = T>) -> Self {
        self.values(key, ids.into_iter().map(|id| reference(id.as_ref())))
    }

    /// Says several things in words, if there are any.
    pub(super) fn texts<T: AsRef<str>>(self, key: &str, values: impl IntoIterator<Item = T>) -> Self {
        self.values(key, values.into_iter().map(|value| json(value.as_ref())))
    }

    fn values(mut self, key: &str, values: impl IntoIterator<Item = String>) -> Self {
        let values: Vec<String> = values.into_iter().collect();
        match values.as_slice() {
            [] => {}
            [one] => {
                self.key(key);
                self.text += one;
            }
            many => {
                self.key(key);
                let _ = write!(self.text, "[{}]", many.join(","));
            }
        }
        self
    }
}

/// The graph of a crate, while it is written.
pub(super) struct Graph<'a> {
    out: &'a mut dyn Write,
    entities: u64,
}

impl<'a> Graph<'a> {
    /// Begins the document.
    pub(super) fn begin(out: &'a mut dyn Write, contexts: &[&str]) -> io::Result<Self> {
        let contexts: Vec<String> = contexts.iter().map(|context| json(context)).collect();
        write!(out, "{{\n\"@context\": [{}],\n\"@graph\": [", contexts.join(", "))?;
        Ok(Self { out, entities: 0 })
    }

    fn start(&mut self, entity: &Entity) -> io::Result<()> {
        self.out.write_all(if self.entities == 0 { b"\n" } else { b",\n" })?;
        self.entities += 1;
        self.out.write_all(entity.text.as_bytes())
    }

    /// Adds an entity.
    pub(super) fn add(&mut self, entity: &Entity) -> io::Result<()> {
        self.start(entity)?;
        self.out.write_all(b"}")
    }

    /// Adds an entity whose lists are too long to be held: they are written when they come.
    pub(super) fn open(&mut self, entity: &Entity) -> io::Result<Open<'_>> {
        self.start(entity)?;
        Ok(Open { out: &mut *self.out })
    }

    /// Ends the document.
    pub(super) fn end(self) -> io::Result<()> {
        self.out.write_all(b"\n]\n}\n")?;
        self.out.flush()
    }
}

/// An entity with long lists.
pub(super) struct Open<'a> {
    out: &'a mut dyn Write,
}

impl Open<'_> {
    /// Begins a list of other entities.
    pub(super) fn list(&mut self, key: &'static str) -> Links<'_> {
        Links { out: &mut *self.out, key, first: None, more: false }
    }

    /// Ends the entity.
    pub(super) fn end(self) -> io::Result<()> {
        self.out.write_all(b"}")
    }
}

/// A long list of other entities. The first waits for the second: one alone is no list.
pub(super) struct Links<'a> {
    out: &'a mut dyn Write,
    key: &'static str,
    first: Option<String>,
    more: bool,
}

impl Links<'_> {
    /// Names one more.
    pub(super) fn push(&mut self, id: &str) -> io::Result<()> {
        let link = reference(id);
        if self.more {
            return write!(self.out, ",{link}");
        }
        match self.first.take() {
            None => self.first = Some(link),
            Some(first) => {
                self.more = true;
                write!(self.out, ",\"{}\":[{first},{link}", self.key)?;
            }
        }
        Ok(())
    }

    /// Ends the list.
    pub(super) fn end(self) -> io::Result<()> {
        match self.first {
            Some(only) => write!(self.out, ",\"{}\":{only}", self.key),
            None if self.more => self.out.write_all(b"]"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Entity, Graph, encoded, moment};
    use crate::model::time::Time;
    use serde_json::{Value, json};

    #[test]
    fn a_list_has_more_than_one_and_text_stays_text() {
        let mut out = Vec::new();
        let mut graph = Graph::begin(&mut out, &["c"]).expect("a graph");
        graph.add(&Entity::new("a", &["T"]).text("name", "\"\u{202e}\u{1b}").texts("x", ["1"])).expect("an entity");
        for count in 0..4 {
            let mut open = graph.open(&Entity::new(&format!("e{count}"), &["T", "U"])).expect("an entity");
            let mut list = open.list("hasPart");
            (0..count).try_for_each(|at| list.push(&format!("#{at}"))).expect("links");
            list.end().and_then(|()| open.end()).expect("an end");
        }
        graph.add(&Entity::new("b", &["T"]).links("none", [""; 0]).links("two", ["p", "q"])).expect("an entity");
        graph.end().expect("an end");
        assert!(!out.contains(&0x1b) && !String::from_utf8_lossy(&out).contains('\u{202e}'));
        let crate_: Value = serde_json::from_slice(&out).expect("JSON");
        let id = |id: &str| json!({"@id": id});
        assert_eq!(crate_["@graph"][0], json!({"@id": "a", "@type": "T", "name": "\"\u{202e}\u{1b}", "x": "1"}));
        assert_eq!(crate_["@graph"][1], json!({"@id": "e0", "@type": ["T", "U"]}));
        assert_eq!(crate_["@graph"][2]["hasPart"], id("#0"));
        assert_eq!(crate_["@graph"][4]["hasPart"], json!([id("#0"), id("#1"), id("#2")]));
        assert_eq!(crate_["@graph"][5], json!({"@id": "b", "@type": "T", "two": [id("p"), id("q")]}));
    }

    #[test]
    fn ids_and_moments_are_as_the_profiles_want_them() {
        assert_eq!(encoded("a b/ü%.json"), "a%20b/%C3%BC%25.json");
        assert_eq!(moment(Time(1_500)), "1970-01-01T00:00:01.500+00:00");
        assert_eq!(moment(Time(0)), "1970-01-01T00:00:00.000+00:00");
    }
}
