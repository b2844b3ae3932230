//! What was recorded of a decision against what came of making it again.
use crate::model::contract::{OpenTasksRead, ReadRefused, Reads};
use crate::model::evidence::{DecisionKind, DecisionOutcome};
use crate::model::result::Summary;
use crate::plugin::{PluginError, PluginErrorKind};
use crate::store::DecisionInput;
use crate::tick::sha256_of_answer;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;

/// Characters of a value that a difference shows.
const SHOWN: usize = 200;

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// The plugin is not there, or not the one that decided.
    Plugin,
    /// A file that it read is not there, or was changed; or it wrote other files.
    File,
    /// The record does not give what the decision was given.
    Input,
    /// How the call ends.
    Outcome,
    /// What it answered.
    Answer,
    /// The state that it left.
    State,
    /// The fuel that it used.
    Fuel,
    /// The digest of what it answered.
    Digest,
}

impl Aspect {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::File => "file",
            Self::Input => "input",
            Self::Outcome => "outcome",
            Self::Answer => "answer",
            Self::State => "state",
            Self::Fuel => "fuel",
            Self::Digest => "digest",
        }
    }

    /// What has become of a decision that differs in it: without its plugin or what it was given none is made again.
    pub fn fate(self) -> &'static str {
        match self {
            Self::Plugin | Self::Input => "cannot be made again",
            Self::File | Self::Outcome | Self::Answer | Self::State | Self::Fuel | Self::Digest => {
                "comes out otherwise"
            }
        }
    }
}

/// The first thing in which a decision came out otherwise than recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    #[serde(skip)]
    pub(super) place: i64,
    /// The number of the decision.
    pub decision: u64,
    /// Which try at that number it is.
    #[serde(rename = "try")]
    pub attempt: u32,
    /// What was asked.
    pub kind: DecisionKind,
    /// SHA-256 of the plugin that decided.
    pub plugin_sha256: String,
    /// SHA-256 of the script that it carried out, if it did.
    pub script_sha256: Option<String>,
    /// What differs.
    pub aspect: Aspect,
    /// Where in the document, as a JSON pointer; empty: all of it.
    pub path: String,
    /// What is recorded there.
    pub recorded: String,
    /// What came there now.
    pub replayed: String,
}

/// What is recorded of a decision.
pub(super) struct Recorded<'a> {
    pub(super) input: &'a DecisionInput,
    pub(super) state: Option<&'a str>,
    /// The digests of the files that it read, sorted.
    pub(super) read: &'a [String],
    /// The digests of the files that it wrote, sorted.
    pub(super) written: &'a [String],
    pub(super) same_engine: bool,
}

/// What came of a decision.
pub(super) struct Came {
    pub(super) outcome: DecisionOutcome,
    /// The error, if there is one; or why the plugin could not be asked at all.
    pub(super) error: Option<String>,
    /// What kept the plugin from deciding, if it was not its own doing.
    pub(super) unasked: Option<Aspect>,
    /// Whether its calls went deeper than the stack reaches.
    pub(super) depth: bool,
    pub(super) state: Option<String>,
    pub(super) rest: Option<String>,
    pub(super) fuel: u64,
    /// What it asked for.
    pub(super) reads: Reads,
    /// The digests of the files that it wrote, sorted.
    pub(super) written: Vec<String>,
    /// What of its answer stands in the record once more.
    pub(super) told: Option<Told>,
    /// What it answered, just as it was given.
    pub(super) said: String,
    /// A file that could not be read and was when the decision was made: its digest, and why.
    pub(super) missing: Option<(String, String)>,
}

/// What a person is told of an answer.
#[derive(Default)]
pub(super) struct Told {
    pub(super) next: Option<&'static str>,
    pub(super) reason: String,
    /// Canonical JSON.
    pub(super) summary: Option<String>,
}

impl Came {
    pub(super) fn answered(state: String, rest: String, fuel: u64) -> Self {
        Self {
            outcome: DecisionOutcome::Answered,
            error: None,
            unasked: None,
            depth: false,
            state: Some(state),
            rest: Some(rest),
            fuel,
            reads: Reads::default(),
            written: Vec::new(),
            told: None,
            said: String::new(),
            missing: None,
        }
    }

