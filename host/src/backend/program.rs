//! Programs that are started and left to themselves, or waited for.
use crate::ground::machine;
use rustix::io::Errno;
use rustix::process::Pid;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// Starts a program under the limit of descriptors with which this process was started. What it is given as input and
/// outputs is open already.
pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
    match machine::under_own_descriptor_limit(|| command.spawn()) {
        // what it is given has a number beyond that limit, so that it gets its own only when it has been started
        Err(error) if Errno::from_io_error(&error) == Some(Errno::BADF) => {
            let child = command.spawn()?;
            machine::give_own_descriptor_limit(Pid::from_child(&child));
            Ok(child)
        }
        started => started,
    }
}

/// Starts a program in a directory, with a text on its standard input, and leaves it to itself.
///
/// # Errors
/// If there is no command, or it cannot be started.
pub(super) fn start_and_leave(command: &[String], directory: &Path, input: &[u8]) -> io::Result<()> {
    let (program, arguments) = command.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
    // A file, unlike a pipe, needs nobody to stay and feed it.
    let input = machine::file_in_memory(input)?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    command.stdin(Stdio::from(input)).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = spawn(&mut command)?;
    // A `loop` lives for weeks and must not keep a zombie; a shorter process leaves the waiting to init.
    std::thread::Builder::new().stack_size(32 * 1024).spawn(move || child.wait()).map(drop)
}

/// What a program left that was waited for. Both files exist in memory only.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub output: File,
    /// What it wrote to its standard error.
    pub complaint: File,
}

/// Starts a program and waits for its end. It bounds itself: nothing here ends it.
///
/// # Errors
/// If it cannot be started, or there is no memory for what it writes.
pub fn start_and_wait(program: &Path, arguments: &[&str], input: File) -> io::Result<Ended> {
    let (output, complaint) = (machine::file_in_memory(b"")?, machine::file_in_memory(b"")?);
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output.try_clone()?))
        .stderr(Stdio::from(complaint.try_clone()?))
        .spawn()?
        .wait()?;
    Ok(Ended { status, output, complaint })
}

/// The longest signature that is taken, in bytes.
const SIGNATURE_MAX: u64 = 64 * 1024;

/// Has `ssh-keygen` sign a text with a key, for a purpose. It may ask for a passphrase on the terminal, and for a touch
/// of the key on standard error, which is this process's own.
///
/// # Errors
/// If it cannot be started, or makes no signature.
pub fn sign_with_ssh(key: &Path, purpose: &str, text: &[u8]) -> io::Result<Vec<u8>> {
    // given a file it would write beside it, and ask before it replaces what is there
    let (input, mut output) = (machine::file_in_memory(text)?, machine::file_in_memory(b"")?);
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "sign", "-n", purpose, "-f"]).arg(key);
    command.stdin(Stdio::from(input)).stdout(Stdio::from(output.try_clone()?));
    let status = spawn(&mut command)?.wait()?;
    if !status.success() {
        return Err(io::Error::other(format!("it ended with {status}")));
    }
    let mut signature = Vec::new();
    output.rewind()?;
    output.take(SIGNATURE_MAX).read_to_end(&mut signature)?;
    Ok(signature)
}

/// Starts a program in a directory, has what it prints go to `log`, and waits for its end.
///
/// # Errors
/// If there is no command, or it cannot be started.
pub fn run_in(command: &[String], directory: &Path, log: &OwnedFd) -> io::Result<ExitStatus> {
    let (program, arguments) = command.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command.stdout(Stdio::from(log.try_clone()?)).stderr(Stdio::from(log.try_clone()?));
    spawn(&mut command)?.wait()
}
