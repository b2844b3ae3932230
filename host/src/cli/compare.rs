//! `compare`: what two runs have not alike.
use super::Session;
use super::output::{JsonList, Listing, print, tell};
use crate::failure::Failure;
use crate::results::{self, Difference, Side};
use crate::workspace::open_for_reading;
use serde_json::Value;

/// Differences that are printed at once.
const PRINTED_AT_ONCE: usize = 1000;
/// Characters of a value that a person is shown.
const VALUE_CHARS: usize = 40;

pub(super) fn compare(session: &Session, first: &str, second: &str) -> Result<u8, Failure> {
    let (first, second) = (session.run(first)?, session.run(second)?);
    let ((first_store, first_config), (second_store, second_config)) =
        (open_for_reading(&first)?, open_for_reading(&second)?);
    let (first_id, second_id) = (first.id(), second.id());
    let mut listing = Listing::new(&["OF", "TASK", "NAME", &first_id, &second_id]);
    let mut list = JsonList::default();
    let (mut waiting, mut any) = (Vec::new(), false);
    let mut print_some = |some: Vec<Difference>| match session.json {
        true => print(&list.rows(&some)?),
        false => print(&listing.rows(some.into_iter().map(cells))),
    };
    results::compare(
        &Side { config: &first_config, store: &first_store },
        &Side { config: &second_config, store: &second_store },
        &mut |difference| {
            any = true;
            waiting.push(difference);
            if waiting.len() < PRINTED_AT_ONCE { Ok(()) } else { print_some(std::mem::take(&mut waiting)) }
        },
    )?;
    if !waiting.is_empty() {
        print_some(waiting)?;
    }
    if session.json {
        print(list.end())?;
    }
    if !any {
        tell(&format!("runs `{}` and `{}` have everything alike", first.address(), second.address()));
    }
    Ok(0)
}

fn cells(difference: Difference) -> Vec<String> {
    let Difference { part, task, name, first, second } = difference;
    vec![part.as_str().to_owned(), task.unwrap_or_default(), name, value(first), value(second)]
}

/// A value for a person, cut short; `--json` has the whole.
fn value(value: Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    match text.char_indices().nth(VALUE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
