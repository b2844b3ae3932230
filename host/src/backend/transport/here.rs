//! The cluster's commands are on this machine.
use super::{Exec, Finished, NoAnswer, Transport, child};
use std::process::Command;

/// Runs scripts with `/bin/sh` on this machine, in the environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Here;

impl Transport for Here {
    fn exec(&self, call: Exec<'_>) -> Result<Finished, NoAnswer> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(call.script);
        Ok(child::run(command, call)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    const LONG: Duration = Duration::from_secs(20);

    fn exec(script: &str) -> Result<Finished, NoAnswer> {
        exec_within(script, LONG)
    }

    fn exec_within(script: &str, timeout: Duration) -> Result<Finished, NoAnswer> {
        Here.exec(Exec::of(script, timeout))
    }

    #[test]
    fn a_script_ends_with_its_code_and_both_outputs() {
        let done = exec("echo out; echo err >&2; exit 3").expect("an answer");
        assert_eq!(done, Finished { code: 3, stdout: b"out\n".to_vec(), stderr: b"err\n".to_vec() });
        assert_eq!(exec("kill -9 $$").expect("an answer").code, 137);
    }

    #[test]
    fn large_streams_pass_both_ways() {
        let text = vec![b'x'; 3_000_000];
        let mut back = Vec::new();
        let call = Exec { script: "cat", stdin: Some(&mut text.as_slice()), stdout: Some(&mut back), timeout: LONG };
        let done = Here.exec(call).expect("an answer");
        assert_eq!((done.code, done.stdout.len(), back == text), (0, 0, true));
    }

    #[test]
    fn a_script_that_does_not_read_is_no_error() {
        let text = vec![b'x'; 3_000_000];
        let call =
            Exec { script: "exec <&-; echo done", stdin: Some(&mut text.as_slice()), stdout: None, timeout: LONG };
        assert_eq!(Here.exec(call).expect("an answer").stdout, b"done\n");
    }

    #[test]
    fn a_late_script_is_lost_and_its_whole_group_is_killed() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let pid = directory.path().join("pid");
        let script = format!("sleep 100 & echo $! > {}; wait", pid.display());
        let started = Instant::now();
        let answer = Here.exec(Exec::of(&script, Duration::from_millis(700)));
        assert!(matches!(answer, Err(NoAnswer::Lost(_))), "{answer:?}");
        assert!(started.elapsed() < LONG);
        let pid: i32 = std::fs::read_to_string(pid).expect("started").trim().parse().expect("a number");
        while crate::ground::machine::process_start_time(pid).is_some() {
            assert!(started.elapsed() < LONG, "{pid} lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_stream_may_take_as_long_as_its_bytes_need() {
        let short = Duration::from_millis(500);
        let mut back = Vec::new();
        // a second and a half for 256 KiB, which allow four
        let script = "for i in 1 2 3; do head -c 87382 /dev/zero; sleep 0.5; done";
        let done = Here.exec(Exec { script, stdin: None, stdout: Some(&mut back), timeout: short });
        assert_eq!((done.expect("an answer").code, back.len()), (0, 3 * 87382));
        assert!(matches!(exec_within("for i in 1 2 3; do echo; sleep 0.5; done", short), Err(NoAnswer::Lost(_))));
    }

    #[test]
    fn what_a_script_leaves_running_does_not_hold_the_answer_up() {
        let started = Instant::now();
        let done = exec("sleep 5 & echo done").expect("an answer");
        assert_eq!(done.stdout, b"done\n");
        assert!(started.elapsed() < Duration::from_secs(4));
    }
}
