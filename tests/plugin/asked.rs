//! What a campaign may ask of its run and leave in it, and the open parts of its answers: what is known of them
//! crosses, and what is not is refused.
use super::*;
use matterstack::model::contract::{Next, OpenTasksRead, Reads};
use matterstack::plugin::Answer;

fn hostile() -> Bench {
    Bench::campaign(limits(), &guest("hostile"))
}

fn planned(bench: &Bench, view: View) -> Answer<Decision> {
    bench.host.plan(&view::first_context(view, 42), None)
}

fn state(answer: &Answer<Decision>) -> Value {
    serde_json::from_str(&answer.value.as_ref().unwrap().state).unwrap()
}

/// The words with which an answer of the campaign is refused.
fn refusal(params: Value) -> String {
    let error = hostile().plan(params.clone()).expect_err(&params.to_string());
    assert_eq!(error.kind.code(), "plugin-bad-output", "{params}: {error}");
    error.to_string()
}

#[test]
fn a_campaign_is_told_of_its_run_what_it_asks() {
    let params = json!({"mode": "told", "n": 1.5});
    let answer = planned(&hostile(), View::of(&params));
    assert_eq!(state(&answer), json!({"id": "run", "params": params, "inputs": {}, "supplied": null}));
    let inputs = json!({"table": {"sha256": "ab", "size": 3}});
    let supplied = Some(json!({"yes": true}).to_string());
    let view = View { inputs: inputs.to_string(), supplied, ..View::of(&params) };
    let answer = planned(&hostile(), view);
    assert_eq!((&state(&answer)["inputs"], &state(&answer)["supplied"]), (&inputs, &json!({"yes": true})));
    assert_eq!(answer.reads, Reads::default(), "what stands in the record anyway is not noted once more");
}

#[test]
fn open_tasks_are_told_in_pages_and_each_answer_is_noted() {
    let open: Vec<String> = (0..10_002).map(|n| format!("t{n:05}")).collect();
    let ask = |params: Value| {
        let answer = planned(&hostile(), View { open: open.clone(), ..View::of(&params) });
        (state(&answer), answer.reads.open_tasks)
    };
    let (told, noted) = ask(json!({"mode": "open-tasks", "max": 2}));
    assert_eq!(told, json!(["t00000", "t00001"]));
    let tasks = vec!["t00000".to_owned(), "t00001".to_owned()];
    assert_eq!(noted, [OpenTasksRead { after: None, max: 2, tasks }]);
    let (told, noted) = ask(json!({"mode": "open-tasks", "after": "t10000"}));
    assert_eq!((told, noted[0].after.as_deref()), (json!(["t10001"]), Some("t10000")));
    let (told, noted) = ask(json!({"mode": "open-tasks"}));
    assert_eq!((told.as_array().unwrap().len(), noted[0].max), (10_000, 10_000), "no more at once");
    assert_eq!(ask(json!({"mode": "open-tasks", "max": 0})).0, json!([]));
}

#[test]
fn what_a_campaign_writes_is_handed_over_with_its_answer_and_can_be_read_at_once() {
    let bench = hostile();
    let answer = planned(&bench, View::of(&json!({"mode": "write", "files": 2, "bytes": 30})));
    let (first, last) = (vec![b'a'; 30], vec![b'b'; 30]);
    assert_eq!(state(&answer), json!({"digest": sha256(&last), "read": "bbbbbbbbbb"}));
    assert_eq!(answer.written, [(sha256(&first), first), (sha256(&last), last)].into());
    assert_eq!(answer.reads, Reads::default(), "its own files are made anew with the decision");
    let context = context(json!({"mode": "write-in-analyze", "bytes": 30}));
    assert_eq!(bench.host.analyze(&context, "{}", "[]").written.len(), 1);
}

#[test]
fn what_a_campaign_writes_has_an_end() {
    let at_once = 16 * 1024 * 1024 + 1;
    let generous = PluginLimits { output_mb: 100, memory_mb: 256, ..limits() };
    let bench = Bench::campaign(generous, &guest("hostile"));
    let answer = planned(&bench, View::of(&json!({"mode": "write", "bytes": at_once})));
    assert_eq!((state(&answer), answer.written.len()), (json!({"refused": "too-large"}), 0));
    let answer = planned(&bench, View::of(&json!({"mode": "write", "bytes": at_once - 1})));
    assert_eq!(answer.written.len(), 1);
    let answer = planned(&hostile(), View::of(&json!({"mode": "write", "files": 5, "bytes": 1 << 20})));
    let error = answer.value.unwrap_err();
    assert_eq!(error.kind.code(), "plugin-limit", "{error}");
    assert!(error.to_string().contains("`limits.plugin.output_mb` is 4"), "{error}");
    assert!(answer.written.is_empty(), "what came to nothing leaves nothing");
}

