//! Reads a pattern: braces into alternatives, these into components.
use super::{ALTERNATIVES_MAX, COMPONENTS_MAX, LENGTH_MAX, NESTING_MAX, Part, PatternError, Token};

/// What a pattern is made of, once its braces are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Slash,
    Token(Token),
}

type Pieces = Vec<Piece>;

/// The alternatives of a pattern, each as its components.
pub(super) fn alternatives(text: &str, place: &'static str) -> Result<Vec<Vec<Part>>, PatternError> {
    if text.is_empty() {
        return Err(PatternError::Empty);
    }
    if text.len() > LENGTH_MAX {
        return Err(PatternError::Length(text.len()));
    }
    if text.contains('\0') {
        return Err(PatternError::Nul);
    }
    let mut reader = Reader { rest: text.chars().peekable(), depth: 0 };
    let all = reader.group()?;
    let mut found: Vec<Vec<Part>> = Vec::with_capacity(all.len());
    for pieces in all {
        let parts = components(&pieces, text, place)?;
        if !found.contains(&parts) {
            found.push(parts);
        }
    }
    Ok(found)
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    /// How many braces are open.
    depth: usize,
}

impl Reader<'_> {
    /// Reads to the end of the text, or of a brace: all alternatives of it.
    fn group(&mut self) -> Result<Vec<Pieces>, PatternError> {
        let mut done: Vec<Pieces> = Vec::new();
        let mut open: Vec<Pieces> = vec![Vec::new()];
        loop {
            let Some(character) = self.rest.next() else {
                if self.depth > 0 {
                    return Err(PatternError::Unclosed('{'));
                }
                break;
            };
            let piece = match character {
                '{' => {
                    self.depth += 1;
                    if self.depth > NESTING_MAX {
                        return Err(PatternError::Nesting);
                    }
                    let inner = self.group()?;
                    open = joined(&open, &inner)?;
                    continue;
                }
                '}' if self.depth == 0 => return Err(PatternError::Unopened),
                '}' => {
                    self.depth -= 1;
                    break;
                }
                ',' if self.depth > 0 => {
                    done.append(&mut open);
                    open.push(Vec::new());
                    continue;
                }
                '/' => Piece::Slash,
                '*' => Piece::Token(Token::Star),
                '?' => Piece::Token(Token::Any),
                '[' => Piece::Token(self.class()?),
                '\\' => match self.rest.next() {
                    Some('/') => Piece::Slash,
                    Some(plain) => Piece::Token(Token::Plain(plain)),
                    None => return Err(PatternError::Dangling),
                },
                plain => Piece::Token(Token::Plain(plain)),
            };
            open.iter_mut().for_each(|pieces| pieces.push(piece.clone()));
        }
        done.append(&mut open);
        if done.len() > ALTERNATIVES_MAX { Err(PatternError::Alternatives) } else { Ok(done) }
    }

    /// Reads what follows an opening bracket.
    fn class(&mut self) -> Result<Token, PatternError> {
        let negated = self.rest.next_if(|next| matches!(next, '!' | '^')).is_some();
        let mut ranges = Vec::new();
        loop {
            let first = match self.rest.next() {
                None => return Err(PatternError::Unclosed('[')),
                Some(']') if !ranges.is_empty() => return Ok(Token::Class { negated, ranges }),
                Some(character) => self.member(character)?,
            };
            let mut ahead = self.rest.clone();
            let range = ahead.next() == Some('-') && ahead.next().is_some_and(|last| last != ']');
            let last = if range {
                self.rest.next();
                let last = self.rest.next().ok_or(PatternError::Unclosed('['))?;
                self.member(last)?
            } else {
                first
            };
            if last < first {
                return Err(PatternError::Range(first, last));
            }
            ranges.push((first, last));
        }
    }

    fn member(&mut self, character: char) -> Result<char, PatternError> {
        match character {
            '/' => Err(PatternError::SlashInClass),
            '\\' => self.rest.next().ok_or(PatternError::Dangling),
            character => Ok(character),
        }
    }
}

/// Every beginning with every ending.
fn joined(beginnings: &[Pieces], endings: &[Pieces]) -> Result<Vec<Pieces>, PatternError> {
    if beginnings.len().saturating_mul(endings.len()) > ALTERNATIVES_MAX {
        return Err(PatternError::Alternatives);
    }
    let with = |beginning: &Pieces, ending: &Pieces| beginning.iter().chain(ending).cloned().collect();
    Ok(beginnings.iter().flat_map(|beginning| endings.iter().map(move |ending| with(beginning, ending))).collect())
}

/// The components of one alternative, without `.` and doubled slashes.
fn components(pieces: &[Piece], text: &str, place: &'static str) -> Result<Vec<Part>, PatternError> {
    if pieces.first() == Some(&Piece::Slash) {
        return Err(PatternError::Absolute(place));
    }
    let mut parts: Vec<Part> = Vec::new();
    let mut ends_open = true;
    for component in pieces.split(|piece| *piece == Piece::Slash) {
        let tokens: Vec<&Token> = component
            .iter()
            .filter_map(|piece| match piece {
                Piece::Token(token) => Some(token),
                Piece::Slash => None,
            })
            .collect();
        let part = part(&tokens);
        ends_open = part == Part::Plain(String::new()) || part == Part::Plain(".".to_owned());
        match part {
            _ if ends_open => {}
            Part::Plain(name) if name == ".." => return Err(PatternError::Upwards(place)),
            // one after another they are as one
            Part::Deep if parts.last() == Some(&Part::Deep) => {}
            part => parts.push(part),
        }
    }
    match parts.len() {
        0 if pieces.is_empty() => Err(PatternError::Empty),
        _ if ends_open => {
            let folder = text.trim_end_matches('.').trim_end_matches('/');
            let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            Err(PatternError::Folder(folder.trim_start_matches("./").to_owned()))
        }
        count if count > COMPONENTS_MAX => Err(PatternError::Components),
        _ => Ok(parts),
    }
}

fn part(tokens: &[&Token]) -> Part {
    if let [Token::Star, Token::Star] = tokens {
        return Part::Deep;
    }
    let plain = tokens.iter().map(|token| match token {
        Token::Plain(character) => Some(*character),
        Token::Any | Token::Star | Token::Class { .. } => None,
    });
    if let Some(name) = plain.collect::<Option<String>>() {
        return Part::Plain(name);
    }
    let mut open: Vec<Token> = Vec::with_capacity(tokens.len());
    for token in tokens {
        if **token != Token::Star || open.last() != Some(&Token::Star) {
            open.push((*token).clone());
        }
    }
    Part::Open(open)
}
