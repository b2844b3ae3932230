//! What is wrong with the text of a document, and where: one sentence that names key and value.
use std::fmt;

/// One step from the top of a document to a place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The value of a key.
    Key(String),
    /// An element of an array, counted from 0.
    Index(usize),
}

/// Something wrong with the text of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The way from the top to the value.
    pub place: Vec<Place>,
    /// The line, from 1 on.
    pub line: usize,
    /// The character in the line, from 1 on.
    pub column: usize,
    /// What it is.
    pub kind: FaultKind,
}

/// What can be wrong with the text of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// A key stands twice in one object.
    Duplicate {
        /// The key.
        key: String,
        /// The line of the first.
        first_line: usize,
    },
    /// An integer that no double holds: readers would change it without a word.
    Inexact(String),
    /// A number beyond the doubles.
    Range(String),
    /// Not written as JSON writes numbers.
    Number(String),
    /// `NaN` or an infinity.
    NotANumber(String),
    /// A bare word that is no value.
    Word(String),
    /// Half of a pair of surrogates.
    Surrogate(u16),
    /// A malformed escape in a text.
    Escape,
    /// A control character that stands raw in a text.
    Control(u8),
    /// A byte order mark; with the encoding it tells.
    ByteOrderMark(&'static str),
    /// Not UTF-8.
    Encoding,
    /// Nested too deeply.
    Depth(usize),
    /// Malformed otherwise.
    Syntax(&'static str),
}

impl FaultKind {
    /// Whether the text is none of a JSON document at all, rather than one that says what cannot be kept.
    pub fn is_syntax(&self) -> bool {
        match self {
            Self::Number(_)
            | Self::Word(_)
            | Self::NotANumber(_)
            | Self::Escape
            | Self::Control(_)
            | Self::Syntax(_) => true,
            Self::Duplicate { .. }
            | Self::Inexact(_)
            | Self::Range(_)
            | Self::Surrogate(_)
            | Self::ByteOrderMark(_)
            | Self::Encoding
            | Self::Depth(_) => false,
        }
    }
}

/// Steps of a way that are shown.
const STEPS_MAX: usize = 12;
/// Characters of a key that are shown.
const KEY_MAX: usize = 200;

/// The way to a place as people write it: `campaign.params.tasks[3].env`.
pub fn way(place: &[Place]) -> String {
    let mut text = String::new();
    for step in place.iter().take(STEPS_MAX) {
        match step {
            Place::Index(index) => text += &format!("[{index}]"),
            Place::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.extend(key.chars().take(KEY_MAX).flat_map(char::escape_debug));
                text.extend((key.chars().nth(KEY_MAX).is_some()).then_some('…'));
            }
        }
    }
    text.extend((place.len() > STEPS_MAX).then_some('…'));
    text
}

impl Fault {
    /// What is wrong, without the line.
    pub fn sentence(&self) -> String {
        let subject = match self.place.as_slice() {
            [] => "the document".to_owned(),
            place => format!("`{}`", way(place)),
        };
        match &self.kind {
            FaultKind::Duplicate { first_line, .. } if *first_line != self.line => {
                format!("{subject} stands twice, first in line {first_line}")
            }
            FaultKind::Duplicate { .. } => format!("{subject} stands twice"),
            FaultKind::Inexact(literal) => {
                format!(
                    "{subject} is {literal}, an integer beyond 2^53 that no double holds: write it as text, in quotes"
                )
            }
            FaultKind::Range(literal) => {
                format!("{subject} is {literal}, a number out of range: doubles end at 1.8e308")
            }
            FaultKind::Number(literal) => format!("{subject} is {literal}, which is no number as JSON writes them"),
            FaultKind::NotANumber(word) => {
                format!("{subject} is {word}, which JSON has no number for: use null or text")
            }
            FaultKind::Word(word) => format!("{subject} is the bare word {word}: texts stand in double quotes"),
            FaultKind::Surrogate(unit) => {
                format!("{subject} holds \\u{unit:04x}, half of a surrogate pair, which is no character")
            }
            FaultKind::Escape => format!("{subject} holds a `\\` that begins no escape of JSON"),
            FaultKind::Control(b'\n' | b'\r') => {
                format!("{subject} holds a raw line break: write \\n, or close the quotes")
            }
            FaultKind::Control(byte) => format!("{subject} holds the raw control character \\u{byte:04x}"),
            FaultKind::ByteOrderMark(encoding) => {
                format!("it begins with a byte order mark ({encoding}): save it as UTF-8 without one")
            }
            FaultKind::Encoding => "it is not UTF-8".to_owned(),
            FaultKind::Depth(most) => format!("{subject} is nested deeper than {most} levels (recursion limit)"),
            FaultKind::Syntax(why) => format!("{subject} {why}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {}, column {})", self.sentence(), self.line, self.column)
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for std::io::Error {
    fn from(fault: Fault) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, fault)
    }
}
