//! JSON Schema, as far as the answer to a form and the request of a task need it: the assertions of draft 2020-12,
//! without what reaches outside the document. The general crate for it made `builtin:human` seven times as large
//! (4.7 MB, of which each run has a copy), and was a third of what compiling the standard plugins took: for formats and
//! dynamic references that nobody here has.
//!
//! A keyword that would assert something and is not known here is refused before anything is judged, never passed over;
//! `format` is an annotation, as the draft has it.
mod value;

use regex_lite::Regex;
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use value::{compared, count, is, quoted, same, unescaped};

/// How deep schemas may be nested, references followed included.
const DEPTH_MAX: usize = 100;
/// How many comparisons one judgement may take: a few bytes of schema can ask for more than anybody waits for.
const STEPS_MAX: usize = 2_000_000;

/// A schema that answers can be judged by.
#[derive(Debug)]
pub struct Schema<'a> {
    root: &'a Value,
    patterns: BTreeMap<&'a str, Regex>,
    /// References whose targets have been looked at, wherever in the document those stand.
    followed: BTreeSet<&'a str>,
    /// Comparisons made in the judgement that is going on.
    steps: Cell<usize>,
}

/// Where an answer is against the schema, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistake {
    /// A JSON Pointer; empty: the whole answer.
    pub place: String,
    /// What is wrong there.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.text),
            place => write!(f, "at `{place}`: {}", self.text),
        }
    }
}

/// What the value of a keyword has to be.
#[derive(Clone, Copy)]
enum Shape {
    Schema,
    Schemas,
    NamedSchemas,
    Types,
    Anything,
    List,
    Number,
    PositiveNumber,
    Count,
    Flag,
    Pattern,
    Names,
    NamedNames,
    Reference,
}

const KEYWORDS: [(&str, Shape); 38] = [
    ("$defs", Shape::NamedSchemas),
    ("$ref", Shape::Reference),
    ("additionalProperties", Shape::Schema),
    ("allOf", Shape::Schemas),
    ("anyOf", Shape::Schemas),
    ("const", Shape::Anything),
    ("contains", Shape::Schema),
    ("definitions", Shape::NamedSchemas),
    ("dependentRequired", Shape::NamedNames),
    ("dependentSchemas", Shape::NamedSchemas),
    ("else", Shape::Schema),
    ("enum", Shape::List),
    ("exclusiveMaximum", Shape::Number),
    ("exclusiveMinimum", Shape::Number),
    ("if", Shape::Schema),
    ("items", Shape::Schema),
    ("maxContains", Shape::Count),
    ("maxItems", Shape::Count),
    ("maxLength", Shape::Count),
    ("maxProperties", Shape::Count),
    ("maximum", Shape::Number),
    ("minContains", Shape::Count),
    ("minItems", Shape::Count),
    ("minLength", Shape::Count),
    ("minProperties", Shape::Count),
    ("minimum", Shape::Number),
    ("multipleOf", Shape::PositiveNumber),
    ("not", Shape::Schema),
    ("oneOf", Shape::Schemas),
    ("pattern", Shape::Pattern),
    ("patternProperties", Shape::NamedSchemas),
    ("prefixItems", Shape::Schemas),
    ("properties", Shape::NamedSchemas),
    ("propertyNames", Shape::Schema),
    ("required", Shape::Names),
    ("then", Shape::Schema),
    ("type", Shape::Types),
    ("uniqueItems", Shape::Flag),
];
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
/// What asserts something by the draft, or did by an earlier one, and is not known here.
const REFUSED: [&str; 8] = [
    "$dynamicRef",
    "$recursiveRef",
    "additionalItems",
    "dependencies",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$vocabulary",
    "extends",
];

impl<'a> Schema<'a> {
    /// Checks a schema, and prepares its patterns.
    ///
    /// # Errors
    /// The place in the schema and what is wrong there.
    pub fn new(root: &'a Value) -> Result<Self, String> {
        let mut schema = Self { root, patterns: BTreeMap::new(), followed: BTreeSet::new(), steps: Cell::new(0) };
        schema.check(root, "", 0)?;
        Ok(schema)
    }

