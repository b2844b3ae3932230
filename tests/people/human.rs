//! Questions to people, and their answers.
use super::{attempt, directory, record, waiting, waits_on, woken, world};
use crate::support::terminal::typed_into;
use crate::support::world::{Done, World};
use serde_json::{Value, json};
use std::process::Stdio;

fn question(more: &Value) -> Value {
    let mut input = json!({
        "instructions": "# Choose a dose\n\nBetween 1 and 5 mg.",
        "schema": {
            "type": "object", "required": ["dose"], "additionalProperties": false,
            "properties": {
                "dose": {"type": "number", "minimum": 1, "maximum": 5},
                "route": {"enum": ["oral", "nasal"], "title": "Route"},
                "approved": {"type": "boolean"},
                "comment": {"type": "string"},
            },
        },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        input[key] = value.clone();
    }
    input
}

/// A question, and a job that waits for its answer.
fn gate(more: &Value) -> World {
    let world = world(&json!([
        {"id": "choose dose", "operator": "human", "input": question(more)},
        {"id": "compute", "operator": "local", "command": "true", "depends_on": ["choose dose"]},
    ]));
    waiting(&world);
    world
}

fn respond<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    ["respond", "r", "choose dose"].into_iter().chain(rest.iter().copied()).collect()
}

fn answer(world: &World, rest: &[&str]) -> Done {
    world.run(&respond(rest))
}

#[test]
fn a_question_waits_for_a_person_and_says_how_to_answer() {
    let world = gate(&json!({}));
    let wait = waits_on(&world, "choose dose");
    assert_eq!((&wait["kind"], &wait["reason"]), (&json!("person"), &json!("Choose a dose")));
    assert_eq!(wait["hint"], "matterstack respond r 'choose dose'");
    assert_eq!(attempt(&world, "choose dose")["state"], "waiting_external");
    let explained = world.run(&["explain", "r", "choose dose", "--json"]).code(0).json();
    assert_eq!((&explained[0]["code"], &explained[0]["command"]), (&json!("person"), &wait["hint"]));
    world.run(&["loop", "r"]).code(5);
    let directory = directory(&world, "choose dose");
    let instructions = std::fs::read_to_string(directory.join("instructions.md")).expect("instructions");
    assert_eq!(instructions, "# Choose a dose\n\nBetween 1 and 5 mg.");
    let schema: Value =
        serde_json::from_slice(&std::fs::read(directory.join("schema.json")).expect("a schema")).expect("JSON");
    assert_eq!(schema, question(&json!({}))["schema"]);
}

#[test]
fn an_answer_lets_the_run_go_on_and_the_record_says_whose_it_is() {
    let world = gate(&json!({}));
    let told = answer(&world, &["--set", "dose=3", "--set", "comment=12", "--json"]).code(0).json();
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.tasks(), "choose dose=completed compute=completed");
    let (data, reason) = record(&world, "choose dose");
    assert_eq!(data["answer"], json!({"dose": 3, "comment": "12"}), "a text field takes a number as text");
    assert_eq!(data["sha256"], told["sha256"]);
    assert_eq!((&data["by"], &data["at"], &data["by_hand"]), (&told["by"], &told["at"], &json!(false)));
    assert_eq!(data["by"]["uid"], rustix::process::geteuid().as_raw());
    let who = format!("answered by {}@", data["by"]["user"].as_str().expect("a name"));
    assert!(reason.starts_with(&who) && reason.contains(data["at"].as_str().expect("a time")), "{reason}");
    let second = answer(&world, &["--set", "dose=4"]).code(2);
    assert!(second.stderr.contains(&reason), "the second is told who and when: {second:?}");
}

#[test]
fn an_answer_to_the_latest_run_says_why() {
    let world = gate(&json!({}));
    let told = world.run(&["respond", "choose dose", "--set", "dose=3", "--reason", "as in the pilot"]).code(0);
    assert!(told.stderr.contains("of run `r`"), "{told:?}");
    let long = "x".repeat(20_000);
    world.run(&["respond", "choose dose", "--set", "dose=3", "--reason", &long]).code(2);
    world.run(&["loop"]).code(0);
    world.run(&["evidence"]).code(0);
    let text = std::fs::read_to_string(world.run_dir("r").join("evidence/evidence.json")).expect("a bundle");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let act =
        all["acts"].as_array().expect("acts").iter().find(|act| act["verb"] == "respond").expect("an answer").clone();
    assert_eq!(act["reason"], "as in the pilot");
}

