//! Patterns of files: what tasks leave, carry over and keep, and what a workspace pins.
//!
//! They match as in a shell: `*` and `?` stop at slashes, `[a-z]` and `[!a-z]` are one character, `{a,b}` is either,
//! `**` as a whole component is any number of folders, and a name's leading dot must be written. A pattern is bounded
//! in length, nesting and alternatives, so that neither reading nor matching one can cost more than it is worth. It is
//! read into components, and so tells which folders it can reach: nobody walks into others for its sake.
mod meet;
mod parse;
mod why;

pub use why::{Kind, Miss, Seen, misses};

use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::fmt;

/// The longest pattern, in bytes.
pub const LENGTH_MAX: usize = 1024;
/// How deep braces may be nested in one another.
pub const NESTING_MAX: usize = 8;
/// How many alternatives the braces of one pattern may make.
pub const ALTERNATIVES_MAX: usize = 64;
/// How many components a pattern may have.
pub const COMPONENTS_MAX: usize = 64;
/// How many patterns are matched together at most.
pub const PATTERNS_MAX: usize = 256;

/// How much patterns that are matched together may weigh.
pub const WEIGHT_MAX: usize = 60_000;

/// A pattern that can match something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// What its braces stand for, each by its components.
    pub alternatives: Vec<Vec<Part>>,
}

/// One component of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// `**`: any number of folders; at the end, any file below.
    Deep,
    /// A name as it stands.
    Plain(String),
    /// A name with something open in it.
    Open(Vec<Token>),
}

/// What a name is matched by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// This character.
    Plain(char),
    /// Any character.
    Any,
    /// Any number of characters.
    Star,
    /// One of these ranges, or none of them.
    Class {
        /// Whether it is none of them.
        negated: bool,
        /// From and to.
        ranges: Vec<(char, char)>,
    },
}

/// Why a text is no pattern, or one that can never match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It is longer than [`LENGTH_MAX`].
    #[error("it has {0} bytes; {LENGTH_MAX} are allowed")]
    Length(usize),
    /// Braces are nested more than [`NESTING_MAX`] deep.
    #[error("its braces are nested more than {NESTING_MAX} deep")]
    Nesting,
    /// Its braces make more than [`ALTERNATIVES_MAX`].
    #[error("its braces make more than {ALTERNATIVES_MAX} alternatives")]
    Alternatives,
    /// It has more than [`COMPONENTS_MAX`].
    #[error("it has more than {COMPONENTS_MAX} components")]
    Components,
    /// A bracket or brace is not closed.
    #[error("`{0}` is not closed; for the character itself write `\\{0}`")]
    Unclosed(char),
    /// A brace closes nothing.
    #[error("`}}` closes nothing; for the character itself write `\\}}`")]
    Unopened,
    /// A range runs backwards.
    #[error("the range `{0}-{1}` runs backwards")]
    Range(char, char),
    /// A slash stands in brackets.
    #[error("a slash cannot stand in `[ ]`")]
    SlashInClass,
    /// It ends with the character that makes the next one plain.
    #[error("it ends with a backslash")]
    Dangling,
    /// It holds a character that no file name has.
    #[error("it holds a NUL character")]
    Nul,
    /// It begins at the root.
    #[error("it can never match: it begins with a slash, and patterns are relative to {0}")]
    Absolute(&'static str),
    /// It goes upwards.
    #[error("it can never match: `..` leads out of {0}")]
    Upwards(&'static str),
    /// It names a folder.
    #[error(
        "it can never match: it ends with a slash, and only files are matched; for all in the folder write `{0}**`"
    )]
    Folder(String),
}

/// What a pattern is relative to, as errors call it.
pub const WORKING_DIRECTORY: &str = "the job's working directory";

