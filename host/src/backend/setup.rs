//! What runs before the commands of a backend: the lines of its `setup`, and the shell for them and for commands that
//! are a line of shell.
use super::job::{Command, JobDocument, shell_text};
use crate::ground::words::quoted;

/// The shell where none is configured.
pub(super) const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// A configured shell, or the usual one.
pub(super) fn shell_or_usual(shell: &[String]) -> Vec<String> {
    if shell.is_empty() { SHELL.map(str::to_owned).to_vec() } else { shell.to_vec() }
}

/// The words of a shell as one would type them.
pub(super) fn shell_words(shell: &[String]) -> String {
    shell_or_usual(shell).iter().map(|word| plain_or_quoted(word)).collect::<Vec<_>>().join(" ")
}

fn plain_or_quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { quoted(word) }
}

/// The lines of `setup`, each followed by what ends the script where it failed. Which one it was, and how it ended, is
/// written to `mark`, a word of shell: also of a line that ends the shell by itself. Behind the last, `forget` names
/// variables that are not the command's business.
pub(super) fn guarded(lines: &[String], mark: &str, forget: &str) -> Vec<String> {
    let count = lines.len();
    let guard = |(index, line): (usize, &String)| {
        let number = index + 1;
        let before = if index == 0 {
            format!("setup_line=1; trap 'echo \"$setup_line $?\" > {mark}' EXIT\n")
        } else {
            String::new()
        };
        let next = if number == count {
            format!("trap - EXIT; unset {forget}setup_line setup_code")
        } else {
            format!("setup_line={}", number + 1)
        };
        format!("{before}{line}\nsetup_code=$?; [ \"$setup_code\" = 0 ] || exit \"$setup_code\"; {next}")
    };
    lines.iter().enumerate().map(guard).collect()
}

/// What a job comes to as a script for this shell, behind these lines, for a person.
pub(super) fn script(mut job: JobDocument, setup: &[String], shell: &[String]) -> String {
    let mut lines = vec![format!("# run by {}", shell_words(shell))];
    lines.extend(job.env.iter().map(|(name, value)| value.shown(name, quoted)));
    lines.extend(setup.iter().cloned());
    lines.push(match job.launched(shell) {
        Command::Shell(line) => line,
        argv @ Command::Argv(_) => format!("exec {}", shell_text(&argv, None)),
    });
    lines.join("\n") + "\n"
}

/// What [`guarded`] wrote: which line failed, and with which code.
pub(super) fn read_mark(text: &str) -> Option<(u32, u32)> {
    let mut words = text.split_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// What is told of a line that failed.
pub(super) fn failed(line: u32, code: u32) -> String {
    format!("line {line} of `setup` failed with code {code}")
}
