//! Operators: the six calls, their grants, deadlines and every way to misbehave.
use super::*;
use matterstack::model::limit::Bound;
use std::time::{Duration, Instant};

fn compute(grants: Grants) -> Bench {
    let mut bench = Bench::new(limits());
    let path = bench.file("compute.wasm", builtin::builtin("compute").unwrap());
    bench.host.add_operator(key(), source(&path), grants);
    bench
}

fn hostile(limits: PluginLimits) -> Bench {
    Bench::operator(limits, &guest("hostile-operator"), granted(&["local"]))
}

#[test]
fn the_standard_operator_makes_all_six_calls() {
    let bench = compute(granted(&["local"]));
    let mut attempt = bench.attempt(json!({"id": "a", "operator": "op", "command": ["true"]}));
    bench.host.prepare(&key(), &attempt).unwrap();
    let Submitted { handle, external_id } = bench.host.submit(&key(), &attempt).unwrap();
    assert_eq!(external_id, None, "this backend has no name for it");
    let found: Value = serde_json::from_str(&handle).unwrap();
    assert_eq!(
        found,
        json!({"backend": "local", "job": {"on": "local", "for": "a1", "document": {"command": ["true"]}}})
    );
    assert_eq!(bench.host.reconcile(&key(), &attempt).unwrap(), Found::No);
    attempt.handle = Some(handle);
    let report = bench.host.check_status(&key(), &attempt).unwrap();
    assert_eq!(report, StatusReport { status: Status::Running(None), handle: None, poll_after_ms: Some(5) });
    let output = bench.host.collect_results(&key(), &attempt).unwrap().output.unwrap();
    assert!(output.contains("\"exit\":0"), "{output}");
    let error = bench.host.cancel(&key(), &attempt).unwrap_err();
    let PluginErrorKind::Guest(GuestError::Transient { detail, retry_after_ms: Some(70) }) = error.kind else {
        panic!("{error}")
    };
    assert_eq!(detail.code, "busy");
    attempt.attempt_id = "unclear".into();
    let undecided = Found::Unknown { note: "{\"asked\":1}".into(), poll_after_ms: 250 };
    assert_eq!(bench.host.reconcile(&key(), &attempt).unwrap(), undecided);
}

