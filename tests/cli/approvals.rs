//! The words of people on tasks that wait for approval, in a directory where everybody may put files.
use super::rules::{acts, as_user, asks, explained};
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, chown};

/// Somebody who is named nowhere.
const STRANGER: u32 = 65_534;

#[test]
fn the_word_of_a_stranger_is_set_aside_and_said_and_the_task_waits_on() {
    let world = asks(&json!([1]));
    as_user(&world, 1, &["respond", "r", "big", "--approve"]).code(0);
    let place = world.run_dir("r").join("approvals");
    let file = std::fs::read_dir(&place).expect("approvals").flatten().next().expect("a word").path();
    let text = std::fs::read_to_string(&file).expect("a word");
    // the same text in a file of somebody else's, under the name that the other had, with a name of its own, forged
    for (name, content, owner, mode, word) in [
        (file.clone(), text.clone(), STRANGER, 0o644, "only uid 1 may"),
        (
            file.with_file_name(file.file_name().expect("a name").to_string_lossy().replace("-1.", "-9.")),
            text.clone(),
            0,
            0o644,
            "only uid 1 may",
        ),
        (file.clone(), text.clone(), 1, 0o666, "others may write to its file"),
        (file.clone(), text.replace("\"sha256\":\"", "\"sha256\":\"0"), 1, 0o644, "about something else"),
        (file.clone(), "{}".to_owned(), 1, 0o644, "it is no approval"),
    ] {
        let _ = std::fs::remove_file(&file);
        std::fs::write(&name, content).expect("a file");
        std::fs::set_permissions(&name, PermissionsExt::from_mode(mode)).expect("ours");
        chown(&name, Some(owner), None).expect("only root can give a file away: run the suites as root");
        world.run(&["step", "r"]).code(0);
        let (code, sentence, _) = explained(&world, "big");
        assert_eq!(code, "approval");
        assert!(sentence.contains("was set aside") && sentence.contains(word), "{word}: {sentence}");
        assert_eq!(sentence.matches("set aside").count(), 1, "{sentence}");
        assert!(!name.exists(), "it is put away");
    }
    let aside = acts(&world, "respond");
    assert_eq!(aside.len(), 5, "{aside:?}");
    assert!(aside.iter().all(|act| act["arguments"]["set_aside"].is_string()), "{aside:?}");
    assert_eq!((&aside[0]["user_id"], &aside[1]["user_id"]), (&json!(STRANGER), &json!(0)));
    as_user(&world, 1, &["respond", "r", "big", "--reject", "--reason", "too dear"]).code(0);
    world.run(&["loop", "r"]).code(1);
    let (code, sentence, _) = explained(&world, "big");
    assert_eq!((code.as_str(), sentence.contains("too dear")), ("rejected", true), "{sentence}");
    assert_eq!(world.run(&["attempts", "r", "big", "--json"]).code(0).json(), json!([]));
    world.is_sound("r");
}

#[test]
fn what_is_put_in_the_way_of_words_stops_nothing() {
    let world = asks(&json!([1]));
    as_user(&world, 1, &["respond", "r", "big", "--approve"]).code(0);
    let place = world.run_dir("r").join("approvals");
    let word = std::fs::read_dir(&place).expect("approvals").flatten().next().expect("a word").path();
    let kept = std::fs::read(&word).expect("a word");
    std::fs::remove_file(&word).expect("ours");
    // in place of a word, and where words are put that were taken, which whoever may write there cannot reach
    std::fs::create_dir(&word).expect("a directory");
    std::fs::write(place.join("taken"), "").expect("a file");
    let taken = world.run_dir("r").join("approvals-taken");
    std::fs::write(&taken, "").expect("a file where a directory should be");
    let told = as_user(&world, 1, &["respond", "r", "big", "--approve"]).code(2);
    assert!(told.stderr.contains("something of uid 0 lies where your answer on task `big` belongs"), "{told:?}");
    for _ in 0..3 {
        world.run(&["step", "r"]).code(0);
    }
    assert!(!word.exists(), "it is moved out of the way");
    let (code, sentence, _) = explained(&world, "big");
    assert!(code == "approval" && sentence.contains("(uid 0) was set aside"), "{code}: {sentence}");
    assert_eq!(acts(&world, "respond").len(), 1, "and told once");
    // what counts is taken though it cannot be put away, and once
    std::fs::write(&word, kept).expect("a word");
    std::fs::set_permissions(&word, PermissionsExt::from_mode(0o644)).expect("ours");
    chown(&word, Some(1), None).expect("only root can give a file away: run the suites as root");
    world.run(&["loop", "r"]).code(0);
    assert_eq!(acts(&world, "respond").len(), 2);
    assert!(!word.exists());
    world.is_sound("r");
}

#[test]
fn a_word_is_found_among_any_number_of_files_of_others() {
    let world = asks(&json!([1]));
    let place = world.run_dir("r").join("approvals");
    // names that count as words, and names that do not; what the next tick takes away the stranger puts there again
    let crowd = |names: &dyn Fn(u32) -> String, count: u32| {
        for n in 0..count {
            let file = place.join(names(n));
            std::fs::write(&file, "{}").expect("a file");
            chown(&file, Some(STRANGER), None).expect("only root can give a file away: run the suites as root");
        }
    };
    let listed = || std::fs::read_dir(&place).expect("approvals").flatten().map(|entry| entry.file_name());
    crowd(&|n| format!("{n:032x}-{STRANGER}.json"), 3_000);
    crowd(&|n| format!(".{n}"), 10_000);
    as_user(&world, 1, &["respond", "r", "big", "--approve"]).code(0);
    // the order of a directory is nobody's choice: nearly always the word is not among the first that a tick comes to
    let position = || listed().position(|name| name.to_string_lossy().ends_with("-1.json")).expect("the word");
    for batch in 0..40 {
        if position() > 10_000 {
            break;
        }
        crowd(&|n| format!(".{batch}-{n}"), 2_000);
    }
    let approved = || acts(&world, "respond").iter().any(|act| act["arguments"]["approved"] == true);
    // a tick of a busy machine takes as many as it has time for
    for _ in 0..20 {
        world.run(&["step", "r"]).code(0);
        if approved() {
            break;
        }
    }
    let given = acts(&world, "respond");
    let given: Vec<&Value> = given.iter().filter(|act| act["arguments"]["approved"] == true).collect();
    assert_eq!((given.len(), &given[0]["user_id"]), (1, &json!(1)), "{given:?}");
    world.run(&["loop", "r"]).code(0);
    world.is_sound("r");
}