impl Pattern {
    /// Reads a pattern that is relative to a job's working directory.
    ///
    /// # Errors
    /// If it is none, or can never match.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Self::relative_to(text, WORKING_DIRECTORY)
    }

    /// Reads a pattern that is relative to `place`, as errors call it.
    ///
    /// # Errors
    /// If it is none, or can never match.
    pub fn relative_to(text: &str, place: &'static str) -> Result<Self, PatternError> {
        Ok(Self { text: text.to_owned(), alternatives: parse::alternatives(text, place)? })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it costs: about the characters of a regular expression for it.
    pub fn weight(&self) -> usize {
        let token = |token: &Token| match token {
            Token::Plain(_) => 2,
            Token::Star => 6,
            Token::Any => 24,
            Token::Class { .. } => 110,
        };
        let part = |part: &Part| match part {
            Part::Deep => 60,
            Part::Plain(name) => name.len() * 2 + 4,
            Part::Open(tokens) => tokens.iter().map(token).sum::<usize>() * 2 + 10,
        };
        self.alternatives.iter().flatten().map(part).sum()
    }

    /// The paths that it names one by one, for its alternatives in which nothing is open; nothing for the others.
    pub fn plain_paths(&self) -> impl Iterator<Item = Option<String>> {
        self.alternatives.iter().map(|parts| {
            let names = parts.iter().map(|part| match part {
                Part::Plain(name) => Some(name.as_str()),
                Part::Deep | Part::Open(_) => None,
            });
            names.collect::<Option<Vec<_>>>().map(|names| names.join("/"))
        })
    }

    /// The folder in which all lies that it names, as far as that is written out; nothing for the top one.
    pub fn fixed_folder(&self) -> String {
        let plain = |parts: &[Part]| -> Vec<String> {
            let above = parts.split_last().map_or(&[][..], |(_, above)| above).iter();
            let names = above.map_while(|part| match part {
                Part::Plain(name) => Some(name.clone()),
                Part::Deep | Part::Open(_) => None,
            });
            names.collect()
        };
        let common = |one: Vec<String>, other: Vec<String>| {
            one.into_iter().zip(other).take_while(|(a, b)| a == b).map(|(name, _)| name).collect()
        };
        self.alternatives.iter().map(|parts| plain(parts)).reduce(common).unwrap_or_default().join("/")
    }

    /// The names with which its alternatives begin; nothing for one whose first component is open.
    pub fn plain_beginnings(&self) -> impl Iterator<Item = Option<&str>> {
        self.alternatives.iter().map(|parts| match parts.first() {
            Some(Part::Plain(name)) => Some(name.as_str()),
            Some(Part::Deep | Part::Open(_)) | None => None,
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| serde::de::Error::custom(format!("pattern `{text}`: {error}")))
    }
}

/// A path as a task's outputs are recorded: without `.` and doubled slashes.
pub fn plain_path(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    parts.join("/")
}

/// What a name's leading dot asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dots {
    /// It must be written, as in a shell.
    Written,
    /// It is a character like any other.
    Any,
}

/// Patterns that are matched together while a tree is walked.
#[derive(Debug, Clone)]
pub struct Patterns {
    all: Vec<Pattern>,
    dots: Dots,
    steps: Cell<u64>,
}

/// How far each alternative has come in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(Vec<Stand>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stand {
    pattern: usize,
    alternative: usize,
    part: usize,
}

impl Place {
    fn each_once(mut self) -> Self {
        self.0.sort_unstable();
        self.0.dedup();
        self
    }
}

impl Patterns {
    /// Joins patterns; each keeps its position.
    pub fn new(all: Vec<Pattern>, dots: Dots) -> Self {
        Self { all, dots, steps: Cell::new(0) }
    }

    /// The patterns, by position.
    pub fn all(&self) -> &[Pattern] {
        &self.all
    }

    /// How many characters have been compared so far: what matching has cost.
    pub fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// Where a walk begins.
    pub fn root(&self) -> Place {
        let mut place = Place(Vec::new());
        for (pattern, one) in self.all.iter().enumerate() {
            for alternative in 0..one.alternatives.len() {
                self.stand(&mut place, Stand { pattern, alternative, part: 0 });
            }
        }
        place.each_once()
    }

