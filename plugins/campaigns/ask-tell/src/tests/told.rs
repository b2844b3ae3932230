//! Results: of tasks, chains, people and tables.
use super::*;

#[test]
fn a_trial_without_a_usable_result_has_failed() {
    on(with(json!({"parallel": 1, "constraints": {"cost": ["LESS_THAN", 3]}})), |run| {
        run.plan_for(&["first"]);
        for (number, (text, words)) in (1_u32..).zip([
            ("", "`result.json` is empty"),
            ("{\"y\": 1", "`result.json` is no JSON document"),
            ("{\"y\": NaN, \"cost\": 1}", "`y` is NaN"),
            ("{\"y\": Infinity, \"cost\": 1}", "`y` is Infinity"),
            ("{\"cost\": 1}", "the result has no `y`; it has `cost`"),
            ("{\"y\": \"1\", \"cost\": 1}", "`y` is \"1\": a value is"),
            ("[1]", "the result is no JSON object"),
        ]) {
            run.answer(json!([{"x": 0, "s": "a"}]));
            let trial = format!("trial-{number:04}");
            run.leave(&trial, "result.json", text);
            run.plan();
            let trial = run.trial(&trial);
            assert_eq!((&trial["state"], &trial["code"]), (&json!("failed"), &json!("no-result")), "{text}");
            assert!(trial["message"].as_str().expect("a text").contains(words), "{text}: {trial}");
        }
        assert_eq!(run.trial("trial-0005")["partial"], json!({"cost": 1}));
        run.answer(json!([{"x": 0, "s": "a"}]));
        run.fold(json!({"task": "trial-0008", "outcome": "failed", "code": "lost", "reason": "nobody knows"}));
        let trial = run.trial("trial-0008");
        assert_eq!((&trial["code"], &trial["message"]), (&json!("lost"), &json!("nobody knows")));
    });
}

#[test]
fn what_is_infeasible_or_breaks_a_constraint_is_not_the_best() {
    let more = json!({"parallel": 1, "constraints": {"c": ["LESS_THAN", 3]}, "budget": {"trials": 3}});
    on(with(more), |run| {
        run.plan_for(&["first"]);
        for (trial, result) in
            [("trial-0001", json!({"y": 1, "c": 4, "cost": 12})), ("trial-0002", json!({"infeasible": true}))]
        {
            run.answer(json!([{"x": 0, "s": "a"}]));
            run.measure(trial, result);
        }
        assert_eq!(run.trial("trial-0001")["state"], "completed");
        assert_eq!(run.trial("trial-0001")["cost"], 12);
        assert_eq!(run.trial("trial-0002")["state"], "infeasible");
        run.answer(json!([{"x": 0, "s": "a"}]));
        let result = completed(run.measure("trial-0003", json!({"y": [2, 4], "c": 3})));
        assert_eq!(result["best"]["trial"], "trial-0003");
        assert_eq!(run.summary(), "best y 3 (trial-0003)");
    });
}

