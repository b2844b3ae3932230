//! What a script threw, as an error of the contract.
use crate::engine;
use matterstack_sdk::{Detail, Error, json};
use rquickjs::{Ctx, Value as Js};
use serde_json::Value;
use std::collections::BTreeMap;

/// A line of a stack trace.
#[derive(Debug, PartialEq)]
struct Frame<'a> {
    function: Option<&'a str>,
    file: &'a str,
    line: usize,
    column: usize,
}

/// What was thrown, and where.
pub(crate) struct Thrown {
    kind: String,
    message: String,
    stack: String,
    /// What `matterstack.Error` carries.
    refusal: Option<Value>,
}

impl Thrown {
    /// Takes what was thrown last.
    pub(crate) fn catch(ctx: &Ctx<'_>) -> Self {
        Self::of(ctx.catch())
    }

    fn of(value: Js<'_>) -> Self {
        let Some(object) = value.as_object().filter(|object| object.is_error()) else {
            let message = crate::document::words(&value)
                .unwrap_or_else(|| crate::document::of("it", value).ok().flatten().unwrap_or_default().to_string());
            return Self { kind: "thrown".to_owned(), message, stack: String::new(), refusal: None };
        };
        let text = |key: &str| {
            object.get::<_, Js<'_>>(key).ok().and_then(|value| crate::document::words(&value)).unwrap_or_default()
        };
        let refusal = object.get::<_, Js<'_>>("$matterstack").ok();
        let refusal = refusal.and_then(|value| crate::document::of("error", value).ok().flatten());
        Self { kind: text("name"), message: text("message"), stack: text("stack"), refusal }
    }

    /// The error of the contract, and the whole trace for the log.
    pub(crate) fn error(&self, texts: &BTreeMap<String, String>) -> (Error, String) {
        if let Some(refusal) = &self.refusal {
            return (refused(refusal), format!("{}: {}\n{}", self.kind, self.message, self.stack));
        }
        let said = format!("{}: {}", self.kind, self.message);
        let place = self.stack.lines().filter_map(frame).find(|frame| texts.contains_key(frame.file));
        let mut data = json!({"type": self.kind, "message": self.message});
        let mut whole = said.clone();
        if let Some(frame) = place {
            let text = &texts[frame.file];
            let lines: Vec<&str> = text.lines().collect();
            let line = frame.line.min(lines.len().max(1));
            let before = if frame.line == 1 && !engine::is_module(text) { engine::COMMON.len() } else { 0 };
            // what follows the last line is not the author's
            let column = (frame.line == line).then(|| frame.column.saturating_sub(before).max(1));
            let place = column.map_or(line.to_string(), |column| format!("{line}:{column}"));
            let source = lines.get(line - 1).map(|line| line.trim()).unwrap_or_default();
            let function = frame.function.filter(|name| !name.starts_with('<'));
            whole += &format!(" ({}:{place}", frame.file);
            whole += &function.map(|name| format!(" in {name}")).unwrap_or_default();
            whole += &format!(": {})", shortened(source));
            data["file"] = json!(frame.file);
            data["line"] = json!(line);
            data["source"] = json!(source);
            if let Some(column) = column {
                data["column"] = json!(column);
            }
            if let Some(function) = function {
                data["function"] = json!(function);
            }
        }
        let own = |line: &&str| frame(line).is_none_or(|frame| texts.contains_key(frame.file));
        let trace = self.stack.lines().filter(own).fold(said, |trace, line| trace + "\n" + line);
        (Error::Other(Detail::new("exception", whole).with_data(data)), trace)
    }
}

fn shortened(source: &str) -> String {
    match source.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &source[..end]),
        None => source.to_owned(),
    }
}

/// `    at helper (campaign.js:2:21)`, or without a name `    at campaign.js:2:21`.
fn frame(line: &str) -> Option<Frame<'_>> {
    let said = line.trim().strip_prefix("at ")?;
    let (function, place) = match said.strip_suffix(')').and_then(|said| said.split_once(" (")) {
        Some((function, place)) => (Some(function), place),
        None => (None, said),
    };
    let mut parts = place.rsplitn(3, ':');
    let column = parts.next()?.parse().ok()?;
    let line = parts.next()?.parse().ok()?;
    Some(Frame { function, file: parts.next()?, line, column })
}

/// The error of the contract that `matterstack.Error` stands for.
fn refused(refusal: &Value) -> Error {
    let text = |key: &str| refusal[key].as_str().unwrap_or_default().to_owned();
    let mut detail = Detail::new(text("code"), text("message"));
    detail.data = refusal.get("data").filter(|data| data.is_object()).cloned();
    match refusal["kind"].as_str() {
        Some("invalid") => Error::Invalid(detail),
        Some("rejected") => Error::Rejected(detail),
        Some("transient") => Error::Transient(detail, refusal["retry_after_ms"].as_u64()),
        Some("denied") => Error::Denied(detail),
        Some("ambiguous") => Error::Ambiguous(detail),
        _ => Error::Other(detail),
    }
}