    pub(super) fn failed(error: PluginError, fuel: u64) -> Self {
        let outcome = error.kind.outcome();
        let unasked = match error.kind {
            PluginErrorKind::Ungiven(_) => Some(Aspect::Input),
            _ if outcome.is_none() => Some(Aspect::Plugin),
            _ => None,
        };
        Self {
            outcome: outcome.unwrap_or(DecisionOutcome::Error),
            error: Some(error.to_string()),
            unasked,
            depth: error.kind.is_depth(),
            state: None,
            rest: None,
            fuel,
            reads: Reads::default(),
            written: Vec::new(),
            told: None,
            said: String::new(),
            missing: None,
        }
    }
}

/// A decision of which the plugin is not there.
pub(super) fn no_plugin(place: i64, input: &DecisionInput, why: &str) -> Difference {
    let recorded = format!("SHA-256 {}", input.record.plugin_sha256);
    Difference { aspect: Aspect::Plugin, recorded, replayed: beginning(why), ..unreadable(place, input, "") }
}

/// A decision of which the record cannot be read.
pub(super) fn unreadable(place: i64, input: &DecisionInput, why: &str) -> Difference {
    let record = &input.record;
    Difference {
        place,
        decision: record.number,
        attempt: record.attempt,
        kind: record.kind,
        aspect: Aspect::Input,
        path: String::new(),
        plugin_sha256: record.plugin_sha256.clone(),
        script_sha256: record.script_sha256.clone(),
        recorded: beginning(why),
        replayed: "(nothing to compare with)".to_owned(),
    }
}

/// The first thing in which a decision came out otherwise; nothing if it came out as recorded.
pub(super) fn first_difference(
    place: i64,
    recorded: &Recorded<'_>,
    input_sha256: &str,
    came: &Came,
) -> Option<Difference> {
    let (input, record) = (recorded.input, &recorded.input.record);
    // What the host itself could not take had an answer of the campaign.
    let refused_by_host = record.outcome == DecisionOutcome::BadOutput && input.answer.is_some();
    let found = in_what_was_given(input, input_sha256, came).or_else(|| match refused_by_host {
        true => {
            Found::in_documents(Aspect::Answer, Some(input.answer.as_deref().unwrap_or_default()), Some(&came.said))
        }
        false => in_what_came(recorded, came)
            .or_else(|| in_what_is_told(recorded, came))
            .or_else(|| in_what_it_asked(recorded, came))
            .or_else(|| in_what_it_took(recorded, came)),
    })?;
    Some(told(place, input, found))
}

/// The first thing in which another plugin decides otherwise than the one that decided; nothing if it decides so too.
pub(super) fn first_unlike(place: i64, recorded: &Recorded<'_>, came: &Came) -> Option<Difference> {
    let input = recorded.input;
    let missing = came
        .missing
        .as_ref()
        .and_then(|(digest, why)| Found::whole(Aspect::File, format!("it was read: SHA-256 {digest}"), why.as_str()));
    // what the host could not take of the one has no match in the other
    missing.or_else(|| in_what_came(recorded, came)).map(|found| told(place, input, found))
}

fn told(place: i64, input: &DecisionInput, found: Found) -> Difference {
    let record = &input.record;
    Difference {
        place,
        decision: record.number,
        attempt: record.attempt,
        kind: record.kind,
        plugin_sha256: record.plugin_sha256.clone(),
        script_sha256: record.script_sha256.clone(),
        aspect: found.aspect,
        path: found.path,
        recorded: beginning(&found.recorded),
        replayed: beginning(&found.replayed),
    }
}

/// Something that came out otherwise.
struct Found {
    aspect: Aspect,
    path: String,
    recorded: String,
    replayed: String,
}

impl Found {
    fn whole(aspect: Aspect, recorded: impl Into<String>, replayed: impl Into<String>) -> Option<Self> {
        Some(Self { aspect, path: String::new(), recorded: recorded.into(), replayed: replayed.into() })
    }

