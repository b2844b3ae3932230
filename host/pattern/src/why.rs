//! Why a pattern named no file: what was there instead.
use super::{Part, Pattern, Token, matches_name};
use std::fmt;

/// How alike two names must be for one to be offered in place of the other.
const NEAR: f64 = 0.85;

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A regular file that was staged.
    Staged,
    /// A file of the host's or the operator's own.
    Own,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A pipe, a socket or a device.
    Special,
}

/// Something that was found where a pattern reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its path, relative to what the pattern is relative to.
    pub path: String,
    /// What it is.
    pub kind: Kind,
}

/// What was there instead of a file that the pattern names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// A link.
    Link(String),
    /// A folder.
    Folder(String),
    /// A file where the pattern wants a folder.
    NotFolder(String),
    /// No regular file.
    Special(String),
    /// A staged file.
    Staged(String),
    /// A file that is no result of the task's.
    Own(String),
    /// A file whose name is the pattern's text, in which something is open.
    Escape(String),
    /// A file whose name begins with a dot.
    Hidden(String),
    /// A name that differs in case only.
    Case(String),
    /// A name that is like it.
    Near(String),
}

impl fmt::Display for Miss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(path) => write!(
                formatter,
                "`{path}` is a link, and links are not followed: copy what it points to, or name that"
            ),
            Self::Folder(path) => write!(formatter, "`{path}` is a folder: for all in it write `{path}/**`"),
            Self::NotFolder(path) => write!(formatter, "`{path}` is a file and no folder"),
            Self::Special(path) => write!(formatter, "`{path}` is neither a file nor a folder"),
            Self::Staged(path) => write!(
                formatter,
                "`{path}` was staged, and staged files are no outputs: write the result under another name"
            ),
            Self::Own(path) => write!(formatter, "`{path}` is a file of the host's or the operator's own"),
            Self::Escape(path) => {
                write!(formatter, "`{path}` is there: for the characters themselves write `{}`", escaped(path))
            }
            Self::Hidden(path) => write!(formatter, "`{path}` is there: a leading dot must be written"),
            Self::Case(path) => write!(formatter, "`{path}` is there: upper and lower case differ"),
            Self::Near(path) => write!(formatter, "did you mean `{path}`?"),
        }
    }
}

/// A path with a backslash before every character that would be open in a pattern.
fn escaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len() + 8);
    for character in path.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// How far a path fits an alternative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Whole,
    /// The alternative goes on below it.
    Beginning,
    No,
}

/// The likeliest reason why a pattern named no file, from what was seen where it reaches.
pub fn misses(pattern: &Pattern, seen: &[Seen]) -> Option<Miss> {
    seen.iter()
        .find_map(|one| instead(pattern, one))
        .or_else(|| literally(pattern, seen))
        .or_else(|| seen.iter().find_map(|one| loosely(pattern, one)))
        .or_else(|| alike(pattern, seen))
}

/// What the pattern does name, but cannot be taken.
fn instead(pattern: &Pattern, one: &Seen) -> Option<Miss> {
    let fit = best(pattern, &one.path, false, false);
    let path = || one.path.clone();
    Some(match (fit, one.kind) {
        (Fit::No, _) | (Fit::Beginning, Kind::Folder) | (Fit::Whole, Kind::File) => return None,
        (Fit::Whole | Fit::Beginning, Kind::Link) => Miss::Link(path()),
        (Fit::Whole, Kind::Folder) => Miss::Folder(path()),
        (Fit::Whole | Fit::Beginning, Kind::Special) => Miss::Special(path()),
        (Fit::Whole, Kind::Staged) => Miss::Staged(path()),
        (Fit::Whole, Kind::Own) => Miss::Own(path()),
        // among many folders a file is nothing odd, but for one that is written out
        (Fit::Beginning, Kind::File | Kind::Staged | Kind::Own)
            if pattern.plain_paths().any(|plain| plain.is_some()) =>
        {
            Miss::NotFolder(path())
        }
        (Fit::Beginning, Kind::File | Kind::Staged | Kind::Own) => return None,
    })
}

fn literally(pattern: &Pattern, seen: &[Seen]) -> Option<Miss> {
    let text = super::plain_path(pattern.text());
    seen.iter().find(|one| one.kind == Kind::File && one.path == text).map(|one| Miss::Escape(one.path.clone()))
}

/// What differs in a leading dot, or in case.
fn loosely(pattern: &Pattern, one: &Seen) -> Option<Miss> {
    let fits = |any_case, dots| match (best(pattern, &one.path, any_case, dots), one.kind) {
        (Fit::Whole, Kind::File) => true,
        (Fit::Beginning, Kind::Folder) => best(pattern, &one.path, false, false) == Fit::No,
        _ => false,
    };
    if fits(false, true) {
        return Some(Miss::Hidden(one.path.clone()));
    }
    fits(true, false).then(|| Miss::Case(one.path.clone()))
}

fn alike(pattern: &Pattern, seen: &[Seen]) -> Option<Miss> {
    let wanted = super::plain_path(pattern.text());
    let files = seen.iter().filter(|one| one.kind == Kind::File);
    let scored = files.map(|one| (strsim::jaro_winkler(&wanted, &one.path), one));
    let nearest = scored.filter(|(score, _)| *score > NEAR).max_by(|a, b| a.0.total_cmp(&b.0));
    nearest.map(|(_, one)| Miss::Near(one.path.clone()))
}

fn best(pattern: &Pattern, path: &str, any_case: bool, dots: bool) -> Fit {
    let fits: Vec<Fit> = pattern.alternatives.iter().map(|parts| fit(parts, path, any_case, dots)).collect();
    [Fit::Whole, Fit::Beginning].into_iter().find(|fit| fits.contains(fit)).unwrap_or(Fit::No)
}

/// How far a path fits; `dots` lets what is open name a leading dot.
fn fit(parts: &[Part], path: &str, any_case: bool, dots: bool) -> Fit {
    let mut at = vec![0];
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        let shown = dots || !name.starts_with('.');
        let (mut whole, mut next) = (false, Vec::new());
        let mut open = at;
        while let Some(position) = open.pop() {
            let last = position + 1 >= parts.len();
            let takes = match parts.get(position) {
                None => continue,
                Some(Part::Deep) => {
                    if !last {
                        open.push(position + 1);
                    }
                    if shown {
                        whole |= last;
                        next.push(position);
                    }
                    continue;
                }
                Some(Part::Plain(plain)) => plain == name || (any_case && plain.to_lowercase() == name.to_lowercase()),
                Some(Part::Open(tokens)) => {
                    (shown || matches!(tokens.first(), Some(Token::Plain('.'))))
                        && matches_name(tokens, name, any_case, &mut 0)
                }
            };
            if takes && last {
                whole = true;
            } else if takes {
                next.push(position + 1);
            }
        }
        next.sort_unstable();
        next.dedup();
        if names.peek().is_none() {
            return match (whole, next.is_empty()) {
                (true, _) => Fit::Whole,
                (false, false) => Fit::Beginning,
                (false, true) => Fit::No,
            };
        }
        at = next;
    }
    Fit::No
}
