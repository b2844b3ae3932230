//! What is printed reaches its reader, or the command says that it could not: a full disk is an error, a reader that
//! goes away is not, and nothing that somebody else wrote commands a terminal.
use crate::support::until;
use crate::support::world::World;
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Commands that print data.
const PRINTING: [&[&str]; 15] = [
    &["--help"],
    &["status", "--help"],
    &["list"],
    &["list", "--json"],
    &["status", "r"],
    &["status", "r", "--json"],
    &["tasks", "r"],
    &["attempts", "r", "a"],
    &["explain", "r", "--json"],
    &["logs", "r", "a"],
    &["graph", "r"],
    &["doctor", "r"],
    &["config", "schema"],
    &["completions", "bash"],
    &["config", "check", "demo"],
];

#[test]
fn what_cannot_be_printed_is_an_error_of_the_machine() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "echo hello"}]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    for arguments in PRINTING {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let output = world.command(arguments).stdout(full).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(74), "{arguments:?}: {told}");
        assert!(told.contains("error: standard output"), "{arguments:?}: {told}");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = world.command(arguments).stdout(writer).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {told}");
        assert!(!told.contains("error") && !told.contains("panicked"), "{arguments:?}: {told}");
    }
}

#[test]
fn following_ends_with_its_reader() {
    let world =
        World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "echo one; echo two; exec sleep 600"}]));
    world.init();
    world.run(&["step", "r"]).code(0);
    until("the job prints", || world.run(&["logs", "r", "a"]).stdout.contains("two"));
    for arguments in [&["logs", "r", "a", "-f"][..], &["status", "r", "--watch"]] {
        let mut child =
            world.command(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut first = String::new();
        let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
        reader.read_line(&mut first).expect("a line");
        assert!(!first.is_empty());
        drop(reader);
        let start = Instant::now();
        let code = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status.code();
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{arguments:?} does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(code, Some(0), "{arguments:?}");
    }
    world.run(&["cancel", "r"]).code(0);
}

/// Whether a text holds what commands a terminal or hides how it reads.
fn commands(text: &str) -> bool {
    text.chars().any(|c| {
        (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

#[test]
fn nothing_of_anybody_else_commands_a_terminal() {
    let evil = "a\u{1b}[2J\u{9b}31m\u{202e}\nrm -rf ~";
    let world = World::with_tasks(&json!([
        {"id": evil, "operator": "local", "command": ["printf", "\u{1b}]0;x\u{7}"], "env": {"E": evil},
         "files": {"in\u{202e}.txt": {"content": "x"}}, "allow_failure": true},
        {"id": "b", "operator": "local", "command": ["/no/such\u{1b}[31m"], "depends_on": [evil], "allow_failure": true},
        {"id": "c\u{9b}", "operator": "local", "command": "true", "depends_on": ["b"]},
    ]));
    world.init();
    let mut printed = Vec::new();
    let looks: [&[&str]; 14] = [
        &["step", "r", "--dry-run"],
        &["step", "r", "--dry-run", "--json"],
        &["loop", "r"],
        &["status", "r"],
        &["status", "r", "--json"],
        &["tasks", "r"],
        &["tasks", "r", "--json"],
        &["attempts", "r", evil],
        &["attempts", "r", evil, "--json"],
        &["explain", "r"],
        &["explain", "r", "--json"],
        &["graph", "r"],
        &["graph", "r", "--format", "dot"],
        &["evidence", "r", "--json"],
    ];
    for arguments in looks {
        let done = world.run(arguments);
        printed.push((format!("{arguments:?} stdout"), done.stdout));
        printed.push((format!("{arguments:?} stderr"), done.stderr));
    }
    for name in ["evidence.json", "README.md"] {
        let text = std::fs::read_to_string(world.run_dir("r").join("evidence").join(name)).expect(name);
        printed.push((name.to_owned(), text));
    }
    for missing in ["no\u{1b}[31mrun", "r\u{202e}"] {
        printed.push((missing.to_owned(), world.run(&["status", missing]).code(2).stderr));
        printed.push((missing.to_owned(), world.run(&["tasks", "r", "--state", missing]).code(2).stderr));
    }
    for (what, text) in printed {
        assert!(!commands(&text), "{what}: {}", text.escape_debug());
    }
    let script = world.run_dir("r");
    assert!(script.exists());
    let id = &world.run(&["tasks", "r", "--json"]).json()[0]["id"];
    assert_eq!(id, evil, "JSON says it with escapes, and whole");
}

#[test]
fn a_script_of_a_dry_run_does_what_it_says() {
    let world = World::with_tasks(&json!([
        {"id": "a\necho from-the-id", "operator": "local", "command": ["printf", "%s\u{1b}|%s", "b\nc", "d\u{9b}"], "env": {"X": "1\u{7}"}},
    ]));
    world.init();
    let script = world.run(&["step", "r", "--dry-run"]).code(0).stdout;
    assert!(!commands(&script), "{}", script.escape_debug());
    let output = Command::new("bash").arg("-c").arg(&script).output().expect("bash");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "b\nc\u{1b}|d\u{9b}", "{script}");
}

#[test]
fn a_plugins_keys_do_not_command_a_terminal() {
    let text = r#"{"campaign": {"plugin": "builtin:workflow", "params": {"tasks": [{"id": "a", "\u001b[31mRED": 1, "\u202e": 2}]}}}"#;
    let world = World::new(&json!({}));
    world.write("config.json", text);
    let told = world.run(&["init", "demo"]).code(2).stderr;
    assert!(told.contains("[31mRED") && !commands(&told), "{}", told.escape_debug());
}

#[test]
fn a_terminal_gets_what_a_job_wrote_without_its_commands_and_a_file_gets_every_byte() {
    let world =
        World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "printf 'x\\033[31my\\n\\377'"}]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    let raw = world.command(&["logs", "r", "a"]).output().expect("it runs").stdout;
    assert_eq!(raw, b"x\x1b[31my\n\xff");
    // `script` gives its command a terminal.
    let line = format!("{} logs r a", crate::support::world::PROGRAM);
    let mut command = world.command(&[]);
    let program = Command::new("script");
    let mut command = {
        let mut under = program;
        under.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null());
        if let Some(directory) = command.arg("x").get_current_dir() {
            under.current_dir(directory);
        }
        under.env_clear();
        for (key, value) in command.get_envs() {
            if let Some(value) = value {
                under.env(key, value);
            }
        }
        under
    };
    let shown = command.output().expect("script runs").stdout;
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.contains("x\\u{1b}[31my") && !shown.contains('\u{1b}'), "{}", shown.escape_debug());
}
