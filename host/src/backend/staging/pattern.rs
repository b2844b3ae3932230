//! Patterns as extended regular expressions (POSIX, C locale), so that the far end can choose the files, and the
//! folders to look into. What comes back is matched once more against the patterns themselves, so a difference can only
//! cost bytes or be reported as missing: a character beyond ASCII is any one to four bytes of it.
use crate::model::pattern::{Part, Pattern, Token};

/// Any character but a slash.
const ANY: &str = "([ -.0-~]|[^ -~]{1,4})";
/// Any character but a slash and a dot.
const BEGINNING: &str = "([ --0-~]|[^ -~]{1,4})";
/// A name that may be left unwritten.
const NAME: &str = "[^/.][^/]*";
/// What no path is like.
const NOTHING: &str = "//";

/// Matches the files, relative to where the patterns are, that any of them names.
pub(super) fn files(patterns: &[String]) -> String {
    union(patterns, |parts| {
        parts.iter().enumerate().rev().fold(String::new(), |rest, (at, part)| {
            let last = at + 1 == parts.len();
            match part {
                Part::Deep if last => format!("({NAME}/)*{NAME}"),
                Part::Deep => format!("({NAME}/)*{rest}"),
                part if last => name(part),
                part => format!("{}/{rest}", name(part)),
            }
        })
    })
}

/// Matches the folders that any of the patterns reaches into.
pub(super) fn folders(patterns: &[String]) -> String {
    union(patterns, |parts| {
        // from the end: the folders below the one in which a component stands
        parts.iter().enumerate().rev().fold(String::new(), |rest, (at, part)| match part {
            Part::Deep if rest.is_empty() => format!("{NAME}(/{NAME})*"),
            Part::Deep => format!("({NAME}(/{NAME})*|({NAME}/)*{rest})"),
            _ if at + 1 == parts.len() => rest,
            part if rest.is_empty() => name(part),
            part => format!("{}(/{rest})?", name(part)),
        })
    })
}

/// Matches this path.
pub(super) fn plain(path: &str) -> String {
    path.chars().fold(String::new(), |mut text, character| {
        literal(character, &mut text);
        text
    })
}

fn union(patterns: &[String], expression: impl Fn(&[Part]) -> String) -> String {
    let parsed = patterns.iter().filter_map(|text| Pattern::parse(text).ok());
    let all = parsed.flat_map(|pattern| pattern.alternatives).map(|parts| expression(&parts));
    let all: Vec<String> = all.filter(|one| !one.is_empty()).collect();
    if all.is_empty() { NOTHING.to_owned() } else { all.join("|") }
}

fn name(part: &Part) -> String {
    match part {
        Part::Deep => String::new(),
        Part::Plain(name) => plain(name),
        Part::Open(tokens) => beginning(tokens),
    }
}

/// A name, whose leading dot must be written.
fn beginning(tokens: &[Token]) -> String {
    let Some((first, rest)) = tokens.split_first() else { return String::new() };
    match first {
        // either it is something, or what follows begins the name
        Token::Star => match rest.first() {
            None => NAME.to_owned(),
            Some(Token::Plain('.')) => format!("{NAME}{}", inner(rest)),
            Some(_) => format!("({NAME}{}|{})", inner(rest), beginning(rest)),
        },
        Token::Any => format!("{BEGINNING}{}", inner(rest)),
        Token::Class { negated, ranges } => format!("{}{}", class(*negated, ranges, true), inner(rest)),
        Token::Plain(_) => inner(tokens),
    }
}

fn inner(tokens: &[Token]) -> String {
    tokens.iter().fold(String::new(), |mut text, token| {
        match token {
            Token::Plain(character) => literal(*character, &mut text),
            Token::Any => text.push_str(ANY),
            Token::Star => text.push_str("[^/]*"),
            Token::Class { negated, ranges } => text.push_str(&class(*negated, ranges, false)),
        }
        text
    })
}

/// A bracket expression: the printable characters of ASCII that belong to it one by one, and what lies beyond as a
/// whole.
fn class(negated: bool, ranges: &[(char, char)], begins: bool) -> String {
    let within = |character: char| ranges.iter().any(|(first, last)| (*first..=*last).contains(&character));
    let takes = |character: char| within(character) != negated && character != '/' && !(begins && character == '.');
    let beyond = negated || ranges.iter().any(|(first, last)| *first < ' ' || *last > '~');
    let mut text = String::new();
    match ascii(takes).as_str() {
        "" => {}
        "^" => text.push_str("(\\^"),
        inner => text.push_str(&format!("([{inner}]")),
    }
    if beyond {
        text.push_str(if text.is_empty() { "([^ -~]{1,4}" } else { "|[^ -~]{1,4}" });
    }
    if text.is_empty() { NOTHING.to_owned() } else { text + ")" }
}

