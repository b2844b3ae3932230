//! What a person sees at a terminal: tables within its width, states in colour, and commands that can be copied.
use crate::support::terminal::on_terminal;
use crate::support::world::World;
use serde_json::json;

fn failed() -> World {
    let long = "a-task-whose-name-says-all-of-its-parameters-and-more-than-that";
    let world = World::with_tasks(&json!([
        {"id": long, "operator": "local", "command": "echo no such lattice >&2; exit 3"},
        {"id": "fine", "operator": "local", "command": "true"},
    ]));
    let label = "the third attempt at the label that nobody can read at a glance";
    world.run(&["init", "demo", "--run-id", "a-run-with-a-name-that-is-rather-long", "--label", label]).code(0);
    world.run(&["loop", "latest"]).code(1);
    world
}

/// The text without what colours it.
fn plain(shown: &str) -> String {
    let mut parts = shown.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
}

#[test]
fn tables_fit_a_terminal_and_nothing_else_is_shortened() {
    let world = failed();
    let commands: [&[&str]; 4] = [&["list"], &["tasks"], &["explain"], &["doctor", "latest"]];
    for arguments in commands {
        for columns in [40, 80] {
            let shown = plain(&on_terminal(&world, columns, &[], arguments));
            let table: Vec<&str> =
                shown.lines().filter(|line| line.starts_with(' ') && !line.starts_with("  ")).collect();
            assert!(table.len() > 1, "{arguments:?}: {shown}");
            for line in table {
                assert!(line.chars().count() <= columns, "{arguments:?} in {columns}: {line}\n{shown}");
            }
        }
        assert!(!world.run(arguments).stdout.contains('…'), "{arguments:?}");
    }
    let list = plain(&on_terminal(&world, 80, &[], &["list"]));
    assert!(list.contains("STATE") && list.contains("failed") && list.contains('…'), "{list}");
    let narrow = plain(&on_terminal(&world, 40, &[], &["tasks"]));
    assert!(narrow.contains("left out for want of room: ") && narrow.contains("STATE"), "{narrow}");
}

#[test]
fn a_command_is_whole_on_any_terminal() {
    let world = failed();
    let whole = world.run(&["explain", "--json"]).code(0).json();
    let command = whole.as_array().expect("a list").iter().find_map(|one| one["command"].as_str()).expect("a command");
    for columns in [20, 60, 100, 300] {
        let shown = on_terminal(&world, columns, &[], &["explain"]);
        assert!(shown.contains(command), "{columns}: {shown}");
    }
}

#[test]
fn states_are_coloured_on_a_terminal_that_has_colours() {
    let world = failed();
    for arguments in [&["list"][..], &["tasks"], &["status"]] {
        let coloured = on_terminal(&world, 120, &[], arguments);
        assert!(coloured.contains("\u{1b}[31mfailed\u{1b}[0m"), "{arguments:?}: {coloured:?}");
        for plainly in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let shown = on_terminal(&world, 120, &[plainly], arguments);
            assert!(shown.contains("failed") && !shown.contains('\u{1b}'), "{plainly:?} {arguments:?}: {shown:?}");
        }
        assert!(!world.run(arguments).stdout.contains('\u{1b}'), "{arguments:?}");
    }
}
