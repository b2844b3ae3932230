//! A campaign that misbehaves as `params.mode` says; without one it plans one task and completes.
//!
//! It stands on the bare bindings, because the SDK would not let some of this through.
use matterstack_sdk::bindings::campaign::exports::matterstack::plugin::campaign_calls::Guest;
use matterstack_sdk::bindings::campaign::matterstack::plugin::artifacts;
use matterstack_sdk::bindings::campaign::matterstack::plugin::campaign_types::{Context, Decision, Folded, Next};
use matterstack_sdk::bindings::campaign::matterstack::plugin::types::{Detail, Error};
use matterstack_sdk::bindings::campaign::matterstack::plugin::{log, run};
use matterstack_sdk::{Value, json};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The campaign.
pub struct Hostile;

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "exports of a component")]
const _: () = {
    matterstack_sdk::bindings::campaign::__export_campaign_world!(
        Hostile with_types_in matterstack_sdk::bindings::campaign
    );
};

impl Guest for Hostile {
    fn plan(_: Context, state: Option<String>) -> Result<Decision, Error> {
        let params = params();
        if state.is_some() && params["again"] != true {
            return Ok(decision(state.unwrap_or_default(), Next::Complete("{}".into())));
        }
        let mode = params["mode"].as_str().unwrap_or_default();
        misbehave(mode);
        let kept = params.get("state").cloned().unwrap_or_else(|| json!({"mode": mode}));
        let state = seen(mode).unwrap_or(kept).to_string();
        match mode {
            "ugly-error" => {
                let message = format!("red \u{1b}[31m alert\n{}", "x".repeat(1_000_000));
                Err(Error::Other(detail("not a word\n", &message)))
            }
            "long-reason" => {
                let reason = "x".repeat(1_000_000);
                Ok(Decision { reason, ..decision(state, workflow(json!([task("a")]))) })
            }
            "huge-integer-state" => {
                let state = format!("{{\"n\":1{}}}", "0".repeat(60));
                Ok(decision(state, workflow(json!([task("a")]))))
            }
            "error" => Err(Error::Other(detail("hostile", "asked to fail"))),
            "invalid" => Err(Error::Invalid(detail("hostile", "asked to refuse"))),
            "garbage-state" => Ok(decision("{not json".into(), workflow(json!([task("a")])))),
            "big-integer-state" => Ok(decision("{\"n\":9007199254740993}".into(), workflow(json!([task("a")])))),
            "deep-state" => Ok(decision(nested(200_000), workflow(json!([task("a")])))),
            "huge-state" => Ok(decision(format!("\"{}\"", "x".repeat(megabytes(&params))), Next::Wait)),
            "write" => Ok(decision(write_and_read(&params), workflow(json!([task("a")])))),
            "open-tasks" => Ok(decision(json!(open_tasks(&params)).to_string(), Next::Wait)),
            "told" => Ok(decision(told(), Next::Wait)),
            "odd-more" | "garbage-more" | "odd-known" | "known" => {
                let more = match mode {
                    "odd-more" => json!({"known": "skip", "nown": 1}).to_string(),
                    "odd-known" => json!({"known": "drop"}).to_string(),
                    "known" => json!({"known": "skip"}).to_string(),
                    _ => "{not json".into(),
                };
                Ok(Decision { more: Some(more), ..decision(state, workflow(json!([task("a")]))) })
            }
            "summary" => Ok(Decision { summary: Some(params["summary"].to_string()), ..decision(state, Next::Wait) }),
            "garbage-summary" => Ok(Decision { summary: Some("{not json".into()), ..decision(state, Next::Wait) }),
            "data" => Ok(decision(state, Next::Hold(with_data(&params["data"])))),
            "error-with-data" => Err(Error::Invalid(with_data(&params["data"]))),
            "deep" => Ok(decision(json!(down(params["depth"].as_u64().unwrap_or(u64::MAX))).to_string(), Next::Wait)),
            "odd-reads" => Ok(decision(odd_reads(), Next::Wait)),
            "denied-artifact" => Ok(decision(denied_artifact(), workflow(json!([task("a")])))),
            "wait" => Ok(decision(state, Next::Wait)),
            "hold" => Ok(decision(state, Next::Hold(detail("need-person", "which way to go")))),
            "fail" => Ok(decision(state, Next::Fail(detail("gave-up", "there is no way")))),
            "garbage-result" => Ok(decision(state, Next::Complete("{not json".into()))),
            _ => Ok(decision(state, tasks(mode, &params))),
        }
    }

