//! An operator that misbehaves as `task.input.mode` says; without one every attempt succeeds at once, outside of
//! nothing. `task.input.reconcile` is its answer to `reconcile`: `yes`, `no` (the default) or `unknown`;
//! `task.input.status` the status it reports beside misbehaving.
use matterstack_sdk::{
    Attempt, Collected, Detail, Error, Found, Operator, Status, StatusReport, Submitted, Value, compute, json, log,
};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The operator.
pub struct Hostile;

matterstack_sdk::export_operator!(Hostile);

fn input(attempt: &Attempt) -> Result<Value, Error> {
    Ok(attempt.task::<Value>()?["input"].clone())
}

/// Does what never answers, if the mode is `WHAT-in-CALL`.
fn misbehave(mode: &str, call: &str) -> Result<(), Error> {
    let detail = || Detail::new("hostile", format!("asked to fail in {call}"));
    match mode.strip_suffix(call).and_then(|rest| rest.strip_suffix("-in-")) {
        Some("trap") => panic!("asked to trap in {call}"),
        Some("loop") => loop {
            std::hint::black_box(());
        },
        Some("sleep") => std::thread::sleep(Duration::from_secs(3600)),
        Some("exit") => std::process::exit(3),
        Some("poll") => poll_one(20_000_000),
        Some("zeroes") => write_zeroes(u64::MAX),
        Some("memory") => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(std::hint::black_box(vec![1u8; 1 << 20]));
            }
        }
        Some("log-flood") => (0..1_000_000).for_each(|line| log::info(format!("line {line} {}", "x".repeat(1000)))),
        Some("error") => return Err(Error::Other(detail())),
        Some("invalid") => return Err(Error::Invalid(detail())),
        Some("rejected") => return Err(Error::Rejected(detail())),
        Some("transient") => return Err(Error::Transient(detail(), Some(50))),
        Some("ambiguous") => return Err(Error::Ambiguous(detail())),
        _ => {}
    }
    Ok(())
}

impl Operator for Hostile {
    fn prepare(attempt: &Attempt) -> Result<Option<String>, Error> {
        let input = input(attempt)?;
        let mode = input["mode"].as_str().unwrap_or_default();
        misbehave(mode, "prepare")?;
        write_files(mode, input["megabytes"].as_u64().unwrap_or(100))?;
        Ok(match mode {
            "tells" => Some(json!({"made_ready": attempt.number}).to_string()),
            "garbage-prepared" => Some("{not json".into()),
            _ => None,
        })
    }

    fn submit(attempt: &Attempt) -> Result<Submitted, Error> {
        let input = input(attempt)?;
        let mode = input["mode"].as_str().unwrap_or_default();
        misbehave(mode, "submit")?;
        if mode == "tells" {
            let handle = json!({"prepared": attempt.prepared}).to_string();
            return Ok(Submitted::new(handle).known_as("sample 7\u{1b}[31m"));
        }
        Ok(Submitted::new(match mode {
            "denied-backend" => return compute::submit("forbidden", "{\"command\":[\"true\"]}"),
            "garbage-handle" => "{not json".into(),
            "long-handle" => format!("\"{}\"", "x".repeat(1_000_000)),
            "huge-handle" => format!("\"{}\"", "x".repeat(100_000_000)),
            _ => json!({"key": attempt.submit_key}).to_string(),
        }))
    }

    fn reconcile(attempt: &Attempt) -> Result<Found, Error> {
        let input = input(attempt)?;
        misbehave(input["mode"].as_str().unwrap_or_default(), "reconcile")?;
        let garbage = || "{not json".to_owned();
        Ok(match input["reconcile"].as_str().or(input["mode"].as_str()) {
            Some("garbage-note-in-reconcile") => Found::Unknown { note: garbage(), poll_after_ms: 50 },
            Some("garbage-handle-in-reconcile") => Found::Yes(Submitted::new(garbage())),
            Some("yes") => Found::Yes(Submitted::new(json!({"key": attempt.submit_key}).to_string())),
            Some("unknown") => {
                Found::Unknown { note: json!({"message": "cannot tell"}).to_string(), poll_after_ms: 50 }
            }
            _ => Found::No,
        })
    }

