//! README.md reads well and cannot be misled by names.
use super::{attempt_dir, bundle, ended, evidence_dir, report};
use crate::support::world::World;
use serde_json::json;

#[test]
fn the_report_tells_the_run_from_question_to_tasks() {
    let world = ended();
    world.run(&["evidence", "r"]).code(0);
    let text = report(&evidence_dir(&world));
    let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("# ") || line.starts_with("## ")).collect();
    let expected = [
        "# Run r of demo",
        "## What was asked",
        "## What was done",
        "## Results",
        "## Failures",
        "## Environment",
        "## Files",
        "## Commands",
        "## Timeline",
        "## Every task",
    ];
    assert_eq!(headings, expected);
    for words in [
        "**The run is completed**",
        "Campaign `builtin:workflow` with seed 0",
        "commands on backend `local`",
        "1 iteration and 3 tasks, with 4 attempts: 2 completed, 1 failed",
        "### What the campaign decided",
        "### Attempts that failed or were lost",
        "| time                     | after ",
        "10 files were compared",
        "active → completed",
    ] {
        assert!(text.contains(words), "`{words}` is missing: {text}");
    }
    let table = text.split("## Every task").nth(1).expect("the last section");
    for id in ["ok", "bad", "last"] {
        assert_eq!(table.lines().filter(|line| line.starts_with(&format!("| `{id}` "))).count(), 1, "{table}");
    }
    assert!(!text.contains("null") && !text.contains("None."), "{text}");
}