#[test]
fn compute_without_a_grant_is_refused_at_load_with_the_json() {
    let bench = compute(Grants::default());
    let error = bench.host.load_all().unwrap_err();
    let PluginErrorKind::NotGranted { interface, grant } = &error.kind else { panic!("{error}") };
    assert_eq!(interface, "compute");
    assert_eq!(grant, r#"{"operators":{"op":{"grants":{"compute":["local"]}}}}"#);
}

#[test]
fn another_backend_is_denied_with_the_json() {
    let bench = hostile(limits());
    let error = bench.host.submit(&key(), &bench.mode("denied-backend")).unwrap_err();
    let PluginErrorKind::Guest(GuestError::Denied(detail)) = &error.kind else { panic!("{error}") };
    for words in ["`compute`", "`submit`", "`forbidden`", r#"{"op":{"grants":{"compute":["local","forbidden"]}}}"#] {
        assert!(detail.message.contains(words), "{detail:?}");
    }
}

#[test]
fn misbehaviours_are_told_apart() {
    // only what never ends is waited for: another misbehaviour may take its time on a busy machine
    let (patient, impatient) = (hostile(limits()), hostile(PluginLimits { call_ms: 400, ..limits() }));
    let check = |mode: &str, code: &str| {
        let bench = if code == "plugin-deadline" { &impatient } else { &patient };
        let (name, attempt) = (key(), bench.mode(mode));
        let error = match mode.rsplit_once("-in-").map_or("submit", |(_, call)| call) {
            "prepare" => bench.host.prepare(&name, &attempt).unwrap_err(),
            "reconcile" => bench.host.reconcile(&name, &attempt).unwrap_err(),
            "check" => bench.host.check_status(&name, &attempt).unwrap_err(),
            "collect" => bench.host.collect_results(&name, &attempt).unwrap_err(),
            "cancel" => bench.host.cancel(&name, &attempt).unwrap_err(),
            _ => bench.host.submit(&name, &attempt).unwrap_err(),
        };
        assert_eq!(error.kind.code(), code, "{mode}: {error}");
    };
    for call in ["prepare", "submit", "reconcile", "check", "collect", "cancel"] {
        check(&format!("trap-in-{call}"), "plugin-trap");
        check(&format!("exit-in-{call}"), "plugin-trap");
        check(&format!("error-in-{call}"), "plugin-error");
        check(&format!("loop-in-{call}"), "plugin-deadline");
        check(&format!("sleep-in-{call}"), "plugin-deadline");
    }
    check("memory-in-submit", "plugin-memory");
    check("huge-handle", "plugin-memory");
    check("long-handle", "plugin-bad-output");
    check("garbage-handle", "plugin-bad-output");
    check("garbage-note-in-reconcile", "plugin-bad-output");
    check("garbage-handle-in-reconcile", "plugin-bad-output");
    check("garbage-handle-in-check", "plugin-bad-output");
    check("garbage-progress-in-check", "plugin-bad-output");
    check("garbage-output-in-collect", "plugin-bad-output");
    check("deep-output-in-collect", "plugin-bad-output");
    check("integer-output-in-collect", "plugin-bad-output");
}

#[test]
fn a_deadline_is_kept_and_the_next_call_is_sound() {
    let bench = hostile(PluginLimits { call_ms: 300, ..limits() });
    for mode in ["loop-in-submit", "sleep-in-submit"] {
        let start = Instant::now();
        let error = bench.host.submit(&key(), &bench.mode(mode)).unwrap_err();
        assert!(matches!(error.kind, PluginErrorKind::Deadline(Bound { value: 300, .. })), "{error}");
        assert!((300..10_000).contains(&start.elapsed().as_millis()), "{mode}: {:?}", start.elapsed());
        bench.host.submit(&key(), &bench.mode("")).unwrap();
    }
    // no event tells that the time of the calls before is over: it would end this one
    std::thread::sleep(Duration::from_millis(350));
    bench.host.submit(&key(), &bench.mode("")).unwrap();
}

#[test]
fn handles_are_limited() {
    let bench = hostile(PluginLimits { handles: 50, ..limits() });
    let error = bench.host.prepare(&key(), &bench.mode("many-handles")).unwrap_err();
    assert_eq!(error.kind.code(), "plugin-limit", "{error}");
    assert!(error.to_string().contains("`limits.plugin.handles` is 50"), "{error}");
}

#[test]
fn every_status_crosses() {
    let bench = hostile(limits());
    let check = |mode: &str, expected: fn(&Status) -> bool| {
        let report = bench.host.check_status(&key(), &bench.mode(mode)).unwrap();
        assert!(expected(&report.status), "{mode}: {report:?}");
    };
    check("queued", |status| *status == Status::Queued);
    check("running", |status| matches!(status, Status::Running(Some(progress)) if progress.contains("50")));
    check("waiting", |status| matches!(status, Status::Waiting { kind, .. } if kind == "person"));
    check("failed", |status| matches!(status, Status::Failed(_)));
    check("cancelled", |status| *status == Status::Cancelled);
    check("not-started", |status| matches!(status, Status::NotStarted(_)));
    check("lost", |status| matches!(status, Status::Lost(_)));
    check("unavailable", |status| matches!(status, Status::Unavailable(_)));
    check("", |status| *status == Status::Succeeded);
}

#[test]
fn nothing_leads_out_of_the_attempt_directory() {
    let bench = hostile(limits());
    fs::write(bench.scratch.path().join("config.json"), "{}").unwrap();
    bench.host.prepare(&key(), &bench.mode("file")).unwrap();
    let directory = bench.scratch.path().join("attempt");
    assert_eq!(fs::read_to_string(directory.join("out.txt")).unwrap(), "written by the operator");
    let output = bench.host.collect_results(&key(), &bench.mode("escape")).unwrap().output.unwrap();
    let expected = json!({"up": false, "absolute": false, "write-up": false, "env": 0, "network": false});
    assert_eq!(serde_json::from_str::<Value>(&output).unwrap(), expected);
    assert!(!bench.scratch.path().join("escaped").exists());
}

#[test]
fn a_link_that_leads_out_is_not_followed() {
    let bench = hostile(limits());
    let attempt = bench.mode("file");
    let secret = bench.file("secret", b"untouched");
    std::os::unix::fs::symlink(&secret, attempt.directory.join("out.txt")).unwrap();
    let error = bench.host.prepare(&key(), &attempt).unwrap_err();
    assert_eq!(error.kind.code(), "plugin-error", "{error}");
    assert_eq!(fs::read(&secret).unwrap(), b"untouched");
}

#[test]
fn without_the_grant_there_is_no_work_directory() {
    let grants = Grants { work: false, ..granted(&["local"]) };
    let bench = Bench::operator(limits(), &guest("hostile-operator"), grants);
    let error = bench.host.prepare(&key(), &bench.mode("file")).unwrap_err();
    assert_eq!(error.kind.code(), "plugin-error", "{error}");
    assert!(!bench.scratch.path().join("attempt/out.txt").exists());
}

#[test]
fn only_granted_environment_is_seen() {
    let bench = Bench::operator(
        limits(),
        &guest("hostile-operator"),
        Grants { env: vec!["PATH".into(), "NO_SUCH_VARIABLE".into()], ..granted(&["local"]) },
    );
    let output = bench.host.collect_results(&key(), &bench.mode("escape")).unwrap().output.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&output).unwrap()["env"], 1);
}