#[test]
fn an_answer_written_by_hand_counts_once_it_is_whole() {
    let world = gate(&json!({}));
    let place = directory(&world, "choose dose").join("response.json");
    std::fs::write(&place, "{\"dose\": 2, \"rou").expect("half an answer");
    for _ in 0..3 {
        world.run(&["step", "r"]).code(0);
        assert!(waits_on(&world, "choose dose")["reason"].as_str().expect("a reason").contains("cannot be read yet"));
    }
    std::fs::write(&place, "{\"dose\": 2, \"route\": \"oral\"}").expect("an answer");
    world.run(&["loop", "r"]).code(0);
    let (data, reason) = record(&world, "choose dose");
    assert_eq!((&data["answer"]["route"], &data["by_hand"]), (&json!("oral"), &json!(true)));
    assert_eq!(data["by"]["uid"], rustix::process::geteuid().as_raw(), "the owner of the file");
    assert!(reason.starts_with("answered by hand, by "), "{reason}");
}

#[test]
fn the_owner_of_a_file_written_by_hand_is_who_answered() {
    assert!(rustix::process::geteuid().is_root(), "only root can give a file to somebody else: run the suites as root");
    for (uid, name) in [(1, "daemon".to_owned()), (54_321, "54321".to_owned())] {
        let world = gate(&json!({}));
        let place = directory(&world, "choose dose").join("response.json");
        let aside = place.with_file_name(".being-written");
        std::fs::write(&aside, "{\"dose\": 2}").expect("an answer");
        std::os::unix::fs::chown(&aside, Some(uid), None).expect("root may");
        std::fs::rename(&aside, &place).expect("it is whole");
        let second = answer(&world, &["--set", "dose=3"]).code(2);
        assert!(second.stderr.contains(&format!("by hand, by {name}@")), "{second:?}");
        world.run(&["loop", "r"]).code(0);
        let (data, reason) = record(&world, "choose dose");
        assert_eq!(
            (&data["by"]["user"], &data["by"]["uid"], &data["by_hand"]),
            (&json!(name), &json!(uid), &json!(true))
        );
        assert!(reason.contains(&format!("(uid {uid}) at {}", data["at"].as_str().expect("a time"))), "{reason}");
    }
}

