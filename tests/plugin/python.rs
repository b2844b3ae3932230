//! Scripts in Python: what their runner makes of mistakes, of modules and of what varies between two executions.
use super::*;
use crate::support::runner;
use matterstack::model::contract::Next;
use std::collections::BTreeMap;

/// The files of a run, by digest.
struct Files(BTreeMap<String, Vec<u8>>);

impl Artifacts for Files {
    fn read(&self, digest: &str, offset: u64, max: u32) -> Result<Vec<u8>, GuestError> {
        let bytes = self.0.get(digest).ok_or_else(|| GuestError::Denied(Detail::new("unknown-digest", "no file")))?;
        Ok(bytes.iter().skip(offset as usize).take(max as usize).copied().collect())
    }
}

/// A host whose campaign and operator are scripts, and what was logged.
struct Scripted {
    host: PluginHost,
    notes: Arc<Notes>,
}

/// The limits of a host unless a test needs others.
fn roomy() -> PluginLimits {
    PluginLimits::default()
}

fn scripted(script: &str, modules: &[(&str, &[u8])], limits: PluginLimits) -> Scripted {
    let mut files = BTreeMap::new();
    let mut named = |path: &str, bytes: &[u8]| {
        files.insert(sha256(bytes), bytes.to_vec());
        json!({"path": path, "sha256": sha256(bytes), "size": bytes.len()})
    };
    let more = json!({
        "script": named("campaign.py", script.as_bytes()),
        "modules": modules.iter().map(|(path, bytes)| named(path, bytes)).collect::<Vec<_>>(),
    });
    let notes = Arc::new(Notes::default());
    // compiled once for all tests of the suite, and kept
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/matterstack");
    let mut host = PluginHost::new(HostSettings {
        compiler: compiler(Some(cache), CompileLimits::default()),
        compute: Arc::new(Desk),
        backends: vec!["local".to_owned()],
        artifacts: Arc::new(Files(files)),
        log: notes.clone(),
        limits,
    });
    let source = PluginSource { script: Some(more.to_string()), ..source(&runner("python")) };
    host.set_campaign(source.clone());
    host.add_operator(key(), source, granted(&["local"]));
    Scripted { host, notes }
}

impl Scripted {
    fn plan(&self) -> Result<Decision, PluginError> {
        self.host.plan(&context(json!({})), None).value
    }

    /// The detail that a plan fails with.
    #[track_caller]
    fn refusal(&self) -> Detail {
        match self.plan().unwrap_err().kind {
            PluginErrorKind::Guest(error) => error.detail().clone(),
            other => panic!("{other:?}"),
        }
    }

    fn logged(&self) -> String {
        self.notes.0.lock().unwrap().iter().map(|(.., message)| format!("{message}\n")).collect()
    }
}

/// A script whose `plan` is this.
fn planning(body: &str) -> String {
    format!("def plan(ctx, state):\n    {}\n", body.replace('\n', "\n    "))
}

#[test]
fn a_mistake_in_a_script_is_told_by_what_and_where() {
    let cases: &[(&str, &[&str])] = &[
        ("def plan(ctx, state)\n    pass\n", &["SyntaxError: expected ':' (campaign.py:1: def plan(ctx, state))"]),
        ("import numpy\n", &["No module named 'numpy'", "builtin:ask-tell", "docs/ask-tell.md", "campaign.py:1"]),
        ("import helpers\n", &["No module named 'helpers'", "`campaign.modules`"]),
        ("import sqlite3\n", &["Python's own library is not in the sandbox"]),
        ("def plann(ctx, state): pass\n", &["no function `plan(ctx, state)`", "is `plann` meant?"]),
        ("def plan(ctx): pass\n", &["TypeError: plan() takes 1 positional argument", "campaign.py:1 in plan"]),
        (&planning("return f(ctx)"), &["NameError: name 'f' is not defined (campaign.py:2 in plan: return f(ctx))"]),
        (&planning("import sys\nsys.exit(3)"), &["SystemExit: 3", "a script ends by what it returns"]),
        (&planning("import os\nos._exit(3)"), &["SystemExit", "campaign.py:3"]),
        (&planning("yield 1"), &["`plan` returned a generator", "`yield`"]),
        (&planning("pass"), &["`plan` returned nothing", "campaign.py:1 in plan"]),
        (&planning("return {'wait': True, 'resaon': ''}"), &["unknown key `resaon`; is `reason` meant?"]),
        (&planning("return {'wait': True, 'state': {'a': [float('nan')]}}"), &["`state.a[0]` is NaN"]),
        (&planning("return {'wait': True, 'state': {1}}"), &["`state` is a set, which is no JSON"]),
        (
            &planning("return {'complete': {'a': '\\ud83d'}}"),
            &["`complete.a` holds half a character (`\\ud83d`", "campaign.py:1"],
        ),
        (&planning("print('\\ud83d')\nraise ValueError('\\ud83d')"), &["ValueError: \\ud83d (campaign.py:3"]),
        (&planning("return {'wait': True, 'wake_at_ms': -1}"), &["`wake_at_ms` is -1; it cannot be negative"]),
        (&planning("return open('x.csv').read()"), &["FileNotFoundError", "ctx.text(name)"]),
        (&planning("return ctx.text('start')"), &["`campaign.inputs` has no `start`", "campaign.py:2"]),
        (&planning("return [0] * 1_000_000_000"), &["MemoryError", "`limits.plugin`", "campaign.py:2"]),
    ];
    for (script, parts) in cases {
        let detail = scripted(script, &[], roomy()).refusal();
        for part in *parts {
            assert!(detail.message.contains(part), "{script}: {}", detail.message);
        }
    }
}

