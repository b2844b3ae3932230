//! Lines of `setup` that fail end their attempt before the command starts, unless the site says otherwise.
use super::{Site, task, text};
use crate::support::slurm::Plan;
use serde_json::{Value, json};

fn site(backend: &Value) -> Site {
    let mut a = task("a", "true");
    a["allow_failure"] = json!(true);
    let site = Site::with(Plan { nodes: 1, ..Plan::default() }, &json!([a]), backend);
    site.init();
    site.step_to_end();
    site
}

#[test]
fn a_line_that_fails_ends_the_attempt_and_is_named() {
    // a program that is not there, a file, a line that ends the shell, a command deep in a line, and one in a template
    let cases = [
        (json!({"setup": ["module() { :; }", "modle load lammps"]}), 2),
        (json!({"setup": ["source /no/such/conda.sh", "true"]}), 1),
        (json!({"setup": ["true", "# a remark", "", "cd /; exit 7"]}), 4),
        (json!({"setup": ["set -e", "false"]}), 2),
        (json!({"setup": ["if true\nthen\n  (exit 3)\nfi"]}), 1),
        (
            json!({"setup": ["true", "false"], "template":
                "#!/bin/sh\n{% for line in setup %}{{ line }}\n{% endfor %}exec {{ launcher }} {{ command }}"}),
            2,
        ),
    ];
    for (backend, line) in cases {
        let site = site(&backend);
        let (state, reason) = site.last("a");
        assert!(state == "failed" && reason.contains(&format!("line {line} of `setup` failed")), "{backend} {reason}");
        let shown = site.run(&["tasks", "r", "--json"]).code(0).json()[0].clone();
        assert!(text(&shown["reason"]).contains("`setup`"), "{shown}");
        assert_eq!(site.starts().values().sum::<usize>(), 0, "{backend}");
        site.check();
    }
}

#[test]
fn the_code_of_a_setup_that_failed_is_a_word_of_its_own() {
    let mut a = task("a", "true");
    a["retry"] = json!({"max_attempts": 2});
    let backend = json!({"setup": ["source /no/such/conda.sh"]});
    let site = Site::with(Plan { nodes: 1, ..Plan::default() }, &json!([a]), &backend);
    site.init();
    assert_eq!(site.step_to_end()["state"], "failed");
    assert_eq!(site.attempts("a").len(), 2, "it is tried again as any failure");
    let explained = site.run(&["explain", "r", "a", "--json"]).code(0).json()[0].clone();
    assert_eq!(explained["code"], "setup", "{explained}");
}

#[test]
fn where_the_site_says_so_a_line_may_fail() {
    let site = site(&json!({"setup": ["source /no/such/conda.sh"], "setup_may_fail": true}));
    assert_eq!(site.tasks(), "a=completed");
    let directory = site.run_dir().join(text(&site.attempts("a")[0]["directory"]));
    assert!(std::fs::read_to_string(directory.join("stderr")).expect("said").contains("/no/such/conda.sh"));
    site.check();
}

#[test]
fn lines_that_work_leave_nothing_behind() {
    let line = "test \"$LOADED-${MATTERSTACK_CLAIM-none}-${setup_line-none}-${setup_code-none}\" = yes-none-none-none";
    let backend = json!({"setup": ["module() { export LOADED=$1; }", "module yes", "! false"]});
    let site = Site::with(Plan { nodes: 1, ..Plan::default() }, &json!([task("a", line)]), &backend);
    site.init();
    assert_eq!(site.step_to_end()["state"], "completed", "{:?}", site.last("a"));
    site.check();
}
