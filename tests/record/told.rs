//! What `replay` says where something is otherwise than recorded: of the plugin, of the machine, or in the record.
use super::histories::compiler;
use crate::support::guest;
use crate::support::view::{View, first_context};
use crate::support::world::{World, tasks_config};
use matterstack::backend::Backends;
use matterstack::model::document::sha256;
use matterstack::model::limit::PluginLimits;
use matterstack::plugin::{HostSettings, PluginHost, PluginSource, Plugins};
use matterstack::replay::{Replay, replay};
use matterstack::run::RunDir;
use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// A run whose campaign is the hostile guest, after its first plan.
fn hostile(limits: &Value) -> World {
    let mut config = tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "hostile.wasm", "params": {"mode": "", "again": true}});
    config["limits"] = json!({"plugin": limits});
    let world = World::new(&config);
    fs::copy(guest("hostile"), world.workspace().join("hostile.wasm")).expect("the guest");
    world.init();
    world.run(&["step", "r"]).code(0);
    world
}

/// Has the campaign asked in another mode.
fn asked(world: &World, mode: &str, more: &[&str]) {
    let mode = format!("campaign.params.mode=\"{mode}\"");
    world.run(&[&["amend", "r", "config", &mode], more].concat()).code(0);
    world.run(&["resume", "r"]);
    world.run(&["step", "r"]).code(0);
}

fn count(found: &Value, key: &str) -> u64 {
    found[key].as_u64().expect("a count")
}

/// Address space in which no memory is reserved whole, in KiB, so that plugins have other native code.
const TIGHT_KB: u32 = 4_000_000;

#[test]
fn what_the_machine_decides_is_not_laid_to_the_plugin() {
    let world = hostile(&json!({"plan_ms": 300, "memory_mb": 400}));
    // reads that are refused by their form and by the run, in turns
    asked(&world, "odd-reads", &[]);
    // an endless recursion ends somewhat sooner or later in other native code
    asked(&world, "deep", &["limits.plugin.plan_ms=100000"]);
    let found = world.run(&["replay", "r", "--json"]).code(0).json();
    let made = count(&found, "agreed");
    assert_eq!(world.limited(TIGHT_KB, &["replay", "r", "--json"]).code(0).json(), found);
    // what passed its deadline might have answered on a faster machine: nobody can say
    asked(&world, "loop", &["limits.plugin.plan_ms=300"]);
    let found = world.run(&["replay", "r", "--json"]).code(0).json();
    assert_eq!((count(&found, "agreed"), count(&found, "left_out")), (made, 1), "{found}");
    let told = world.run(&["replay", "r"]).code(0).stderr;
    assert!(told.contains("1 decision(s) had no answer when their time was over (`limits.plugin.plan_ms`)"), "{told}");
    // a machine that has less memory than a decision had cannot make it again, and says so
    asked(&world, "memory", &["limits.plugin.plan_ms=100000"]);
    world.run(&["replay", "r"]).code(0);
    let starved = world.limited(600_000, &["replay", "r"]).code(74);
    assert!(starved.stderr.contains("memory") && starved.stderr.contains("`ulimit -a`"), "{starved:?}");
    assert!(!starved.stdout.contains("comes out otherwise"), "{starved:?}");
}

/// The most calls into which the hostile guest may go here before its stack is used up.
fn deepest() -> u64 {
    struct Nothing;
    impl matterstack::plugin::Artifacts for Nothing {
        fn read(&self, _: &str, _: u64, _: u32) -> Result<Vec<u8>, matterstack::model::contract::GuestError> {
            unreachable!("it reads nothing")
        }
    }
    impl matterstack::plugin::PluginLog for Nothing {
        fn write(&self, _: &matterstack::plugin::LogEntry<'_>) -> usize {
            0
        }
    }
    let mut host = PluginHost::new(HostSettings {
        compiler: compiler(&matterstack::model::limit::CompileLimits::default()),
        compute: Arc::new(Backends::new(Path::new("/nowhere"))),
        backends: Vec::new(),
        artifacts: Arc::new(Nothing),
        log: Arc::new(Nothing),
        limits: PluginLimits::default(),
    });
    let path = guest("hostile");
    let digest = sha256(&fs::read(&path).expect("the guest"));
    host.set_campaign(PluginSource { name: "hostile".to_owned(), path, sha256: digest, script: None });
    let answers = |depth: u64| {
        let view = View::of(&json!({"mode": "deep", "depth": depth}));
        host.plan(&first_context(view, 0), None).value.is_ok()
    };
    let (mut answered, mut trapped) = (0, 1 << 24);
    while trapped - answered > 1 {
        let middle = (answered + trapped) / 2;
        *(if answers(middle) { &mut answered } else { &mut trapped }) = middle;
    }
    answered
}

