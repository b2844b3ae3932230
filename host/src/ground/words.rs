//! Words as a shell takes them, and texts of others as a terminal may be given them.
pub use matterstack_document::is_unseen;
use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// An argument as a shell takes it and as no command takes it for an option.
pub fn positional(text: &str) -> String {
    let word = visibly_quoted(text);
    if text.starts_with('-') { format!("-- {word}") } else { word }
}

/// An argument with the options that go with it: behind `--`, which a leading dash makes necessary, there is none.
pub fn positional_with(text: &str, options: &str) -> String {
    let argument = positional(text);
    if text.starts_with('-') { format!("{options} {argument}") } else { format!("{argument} {options}") }
}

/// The option that sets a value, which is left to whoever types it.
pub fn set_option(name: &str) -> String {
    let joint = if name.starts_with('-') { '=' } else { ' ' };
    format!("--set{joint}{}=VALUE", visibly_quoted(name))
}

/// A word as a shell takes it.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A word as a shell takes it, without characters that are not seen. Words with such characters are written as bash and
/// POSIX 2024 have them, `$'…'`.
pub fn visibly_quoted(text: &str) -> String {
    if !text.contains(is_unseen) {
        return quoted(text);
    }
    let mut word = "$'".to_owned();
    for c in text.chars() {
        match c {
            '\n' => word += "\\n",
            '\t' => word += "\\t",
            '\'' | '\\' => word.extend(['\\', c]),
            c if is_unseen(c) => {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| word += &format!("\\{byte:03o}"));
            }
            c => word.push(c),
        }
    }
    word + "'"
}

/// A text of somebody else on one line: it can neither break a table nor look like a line of ours nor command a
/// terminal.
pub fn one_line(text: &str) -> String {
    let escape = |c: char, shown: &mut String| match c {
        '\n' | '\r' | '\t' => shown.push(' '),
        c => shown.extend(c.escape_unicode()),
    };
    escaped(text, is_unseen, escape).into_owned()
}

/// A text of somebody else with its lines and tabs: it cannot command a terminal.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_unseen(c) && !matches!(c, '\n' | '\t'), |c, shown| shown.extend(c.escape_unicode()))
}

/// JSON text with escapes for what could command a terminal. JSON has such characters only inside of texts, where an
/// escape says the same.
pub fn json(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |c| is_unseen(c) && !matches!(c, '\n' | '\t' | '\r'),
        |c, shown| {
            let mut units = [0_u16; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| *shown += &format!("\\u{unit:04x}"));
        },
    )
}

/// The text with escapes for those of its unseen characters that are wrong where it goes.
fn escaped<'a>(text: &'a str, wrong: impl Fn(char) -> bool, escape: impl Fn(char, &mut String)) -> Cow<'a, str> {
    // all that ASCII shows is seen, which is most text, and bytes are looked through many at a time
    let shown = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if shown || !text.contains(&wrong) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if wrong(c) { escape(c, &mut shown) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// A text of at most this width, with an ellipsis for what is left out in the middle or at the end.
pub fn shortened(text: &str, most: usize, middle: bool) -> String {
    if text.width() <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub(1);
    let tail = if middle { room / 2 } else { 0 };
    let within = |most: usize, chars: &mut dyn Iterator<Item = char>| {
        let mut used = 0;
        let fits = |c: &char| {
            used += c.width().unwrap_or(0);
            used <= most
        };
        chars.take_while(fits).collect::<String>()
    };
    let head = within(room - tail, &mut text.chars());
    let end: String = within(tail, &mut text.chars().rev()).chars().rev().collect();
    format!("{head}…{end}")
}

#[cfg(test)]
mod shown {
    use super::{json, lines, one_line, shortened};

    #[test]
    fn what_commands_a_terminal_or_hides_text_is_shown_by_its_number() {
        assert_eq!(
            one_line("a\u{202e}b\u{2066}c\nd\te\u{1b}[2J\u{9b}1m\u{7f}"),
            "a\\u{202e}b\\u{2066}c d e\\u{1b}[2J\\u{9b}1m\\u{7f}"
        );
        assert_eq!(lines("a\r\n\tb\u{1b}]0;x\u{7}"), "a\\u{d}\n\tb\\u{1b}]0;x\\u{7}");
        for plain in ["größe 日本 …", "a\\b", ""] {
            assert_eq!(one_line(plain), plain);
            assert_eq!(lines(plain), plain);
        }
    }

    #[test]
    fn json_says_the_same_with_escapes() {
        for text in ["a\u{9b}31m", "\u{202e}x", "\u{e0041}", "\u{7f}", "é\u{2028}"] {
            let written = serde_json::to_string(text).expect("JSON");
            let shown = json(&written);
            assert!(shown.is_ascii() || !shown.chars().any(super::is_unseen), "{shown}");
            assert_eq!(serde_json::from_str::<String>(&shown).expect("JSON"), text);
        }
    }

    #[test]
    fn a_text_is_shortened_to_its_room() {
        assert_eq!(shortened("operators/local/a-0123456789", 13, true), "operat…456789");
        assert_eq!(shortened("the best so far is 3", 9, false), "the best…");
        assert_eq!(shortened("日本日本日本", 7, true), "日…本", "no character is cut in two");
        assert_eq!(shortened("whole", 5, true), "whole");
    }
}