/// What the operator sees with these grants.
fn seen(grants: Grants) -> Value {
    let bench =
        Bench::operator(limits(), &guest("hostile-operator"), Grants { compute: vec!["local".into()], ..grants });
    let output = bench.host.collect_results(&key(), &bench.mode("look")).unwrap().output.unwrap();
    serde_json::from_str(&output).unwrap()
}

#[test]
fn time_and_chance_stand_still_unless_granted() {
    let (one, two) = (seen(Grants::default()), seen(Grants::default()));
    assert_eq!(one["seconds"], 0);
    assert_eq!(one, two, "the same attempt sees the same");
    let clock = seen(Grants { clock: true, ..Grants::default() });
    assert!(clock["seconds"].as_u64().unwrap() > 1_700_000_000, "{clock}");
    assert_eq!(clock["random"], one["random"]);
    let random = Grants { random: true, ..Grants::default() };
    let (one, two) = (seen(random.clone()), seen(random));
    assert_ne!(one["random"], two["random"]);
    assert_eq!(one["seconds"], 0);
}

#[test]
fn no_grant_opens_the_network() {
    let all = Grants { clock: true, random: true, env: vec!["PATH".into()], ..Grants::default() };
    for found in [seen(Grants::default()), seen(all)] {
        for way in ["tcp", "listen", "udp", "lookup"] {
            assert_eq!(found[way], false, "{way}: {found}");
        }
    }
}

#[test]
fn a_plugin_asks_to_be_left_alone_for_a_week_at_most() {
    let bench = hostile(limits());
    let report = bench.host.check_status(&key(), &bench.mode("huge-poll-after")).unwrap();
    assert_eq!(report.poll_after_ms, Some(7 * 24 * 3_600_000));
}

#[test]
fn a_sleep_is_dropped_with_a_real_clock_too() {
    let grants = Grants { clock: true, ..granted(&["local"]) };
    let bench = Bench::operator(PluginLimits { call_ms: 300, ..limits() }, &guest("hostile-operator"), grants);
    let error = bench.host.submit(&key(), &bench.mode("sleep-in-submit")).unwrap_err();
    assert!(matches!(error.kind, PluginErrorKind::Deadline(Bound { value: 300, .. })), "{error}");
}

#[test]
fn a_flood_of_messages_of_an_operator_is_cut() {
    let bench = hostile(PluginLimits { output_mb: 1, host_calls: 100_000_000, ..limits() });
    // what is dropped costs time only, and the deadline ends that
    if let Err(error) = bench.host.submit(&key(), &bench.mode("log-flood-in-submit")) {
        assert_eq!(error.kind.code(), "plugin-deadline", "{error}");
    }
    assert!(bench.notes.0.lock().unwrap().len() < 1_200);
}

#[test]
fn a_pipe_in_the_way_is_an_answer_and_no_wait() {
    let bench = hostile(PluginLimits { call_ms: 600_000, ..limits() });
    let attempt = bench.mode("file");
    let made = std::process::Command::new("mkfifo").arg(attempt.directory.join("out.txt")).status().unwrap();
    assert!(made.success());
    // more often than there could be threads that wait
    for _ in 0..1000 {
        let error = bench.host.prepare(&key(), &attempt).unwrap_err();
        assert_eq!(error.kind.code(), "plugin-error", "{error}");
    }
}

/// The host makes what a call of WASI returns or writes: that is bounded as well.
#[test]
fn no_call_of_wasi_makes_the_host_hold_what_it_names() {
    let bench = hostile(PluginLimits { memory_mb: 512, output_mb: 4, ..limits() });
    let error = bench.host.submit(&key(), &bench.mode("poll-in-submit")).unwrap_err();
    assert_eq!(error.kind.code(), "plugin-bad-output", "{error}");
    assert!(error.to_string().contains("`limits.plugin.output_mb` is 4"), "{error}");
    let error = bench.host.submit(&key(), &bench.mode("zeroes-in-submit")).unwrap_err();
    assert_ne!(error.kind.code(), "plugin-starved", "{error}");
    bench.host.submit(&key(), &bench.mode("")).unwrap();
}
