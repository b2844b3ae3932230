//! What the commands print, in one file for each case below `golden/`. `UPDATE_GOLDEN=1` rewrites them.
use crate::support::world::World;
use matterstack::ground::machine::host_name;
use serde_json::{Value, json};
use std::path::Path;

/// Ids, digests, times and paths as words.
fn normalised(text: &str, world: &World) -> String {
    let root = std::fs::canonicalize(world.root()).expect("the root exists");
    let text = text.replace(&root.display().to_string(), "ROOT").replace(&world.root().display().to_string(), "ROOT");
    let text = text.replace(&format!("\"{}\"", host_name()), "\"HOST\"");
    let text = without_number_after(&text, "\"took_ms\": ");
    // what a busy machine takes for little
    let text = (1..10).fold(text, |text, n| text.replace(&format!(" in {n} s\n"), " in less than a second\n"));
    let shape = |c: char| if c.is_ascii_digit() { 'd' } else { c };
    let (mut out, mut rest) = (String::with_capacity(text.len()), text.as_str());
    while let Some(c) = rest.chars().next() {
        let time: String = rest.chars().take(24).map(shape).collect();
        let digits = rest.chars().take_while(char::is_ascii_hexdigit).count();
        let (word, length) = match c {
            _ if time == "dddd-dd-ddTdd:dd:dd.dddZ" => ("TIME", 24),
            _ if digits >= 32 => ("HEX", digits),
            c => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        out += word;
        rest = &rest[length..];
    }
    out
}

/// The text with each number behind these words left out.
fn without_number_after(text: &str, words: &str) -> String {
    let mut parts = text.split(words);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| whole + words + "N" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[track_caller]
fn golden(world: &World, name: &str, arguments: &[&str], code: i32) {
    let done = world.run(arguments).code(code);
    let text = format!(
        "$ matterstack {}\n{}--- standard error, exit code {code}\n{}",
        arguments.join(" "),
        done.stdout,
        done.stderr
    );
    let text = normalised(&text, world);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cli/golden").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, &text).expect("a golden file");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; UPDATE_GOLDEN=1 accepts it", path.display());
}

fn tasks() -> Value {
    json!([
        {"id": "ok", "operator": "local", "command": "echo out; echo err >&2; echo 1 > r.json", "outputs": ["r.json"]},
        {"id": "bad", "operator": "local", "command": "exit 7", "allow_failure": true},
        {"id": "after bad", "operator": "local", "command": "true", "depends_on": ["bad"], "allow_failure": true},
        {"id": "last", "operator": "local", "command": ["cat", "r.json"], "files": {"r.json": {"from": "ok", "output": "r.json"}},
         "env": {"GREETING": "hello you"}, "resources": {"cores": 1, "walltime_s": 60}},
    ])
}

#[test]
fn a_run_from_init_to_its_end() {
    let world = World::with_tasks(&tasks());
    golden(&world, "list-none", &["list"], 0);
    golden(&world, "init", &["init", "demo", "--run-id", "r"], 0);
    golden(&world, "dry-run", &["step", "r", "--dry-run"], 0);
    golden(&world, "explain-ready", &["explain", "r"], 0);
    golden(&world, "pause", &["pause", "r"], 0);
    golden(&world, "explain-paused", &["explain", "r"], 0);
    golden(&world, "loop-paused", &["loop", "r"], 5);
    golden(&world, "resume", &["resume", "r"], 0);
    world.run(&["loop", "r"]).code(0);
    golden(&world, "status", &["status", "r"], 0);
    golden(&world, "status-json", &["status", "r", "--json"], 0);
    golden(&world, "tasks", &["tasks", "r"], 0);
    golden(&world, "tasks-json", &["tasks", "r", "--json"], 0);
    golden(&world, "tasks-failed", &["tasks", "r", "--state", "failed"], 0);
    golden(&world, "explain-ended", &["explain", "r", "--json"], 0);
    golden(&world, "logs", &["logs", "r", "ok"], 0);
    golden(&world, "graph-mermaid", &["graph", "r"], 0);
    golden(&world, "graph-dot", &["graph", "r", "--format", "dot"], 0);
    golden(&world, "graph-svg", &["graph", "r", "--format", "svg"], 0);
    golden(&world, "list", &["list"], 0);
    golden(&world, "step-ended", &["step", "r", "--json"], 0);
}

#[test]
fn a_run_that_fails() {
    let world = World::with_tasks(&json!([
        {"id": "bad", "operator": "local", "command": "exit 7"},
        {"id": "after", "operator": "local", "command": "true", "depends_on": ["bad"]},
    ]));
    world.init();
    let end = world.step_to_end();
    assert_eq!(end["state"], "failed");
    golden(&world, "step-failed", &["step", "r"], 1);
    golden(&world, "explain-failed", &["explain", "r"], 0);
    golden(&world, "loop-failed", &["loop", "r"], 1);
}

#[test]
fn errors_say_what_which_why_and_what_helps() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    golden(&world, "error-workspace", &["init", "dmo"], 2);
    golden(&world, "error-run", &["status", "2099"], 2);
    world.init();
    golden(&world, "error-task", &["logs", "r", "aa"], 2);
    golden(&world, "error-state", &["tasks", "r", "--state", "done"], 2);
    golden(&world, "error-usage", &["status", "r", "--jsn"], 2);
    golden(&world, "config-check", &["config", "check", "demo"], 0);
    golden(&world, "error-set", &["amend", "r", "config", "campaign.seed=3"], 2);
    golden(&world, "inspect", &["plugin", "inspect", "builtin:nothing"], 2);
}

#[test]
fn help_is_the_manual() {
    let world = World::with_tasks(&json!([]));
    golden(&world, "help", &["--help"], 0);
    for command in ["init", "step", "loop", "status", "explain", "rerun", "amend", "plugin", "evidence", "doctor"] {
        golden(&world, &format!("help-{command}"), &[command, "--help"], 0);
    }
}

#[test]
fn schemas_are_published() {
    let world = World::with_tasks(&json!([]));
    let own = ["config", "tasks", "results", "decision", "context", "operator", "job", "exit", "evidence"];
    for name in own.into_iter().chain(["summary", "manifest", "decision-more", "data", "usage"]) {
        golden(&world, &format!("schema-{name}"), &["config", "schema", name], 0);
    }
}
