//! A bundle that cannot be written leaves the one before as it was.
use super::{NAMES, bundle, bytes, ended, evidence_dir, names, report};
use crate::cli::bad_input::in_mounts;
use crate::support::world::World;
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where a bundle is written before it is put in place.
fn aside(world: &World) -> PathBuf {
    evidence_dir(world).with_file_name(".evidence.evidence-part")
}

#[test]
fn what_lies_where_a_bundle_is_written_is_not_followed() {
    let world = ended();
    let mine = world.run_dir("r").join("mine");
    std::fs::create_dir(&mine).expect("a folder");
    std::fs::write(mine.join("thesis.txt"), "mine").expect("a file");
    std::os::unix::fs::symlink(&mine, aside(&world)).expect("a link");
    world.run(&["evidence", "r"]).code(74);
    assert_eq!(names(&mine), ["thesis.txt"]);
    std::fs::remove_file(aside(&world)).expect("a link");
    std::fs::write(aside(&world), "a file").expect("a file");
    world.run(&["evidence", "r"]).code(74);
    std::fs::remove_file(aside(&world)).expect("a file");
    let made = std::process::Command::new("mkfifo").arg(aside(&world)).status().expect("mkfifo");
    assert!(made.success());
    world.run(&["evidence", "r"]).code(74);
    std::fs::remove_file(aside(&world)).expect("a pipe");
    // names that people give are theirs
    for name in ["evidence.part", "evidence.old"] {
        std::fs::create_dir(evidence_dir(&world).with_file_name(name)).expect("a folder");
        std::fs::write(evidence_dir(&world).with_file_name(name).join("mine.txt"), "mine").expect("a file");
    }
    world.run(&["evidence", "r"]).code(0);
    world.run(&["evidence", "r"]).code(0);
    for name in ["evidence.part", "evidence.old"] {
        assert_eq!(names(&evidence_dir(&world).with_file_name(name)), ["mine.txt"]);
    }
    // nor is a link where a zip is written
    let part = world.root().with_file_name(".b.zip.evidence-zip");
    std::os::unix::fs::symlink(mine.join("thesis.txt"), &part).expect("a link");
    world.run(&["evidence", "r", "--archive", "b.zip"]).code(0);
    assert_eq!(std::fs::read_to_string(mine.join("thesis.txt")).expect("a file"), "mine");
    assert!(!part.is_symlink());
}

#[test]
fn a_copied_or_moved_run_gives_the_same_bundle_and_one_that_cannot_be_read_gives_none() {
    let world = ended();
    world.run(&["evidence", "r", "--out", "first"]).code(0);
    let here = |name: &str| world.root().with_file_name(name);
    let sums = || std::fs::read(here("bundle").join("manifest-sha256.txt")).expect("a manifest");
    let first = std::fs::read(here("first").join("manifest-sha256.txt")).expect("a manifest");
    let copied = |to: &str| {
        let to = here(to);
        let done = std::process::Command::new("cp").arg("-r").args([&world.run_dir("r"), &to]).status().expect("cp");
        assert!(done.success());
        to
    };
    copied("workspaces/demo/runs/copied");
    world.run(&["evidence", "copied", "--out", "bundle"]).code(0);
    assert!(sums() == first, "a copy is another run");
    copied("moved");
    world.run(&["evidence", "moved", "--out", "bundle"]).code(0);
    assert!(sums() == first, "a run that was moved is another");

    let newer = copied("newer");
    let store = rusqlite::Connection::open(newer.join("state.sqlite")).expect("the store");
    store.pragma_update(None, "user_version", 9999).expect("a version");
    drop(store);
    let done = world.run(&["evidence", "newer", "--out", "none"]).code(74);
    assert!(done.stderr.contains("has schema version 9999"), "{done:?}");

    // wherever the damage is, no bundle is made of what is left
    let whole = std::fs::read(world.run_dir("r").join("state.sqlite")).expect("the store");
    let damaged = copied("damaged");
    for page in (0..whole.len()).step_by(4096 * 8) {
        let mut bytes = whole.clone();
        bytes[page..(page + 2048).min(whole.len())].fill(0xff);
        std::fs::write(damaged.join("state.sqlite"), bytes).expect("the store");
        let done = world.run(&["evidence", "damaged", "--out", "none"]);
        match done.code {
            Some(74) => assert!(done.stderr.contains("damaged") || page == 0, "{done:?}"),
            // a page that holds nothing
            _ => {
                done.code(0);
                world.run(&["evidence", "damaged", "--out", "bundle"]).code(0);
                assert!(sums() == first, "damage at {page} is not told");
                std::fs::remove_dir_all(here("none")).expect("a bundle");
            }
        }
        assert!(!here("none").exists());
    }
}

#[test]
fn a_bundle_without_a_plugin_says_which_decisions_cannot_be_made_again() {
    let world = ended();
    let plugins = world.run_dir("r").join("plugins");
    let campaign = names(&plugins).into_iter().find(|name| name.starts_with("workflow-")).expect("the campaign");
    std::fs::remove_file(plugins.join(&campaign)).expect("a plugin");
    let done = world.run(&["evidence", "r", "--out", "bundle"]).code(0);
    assert!(done.stderr.contains(&format!("plugin `plugins/{campaign}` is missing")), "{done:?}");
    let done = world.run(&["evidence", "verify", "bundle"]).code(1);
    assert!(done.stdout.contains("replay: `state.sqlite` decision 1 cannot be made again"), "{done:?}");
    let done = world.run(&["replay", "bundle"]).code(1);
    assert!(done.stdout.contains(&campaign), "{done:?}");
}

