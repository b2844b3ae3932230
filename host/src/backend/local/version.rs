//! Asks what the programs are that jobs here would use: the commands of `record`, each run as a job would be, in the
//! directory of the workspace. They are bounded, and leave nothing.
use crate::backend::program::spawn;
use crate::backend::setup::{guarded, shell_or_usual};
use crate::model::config::LocalConfig;
use crate::model::evidence::RecordedOutput;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::io::{self, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much is kept of what one prints, in bytes.
const OUTPUT_MAX: usize = 4096;
/// Between two looks whether one has ended.
const LOOK: Duration = Duration::from_millis(5);

/// A command of `record` that did not tell what it was asked.
#[derive(Debug)]
pub struct NotRecorded {
    /// The command.
    pub command: String,
    /// What it did instead.
    pub why: String,
    /// What it printed.
    pub output: String,
}

/// Runs what `record` of a backend names, with these variables, and tells what each printed.
///
/// # Errors
/// The first that fails, does not end in time, or cannot be started.
pub fn record(
    (name, config): (&str, &LocalConfig),
    variables: &BTreeMap<String, String>,
    (workspace, run): (&Path, &str),
) -> Result<Vec<RecordedOutput>, NotRecorded> {
    let mut recorded = Vec::with_capacity(config.record.len());
    for entry in &config.record {
        let command = entry.command();
        let failed = |why: String, output: &[u8]| NotRecorded {
            command: command.to_owned(),
            why,
            output: String::from_utf8_lossy(output).into_owned(),
        };
        let mut words = shell_or_usual(&config.shell);
        let lines = if config.setup_may_fail { config.setup.clone() } else { guarded(&config.setup, "/dev/null", "") };
        words.push(lines.into_iter().chain([command.to_owned()]).collect::<Vec<_>>().join("\n"));
        let mut program = Command::new(&words[0]);
        program.args(&words[1..]).env_clear().envs(variables).current_dir(workspace).process_group(0);
        program.env("MATTERSTACK_RUN", run).env("MATTERSTACK_WORKSPACE_DIR", workspace);
        let told = run_bounded(program).map_err(|error| failed(format!("cannot be started: {error}"), b""))?;
        match told.status {
            Some(status) if status.success() => {}
            Some(status) => return Err(failed(format!("ended with {status}"), &told.output)),
            None => return Err(failed(format!("did not end within {} s", PATIENCE.as_secs()), &told.output)),
        }
        recorded.push(RecordedOutput {
            backend: name.to_owned(),
            command: command.to_owned(),
            output: String::from_utf8_lossy(&told.output).into_owned(),
            cut: told.cut,
        });
    }
    Ok(recorded)
}

/// What became of a command.
struct Told {
    /// Nothing if it was ended for taking too long.
    status: Option<ExitStatus>,
    output: Vec<u8>,
    /// Whether it printed more than is kept.
    cut: bool,
}

fn run_bounded(mut program: Command) -> io::Result<Told> {
    let (reader, writer) = io::pipe()?;
    program.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = spawn(&mut program)?;
    // it has the other end of the pipe, and only when that is gone does the pipe end
    drop(program);
    let printed = read_aside(reader)?;
    let until = Instant::now() + PATIENCE;
    let status = ended_by(&mut child, until);
    let (output, cut) = printed.recv_timeout(until.saturating_duration_since(Instant::now())).unwrap_or_default();
    // what it left running goes too, and then the pipe has ended
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    if !matches!(status, Ok(Some(_))) {
        let _ = child.wait();
    }
    Ok(Told { status: status?, output, cut })
}

/// Waits for a command, as long as it may take.
fn ended_by(child: &mut Child, until: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        match child.try_wait()? {
            None if Instant::now() < until => std::thread::sleep(LOOK),
            status => return Ok(status),
        }
    }
}

/// Reads all that is printed, so that nobody waits for a reader, and keeps the beginning.
fn read_aside(mut reader: PipeReader) -> io::Result<Receiver<(Vec<u8>, bool)>> {
    let (sender, receiver) = channel();
    std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
        let (mut kept, mut cut, mut buffer) = (Vec::new(), false, [0; OUTPUT_MAX]);
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            let room = count.min(OUTPUT_MAX - kept.len());
            kept.extend_from_slice(&buffer[..room]);
            cut |= room < count;
        }
        // whoever asked may have given up
        let _ = sender.send((kept, cut));
    })?;
    Ok(receiver)
}
