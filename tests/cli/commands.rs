//! One list of all commands: `docs/commands.md`, what `--help` tells, and what the documentation and the host itself
//! advise are compared.
use super::readme::{all_pages, page, root};
use crate::support::world::PROGRAM;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// What the page writes `CHOICE` for.
const CHOICE: &str = "[--state S] [--operator O] [--iteration N] [--code C]";
/// What every command takes.
const EVERYWHERE: [&str; 5] = ["--json", "--quiet", "--workspaces", "--help", "--version"];

/// What a command takes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Takes {
    options: BTreeSet<String>,
    /// Its arguments in their order, in brackets what may be left out, with `…` what may come again.
    arguments: Vec<String>,
}

fn help(path: &[&str]) -> String {
    let done = Command::new(PROGRAM).args(path).arg("-h").env("COLUMNS", "200").output().expect("the binary runs");
    String::from_utf8(done.stdout).expect("text")
}

/// The lines of a section of a help that begin something, by their first words.
fn section(help: &str, heading: &str) -> Vec<String> {
    let Some((_, rest)) = help.split_once(&format!("\n{heading}:\n")) else { return Vec::new() };
    let own = |line: &&str| line.len() - line.trim_start().len() <= 6;
    rest.lines().take_while(|line| !line.is_empty()).filter(own).map(|line| line.trim().to_owned()).collect()
}

/// Every command that the help shows, with what it takes.
fn told() -> BTreeMap<String, Takes> {
    let mut all = BTreeMap::new();
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let help = help(&words);
        let below = section(&help, "Commands").into_iter().filter_map(|line| Some(line.split(' ').next()?.to_owned()));
        let below: Vec<String> = below.filter(|word| word != "help").collect();
        // this one does something by itself, too
        if below.is_empty() || words == ["evidence"] {
            all.insert(path.join(" "), takes(&help, &path.join(" ")));
        }
        open.extend(below.into_iter().map(|word| [path.clone(), vec![word]].concat()));
    }
    assert!(all.len() > 25, "{all:?}");
    all
}

fn takes(help: &str, path: &str) -> Takes {
    let options = section(help, "Options");
    // what begins with a dash at the beginning of a line: a letter, the word, or both
    let names = |line: &String| -> Vec<String> {
        let words = line.split([' ', ',']).filter(|word| !word.is_empty());
        words.take_while(|word| word.starts_with('-')).map(str::to_owned).collect()
    };
    let options = options.iter().flat_map(names);
    let options = options.filter(|word| word.starts_with("--") && !EVERYWHERE.contains(&word.as_str())).collect();
    let (_, usage) = help.split_once(&format!("Usage: matterstack {path}")).unwrap_or_else(|| panic!("usage: {help}"));
    let usage = usage.lines().next().unwrap_or_default().replace("[OPTIONS]", "");
    Takes { options, arguments: arguments(&usage) }
}

/// The arguments in a line of usage, without options and their values.
fn arguments(usage: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut words = usage.split_whitespace();
    while let Some(word) = words.next() {
        if word.starts_with("--") {
            words.next();
        } else if !word.starts_with("<--") {
            found.push(word.replace("...", "…").replace(['<', '>'], ""));
        }
    }
    found
}

/// The commands of the page, each with what it takes.
fn listed() -> BTreeMap<String, Takes> {
    let mut all = BTreeMap::new();
    for line in page("docs/commands.md").lines().filter_map(|line| line.strip_prefix("| `")) {
        let (spec, meaning) = line.split_once("` | ").expect("a command and what it does");
        assert!(meaning.trim_end_matches(" |").len() > 3, "{line}");
        let spec = spec.replace("CHOICE", CHOICE);
        let words: Vec<&str> = spec.split_whitespace().collect();
        let lower = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
        let mut path: Vec<&str> = words.iter().copied().take_while(lower).collect();
        let mut rest = &words[path.len()..];
        if path == ["amend"] {
            path.push(rest[1]);
            rest = &rest[2..];
        }
        let (mut takes, mut optional) = (Takes::default(), rest.iter());
        while let Some(word) = optional.next() {
            match word.trim_start_matches('[') {
                option if option.starts_with("--") => {
                    takes.options.insert(option.trim_end_matches([']', '…']).to_owned());
                    // its value stands behind it
                    if !word.ends_with(']') && !word.ends_with('…') {
                        optional.next();
                    }
                }
                _ => takes.arguments.push((*word).to_owned()),
            }
        }
        assert!(all.insert(path.join(" "), takes).is_none(), "{line} stands there twice");
    }
    all
}

