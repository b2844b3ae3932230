//! The invariants of absence: who names what. They are read off the source, so that they stay true.
use crate::support::root;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file below `host/src`, relative to it, without the text of comments and strings.
fn sources() -> Vec<(String, String)> {
    let base = root().join("host/src");
    let mut files = Vec::new();
    walk(&base, &mut files);
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&base).expect("below the base").to_str().expect("UTF-8").to_owned();
        (name, code_of(&fs::read_to_string(path).expect("a source file")))
    };
    let sources: Vec<_> = files.into_iter().map(read).collect();
    assert!(sources.len() > 40, "{}", sources.len());
    sources
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The code of a file: comments and the content of plain strings are left out, for they may name anything.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    for line in text.lines() {
        let (mut in_string, mut before) = (false, ' ');
        for (at, c) in line.char_indices() {
            if !in_string && line[at..].starts_with("//") {
                break;
            }
            if c == '"' && before != '\\' && before != '\'' {
                in_string = !in_string;
            } else if !in_string {
                code.push(c);
            }
            before = c;
        }
        code.push('\n');
    }
    code
}

/// Asserts that these words stand only in files whose path begins with one of `places`.
#[track_caller]
fn only(places: &[&str], words: &[&str]) {
    let mut seen = false;
    for (name, code) in sources() {
        for word in words.iter().filter(|word| code.contains(**word)) {
            seen = true;
            let allowed = places.iter().any(|place| name.starts_with(place));
            assert!(allowed, "`{word}` stands in host/src/{name}; only {places:?} may say it");
        }
    }
    assert!(seen, "none of {words:?} stands anywhere: this test looks for the wrong thing");
}

/// Asserts that files whose path begins with `place` say none of these words.
#[track_caller]
fn never(place: &str, words: &[&str]) {
    let within: Vec<_> = sources().into_iter().filter(|(name, _)| name.starts_with(place)).collect();
    assert!(!within.is_empty(), "nothing is below {place}");
    for (name, code) in within {
        for word in words {
            assert!(!code.contains(word), "`{word}` stands in host/src/{name}");
        }
    }
}

#[test]
fn each_outside_library_has_one_home() {
    only(&["store/"], &["rusqlite"]);
    only(&["plugin/"], &["wasmtime", "wasmtime_wasi", "wasmparser"]);
    only(&["cli/", "main.rs"], &["clap::", "comfy_table", "indicatif"]);
}

#[test]
fn files_that_others_may_have_put_there_are_opened_in_one_place() {
    only(&["ground/files.rs"], &["NOFOLLOW", "custom_flags"]);
}

#[test]
fn only_backends_start_programs() {
    only(&["backend/"], &["Command::new", "process::Command", ".spawn()"]);
}

#[test]
fn only_the_command_line_prints_and_exits() {
    only(&["cli/"], &["stdout()", "stderr()"]);
    only(&["cli/", "main.rs"], &["ExitCode"]);
    for room in ROOMS.into_iter().filter(|room| *room != "cli") {
        never(room, &["println!", "eprintln!", "print!(", "process::exit"]);
    }
}

/// The rooms of `host/src` from the ground up: code of one reaches only those before it.
const ROOMS: [&str; 15] = [
    "model",
    "ground",
    "store",
    "backend",
    "plugin",
    "run",
    "tick",
    "explain",
    "failure",
    "people",
    "evidence",
    "workspace",
    "replay",
    "drive",
    "cli",
];

/// Which rooms the code of each room names after `crate::`, alone or in braces.
fn named_rooms() -> BTreeMap<String, BTreeSet<String>> {
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, code) in sources() {
        let room = name.split(['/', '.']).next().expect("a first part").to_owned();
        if room == "lib" || room == "main" {
            continue;
        }
        let of_room = named.entry(room.clone()).or_default();
        for (at, word) in code.match_indices("crate::") {
            of_room.extend(first_names(&code[at + word.len()..]).into_iter().filter(|other| *other != room));
        }
    }
    named
}

