//! One child process: its streams, its end, and a limit on its time.
use super::{Exec, Finished, NoAnswer};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes of output that are kept.
const STDOUT_MAX: usize = 256 * 1024 * 1024;
/// Bytes of standard error that are kept; the rest is read and dropped.
const STDERR_MAX: usize = 64 * 1024;
const CHUNK: usize = 64 * 1024;
/// Bytes that give a stream a second more: a slower one counts as dead.
const BYTES_PER_S: f64 = 64.0 * 1024.0;
/// A pipe holds no more than this many chunks, however large a process has made it.
const CHUNKS_AT_ONCE: usize = 16;

/// Why there is no end of a child to tell of.
#[derive(Debug)]
pub(super) enum NoEnd {
    /// There is no such program.
    NotFound(String),
    /// It could not be started: the sentence.
    NotStarted(String),
    /// It was started, and how it ended is not known: the sentence.
    Lost(String),
}

impl From<NoEnd> for NoAnswer {
    fn from(no_end: NoEnd) -> Self {
        match no_end {
            NoEnd::NotFound(program) => Self::Unreachable(format!("program `{program}` not found")),
            NoEnd::NotStarted(text) => Self::Unreachable(text),
            NoEnd::Lost(text) => Self::Lost(text),
        }
    }
}

/// Runs the command, which is the script of `call` in some shell, to its end. A child that is late is killed with its
/// process group; what a child that ended has left running is let be.
pub(super) fn run(mut command: Command, call: Exec<'_>) -> Result<Finished, NoEnd> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if call.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = crate::backend::program::spawn(&mut command).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NoEnd::NotFound(program.clone()),
        _ => NoEnd::NotStarted(format!("program `{program}` cannot be started: {error}")),
    })?;
    let group = Pid::from_child(&child);
    let heard = Conversation::new(&mut child, call).and_then(Conversation::hold);
    if heard.is_err() {
        // not yet waited for, so the group is still ours
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait().map_err(|error| NoEnd::Lost(format!("`{program}` cannot be waited for: {error}")))?;
    let (stdout, stderr) = heard.map_err(NoEnd::Lost)?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
    Ok(Finished { code, stdout, stderr })
}

/// What goes between the host and the child. An error is the sentence on why there is no answer.
struct Conversation<'a> {
    source: Option<&'a mut dyn Read>,
    sink: Option<&'a mut dyn Write>,
    stdin: Option<ChildStdin>,
    unsent: Vec<u8>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    ended: OwnedFd,
    kept: (Vec<u8>, Vec<u8>),
    timeout: Duration,
    /// Bytes that passed, both ways.
    passed: u64,
}

impl<'a> Conversation<'a> {
    fn new(child: &mut Child, call: Exec<'a>) -> Result<Self, String> {
        let failed = |error: rustix::io::Errno| format!("the process cannot be watched: {error}");
        let ended = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).map_err(failed)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        for descriptor in
            [stdin.as_ref().map(AsFd::as_fd), stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)]
        {
            descriptor.map_or(Ok(()), |descriptor| rustix::io::ioctl_fionbio(descriptor, true)).map_err(failed)?;
        }
        Ok(Self {
            source: call.stdin,
            sink: call.stdout,
            stdin,
            unsent: Vec::new(),
            stdout: stdout.map(OwnedFd::from),
            stderr: stderr.map(OwnedFd::from),
            ended,
            kept: (Vec::new(), Vec::new()),
            timeout: call.timeout,
            passed: 0,
        })
    }

    fn hold(mut self) -> Result<(Vec<u8>, Vec<u8>), String> {
        let started = Instant::now();
        loop {
            self.fill()?;
            let allowed = self.timeout + Duration::from_secs_f64(self.passed as f64 / BYTES_PER_S);
            let left = allowed.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(format!("no answer within {:.1} s", allowed.as_secs_f32()));
            }
            let [writable, ended] = self.wait(left)?;
            if writable {
                self.send();
            }
            self.hear()?;
            if ended {
                return Ok(self.kept);
            }
        }
    }

    /// Reads ahead what is to be sent. A source that would block has nothing yet, and is asked again after the next
    /// event.
    fn fill(&mut self) -> Result<(), String> {
        if self.stdin.is_none() || !self.unsent.is_empty() {
            return Ok(());
        }
        let Some(source) = &mut self.source else { return Ok(()) };
        self.unsent.resize(CHUNK, 0);
        let read = source.read(&mut self.unsent);
        self.unsent.truncate(*read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => self.stdin = None,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(format!("what is to be sent: {error}")),
        }
        Ok(())
    }

    /// Waits for anything; tells whether the child takes input and whether it has ended.
    fn wait(&self, left: Duration) -> Result<[bool; 2], String> {
        let mut polled = vec![PollFd::new(&self.ended, PollFlags::IN)];
        let stdin = self.stdin.as_ref().filter(|_| !self.unsent.is_empty());
        polled.extend(stdin.map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
        let writable = polled.len() - 1;
        polled.extend([&self.stdout, &self.stderr].into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("the process cannot be watched: {error}")),
        }
        let ready = |index: usize| !polled[index].revents().is_empty();
        Ok([writable == 1 && ready(1), ready(0)])
    }

    /// Sends what fits. A child that no longer reads is no error: its exit code tells.
    fn send(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        match stdin.write(&self.unsent) {
            Ok(count) => {
                self.unsent.drain(..count);
                self.passed += count as u64;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.stdin = None,
        }
    }

    /// Takes what the child has written so far: at least what a pipe holds, and not for ever from one that never stops.
    fn hear(&mut self) -> Result<(), String> {
        let mut buffer = vec![0_u8; CHUNK];
        for _ in 0..CHUNKS_AT_ONCE {
            let Some(count) = read_some(&mut self.stdout, &mut buffer) else { break };
            self.passed += count as u64;
            let heard = buffer.get(..count).unwrap_or_default();
            match &mut self.sink {
                Some(sink) => sink.write_all(heard).map_err(|error| format!("what was received: {error}"))?,
                None if self.kept.0.len() + count > STDOUT_MAX => {
                    return Err(format!("more than {STDOUT_MAX} bytes of output"));
                }
                None => self.kept.0.extend_from_slice(heard),
            }
        }
        for _ in 0..CHUNKS_AT_ONCE {
            let Some(count) = read_some(&mut self.stderr, &mut buffer) else { break };
            let room = STDERR_MAX - self.kept.1.len();
            self.kept.1.extend_from_slice(buffer.get(..count.min(room)).unwrap_or_default());
        }
        Ok(())
    }
}

/// Reads what is there; nothing if there is nothing now. A pipe at its end is closed.
fn read_some(pipe: &mut Option<OwnedFd>, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match rustix::io::read(pipe.as_ref()?, &mut *buffer) {
            Ok(0) => break *pipe = None,
            Ok(count) => return Some(count),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return None,
            Err(_) => break *pipe = None,
        }
    }
    None
}
