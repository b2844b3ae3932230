//! Extreme arguments, limits of the machine and damaged rows end in an error of their kind: never in a panic, and never
//! in a bug.
use crate::support::world::{PROGRAM, World};
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Output};

fn world() -> World {
    let world = World::with_tasks(&json!([
        {"id": "a", "operator": "local", "command": "echo hi > o", "outputs": ["o"]},
        {"id": "b", "operator": "local", "command": "false", "depends_on": ["a"], "allow_failure": true},
        {"id": "c", "operator": "local", "command": "true", "depends_on": ["b"], "allow_dependency_failure": true},
    ]));
    world.init();
    world
}

/// Asserts that a command ended by itself, without a panic and without taking the blame.
#[track_caller]
fn sound(what: &str, output: &Output) {
    let told = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(matches!(code, Some(0..=6 | 74)), "{what}: {code:?} {told}");
    assert!(!told.contains("panicked"), "{what}: {told}");
}

/// Commands with `?` in the place of what is tried out.
const PLACES: [&[&str]; 43] = [
    &["?"],
    &["--workspaces", "?", "list"],
    &["init", "?"],
    &["init", "demo", "--config", "?"],
    &["init", "demo", "--set", "?"],
    &["init", "demo", "--set", "campaign.seed=?"],
    &["init", "demo", "--set", "limits.plugin.fuel=?"],
    &["init", "demo", "--set", "limits.plugin.call_ms=?"],
    &["init", "demo", "--set", "limits.plugin.memory_mb=?"],
    &["init", "demo", "--set", "limits.plugin.output_mb=?"],
    &["init", "demo", "--set", "limits.max_active=?"],
    &["init", "demo", "--set", "backends.local.cores=?"],
    &["init", "demo", "--run-id", "?"],
    &["step", "?"],
    &["step", "?", "--dry-run"],
    &["loop", "?"],
    &["loop", "r", "--timeout", "?"],
    &["status", "?"],
    &["explain", "r", "?"],
    &["tasks", "r", "--state", "?"],
    &["attempts", "r", "?"],
    &["logs", "r", "?"],
    &["logs", "r", "a", "--attempt", "?"],
    &["graph", "r", "--format", "?"],
    &["pause", "?"],
    &["resume", "r", "--set", "?"],
    &["cancel", "r", "?"],
    &["amend", "r", "config", "?"],
    &["amend", "r", "config", "limits.max_active=9", "--reason", "?"],
    &["rerun", "r", "?"],
    &["rerun", "r", "--state", "?"],
    &["rerun", "r", "--operator", "?"],
    &["respond", "r", "?"],
    &["respond", "r", "a", "--file", "?"],
    &["evidence", "r", "--out", "?"],
    &["plugin", "inspect", "?"],
    &["plugin", "check", "?"],
    &["plugin", "test", "?"],
    &["plugin", "list", "?"],
    &["amend", "r", "plugin", "?"],
    &["backend", "check", "?"],
    &["config", "check", "?"],
    &["completions", "?"],
];

#[test]
fn no_argument_makes_a_command_panic() {
    let world = world();
    world.run(&["loop", "r", "--timeout", "20s"]);
    let long = "x".repeat(100_000);
    // `..` leads nowhere but into the scratch directory
    let below = world.root().join("demo/deep/deeper");
    std::fs::create_dir_all(&below).expect("a directory");
    let values: [&[u8]; 16] = [
        b"",
        b"-1",
        b"0",
        b"99999999999999999999",
        b"18446744073709551615",
        b"9007199254740991",
        b"1e999",
        b"NaN",
        b"584542046090d",
        b"..",
        b"a\nb",
        b"\x1b[2J",
        b"\xff\xfe",
        "\u{202e}\u{10ffff}".as_bytes(),
        b"{\"a\":",
        long.as_bytes(),
    ];
    for place in PLACES {
        for value in values {
            let mut command = world.command(&[]);
            command.current_dir(&below);
            for word in place {
                let (before, after) =
                    word.split_once('?').map_or((*word, None), |(before, after)| (before, Some(after)));
                let mut argument = before.as_bytes().to_vec();
                if let Some(after) = after {
                    argument.extend_from_slice(value);
                    argument.extend_from_slice(after.as_bytes());
                }
                command.arg(OsStr::from_bytes(&argument));
            }
            let short = &value[..value.len().min(30)];
            let what = format!("{place:?} with {}", String::from_utf8_lossy(short).escape_debug());
            sound(&what, &command.stdin(std::process::Stdio::null()).output().expect("it runs"));
        }
    }
}