#[test]
fn an_unwritable_directory_is_refused_and_nothing_is_left() {
    let world = ended();
    let done = world.run(&["evidence", "r", "--out", "/proc/evidence"]).code(74);
    assert!(done.stderr.contains("error: evidence cannot be written to `/proc/evidence`"), "{done:?}");
    assert_eq!(done.stdout, "");
    let done = world.run(&["evidence", "r", "--out", "workspaces/demo/config.json"]).code(2);
    assert!(done.stderr.contains("is not a directory"), "{done:?}");
    assert!(!evidence_dir(&world).exists());
    world.run(&["evidence", "nobody"]).code(2);
}

#[test]
fn a_full_or_read_only_disk_leaves_the_earlier_bundle() {
    let world = ended();
    let text = in_mounts(
        &world,
        "mkdir \"$R/disk\" && mount -t tmpfs -o size=16m none \"$R/disk\" || exit 1
         $M --workspaces \"$R\" evidence r --out \"$R/disk/out\" || exit 1
         cp -r \"$R/disk/out\" \"$R/before\"
         $M --workspaces \"$R\" evidence r --out \"$R/disk\"; echo \"a whole disk: $?\"
         dd if=/dev/zero of=\"$R/disk/fill\" bs=4k 2>/dev/null
         $M --workspaces \"$R\" evidence r --out \"$R/disk/out\"; echo \"full: $?\"
         $M --workspaces \"$R\" evidence r --out \"$R/disk/new/out\"; echo \"full, new directory: $?\"
         $M --workspaces \"$R\" evidence r --archive \"$R/disk/out.zip\"; echo \"full, archive: $?\"
         rm \"$R/disk/fill\"; diff -r \"$R/before\" \"$R/disk/out\" && echo \"as it was\"; ls -A \"$R/disk\"
         $M --workspaces \"$R\" evidence r >/dev/null || exit 1
         mount --bind \"$R\" \"$R\" && mount -o remount,bind,ro \"$R\" || exit 1
         $M --workspaces \"$R\" evidence r; echo \"read-only: $?\"
         $M --workspaces \"$R\" evidence r --out /tmp/evidence.$$ ; echo \"out of it: $?\"
         diff -r /tmp/evidence.$$ \"$R/demo/runs/r/evidence\" && echo \"the same\"; rm -r /tmp/evidence.$$",
    );
    let text = text.expect("user namespaces are needed for this test");
    let lines = [
        "a whole disk: 2",
        "full: 74",
        "full, new directory: 74",
        "full, archive: 74",
        "as it was",
        "read-only: 74",
        "out of it: 0",
        "the same",
    ];
    for line in lines {
        assert!(text.lines().any(|found| found == line), "`{line}` is missing: {text}");
    }
}

#[test]
fn a_kill_leaves_the_earlier_bundle_and_the_next_is_whole() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    world.init();
    world.run(&["evidence", "r"]).code(0);
    let directory = evidence_dir(&world);
    let before = bytes(&directory);
    world.run(&["loop", "r"]).code(0);
    for point in ["evidence.rows", "evidence.written"] {
        let done = world.run_with(&["evidence", "r"], &[("MATTERSTACK_FAILPOINT", point)]);
        assert_eq!(done.code, None, "{point} was not reached");
        assert_eq!(bytes(&directory), before, "{point}");
    }
    let done = world.run_with(&["evidence", "r"], &[("MATTERSTACK_FAILPOINT", "evidence.in-place")]);
    assert_eq!(done.code, None);
    assert!(report(&directory).contains("**The run is completed**"), "the new bundle is whole");
    world.run(&["evidence", "verify", &directory.display().to_string()]).code(0);
    assert!(aside(&world).exists(), "the earlier one is left");
    world.run(&["evidence", "r"]).code(0);
    assert!(!aside(&world).exists(), "what was left has been taken over");
    assert_eq!(names(&directory), NAMES);
    assert!(bundle(&directory).complete);
}

#[test]
fn one_writer_at_a_time() {
    let world = ended();
    world.run(&["evidence", "r"]).code(0);
    let before = bytes(&evidence_dir(&world));
    let part = aside(&world);
    std::fs::create_dir(&part).expect("a folder");
    let part = std::fs::File::open(part).expect("the folder");
    part.lock().expect("the lock");
    let done = world.run(&["evidence", "r"]).code(3);
    assert!(done.stderr.contains("another process writes evidence"), "{done:?}");
    drop(part);
    world.run(&["evidence", "r"]).code(0);
    assert_eq!(bytes(&evidence_dir(&world)), before);
}

#[test]
fn many_writers_leave_one_whole_bundle() {
    let world = ended();
    world.run(&["evidence", "r"]).code(0);
    let expected = bytes(&evidence_dir(&world));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let done = world.run(&["evidence", "r"]);
                    assert!(matches!(done.code, Some(0 | 3)), "{done:?}");
                    assert_eq!(bytes(&evidence_dir(&world)), expected);
                }
            });
        }
    });
    assert!(start.elapsed() < Duration::from_secs(60));
    world.run(&["evidence", "r"]).code(0);
    assert_eq!(names(&evidence_dir(&world)), NAMES);
    assert!(!aside(&world).exists());
}
