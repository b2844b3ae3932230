//! What the record costs on the disk.
use crate::support::world::World;
use serde_json::{Value, json};

/// Bytes that a task with one staged file and one output may take.
const PER_TASK: u64 = 1_900;
/// Tasks of the run that is compared with one of a few.
const TASKS: u64 = 600;
const FEW: u64 = 100;

/// A run of so many tasks, at its end, and the size of its database in bytes.
fn ended(count: u64) -> (World, u64) {
    let task = |n: u64| {
        json!({"id": format!("relax-{n:04}"), "operator": "local", "command": ["sh", "run.sh"],
               "files": {"run.sh": {"path": "scripts/run.sh"}}, "outputs": ["result.json"]})
    };
    let world = World::with_tasks(&Value::Array((0..count).map(task).collect()));
    world.write("scripts/run.sh", "echo \"{\\\"energy\\\": $$}\" > result.json\n");
    world.init();
    world.run(&["loop", "r"]).code(0);
    let database = world.run_dir("r").join("state.sqlite");
    let connection = rusqlite::Connection::open(&database).expect("the database");
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("one file");
    let size = std::fs::metadata(&database).expect("a size").len();
    (world, size)
}

#[test]
fn a_task_with_a_file_and_an_output_takes_little_room() {
    let (_, few) = ended(FEW);
    let (world, many) = ended(TASKS);
    let per_task = (many - few) / (TASKS - FEW);
    println!("{per_task} bytes a task with one staged file and one output");
    assert!(per_task <= PER_TASK, "{per_task} bytes a task");
    // and it is all there: what each attempt consumed and left, when and where it ran
    let database = world.run_dir("r").join("state.sqlite");
    let connection = rusqlite::Connection::open(&database).expect("the database");
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count") as u64;
    assert_eq!(count("SELECT count(*) FROM attempt_inputs WHERE from_path = 'scripts/run.sh'"), TASKS);
    assert_eq!(count("SELECT count(*) FROM outputs"), TASKS);
    assert_eq!(count("SELECT count(*) FROM logs WHERE kind = 'exit'"), TASKS);
    assert_eq!(count("SELECT count(*) FROM logs WHERE kind <> 'exit'"), 0, "empty logs have no row");
    assert_eq!(count("SELECT count(*) FROM attempts WHERE started_ms IS NOT NULL AND stopped_ms >= started_ms"), TASKS);
    assert_eq!(count("SELECT count(*) FROM attempts WHERE host IS NOT NULL AND environment IS NOT NULL"), TASKS);
}
