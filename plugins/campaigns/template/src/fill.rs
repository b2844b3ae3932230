//! A template with the parameters of a row in it. `{name}` is a parameter; `{{name}}` stands for the text `{name}`, and
//! `${name}` is the shell's. Any other brace is one, since commands and patterns are full of them.
use crate::row::{Row, is_name};
use serde_json::{Map, Value};

/// The task of a row.
///
/// # Errors
/// If the template names a parameter that the row has not, or puts a list or an object into a text.
pub fn fill(template: &Map<String, Value>, row: &Row) -> Result<Map<String, Value>, String> {
    let mut filled = object(template, row, "")?;
    // an id is a text, also where it is nothing but a number
    if let Some(Value::String(id)) = template.get("id") {
        filled.insert("id".to_owned(), Value::String(text(id, row, "id")?));
    }
    Ok(filled)
}

fn object(object: &Map<String, Value>, row: &Row, place: &str) -> Result<Map<String, Value>, String> {
    let mut filled = Map::new();
    for (key, value) in object {
        let inner = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
        let name = text(key, row, &inner)?;
        if filled.contains_key(&name) {
            return Err(format!("two keys of `{place}` come to `{name}`"));
        }
        filled.insert(name, fill_value(value, row, &inner)?);
    }
    Ok(filled)
}

fn fill_value(value: &Value, row: &Row, place: &str) -> Result<Value, String> {
    Ok(match value {
        Value::Object(inner) => Value::Object(object(inner, row, place)?),
        Value::Array(items) => {
            let items = items.iter().map(|item| fill_value(item, row, place));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Value::String(written) => match whole(written).filter(|_| !is_text(place)) {
            Some(name) => row.get(name).ok_or_else(|| unknown(name, row, place))?.value(),
            None => Value::String(text(written, row, place)?),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

/// Whether only texts can stand at a place of a task: the words of a command, and variables.
fn is_text(place: &str) -> bool {
    place == "command" || place.starts_with("env.")
}

/// The parameter that a text is, with nothing around it.
fn whole(written: &str) -> Option<&str> {
    written.strip_prefix('{')?.strip_suffix('}').filter(|name| is_name(name))
}

fn text(written: &str, row: &Row, place: &str) -> Result<String, String> {
    let (mut filled, mut rest) = (String::with_capacity(written.len()), written);
    while let Some(open) = rest.find('{') {
        let (before, after) = rest.split_at(open);
        filled.push_str(before);
        let named = |after: &str, begin: usize| {
            let end = begin + after.get(begin..)?.find('}')?;
            after.get(begin..end).filter(|name| is_name(name)).map(|name| (name.to_owned(), end + 1))
        };
        if let Some((name, end)) = after.strip_prefix("{{").and_then(|_| named(after, 2))
            && after[end..].starts_with('}')
        {
            filled.push_str(&format!("{{{name}}}"));
            rest = &after[end + 1..];
        } else if let Some((name, end)) = named(after, 1).filter(|_| !before.ends_with('$')) {
            let cell = row.get(&name).ok_or_else(|| unknown(&name, row, place))?;
            let inside = cell.text();
            filled.push_str(&inside.ok_or_else(|| {
                format!("`{{{name}}}` in `{place}` is a list or an object, which stands in no text: write it alone")
            })?);
            rest = &after[end..];
        } else {
            filled.push('{');
            rest = &after[1..];
        }
    }
    Ok(filled + rest)
}

fn unknown(name: &str, row: &Row, place: &str) -> String {
    let names: Vec<&str> = row.iter().map(|(name, _)| name).collect();
    format!(
        "`{{{name}}}` in `{place}` is no parameter; there are `{}`; for the text itself write `{{{{{name}}}}}`",
        names.join("`, `")
    )
}
