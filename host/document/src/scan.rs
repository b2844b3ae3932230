//! Looks at the text of a document before anything reads it: whether it is JSON that every reader reads alike, and
//! where it is not. Nothing is built, so that a document of a gigabyte costs one pass.
//!
//! A reader of its own would say less: serde keeps the last of two equal keys, rounds an integer that no double holds,
//! and knows a line but no key.
use super::fault::{Fault, FaultKind, Place};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// The deepest nesting; serde_json reads no deeper.
const DEPTH_MAX: usize = 127;
/// Keys of one object that are compared with each other one by one.
const FEW_KEYS: usize = 16;

/// How a text may depart from JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Not at all.
    Strict,
    /// Comments and trailing commas are allowed, as in what people write.
    Commented,
}

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Comments and trailing commas, in their order.
    pub(super) blanks: Vec<Range<usize>>,
    /// Where the place that was asked for begins: its key, or the element.
    pub(super) place: Option<usize>,
}

/// Scans a whole text.
///
/// # Errors
/// The first fault.
pub(super) fn scan(text: &str, dialect: Dialect, sought: Option<&[Place]>) -> Result<Found, Fault> {
    let mut scanner = Scanner {
        text,
        bytes: text.as_bytes(),
        at: 0,
        dialect,
        path: Vec::new(),
        keys: Vec::new(),
        sought,
        found: Found::default(),
    };
    scanner.document()?;
    Ok(scanner.found)
}