    fn check(&mut self, node: &'a Value, place: &str, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("at `{place}`: more than {DEPTH_MAX} schemas in one another"));
        }
        let map = match node {
            Value::Bool(_) => return Ok(()),
            Value::Object(map) => map,
            _ => return Err(format!("at `{place}`: a schema is an object, true or false, not {}", quoted(node))),
        };
        for (key, value) in map {
            let place = format!("{place}/{key}");
            if REFUSED.contains(&key.as_str()) {
                return Err(format!("at `{place}`: `{key}` is not supported"));
            }
            if let Ok(at) = KEYWORDS.binary_search_by_key(&key.as_str(), |(name, _)| name) {
                self.check_keyword(KEYWORDS[at].1, value, &place, depth)?;
            }
        }
        for pattern in map.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::keys) {
            self.compile(pattern, &format!("{place}/patternProperties"))?;
        }
        Ok(())
    }

    fn check_keyword(&mut self, shape: Shape, value: &'a Value, place: &str, depth: usize) -> Result<(), String> {
        let wrong = |wanted: &str| Err(format!("at `{place}`: {} is not {wanted}", quoted(value)));
        let names = |value: &Value| value.as_array().is_some_and(|all| all.iter().all(Value::is_string));
        match shape {
            Shape::Anything => Ok(()),
            Shape::Schema => self.check(value, place, depth + 1),
            Shape::Schemas => {
                let Some(all) = value.as_array().filter(|all| !all.is_empty()) else {
                    return wrong("a list of schemas");
                };
                all.iter().enumerate().try_for_each(|(n, one)| self.check(one, &format!("{place}/{n}"), depth + 1))
            }
            Shape::NamedSchemas => {
                let Some(all) = value.as_object() else { return wrong("an object of schemas") };
                all.iter().try_for_each(|(name, one)| self.check(one, &format!("{place}/{name}"), depth + 1))
            }
            Shape::Pattern => match value.as_str() {
                Some(pattern) => self.compile(pattern, place),
                None => wrong("a regular expression"),
            },
            Shape::Reference => match value.as_str() {
                Some(reference) => {
                    let target = self.target(reference).map_err(|why| format!("at `{place}`: {why}"))?;
                    if self.followed.insert(reference) { self.check(target, reference, depth + 1) } else { Ok(()) }
                }
                None => wrong("a reference"),
            },
            Shape::Types => {
                let known = |word: &Value| word.as_str().is_some_and(|word| TYPES.contains(&word));
                let ok = known(value) || value.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(known));
                if ok { Ok(()) } else { wrong(&format!("one of {}, or a list of such", TYPES.join(", "))) }
            }
            Shape::List if !value.is_array() => wrong("a list"),
            Shape::Number if !value.is_number() => wrong("a number"),
            Shape::PositiveNumber if value.as_f64().is_none_or(|number| number <= 0.0) => wrong("a positive number"),
            Shape::Count if count(value).is_none() => wrong("a whole number that is not negative"),
            Shape::Flag if !value.is_boolean() => wrong("true or false"),
            Shape::Names if !names(value) => wrong("a list of names"),
            Shape::NamedNames if !value.as_object().is_some_and(|all| all.values().all(names)) => {
                wrong("an object of lists of names")
            }
            _ => Ok(()),
        }
    }

    fn compile(&mut self, pattern: &'a str, place: &str) -> Result<(), String> {
        let regex = Regex::new(pattern).map_err(|error| format!("at `{place}`: pattern {pattern:?}: {error}"))?;
        self.patterns.insert(pattern, regex);
        Ok(())
    }

    /// The schema that a reference within the document leads to.
    fn target(&self, reference: &str) -> Result<&'a Value, String> {
        let Some(pointer) = reference.strip_prefix('#').filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
            return Err(format!("`{reference}` leads out of the document; nothing is fetched"));
        };
        let target = self.root.pointer(&unescaped(pointer));
        target.ok_or_else(|| format!("there is nothing at `{reference}`"))
    }

    /// What is wrong with an answer, at most so many mistakes.
    pub fn mistakes(&self, answer: &Value, most: usize) -> Vec<Mistake> {
        let mut found = Vec::new();
        self.steps.set(0);
        self.judge(self.root, answer, &mut Judge { place: String::new(), found: &mut found, most, depth: 0 });
        if self.exhausted() {
            // what was cut short may have been told either way
            found =
                vec![Mistake { place: String::new(), text: "judging it takes more work than is allowed".to_owned() }];
        }
        found
    }

    fn exhausted(&self) -> bool {
        self.steps.get() > STEPS_MAX
    }

    fn step(&self) -> bool {
        self.steps.set(self.steps.get() + 1);
        self.exhausted()
    }

    fn accepts(&self, node: &Value, value: &Value, depth: usize) -> bool {
        let mut found = Vec::new();
        self.judge(node, value, &mut Judge { place: String::new(), found: &mut found, most: 1, depth });
        found.is_empty()
    }

    fn judge(&self, node: &Value, value: &Value, to: &mut Judge<'_>) {
        if to.full() || self.step() {
            return;
        }
        let map = match node {
            Value::Bool(true) => return,
            Value::Object(map) => map,
            _ => return to.say("nothing is allowed here".to_owned()),
        };
        if to.depth > DEPTH_MAX {
            return to.say("the schema refers to itself without end".to_owned());
        }
        to.depth += 1;
        if let Some(target) = map.get("$ref").and_then(Value::as_str).and_then(|name| self.target(name).ok()) {
            self.judge(target, value, to);
        }
        self.judge_any(map, value, to);
        match value {
            Value::Number(number) => judge_number(map, number, to),
            Value::String(text) => self.judge_string(map, text, to),
            Value::Array(items) => self.judge_array(map, items, to),
            Value::Object(members) => self.judge_object(map, members, to),
            Value::Null | Value::Bool(_) => {}
        }
        to.depth -= 1;
    }

    /// What is asked of values of every type.
    fn judge_any(&self, map: &Map<String, Value>, value: &Value, to: &mut Judge<'_>) {
        let types = match map.get("type") {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(one)) => vec![one.as_str()],
            _ => Vec::new(),
        };
        if !types.is_empty() && !types.iter().any(|name| is(value, name)) {
            to.say(format!("{} is not of type {}", quoted(value), types.join(" or ")));
        }
        if let Some(allowed) = map.get("enum").and_then(Value::as_array)
            && !allowed.iter().any(|one| same(one, value))
        {
            let all: Vec<String> = allowed.iter().map(quoted).collect();
            to.say(format!("{} is not one of {}", quoted(value), all.join(", ")));
        }
        if let Some(only) = map.get("const").filter(|only| !same(only, value)) {
            to.say(format!("{} is not {}", quoted(value), quoted(only)));
        }
        let list = |name: &str| map.get(name).and_then(Value::as_array);
        list("allOf").into_iter().flatten().for_each(|one| self.judge(one, value, to));
        let depth = to.depth;
        let accepting = |all: &[Value]| all.iter().filter(|one| self.accepts(one, value, depth)).count();
        if list("anyOf").is_some_and(|all| accepting(all) == 0) {
            to.say(format!("{} is none of what `anyOf` allows", quoted(value)));
        }
        match list("oneOf").map(|all| accepting(all)) {
            Some(0) => to.say(format!("{} is none of what `oneOf` allows", quoted(value))),
            Some(2..) => to.say(format!("{} is more than one of what `oneOf` allows", quoted(value))),
            Some(1) | None => {}
        }
        if map.get("not").is_some_and(|not| self.accepts(not, value, to.depth)) {
            to.say(format!("{} is what `not` forbids", quoted(value)));
        }
        if let Some(condition) = map.get("if") {
            let branch = if self.accepts(condition, value, to.depth) { "then" } else { "else" };
            if let Some(branch) = map.get(branch) {
                self.judge(branch, value, to);
            }
        }
    }

    fn judge_string(&self, map: &Map<String, Value>, text: &str, to: &mut Judge<'_>) {
        bounds(map, "Length", text.chars().count(), "characters", to);
        if let Some(pattern) = map.get("pattern").and_then(Value::as_str)
            && self.patterns.get(pattern).is_some_and(|regex| !regex.is_match(text))
        {
            to.say(format!("{} does not match {pattern:?}", quoted(&text.into())));
        }
    }

    fn judge_array(&self, map: &Map<String, Value>, items: &[Value], to: &mut Judge<'_>) {
        bounds(map, "Items", items.len(), "items", to);
        if map.get("uniqueItems") == Some(&Value::Bool(true)) {
            let seen = |n: usize, one: &Value| items[..n].iter().any(|other| self.step() || same(one, other));
            let twice = items.iter().enumerate().find(|(n, one)| seen(*n, one));
            if let Some((_, one)) = twice {
                to.say(format!("{} is there twice", quoted(one)));
            }
        }
        let first = map.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let rest = map.get("items");
        for (n, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(n).or(rest) {
                to.within(&n.to_string(), |to| self.judge(schema, item, to));
            }
        }
        if let Some(contains) = map.get("contains") {
            let found = items.iter().filter(|item| self.accepts(contains, item, to.depth)).count();
            let limit = |name: &str| map.get(name).and_then(count);
            if found < limit("minContains").unwrap_or(1) {
                to.say("too few items are what `contains` asks for".to_owned());
            }
            if limit("maxContains").is_some_and(|most| found > most) {
                to.say("too many items are what `contains` asks for".to_owned());
            }
        }
    }

    fn judge_object(&self, map: &Map<String, Value>, members: &Map<String, Value>, to: &mut Judge<'_>) {
        bounds(map, "Properties", members.len(), "properties", to);
        let named = |keyword: &str| map.get(keyword).and_then(Value::as_object);
        let names = |list: Option<&Value>| list.and_then(Value::as_array).cloned().unwrap_or_default();
        let mut required = names(map.get("required"));
        for (name, more) in named("dependentRequired").into_iter().flatten() {
            if members.contains_key(name) {
                required.extend(names(Some(more)));
            }
        }
        for name in required.iter().filter_map(Value::as_str).filter(|name| !members.contains_key(*name)) {
            to.say(format!("`{name}` is missing"));
        }
        for (name, value) in members {
            to.within(name, |to| self.judge_member(map, name, value, to));
        }
        let whole = Value::Object(members.clone());
        for (name, schema) in named("dependentSchemas").into_iter().flatten() {
            if members.contains_key(name) {
                self.judge(schema, &whole, to);
            }
        }
    }

    fn judge_member(&self, map: &Map<String, Value>, name: &str, value: &Value, to: &mut Judge<'_>) {
        if map.get("propertyNames").is_some_and(|names| !self.accepts(names, &name.into(), to.depth)) {
            to.say("this name is not allowed".to_owned());
        }
        let mut known = false;
        if let Some(schema) = map.get("properties").and_then(|properties| properties.get(name)) {
            known = true;
            self.judge(schema, value, to);
        }
        for (pattern, schema) in map.get("patternProperties").and_then(Value::as_object).into_iter().flatten() {
            if self.patterns.get(pattern.as_str()).is_some_and(|regex| regex.is_match(name)) {
                known = true;
                self.judge(schema, value, to);
            }
        }
        match map.get("additionalProperties").filter(|_| !known) {
            Some(Value::Bool(false)) => to.say("nothing of this name is asked for".to_owned()),
            Some(schema) => self.judge(schema, value, to),
            None => {}
        }
    }
}

