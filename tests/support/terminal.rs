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