#[test]
fn a_limit_of_file_sizes_is_trouble_with_the_machine() {
    for blocks in [0, 1, 8, 64, 256, 1024] {
        let world = world();
        for arguments in ["init demo", "step r", "step r", "evidence r", "list"] {
            let mut command = world.command(&[]);
            let environment: Vec<_> = command.get_envs().map(|(k, v)| (k.to_owned(), v.map(OsStr::to_owned))).collect();
            command = Command::new("sh");
            command.env_clear().current_dir(world.root());
            command.envs(environment.into_iter().filter_map(|(key, value)| Some((key, value?))));
            let output = command.args(["-c", &format!("ulimit -f {blocks}; exec {PROGRAM} {arguments}")]).output();
            sound(&format!("{arguments} with ulimit -f {blocks}"), &output.expect("sh runs"));
        }
        let aside = std::fs::read_dir(world.workspace().join("runs")).expect("runs").flatten();
        let aside: Vec<_> = aside.filter(|entry| entry.file_name().to_string_lossy().starts_with(".init-")).collect();
        assert!(aside.is_empty(), "{aside:?} with ulimit -f {blocks}");
        world.run(&["loop", "r"]).code(0);
    }
}

#[test]
fn where_no_thread_can_be_had_it_is_said() {
    const USER: u32 = 61_003;
    assert!(rustix::process::geteuid().is_root(), "this test acts for another user and must be run as root");
    let world = world();
    let top = world.root().parent().expect("a parent").to_owned();
    std::fs::set_permissions(&top, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let give = Command::new("chown").args(["-R", &USER.to_string()]).arg(&top).status().expect("chown runs");
    assert!(give.success());
    chown(&top, Some(USER), Some(USER)).expect("an owner");
    rusqlite::Connection::open(world.run_dir("r").join("state.sqlite"))
        .and_then(|db| db.execute("UPDATE run SET user_id = ?1", [USER]))
        .expect("its owner");
    for arguments in
        ["init demo", "step r", "loop r --timeout 3s", "loop --all --timeout 3s", "status r", "plugin list"]
    {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &USER.to_string(), "--regid", &USER.to_string(), "--clear-groups", "sh", "-c"]);
        command.arg(format!("ulimit -u 1; exec {PROGRAM} {arguments}"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", &top).current_dir(world.root());
        sound(&format!("{arguments} with ulimit -u 1"), &command.output().expect("setpriv runs"));
    }
}

#[test]
fn a_database_of_another_shape_is_trouble_with_the_machine_and_no_bug() {
    let world = world();
    world.run(&["loop", "r"]).code(0);
    let path = world.run_dir("r").join("state.sqlite");
    let connection = rusqlite::Connection::open(&path).expect("the database");
    connection.execute_batch("ALTER TABLE run RENAME COLUMN idle_plans TO idle_plaxs").expect("another shape");
    drop(connection);
    for arguments in [&["status", "r"][..], &["step", "r"], &["evidence", "r"], &["rerun", "r", "a"]] {
        let done = world.run(arguments).code(74);
        assert!(done.stderr.contains("idle_plans") && done.stderr.contains("doctor"), "{}", done.stderr);
    }
}

#[test]
fn a_damaged_row_is_trouble_with_the_machine_and_no_bug() {
    let whole = world();
    whole.run(&["loop", "r"]).code(0);
    let path = whole.run_dir("r").join("state.sqlite");
    let connection = rusqlite::Connection::open(&path).expect("the database");
    let mut columns: Vec<(String, String, String)> = Vec::new();
    let mut statement = connection
        .prepare("SELECT t.name, c.name, c.type FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'")
        .expect("a statement");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("columns");
    columns.extend(rows.map(|row| row.expect("a column")));
    drop(statement);
    drop(connection);
    let before = std::fs::read(&path).expect("bytes");
    assert!(columns.len() > 40, "{columns:?}");
    for (table, column, kind) in columns {
        for value in if kind == "TEXT" { ["'{\"\u{1}'", "''"] } else { ["-7", "9223372036854775807"] } {
            std::fs::write(&path, &before).expect("the database as it was");
            let connection = rusqlite::Connection::open(&path).expect("the database");
            connection
                .execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF")
                .expect("a pragma");
            let changed = connection.execute(&format!("UPDATE OR IGNORE \"{table}\" SET \"{column}\" = {value}"), []);
            drop(connection);
            if !changed.is_ok_and(|changed| changed > 0) {
                continue;
            }
            for arguments in [
                &["status", "r"][..],
                &["status", "r", "--json"],
                &["tasks", "r", "--json"],
                &["attempts", "r", "a"],
                &["explain", "r"],
                &["graph", "r"],
                &["list"],
                &["doctor", "r"],
                &["step", "r"],
                &["evidence", "r"],
            ] {
                let output = whole.command(arguments).output().expect("it runs");
                sound(&format!("{arguments:?} with {table}.{column} = {value}"), &output);
            }
        }
    }
}