#[test]
fn the_list_is_what_the_help_tells() {
    let (told, mut listed) = (told(), listed());
    assert_eq!(told.keys().collect::<Vec<_>>(), listed.keys().collect::<Vec<_>>());
    for (path, takes) in told {
        let mut of_page = listed.remove(&path).expect("it is listed");
        // clap's names for what the page calls otherwise
        for argument in &mut of_page.arguments {
            for (ours, claps) in [("[TASK]…", "[TASKS]…"), ("FILE…", "FILES…"), ("TASK", "PATTERN")] {
                if argument == ours && !takes.arguments.contains(argument) {
                    *argument = claps.to_owned();
                }
            }
        }
        if path == "settle" {
            assert!(help(&["settle"]).contains("<--completed|--failed>"), "one of the two is wanted");
        }
        assert_eq!(of_page, takes, "`{path}`");
    }
}

#[test]
fn a_run_that_may_be_left_out_is_the_latest() {
    for (path, takes) in listed() {
        let words: Vec<&str> = path.split(' ').filter(|word| *word != "amend").collect();
        let words = if path.starts_with("amend") { vec!["amend"] } else { words };
        let optional =
            takes.arguments.iter().any(|argument| argument == "[RUN]") || matches!(words[..], ["amend" | "table"]);
        // the machine is checked, and every run scheduled, where none is named
        let latest = optional && !["doctor", "schedule"].contains(&path.as_str());
        assert_eq!(help(&words).contains("[default: latest]"), latest, "`{path}`");
    }
}

/// The word of a command in a text that begins behind `matterstack `, and the options that stand with it.
fn mention(text: &str) -> Option<(Vec<&str>, Vec<&str>)> {
    let end = text.find(['`', '|', ';', '#', '\n']).unwrap_or(text.len());
    // behind `--` stands somebody else's command
    let end = ["&&", " -- "].iter().filter_map(|word| text.find(word)).fold(end, usize::min);
    let words: Vec<&str> = text[..end].split_whitespace().collect();
    let first = words.first().filter(|word| word.chars().all(|c| c.is_ascii_lowercase()))?;
    let command = [&[*first][..], words.get(1..2).unwrap_or_default()].concat();
    let is_option = |word: &&str| word.starts_with("--") && word.len() > 2;
    let options = words.iter().copied().filter(is_option).map(|word| word.split('=').next().unwrap_or_default());
    Some((command, options.collect()))
}

/// The options of every command that begins with these words; nothing if there is none.
fn known(told: &BTreeMap<String, Takes>, words: &[&str]) -> Option<BTreeSet<String>> {
    let two = words.join(" ");
    let of = |path: &String| *path == two || path.starts_with(&format!("{} ", words[0])) || *path == words[0];
    let found: Vec<&Takes> = told.iter().filter(|(path, _)| of(path)).map(|(_, takes)| takes).collect();
    let options = found.iter().flat_map(|takes| takes.options.iter().cloned()).chain(EVERYWHERE.map(str::to_owned));
    (!found.is_empty()).then(|| options.collect())
}

#[test]
fn what_the_documentation_mentions_exists() {
    let told = told();
    let mut seen = 0;
    for name in all_pages().iter().filter(|name| *name != "CHANGELOG.md") {
        let text = page(name);
        // with the program's name, and in code that begins with a command
        let named = text.split("matterstack ").skip(1);
        let code = text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|code| code.contains(" --") && told.contains_key(code.split(' ').next().unwrap_or_default()));
        for (command, options) in named.chain(code).filter_map(mention) {
            // prose that goes on behind the name of the project is no command
            let Some(known) = known(&told, &command) else {
                let behind = format!("`matterstack {}", command[0]);
                assert!(!text.contains(&behind), "{name} mentions `{}`", command[0]);
                continue;
            };
            for option in options {
                assert!(known.contains(option), "{name}: `{}` has no {option}", command[0]);
            }
            seen += 1;
        }
    }
    assert!(seen > 60, "only {seen} mentions were found");
}

#[test]
fn what_the_host_advises_exists() {
    let told = told();
    let mut seen = 0;
    let mut folders = vec![root().join("host/src")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            seen += advised(&path, &told);
        }
    }
    assert!(seen > 25, "only {seen} pieces of advice were found");
}

/// How many commands a source advises, each of which there is.
fn advised(path: &Path, told: &BTreeMap<String, Takes>) -> usize {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut seen = 0;
    for (command, options) in text.split("`matterstack ").skip(1).filter_map(mention) {
        let known = known(told, &command).unwrap_or_else(|| panic!("{}: `{}`", path.display(), command[0]));
        for option in options {
            assert!(known.contains(option), "{}: `{}` has no {option}", path.display(), command[0]);
        }
        seen += 1;
    }
    seen
}