    fn analyze(_: Context, state: String, _finished: String) -> Result<Folded, Error> {
        let params = params();
        match params["mode"].as_str().unwrap_or_default() {
            "error-in-analyze" => Err(Error::Other(detail("hostile", "asked to fail"))),
            "more-in-analyze" => Ok(Folded { more: Some("{\"x\":1}".into()), ..folded(state) }),
            "summary-in-analyze" => Ok(Folded { summary: Some(params["summary"].to_string()), ..folded(state) }),
            "write-in-analyze" => Ok(folded(write_and_read(&params))),
            "garbage-in-analyze" => Ok(folded("{not json".into())),
            "big-integer-in-analyze" => Ok(folded("{\"n\":9007199254740993}".into())),
            "huge-in-analyze" => Ok(folded(format!("\"{}\"", "x".repeat(megabytes(&params))))),
            mode => {
                misbehave(mode.strip_suffix("-in-analyze").unwrap_or_default());
                Ok(folded(state))
            }
        }
    }
}

/// Does what never answers, or never answers in time.
fn misbehave(mode: &str) {
    match mode {
        "loop" => loop {
            std::hint::black_box(());
        },
        "memory" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(std::hint::black_box(vec![1u8; 1 << 20]));
            }
        }
        "trap" => panic!("asked to trap"),
        "exit" => std::process::exit(3),
        "stack" => drop(std::hint::black_box(descend(1))),
        "sleep" => std::thread::sleep(Duration::from_secs(3600)),
        "many-reads" => (0..10_001).for_each(|_| drop(artifacts::read("0", 0, 1))),
        "log-flood" => {
            for line in 0..1_000_000 {
                log::write(log::Level::Info, &format!("line {line} {}", "x".repeat(1000)));
            }
        }
        "log-empty" => (0..1_000_000).for_each(|_| log::write(log::Level::Info, "")),
        "print-lines" => print_lines(),
        "random-flood" => (0..1_000_000).for_each(|_| drop(std::hint::black_box(random_bytes(256 * 1024)))),
        "random-at-once" => drop(std::hint::black_box(random_bytes(u64::MAX))),
        _ => {}
    }
}

/// Standard output, line by line, as an interpreter writes it.
#[expect(clippy::print_stdout, reason = "what a guest prints is what is tried")]
fn print_lines() {
    (0..2_000_000).for_each(|_| println!("a"));
}

/// Random bytes as WASI gives them; the standard library asks for sixteen at a time.
#[expect(unsafe_code, reason = "the standard library has no such function")]
fn random_bytes(length: u64) -> Vec<u8> {
    #[link(wasm_import_module = "wasi:random/random@0.2.6")]
    unsafe extern "C" {
        #[link_name = "get-random-bytes"]
        fn get_random_bytes(length: u64, returned: *mut [usize; 2]);
    }
    let mut returned = [0; 2];
    // SAFETY: the host fills in where it wrote the bytes, which it allocated with this guest's own allocator
    unsafe {
        get_random_bytes(length, &mut returned);
        Vec::from_raw_parts(returned[0] as *mut u8, returned[1], returned[1])
    }
}

#[expect(unconditional_recursion, reason = "overflowing the stack is what it is for")]
fn descend(depth: u64) -> u64 {
    std::hint::black_box([depth; 64])[7] + descend(std::hint::black_box(depth + 1))
}

/// Goes down so many calls, none of which needs more than its own frame.
#[inline(never)]
fn down(calls: u64) -> u64 {
    if calls == 0 { 1 } else { (down(calls - 1).rotate_left(7) ^ calls).wrapping_mul(31) % 1_000_003 }
}

/// What the campaign sees of the world outside its arguments.
fn seen(mode: &str) -> Option<Value> {
    let since_epoch = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
    Some(match mode {
        "random" => json!([RandomState::new().hash_one(7).to_string(), RandomState::new().hash_one(7).to_string()]),
        "clock" => json!({"system": since_epoch(), "elapsed": Instant::now().elapsed().as_nanos().to_string()}),
        "look" => json!({
            "env": std::env::vars().count(),
            "args": std::env::args().count(),
            "root": std::fs::read_dir("/").is_ok(),
            "passwd": std::fs::read("/etc/passwd").is_ok(),
            "network": std::net::TcpStream::connect("127.0.0.1:22").is_ok(),
        }),
        _ => return None,
    })
}

