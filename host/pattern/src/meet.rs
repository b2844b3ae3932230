//! Whether a path can be named by two patterns at once.
use super::{Part, Pattern, Token};
use std::collections::HashSet;

/// Characters that are compared before two patterns count as meeting: whoever writes such may do so.
const STEPS_MAX: u32 = 10_000;

impl Pattern {
    /// Whether there can be a path that both name, a leading dot being written. One that is too much to be told counts
    /// as there.
    pub fn meets(&self, other: &Self) -> bool {
        let (mut steps, own) = (0, alternatives(self));
        let others = alternatives(other);
        own.iter().any(|a| others.iter().any(|b| paths_meet(a, b, &mut steps)))
    }
}

/// A component as what it is made of; nothing for any number of folders.
type Component = Option<Vec<Token>>;

/// The alternatives of a pattern, each as its components, the last of which names a file.
fn alternatives(pattern: &Pattern) -> Vec<Vec<Component>> {
    let component = |part: &Part| match part {
        Part::Deep => None,
        Part::Plain(name) => Some(name.chars().map(Token::Plain).collect()),
        Part::Open(tokens) => Some(tokens.clone()),
    };
    let all = pattern.alternatives.iter().map(|parts| {
        let mut components: Vec<Component> = parts.iter().map(component).collect();
        if components.last() == Some(&None) {
            components.push(Some(vec![Token::Star]));
        }
        components
    });
    all.collect()
}

fn paths_meet(a: &[Component], b: &[Component], steps: &mut u32) -> bool {
    let any = [Token::Star];
    let (mut open, mut seen) = (vec![(0, 0)], HashSet::new());
    while let Some((i, j)) = open.pop() {
        if !seen.insert((i, j)) {
            continue;
        }
        if (i, j) == (a.len(), b.len()) {
            return true;
        }
        let (here, there) = (a.get(i), b.get(j));
        if here == Some(&None) {
            open.push((i + 1, j));
        }
        if there == Some(&None) {
            open.push((i, j + 1));
        }
        let (Some(here), Some(there)) = (here, there) else { continue };
        let next = (if here.is_some() { i + 1 } else { i }, if there.is_some() { j + 1 } else { j });
        let (here, there) = (here.as_deref().unwrap_or(&any), there.as_deref().unwrap_or(&any));
        if next != (i, j) && names_meet(here, there, steps) {
            open.push(next);
        }
    }
    false
}

fn names_meet(a: &[Token], b: &[Token], steps: &mut u32) -> bool {
    let (mut open, mut seen) = (vec![(0, 0, true)], HashSet::new());
    while let Some((i, j, begins)) = open.pop() {
        *steps += 1;
        if *steps > STEPS_MAX {
            return true;
        }
        if !seen.insert((i, j, begins)) {
            continue;
        }
        if (i, j) == (a.len(), b.len()) {
            return true;
        }
        let (here, there) = (a.get(i), b.get(j));
        if here == Some(&Token::Star) {
            open.push((i + 1, j, begins));
        }
        if there == Some(&Token::Star) {
            open.push((i, j + 1, begins));
        }
        let (Some(here), Some(there)) = (here, there) else { continue };
        let next = |token: &Token, at: usize| if *token == Token::Star { at } else { at + 1 };
        let next = (next(here, i), next(there, j), false);
        if (begins || (next.0, next.1) != (i, j)) && characters_meet(here, there, begins) {
            open.push(next);
        }
    }
    false
}

/// Whether a character can be both. The ends of ranges, and what is beside them, stand for all of them.
fn characters_meet(a: &Token, b: &Token, begins: bool) -> bool {
    let both = |character: char| takes(a, character, begins) && takes(b, character, begins);
    let beside = |character: char| {
        let (before, after) = (u32::from(character).wrapping_sub(1), u32::from(character) + 1);
        [Some(character), char::from_u32(before), char::from_u32(after)].into_iter().flatten()
    };
    let ends = |token: &Token| -> Vec<char> {
        match token {
            Token::Plain(character) => vec![*character],
            Token::Class { ranges, .. } => ranges.iter().flat_map(|(first, last)| [*first, *last]).collect(),
            Token::Any | Token::Star => Vec::new(),
        }
    };
    both('a') || both(char::MAX) || ends(a).into_iter().chain(ends(b)).flat_map(beside).any(both)
}

fn takes(token: &Token, character: char, begins: bool) -> bool {
    let shown = character != '/' && !(begins && character == '.');
    match token {
        Token::Plain(plain) => *plain == character,
        Token::Any | Token::Star => shown,
        Token::Class { negated, ranges } => {
            let within = ranges.iter().any(|(first, last)| (*first..=*last).contains(&character));
            shown && within != *negated
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_meet_where_a_path_is_named_by_both() {
        for (a, b, expected) in [
            ("*.dat", "a.dat", true),
            ("*.dat", "a.csv", false),
            ("*.dat", "out/a.dat", false),
            ("**", "out/a.dat", true),
            ("out/**", "*/a.dat", true),
            ("out/**", "out/**/*.dat", true),
            ("*.csv", "*.dat", false),
            ("out/**", "in/*", false),
            ("out/**", "out", false),
            ("**/b", "a/**", true),
            ("**/b", "b/*.dat", false),
            ("a*", "*b", true),
            ("a*c", "*b", false),
            ("[a-c]x", "[c-e]x", true),
            ("[a-c]x", "[d-e]x", false),
            ("[!a]", "a", false),
            ("[!a]", "[a-b]", true),
            ("?", "ab", false),
            ("*", ".a", false),
            (".*", ".a", true),
            ("{a,b}/*.dat", "{c,b}/x*", true),
            ("{a,b}/*.dat", "{c,d}/x*", false),
            ("a/**/b/**/c", "a/b/c", true),
            ("stdout", "std*", true),
        ] {
            let parse = |text| Pattern::parse(text).expect(text);
            assert_eq!(parse(a).meets(&parse(b)), expected, "{a} {b}");
            assert_eq!(parse(b).meets(&parse(a)), expected, "{b} {a}");
        }
    }

    #[test]
    fn what_is_too_much_counts_as_there() {
        let stars = |last: char| Pattern::parse(&format!("{}{last}", "*?".repeat(400))).expect("a pattern");
        assert!(stars('a').meets(&stars('a')));
        stars('a').meets(&stars('b'));
    }

    #[test]
    fn what_is_written_out_before_anything_open_is_a_folder() {
        for (text, folder) in [
            ("out/*.dat", "out"),
            ("out/a.dat", "out"),
            ("a/b/**", "a/b"),
            ("*.dat", ""),
            ("a.dat", ""),
            ("{a,b}/*", ""),
            ("x/{a,b}/*", "x"),
            ("x/{a,a/b}/*", "x/a"),
        ] {
            assert_eq!(Pattern::parse(text).expect(text).fixed_folder(), folder, "{text}");
        }
    }
}