#[test]
fn what_was_raised_is_there_for_programs_and_its_traceback_in_the_log() {
    let script = "def helper(values):\n    return values['energy']\n\ndef plan(ctx, state):\n    return helper({})\n";
    let scripted = scripted(script, &[], roomy());
    let detail = scripted.refusal();
    assert_eq!(detail.code, "exception");
    assert_eq!(detail.message, "KeyError: 'energy' (campaign.py:2 in helper: return values['energy'])");
    let data = json!({"type": "KeyError", "message": "'energy'", "file": "campaign.py", "line": 2,
        "function": "helper", "source": "return values['energy']"});
    assert_eq!(detail.data, Some(data));
    let logged = scripted.logged();
    for part in ["Traceback", "line 5, in plan", "return helper({})", "KeyError: 'energy'"] {
        assert!(logged.contains(part), "{logged}");
    }
    assert!(!logged.contains("matterstack_component"), "{logged}");
}

#[test]
fn endless_recursion_is_an_exception_and_an_endless_loop_takes_its_fuel() {
    for body in [
        "f = lambda n: f(n + 1)\nreturn f(0)",
        "import sys\nsys.setrecursionlimit(10**9)\nf = lambda n: f(n + 1)\nreturn f(0)",
        "f = lambda n: list(map(f, [n]))\nreturn f(0)",
        "import json\nreturn json.loads('[' * 100_000)",
        "a = []\nfor _ in range(100_000): a = [a]\nreturn repr(a)",
    ] {
        let detail = scripted(&planning(body), &[], roomy()).refusal();
        assert!(detail.message.starts_with("RecursionError"), "{body}: {}", detail.message);
    }
    let little = PluginLimits { fuel: 1_000_000_000, ..roomy() };
    let error = scripted(&planning("while True: pass"), &[], little).plan().unwrap_err();
    assert_eq!(error.kind.code(), "plugin-fuel", "{error}");
}

/// What an author's code has made of an error is told like any other mistake, and is no trap.
#[test]
fn an_error_that_is_not_what_an_error_is_is_told() {
    for (body, part) in [
        (
            "raise Error('other', 5, 'm')",
            "TypeError: `code` of an error is a whole number, and not a text (campaign.py:3",
        ),
        ("raise Error('transient', 'c', 'm', -7)", "`retry_after_ms` of an error is -7"),
        ("raise Error('other', 'c', 'm', None, {'x': float('nan')})", "`data.x` is NaN"),
        ("e = Error('other', 'c', 'm')\ne.kind, e.message, e.data = 'q', 5, {1}\nraise e", "5"),
        ("class Own(Error):\n  def __init__(self): pass\nraise Own()", "there is no message"),
    ] {
        let script = "from matterstack import Error\n".to_owned() + &planning(body);
        let detail = scripted(&script, &[], roomy()).refusal();
        assert!(detail.message.contains(part), "{body}: {}", detail.message);
    }
}

#[test]
fn a_script_says_itself_what_kind_an_error_is() {
    let script = "from matterstack import Error\n".to_owned()
        + &planning("raise Error('transient', 'busy', 'the table is locked', 500, {'path': 'table'})");
    let error = scripted(&script, &[], roomy()).plan().unwrap_err();
    let detail =
        Detail { data: Some(json!({"path": "table"})), ..Detail::new("busy", "the table is locked (at table)") };
    assert!(
        matches!(&error.kind, PluginErrorKind::Guest(GuestError::Transient { detail: said, retry_after_ms: Some(500) })
            if *said == detail),
        "{error:?}"
    );
    let script = "def submit(attempt): pass\ndef reconcile(attempt): pass\n";
    let script = scripted(script, &[], roomy());
    let bench = Bench::new(limits());
    let attempt = bench.attempt(json!({}));
    let error = script.host.submit(&key(), &attempt).unwrap_err();
    assert!(error.to_string().contains("`submit` returned nothing"), "{error}");
    let error = script.host.check_status(&key(), &attempt).unwrap_err();
    assert!(error.to_string().contains("no function `check_status(attempt)`"), "{error}");
    assert_eq!(script.host.prepare(&key(), &attempt).unwrap(), None);
    script.host.cancel(&key(), &attempt).unwrap();
}

