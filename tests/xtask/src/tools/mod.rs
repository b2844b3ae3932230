//! What the project needs of a machine beside cargo, and how it is installed. Nothing is skipped for want of a tool.
mod list;
mod path;
mod without_cuda;

pub(crate) use list::{
    CARGO_DENY, COMPONENTIZE_PY, COMPONENTIZE_QJS, FOR_BENCH, FOR_DEMO, FOR_DIST, FOR_FRESH, FOR_LINT, FOR_RUNNERS,
    FOR_SLOW_TESTS, FOR_TESTS, MATURIN, TYPESCRIPT,
};
pub(crate) use path::{links, toolchain};

use crate::project::{GUEST_TARGET, Project, output, run, say};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The file, beside the programs of an environment, with the list of packages that it was made of.
const INSTALLED: &str = "installed.txt";

/// Something that is looked for, and installed where it is missing.
pub(crate) struct Tool {
    /// What a person calls it.
    name: &'static str,
    /// What is done with it.
    purpose: &'static str,
    /// The programs that it brings: it is there where all of them are.
    programs: &'static [&'static str],
    /// A command that succeeds where what is no program is there too.
    check: &'static [&'static str],
    source: Source,
}

/// Where a tool comes from.
enum Source {
    /// The tool chain that built this program.
    Toolchain,
    /// Packages of Debian.
    Apt(&'static [&'static str]),
    /// A component of the Rust tool chain.
    Rustup(&'static str),
    /// The standard library for the guests.
    GuestTarget,
    /// A PyPI package of this version, in an environment of its own below `target/tools`.
    Pip(&'static str, &'static str),
    /// PyPI packages of these versions, one a line, and nothing beside them, in an environment of this name.
    PipList(&'static str, &'static str),
    /// An npm package of this version, below `target/tools`.
    Npm(&'static str, &'static str),
}

/// Looks for each tool and installs what is missing.
pub(crate) fn ensure(project: &Project, tools: &[Tool]) -> Result<()> {
    for tool in tools {
        if tool.found(project) {
            continue;
        }
        say(&format!("installing {} ({}), which {}", tool.name, tool.source.shown(), tool.purpose));
        let installed = tool.install(project);
        let advice = || {
            format!("{} is missing, which {}; install it by hand ({})", tool.name, tool.purpose, tool.source.shown())
        };
        installed.with_context(advice)?;
        if !tool.found(project) {
            return Err(anyhow::anyhow!("it was installed and still is not found")).with_context(advice);
        }
    }
    Ok(())
}

impl Tool {
    /// The program of a tool that lies below the target directory.
    pub(crate) fn program(&self, project: &Project) -> Option<PathBuf> {
        Some(self.directory(project)?.join(self.programs.first()?))
    }

    /// Where the programs of a tool lie that is kept below the target directory.
    fn directory(&self, project: &Project) -> Option<PathBuf> {
        match self.source {
            Source::Pip(name, version) => Some(home(project, name, version).join("bin")),
            Source::PipList(name, _) => Some(project.target.join("tools").join(name).join("bin")),
            Source::Npm(name, version) => Some(home(project, name, version).join("node_modules/.bin")),
            Source::Toolchain | Source::Apt(_) | Source::Rustup(_) | Source::GuestTarget => None,
        }
    }

    fn found(&self, project: &Project) -> bool {
        if let Some(directory) = self.directory(project) {
            let installed = match self.source {
                Source::PipList(_, list) => {
                    std::fs::read_to_string(directory.join(INSTALLED)).is_ok_and(|of| of == list)
                }
                // it may bring no program
                Source::Npm(name, version) => home(project, name, version).join("node_modules").join(name).is_dir(),
                _ => true,
            };
            return installed && self.programs.iter().all(|program| directory.join(program).exists());
        }
        match self.source {
            Source::Toolchain => true,
            Source::GuestTarget => {
                let mut rustc = project.command("rustc");
                let directory = output(rustc.args(["--print", "target-libdir", "--target", GUEST_TARGET]));
                directory.is_ok_and(|path| Path::new(path.trim()).is_dir())
            }
            Source::Apt(_) | Source::Rustup(_) | Source::Pip(..) | Source::PipList(..) | Source::Npm(..) => {
                self.programs.iter().all(|program| path::find(program).is_some()) && self.checked(project)
            }
        }
    }