    fn check_status(attempt: &Attempt) -> Result<StatusReport, Error> {
        let input = input(attempt)?;
        let mode = input["mode"].as_str().unwrap_or_default();
        misbehave(mode, "check")?;
        let detail = Detail::new("hostile", "asked for this status");
        let mut report = StatusReport::from(match input["status"].as_str().unwrap_or(mode) {
            "queued" => Status::Queued,
            "running" => Status::Running(Some("{\"percent\":50}".into())),
            "garbage-progress-in-check" => Status::Running(Some("{not json".into())),
            "ugly" => Status::Failed(Detail::new("not a word\n", format!("red \u{1b}[31m{}", "x".repeat(1_000_000)))),
            "waiting" => Status::Waiting { kind: "person".into(), detail: "somebody must look".into() },
            "failed" => Status::Failed(detail),
            "cancelled" => Status::Cancelled,
            "not-started" => Status::NotStarted(detail),
            "lost" => Status::Lost(detail),
            "unavailable" => Status::Unavailable(detail),
            _ => Status::Succeeded,
        });
        report.poll_after_ms = if mode == "huge-poll-after" { Some(u64::MAX) } else { Some(50) };
        report.handle = (mode == "garbage-handle-in-check").then(|| "{not json".into());
        if mode == "huge-poll-after" {
            report.status = Status::Queued;
        }
        Ok(report)
    }

    fn collect_results(attempt: &Attempt) -> Result<Collected, Error> {
        let input = input(attempt)?;
        let mode = input["mode"].as_str().unwrap_or_default();
        misbehave(mode, "collect")?;
        let usage = match mode {
            "tells" => Some(json!({"cpu_s": 1.5, "material": {"ink": {"amount": 2, "unit": "mL"}}, "shots": 3})),
            "garbage-usage" => Some(json!({"cpu_s": "much"})),
            "listed-usage" => Some(json!([1])),
            _ => None,
        };
        let output = match mode {
            "tells" => Some(json!({"prepared": attempt.prepared, "handle": attempt.handle}).to_string()),
            "garbage-output-in-collect" => Some("{not json".into()),
            "deep-output-in-collect" => Some("[".repeat(200_000) + &"]".repeat(200_000)),
            "integer-output-in-collect" => Some("{\"n\":9007199254740993}".into()),
            "escape" => Some(escape().to_string()),
            "look" => Some(look().to_string()),
            "list" => Some(list("/exchange").to_string()),
            _ => None,
        };
        let usage = usage.or_else(|| input.get("usage").cloned());
        Ok(Collected { output, usage: usage.map(|usage| usage.to_string()) })
    }

    fn cancel(attempt: &Attempt) -> Result<(), Error> {
        misbehave(input(attempt)?["mode"].as_str().unwrap_or_default(), "cancel")
    }
}

/// Leaves in `/work` what the host must not follow or must not accept.
fn write_files(mode: &str, megabytes: u64) -> Result<(), Error> {
    let done = match mode {
        "symlink" => symlink("/etc/passwd", "/work/out.txt"),
        "symlink-up" => symlink("../../../state.sqlite", "/work/out.txt"),
        "symlink-directory" => symlink("../../..", "/work/out"),
        "big-file" => std::fs::write("/work/out.txt", vec![b'x'; megabytes as usize * 1_000_000]),
        "many-handles" => {
            let open: Vec<_> = (0..1000).map(|_| std::fs::read_dir("/work")).collect();
            std::hint::black_box(&open);
            Ok(())
        }
        "many-files" => (0..200).try_for_each(|n| std::fs::write(format!("/work/{n}.txt"), "x")),
        "deep-directories" => std::fs::create_dir_all(format!("/work/{}", "d/".repeat(200)))
            .and_then(|()| std::fs::write("/work/out.txt", "x")),
        "file" => std::fs::write("/work/out.txt", "written by the operator"),
        _ => Ok(()),
    };
    done.map_err(|error| Error::other("io", error.to_string()))
}