#[test]
fn an_operator_reads_what_its_backend_says() {
    let script = "
def submit(attempt): return attempt.compute.submit('local', {'command': attempt.task.input['mode']})
def reconcile(attempt): return attempt.compute.find('local')
def check_status(attempt): return attempt.compute.status('local', attempt.handle)
def collect_results(attempt): return {'output': attempt.compute.collect('local', attempt.handle)}
def cancel(attempt): attempt.compute.cancel('local', attempt.handle)
";
    let script = scripted(script, &[], roomy());
    let bench = Bench::new(limits());
    let mut attempt = bench.mode("go");
    let handle: Value = serde_json::from_str(&script.host.submit(&key(), &attempt).unwrap().handle).unwrap();
    assert_eq!((&handle["on"], &handle["document"]["command"]), (&json!("local"), &json!("go")));
    assert_eq!(script.host.reconcile(&key(), &attempt).unwrap(), Found::No);
    attempt.attempt_id = "unclear".into();
    let found = script.host.reconcile(&key(), &attempt).unwrap();
    assert_eq!(found, Found::Unknown { note: "{\"asked\":1}".into(), poll_after_ms: 250 });
    attempt.attempt_id = "known".into();
    assert!(matches!(script.host.reconcile(&key(), &attempt).unwrap(), Found::Yes(_)));
    attempt.handle = Some("{\"pid\":7}".into());
    let report = script.host.check_status(&key(), &attempt).unwrap();
    assert_eq!((report.status, report.poll_after_ms), (Status::Running(None), Some(5)));
    assert!(script.host.collect_results(&key(), &attempt).unwrap().output.unwrap().contains("\"exit\":0"));
    let error = script.host.cancel(&key(), &attempt).unwrap_err();
    assert!(error.to_string().contains("the scheduler is busy"), "{error}");
}

#[test]
fn nothing_varies_between_two_executions() {
    let body = "import datetime, os, random, time, uuid
state = [random.random(), random.gauss(0, 1), str(uuid.uuid4()), os.urandom(4).hex(),
         list({'a', 'b', 'c', 'd'}), hash('x'),
         time.time(), str(datetime.datetime.now()), ctx.random(), id(ctx) % 1000]
return {'wait': True, 'state': state}";
    let states = [(); 2].map(|()| scripted(&planning(body), &[], roomy()).plan().unwrap().state);
    assert_eq!(states[0], states[1]);
    assert!(states[0].contains("2023-11-14 22:13:20.123"), "{}", states[0]);
    let script = scripted(&planning(body), &[], roomy());
    let later = Context { decision: 2, ..context(json!({})) };
    let later: Vec<Value> = serde_json::from_str(&script.host.plan(&later, None).value.unwrap().state).unwrap();
    let first: Vec<Value> = serde_json::from_str(&states[0]).unwrap();
    for place in [0, 1, 2, 3, 8] {
        assert_ne!(first[place], later[place], "{first:?}");
    }
}

#[test]
fn a_module_is_imported_from_what_is_pinned_with_the_script() {
    let modules: &[(&str, &[u8])] =
        &[("helpers.py", b"from bag.inner import X\ndef fails():\n    return {}['q']\n"), ("bag/inner.py", b"X = 7\n")];
    let script = "import helpers\n".to_owned() + &planning("return {'wait': True, 'state': helpers.X}");
    assert_eq!(scripted(&script, modules, roomy()).plan().unwrap().state, "7");
    let script = "import helpers\n".to_owned() + &planning("return helpers.fails()");
    let message = scripted(&script, modules, roomy()).refusal().message;
    assert_eq!(message, "KeyError: 'q' (helpers.py:3 in fails: return {}['q'])");
}

#[test]
fn what_a_script_prints_goes_to_the_log() {
    let body = "import logging, sys
print('to out', end='')
print(' and on')
print('to err', file=sys.stderr)
logging.getLogger('mine').info('logged %d', 3)
ctx.log('said', 'debug')
print('open', end='')
return {'hold': {'code': 'look', 'message': 'a person must look', 'data': {'form': {}}}}";
    let script = scripted(&planning(body), &[], roomy());
    let decision = script.plan().unwrap();
    let held = Detail { data: Some(json!({"form": {}})), ..Detail::new("look", "a person must look") };
    assert_eq!(decision.next, Next::Hold(held));
    let notes = script.notes.0.lock().unwrap().clone();
    let notes: Vec<(LogLevel, &str)> = notes.iter().map(|(_, _, level, text)| (*level, text.as_str())).collect();
    let expected = [
        (LogLevel::Info, "to out and on"),
        (LogLevel::Warn, "to err"),
        (LogLevel::Info, "logged 3"),
        (LogLevel::Debug, "said"),
        (LogLevel::Info, "open"),
    ];
    assert_eq!(notes, expected);
}
