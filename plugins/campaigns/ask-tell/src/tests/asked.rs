//! Asks, their answers, and the trials that they name.
use super::*;

#[test]
fn it_asks_and_runs_what_the_answer_names() {
    on(with(json!({"constants": {"T": 300}, "observables": ["haze"]})), |run| {
        run.plan_for(&["first"]);
        let (id, told) = run.ask();
        assert_eq!(id, "ask-0001");
        let task = &run.open["ask-0001"];
        assert_eq!(task["outputs"], json!(["{trials.json,decision.json,stderr}"]));
        assert_eq!((&task["priority"], &task["allow_failure"]), (&json!(1_000_000), &json!(true)));
        assert_eq!((&told["round"], &told["wanted"], &told["trials"]), (&json!(1), &json!(3), &json!([])));
        assert_eq!(told["variables"], json!({"x": [0, 1], "s": ["a", "b"]}));
        let first_seed = told["seed"].as_u64().expect("a seed");
        assert!(first_seed < 1 << 53);
        run.answer(json!({"trials": [point(0.25), point(0.5), point(0.75)]}));
        assert_eq!(run.open(), ["trial-0001", "trial-0002", "trial-0003"]);
        let task = &run.open["trial-0001"];
        assert_eq!((&task["command"], &task["outputs"]), (&json!("measure 0.25"), &json!(["result.json"])));
        let given = task["files"]["params.json"]["content"].as_str().expect("a text");
        assert_eq!(serde_json::from_str::<Value>(given).expect("JSON"), json!({"T": 300, "s": "a", "x": 0.25}));
        run.measure("trial-0002", json!({"y": {"mean": 2, "sem": 0.5}, "haze": "some"}));
        let (id, told) = run.ask();
        assert_eq!((id.as_str(), &told["wanted"]), ("ask-0002", &json!(1)));
        assert_ne!(told["seed"], json!(first_seed));
        let trials = told["trials"].as_array().expect("trials");
        let expected = json!({
            "trial": "trial-0002", "params": {"s": "a", "x": 0.5}, "state": "completed", "source": "ask",
            "result": {"y": {"mean": 2, "sem": 0.5}, "haze": "some"},
        });
        assert_eq!((trials.len(), &trials[0]), (3, &expected));
        assert_eq!(
            trials[1],
            json!({"trial": "trial-0001", "params": {"s": "a", "x": 0.25}, "state": "pending", "source": "ask"})
        );
        assert_eq!(run.summary(), "best y 2 (trial-0002), 1 trial ended");
    });
}

#[test]
fn one_ask_is_live_at_a_time_and_only_when_a_batch_can_be_filled() {
    on(with(json!({"parallel": 4, "batch": 2, "budget": {"trials": 7}})), |run| {
        run.plan_for(&["first"]);
        run.answer(json!([{"x": 0, "s": "a"}, {"x": 0, "s": "a"}, {"x": 0, "s": "a"}, {"x": 0, "s": "a"}]));
        assert_eq!(run.measure("trial-0001", json!({"y": 1})), Next::Wait);
        run.measure("trial-0002", json!({"y": 1}));
        assert_eq!(run.ask().1["wanted"], 2);
        assert_eq!(run.measure("trial-0003", json!({"y": 1})), Next::Wait, "one ask is live");
        run.answer(json!([{"x": 0, "s": "a"}, {"x": 0, "s": "a"}]));
        assert_eq!(
            run.open(),
            ["ask-0003", "trial-0004", "trial-0005", "trial-0006"],
            "the budget leaves less than a batch"
        );
        assert_eq!(run.ask().1["wanted"], 1);
        run.answer(json!([{"x": 0, "s": "b"}]));
        for trial in ["trial-0004", "trial-0005", "trial-0006"] {
            assert_eq!(run.measure(trial, json!({"y": 1})), Next::Wait);
        }
        let result = completed(run.measure("trial-0007", json!({"y": 0.5})));
        assert_eq!(result["best"], json!({"trial": "trial-0007", "params": {"s": "b", "x": 0}, "result": {"y": 0.5}}));
        assert_eq!((&result["stopped"], &result["asks"]), (&json!("the budget of 7 trials is used up"), &json!(3)));
        assert_eq!(result["history"].as_array().expect("a list").len(), 7);
    });
}