#[test]
fn the_report_tells_where_jobs_ran_and_what_those_that_failed_wrote_last() {
    let task = |id: &str, command: &str| json!({"id": id, "command": command, "allow_failure": true});
    let fence = "echo first >&2; printf '```\\n\\n# heading <b>\\033[2J\\n' >&2; exit 3";
    let world = World::with_tasks(&json!([
        task("a|b", fence),
        task("said", "echo 'no such file'; exit 4"),
        task("quiet", "exit 5"),
        task("well", "echo fine >&2"),
    ]));
    world.init();
    world.run(&["loop", "r"]);
    world.run(&["evidence", "r"]).code(0);
    let text = report(&evidence_dir(&world));
    let failures = text.split("## Failures").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    for words in [
        "Task a\\|b, attempt 1, to standard error:\n\n````\nfirst\n```\n# heading <b>\\u{1b}[2J\n````\n",
        "Task `said`, attempt 1, to standard output:\n\n```\nno such file\n```\n",
    ] {
        assert!(failures.contains(words), "{words} in {failures}");
    }
    for word in ["Task `quiet`", "Task `well`", "\u{1b}"] {
        assert!(!failures.contains(word), "{word} in {failures}");
    }
    assert!(text.contains("### Where jobs ran\n\n| machine or node "), "{text}");
    let environment = text.split("\n## Environment\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let environment = environment.expect("a section");
    for words in ["### Environment 1 on ", "| `PATH` ", "### What carried out decisions", env!("CARGO_PKG_VERSION")] {
        assert!(environment.contains(words), "{words} in {environment}");
    }
}

#[test]
fn a_result_with_lists_of_objects_is_shown_as_tables() {
    let world = ended();
    let result = json!({
        "hypervolume": 0.812_345_678_9, "best": {"id": "c07", "friction": 0.031},
        "ranking": [{"id": "c07", "friction": 0.031, "composition": {"Cr": 0.2, "Mo": 0.8}}, {"id": "c|01", "friction": 0.04}],
        "pareto": [{"id": "c07", "dissolution": 1.25e-7}],
    });
    let store = rusqlite::Connection::open(world.run_dir("r").join("state.sqlite")).expect("the database");
    store.execute("UPDATE run SET result = ?1", [result.to_string()]).expect("a result");
    drop(store);
    world.run(&["evidence", "r"]).code(0);
    assert_eq!(bundle(&evidence_dir(&world)).run.result, Some(result), "nothing is rounded in evidence.json");
    let text = report(&evidence_dir(&world));
    let results = text.split("## Results").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let expected = "\
| name        |    value |
| ----------- | -------: |
| hypervolume | 0.812346 |

### best

| name     | value |
| -------- | ----- |
| id       | c07   |
| friction | 0.031 |

### ranking

| id    | friction | composition    |
| ----- | -------: | -------------- |
| c07   |    0.031 | Cr 0.2, Mo 0.8 |
| c\\|01 |     0.04 |                |

### pareto

| id  | dissolution |
| --- | ----------: |
| c07 |     1.25e-7 |
";
    assert!(results.contains(expected), "{results}");
}

#[test]
fn hostile_names_stay_names() {
    let names = [
        "a|b",
        "line\nbreak",
        "`code`",
        "# heading",
        "<script>alert(1)</script>",
        "[link](http://evil.example)",
        "\u{202e}gnp.exe",
        "esc\u{1b}[2Jape",
        "![x](y)",
        " ",
        "\\",
        "**bold**",
        "| --- |",
    ];
    let tasks: Vec<_> = names
        .iter()
        .map(|name| {
            let command = "echo 1 > 'o|`x`'; exit 3";
            json!({"id": name, "operator": "local", "command": command, "outputs": ["o*"], "allow_failure": true})
        })
        .collect();
    let world = World::with_tasks(&json!(tasks));
    world.init();
    world.run(&["loop", "r"]).code(0);
    world.run(&["evidence", "r"]).code(0);
    let bundle = bundle(&evidence_dir(&world));
    let ids: Vec<&str> = bundle.tasks.iter().map(|task| task.id.as_str()).collect();
    assert_eq!(ids, names);

    let text = report(&evidence_dir(&world));
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "no control character: {text:?}");
    assert!(!text.contains('\u{202e}'));
    // Parameters stand in a block of code or a table cell; no line of a name begins a heading or ends a table.
    let table = text.split("## Every task\n\n").nth(1).expect("the last section");
    let cells: Vec<usize> = table.lines().map(pipes).collect();
    assert_eq!(cells.len(), names.len() + 2, "{table}");
    assert!(cells.iter().all(|count| *count == cells[0]), "{table}");
    assert_eq!(text.lines().filter(|line| line.starts_with("# ")).count(), 1);
    for bare in ["<script>", "[link](http", "**bold**"] {
        let unescaped = text.match_indices(bare).filter(|(at, _)| !text[..*at].ends_with(['\\', '`'])).count();
        assert_eq!(unescaped, 0, "{bare}: {text}");
    }
}

#[test]
fn hostile_output_names_stay_names() {
    let command = "echo 1 > 'o|`x`'; echo 2 > '<b>&amp;'; printf 3 > \"$(printf 'a\\nb')\"";
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": command, "outputs": ["*"]}]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    let directory = attempt_dir(&world, "a");
    let outputs = ["<b>&amp;", "a\nb", "o|`x`"];
    for name in outputs {
        std::fs::remove_file(directory.join(name)).expect("an output");
    }
    let done = world.run(&["evidence", "r"]).code(0);
    let warnings = done.stderr.lines().filter(|line| line.starts_with("warning: "));
    assert_eq!(warnings.count(), outputs.len(), "each warning is one line: {done:?}");
    let bundle = bundle(&evidence_dir(&world));
    let missing: Vec<&str> = bundle.findings.iter().filter_map(|finding| finding.path.rsplit('/').next()).collect();
    assert_eq!(missing, outputs);
    let text = report(&evidence_dir(&world));
    let files = text.split("## Files").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let rows: Vec<&str> = files.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), outputs.len() + 2, "{files}");
    assert!(rows.iter().all(|row| pipes(row) == 5), "{files}");
}

/// Pipes that separate cells.
fn pipes(line: &str) -> usize {
    let (mut count, mut escaped) = (0, false);
    for c in line.chars() {
        if c == '|' && !escaped {
            count += 1;
        }
        escaped = c == '\\' && !escaped;
    }
    count
}