/// Printable characters as the inside of a bracket expression, where only its place gives a character a meaning.
fn ascii(takes: impl Fn(char) -> bool) -> String {
    let plain = |character: &char| takes(*character) && !matches!(character, ']' | '^' | '-');
    let mut text = if takes(']') { "]".to_owned() } else { String::new() };
    let mut run: Option<(char, char)> = None;
    let close = |run: Option<(char, char)>, text: &mut String| match run {
        Some((first, last)) if last as u32 - first as u32 > 1 => text.extend([first, '-', last]),
        Some((first, last)) if first != last => text.extend([first, last]),
        Some((first, _)) => text.push(first),
        None => {}
    };
    for character in (' '..='~').filter(plain) {
        run = match run {
            Some((first, last)) if last as u32 + 1 == character as u32 => Some((first, character)),
            other => {
                close(other, &mut text);
                Some((character, character))
            }
        };
    }
    close(run, &mut text);
    text.push_str(if takes('^') { "^" } else { "" });
    text.push_str(if takes('-') { "-" } else { "" });
    text
}

fn literal(character: char, text: &mut String) {
    match character {
        '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' | '\\' => {
            text.extend(['\\', character])
        }
        // cannot stand in a list of expressions; no file with a line feed in its name is carried
        '\n' => text.push('.'),
        _ => text.push(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pattern::{Dots, Patterns};
    use std::io::Write;
    use std::process::{Command, Stdio};

    const GLOBS: &[&str] = &[
        "*.json",
        "**",
        "**/*.txt",
        "a/**",
        "a/**/b",
        "**/b",
        "{a,b}.x",
        "a?c",
        "[ab]c",
        "[!ab]c",
        "[a-c]x",
        "[]a]x",
        "[-a]x",
        "[^a]x",
        "x.+()$|^",
        "\\*",
        "\\[a\\]",
        "a**b",
        "ä*",
        "{*.json,out/*}",
        "[.]x",
        "a b",
        "***",
        "out/[0-9][0-9].dat",
        "?x",
        "*?x",
        ".*",
        "**/.x",
        "*[!b]",
        "?ö",
        "[ä-ö]ö",
        "d/*/x.txt",
        "*/x*",
        "{,a}x",
        "*.*",
    ];
    const NAMES: &[&str] = &[
        "x.json",
        "d/x.json",
        "a",
        "a/b",
        "a/c/b",
        "a/c/d/b",
        "b",
        "a.x",
        "b.x",
        "c.x",
        "abc",
        "a/c",
        "ac",
        "bc",
        "cc",
        "ax",
        "bx",
        "]x",
        "-x",
        "^x",
        "x.+()$|^",
        "*",
        "[a]",
        "aXb",
        "a/Xb",
        "äö",
        "ä/ö",
        "out/x",
        "out/d/x",
        ".x",
        "a b",
        "x.txt",
        "d/e/x.txt",
        "x",
        "out/07.dat",
        ".json",
        "a/.x",
        ".d/x",
        "d/.e/x.txt",
        ".abx",
        "ö",
        "a/.c/b",
    ];

    fn grep(expression: &str, names: &[&str]) -> Vec<String> {
        let mut grep = Command::new("grep")
            .args(["-aE", "-e", &format!("^({expression})$")])
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("grep runs");
        grep.stdin.take().expect("input").write_all((names.join("\n") + "\n").as_bytes()).expect("names");
        let output = grep.wait_with_output().expect("grep ends");
        String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
    }

    #[test]
    fn grep_chooses_what_the_pattern_means() {
        for glob in GLOBS {
            let patterns = Patterns::new(vec![Pattern::parse(glob).expect(glob)], Dots::Written);
            let expected: Vec<&str> = NAMES.iter().copied().filter(|name| patterns.match_path(name)).collect();
            let expression = files(&[(*glob).to_owned()]);
            assert_eq!(grep(&expression, NAMES), expected, "{glob} as {expression}");
        }
    }

    #[test]
    fn the_folders_of_every_file_are_looked_into_and_no_others() {
        let parents =
            |name: &str| -> Vec<String> { name.match_indices('/').map(|(end, _)| name[..end].to_owned()).collect() };
        let all: std::collections::BTreeSet<String> = NAMES.iter().flat_map(|name| parents(name)).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        for glob in GLOBS {
            let patterns = Patterns::new(vec![Pattern::parse(glob).expect(glob)], Dots::Written);
            let enters = |folder: &str| {
                folder.split('/').try_fold(patterns.root(), |place, name| patterns.enter(&place, name)).is_some()
            };
            let expected: Vec<&str> = all.iter().copied().filter(|folder| enters(folder)).collect();
            let expression = folders(&[(*glob).to_owned()]);
            assert_eq!(grep(&expression, &all), expected, "{glob} as {expression}");
        }
    }
}