    fn checked(&self, project: &Project) -> bool {
        let Some((program, arguments)) = self.check.split_first() else { return true };
        let mut command = project.command(program);
        command.env("PATH", path::search()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn install(&self, project: &Project) -> Result<()> {
        match self.source {
            Source::Toolchain => bail!("rustup brings it"),
            Source::Apt(packages) => install_apt(project, packages),
            Source::Rustup(component) => run(project.command("rustup").args(["component", "add", component])),
            Source::GuestTarget => run(project.command("rustup").args(["target", "add", GUEST_TARGET])),
            Source::Pip(name, version) => {
                let home = home(project, name, version);
                run(project.command("python3").env("PATH", path::search()).args(["-m", "venv"]).arg(&home))?;
                let package = format!("{name}=={version}");
                run(project.command(home.join("bin/pip")).args(["--quiet", "install", &package]))
            }
            Source::PipList(name, list) => install_list(project, &project.target.join("tools").join(name), list),
            Source::Npm(name, version) => {
                let home = home(project, name, version);
                std::fs::create_dir_all(&home).with_context(|| format!("`{}` cannot be made", home.display()))?;
                let package = format!("{name}@{version}");
                let quiet = ["install", "--silent", "--no-fund", "--no-audit", "--prefix"];
                let mut npm = project.command("npm");
                run(npm.env("PATH", with_node(project)).args(quiet).arg(&home).arg(package))
            }
        }
    }
}

/// A `PATH` on which our own node comes first, for what is written in JavaScript.
pub(crate) fn with_node(project: &Project) -> OsString {
    let mut path = list::NODE.directory(project).unwrap_or_default().into_os_string();
    path.push(":");
    path.push(path::search());
    path
}

/// A `PATH` that finds what makes components of Python, JavaScript and TypeScript first.
pub(crate) fn with_builders(project: &Project) -> OsString {
    let mut path = OsString::new();
    for tool in [&list::COMPONENTIZE_PY, &list::COMPONENTIZE_QJS, &list::ESBUILD] {
        path.push(tool.directory(project).unwrap_or_default());
        path.push(":");
    }
    path.push(with_node(project));
    path
}

impl Source {
    /// The command that a person would give.
    fn shown(&self) -> String {
        match self {
            Self::Toolchain => "rustup toolchain install".to_owned(),
            Self::Apt(packages) => format!("apt-get install {}", packages.join(" ")),
            Self::Rustup(component) => format!("rustup component add {component}"),
            Self::GuestTarget => format!("rustup target add {GUEST_TARGET}"),
            Self::Pip(name, version) => format!("pip install {name}=={version}"),
            Self::PipList(name, _) => format!("pip install --no-deps --requirement tests/xtask/src/tools/{name}.txt"),
            Self::Npm(name, version) => format!("npm install {name}@{version}"),
        }
    }
}

fn home(project: &Project, name: &str, version: &str) -> PathBuf {
    project.target.join("tools").join(format!("{name}-{version}"))
}

/// Makes an environment anew with the packages of a list. The list itself is written last: it says that all are there.
fn install_list(project: &Project, home: &Path, list: &str) -> Result<()> {
    run(project.command("python3").env("PATH", path::search()).args(["-m", "venv", "--clear"]).arg(home))?;
    let (bin, wanted) = (home.join("bin"), home.join("wanted.txt"));
    std::fs::write(&wanted, list).with_context(|| format!("`{}` cannot be written", wanted.display()))?;
    let mut pip = project.command(bin.join("pip"));
    run(pip.args(["--quiet", "install", "--no-deps", "--requirement"]).arg(&wanted))?;
    without_cuda::satisfy(project, home)?;
    std::fs::rename(&wanted, bin.join(INSTALLED)).context("the list of what is installed")
}

fn install_apt(project: &Project, packages: &[&str]) -> Result<()> {
    if output(project.command("id").arg("-u"))?.trim() != "0" {
        bail!("only root may install packages: `sudo apt-get install {}`", packages.join(" "));
    }
    let apt = || {
        let mut apt = project.command("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args([
            "--quiet",
            "--quiet",
            "--option",
            "DPkg::Lock::Timeout=300",
        ]);
        apt
    };
    run(apt().arg("update"))?;
    run(apt().args(["install", "--yes", "--no-install-recommends"]).args(packages))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(programs: &'static [&'static str], check: &'static [&'static str], source: Source) -> Tool {
        Tool { name: "a tool", purpose: "does something", programs, check, source }
    }

    #[test]
    fn a_tool_is_found_by_its_programs_and_its_check() {
        let project = Project::here().expect("a project");
        let found = |programs, check| tool(programs, check, Source::Apt(&["none"])).found(&project);
        assert!(found(&["sh", "cat"], &[]));
        assert!(!found(&["sh", "no-such-program-anywhere"], &[]));
        assert!(found(&[], &["sh", "-c", "true"]));
        assert!(!found(&["sh"], &["sh", "-c", "exit 3"]));
        assert!(!found(&[], &["no-such-program-anywhere"]));
    }

    #[test]
    fn what_cannot_be_installed_is_a_failure_that_says_how() {
        let project = Project::here().expect("a project");
        let missing = tool(&["no-such-program-anywhere"], &[], Source::Rustup("no-such-component-anywhere"));
        let error = format!("{:#}", ensure(&project, &[missing]).expect_err("a failure"));
        assert!(error.contains("rustup component add no-such-component-anywhere"), "{error}");
        assert!(error.contains("does something"), "{error}");
    }

    #[test]
    fn every_tool_can_be_looked_for() {
        for tool in
            [FOR_TESTS, FOR_SLOW_TESTS, FOR_BENCH, FOR_FRESH, FOR_DEMO, FOR_DIST, FOR_LINT].into_iter().flatten()
        {
            // a folder of npm is looked for by its name
            let known = matches!(tool.source, Source::GuestTarget | Source::Npm(..)) || !tool.programs.is_empty();
            assert!(known || !tool.check.is_empty(), "{}", tool.name);
        }
    }
}
