//! The types of the SDK for JavaScript and TypeScript: those of documents are made of the published schemas, and what
//! is written by hand agrees with them.
use crate::support::root;
use crate::support::world::PROGRAM;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

const DOCUMENTS: &str = "plugins/sdk/javascript/documents.d.ts";
/// The schemas, and what the document of each is called; nothing where it is a list of what has a name.
const SCHEMAS: [(&str, Option<&str>); 10] = [
    ("tasks", None),
    ("results", None),
    ("decision", Some("Decision")),
    ("context", Some("Context")),
    ("summary", Some("Summary")),
    ("data", Some("DetailData")),
    ("job", Some("Job")),
    ("exit", Some("Exit")),
    ("usage", Some("Usage")),
    ("operator", None),
];

fn schema(of: &str) -> Value {
    let printed = Command::new(PROGRAM).args(["config", "schema", of]).output().expect("the binary");
    serde_json::from_slice(&printed.stdout).expect("a schema")
}

fn comment(schema: &Value, indent: &str) -> String {
    let Some(text) = schema["description"].as_str() else { return String::new() };
    match text.lines().collect::<Vec<_>>()[..] {
        [line] => format!("{indent}/** {line} */\n"),
        ref lines => {
            let lines: String = lines.iter().map(|line| format!("{indent} * {line}\n")).collect();
            format!("{indent}/**\n{lines}{indent} */\n")
        }
    }
}

/// The type that a schema says, as TypeScript writes it.
fn written(schema: &Value, indent: &str) -> String {
    if let Some(named) = schema["$ref"].as_str() {
        return named.rsplit('/').next().expect("a name").to_owned();
    }
    if let Some(value) = schema.get("const") {
        return value.to_string();
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    // those that only say which keys go together are no types
    let is_type = |one: &Value| one.as_object().is_some_and(|one| one.keys().any(|key| key != "required"));
    let choices = |of: &Value| of.as_array().filter(|of| of.iter().any(is_type)).cloned();
    if let Some(choices) = choices(&schema["anyOf"]).or_else(|| choices(&schema["oneOf"])) {
        let choices = choices.iter().map(|one| written(one, indent)).collect::<Vec<_>>().join(" | ");
        return match schema.get("properties") {
            Some(_) => format!("{} & ({choices})", object(schema, indent)),
            None => choices,
        };
    }
    match &schema["type"] {
        Value::Array(types) => types.iter().map(|one| plain(one, schema, indent)).collect::<Vec<_>>().join(" | "),
        Value::Null => "unknown".to_owned(),
        one => plain(one, schema, indent),
    }
}

fn plain(kind: &Value, schema: &Value, indent: &str) -> String {
    match kind.as_str().expect("a type") {
        "integer" | "number" => "number".to_owned(),
        "array" => {
            let items = written(&schema["items"], indent);
            if items.contains('|') { format!("({items})[]") } else { format!("{items}[]") }
        }
        "object" => object(schema, indent),
        other => other.to_owned(),
    }
}

fn object(schema: &Value, indent: &str) -> String {
    let inner = format!("{indent}  ");
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut text = "{\n".to_owned();
    for (key, value) in schema["properties"].as_object().unwrap_or(&Map::new()) {
        let mark = if required.contains(&key.as_str().into()) { "" } else { "?" };
        let (comment, of) = (comment(value, &inner), written(value, &inner));
        writeln!(text, "{comment}{inner}{key}{mark}: {of};").expect("text");
    }
    if schema["properties"].is_null() {
        let of = schema.get("additionalProperties").filter(|of| of.is_object());
        let of = of.map_or_else(|| "unknown".to_owned(), |of| written(of, indent));
        return format!("{{ [key: string]: {of} }}");
    }
    text + indent + "}"
}

/// All documents by their names; two of one name are one.
fn documents() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut put = |name: &str, schema: &Value| {
        let of = written(schema, "");
        let alone = schema["properties"].is_object() && !of.contains("} & (");
        let text = match alone {
            true => format!("{}export interface {name} {of}\n", comment(schema, "")),
            false => format!("{}export type {name} = {of};\n", comment(schema, "")),
        };
        let before = found.entry(name.to_owned()).or_insert_with(|| text.clone());
        let shape = |text: &str| text[text.find("export").expect("a type")..].to_owned();
        assert_eq!(shape(before), shape(&text), "two types are called `{name}`");
    };
    for (of, name) in SCHEMAS {
        let schema = schema(of);
        for (name, part) in schema["$defs"].as_object().unwrap_or(&Map::new()) {
            put(name, part);
        }
        if let Some(name) = name {
            put(name, &schema);
        }
    }
    found
}

#[test]
fn documents_have_the_types_of_their_schemas() {
    let head = "// The documents that cross the contract: made of the JSON Schemas that `matterstack config schema` prints, with\n\
        // `UPDATE_GOLDEN=1 cargo xtask test documents_have_the_types`.\n";
    let types: Vec<String> = documents().into_values().collect();
    let text = format!("{head}\n{}", types.join("\n"));
    let path = root().join(DOCUMENTS);
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    // what is as it was stays untouched: it would be newer than what is made of it
    if std::env::var_os("UPDATE_GOLDEN").is_some() && there != text {
        std::fs::write(&path, &text).expect("written");
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "UPDATE_GOLDEN=1 writes it anew");
}