    /// Where both are there and differ.
    fn in_documents(aspect: Aspect, recorded: Option<&str>, replayed: Option<&str>) -> Option<Self> {
        let (path, recorded, replayed) = documents(recorded?, replayed?)?;
        Some(Self { aspect, path, recorded, replayed })
    }
}

/// The plugin, its files and its arguments.
fn in_what_was_given(input: &DecisionInput, input_sha256: &str, came: &Came) -> Option<Found> {
    let record = &input.record;
    if let Some(aspect) = came.unasked {
        let plugin = input.plugin.as_deref().unwrap_or("(not pinned)");
        let recorded = format!("{plugin} with SHA-256 {}", record.plugin_sha256);
        return Found::whole(aspect, recorded, came.error.as_deref().unwrap_or_default());
    }
    if let Some((digest, why)) = &came.missing {
        return Found::whole(Aspect::File, format!("it was read: SHA-256 {digest}"), why.as_str());
    }
    if input_sha256 != record.input_sha256 {
        return Found::whole(Aspect::Input, record.input_sha256.as_str(), input_sha256);
    }
    None
}

/// How the call ended, its answer, and the state after it.
fn in_what_came(recorded: &Recorded<'_>, came: &Came) -> Option<Found> {
    let (input, record) = (recorded.input, &recorded.input.record);
    if came.outcome != record.outcome {
        let ended = |outcome: DecisionOutcome, error: Option<&str>| match error {
            Some(error) => format!("{}: {error}", outcome.as_str()),
            None => outcome.as_str().to_owned(),
        };
        let (one, other) = (ended(record.outcome, record.error.as_deref()), ended(came.outcome, came.error.as_deref()));
        return Found::whole(Aspect::Outcome, one, other);
    }
    let answer = || Found::in_documents(Aspect::Answer, input.answer.as_deref(), came.rest.as_deref());
    let state = || Found::in_documents(Aspect::State, recorded.state, came.state.as_deref());
    let written = || {
        let (one, other) = (recorded.written.join(" "), came.written.join(" "));
        if one == other { None } else { Found::whole(Aspect::File, one, other) }
    };
    answer().or_else(state).or_else(written).or_else(|| {
        let (rest, state, digest) = (came.rest.as_ref()?, came.state.as_ref()?, record.output_sha256.as_ref()?);
        let now = sha256_of_answer(rest, state);
        if now == *digest { None } else { Found::whole(Aspect::Digest, digest.as_str(), now) }
    })
}

/// What stands of the answer in the record once more, for a person.
fn in_what_is_told(recorded: &Recorded<'_>, came: &Came) -> Option<Found> {
    let (record, told) = (&recorded.input.record, came.told.as_ref()?);
    let text = |text: Option<&str>| text.map_or_else(|| "(nothing)".to_owned(), str::to_owned);
    let found = |path: &str, one: String, other: String| {
        (one != other).then(|| Found { aspect: Aspect::Answer, path: path.to_owned(), recorded: one, replayed: other })
    };
    let summary = || {
        let parsed = told.summary.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let shown = |summary: &Option<Summary>| serde_json::to_string(summary).unwrap_or_default();
        found("/summary", shown(&record.summary), shown(&parsed))
    };
    found("/next", text(record.next.as_deref()), text(told.next))
        .or_else(|| found("/reason", text(record.reason.as_deref()), text(Some(&told.reason))))
        .or_else(summary)
}

/// What it asked for: files, those that it was refused, and open tasks.
fn in_what_it_asked(recorded: &Recorded<'_>, came: &Came) -> Option<Found> {
    let (input, reads) = (recorded.input, &came.reads);
    let read: Vec<&str> = reads.digests.iter().map(String::as_str).collect();
    if recorded.read != read {
        return Found::whole(Aspect::File, format!("read: {}", recorded.read.join(" ")), read.join(" "));
    }
    if input.refusals != reads.refused {
        let places = |all: &[ReadRefused]| all.iter().map(|one| one.seq.to_string()).collect::<Vec<_>>().join(" ");
        let refused = format!("refused: {}", places(&input.refusals));
        return Found::whole(Aspect::File, refused, places(&reads.refused));
    }
    if input.open_tasks != reads.open_tasks {
        let shown = |all: &[OpenTasksRead]| serde_json::to_string(all).unwrap_or_default();
        return Found::whole(Aspect::Input, shown(&input.open_tasks), shown(&reads.open_tasks));
    }
    None
}

