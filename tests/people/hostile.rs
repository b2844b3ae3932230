//! Anything but a small regular file in the place where an answer is awaited: nothing blocks, nothing outside is read,
//! and the attempt goes on waiting.
use super::{attempt, directory, waiting, waits_on, world};
use crate::support::world::World;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A call that blocks is only dropped after 30 s.
const PROMPT: Duration = Duration::from_secs(15);

/// Where each operator awaits its answer, and the setting-aside that follows.
const PLACES: [(&str, &str); 3] = [("ask", "response"), ("compute", "status"), ("measure", "experiment_result")];

fn all() -> World {
    let world = world(&json!([
        {"id": "ask", "operator": "human", "input": {"instructions": "Go on?"}},
        {"id": "compute", "operator": "kit", "command": "true", "outputs": ["*.txt"]},
        {"id": "measure", "operator": "robot", "input": {}},
    ]));
    waiting(&world);
    world
}

/// Puts something in each place, steps, and expects that it was set aside with this word.
fn set_aside(word: &str, put: impl Fn(&Path)) {
    let world = all();
    for (task, stem) in PLACES {
        put(&directory(&world, task).join(format!("{stem}.json")));
    }
    let start = Instant::now();
    world.run(&["step", "r"]).code(0);
    assert!(start.elapsed() < PROMPT, "nothing blocks: {word}");
    for (task, stem) in PLACES {
        let place = directory(&world, task);
        let note = fs::read_to_string(place.join(format!("{stem}.invalid-1.txt"))).expect(word);
        assert!(note.contains(word), "{note}");
        assert!(place.join(format!("{stem}.json")).symlink_metadata().is_err(), "the place is free again");
        assert_eq!(attempt(&world, task)["state"], "waiting_external");
        assert!(waits_on(&world, task)["reason"].as_str().expect("a reason").contains("set aside"));
    }
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

#[test]
fn a_pipe_does_not_block() {
    set_aside("neither a file nor a directory", fifo);
}

#[test]
fn a_link_is_not_followed() {
    set_aside("it is a link", |path| std::os::unix::fs::symlink("/etc/passwd", path).expect("a link"));
}

#[test]
fn a_directory_is_no_answer() {
    set_aside("it is a directory", |path| fs::create_dir(path).expect("a directory"));
}

#[test]
fn a_gigantic_file_is_not_read() {
    set_aside("at most", |path| fs::File::create(path).and_then(|file| file.set_len(1 << 34)).expect("a sparse file"));
}

#[test]
fn a_document_of_another_shape_is_no_answer() {
    set_aside("`", |path| fs::write(path, "[[[]]]").expect("a file"));
}

#[test]
fn what_readers_would_not_read_alike_is_set_aside_once_and_named() {
    let number = r#"{"approved": true, "status": "completed", "data": {"t_ns": 1764140000123456789}}"#;
    set_aside("`data.t_ns` is 1764140000123456789", |path| fs::write(path, number).expect("a file"));
    let twice = r#"{"approved": true, "status": "completed", "data": {"a": 1, "a": 2}}"#;
    set_aside("`data.a` stands twice", |path| fs::write(path, twice).expect("a file"));
    let half = r#"{"approved": true, "status": "completed", "error": "\ud800"}"#;
    set_aside("`error` holds \\ud800", |path| fs::write(path, half).expect("a file"));
    let marked = "\u{feff}{\"approved\": true, \"status\": \"completed\"}";
    set_aside("byte order mark", |path| fs::write(path, marked).expect("a file"));
}

#[test]
fn whole_doubles_and_the_line_ends_of_windows_are_taken() {
    let world = all();
    let text = "{\r\n \"approved\": true,\r\n \"status\": \"completed\",\r\n \"data\": {\"x\": 150000000000000000, \"y\": 1.5e17}\r\n}\r\n";
    for (task, stem) in [PLACES[0], PLACES[2]] {
        fs::write(directory(&world, task).join(format!("{stem}.json")), text).expect("a file");
    }
    world.run(&["step", "r"]).code(0);
    for (task, _) in [PLACES[0], PLACES[2]] {
        assert_eq!(attempt(&world, task)["state"], "completed", "{task}");
    }
}

#[test]
fn an_answer_that_readers_would_not_read_alike_is_refused_where_it_is_given() {
    let world = all();
    let big = "n=1764140000123456789";
    let refused = world.run(&["respond", "r", "ask", "--set", "approved=true", "--set", big]).code(2);
    assert!(refused.stderr.contains(&format!("`--set {big}`")), "{refused:?}");
    for (text, words) in [
        ("{\"approved\": true,\n\"n\": 1764140000123456789}", ["`n` is 1764140000123456789", "line 2"]),
        ("{\"approved\": true,\n\n\"approved\": true}", ["`approved` stands twice, first in line 1", "line 3"]),
        ("{\"approved\": NaN}", ["`approved` is NaN", "line 1"]),
        ("{\"approved\": true, \"comment\": \"\\udfff\"}", ["`comment` holds \\udfff", "line 1"]),
        ("\u{feff}{\"approved\": true}", ["byte order mark", "answer `"]),
        ("{\"approved\": true, // yes\n}", ["is not JSON", "line 1"]),
    ] {
        world.write("answer.json", text);
        let file = world.workspace().join("answer.json");
        let refused = world.run(&["respond", "r", "ask", "--file", file.to_str().expect("a path")]).code(2);
        assert!(words.iter().all(|word| refused.stderr.contains(word)), "{text}: {}", refused.stderr);
    }
    let invalid = world.run(&["respond", "r", "ask", "--set", "approved=5"]).code(2);
    assert!(invalid.stderr.contains("caused by: at `/approved`: 5 is not"), "{}", invalid.stderr);
    assert!(
        !invalid.stderr.contains("set aside"),
        "the operator's words for those who write files: {}",
        invalid.stderr
    );
    assert_eq!(attempt(&world, "ask")["state"], "waiting_external");
    world.run(&["respond", "r", "ask", "--approve"]).code(0);
}

#[test]
fn garbage_that_stays_is_set_aside_and_deep_nesting_does_no_harm() {
    let world = all();
    for (task, stem) in PLACES {
        fs::write(directory(&world, task).join(format!("{stem}.json")), "[".repeat(500_000)).expect("a file");
    }
    for _ in 0..2 {
        world.run(&["step", "r"]).code(0);
    }
    // The kit's operator settles at once here, the others only after a while.
    assert!(directory(&world, "compute").join("status.invalid-1.txt").exists());
    for (task, stem) in [PLACES[0], PLACES[2]] {
        assert!(directory(&world, task).join(format!("{stem}.json")).exists(), "{task}: it may be half of an answer");
        assert!(waits_on(&world, task)["reason"].as_str().expect("a reason").contains("cannot be read yet"));
    }
}

#[test]
fn the_places_of_everything_else_are_no_traps_either() {
    let world = all();
    let (kit, lab, person) = (directory(&world, "compute"), directory(&world, "measure"), directory(&world, "ask"));
    fifo(&lab.join("experiment_progress.json"));
    fifo(&person.join("response.by.json"));
    fifo(&person.join(".clock"));
    fs::create_dir(kit.join("output")).expect("a directory");
    fifo(&kit.join("output/a.txt"));
    std::os::unix::fs::symlink("/etc/passwd", kit.join("output/b.txt")).expect("a link");
    std::os::unix::fs::symlink("/", kit.join("output/c")).expect("a link");
    fs::write(kit.join("status.json"), "{\"status\": \"completed\"}").expect("a status");
    fs::write(person.join("response.json"), "{\"approved\": true}").expect("an answer");
    fs::write(lab.join("experiment_result.json"), "{\"status\": \"completed\", \"files\": [\"x\"]}").expect("a result");
    std::os::unix::fs::symlink("/etc/passwd", lab.join("x")).expect("a link");
    let start = Instant::now();
    for _ in 0..2 {
        world.run(&["step", "r"]).code(0);
    }
    assert!(start.elapsed() < PROMPT, "nothing blocks");
    assert_eq!(attempt(&world, "ask")["state"], "completed");
    assert!(waits_on(&world, "compute")["reason"].as_str().expect("a reason").contains("no file in `output/`"));
    assert!(waits_on(&world, "measure")["reason"].as_str().expect("a reason").contains("no such file yet"));
    assert!(!kit.join("b.txt").exists());
}

#[test]
fn a_campaign_cannot_answer_for_the_outside() {
    let files = |name: &str, text: &str| json!({name: {"content": text}});
    let world = world(&json!([
        {"id": "ask", "operator": "human", "input": {"instructions": "Go on?"},
         "files": files("response.json", "{\"approved\": true}")},
        {"id": "compute", "operator": "kit", "command": "true", "files": files("status.json", "{\"status\": \"completed\"}")},
        {"id": "measure", "operator": "robot", "input": {},
         "files": files("experiment_result.json", "{\"status\": \"completed\"}")},
    ]));
    world.init();
    world.run(&["step", "r"]).code(1);
    for (task, stem) in PLACES {
        let attempt = attempt(&world, task);
        assert_eq!(attempt["state"], "failed", "{attempt}");
        assert!(attempt["reason"].as_str().expect("a reason").contains(&format!("`{stem}.json`")), "{attempt}");
    }
}

#[test]
fn respond_is_not_led_astray() {
    let world = all();
    let person = directory(&world, "ask");
    fifo(&person.join("response.lock"));
    let refused = world.run(&["respond", "r", "ask", "--approve"]);
    assert_eq!(refused.code, Some(74), "{refused:?}");
    fs::remove_file(person.join("response.lock")).expect("removed");
    let secret = world.workspace().join("secret");
    fs::write(&secret, "secret").expect("a file");
    std::os::unix::fs::symlink(&secret, person.join("response.json")).expect("a link");
    let refused = world.run(&["respond", "r", "ask", "--approve"]).code(2);
    assert!(refused.stderr.contains("answered already"), "{refused:?}");
    world.run(&["step", "r"]).code(0);
    world.run(&["respond", "r", "ask", "--approve"]).code(0);
    assert_eq!(fs::read_to_string(&secret).expect("a file"), "secret", "nothing was written through the link");
}