#[test]
fn a_chain_is_one_trial() {
    let tell = json!([{"command": "a"}, {"call": "b.py:f", "files": {"r": {"from": "{before}", "output": "o"}}}, {"command": "c"}]);
    on(with(json!({"tell": tell, "parallel": 2})), |run| {
        run.plan_for(&["first"]);
        run.answer(json!([{"x": 0, "s": "a"}, {"x": 1, "s": "a"}]));
        assert_eq!(run.open().len(), 6);
        let second = &run.open["trial-0001.2"];
        assert_eq!(second["depends_on"], json!(["trial-0001.1"]));
        assert_eq!(second["files"]["r"]["from"], "trial-0001.1");
        assert_eq!(run.open["trial-0001.1"]["outputs"], json!([]), "only the last must leave a result");
        assert_eq!(run.open["trial-0001.3"]["outputs"], json!(["result.json"]));
        run.leave("trial-0001.1", "other", "");
        run.measure("trial-0001.2", json!({"y": 5, "z": 1}));
        let trial = run.trial("trial-0001");
        assert_eq!((&trial["state"], &trial["partial"]), (&json!("pending"), &json!({"y": 5})));
        run.measure("trial-0001.3", json!({"y": 4}));
        let trial = run.trial("trial-0001");
        assert_eq!(
            (&trial["state"], &trial["result"], trial.get("partial")),
            (&json!("completed"), &json!({"y": 4}), None)
        );
        run.fold(json!({"task": "trial-0002.1", "outcome": "failed", "code": "exit-code"}));
        assert_eq!(run.trial("trial-0002")["code"], "exit-code");
        for task in ["trial-0002.2", "trial-0002.3"] {
            run.fold(json!({"task": task, "outcome": "skipped", "code": "dependency-failed"}));
        }
        assert_eq!(run.trial("trial-0002")["code"], "exit-code");
        // the chain runs again from its first task on
        run.fold(json!({"task": "trial-0002.1", "outcome": "completed", "supersedes": "failed"}));
        run.fold(json!({"task": "trial-0002.2", "outcome": "completed", "supersedes": "skipped"}));
        let outputs = [file("result.json", r#"{"y": 1}"#)];
        run.fold(json!({"task": "trial-0002.3", "outcome": "completed", "outputs": outputs, "supersedes": "skipped"}));
        assert_eq!(run.trial("trial-0002")["result"], json!({"y": 1}));
        assert!(run.summary().starts_with("best y 1 (trial-0002), 2 trials ended"), "{}", run.summary());
    });
}

#[test]
fn a_chain_that_is_told_or_given_up_ends_where_it_is() {
    on(with(json!({"tell": [{"command": "a"}, {"command": "b"}], "parallel": 2, "budget": {"trials": 2}})), |run| {
        run.plan_for(&["first"]);
        run.answer(json!([{"x": 0, "s": "a"}, {"x": 1, "s": "a"}]));
        for task in ["trial-0001.1", "trial-0002.1"] {
            run.fold(json!({"task": task, "outcome": "completed"}));
        }
        run.supply(json!({"tell": [{"trial": "trial-0001", "result": {"y": 1}}]})).expect("a plan");
        assert_eq!(run.cancelled, ["trial-0001.2"]);
        run.open.insert("trial-0001.1".to_owned(), json!({}));
        let next = run.measure("trial-0002.2", json!({"y": 2}));
        assert_eq!(next, Next::Wait, "a task that runs again is waited for, and the cancelled one is not");
        run.fold(json!({"task": "trial-0001.1", "outcome": "completed", "supersedes": "completed"}));
        assert_eq!(completed(run.plan())["best"]["trial"], "trial-0001");
    });
}

#[test]
fn people_and_instruments_get_the_parameters_and_answer_with_a_document() {
    let tell =
        json!({"robot": {"operator": "robot"}, "person": {"operator": "human", "input": {"instructions": "at {x}"}}});
    on(with(json!({"tell": tell, "constants": {"T": 1}})), |run| {
        run.plan_for(&["first"]);
        let trial = |tell: &str| json!({"params": {"x": 0.5, "s": "a"}, "tell": tell});
        run.answer(json!({"trials": [trial("robot"), trial("person"), trial("robot")]}));
        let (robot, person) = (&run.open["trial-0001"], &run.open["trial-0002"]);
        assert_eq!(robot["input"], json!({"T": 1, "s": "a", "x": 0.5}));
        assert_eq!(person["input"], json!({"instructions": "at 0.5"}));
        assert!([robot, person].iter().all(|task| task.get("outputs").is_none() && task.get("files").is_none()));
        run.fold(json!({"task": "trial-0001", "outcome": "completed", "data": {"y": 2, "note": "fine"}}));
        run.fold(json!({"task": "trial-0002", "outcome": "completed", "data": {"answer": {"y": 1}, "by": null}}));
        run.fold(json!({"task": "trial-0003", "outcome": "completed", "data": {"z": 1}}));
        assert_eq!(run.trial("trial-0001")["result"], json!({"y": 2}));
        assert_eq!(run.trial("trial-0002")["result"], json!({"y": 1}));
        assert_eq!(run.trial("trial-0003")["message"], "the result has no `y`; it has `z`");
    });
}

#[test]
fn a_task_that_runs_again_takes_its_result_back() {
    on(with(json!({"parallel": 1, "budget": {"trials": 2}})), |run| {
        run.plan_for(&["first"]);
        run.answer(json!([{"x": 0, "s": "a"}]));
        run.measure("trial-0001", json!({"y": 1}));
        run.answer(json!([{"x": 0, "s": "a"}]));
        run.measure("trial-0002", json!({"y": 3}));
        run.open.insert("trial-0001".to_owned(), json!({}));
        assert_eq!(run.plan_for(&["reopened"]), Next::Wait, "it waits for what runs again");
        let outputs = [file("result.json", r#"{"y": 5}"#)];
        run.fold(json!({"task": "trial-0001", "outcome": "completed", "outputs": outputs, "supersedes": "completed"}));
        let result = completed(run.plan());
        assert_eq!(result["best"]["trial"], "trial-0002", "the best is found anew");
        let before = json!({"state": "completed", "result": {"y": 1}, "source": "ask"});
        assert_eq!(run.trial("trial-0001")["supersedes"], before);
        run.fold(json!({"task": "trial-0002", "outcome": "failed", "code": "oom", "supersedes": "completed"}));
        assert_eq!(run.summary(), "best y 5 (trial-0001), 1 without a result");
    });
}

#[test]
fn a_person_tells_results() {
    on(params(), |run| {
        run.plan_for(&["first"]);
        run.answer(json!([{"x": 0, "s": "a"}, {"x": 0.5, "s": "a"}, {"x": 1, "s": "a"}]));
        run.measure("trial-0001", json!({"y": 1}));
        let rows = json!([
            {"trial": "trial-0002", "result": {"y": 2}},
            {"params": {"x": 1.0, "s": "a"}, "result": {"y": [3, 3]}},
            {"params": {"x": 0.7, "s": "b"}, "result": {"y": 0.5}},
            {"trial": "trial-0001", "result": {"y": 1.5}},
        ]);
        run.supply(json!({"tell": rows, "note": "by hand"})).expect("a plan");
        assert_eq!(run.cancelled, ["trial-0002", "trial-0003"]);
        for (trial, source, y) in [
            ("trial-0001", "table", json!(1.5)),
            ("trial-0002", "table", json!(2)),
            ("trial-0003", "table", json!([3, 3])),
            ("told-0001", "person", json!(0.5)),
        ] {
            let trial = run.trial(trial);
            assert_eq!((&trial["state"], &trial["source"]), (&json!("completed"), &json!(source)), "{trial}");
            assert_eq!(trial["result"]["y"], y, "{trial}");
        }
        assert_eq!(run.trial("trial-0001")["supersedes"]["result"], json!({"y": 1}));
        // that their tasks end so changes nothing
        run.fold(json!({"task": "trial-0002", "outcome": "cancelled", "code": "cancelled"}));
        assert_eq!(run.trial("trial-0002")["state"], "completed");
        assert!(run.summary().starts_with("best y 0.5 (told-0001), 3 trials ended"), "{}", run.summary());
        run.answer(json!([]));
        assert_eq!(run.ask().1["supplied"], json!({"note": "by hand"}));
    });
}

#[test]
fn what_is_told_to_a_run_that_has_ended_lets_nothing_run_again() {
    on(with(json!({"parallel": 2, "budget": {"trials": 2}})), |run| {
        run.plan_for(&["first"]);
        run.answer(json!([{"x": 0, "s": "a"}, {"x": 1, "s": "a"}]));
        run.supply(json!({"tell": [{"trial": "trial-0001", "result": {"y": 1}}]})).expect("a plan");
        run.fold(json!({"task": "trial-0001", "outcome": "cancelled", "code": "cancelled"}));
        run.fold(json!({"task": "trial-0002", "outcome": "failed", "code": "oom"}));
        completed(run.plan());
        run.open.extend(["trial-0001", "trial-0002"].map(|id| (id.to_owned(), json!({}))));
        let row = json!({"tell": [{"trial": "trial-0002", "result": {"y": 0.5}}]});
        let ctx = run.context(&["reopened", "resumed"]).with_supplied(row);
        let result = completed(run.try_plan(&ctx).expect("a plan"));
        assert_eq!(run.cancelled, ["trial-0001", "trial-0002"]);
        assert_eq!(result["best"]["trial"], "trial-0002");
        for (task, before) in [("trial-0001", "cancelled"), ("trial-0002", "failed")] {
            run.fold(json!({"task": task, "outcome": "cancelled", "supersedes": before}));
            assert_eq!(run.trial(task)["source"], "table", "what is stopped says nothing");
        }
    });
}

#[test]
fn a_wrong_row_is_named_and_refuses_them_all() {
    on(params(), |run| {
        run.plan_for(&["first"]);
        run.answer(json!([{"x": 0, "s": "a"}, {"x": 0.5, "s": "a"}, {"x": 1, "s": "a"}]));
        for (row, words) in [
            (json!({"trial": "trial-0009", "result": {"y": 1}}), "there is no trial `trial-0009`"),
            (json!({"trial": "trial-0002", "result": {"z": 1}}), "the result has no `y`"),
            (json!({"trial": "trial-0002", "result": {"y": "1"}}), "`y` is \"1\""),
            (
                json!({"trial": "trial-0002", "params": {"x": 0, "s": "a"}, "result": {"y": 1}}),
                "the parameters of `trial-0002` are",
            ),
            (json!({"params": {"x": 3, "s": "a"}, "result": {"y": 1}}), "`x` is 3, outside [0, 1]"),
            (json!({"params": {"x": 0.5}, "result": {"y": 1}}), "`s` is missing"),
            (json!({"result": {"y": 1}}), "neither `trial` nor `params`"),
            (json!({"trial": "trial-0002"}), "missing field `result`"),
            (json!({"trail": "trial-0002", "result": {"y": 1}}), "unknown field `trail`"),
        ] {
            let rows = json!([{"trial": "trial-0001", "result": {"y": 1}}, row]);
            let error = run.supply(json!({"tell": rows})).expect_err("a refusal");
            assert!(error.contains("row 2 of `tell` is wrong") && error.contains(words), "{row}: {error}");
            assert_eq!(run.trial("trial-0001")["state"], "pending");
        }
        assert!(run.supply(json!({"tell": 3})).expect_err("a refusal").contains("no list of rows"));
    });
}

fn started(csv: &str) -> Result<Vec<Value>, String> {
    let params = with(json!({"start": "past", "variables": {"x": [0, 1], "s": ["007", "b"]}, "observables": ["haze"]}));
    let ctx = Context::first(serde_json::from_value(params).expect("parameters"));
    let ctx = ctx.with_inputs([("past", "d", csv.len() as u64)]);
    artifacts::with_files([("d".to_owned(), csv.as_bytes().to_vec())], || {
        let decision = AskTell::plan(&ctx, None).map_err(|error| error.detail().message.clone())?;
        let trials = decision.state.trials.all().expect("trials");
        Ok(trials.iter().map(|trial| serde_json::to_value(trial).expect("JSON")).collect())
    })
}

#[test]
fn a_table_of_past_results_begins_the_run() {
    let trials = started("x,s,y,haze\n0.5,007,3,\n1,b,2,much\n").expect("trials");
    let expected = json!({"trial": "start-0001", "params": {"x": 0.5, "s": "007"}, "state": "completed", "source": "table", "result": {"y": 3}});
    assert_eq!((trials.len(), &trials[0]), (2, &expected));
    assert_eq!(trials[1]["result"], json!({"y": 2, "haze": "much"}));
    for (csv, words) in [
        ("x,s,y\n0.5,b,\n", "row 1 is wrong: the result has no `y`"),
        ("x,s,y\n0,b,1\n2,b,1\n", "row 2 is wrong: `x` is 2, outside [0, 1]"),
        ("x,s,y,z\n0,b,1,1\n", "column `z` is neither a variable nor measured"),
        ("x,s,y\n0,b\n", "line 2 has 2 cells"),
        ("", "it is empty"),
    ] {
        let error = started(csv).expect_err("a refusal");
        assert!(error.contains("input `past`") && error.contains(words), "{csv}: {error}");
    }
}

#[test]
fn two_objectives_give_a_front_and_its_hypervolume() {
    let more = json!({"objectives": {"a": "MINIMIZE", "b": "MAXIMIZE"}, "parallel": 1, "budget": {"trials": 3}});
    for (reference, expected) in
        [(json!({}), json!([0.0, 1.0, 1.0])), (json!({"a": 5, "b": 0}), json!([3.0, 10.0, 10.0]))]
    {
        let mut params = with(more.clone());
        params["reference_point"] = reference;
        on(params, |run| {
            run.plan_for(&["first"]);
            let mut last = Next::Wait;
            for (number, (a, b)) in (1_u32..).zip([(4.0, 3.0), (3.0, 5.0), (4.0, 4.0)]) {
                run.answer(json!([{"x": 0, "s": "a"}]));
                last = run.measure(&format!("trial-{number:04}"), json!({"a": a, "b": b}));
            }
            let result = completed(last);
            assert_eq!(result["pareto"].as_array().expect("a list").len(), 1);
            assert_eq!(result["pareto"][0]["trial"], "trial-0002");
            if expected[0] == json!(3.0) {
                assert_eq!(result["hypervolume"], expected);
            } else {
                assert_eq!(result["reference_point"], json!({"a": 4.0, "b": 3.0}));
                assert_eq!(result["hypervolume"], json!([0.0, 2.0, 2.0]));
            }
        });
    }
}