#[test]
fn a_program_that_names_less_than_it_may_waits_for_a_result() {
    on(params(), |run| {
        run.plan_for(&["first"]);
        run.answer(json!([{"x": 0, "s": "a"}]));
        assert_eq!(run.open(), ["trial-0001"]);
        run.measure("trial-0001", json!({"y": 1}));
        run.answer(json!([{"x": 0, "s": "a"}, {"x": 1, "s": "a"}]));
        assert_eq!(run.open(), ["trial-0002", "trial-0003"]);
        run.measure("trial-0002", json!({"y": 1}));
        run.leave("trial-0003", "result.json", r#"{"y": 1}"#);
        run.answer(json!([]));
        assert_eq!(run.open(), ["ask-0004"], "something ended that the ask could not know of");
        let next = run.answer(json!([]));
        assert_eq!(held(&next).0, "ask-refused");
        assert!(held(&next).1.contains("there is nothing to wait for"), "{next:?}");
        run.plan_for(&["resumed"]);
        assert_eq!(run.open(), ["ask-0005"]);
    });
}

#[test]
fn an_answer_that_is_wrong_is_refused_as_a_whole() {
    on(with(json!({"tell": {"cheap": {"command": "c"}, "exact": {"command": "e"}}})), |run| {
        run.plan_for(&["first"]);
        let trial = |more: Value| {
            let mut trial = json!({"params": {"x": 0.5, "s": "a"}, "tell": "cheap"});
            more.as_object().into_iter().flatten().for_each(|(key, value)| trial[key] = value.clone());
            json!({"trials": [{"params": {"x": 0, "s": "a"}, "tell": "cheap"}, trial]}).to_string()
        };
        let same = json!({"params": {"x": 0, "s": "a"}, "tell": "cheap", "trial": "mine"});
        for (text, words) in [
            ("not JSON".to_owned(), "`trials.json` is no JSON document"),
            (r#"{"trials": [{"params": {"x": 0.1"#.to_owned(), "`trials.json` is no JSON document"),
            (r#"{"trials": [{"params": {"x": NaN, "s": "a"}}]}"#.to_owned(), "`trials[0].params.x` is NaN"),
            (String::new(), "`trials.json` is empty"),
            ("3".to_owned(), "there is no object but 3"),
            (r#"{"trails": []}"#.to_owned(), "`trails` is no key; there are `trials`, `abandon`, `stop`"),
            (r#"{"trials": {}}"#.to_owned(), "`trials` is no list but {}"),
            (r#"{"trials": [3]}"#.to_owned(), "trial 1 is wrong: it is no object but 3"),
            (r#"{"stop": 3}"#.to_owned(), "`stop` says why in a text"),
            (r#"{"abandon": "x"}"#.to_owned(), "`abandon` is no list of ids"),
            (r#"{"abandon": ["trial-0009"]}"#.to_owned(), "`abandon` names `trial-0009`, and there is no such trial"),
            (r#"[{"x": 0, "s": "a"}]"#.to_owned(), "`tell` is missing; there are `cheap`, `exact`"),
            (trial(json!({"tell": "dear"})), "trial 2 is wrong: `tell` is `dear`, which is none"),
            (trial(json!({"params": {"x": 1.5, "s": "a"}})), "trial 2 is wrong: `x` is 1.5, outside [0, 1]"),
            (
                trial(json!({"params": {"x": 1, "s": "c"}})),
                "trial 2 is wrong: `s` is \"c\", which is none of [\"a\",\"b\"]",
            ),
            (trial(json!({"params": {"x": 1}})), "trial 2 is wrong: `s` is missing"),
            (trial(json!({"params": {"x": 1, "s": "a", "z": 1}})), "trial 2 is wrong: `z` is no variable"),
            (trial(json!({"parms": {}})), "trial 2 is wrong: `parms` is no key"),
            (trial(json!({"trial": 7})), "trial 2 is wrong: `trial` is no text but 7"),
            (trial(json!({"trial": "trial-0001"})), "begins with `trial-`"),
            (json!({"trials": [same, same]}).to_string(), "trials 1 and 2 both have the id `mine`"),
            (json!({"trials": [same, same, same, same]}).to_string(), "there are 4 trials, and 3 were wanted"),
        ] {
            let ask = run.ask().0;
            run.leave(&ask, "trials.json", &text);
            let next = run.plan();
            let (code, message) = held(&next);
            assert_eq!(code, "ask-refused", "{text}");
            assert!(message.contains(words) && message.contains(&ask), "{text}: {message}");
            assert!(run.open().is_empty(), "{text}");
            run.plan_for(&["resumed"]);
        }
        run.answer(json!({"trials": [{"params": {"x": 0, "s": "a"}, "tell": "exact", "trial": "mine"}]}));
        assert_eq!(run.open["mine"]["command"], "e");
        run.measure("mine", json!({"y": 1}));
        let next = run.answer(json!({"trials": [{"params": {"x": 0, "s": "a"}, "tell": "cheap", "trial": "mine"}]}));
        assert!(held(&next).1.contains("there is a trial `mine` already"), "{next:?}");
    });
}

#[test]
fn a_failed_ask_holds_with_what_it_said_and_is_made_anew() {
    on(params(), |run| {
        run.plan_for(&["first"]);
        run.answer(json!([{"x": 0, "s": "a"}, {"x": 1, "s": "a"}, {"x": 1, "s": "b"}]));
        run.measure("trial-0001", json!({"y": 1}));
        let outputs = [file("stderr", "Traceback\n  File x\n    a + b\n    ~~^~~\n\nValueError: no\n")];
        let failed = json!({"task": "ask-0002", "outcome": "failed", "code": "exit-code", "reason": "exited with code 1", "outputs": outputs});
        run.fold(failed);
        let next = run.plan();
        assert_eq!(
            held(&next),
            (
                "ask-failed",
                "`ask-0002` failed: exited with code 1; it said last:\nTraceback\nFile x\na + b\nValueError: no"
            )
        );
        assert_eq!(run.open(), ["trial-0002", "trial-0003"], "trials go on");
        run.fold(json!({"task": "trial-0002", "outcome": "failed", "code": "timeout"}));
        run.plan_for(&["resumed"]);
        assert_eq!(run.ask().0, "ask-0003");
        assert_eq!(run.ask().1["wanted"], 2);
    });
}

#[test]
fn a_failed_ask_that_a_person_runs_again_counts() {
    on(params(), |run| {
        run.plan_for(&["first"]);
        let task = run.open["ask-0001"].clone();
        run.fold(json!({"task": "ask-0001", "outcome": "failed", "code": "exit-code"}));
        assert_eq!(held(&run.plan()).0, "ask-failed");
        run.open.insert("ask-0001".to_owned(), task);
        assert_eq!(run.plan_for(&["resumed"]), Next::Wait);
        let outputs = [file("trials.json", r#"[{"x": 0, "s": "a"}]"#)];
        run.fold(json!({"task": "ask-0001", "outcome": "completed", "outputs": outputs, "supersedes": "failed"}));
        run.plan();
        assert_eq!(run.open(), ["trial-0001"]);
    });
}

#[test]
fn what_an_ask_keeps_comes_back_if_it_left_it() {
    on(with(json!({"ask": {"command": "a", "keep": ["model.pkl", "log/a.txt"]}})), |run| {
        run.plan_for(&["first"]);
        assert_eq!(run.open["ask-0001"]["outputs"], json!(["{trials.json,decision.json,stderr,model.pkl,log/a.txt}"]));
        let outputs = [file("trials.json", r#"[{"x": 0, "s": "a"}]"#), file("model.pkl", "1")];
        run.fold(json!({"task": "ask-0001", "outcome": "completed", "outputs": outputs}));
        run.plan();
        run.measure("trial-0001", json!({"y": 1}));
        let files = run.open["ask-0002"]["files"].as_object().expect("files");
        assert_eq!(files.keys().collect::<Vec<_>>(), ["ask.json", "before/model.pkl"]);
        assert_eq!(files["before/model.pkl"], json!({"from": "ask-0001", "output": "model.pkl"}));
        run.answer(json!([{"x": 0, "s": "a"}]));
        run.measure("trial-0002", json!({"y": 1}));
        assert_eq!(run.open["ask-0003"]["files"]["before/model.pkl"]["from"], "ask-0001", "the last that left it");
    });
}

#[test]
fn an_abandoned_trial_is_cancelled_and_makes_room() {
    on(params(), |run| {
        run.plan_for(&["first"]);
        run.answer(json!([{"x": 0, "s": "a"}, {"x": 0.5, "s": "a"}, {"x": 1, "s": "a"}]));
        run.measure("trial-0001", json!({"y": 1}));
        run.answer(json!({"trials": [], "abandon": ["trial-0003", "trial-0001"]}));
        assert_eq!(run.cancelled, ["trial-0003"], "one that has ended stays as it is");
        assert_eq!(run.trial("trial-0003")["state"], "abandoned");
        run.fold(json!({"task": "trial-0003", "outcome": "cancelled", "code": "cancelled"}));
        run.plan();
        assert_eq!(run.ask().1["wanted"], 2);
        assert_eq!(run.trial("trial-0003")["state"], "abandoned");
        run.answer(json!({"stop": "enough"}));
        assert_eq!(run.open(), ["trial-0002"]);
        let result = completed(run.measure("trial-0002", json!({"y": 0})));
        assert_eq!((&result["stopped"], &result["best"]["trial"]), (&json!("enough"), &json!("trial-0002")));
    });
}

#[test]
fn it_stops_when_nothing_gets_better_and_ends_the_ask_that_is_live() {
    on(with(json!({"parallel": 2, "stop": {"no_improvement": 2}})), |run| {
        run.plan_for(&["first"]);
        run.answer(json!([{"x": 0, "s": "a"}, {"x": 0.5, "s": "a"}]));
        run.measure("trial-0001", json!({"y": 1}));
        run.answer(json!([{"x": 1, "s": "a"}]));
        run.measure("trial-0003", json!({"y": 2}));
        assert_eq!(run.open(), ["ask-0003", "trial-0002"]);
        let next = run.measure("trial-0002", json!({"y": 3}));
        assert_eq!(run.cancelled, ["ask-0003"]);
        assert_eq!(completed(next)["best"]["trial"], "trial-0001");
    });
}

#[test]
fn failures_may_be_left_out_of_the_budget_and_hold_if_there_is_nothing_else() {
    on(with(json!({"parallel": 1, "budget": {"trials": 2, "failed_count": false}})), |run| {
        run.plan_for(&["first"]);
        for number in 1..=11_u32 {
            run.answer(json!([{"x": 0, "s": "a"}]));
            run.fold(json!({"task": format!("trial-{number:04}"), "outcome": "failed", "code": "oom"}));
            let next = run.plan();
            assert_eq!(matches!(next, Next::Hold(_)), number == 11, "{number}");
        }
        run.plan_for(&["resumed"]);
        run.answer(json!([{"x": 0, "s": "a"}]));
        run.measure("trial-0012", json!({"y": 1}));
        run.answer(json!([{"x": 0, "s": "a"}]));
        completed(run.measure("trial-0013", json!({"y": 1})));
    });
}