/// Which ways out of `/work` are open: none should be.
fn escape() -> Value {
    json!({
        "up": std::fs::read("/work/../../../config.json").is_ok(),
        "absolute": std::fs::read("/etc/passwd").is_ok(),
        "write-up": std::fs::write("/work/../escaped", "x").is_ok(),
        "env": std::env::vars().count(),
        "network": std::net::TcpStream::connect("127.0.0.1:22").is_ok(),
    })
}

/// A directory, read as often at once as there are handles for, and what stands in it.
fn list(directory: &str) -> Value {
    let mut open: Vec<_> = (0..100).map_while(|_| std::fs::read_dir(directory).ok()).collect();
    open.iter_mut().for_each(|listing| drop(listing.next()));
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    json!({"open": open.len(), "entries": entries.count()})
}

/// Waits for what is over at once, named so many times in one list.
#[expect(unsafe_code, reason = "the standard library has no such function")]
fn poll_one(times: usize) {
    #[link(wasm_import_module = "wasi:clocks/monotonic-clock@0.2.6")]
    unsafe extern "C" {
        #[link_name = "subscribe-duration"]
        fn subscribe_duration(nanoseconds: u64) -> u32;
    }
    #[link(wasm_import_module = "wasi:io/poll@0.2.6")]
    unsafe extern "C" {
        #[link_name = "poll"]
        fn poll(list: *const u32, length: usize, returned: *mut [usize; 2]);
    }
    let mut returned = [0; 2];
    // SAFETY: the list lives through the call, and what is returned is never looked at
    unsafe {
        let list = vec![subscribe_duration(0); times];
        poll(list.as_ptr(), list.len(), &mut returned);
    }
}

/// Writes so many zeroes to standard output at once.
#[expect(unsafe_code, reason = "the standard library has no such function")]
fn write_zeroes(count: u64) {
    #[link(wasm_import_module = "wasi:cli/stdout@0.2.6")]
    unsafe extern "C" {
        #[link_name = "get-stdout"]
        fn get_stdout() -> u32;
    }
    #[link(wasm_import_module = "wasi:io/streams@0.2.6")]
    unsafe extern "C" {
        #[link_name = "[method]output-stream.write-zeroes"]
        fn write_zeroes(stream: u32, count: u64, returned: *mut [u32; 3]);
    }
    let mut returned = [0; 3];
    // SAFETY: the host fills in a result of three words
    unsafe { write_zeroes(get_stdout(), count, &mut returned) };
}

/// What the operator sees of time, chance and the network.
fn look() -> Value {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    json!({
        "seconds": seconds,
        "random": RandomState::new().hash_one(7).to_string(),
        "env": std::env::vars().collect::<Vec<_>>(),
        "tcp": std::net::TcpStream::connect("127.0.0.1:22").is_ok(),
        "listen": std::net::TcpListener::bind("127.0.0.1:0").is_ok(),
        "udp": std::net::UdpSocket::bind("127.0.0.1:0").is_ok(),
        "lookup": std::net::ToSocketAddrs::to_socket_addrs("localhost:22").is_ok(),
    })
}

#[expect(unsafe_code, reason = "the standard library's symlink is not stable for this target")]
fn symlink(target: &str, link: &str) -> std::io::Result<()> {
    use std::ffi::{CString, c_char, c_int};
    unsafe extern "C" {
        fn symlink(target: *const c_char, link: *const c_char) -> c_int;
    }
    let (target, link) = (CString::new(target)?, CString::new(link)?);
    // SAFETY: both pointers are to strings that end in zero and live through the call
    if unsafe { symlink(target.as_ptr(), link.as_ptr()) } == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    // `prepare` may be called again
    if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}