#[test]
fn what_is_not_known_of_an_open_part_is_refused() {
    assert!(hostile().plan(json!({"mode": "known"})).unwrap().value.skips_known);
    assert!(!hostile().plan(json!({"mode": ""})).unwrap().value.skips_known);
    for (mode, words) in
        [("odd-more", "unknown field `nown`"), ("odd-known", "unknown variant `drop`"), ("garbage-more", "`more`")]
    {
        let text = refusal(json!({"mode": mode}));
        assert!(text.contains("`more` of `decision`") && text.contains(words), "{mode}: {text}");
    }
    let error = hostile().host.analyze(&context(json!({"mode": "more-in-analyze"})), "{}", "[]").value.unwrap_err();
    assert_eq!(error.kind.code(), "plugin-bad-output", "{error}");
    assert!(error.to_string().contains("`more` of `folded`: unknown field `x`"), "{error}");
}

#[test]
fn a_summary_has_the_keys_that_are_known_and_no_others() {
    let good = json!({"text": "half of it", "total": 2, "done": 1.5, "metrics": {"loss": 0.25}});
    for summary in [&good, &json!({})] {
        let params = json!({"mode": "summary", "summary": summary});
        let told = hostile().plan(params).unwrap().value.summary.unwrap();
        assert_eq!(told, matterstack::model::document::canonical(&summary.to_string()).unwrap());
    }
    let context = context(json!({"mode": "summary-in-analyze", "summary": good}));
    assert!(hostile().host.analyze(&context, "{}", "[]").value.unwrap().summary.is_some());
    for (summary, words) in [
        (json!({"texts": "x"}), "unknown field `texts`"),
        (json!({"done": "half"}), "invalid type"),
        (json!({"metrics": {"loss": null}}), "invalid type"),
        (json!("half of it"), "invalid type"),
        (json!(["half of it"]), ""),
        (json!({"text": "x".repeat(1 << 20)}), "bytes"),
    ] {
        let text = refusal(json!({"mode": "summary", "summary": summary}));
        assert!(text.contains("the summary") && text.contains(words), "{text}");
    }
    assert!(refusal(json!({"mode": "garbage-summary"})).contains("the summary"));
}

#[test]
fn a_hold_may_have_a_form_and_an_error_says_where_it_happened() {
    let form = json!({"type": "object", "properties": {"go": {"type": "boolean"}}});
    let plan = hostile().plan(json!({"mode": "data", "data": {"form": form}})).unwrap().value;
    let Next::Hold(detail) = plan.next else { panic!("{plan:?}") };
    assert_eq!((detail.message.as_str(), detail.data), ("asked to refuse", Some(json!({"form": form}))));
    for (data, words) in [
        (json!({"forms": {}}), "unknown field `forms`"),
        (json!({"form": 3}), "invalid type"),
        (json!([]), ""),
        (json!({"source": "x".repeat(1 << 20)}), "bytes"),
    ] {
        let text = refusal(json!({"mode": "data", "data": data}));
        assert!(text.contains("`data` of a detail") && text.contains(words), "{text}");
    }
    // of a failure that is told what cannot be read is passed over: the failure itself is not lost
    for (data, place) in [
        (json!({"file": "app.py", "line": 3, "source": "x = 1 / 0"}), " (app.py:3)"),
        (json!({"file": "app.py"}), " (app.py)"),
        (json!({"path": "/params/n"}), " (at /params/n)"),
        (json!({"unheard": "of"}), ""),
        (json!("text"), ""),
        (json!({"source": "x".repeat(1 << 20)}), ""),
    ] {
        let error = hostile().plan(json!({"mode": "error-with-data", "data": data})).unwrap_err();
        let PluginErrorKind::Guest(GuestError::Invalid(detail)) = &error.kind else { panic!("{error}") };
        assert_eq!(detail.message, format!("asked to refuse{place}"), "{data}");
    }
}

#[test]
fn what_an_attempt_used_is_an_object_with_numbers_where_they_are_known() {
    let bench = Bench::operator(limits(), &guest("hostile-operator"), granted(&["local"]));
    let collected =
        |usage: &Value| bench.host.collect_results(&key(), &bench.attempt(json!({"input": {"usage": usage}})));
    let usage = json!({"cpu_s": 1.5, "cost": {"amount": 3, "unit": "EUR"}, "own": ["kept"]});
    let told = collected(&usage).unwrap().usage.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), usage);
    for usage in [json!([1]), json!(3), json!({"cpu_s": "much"}), json!({"cost": 3})] {
        let error = collected(&usage).unwrap_err();
        assert_eq!(error.kind.code(), "plugin-bad-output", "{usage}: {error}");
        assert!(error.to_string().contains("`usage`"), "{error}");
    }
}
