//! `query`: what the runs of a workspace recorded, in one database for any tool.
use super::readme::{blocks, page};
use crate::support::world::{World, tasks_config};
use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/query.md";

/// Tasks that hand files on, one that fails, one that a rerun repeated, and documents of every kind.
fn world() -> World {
    let document =
        r#"{"loss": 0.25, "fit": {"n": 7, "good": true, "name": "µ"}, "all": [1, 2], "big": 9007199254740993}"#;
    let tasks = json!([
        {"id": "make", "operator": "local", "command": "cat model.py > a.txt", "outputs": ["a.txt"],
         "files": {"model.py": {"path": "scripts/model.py"}}},
        {"id": "use", "operator": "local", "command": ["sh", "-c", "printf '%s' \"$0\" > y.json; cat a.txt", document],
         "outputs": ["y.json"], "files": {"a.txt": {"from": "make", "output": "a.txt"}}, "input": {"x": 2, "of": {"k": "v"}}},
        {"id": "bad", "operator": "local", "command": "exit 3", "allow_failure": true},
    ]);
    let world = World::new(&tasks_config(&tasks));
    world.write("scripts/model.py", "print(1)\n");
    for (run, label) in [("r", "one"), ("s", "two")] {
        world.run(&["init", "demo", "--run-id", run, "--label", label, "--reuse", "none"]).code(0);
        world.run(&["loop", run]).code(0);
    }
    world.run(&["rerun", "r", "bad"]).code(0);
    world.run(&["loop", "r"]).code(0);
    world
}

fn out(world: &World) -> PathBuf {
    world.root().with_file_name("all.db")
}

fn gathered(world: &World) -> Value {
    world.run(&["query", "demo", "--out", "all.db", "--json"]).code(0).json()
}

/// The rows of a statement, as JSON.
fn rows(path: &Path, sql: &str) -> Vec<Value> {
    let database = Connection::open(path).expect("a database");
    let mut statement = database.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let columns = statement.column_count();
    let mut rows = statement.query([]).expect("rows");
    let mut found = Vec::new();
    while let Some(row) = rows.next().expect("a row") {
        let cell = |at| match row.get::<_, Cell>(at).expect("a cell") {
            Cell::Null => Value::Null,
            Cell::Integer(number) => json!(number),
            Cell::Real(number) => json!(number),
            Cell::Text(text) => json!(text),
            Cell::Blob(_) => panic!("a cell of bytes: {sql}"),
        };
        found.push((0..columns).map(cell).collect());
    }
    found
}