/// The words of its error, and its fuel, which only the same engine gives again; what it had used when its calls were
/// too deep, not even that.
fn in_what_it_took(recorded: &Recorded<'_>, came: &Came) -> Option<Found> {
    let record = &recorded.input.record;
    if !recorded.same_engine {
        return None;
    }
    if came.error != record.error {
        let text = |error: Option<&String>| error.cloned().unwrap_or_default();
        return Found::whole(Aspect::Outcome, text(record.error.as_ref()), text(came.error.as_ref()));
    }
    if came.fuel != record.fuel && !came.depth {
        return Found::whole(Aspect::Fuel, record.fuel.to_string(), came.fuel.to_string());
    }
    None
}

/// Where two documents differ first, and what stands there in each; nothing if they are the same to the byte.
fn documents(one: &str, other: &str) -> Option<(String, String, String)> {
    if one == other {
        return None;
    }
    let parsed = serde_json::from_str::<Value>(one).ok().zip(serde_json::from_str::<Value>(other).ok());
    let found = parsed.and_then(|(one, other)| values(&mut String::new(), &one, &other));
    Some(found.unwrap_or_else(|| (String::new(), one.to_owned(), other.to_owned())))
}

fn values(path: &mut String, one: &Value, other: &Value) -> Option<(String, String, String)> {
    let length = path.len();
    match (one, other) {
        (Value::Object(left), Value::Object(right)) => {
            let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            keys.into_iter().find_map(|key| {
                path.truncate(length);
                let _ = write!(path, "/{}", key.replace('~', "~0").replace('/', "~1"));
                members(path, left.get(key), right.get(key))
            })
        }
        (Value::Array(left), Value::Array(right)) => (0..left.len().max(right.len())).find_map(|position| {
            path.truncate(length);
            let _ = write!(path, "/{position}");
            members(path, left.get(position), right.get(position))
        }),
        _ => (one != other).then(|| (path.clone(), one.to_string(), other.to_string())),
    }
}

fn members(path: &mut String, one: Option<&Value>, other: Option<&Value>) -> Option<(String, String, String)> {
    let shown = |value: Option<&Value>| value.map_or_else(|| "(nothing)".to_owned(), Value::to_string);
    match (one, other) {
        (Some(one), Some(other)) => values(path, one, other),
        (one, other) => Some((path.clone(), shown(one), shown(other))),
    }
}

fn beginning(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::documents;

    #[test]
    fn the_first_difference_has_a_path_and_both_values() {
        let cases = [
            ("{\"a\":1}", "{\"a\":1}", None),
            ("{\"a\":1}", "{\"a\":2}", Some(("/a", "1", "2"))),
            ("{\"a\":[1,2]}", "{\"a\":[1]}", Some(("/a/1", "2", "(nothing)"))),
            ("{\"b\":{\"x/y\":[{}]}}", "{\"b\":{\"x/y\":[{\"z\":null}]}}", Some(("/b/x~1y/0/z", "(nothing)", "null"))),
            ("[1]", "{}", Some(("", "[1]", "{}"))),
            ("{\"a\":1,\"b\":2}", "{\"a\":0,\"b\":3}", Some(("/a", "1", "0"))),
            ("not JSON", "{}", Some(("", "not JSON", "{}"))),
            ("{\"a\": 1}", "{\"a\":1}", Some(("", "{\"a\": 1}", "{\"a\":1}"))),
        ];
        for (one, other, expected) in cases {
            let found = documents(one, other);
            let found = found.as_ref().map(|(path, one, other)| (path.as_str(), one.as_str(), other.as_str()));
            assert_eq!(found, expected, "{one} against {other}");
        }
    }
}
