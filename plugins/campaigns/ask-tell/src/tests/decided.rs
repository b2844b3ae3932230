//! Programs that decide freely.
use super::*;

/// Ends the live ask with this decision and plans.
fn decide(run: &mut Run, decision: Value) -> Next {
    let ask = run.ask().0;
    run.leave(&ask, "decision.json", &decision.to_string());
    run.plan()
}

#[test]
fn its_tasks_are_planned_as_they_are_and_their_results_come_back() {
    on(params(), |run| {
        run.plan_for(&["first"]);
        let task = json!({"id": "mine", "command": "true", "outputs": ["out"], "operator": "local"});
        decide(
            run,
            json!({"state": {"n": 1}, "reason": "begin", "tasks": [task], "summary": {"text": "one", "metrics": {"m": 2}}}),
        );
        assert_eq!(run.open(), ["mine"]);
        assert_eq!(run.open["mine"], task);
        assert_eq!((run.reason.as_str(), run.summary().as_str()), ("begin", "one"));
        let outputs = [file("out", "1"), file("result.json", "{\"q\": 1}")];
        run.fold(json!({"task": "mine", "outcome": "completed", "outputs": outputs, "data": {"code": 0}}));
        run.plan();
        let told = run.ask().1;
        assert_eq!(told["state"], json!({"n": 1}));
        let result = &told["results"][0];
        assert_eq!(
            (&result["task"], &result["outcome"], &result["data"]),
            (&json!("mine"), &json!("completed"), &json!({"code": 0}))
        );
        assert_eq!((&result["outputs"][0]["path"], &result["result"]), (&json!("out"), &json!({"q": 1})));
        assert_eq!(decide(run, json!({"state": 2, "wait": true, "wake_at_ms": 99})), Next::Wait);
        run.plan_for(&["time"]);
        assert_eq!(run.ask().1["state"], 2);
        let next = decide(run, json!({"state": 3, "hold": {"code": "which", "message": "left or right"}}));
        assert_eq!(held(&next), ("which", "left or right"));
        run.supply(json!({"way": "left"})).expect("a plan");
        assert_eq!(run.ask().1["supplied"], json!({"way": "left"}));
        assert_eq!(completed(decide(run, json!({"complete": {"best": 1}}))), json!({"best": 1}));
    });
}

#[test]
fn it_may_name_trials_beside_and_is_asked_after_each_result() {
    on(with(json!({"parallel": 1})), |run| {
        run.plan_for(&["first"]);
        let tasks = json!([{"id": "a", "command": "true"}, {"id": "b", "command": "true"}]);
        decide(run, json!({"tasks": tasks, "cancel": ["x"], "known": "skip"}));
        assert_eq!(run.cancelled, ["x"]);
        run.fold(json!({"task": "a", "outcome": "failed", "code": "oom"}));
        run.plan();
        run.answer(json!([{"x": 0, "s": "a"}]));
        assert_eq!(run.open(), ["b", "trial-0001"]);
        run.fold(json!({"task": "b", "outcome": "completed"}));
        run.plan();
        assert_eq!(run.ask().1["wanted"], 0, "there is no room");
        assert_eq!(run.answer(json!([])), Next::Wait);
        run.measure("trial-0001", json!({"y": 1}));
        let next = decide(run, json!({"fail": "no way"}));
        assert!(matches!(next, Next::Fail(detail) if detail.message == "no way"));
    });
}

#[test]
fn a_decision_that_is_wrong_is_refused() {
    on(params(), |run| {
        run.plan_for(&["first"]);
        for (decision, words) in [
            (json!({}), "none of `tasks`, `complete`"),
            (json!({"wait": true, "complete": 1}), "more than one of"),
            (json!({"wait": true, "wake": 3}), "unknown field `wake`"),
            (json!({"tasks": {}}), "`tasks` is an object, and not a list of tasks"),
            (json!({"wait": true, "known": "keep"}), "`known` is `keep`"),
            (json!({"tasks": [{"id": "trial-0007"}]}), "the task `trial-0007` is called as those"),
            (json!({"hold": 3}), "`hold`"),
            (json!([]), "`decision.json` is no object but []"),
        ] {
            let next = decide(run, decision.clone());
            assert_eq!(held(&next).0, "ask-refused");
            assert!(held(&next).1.contains(words), "{decision}: {next:?}");
            run.plan_for(&["resumed"]);
        }
        assert!(run.ask().1.get("results").is_none(), "what is refused makes nobody decide freely");
        let outputs = [file("decision.json", r#"{"wait": true}"#), file("trials.json", "[]")];
        let ask = run.ask().0;
        run.fold(json!({"task": ask, "outcome": "completed", "outputs": outputs}));
        assert!(held(&run.plan()).1.contains("one of them counts"));
    });
}
