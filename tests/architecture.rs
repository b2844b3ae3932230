//! The invariants of absence: who names what. They are read off the source, so that they stay true.
use crate::support::root;
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
fn only_backends_start_programs() {
    only(&["backend/"], &["Command::new", "process::Command", ".spawn()"]);
}

#[test]
fn only_the_command_line_prints_and_exits() {
    only(&["cli/"], &["stdout()", "stderr()"]);
    only(&["cli/", "main.rs"], &["ExitCode"]);
    for place in ["store/", "plugin/", "backend/", "tick/", "model/", "workspace/", "drive.rs", "explain.rs"] {
        never(place, &["println!", "eprintln!", "print!(", "process::exit"]);
    }
}

#[test]
fn the_model_depends_on_nothing_that_acts() {
    never(
        "model/",
        &["crate::store", "crate::plugin", "crate::backend", "crate::tick", "crate::cli", "crate::workspace"],
    );
    never("model/", &["std::fs", "std::net", "std::process", "std::thread", "std::io"]);
}

#[test]
fn store_plugins_and_backends_do_not_know_each_other() {
    never("store/", &["crate::plugin", "crate::backend", "crate::tick"]);
    never("backend/", &["crate::store", "crate::plugin", "crate::tick"]);
    never("plugin/", &["crate::store", "crate::tick", "crate::workspace"]);
    for (name, code) in sources().into_iter().filter(|(name, _)| name.starts_with("plugin/")) {
        let mut named = code.match_indices("crate::backend::").map(|(at, word)| &code[at + word.len()..]);
        let known =
            |rest: &str| ["Compute", "{Compute, JobKey}", "start_and_wait"].iter().any(|known| rest.starts_with(known));
        assert!(named.all(known), "host/src/{name} knows more of backends than `Compute` and how to start a program");
    }
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