#[test]
fn a_database_has_what_the_commands_say_of_every_run() {
    let world = world();
    let made = gathered(&world);
    assert_eq!((&made["runs"], &made["left_out"], &made["unread"]), (&json!(2), &json!([]), &json!(0)), "{made}");
    let path = out(&world);
    assert_eq!(made["size"], json!(fs::metadata(&path).expect("a file").len()));
    let runs = rows(&path, "SELECT run_id, label, workspace, state, tasks FROM runs ORDER BY run_id");
    let expected = [json!(["r", "one", "demo", "completed", 3]), json!(["s", "two", "demo", "completed", 3])];
    assert_eq!(runs, expected);

    for run in ["r", "s"] {
        world.run(&["evidence", run]).code(0);
        let text = fs::read_to_string(world.run_dir(run).join("evidence/evidence.json")).expect("a bundle");
        let evidence: Value = serde_json::from_str(&text).expect("JSON");
        let told = |list: &str, keys: &[&str]| -> Vec<Value> {
            let of = evidence[list].as_array().unwrap_or_else(|| panic!("no {list}"));
            of.iter().map(|one| keys.iter().map(|key| one[*key].clone()).collect()).collect()
        };
        let own = |sql: &str| rows(&path, &sql.replace("OF", &format!("WHERE run_id = '{run}'")));
        let decisions = ["number", "kind", "iteration", "next", "reason", "input_sha256", "output_sha256", "fuel"];
        assert_eq!(
            own(&format!("SELECT {} FROM decisions OF ORDER BY decision", decisions.join(", "))),
            told("decisions", &decisions)
        );
        let tasks = ["id", "iteration", "operator", "state", "reason_code", "reason", "attempts", "version"];
        let columns = tasks.join(", ").replacen("id", "task_id", 1);
        assert_eq!(own(&format!("SELECT {columns} FROM tasks OF ORDER BY rowid")), told("tasks", &tasks));
        let attempts =
            ["attempt_id", "task", "number", "operator", "state", "reason_code", "directory", "created_at", "ended_at"];
        let columns = attempts.join(", ").replacen("task", "task_id", 1);
        assert_eq!(own(&format!("SELECT {columns} FROM attempts OF ORDER BY rowid")), told("attempts", &attempts));
        let history = own("SELECT count(*), (SELECT count(*) FROM acts OF) FROM history OF");
        let count = |list: &str| evidence[list].as_array().map_or(0, Vec::len);
        assert_eq!(history, [json!([count("history"), count("acts")])]);
        for attempt in evidence["attempts"].as_array().expect("attempts") {
            let id = attempt["attempt_id"].as_str().expect("an id");
            for (list, keys) in [("outputs", ["path", "sha256", "size"]), ("logs", ["kind", "sha256", "size"])] {
                let list_of = attempt[list].as_array().cloned().unwrap_or_default();
                let mut expected: Vec<Value> =
                    list_of.iter().map(|one| keys.map(|key| one[key].clone()).into_iter().collect()).collect();
                expected.sort_by_key(Value::to_string);
                let sql = format!("SELECT {} FROM {list} WHERE attempt_id = '{id}' ORDER BY 1", keys.join(", "));
                assert_eq!(rows(&path, &sql), expected, "{list}: {attempt}");
            }
        }
    }
    let last =
        rows(&path, "SELECT number, is_last FROM attempts WHERE run_id = 'r' AND task_id = 'bad' ORDER BY number");
    assert_eq!(last, [json!([1, 0]), json!([2, 1])]);
    let inputs = "SELECT t.task_id, i.destination, i.from_path, f.task_id FROM inputs i JOIN attempts t USING \
                  (run_id, attempt_id) LEFT JOIN attempts f ON f.run_id = i.run_id AND f.attempt_id = i.from_attempt_id \
                  WHERE i.run_id = 's' ORDER BY 1";
    let expected = [json!(["make", "model.py", "scripts/model.py", null]), json!(["use", "a.txt", "a.txt", "make"])];
    assert_eq!(rows(&path, inputs), expected);
    let config = fs::read_to_string(world.run_dir("r").join("config.json")).expect("a configuration");
    assert_eq!(rows(&path, "SELECT text FROM configs WHERE run_id = 'r'"), [json!([config])]);
}

#[test]
fn values_in_documents_are_those_of_the_table() {
    let world = world();
    gathered(&world);
    let path = out(&world);
    let table = world.run(&["table", "r", "s", "--fields", "y.json", "--json"]).code(0).json();
    let mut expected = BTreeMap::new();
    for row in table.as_array().expect("rows") {
        let document = |name: &str| ["params.", "data.", "y."].iter().any(|first| name.starts_with(first));
        for (name, value) in
            row.as_object().expect("a row").iter().filter(|(name, value)| document(name) && !value.is_null())
        {
            let place = [&row["run"], &row["task"]].map(|of| of.as_str().expect("a name").to_owned());
            expected.insert((place, name.clone()), value.clone());
        }
    }
    assert!(expected.len() >= 14, "{expected:?}");
    let sql = "SELECT run_id, task_id, name, number, text FROM fields WHERE task_id <> ''";
    let mut found = BTreeMap::new();
    for row in rows(&path, sql) {
        let word = |at: usize| row[at].as_str().expect("a name").to_owned();
        let name = word(2);
        let value = match (&row[3], &row[4]) {
            (_, Value::String(text)) if ["y.all", "y.big"].contains(&name.as_str()) => {
                serde_json::from_str(text).expect("JSON")
            }
            (Value::Null, text) => text.clone(),
            (number, _) if name == "y.fit.good" => json!(*number == json!(1.0)),
            (number, _) => number.clone(),
        };
        found.insert(([word(0), word(1)], name), value);
    }
    let same = |a: &Value, b: &Value| a == b || (a.as_f64().is_some() && a.as_f64() == b.as_f64());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (place, value) in &found {
        assert!(same(value, &expected[place]), "{place:?}: {value} {}", expected[place]);
    }
    let big = rows(&path, "SELECT typeof(number), text FROM fields WHERE run_id = 'r' AND name = 'y.big'");
    assert_eq!(big, [json!(["real", "9007199254740993"])]);
    let result = rows(&path, "SELECT name, number FROM fields WHERE run_id = 's' AND task_id = '' ORDER BY 1");
    let status = world.run(&["status", "s", "--json"]).code(0).json();
    assert!(result.contains(&json!(["result.completed", 2.0])), "{result:?} {status}");

    // an output that is no longer as it was left has no values, and is named
    let rows_of = |name: &str| rows(&path, &format!("SELECT run_id FROM fields WHERE name = '{name}' ORDER BY 1"));
    let changed = &table.as_array().expect("rows").iter().find(|row| row["task"] == "use").expect("a task")["path"];
    fs::write(Path::new(changed.as_str().expect("a path")).join("y.json"), "{\"loss\": 9}").expect("a change");
    let done = world.run(&["query", "demo", "--out", "all.db"]).code(0);
    assert!(done.stderr.contains("`y.json` of task `use` in run `r` is not as it was left"), "{done:?}");
    assert_eq!(rows_of("y.loss"), [json!(["s"])]);
    assert_eq!(rows_of("params.x"), [json!(["r"]), json!(["s"])]);
}

