//! An operator that misbehaves as `task.input.mode` says; without one every attempt succeeds at once, outside of
//! nothing. `task.input.reconcile` is its answer to `reconcile`: `yes`, `no` (the default) or `unknown`.
use matterstack_sdk::{Attempt, Detail, Error, Found, Operator, Status, StatusReport, Value, compute, json, log};
use std::time::Duration;

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
    fn prepare(attempt: &Attempt) -> Result<(), Error> {
        let input = input(attempt)?;
        let mode = input["mode"].as_str().unwrap_or_default();
        misbehave(mode, "prepare")?;
        write_files(mode, input["megabytes"].as_u64().unwrap_or(100))
    }

    fn submit(attempt: &Attempt) -> Result<String, Error> {
        let input = input(attempt)?;
        let mode = input["mode"].as_str().unwrap_or_default();
        misbehave(mode, "submit")?;
        match mode {
            "denied-backend" => compute::submit("forbidden", "{\"command\":[\"true\"]}"),
            "garbage-handle" => Ok("{not json".into()),
            "huge-handle" => Ok(format!("\"{}\"", "x".repeat(100_000_000))),
            _ => Ok(json!({"key": attempt.submit_key}).to_string()),
        }
    }

    fn reconcile(attempt: &Attempt) -> Result<Found, Error> {
        let input = input(attempt)?;
        misbehave(input["mode"].as_str().unwrap_or_default(), "reconcile")?;
        Ok(match input["reconcile"].as_str() {
            Some("yes") => Found::Yes(json!({"key": attempt.submit_key}).to_string()),
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
        let mut report = StatusReport::from(match mode {
            "queued" => Status::Queued,
            "running" => Status::Running(Some("{\"percent\":50}".into())),
            "garbage-progress" => Status::Running(Some("{not json".into())),
            "waiting" => Status::Waiting { kind: "person".into(), detail: "somebody must look".into() },
            "failed" => Status::Failed(detail),
            "cancelled" => Status::Cancelled,
            "not-started" => Status::NotStarted(detail),
            "lost" => Status::Lost(detail),
            "unavailable" => Status::Unavailable(detail),
            _ => Status::Succeeded,
        });
        report.poll_after_ms = if mode == "huge-poll-after" { Some(u64::MAX) } else { Some(50) };
        Ok(report)
    }

    fn collect_results(attempt: &Attempt) -> Result<Option<String>, Error> {
        let input = input(attempt)?;
        let mode = input["mode"].as_str().unwrap_or_default();
        misbehave(mode, "collect")?;
        Ok(match mode {
            "garbage-output" => Some("{not json".into()),
            "escape" => Some(escape().to_string()),
            _ => None,
        })
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
        "symlink-directory" => symlink("/etc", "/work/out"),
        "big-file" => std::fs::write("/work/out.txt", vec![b'x'; megabytes as usize * 1_000_000]),
        "many-files" => (0..100_000).try_for_each(|n| std::fs::write(format!("/work/{n}.txt"), "x")),
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

#[allow(unsafe_code, reason = "the standard library's symlink is not stable for this target")]
fn symlink(target: &str, link: &str) -> std::io::Result<()> {
    use std::ffi::{CString, c_char, c_int};
    unsafe extern "C" {
        fn symlink(target: *const c_char, link: *const c_char) -> c_int;
    }
    let (target, link) = (CString::new(target)?, CString::new(link)?);
    // SAFETY: both pointers are to strings that end in zero and live through the call
    if unsafe { symlink(target.as_ptr(), link.as_ptr()) } == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