    /// Where a walk is in the folder `name`; nothing if no pattern reaches into it.
    pub fn enter(&self, place: &Place, name: &str) -> Option<Place> {
        let mut inner = Place(Vec::new());
        for stand in &place.0 {
            match self.part(stand) {
                Some((Part::Deep, _)) if self.shown(name) => self.stand(&mut inner, *stand),
                Some((part, false)) if self.takes(part, name) => {
                    self.stand(&mut inner, Stand { part: stand.part + 1, ..*stand });
                }
                Some(_) | None => {}
            }
        }
        (!inner.0.is_empty()).then(|| inner.each_once())
    }

    /// The positions of the patterns that name `name` in a folder; one may come twice.
    pub fn named<'a>(&'a self, place: &'a Place, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        place
            .0
            .iter()
            .filter(move |stand| match self.part(stand) {
                Some((Part::Deep, last)) => last && self.shown(name),
                Some((part, last)) => last && self.takes(part, name),
                None => false,
            })
            .map(|stand| stand.pattern)
    }

    /// The positions of the patterns that name a path.
    pub fn of_path(&self, path: &str) -> Vec<usize> {
        let mut place = self.root();
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                return self.named(&place, name).collect();
            }
            match self.enter(&place, name) {
                Some(inner) => place = inner,
                None => break,
            }
        }
        Vec::new()
    }

    /// Whether any pattern names a path.
    pub fn match_path(&self, path: &str) -> bool {
        !self.of_path(path).is_empty()
    }

    /// Adds where an alternative stands, and where it stands as well because `**` may be no folder at all.
    fn stand(&self, place: &mut Place, mut stand: Stand) {
        loop {
            place.0.push(stand);
            match self.part(&stand) {
                Some((Part::Deep, false)) => stand.part += 1,
                Some(_) | None => return,
            }
        }
    }

    /// The component that an alternative has come to, and whether it is its last.
    fn part(&self, stand: &Stand) -> Option<(&Part, bool)> {
        let parts = self.all.get(stand.pattern)?.alternatives.get(stand.alternative)?;
        Some((parts.get(stand.part)?, stand.part + 1 == parts.len()))
    }

    fn shown(&self, name: &str) -> bool {
        self.dots == Dots::Any || !name.starts_with('.')
    }

    fn takes(&self, part: &Part, name: &str) -> bool {
        match part {
            Part::Deep => false,
            Part::Plain(plain) => plain == name,
            Part::Open(tokens) => {
                let mut steps = self.steps.get();
                let takes = (self.shown(name) || matches!(tokens.first(), Some(Token::Plain('.'))))
                    && matches_name(tokens, name, false, &mut steps);
                self.steps.set(steps);
                takes
            }
        }
    }
}

impl Token {
    fn takes(&self, character: char, any_case: bool) -> bool {
        let same = |a: char, b: char| a == b || (any_case && a.to_lowercase().eq(b.to_lowercase()));
        match self {
            Self::Plain(plain) => same(*plain, character),
            Self::Any => true,
            Self::Star => false,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(first, last)| {
                    (*first..=*last).contains(&character)
                        || (any_case && !negated && folded(character).any(|other| (*first..=*last).contains(&other)))
                }) != *negated
            }
        }
    }
}

/// A character in both cases, as far as one character is enough for it.
fn folded(character: char) -> impl Iterator<Item = char> {
    character.to_lowercase().chain(character.to_uppercase())
}

/// Whether a name is matched; at most as many steps as the lengths multiplied.
pub(crate) fn matches_name(tokens: &[Token], name: &str, any_case: bool, steps: &mut u64) -> bool {
    let (mut at, mut rest) = (0, name);
    let mut star: Option<(usize, &str)> = None;
    loop {
        *steps += 1;
        let mut characters = rest.chars();
        match (tokens.get(at), characters.next()) {
            (None, None) => return true,
            (Some(Token::Star), _) => {
                at += 1;
                star = Some((at, rest));
                continue;
            }
            (Some(token), Some(character)) if token.takes(character, any_case) => {
                at += 1;
                rest = characters.as_str();
                continue;
            }
            (_, _) => {}
        }
        // the last star takes one character more
        let Some((after, from)) = star else { return false };
        let mut characters = from.chars();
        if characters.next().is_none() {
            return false;
        }
        (at, rest) = (after, characters.as_str());
        star = Some((after, rest));
    }
}

#[cfg(test)]
mod tests;
