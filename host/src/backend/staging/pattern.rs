//! Output patterns as extended regular expressions, so that the far end can choose the files. What comes back is matched
//! once more against the patterns themselves, so a difference can only cost bytes or be reported as missing.

/// The regular expression (POSIX, C locale) that matches what the pattern matches; `*` and `?` stop at slashes.
pub(super) fn expression(glob: &str) -> String {
    if glob == "**/" {
        // alone, it is any file
        return ".*".to_owned();
    }
    let characters: Vec<char> = glob.chars().collect();
    let (mut text, mut at, mut depth) = (String::new(), 0, 0_u32);
    while let Some(&character) = characters.get(at) {
        let next = characters.get(at + 1).copied();
        at += 1;
        match character {
            '*' if next == Some('*') => at = stars(&characters, at - 1, &mut text),
            '*' => text.push_str("[^/]*"),
            '?' => text.push_str("[^/]"),
            '{' => {
                depth += 1;
                text.push('(');
            }
            '}' if depth > 0 => {
                depth -= 1;
                text.push(')');
            }
            ',' if depth > 0 => text.push('|'),
            '[' => at = class(&characters, at, &mut text),
            '\\' => {
                literal(next.unwrap_or('\\'), &mut text);
                at += 1;
            }
            _ => literal(character, &mut text),
        }
    }
    text
}

/// `**` as a whole component spans directories; otherwise it is one star after another. Returns where to go on.
fn stars(characters: &[char], first: usize, text: &mut String) -> usize {
    let mut end = first;
    while characters.get(end) == Some(&'*') {
        end += 1;
    }
    let begins = first == 0 || matches!(characters.get(first - 1), Some('/' | '{' | ','));
    match characters.get(end) {
        Some('/') if begins && end - first == 2 => {
            text.push_str("(.*/)?");
            end + 1
        }
        None | Some(',' | '}') if begins && end - first == 2 => {
            text.push_str(".*");
            end
        }
        _ => {
            text.push_str("[^/]*");
            end
        }
    }
}

/// A bracket expression, rewritten so that only its place gives a character a meaning. Returns where to go on.
fn class(characters: &[char], begin: usize, text: &mut String) -> usize {
    let negated = matches!(characters.get(begin), Some('!' | '^'));
    let mut at = begin + usize::from(negated);
    let (mut members, mut ranges) = (String::new(), String::new());
    let first = at;
    while let Some(&character) = characters.get(at) {
        if character == ']' && at > first {
            break;
        }
        match (characters.get(at + 1), characters.get(at + 2)) {
            (Some('-'), Some(&last)) if last != ']' => {
                ranges.extend([character, '-', last]);
                at += 3;
            }
            _ => {
                members.push(character);
                at += 1;
            }
        }
    }
    let has = |c: char| members.contains(c);
    let plain: String = members.chars().filter(|c| !matches!(c, ']' | '-' | '^')).collect();
    let mut inner = String::new();
    inner.push_str(if has(']') { "]" } else { "" });
    inner.push_str(&plain);
    inner.push_str(&ranges);
    inner.push_str(if has('^') { "^" } else { "" });
    inner.push_str(if has('-') { "-" } else { "" });
    match inner.as_str() {
        "^" if !negated => text.push_str("\\^"),
        _ => text.push_str(&format!("[{}{inner}]", if negated { "^" } else { "" })),
    }
    at + 1
}

fn literal(character: char, text: &mut String) {
    match character {
        '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' | '\\' => {
            text.extend(['\\', character])
        }
        // cannot stand in a list of expressions; no file with a line feed in its name is carried
        '\n' | '\0' => text.push('.'),
        _ => text.push(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use globset::GlobBuilder;
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
        "**/",
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
        "/x",
        "out/07.dat",
    ];

    #[test]
    fn grep_chooses_what_the_pattern_means() {
        for glob in GLOBS {
            let matcher = GlobBuilder::new(glob).literal_separator(true).build().expect(glob).compile_matcher();
            let expected: Vec<&str> = NAMES.iter().copied().filter(|name| matcher.is_match(name)).collect();
            let mut grep = Command::new("grep")
                .args(["-E", "-e", &format!("^({})$", expression(glob))])
                .env("LC_ALL", "C")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("grep runs");
            grep.stdin.take().expect("input").write_all((NAMES.join("\n") + "\n").as_bytes()).expect("names");
            let output = grep.wait_with_output().expect("grep ends");
            let text = String::from_utf8(output.stdout).expect("UTF-8");
            assert_eq!(text.lines().collect::<Vec<_>>(), expected, "{glob} as {}", expression(glob));
        }
    }
}
