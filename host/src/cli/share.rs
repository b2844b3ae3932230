//! What is installed beside the binary: manual pages and completions, written from the manual that it carries.
use super::manual::Cli;
use super::report::{exit_code, report};
use crate::failure::{Failure, FailureKind};
use clap::CommandFactory;
use clap_complete::Shell;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// The first argument of the process that writes these files. Whoever makes a package starts it, never a person.
pub const SHARE: &str = "__share";

/// Where each shell looks for completions, below `share`.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/matterstack"),
    (Shell::Fish, "fish/vendor_completions.d/matterstack.fish"),
    (Shell::Zsh, "zsh/site-functions/_matterstack"),
];

/// Writes them below the directory that is named, at the places that they have below `share`.
pub fn share(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(directory) = arguments.next() else { return ExitCode::from(exit_code(FailureKind::Input)) };
    let directory = Path::new(&directory);
    match write(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(report(&Failure::io(format!("`{}`", directory.display()), error))),
    }
}

fn write(directory: &Path) -> std::io::Result<()> {
    let pages = directory.join("man/man1");
    fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(Cli::command(), &pages)?;
    for (shell, place) in COMPLETIONS {
        let place = directory.join(place);
        place.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(place, completion(shell))?;
    }
    Ok(())
}

/// The script that completes the command line in a shell.
pub(super) fn completion(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "matterstack", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
