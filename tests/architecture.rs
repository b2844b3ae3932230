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

/// The code of a file, line by line: comments and the content of strings and characters are left out, for they may name
/// anything.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let word = code.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let skipped = literal(rest, word);
        let shown = if skipped > 0 { &rest[..skipped] } else { "" };
        code.extend(shown.chars().filter(|c| *c == '\n'));
        if skipped == 0 {
            code.push(c);
        }
        rest = &rest[skipped.max(c.len_utf8())..];
    }
    code
}

/// How long the comment, string or character is with which this text begins, in bytes; a raw string begins no `word`.
fn literal(text: &str, word: bool) -> usize {
    let ends = |from: usize, end: &str| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    let raw = text.strip_prefix('r').filter(|_| !word);
    let hashes = raw.map_or(0, |raw| raw.len() - raw.trim_start_matches('#').len());
    if raw.is_some_and(|raw| raw[hashes..].starts_with('"')) {
        return ends(hashes + 2, &format!("\"{}", "#".repeat(hashes)));
    }
    let quote = match text.chars().next() {
        Some('"') => '"',
        // a lifetime has no second quote right after it
        Some('\'') if text.starts_with("'\\") || text.chars().nth(2) == Some('\'') => '\'',
        _ => return 0,
    };
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let end = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        end
    });
    end.map_or(text.len(), |(at, _)| at + 1)
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
    only(&["ground/random.rs"], &["getrandom"]);
    only(&["model/rows.rs", "results/cells.rs"], &["csv::"]);
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
const ROOMS: [&str; 18] = [
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
    "workspace",
    "results",
    "replay",
    "evidence",
    "backtest",
    "author",
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

/// What reads the clock, the environment or chance.
const OUTSIDE: [&str; 9] = [
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

/// What ticks may call although it reads one of these, and why.
const MAY_READ: [&str; 2] = [
    // a test that lets the host die says where in the environment
    "failpoint::hit",
    // what is being written lies under a name that nobody guesses, and never keeps it
    "files::put",
];

/// A free function or a method: the file it stands in, its name, and its code.
struct Function {
    file: String,
    name: String,
    body: String,
}

impl Function {
    /// What the paths of its callers may call its module: by its file's name, or by its room's, which hands it on.
    fn modules(&self) -> [&str; 2] {
        let parts: Vec<&str> = self.file.trim_end_matches(".rs").trim_end_matches("/mod").split('/').collect();
        [parts[parts.len() - 1], parts[0]]
    }

    fn may_read(&self) -> bool {
        self.modules().iter().any(|module| MAY_READ.contains(&format!("{module}::{}", self.name).as_str()))
    }

    /// Whether it calls another: by its name in the same file, or as its module's, or by a name that its file imports.
    fn calls(&self, other: &Self, imports: &BTreeMap<String, String>) -> bool {
        let imported = |module: &str| {
            let of = |part: &str| part.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == other.name);
            let named = |part: &str| called(part, module).any(|before| is_whole(before) && of(&part[before.len()..]));
            imports[&self.file].split(';').any(named)
        };
        if self.file == other.file || other.modules().into_iter().any(imported) {
            return called(&self.body, &other.name).any(|before| is_whole(before) && !before.ends_with('.'));
        }
        let qualified = |before: &str| {
            let module = before.strip_suffix("::");
            let of = |word: &str| module.and_then(|path| path.strip_suffix(word)).is_some_and(is_whole);
            other.modules().into_iter().any(of)
        };
        called(&self.body, &other.name).any(qualified)
    }
}

/// Whether a word begins after this.
fn is_whole(before: &str) -> bool {
    !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// What stands before each place at which a name ends as a word of its own.
fn called<'a>(body: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let after = move |at: usize| body[at + name.len()..].chars().next();
    let whole = move |at: &usize| !after(*at).is_some_and(|c| c.is_alphanumeric() || c == '_');
    body.match_indices(name).map(|(at, _)| at).filter(whole).map(|at| &body[..at])
}

/// The functions of a file, without those of its tests.
fn functions(file: &str, code: &str) -> Vec<Function> {
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    for (at, word) in code.match_indices("fn ") {
        let rest = &code[at + word.len()..];
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let (mut depth, mut start) = (0_u32, None);
        for (place, c) in rest.char_indices() {
            match c {
                '{' => {
                    start.get_or_insert(place);
                    depth += 1;
                }
                '}' => depth = depth.saturating_sub(1),
                ';' if start.is_none() => break,
                _ => {}
            }
            if let (Some(start), 0) = (start, depth) {
                found.push(Function { file: file.to_owned(), name, body: rest[start..=place].to_owned() });
                break;
            }
        }
    }
    found
}

/// The functions of these files that read the clock, the environment or chance, themselves or through free functions
/// that they call. Methods are followed only within their file.
fn readers(files: &[(String, String)]) -> Vec<String> {
    let functions: Vec<Function> = files.iter().flat_map(|(file, code)| functions(file, code)).collect();
    let is_use = |part: &&str| called(part, "use").any(is_whole);
    let uses = |code: &str| code.split_inclusive(';').filter(is_use).collect::<String>();
    let imports: BTreeMap<String, String> = files.iter().map(|(file, code)| (file.clone(), uses(code))).collect();
    let says = |one: &Function| OUTSIDE.iter().any(|word| one.body.contains(word));
    let (mut open, mut rest): (Vec<&Function>, Vec<&Function>) = functions.iter().partition(|one| says(one));
    let mut readers = Vec::new();
    while let Some(reader) = open.pop() {
        readers.push(format!("{}: {}", reader.file, reader.name));
        if reader.may_read() {
            continue;
        }
        let (callers, others) = rest.into_iter().partition(|one| one.calls(reader, &imports));
        rest = others;
        open.extend::<Vec<&Function>>(callers);
    }
    readers.sort();
    readers
}

/// The rooms whose calls from a tick are followed. Backends and plugins are outside of a tick: they have clocks of
/// their own.
const FOLLOWED: [&str; 5] = ["model", "ground", "store", "run", "tick"];

#[test]
fn ticks_and_rules_read_neither_clock_nor_environment_nor_chance() {
    never("tick/", &OUTSIDE);
    never("model/", &OUTSIDE);
    let mut files = sources();
    files.retain(|(file, _)| FOLLOWED.iter().any(|room| file.starts_with(&format!("{room}/"))));
    let readers = readers(&files);
    // the walk does see what is there, through several calls
    let there = ["ground/machine.rs: user_name", "ground/machine.rs: user_name_of", "ground/files.rs: put"];
    assert!(there.iter().all(|one| readers.iter().any(|found| found == one)), "{readers:?}");
    let within: Vec<&String> =
        readers.iter().filter(|reader| reader.starts_with("tick/") || reader.starts_with("model/")).collect();
    assert!(within.is_empty(), "these reach a clock, the environment or chance, which are arguments: {within:?}");
}

#[test]
fn what_reads_outside_is_found_through_what_calls_it() {
    let file = |name: &str, code: &str| (name.to_owned(), code.to_owned());
    let ground = file("ground/a.rs", "pub fn now() { Instant::now() } pub fn later() { now() } pub fn still() { 1 }");
    let other = |code: &str| readers(&[ground.clone(), file("tick/b.rs", code)]);
    let alone = ["ground/a.rs: later", "ground/a.rs: now"].map(str::to_owned).to_vec();
    let with = [alone.clone(), vec!["tick/b.rs: f".to_owned()]].concat();
    for code in
        ["fn f() { ground::a::later() }", "use x::a::{still, later}; fn f() { later() }", "fn f() { g(a::now) }"]
    {
        assert_eq!(other(code), with, "{code}");
    }
    for code in [
        "fn f() { a::still() }",
        "fn f() { x.later() }",
        "fn f() { now_ms }",
        "use b::a::still; fn f() { still() }",
        "fn f() { aa::now() }",
    ] {
        assert_eq!(other(code), alone, "{code}");
    }
}

#[test]
fn no_transaction_is_open_while_a_plugin_or_a_program_runs() {
    let calls = ["plugins.", "backends.", "(run,", "(run)", "&run,", "&run)", ".request("];
    let holds = ["Run", "Plugins", "Backends"];
    let of_words = |code: &str| code.split(|c: char| !c.is_alphanumeric()).any(|word| holds.contains(&word));
    let (mut transactions, mut writers) = (0, 0);
    for (name, code) in sources().into_iter().filter(|(name, _)| !name.starts_with("store/")) {
        for (at, word) in code.match_indices(".transaction(") {
            transactions += 1;
            let work = in_parentheses(&code[at + word.len()..]);
            let call = calls.iter().find(|call| work.contains(**call));
            assert_eq!(call, None, "in a transaction of host/src/{name}:\n{work}");
        }
        for (at, word) in code.match_indices("fn ") {
            let rest = &code[at + word.len()..];
            let arguments = rest.split_once('(').map_or("", |(_, rest)| in_parentheses(rest));
            if arguments.contains(": &Writer<") {
                writers += 1;
                assert!(!of_words(arguments), "in host/src/{name}, `{arguments}` has a writer and what can be called");
            }
        }
    }
    assert!(transactions > 25 && writers > 10, "{transactions} {writers}");
}

/// What stands before the parenthesis that closes one opened just before.
fn in_parentheses(text: &str) -> &str {
    let mut depth = 1_u32;
    let end = text.find(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    &text[..end.unwrap_or(text.len())]
}

/// Public items that tests alone use, and why they are there.
const FOR_TESTS: [&str; 1] = [
    // the supervisor of a test is started from the real binary, which the test itself is not
    "set_program",
];

fn words_of(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned);
    words.filter(|word| !word.is_empty()).collect()
}

/// The names that `pub` gives to all, with their kinds, but for what unit tests define.
fn public_items(code: &str) -> Vec<(String, String)> {
    let own = code.split("#[cfg(test)]").next().unwrap_or_default();
    let named = |line: &str| {
        let words = words_of(line);
        let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static"];
        // `const` is a kind of its own, and a word before `fn`
        let is_kind = |(at, word): (usize, &String)| {
            kinds.contains(&word.as_str()) && !(word == "const" && words.get(at + 1).is_some_and(|next| next == "fn"))
        };
        let at = words.iter().enumerate().position(is_kind)?;
        Some((words.get(at)?.clone(), words.get(at + 1)?.clone()))
    };
    own.lines().map(str::trim).filter(|line| line.starts_with("pub ")).filter_map(named).collect()
}

/// What only its own room uses is no more public than that: functions and values, since a type may be needed unnamed.
#[test]
fn what_one_room_alone_uses_is_not_public() {
    let all: Vec<(String, String)> = sources();
    let room = |name: &str| name.split(['/', '.']).next().unwrap_or_default().to_owned();
    let mut rooms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, code) in &all {
        let body: String = code.split_inclusive(';').filter(|part| !part.contains("pub use ")).collect();
        rooms.entry(room(name)).or_default().extend(words_of(&body));
    }
    let mut suites = Vec::new();
    walk(&root().join("tests"), &mut suites);
    let read = |path: &PathBuf| words_of(&fs::read_to_string(path).expect("a suite"));
    let tests: BTreeSet<String> = suites.iter().flat_map(read).collect();
    let mut looked_at = 0;
    let mut alone = Vec::new();
    for (name, code) in &all {
        for (kind, item) in public_items(code) {
            if !["fn", "const", "static"].contains(&kind.as_str()) {
                continue;
            }
            looked_at += 1;
            let own = room(name);
            let elsewhere = rooms.iter().any(|(other, words)| *other != own && words.contains(&item));
            if !elsewhere && !tests.contains(&item) {
                alone.push(format!("{name}: {item}"));
            }
        }
    }
    assert!(looked_at > 200 && alone.is_empty(), "of {looked_at}, no other room names {alone:?}");
}

