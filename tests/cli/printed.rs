//! Every command that stands in the sources or on a page is one that there is, with options that it has. What the
//! commands then do is tried in `typed` and `troubled`, in the situations in which they are printed.
use super::readme::{all_pages, root};
use crate::support::world::PROGRAM;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const NAME: &str = "matterstack ";
/// What follows the name where it begins a sentence, or a place for any command.
const SENTENCES: [&str; 4] = ["study", "", "x", "stopped"];

/// The Rust sources below a folder.
fn sources(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            texts.extend(sources(&entry));
        } else if entry.extension().is_some_and(|end| end == "rs") {
            texts.push(std::fs::read_to_string(&entry).expect("a source"));
        }
    }
    texts
}

/// The commands in a text, each up to the end of its quotation: what stands for a word that is not known yet is a word.
fn commands(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices(NAME) {
        if !text[..at].ends_with(['`', '"', '\n']) {
            continue;
        }
        let rest = &text[at + NAME.len()..];
        let end = rest.find(['`', '"', '\n', '\\', '|', ';', '&', '>', '#', '(']).unwrap_or(rest.len());
        // a quotation inside may hold spaces
        let words = rest[..end].split_whitespace().take_while(|word| !word.contains('\'')).map(|word| {
            let holds_place = word.contains(['{', '}', '[', '…', '$', '<']) || !word.contains(char::is_lowercase);
            if holds_place && !word.starts_with('-') { "x" } else { word }
        });
        found.insert(words.collect::<Vec<_>>().join(" "));
    }
    found
}

#[test]
fn every_command_that_is_named_is_one_that_there_is() {
    let pages = all_pages().into_iter().map(|page| std::fs::read_to_string(root().join(page)).expect("a page"));
    let all: BTreeSet<String> =
        sources(&root().join("host/src")).into_iter().chain(pages).flat_map(|text| commands(&text)).collect();
    let mut wrong = Vec::new();
    let mut tried = 0;
    for command in &all {
        let words: Vec<&str> = command.split(' ').collect();
        // a sentence about matterstack, or a command whose name is not known yet
        if words[0].starts_with('-') || SENTENCES.contains(&words[0]) {
            continue;
        }
        // what comes after is not read: everything before must be known
        let before = words.iter().position(|word| *word == "--").unwrap_or(words.len());
        let output = Command::new(PROGRAM).args(&words[..before]).arg("--help").output().expect("matterstack");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        tried += 1;
        // several words may stand where the sources have one place
        let unexpected = said.contains("unexpected argument") && !said.contains("unexpected argument 'x'");
        if unexpected || said.contains("unrecognized subcommand") {
            wrong.push(format!("{command}: {}", said.lines().next().unwrap_or_default()));
        }
    }
    assert!(tried > 150, "{tried}");
    assert_eq!(wrong, [] as [&str; 0]);
}
