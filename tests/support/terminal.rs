//! A person at a terminal.
use super::world::{PROGRAM, World};
use std::process::Command;

/// Types what follows each prompt into a terminal of its own, and prints what the terminal showed.
const TYPIST: &str = r#"
import os, pty, sys, time
script = [pair.split('=', 1) for pair in sys.argv[1].split('\n')]
pid, terminal = pty.fork()
if pid == 0:
    os.execve(sys.argv[2], sys.argv[2:], dict(os.environ))
shown, seen = '', 0
for prompt, text in script:
    while prompt not in shown[seen:]:
        shown += os.read(terminal, 4096).decode()
    seen = shown.index(prompt, seen) + len(prompt)
    os.write(terminal, (text + '\n').encode())
try:
    while True:
        block = os.read(terminal, 4096).decode()
        if not block:
            break
        shown += block
except OSError:
    pass
print(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// Gives a command at a terminal, and types after each prompt: a line `PROMPT=TEXT` each. Returns the exit code and
/// what the terminal showed.
pub(crate) fn typed_into(world: &World, typed: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new("python3")
        .args(["-c", TYPIST, typed, PROGRAM])
        .args(arguments)
        .arg("--workspaces")
        .arg(world.root())
        .env("XDG_CACHE_HOME", std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"))
        .output()
        .expect("python3");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), shown + &String::from_utf8_lossy(&output.stderr))
}

/// Gives a command at a terminal this wide, and prints what it showed.
const VIEWER: &str = r#"
import fcntl, os, pty, struct, sys, termios
terminal, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, int(sys.argv[1]), 0, 0))
pid = os.fork()
if pid == 0:
    os.close(terminal)
    os.login_tty(slave) if hasattr(os, 'login_tty') else [os.dup2(slave, n) for n in (0, 1, 2)]
    os.execve(sys.argv[2], sys.argv[2:], dict(os.environ))
os.close(slave)
shown = b''
try:
    while True:
        block = os.read(terminal, 4096)
        if not block:
            break
        shown += block
except OSError:
    pass
os.waitpid(pid, 0)
sys.stdout.buffer.write(shown)
"#;

/// What a command shows on a terminal with colours that is so wide, in an environment with these variables.
pub(crate) fn on_terminal(world: &World, columns: usize, environment: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = Command::new("python3")
        .args(["-c", VIEWER, &columns.to_string(), PROGRAM])
        .args(arguments)
        .arg("--workspaces")
        .arg(world.root())
        .env("XDG_CACHE_HOME", std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"))
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .envs(environment.iter().copied())
        .output()
        .expect("python3");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).replace('\r', "")
}
