//! What scripts in Python import, under an ordinary Python: its tests, and its types against the published schemas.
use crate::support::world::PROGRAM;
use crate::support::{path, root};
use std::fs;
use std::process::Command;

/// The schemas that types of the module follow.
const SCHEMAS: [&str; 8] = ["tasks", "results", "decision", "context", "operator", "summary", "job", "usage"];

#[test]
fn the_python_module_does_what_its_own_tests_say() {
    let schemas = tempfile::tempdir().unwrap();
    for name in SCHEMAS {
        let printed = Command::new(PROGRAM).args(["config", "schema", name]).output().unwrap();
        assert!(printed.status.success(), "{name}");
        fs::write(schemas.path().join(name).with_extension("json"), printed.stdout).unwrap();
    }
    let places = ["plugins/sdk/python", "plugins/runners/python"].map(|place| root().join(place));
    let mut python = Command::new("python3");
    python.env("PATH", path()).env("PYTHONDONTWRITEBYTECODE", "1").env("MATTERSTACK_SCHEMAS", schemas.path());
    python.env("PYTHONPATH", std::env::join_paths(&places).unwrap());
    python.args(["-m", "unittest", "discover", "-s"]).arg(root().join("tests/python"));
    let done = python.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    // nothing was found and nothing skipped would both be no test
    assert!(said.contains("Ran ") && !said.contains("Ran 0") && !said.contains("skipped"), "{said}");
}
