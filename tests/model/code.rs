//! The documentation lists every word of the host's own, with its meaning as the code has it, and every limit.
use crate::support::root;
use matterstack::model::code::{Code, Place};
use matterstack::model::limit::Limit;
use std::fs;

/// All pages that a person reads.
fn pages() -> String {
    let mut text = fs::read_to_string(root().join("README.md")).expect("a README");
    for entry in fs::read_dir(root().join("docs")).into_iter().flatten().flatten() {
        text += &fs::read_to_string(entry.path()).unwrap_or_default();
    }
    text
}

/// The table of the words that are used in one place.
fn table(place: Place) -> String {
    let rows = Code::ALL.iter().filter(|code| code.place() == place);
    let rows: String = rows.map(|code| format!("| `{code}` | {} |\n", code.meaning())).collect();
    format!("| code | meaning |\n|---|---|\n{rows}")
}

#[test]
fn every_code_is_documented() {
    let pages = pages();
    for place in [Place::Run, Place::Plugin, Place::Task, Place::Kind, Place::Job] {
        let table = table(place);
        assert!(pages.contains(&table), "the documentation lacks this table:\n{table}");
    }
}

#[test]
fn the_contract_names_every_kind_of_wait() {
    for page in ["wit/operator.wit", "plugins/sdk/rust/src/operator.rs", "host/src/model/contract.rs"] {
        let text = fs::read_to_string(root().join(page)).expect("a source");
        let line = text.lines().find(|line| line.contains("`person`, `kit`")).expect("the line on kinds");
        for kind in Code::ALL.iter().filter(|code| code.is_kind()) {
            assert!(line.contains(&format!("`{kind}`")), "{page} lacks `{kind}`: {line}");
        }
    }
}

#[test]
fn every_limit_is_documented() {
    let pages = pages();
    for limit in Limit::ALL {
        assert!(pages.contains(&format!("`{limit}`")), "the documentation lacks `{limit}`");
    }
}
