//! Programs that are started and not waited for.
use crate::ground::machine;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Starts a program in a directory, with a text on its standard input, and leaves it to itself.
///
/// # Errors
/// If there is no command, or it cannot be started.
pub fn start_and_leave(command: &[String], directory: &Path, input: &[u8]) -> io::Result<()> {
    let (program, arguments) = command.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
    // A file, unlike a pipe, needs nobody to stay and feed it.
    let input = machine::file_in_memory(input)?;
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::from(input))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // A `loop` lives for weeks and must not keep a zombie; a shorter process leaves the waiting to init.
    std::thread::Builder::new().stack_size(32 * 1024).spawn(move || child.wait()).map(drop)
}