/// What encloses the place where the scanner is.
enum Step {
    /// An object: where its keys begin among all, and which of them is the present one.
    Object { base: usize, present: usize },
    /// An array, and the index of the present element.
    Array { index: usize },
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    dialect: Dialect,
    path: Vec<Step>,
    /// The keys of the objects that are open, with where each begins.
    keys: Vec<(Cow<'a, str>, usize)>,
    sought: Option<&'a [Place]>,
    found: Found,
}

impl<'a> Scanner<'a> {
    fn document(&mut self) -> Result<(), Fault> {
        self.blank()?;
        loop {
            self.look_for_place();
            match self.peek() {
                Some(b'{') => {
                    self.open(Step::Object { base: self.keys.len(), present: 0 })?;
                    if self.peek() == Some(b'}') {
                        self.close();
                    } else {
                        self.key()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.open(Step::Array { index: 0 })?;
                    if self.peek() == Some(b']') {
                        self.close();
                    } else {
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            if !self.another_value()? {
                break;
            }
        }
        if self.at < self.bytes.len() { Err(self.syntax("is followed by further text")) } else { Ok(()) }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn open(&mut self, step: Step) -> Result<(), Fault> {
        if self.path.len() == DEPTH_MAX {
            return Err(self.fault(self.at, FaultKind::Depth(DEPTH_MAX)));
        }
        self.path.push(step);
        self.at += 1;
        self.blank()
    }

    /// Closes what is open; the closing character is here.
    fn close(&mut self) {
        self.at += 1;
        if let Some(Step::Object { base, .. }) = self.path.pop() {
            self.keys.truncate(base);
        }
    }

    /// Goes on behind a value, closing what ends there; whether another value follows.
    fn another_value(&mut self) -> Result<bool, Fault> {
        loop {
            self.blank()?;
            let (end, is_object) = match self.path.last() {
                None => return Ok(false),
                Some(Step::Object { .. }) => (b'}', true),
                Some(Step::Array { .. }) => (b']', false),
            };
            match self.peek() {
                Some(b',') => {
                    let comma = self.at;
                    self.at += 1;
                    self.blank()?;
                    if self.peek() == Some(end) {
                        if self.dialect == Dialect::Strict {
                            self.at = comma;
                            return Err(self.syntax("is followed by a trailing comma"));
                        }
                        self.found.blanks.push(comma..comma + 1);
                    } else {
                        if is_object {
                            self.key()?;
                        } else if let Some(Step::Array { index }) = self.path.last_mut() {
                            *index += 1;
                        }
                        return Ok(true);
                    }
                }
                Some(byte) if byte == end => {}
                _ => {
                    return Err(self.syntax(if is_object {
                        "is not followed by `,` or `}`"
                    } else {
                        "is not followed by `,` or `]`"
                    }));
                }
            }
            if is_object {
                self.refuse_equal_keys()?;
            }
            self.close();
        }
    }

    /// Reads a key and its colon.
    fn key(&mut self) -> Result<(), Fault> {
        let start = self.at;
        // What is wrong with a key is wrong with its object.
        let of_object = |mut fault: Fault| {
            fault.place.pop();
            fault
        };
        if self.peek() != Some(b'"') {
            return Err(of_object(self.syntax("wants a key in double quotes here")));
        }
        let key = self.string().map_err(of_object)?;
        if let Some(Step::Object { present, .. }) = self.path.last_mut() {
            *present = self.keys.len();
        }
        self.keys.push((key, start));
        self.blank()?;
        if self.peek() != Some(b':') {
            return Err(self.syntax("is not followed by `:`"));
        }
        self.at += 1;
        self.blank()
    }

    fn refuse_equal_keys(&mut self) -> Result<(), Fault> {
        let Some(Step::Object { base, .. }) = self.path.last() else { return Ok(()) };
        let keys = &self.keys[*base..];
        let twice = if keys.len() <= FEW_KEYS {
            (1..keys.len()).find_map(|second| {
                let first = keys[..second].iter().find(|(key, _)| *key == keys[second].0)?;
                Some((first.1, second))
            })
        } else {
            let mut seen: HashMap<&str, usize> = HashMap::with_capacity(keys.len());
            keys.iter().enumerate().find_map(|(second, (key, at))| Some((seen.insert(key, *at)?, second)))
        };
        let Some((first, second)) = twice else { return Ok(()) };
        let (key, at) = (keys[second].0.clone().into_owned(), keys[second].1);
        let first_line = line_and_column(self.text, first).0;
        let mut fault = self.fault(at, FaultKind::Duplicate { key: key.clone(), first_line });
        if let Some(last) = fault.place.last_mut() {
            *last = Place::Key(key);
        }
        Err(fault)
    }

    /// Skips white space and, where they are allowed, comments.
    fn blank(&mut self) -> Result<(), Fault> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(b'/') if self.dialect == Dialect::Commented => self.comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn comment(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let rest = &self.text[start..];
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(inside) = rest.strip_prefix("/*") {
            inside.find("*/").ok_or_else(|| self.syntax("has a comment that does not end"))? + 4
        } else {
            return Err(self.syntax("has a `/` that begins no comment"));
        };
        self.at += length;
        self.found.blanks.push(start..self.at);
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') if !self.text[self.at..].starts_with("-I") => self.number(),
            None => Err(self.syntax("ends too early")),
            Some(_) => {
                let rest = &self.text[self.at..];
                let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '-' || c == '+')).unwrap_or(rest.len());
                let word = &rest[..length];
                match word {
                    "true" | "false" | "null" => self.at += length,
                    "NaN" | "nan" | "-NaN" | "Infinity" | "-Infinity" | "+Infinity" | "inf" | "Inf" | "INF" => {
                        return Err(self.fault(self.at, FaultKind::NotANumber(word.to_owned())));
                    }
                    "" => return Err(self.syntax("wants a value here")),
                    word => {
                        let word = word.chars().take(40).collect();
                        return Err(self.fault(self.at, FaultKind::Word(word)));
                    }
                }
                Ok(())
            }
        }
    }

    fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let digits = |scanner: &mut Self| {
            let from = scanner.at;
            while matches!(scanner.peek(), Some(b'0'..=b'9')) {
                scanner.at += 1;
            }
            scanner.at - from
        };
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let first = self.at;
        let whole = digits(self);
        if whole == 0 || (whole > 1 && self.bytes[first] == b'0') {
            return Err(self.fault(start, FaultKind::Number(self.literal(start))));
        }
        let mut integer = true;
        if self.peek() == Some(b'.') {
            integer = false;
            self.at += 1;
            if digits(self) == 0 {
                return Err(self.fault(start, FaultKind::Number(self.literal(start))));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            integer = false;
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            if digits(self) == 0 {
                return Err(self.fault(start, FaultKind::Number(self.literal(start))));
            }
        }
        if matches!(self.peek(), Some(b'.' | b'_' | b'a'..=b'z' | b'A'..=b'Z')) {
            return Err(self.fault(start, FaultKind::Number(self.literal(start))));
        }
        let literal = &self.text[start..self.at];
        let wrong = if integer { !is_exact(&literal[usize::from(negative)..]) } else { !is_finite(literal) };
        match wrong {
            false => Ok(()),
            true if is_finite(literal) => Err(self.fault(start, FaultKind::Inexact(self.literal(start)))),
            true => Err(self.fault(start, FaultKind::Range(self.literal(start)))),
        }
    }

    /// What stands there, as far as it may have been meant as a number.
    fn literal(&self, start: usize) -> String {
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '_');
        self.text[start..].chars().take_while(plain).take(40).collect()
    }

    /// Reads a string and returns what it says.
    fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        let start = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            match self.peek() {
                None => {
                    self.at = start;
                    return Err(self.syntax("has a text that does not end"));
                }
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(byte) if byte < 0x20 => return Err(self.fault(self.at, FaultKind::Control(byte))),
                Some(_) => self.at += 1,
            }
        }
        let inner = &self.text[start + 1..self.at];
        self.at += 1;
        if !escaped {
            return Ok(Cow::Borrowed(inner));
        }
        // Every escape was looked at above.
        Ok(serde_json::from_str(&self.text[start..self.at]).map_or(Cow::Borrowed(inner), Cow::Owned))
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let start = self.at;
        match self.bytes.get(start + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let wrong = || self.fault(start, FaultKind::Escape);
                let first = self.unit(start).ok_or_else(wrong)?;
                self.at += 6;
                match first {
                    0xd800..=0xdbff if matches!(self.unit(self.at), Some(0xdc00..=0xdfff)) => self.at += 6,
                    0xd800..=0xdfff => return Err(self.fault(start, FaultKind::Surrogate(first))),
                    _ => {}
                }
            }
            _ => return Err(self.fault(start, FaultKind::Escape)),
        }
        Ok(())
    }

    /// The four hexadecimal digits of the escape `\uXXXX` at a place.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    /// Notes where the place that is looked for begins, if it is here.
    fn look_for_place(&mut self) {
        let Some(sought) = self.sought.filter(|sought| sought.len() == self.path.len() && self.found.place.is_none())
        else {
            return;
        };
        let same = self.path.iter().zip(sought).all(|(step, place)| match (step, place) {
            (Step::Object { present, .. }, Place::Key(key)) => self.keys[*present].0 == *key,
            (Step::Array { index }, Place::Index(sought)) => index == sought,
            _ => false,
        });
        if same {
            let key = match self.path.last() {
                Some(Step::Object { present, .. }) => Some(self.keys[*present].1),
                _ => None,
            };
            self.found.place = Some(key.unwrap_or(self.at));
        }
    }

    fn syntax(&self, why: &'static str) -> Fault {
        self.fault(self.at, FaultKind::Syntax(why))
    }

    fn fault(&self, at: usize, kind: FaultKind) -> Fault {
        let place = self.path.iter().map(|step| match step {
            Step::Array { index } => Place::Index(*index),
            Step::Object { base, present } => match self.keys.get(*present).filter(|_| present >= base) {
                Some((key, _)) => Place::Key(key.clone().into_owned()),
                None => Place::Key(String::new()),
            },
        });
        let (line, column) = line_and_column(self.text, at);
        Fault { place: place.collect(), line, column, kind }
    }
}

/// The line and the column of a byte of a text, from 1 on; columns count characters.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.bytes().filter(|byte| *byte == b'\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Whether the digits of an integer are those that RFC 8785 prints for the double nearest to it.
fn is_exact(digits: &str) -> bool {
    digits.len() <= 15
        || digits.parse::<u64>().is_ok_and(|value| value <= super::INTEGER_MAX)
        || digits
            .parse::<f64>()
            .is_ok_and(|value| value.is_finite() && ryu_js::Buffer::new().format_finite(value) == digits)
}

fn is_finite(literal: &str) -> bool {
    literal.parse::<f64>().is_ok_and(f64::is_finite)
}