/// The fuel that a plan of a depth without end has used before it trapped.
fn spent(world: &World) -> i64 {
    let store = Connection::open(world.run_dir("r").join("state.sqlite")).expect("the database");
    let sql = "SELECT fuel FROM decisions WHERE error LIKE '%call stack exhausted%' LIMIT 1";
    store.query_row(sql, [], |row| row.get(0)).expect("a decision")
}

/// There is no chance in the sandbox. What is left is the depth to which calls may go, which the native code decides: a
/// plugin that needs just as much answers in one place and traps in another.
#[test]
fn a_plugin_that_decides_otherwise_elsewhere_is_named() {
    let world = hostile(&json!({}));
    let deepest = deepest();
    for depth in [deepest, deepest + 1, 1 << 30] {
        asked(&world, "deep", &[&format!("campaign.params.depth={depth}")]);
    }
    assert_eq!(count(&world.run(&["replay", "r", "--json"]).code(0).json(), "differing"), 0);
    let tight = hostile(&json!({}));
    let mode = ["amend", "r", "config", "campaign.params.mode=deep", "campaign.params.depth=1073741824"];
    tight.run(&mode).code(0);
    tight.limited(TIGHT_KB, &["step", "r"]).code(0);
    let done = world.limited(TIGHT_KB, &["replay", "r", "--json"]);
    // where the two go down equally far, nothing differs
    if spent(&tight) == spent(&world) {
        done.code(0);
        return;
    }
    let first = done.code(1).json()["first"].clone();
    let plugin = sha256(&fs::read(guest("hostile")).expect("the guest"));
    assert_eq!((&first["aspect"], &first["plugin_sha256"]), (&json!("outcome"), &json!(plugin)), "{first}");
    let both = format!("{} {}", first["recorded"], first["replayed"]);
    assert!(both.contains("answered") && both.contains("call stack exhausted"), "{first}");
}

/// What a replay goes by, table by table.
const TABLES: [&str; 9] = [
    "configs",
    "decision_open_tasks",
    "decision_reads",
    "decision_refusals",
    "decision_writes",
    "decisions",
    "engines",
    // that of an operator decides nothing
    "plugins WHERE name = 'loop.wasm'",
    "states",
];

/// What it does not go by: how often something was tried, how large something is, what a person calls it, by which
/// command it came, and the place of what has no other beside it.
const BESIDE: [&str; 10] = [
    "configs.act",
    "configs.size",
    "decision_open_tasks.seq",
    "decisions.try",
    "plugins.act",
    "plugins.name",
    "plugins.plugin",
    "plugins.size",
    "states.depth",
    "states.size",
];

/// The same with one byte, or one number, otherwise; nothing for what has none.
fn otherwise(cell: Cell) -> Option<Cell> {
    let flip = |mut bytes: Vec<u8>| {
        let middle = bytes.len() / 2;
        *bytes.get_mut(middle)? ^= 1;
        Some(bytes)
    };
    match cell {
        Cell::Null => None,
        Cell::Real(number) => Some(Cell::Real(number + 1.0)),
        Cell::Integer(number) => Some(Cell::Integer(number ^ 1)),
        Cell::Text(text) => String::from_utf8(flip(text.into_bytes())?).ok().map(Cell::Text),
        Cell::Blob(bytes) => flip(bytes).map(Cell::Blob),
    }
}