#[test]
fn a_question_that_says_who_may_answer_takes_nobody_elses_answer() {
    let world = gate(&json!({"approve": {"by": ["daemon", 54_321]}}));
    let refused = answer(&world, &["--set", "dose=3"]).code(2);
    assert!(refused.stderr.contains("only `daemon` or uid 54321 may answer"), "{refused:?}");
    let place = directory(&world, "choose dose").join("response.json");
    let give = |uid: u32, mode: u32| {
        let aside = place.with_file_name(".being-written");
        std::fs::write(&aside, "{\"dose\": 2}").expect("an answer");
        std::fs::set_permissions(&aside, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("ours");
        std::os::unix::fs::chown(&aside, Some(uid), None).expect("only root may: run the suites as root");
        std::fs::rename(&aside, &place).expect("it is whole");
    };
    for (count, (uid, mode, why)) in [
        (0, 0o644, "(uid 0) was set aside: only `daemon` or uid 54321 may answer"),
        (1234, 0o644, "(uid 1234) was set aside"),
        (1, 0o666, "others may write to its file"),
    ]
    .into_iter()
    .enumerate()
    {
        give(uid, mode);
        // a signature can say anything
        let digest = matterstack::model::document::sha256(b"{\"dose\": 2}");
        let by = json!({"user": "daemon", "uid": 1, "host": "h", "at": "2026-01-01T00:00:00.000Z", "sha256": digest});
        std::fs::write(place.with_file_name("response.by.json"), by.to_string()).expect("a signature");
        for _ in 0..2 {
            world.run(&["step", "r"]).code(0);
            let reason = waits_on(&world, "choose dose")["reason"].as_str().expect("a reason").to_owned();
            assert!(reason.starts_with("Choose a dose; an answer of ") && reason.contains(why), "{why}: {reason}");
        }
        let explained = world.run(&["explain", "r", "choose dose", "--json"]).code(0).json();
        assert!(explained[0]["sentence"].as_str().is_some_and(|text| text.contains(why)), "{explained}");
        assert!(!place.exists(), "it is set aside");
        let acts = world.evidence()["acts"].as_array().expect("acts").clone();
        let aside: Vec<&Value> = acts.iter().filter(|act| act["arguments"]["set_aside"].is_string()).collect();
        assert_eq!((aside.len(), &aside[count]["user_id"]), (count + 1, &json!(uid)), "{aside:?}");
    }
    let _ = std::fs::remove_file(place.with_file_name("response.by.json"));
    give(1, 0o644);
    world.run(&["loop", "r"]).code(0);
    let (data, reason) = record(&world, "choose dose");
    assert_eq!((&data["by"]["user"], &data["by"]["uid"]), (&json!("daemon"), &json!(1)));
    assert!(reason.starts_with("answered by hand, by daemon@"), "{reason}");
    // what was set aside is an act, and no answer
    let approvals = world.evidence()["approvals"].as_array().expect("approvals").clone();
    let told: Vec<_> = approvals.iter().map(|one| (&one["by"]["user_id"], &one["by_hand"], &one["state"])).collect();
    assert_eq!(told, [(&json!(1), &json!(true), &json!("answered"))], "{approvals:?}");
    world.is_sound("r");
}

#[test]
fn who_is_named_answers_as_anybody_and_a_question_that_names_nobody_is_refused() {
    let world = gate(&json!({"approve": {"by": [0]}, "deadline_s": 3600}));
    answer(&world, &["--set", "dose=3"]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(record(&world, "choose dose").0["by"]["uid"], 0);
    world.is_sound("r");
    for approve in [json!({"by": []}), json!({"by": [""]}), json!({}), json!({"by": ["pi"], "over": 1}), json!("pi")] {
        let task = json!({"id": "choose dose", "operator": "human", "input": question(&json!({"approve": approve}))});
        let refused = super::world(&json!([task]));
        refused.init();
        refused.run(&["step", "r"]).code(1);
        let explained = refused.run(&["explain", "r", "choose dose", "--json"]).code(0).json();
        assert_eq!(explained[0]["code"], "input", "{explained}");
    }
}

#[test]
fn an_invalid_answer_is_refused_or_set_aside_and_the_gate_stays_open() {
    let world = gate(&json!({}));
    for (rest, word) in [
        (vec!["--set", "dose=9"], "/dose"),
        (vec!["--set", "dose=3", "--set", "colour=red"], "colour"),
        (vec!["--approve"], "dose"),
        (vec!["--set", "dose=3", "--set", "route=rectal"], "/route"),
    ] {
        let refused = answer(&world, &rest).code(2);
        assert!(refused.stderr.contains(word) && refused.stderr.contains("not valid"), "{refused:?}");
    }
    let directory = directory(&world, "choose dose");
    assert!(!directory.join("response.json").exists() && !directory.join("response.invalid-1.json").exists());
    std::fs::write(directory.join("response.json"), "{\"dose\": 9}").expect("an answer");
    let second = answer(&world, &["--set", "dose=3"]).code(2);
    assert!(second.stderr.contains("by hand"), "{second:?}");
    world.run(&["step", "r"]).code(0);
    let note = std::fs::read_to_string(directory.join("response.invalid-1.txt")).expect("a note");
    assert!(note.contains("at `/dose`") && note.contains("still open"), "{note}");
    assert_eq!(std::fs::read_to_string(directory.join("response.invalid-1.json")).expect("kept"), "{\"dose\": 9}");
    assert!(waits_on(&world, "choose dose")["reason"].as_str().expect("a reason").contains("set aside"));
    answer(&world, &["--set", "dose=3"]).code(0);
    world.run(&["loop", "r"]).code(0);
}

#[test]
fn a_rejection_stops_what_depends_on_it() {
    let world = gate(&json!({}));
    answer(&world, &["--reject", "--set", "comment=too much"]).code(0);
    world.run(&["loop", "r"]).code(1);
    assert_eq!(world.tasks(), "choose dose=failed compute=skipped");
    let explained = world.run(&["explain", "r", "choose dose", "--json"]).code(0).json();
    assert_eq!(explained[0]["code"], "rejected");
    let (data, reason) = record(&world, "choose dose");
    assert_eq!(data["rejected"], true);
    assert!(reason.starts_with("rejected by ") && reason.ends_with("too much"), "{reason}");
}

#[test]
fn a_rejection_can_be_a_result() {
    let world = gate(&json!({"on_reject": "result"}));
    answer(&world, &["--reject"]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.tasks(), "choose dose=completed compute=completed");
    assert_eq!(record(&world, "choose dose").0["rejected"], true);
}

#[test]
fn of_people_who_answer_at_once_one_is_first_and_the_others_are_told() {
    let world = gate(&json!({}));
    let children: Vec<_> = (0..6)
        .map(|person| {
            let dose = format!("dose={}", 1.0 + f64::from(person) / 8.0);
            let words = respond(&["--set", &dose, "--json"]);
            let child = world.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a person");
            (dose, child)
        })
        .collect();
    let (mut first, mut told) = (Vec::new(), 0);
    for (dose, child) in children {
        let output = child.wait_with_output().expect("an end");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => first.push((dose, serde_json::from_slice::<Value>(&output.stdout).expect("JSON"))),
            Some(2) => {
                assert!(stderr.contains("answered already, by ") && stderr.contains(" (uid "), "{stderr}");
                told += 1;
            }
            other => panic!("{other:?} {stderr}"),
        }
    }
    assert_eq!((first.len(), told), (1, 5));
    world.run(&["loop", "r"]).code(0);
    let (data, _) = record(&world, "choose dose");
    assert_eq!(format!("dose={}", data["answer"]["dose"].as_f64().expect("a dose")), first[0].0);
    assert_eq!(data["sha256"], first[0].1["sha256"]);
}

#[test]
fn a_loop_that_waits_is_woken_by_an_answer() {
    for by_hand in [false, true] {
        let world = gate(&json!({}));
        let driver = world.waiting_loop(&["--wait"]);
        if by_hand {
            std::fs::write(directory(&world, "choose dose").join("response.json"), "{\"dose\": 2}").expect("an answer");
        } else {
            answer(&world, &["--set", "dose=2"]).code(0);
        }
        assert_eq!(woken(driver), Some(0));
    }
}

#[test]
fn a_cancelled_question_is_given_up_at_once() {
    let world = gate(&json!({}));
    world.run(&["cancel", "r"]).code(0);
    assert_eq!(world.step_to_end()["state"], "cancelled");
    let late = answer(&world, &["--set", "dose=2"]).code(2);
    assert!(late.stderr.contains("asks nobody any more"), "{late:?}");
}

#[test]
fn a_deadline_that_the_task_sets_passes() {
    let world = gate(&json!({"deadline_s": 0.2}));
    let end = world.step_to_end();
    assert_eq!(end["state"], "failed", "{end}");
    assert!(record(&world, "choose dose").1.contains("within 0.2 s"));
}

#[test]
fn only_a_question_can_be_answered() {
    let world = world(&json!([
        {"id": "kit", "operator": "kit", "command": "true"},
        {"id": "later", "operator": "human", "input": {"instructions": "Go on?"}, "depends_on": ["kit"]},
        {"id": "broken", "operator": "human", "input": {"instructions": "Go on?", "shema": {}}},
    ]));
    waiting(&world);
    for (task, word) in [("kit", "waits for `kit`"), ("later", "asks nobody yet"), ("nothing", "no task `nothing`")] {
        let refused = world.run(&["respond", "r", task, "--approve"]).code(2);
        assert!(refused.stderr.contains(word) && refused.stderr.contains("hint:"), "{refused:?}");
    }
    assert!(record(&world, "broken").1.contains("shema"), "the task's mistake is named");
    let ended = world.run(&["respond", "r", "broken", "--approve"]).code(2);
    assert!(ended.stderr.contains("asks no person: its operator is `human`"), "{ended:?}");
    let nobody = world.run(&["respond", "r", "kit"]).code(2);
    assert!(nobody.stderr.contains("kit export"), "{nobody:?}");
}

#[test]
fn in_a_script_an_answer_must_be_given() {
    let world = gate(&json!({}));
    let refused = answer(&world, &[]).code(2);
    assert!(refused.stderr.contains("nobody is at a terminal") && refused.stderr.contains("--file"), "{refused:?}");
    world.write("answer.json", "{\"dose\": 4}");
    let file = world.workspace().join("answer.json");
    answer(&world, &["--file", file.to_str().expect("UTF-8")]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(record(&world, "choose dose").0["answer"], json!({"dose": 4}));
}

#[test]
fn on_a_terminal_it_asks_field_by_field() {
    let world = gate(&json!({}));
    let typed = "approved= \ncomment=fine\ndose=much\nno number=30\nRoute=2\nno valid answer= \ncomment=\ndose=3\nRoute=oral\nGive this answer=y";
    let typed = typed.replace("= \n", "=\n");
    let (code, shown) = typed_into(&world, &typed, &["respond", "r", "choose dose"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("Between 1 and 5 mg.") && shown.contains("2: \"nasal\"") && shown.contains("/dose"),
        "{shown}"
    );
    world.run(&["loop", "r"]).code(0);
    assert_eq!(record(&world, "choose dose").0["answer"], json!({"dose": 3, "route": "oral"}));
}