/// The tasks of the modes that plan something the host must refuse; otherwise one honest task.
fn tasks(mode: &str, params: &Value) -> Next {
    let with = |key: &str, value: Value| {
        let mut task = task("a");
        task[key] = value;
        json!([task])
    };
    workflow(match mode {
        "garbage-tasks" => return Next::Workflow("[{not json".into()),
        "deep-tasks" => return Next::Workflow(nested(200_000)),
        "huge-output" => return Next::Workflow(format!("[\"{}\"]", "x".repeat(megabytes(params)))),
        "not-an-array" => json!({"id": "a"}),
        "empty" => json!([]),
        "many-tasks" => (0..params["count"].as_u64().unwrap_or(1000)).map(|n| task(&format!("t{n}"))).collect(),
        "duplicate-ids" => json!([task("a"), task("a")]),
        "empty-id" => json!([task("")]),
        "long-id" => json!([task(&"x".repeat(201))]),
        "control-id" => json!([task("a\u{0}\u{1b}[31m\n")]),
        "big-integer-tasks" => with("input", json!({"n": 9_007_199_254_740_993_u64})),
        "bad-pattern" => with("outputs", json!(["[a"])),
        "no-attempts" => with("retry", json!({"max_attempts": 0})),
        "cycle" => json!([
            {"id": "a", "operator": "local", "command": ["true"], "depends_on": ["b"]},
            {"id": "b", "operator": "local", "command": ["true"], "depends_on": ["a"]},
        ]),
        "self-dependency" => with("depends_on", json!(["a"])),
        "unknown-dependency" => with("depends_on", json!(["nowhere"])),
        "unknown-operator" => with("operator", json!("nobody")),
        "unknown-key" => with("comand", json!(["true"])),
        "wrong-type" => with("depends_on", json!("a")),
        "escaping-file" => with("files", json!({"../../escaped": {"content": "x"}})),
        "absolute-file" => with("files", json!({"/tmp/escaped": {"content": "x"}})),
        "unknown-file" => with("files", json!({"a.txt": {"path": "scripts/nowhere.py"}})),
        "" => json!([task("first")]),
        "no-command" => json!([{"id": "a", "operator": "local"}]),
        _ => json!([task("a")]),
    })
}

fn task(id: &str) -> Value {
    json!({"id": id, "operator": "local", "command": ["true"]})
}

fn workflow(tasks: Value) -> Next {
    Next::Workflow(tasks.to_string())
}

fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

/// `params.megabytes` in bytes, 100 MB without one.
fn megabytes(params: &Value) -> usize {
    params["megabytes"].as_u64().unwrap_or(100) as usize * 1_000_000
}

/// Writes `params.files` files of `params.bytes` bytes, and reads the last one from its middle.
fn write_and_read(params: &Value) -> String {
    let count = |key: &str| params[key].as_u64().unwrap_or(1);
    let mut told = json!(null);
    for file in 0..count("files") {
        let bytes = vec![b'a' + file as u8; count("bytes") as usize];
        told = match artifacts::write(&bytes) {
            Ok(digest) => match artifacts::read(&digest, count("bytes") / 2, 10) {
                Ok(read) => json!({"digest": digest, "read": String::from_utf8_lossy(&read)}),
                Err(_) => json!({"digest": digest}),
            },
            Err(Error::Invalid(detail) | Error::Denied(detail)) => json!({"refused": detail.code}),
            Err(_) => json!("another error"),
        };
    }
    told.to_string()
}

/// What `open-tasks` tells behind `params.after`, at most `params.max`.
fn open_tasks(params: &Value) -> Vec<String> {
    run::open_tasks(params["after"].as_str(), params["max"].as_u64().unwrap_or(u64::MAX) as u32)
}

/// All else that the run tells.
fn told() -> String {
    let document = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    json!({
        "id": run::id(), "params": document(&run::params()), "inputs": document(&run::inputs()),
        "supplied": run::supplied().map(|text| document(&text)),
    })
    .to_string()
}

fn with_data(data: &Value) -> Detail {
    Detail { data: Some(data.to_string()), ..detail("hostile", "asked to refuse") }
}

fn denied_artifact() -> String {
    match artifacts::read(&"0".repeat(64), 0, 10) {
        Ok(_) => json!("read").to_string(),
        Err(Error::Denied(detail)) => json!({"denied": detail.code}).to_string(),
        Err(_) => json!("another error").to_string(),
    }
}

/// Asks for what is no digest, for what no file has, and for both once more.
fn odd_reads() -> String {
    let asked = ["x".repeat(65), "0".repeat(64), "x".repeat(65), "1".repeat(64)];
    let told = asked.iter().map(|digest| match artifacts::read(digest, 0, 10) {
        Err(Error::Denied(detail)) => json!(detail.message),
        _ => json!("another answer"),
    });
    json!(told.collect::<Vec<_>>()).to_string()
}

fn params() -> Value {
    serde_json::from_str(&run::params()).unwrap_or_default()
}

fn decision(state: String, next: Next) -> Decision {
    Decision { state, next, cancel: vec![], wake_at_ms: None, summary: None, reason: "hostile".into(), more: None }
}

fn folded(state: String) -> Folded {
    Folded { state, summary: None, more: None }
}

fn detail(code: &str, message: &str) -> Detail {
    Detail { code: code.into(), message: message.into(), data: None }
}