/// Changes the cells of what a replay goes by, each by one byte: of every column the first row, one in the middle and
/// the last. Returns those of which a replay tells nothing, and how many it told.
fn untold(world: &World, tables: &[&str]) -> (Vec<String>, usize) {
    let (dir, database) = (world.run_dir("r"), world.run_dir("r").join("state.sqlite"));
    let open = || Connection::open(&database).expect("the database");
    open().execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE").expect("one file");
    let kept = fs::read(&database).expect("the database");
    let again = || replay(&RunDir::new(&dir), &compiler);
    let agrees = |found: &Replay| found.first.is_none() && found.other_engine == 0;
    assert!(again().is_ok_and(|found| agrees(&found) && found.decisions > 2));
    let (mut silent, mut told) = (Vec::new(), 0);
    for table in tables {
        let name = table.split(' ').next().expect("a name");
        let columns: Vec<String> = {
            let store = open();
            let mut names = store.prepare(&format!("SELECT name FROM pragma_table_info('{name}')")).expect("a query");
            names.query_map([], |row| row.get(0)).expect("names").collect::<Result<_, _>>().expect("names")
        };
        let rows: i64 = open().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("rows");
        assert!(rows > 0, "{table} is empty");
        for column in &columns {
            let mut places = vec![0, rows / 2, rows - 1];
            places.dedup();
            for place in places {
                let store = open();
                store
                    .execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON")
                    .expect("laxness");
                let keys = if table.starts_with("decision_") { columns[..2].join(", ") } else { "rowid".to_owned() };
                let at = format!("FROM {table} ORDER BY {keys} LIMIT 1 OFFSET {place}");
                let cell: Cell =
                    store.query_row(&format!("SELECT {column} {at}"), [], |row| row.get(0)).expect("a cell");
                let Some(other) = otherwise(cell) else { continue };
                let place =
                    if name.starts_with("decision") { format!("(SELECT decision {at})") } else { "0".to_owned() };
                let sql = format!("SELECT number FROM decisions WHERE decision = {place}");
                let number: Option<i64> = store.query_row(&sql, [], |row| row.get(0)).ok();
                let sql = format!("UPDATE {name} SET {column} = ?1 WHERE ({keys}) = (SELECT {keys} {at})");
                // what a key forbids is no change
                if store.execute(&sql, [other]).is_ok_and(|changed| changed == 1) {
                    drop(store);
                    match again() {
                        Ok(found) if agrees(&found) => silent.push(format!("{name}.{column}")),
                        Ok(found) => {
                            told += 1;
                            let which = found.first.as_ref().map(|first| first.decision as i64);
                            let same = which.is_none() || number.is_none() || which == number;
                            assert!(same || column == "number" || column == "decision", "{name}.{column}: {found:?}");
                        }
                        Err(failure) => {
                            told += 1;
                            let text = failure.to_string();
                            assert!(
                                text.contains("of the decisions of run") || name == "engines",
                                "{name}.{column}: {text}"
                            );
                        }
                    }
                }
                fs::write(&database, &kept).expect("as it was");
            }
        }
    }
    silent.sort_unstable();
    silent.dedup();
    (silent, told)
}

#[test]
fn a_changed_byte_anywhere_in_what_a_replay_goes_by_is_told() {
    let params = json!({"lo": 0, "hi": 1003, "target": 613, "iterations": 1, "watch": true, "ask": true});
    let mut config = tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "loop.wasm", "params": params, "seed": 42,
        "inputs": {"start": "start.json"}, "analyze": "each-result"});
    let world = World::new(&config);
    fs::copy(guest("loop-rust"), world.workspace().join("loop.wasm")).expect("the guest");
    world.write("start.json", r#"{"label": "one", "numbers": [1], "signs": {}}"#);
    world.init();
    world.run(&["loop", "r"]);
    world.run(&["amend", "r", "config", "limits.max_active=3"]).code(0);
    world.run(&["resume", "r", "--set", "n=1"]).code(0);
    world.run(&["loop", "r"]).code(0);
    let tables: Vec<&str> = TABLES.into_iter().filter(|table| *table != "decision_refusals").collect();
    let (silent, told) = untold(&world, &tables);
    assert_eq!(silent, BESIDE);
    assert!(told > 70, "{told}");
    let world = hostile(&json!({}));
    asked(&world, "odd-reads", &[]);
    asked(&world, "error", &[]);
    let (silent, _) = untold(&world, &["decision_refusals", "decisions"]);
    assert_eq!(silent, ["decisions.try"]);
}