#[test]
fn it_is_made_anew_to_the_same_bytes_and_takes_no_other_place() {
    let world = world();
    gathered(&world);
    let first = fs::read(out(&world)).expect("a database");
    gathered(&world);
    assert!(fs::read(out(&world)).expect("a database") == first, "the same runs are other bytes");
    world.run(&["note", "s", "changed"]).code(0);
    gathered(&world);
    assert_eq!(rows(&out(&world), "SELECT count(*) FROM acts WHERE verb = 'note'"), [json!([1])]);

    let beside = |name: &str| world.root().with_file_name(name);
    fs::write(beside("text"), "mine").expect("a file");
    fs::create_dir(beside("folder")).expect("a folder");
    std::os::unix::fs::symlink(beside("text"), beside("link")).expect("a link");
    fs::write(beside("empty"), "").expect("a file");
    let state = world.run_dir("r").join("state.sqlite").display().to_string();
    let before = fs::read(&state).expect("a store");
    for taken in ["text", "folder", "link", &state] {
        let done = world.run(&["query", "demo", "--out", taken]).code(2);
        assert!(done.stderr.contains("there is something else at") && done.stderr.contains("hint:"), "{done:?}");
    }
    assert_eq!(fs::read(beside("text")).expect("a file"), b"mine");
    assert!(fs::read(&state).expect("a store") == before);
    // SQLite would take it for the log of the run's database
    let log = format!("{state}-wal");
    let done = world.run(&["query", "demo", "--out", &log]).code(2);
    assert!(done.stderr.contains("lies in the run") && !Path::new(&log).exists(), "{done:?}");
    world.run(&["query", "demo", "--out", "empty"]).code(0);
    let done = world.run(&["query", "demo", "--out", "nowhere/all.db"]).code(74);
    assert!(done.stderr.contains("`nowhere/all.db` cannot be written"), "{done:?}");
    let done = world.run(&["query", "dem", "--out", "other.db"]).code(2);
    assert!(done.stderr.contains("did you mean `demo`?"), "{done:?}");
    let left: Vec<_> = fs::read_dir(world.root().with_file_name(""))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("part-") || name == "other.db")
        .collect();
    assert_eq!(left, [] as [&str; 0]);
}