/// The first names of a path or of each path in braces.
fn first_names(path: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(inner) = path.strip_prefix('{') else { return vec![word(path)] };
    let (mut depth, mut start, mut names) = (0_u32, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                names.push(word(inner[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// All that a room gets to, through whatever it names.
fn reach(named: &BTreeMap<String, BTreeSet<String>>, room: &str) -> BTreeSet<String> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![room.to_owned()]);
    while let Some(next) = open.pop() {
        for other in named.get(&next).into_iter().flatten() {
            if seen.insert(other.clone()) {
                open.push(other.clone());
            }
        }
    }
    seen
}

#[test]
fn a_room_reaches_only_the_rooms_before_it() {
    let named = named_rooms();
    let known: BTreeSet<String> = ROOMS.iter().map(|room| (*room).to_owned()).collect();
    assert_eq!(named.keys().cloned().collect::<BTreeSet<_>>(), known, "every room has its place in the order");
    for (at, room) in ROOMS.iter().enumerate() {
        let before: BTreeSet<String> = ROOMS[..at].iter().map(|room| (*room).to_owned()).collect();
        let beyond: Vec<String> = reach(&named, room).difference(&before).cloned().collect();
        assert!(beyond.is_empty(), "`{room}` reaches {beyond:?}; it names {:?}", named[*room]);
    }
    // the walk does see what is there: the command line reaches every room
    assert_eq!(reach(&named, "cli").len(), ROOMS.len() - 1);
}

#[test]
fn store_plugins_and_backends_do_not_know_each_other() {
    let named = named_rooms();
    let ground: BTreeSet<String> = ["ground", "model"].map(str::to_owned).into();
    assert_eq!(reach(&named, "store"), ground);
    assert_eq!(reach(&named, "backend"), ground);
    for (name, code) in sources().into_iter().filter(|(name, _)| name.starts_with("plugin/")) {
        let mut of_backends = code.match_indices("crate::backend::").map(|(at, word)| &code[at + word.len()..]);
        let known =
            |rest: &str| ["Compute", "{Compute, JobKey}", "start_and_wait"].iter().any(|known| rest.starts_with(known));
        assert!(
            of_backends.all(known),
            "host/src/{name} knows more of backends than `Compute` and how to start a program"
        );
    }
}

#[test]
fn the_model_does_nothing() {
    assert_eq!(reach(&named_rooms(), "model"), BTreeSet::new());
    never("model/", &["std::fs", "std::net", "std::process", "std::thread", "std::io"]);
}

#[test]
fn names_in_braces_are_read_too() {
    assert_eq!(first_names("store::{A, B};"), ["store"]);
    assert_eq!(first_names("{store::{A, B}, tick::c, run};"), ["store", "tick", "run"]);
}

#[test]
fn ticks_and_rules_read_neither_clock_nor_environment_nor_chance() {
    let outside = [
        "SystemTime",
        "Instant::now",
        "Timestamp::now",
        "Zoned::now",
        "std::env",
        "env::var",
        "getrandom",
        "rand::",
        "RandomState",
    ];
    never("tick/", &outside);
    never("model/", &outside);
}

/// Public items that tests alone use, and why they are there.
const FOR_TESTS: [&str; 1] = [
    // the supervisor of a test is started from the real binary, which the test itself is not
    "set_program",
];

/// A test outside the crate makes every item `pub`, so that the compiler cannot see what nobody uses.
#[test]
fn no_public_item_is_unused() {
    let all: Vec<(String, String)> = sources();
    let of_words = |text: &str| {
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned);
        words.filter(|word| !word.is_empty()).collect::<Vec<String>>()
    };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut defined: Vec<(String, String)> = Vec::new();
    for (name, code) in &all {
        // what is only handed on is not used yet
        let body: String = code.split_inclusive(';').filter(|part| !part.contains("pub use ")).collect();
        for word in of_words(&body) {
            *seen.entry(word).or_default() += 1;
        }
        let own = code.split("#[cfg(test)]").next().unwrap_or_default();
        for line in own.lines().map(str::trim).filter(|line| line.starts_with("pub ")) {
            let words = of_words(line);
            let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static"];
            let kind = words.iter().rposition(|word| kinds.contains(&word.as_str()));
            defined.extend(kind.and_then(|at| words.get(at + 1)).map(|item| (name.clone(), item.clone())));
        }
    }
    assert!(defined.len() > 300, "{}", defined.len());
    let unused: Vec<&(String, String)> = defined
        .iter()
        .filter(|(_, item)| seen.get(item).is_none_or(|times| *times < 2) && !FOR_TESTS.contains(&item.as_str()))
        .collect();
    assert!(unused.is_empty(), "nothing in host/src uses {unused:?}");
}

#[test]
fn no_module_is_named_for_nothing() {
    for (name, _) in sources() {
        for word in ["util", "utils", "helpers", "common", "misc", "imp"] {
            assert!(!name.split(['/', '.']).any(|part| part == word), "host/src/{name}");
        }
    }
}

#[test]
fn the_reader_of_sources_sees_code_and_nothing_else() {
    let code = code_of("let a = \"std::env\"; // std::env\nstd::fs::read(\"x \\\" y\"); /// z\n'\"'; end");
    assert_eq!(code, "let a = ; \nstd::fs::read(); \n'\"'; end\n");
}