/// A test outside the crate makes every item `pub`, so that the compiler cannot see what nobody uses.
#[test]
fn no_public_item_is_unused() {
    let all: Vec<(String, String)> = sources();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut defined: Vec<(String, String)> = Vec::new();
    for (name, code) in &all {
        // what is only handed on is not used yet
        let body: String = code.split_inclusive(';').filter(|part| !part.contains("pub use ")).collect();
        for word in words_of(&body) {
            *seen.entry(word).or_default() += 1;
        }
        defined.extend(public_items(code).into_iter().map(|(_, item)| (name.clone(), item)));
    }
    assert!(defined.len() > 300, "{}", defined.len());
    let unused: Vec<&(String, String)> = defined
        .iter()
        .filter(|(_, item)| seen.get(item).is_none_or(|times| *times < 2) && !FOR_TESTS.contains(&item.as_str()))
        .collect();
    assert!(unused.is_empty(), "nothing in host/src uses {unused:?}");
}

/// The formatter wraps code, and leaves what is written about it.
#[test]
fn no_sentence_is_wider_than_the_code() {
    const WIDTH: usize = 120;
    let mut files = Vec::new();
    for place in ["host", "plugins", "tests", "workspaces"] {
        walk(&root().join(place), &mut files);
    }
    let is_wide = |line: &&str| line.trim_start().starts_with("//") && line.chars().count() > WIDTH;
    let wide = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file");
        text.lines().filter(is_wide).map(|line| format!("{}: {}", path.display(), line.trim())).collect::<Vec<_>>()
    };
    assert_eq!(files.into_iter().flat_map(wide).collect::<Vec<_>>(), Vec::<String>::new());
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
    assert_eq!(code, "let a = ; \nstd::fs::read(); \n; end");
    let text = "let a = \"one // \\\" two\n  three\"; f('\"', '\\''); // four\nlet b = r#\"five \" six\"#; fn g<'a>(x: &'a str) {}\n";
    assert_eq!(code_of(text), "let a = \n; f(, ); \nlet b = ; fn g<'a>(x: &'a str) {}\n");
}