#[test]
fn a_run_that_cannot_be_read_is_named_and_left_out() {
    let world = world();
    for run in ["newer", "torn", "none", "text"] {
        fs::create_dir_all(world.run_dir(run)).expect("a run");
        for file in ["config.json", "state.sqlite"] {
            fs::copy(world.run_dir("s").join(file), world.run_dir(run).join(file)).expect("a copy");
        }
    }
    let store = |run: &str| world.run_dir(run).join("state.sqlite");
    Connection::open(store("newer")).and_then(|store| store.pragma_update(None, "user_version", 99)).expect("newer");
    // rows of the run are there and copied before the damaged page is met
    let torn = Connection::open(store("torn")).expect("a store");
    let sql = "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_schema WHERE name = 'history'";
    let (page, size): (i64, i64) = torn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("a page");
    torn.pragma_update(None, "journal_mode", "delete").expect("no log");
    drop(torn);
    let (page, size) = (page as usize, size as usize);
    let mut bytes = fs::read(store("torn")).expect("a store");
    bytes[(page - 1) * size..page * size].fill(0xa5);
    fs::write(store("torn"), bytes).expect("a change");
    fs::remove_file(store("none")).expect("ours");
    fs::write(store("text"), "no database").expect("a file");
    let done = world.run(&["query", "demo", "--out", "all.db", "--json"]).code(0);
    let made = done.json();
    let named: Vec<&str> =
        made["left_out"].as_array().expect("a list").iter().filter_map(|one| one["run_id"].as_str()).collect();
    assert_eq!((&made["runs"], &named[..]), (&json!(2), &["newer", "none", "text", "torn"][..]), "{made}");
    let reasons = rows(&out(&world), "SELECT run_id, reason FROM left_out ORDER BY 1");
    for (row, word) in reasons.iter().zip(["schema version 99", "no state.sqlite", "damaged", "damaged"]) {
        assert!(row[1].as_str().is_some_and(|reason| reason.contains(word)), "{row}");
        let warned = format!("warning: run `{}` is left out", row[0].as_str().expect("a run"));
        assert!(done.stderr.contains(&warned), "{warned}: {done:?}");
    }
    let tables = rows(&out(&world), "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'left_out'");
    for table in tables.iter().filter_map(|row| row[0].as_str()) {
        let runs = rows(&out(&world), &format!("SELECT DISTINCT run_id FROM {table} WHERE run_id NOT IN ('r', 's')"));
        assert_eq!(runs, [] as [Value; 0], "{table}");
    }
}

#[test]
fn a_run_that_goes_on_is_there_as_it_stands() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "sleep 100"}]));
    world.init();
    world.run(&["step", "r"]).code(0);
    gathered(&world);
    let live = rows(&out(&world), "SELECT r.state, t.state, a.ended_at FROM runs r, tasks t, attempts a");
    assert_eq!(live, [json!(["active", "running", null])]);
    world.run(&["cancel", "r"]).code(0);
    world.step_to_end();
}

/// The tables of the page are those of the database, column by column, and its questions are answered.
#[test]
fn its_page_tells_every_table_and_its_questions_have_answers() {
    let world = world();
    gathered(&world);
    let path = out(&world);
    let row = |line: &str| -> Option<(String, Vec<String>)> {
        let cells: Vec<&str> = line.strip_prefix("| `")?.split(" | ").collect();
        let columns = cells.get(2)?.trim_end_matches(" |").split(", ").map(|name| name.trim_matches('`').to_owned());
        Some((cells[0].trim_end_matches('`').to_owned(), columns.collect()))
    };
    let told: BTreeMap<String, Vec<String>> = page(PAGE).lines().filter_map(row).collect();
    let there = rows(
        &path,
        "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type IN \
                             ('table', 'view') ORDER BY m.rowid, c.cid",
    );
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &there {
        let word = |at: usize| row[at].as_str().expect("a name").to_owned();
        tables.entry(word(0)).or_default().push(word(1));
    }
    assert_eq!(told, tables);
    assert!(page(PAGE).contains("`PRAGMA user_version` is 1"));
    assert_eq!(rows(&path, "PRAGMA user_version"), [json!([1])]);
    let questions: Vec<_> = blocks(PAGE).into_iter().filter(|block| block.language == "sql").collect();
    assert!(questions.len() >= 6, "{}", questions.len());
    for question in questions {
        assert!(!rows(&path, &question.text).is_empty(), "{}", question.text);
    }
}

/// What is read with pandas, where that is installed.
#[test]
#[ignore = "needs pandas: `cargo xtask test --slow`"]
fn its_page_reads_it_with_pandas() {
    let world = world();
    world.run(&["query", "demo", "--out", "screening.db"]).code(0);
    let block = blocks(PAGE).into_iter().find(|block| block.language == "python").expect("a block");
    let mut python = std::process::Command::new(crate::support::optimisers());
    let text = format!("{}\nprint(results.loc[('r', 'use'), 'y.loss'])\n", block.text);
    let done = python.args(["-c", &text]).current_dir(world.root().with_file_name("")).output().expect("python");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "0.25\n", "{done:?}");
}
