//! `run`: from nothing to results in one line.
use crate::support::world::World;
use serde_json::json;
use std::fs;

#[test]
fn a_command_becomes_a_run_with_the_files_that_it_names() {
    let world = World::with_tasks(&json!([]));
    let here = world.root().join("..");
    fs::create_dir(here.join("code")).expect("a directory");
    fs::write(here.join("code/sim.sh"), "cat data.txt || exit 1; echo \"$1\" > out.dat").expect("a script");
    fs::write(here.join("data.txt"), "seven\n").expect("a file");
    let without = world.run(&["run", "--", "sh", "code/sim.sh"]).code(1);
    assert!(without.stderr.contains("`code/sim.sh` goes with the command"), "{without:?}");
    assert!(without.stderr.contains("data.txt: No such file"), "what it complained of is passed on: {without:?}");
    let given = ["run", "--file", "data.txt", "--output", "*.dat", "--label", "once", "--", "sh", "code/sim.sh", "x"];
    fs::write(here.join("code/sim.sh"), "cat data.txt; echo \"$1\" > out.dat; ls").expect("a script");
    let done = world.run(&given).code(0);
    assert!(done.stdout.ends_with("seven\ncode\ndata.txt\nout.dat\nstderr\nstdout\n"), "{done:?}");
    let list = world.run(&["list", "--label", "once", "--json"]).code(0).json();
    assert_eq!(list[0]["workspace"], "run-sim-2", "{list}");
    // the same again is a further run there, with the files as they are now
    fs::write(here.join("data.txt"), "eight\n").expect("a file");
    assert!(world.run(&given).code(0).stdout.starts_with("eight\n"));
    let list = world.run(&["list", "run-sim-2", "--json"]).code(0).json();
    assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
    // a program of one's own goes along too, and may be executed there
    fs::write(here.join("own"), "#!/bin/sh\necho mine $1\n").expect("a program");
    fs::set_permissions(here.join("own"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let own = world.run(&["run", "--", "./own", "./code/sim.sh"]).code(0);
    assert_eq!(own.stdout, "mine ./code/sim.sh\n");
    let wrong = world.run(&["run", "--file", "../x", "--", "true"]).code(2);
    assert!(wrong.stderr.contains("`../x` is no file below"), "{wrong:?}");
    let wrong = world.run(&["run", "demo", "--", "true"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

#[test]
fn a_command_is_run_for_every_row_of_a_table_as_spreadsheets_write_them() {
    let world = World::with_tasks(&json!([]));
    let here = world.root().join("..");
    fs::write(here.join("rows.csv"), "\u{feff}T;name\r\n1,5;a b\r\n1,5;a b\r\n-2;c\r\n").expect("a table");
    let done = world.run(&["run", "--each", "rows.csv", "--", "echo", "{T}", "<{name}>"]).code(0);
    assert!(done.stderr.contains("3 numbers") || done.stderr.contains("2 numbers have a decimal comma"), "{done:?}");
    assert!(done.stderr.contains("a column `row` numbers them"), "{done:?}");
    assert_eq!(done.stdout.lines().count(), 4, "{done:?}");
    assert!(done.stdout.contains("PARAMS.T") && done.stdout.contains("PARAMS.NAME"), "{done:?}");
    let first = world.run(&["list", "--json"]).code(0).json()[0]["run_id"].as_str().expect("a run").to_owned();
    let printed = world.run(&["logs", &first, "T=-2,name=c,row=3"]).code(0);
    assert_eq!(printed.stdout, "-2 <c>\n");
    for (table, words) in [("x\n", "no rows"), ("x,y\n1\n", "fields"), ("a-b\n1\n", "`a-b` is no name")] {
        fs::write(here.join("wrong.csv"), table).expect("a table");
        let wrong = world.run(&["run", "--each", "wrong.csv", "--", "echo"]).code(2);
        assert!(wrong.stderr.contains(words), "{wrong:?}");
    }
    let missing = world.run(&["run", "--each", "none.csv", "--", "echo"]).code(2);
    assert!(missing.stderr.contains("none.csv"), "{missing:?}");
}

#[test]
fn a_workspace_is_made_and_ticked_in_one() {
    let world = World::with_tasks(&json!([{"id": "a", "command": "true"}]));
    let done = world.run(&["run", "demo", "--set", "limits.max_active=1"]).code(0);
    assert!(done.stderr.contains("matterstack table"), "{done:?}");
    let waits = World::with_tasks(&json!([{"id": "a", "command": "sleep 60"}]));
    waits.run(&["run", "demo", "--timeout", "0.2s"]).code(6);
    waits.run(&["cancel", "latest"]).code(0);
}
