//! The tools that run the same work without being durable: what each needs on disk, and how it is called.
use anyhow::Result;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A tool to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Xargs,
    Make,
    Ninja,
}

/// How many commands run at once, here and there.
pub(super) const AT_ONCE: u32 = 2;

const ALL: [Peer; 3] = [Peer::Xargs, Peer::Make, Peer::Ninja];

/// The peers that are installed.
pub(super) fn installed() -> Vec<Peer> {
    let answers = |peer: &Peer| {
        let mut version = Command::new(peer.name());
        version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        version.status().is_ok_and(|status| status.success())
    };
    ALL.into_iter().filter(answers).collect()
}

impl Peer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Xargs => "xargs",
            Self::Make => "make",
            Self::Ninja => "ninja",
        }
    }

    /// The shell line that does the work, in the directory that was prepared.
    pub(super) fn line(self) -> String {
        match self {
            Self::Xargs => format!("xargs -P{AT_ONCE} -n1 /bin/true < arguments"),
            Self::Make => format!("make --silent -j{AT_ONCE}"),
            Self::Ninja => format!("rm -f .ninja_log .ninja_deps && ninja --quiet -j{AT_ONCE}"),
        }
    }

    /// The shell line that finds nothing to do.
    pub(super) fn idle_line(self) -> Option<String> {
        match self {
            Self::Xargs => None,
            Self::Make => Some(format!("make --silent -j{AT_ONCE}")),
            Self::Ninja => Some(format!("ninja --quiet -j{AT_ONCE}")),
        }
    }

    /// Writes what the peer needs to run `/bin/true` so many times; `chained`: one after the other. With `leaves_files`
    /// each command leaves a file, so that a second call has nothing to do.
    pub(super) fn prepare(self, scratch: &Path, count: usize, chained: bool, leaves_files: bool) -> Result<PathBuf> {
        let directory = scratch.join(format!("{}-{count}-{chained}-{leaves_files}", self.name()));
        fs::create_dir_all(&directory)?;
        let command = if leaves_files { "touch" } else { "/bin/true" };
        let mut text = String::new();
        match self {
            Self::Xargs => {
                for number in 0..count {
                    writeln!(text, "{number}")?;
                }
                fs::write(directory.join("arguments"), text)?;
            }
            Self::Make => {
                let names: Vec<String> = (0..count).map(|number| format!("t{number}")).collect();
                writeln!(text, "all: {}", names.join(" "))?;
                for number in 0..count {
                    let after = if chained && number > 0 { format!("t{}", number - 1) } else { String::new() };
                    writeln!(text, "t{number}: {after}\n\t{command} t{number}")?;
                }
                fs::write(directory.join("Makefile"), text)?;
            }
            Self::Ninja => {
                writeln!(text, "rule r\n  command = {command} $out")?;
                for number in 0..count {
                    let after = if chained && number > 0 { format!(" t{}", number - 1) } else { String::new() };
                    writeln!(text, "build t{number}: r{after}")?;
                }
                fs::write(directory.join("build.ninja"), text)?;
            }
        }
        Ok(directory)
    }
}