/// Where in the answer the judgement has come, and what it has found.
struct Judge<'a> {
    place: String,
    found: &'a mut Vec<Mistake>,
    most: usize,
    depth: usize,
}

impl Judge<'_> {
    fn full(&self) -> bool {
        self.found.len() >= self.most
    }

    fn say(&mut self, text: String) {
        if !self.full() {
            self.found.push(Mistake { place: self.place.clone(), text });
        }
    }

    /// Judges a part of the answer.
    fn within(&mut self, name: &str, judge: impl FnOnce(&mut Self)) {
        let before = self.place.len();
        let _ = write!(self.place, "/{}", name.replace('~', "~0").replace('/', "~1"));
        judge(self);
        self.place.truncate(before);
    }
}

fn judge_number(map: &Map<String, Value>, number: &Number, to: &mut Judge<'_>) {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let mut against = |keyword: &str, refused: &[std::cmp::Ordering], words: &str| {
        if let Some(Value::Number(limit)) = map.get(keyword)
            && refused.contains(&compared(number, limit))
        {
            to.say(format!("{number} is {words} {limit}"));
        }
    };
    against("minimum", &[Less], "less than");
    against("maximum", &[Greater], "more than");
    against("exclusiveMinimum", &[Less, Equal], "not more than");
    against("exclusiveMaximum", &[Greater, Equal], "not less than");
    if let (Some(step), Some(value)) = (map.get("multipleOf").and_then(Value::as_f64), number.as_f64()) {
        let times = value / step;
        // 0.3 is a multiple of 0.1 for everybody but a processor
        if (times - times.round()).abs() > 1e-12 * times.abs().max(1.0) {
            to.say(format!("{number} is no multiple of {step}"));
        }
    }
}

/// `minLength` and `maxLength`, `minItems` and so on.
fn bounds(map: &Map<String, Value>, of: &str, size: usize, what: &str, to: &mut Judge<'_>) {
    let limit = |side: &str| map.get(&format!("{side}{of}")).and_then(count);
    if let Some(least) = limit("min").filter(|least| size < *least) {
        to.say(format!("it has {size} {what}; at least {least} are needed"));
    }
    if let Some(most) = limit("max").filter(|most| size > *most) {
        to.say(format!("it has {size} {what}; at most {most} are allowed"));
    }
}

#[cfg(test)]
mod tests;
