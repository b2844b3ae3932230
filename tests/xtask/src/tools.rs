//! What the project needs of a machine beside cargo, and how it is installed. Nothing is skipped for want of a tool.
use crate::project::{GUEST_TARGET, Project, output, run, say};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Stdio;

/// Something that is looked for, and installed where it is missing.
pub(crate) struct Tool {
    /// What a person calls it.
    name: &'static str,
    /// What is done with it.
    purpose: &'static str,
    /// A command that succeeds where the tool is there; nothing for what `source` itself knows.
    check: &'static [&'static str],
    source: Source,
}

/// Where a tool comes from.
enum Source {
    /// Packages of Debian.
    Apt(&'static [&'static str]),
    /// A component of the Rust tool chain.
    Rustup(&'static str),
    /// The standard library for the guests.
    GuestTarget,
    /// A program of a PyPI package of this version, in an environment of its own below `target/tools`.
    Pip(&'static str, &'static str),
    /// A program of an npm package of this version, below `target/tools`.
    Npm(&'static str, &'static str),
}

/// The compiler for the guests.
pub(crate) const WASM: Tool =
    Tool { name: GUEST_TARGET, purpose: "compiles the plugins", check: &[], source: Source::GuestTarget };
const CC: Tool = Tool {
    name: "a C compiler",
    purpose: "compiles SQLite",
    check: &["cc", "--version"],
    source: Source::Apt(&["gcc", "libc6-dev"]),
};
const PYTHON: Tool = Tool {
    name: "python3",
    purpose: "runs the simulations of the worked examples",
    check: &["python3", "--version"],
    source: Source::Apt(&["python3"]),
};
const PYTHON_VENV: Tool = Tool {
    name: "python3's venv",
    purpose: "keeps componentize-py below target/",
    check: &["python3", "-c", "import ensurepip, venv"],
    source: Source::Apt(&["python3-venv"]),
};
const NPM: Tool = Tool {
    name: "node and npm",
    purpose: "run componentize-qjs",
    check: &["npm", "--version"],
    source: Source::Apt(&["nodejs", "npm"]),
};
const SLURM: Tool = Tool {
    name: "Slurm",
    purpose: "is the cluster that the Slurm backend is tested on",
    check: &["which", "slurmctld", "slurmd", "sbatch", "munged"],
    source: Source::Apt(&["slurmctld", "slurmd", "slurm-client", "munge"]),
};
const ACCOUNTS: Tool = Tool {
    name: "Slurm's accounts",
    purpose: "keep what a cluster's jobs came to, in the tests that take minutes",
    check: &["which", "slurmdbd", "mariadbd", "mariadb-install-db"],
    source: Source::Apt(&["slurmdbd", "slurm-wlm-mysql-plugin", "mariadb-server"]),
};
const SSH: Tool = Tool {
    name: "OpenSSH",
    purpose: "is the link that clusters are reached over in tests",
    check: &["which", "sshd", "ssh", "ssh-keygen"],
    source: Source::Apt(&["openssh-server", "openssh-client"]),
};
const IPROUTE: Tool = Tool {
    name: "iproute2",
    purpose: "makes and cuts the network of those tests",
    check: &["which", "ip", "tc"],
    source: Source::Apt(&["iproute2"]),
};
pub(crate) const COMPONENTIZE_PY: Tool = Tool {
    name: "componentize-py",
    purpose: "builds the test campaign in Python",
    check: &[],
    source: Source::Pip("componentize-py", "0.25.0"),
};
pub(crate) const COMPONENTIZE_QJS: Tool = Tool {
    name: "componentize-qjs",
    purpose: "builds the test campaign in JavaScript",
    check: &[],
    source: Source::Npm("componentize-qjs", "0.4.5"),
};

/// What `demo` needs.
pub(crate) const FOR_DEMO: &[Tool] = &[WASM, CC, PYTHON];

/// What `test` needs; a later entry may need an earlier one.
pub(crate) const FOR_TESTS: &[Tool] =
    &[WASM, CC, PYTHON, PYTHON_VENV, NPM, COMPONENTIZE_PY, COMPONENTIZE_QJS, SLURM, SSH, IPROUTE];

/// What `test --slow` needs beside that.
pub(crate) const FOR_SLOW_TESTS: &[Tool] = &[ACCOUNTS];

/// What `bench` needs beside a built host.
pub(crate) const FOR_BENCH: &[Tool] = &[SLURM, SSH];

/// What `lint` needs.
pub(crate) const FOR_LINT: &[Tool] = &[
    WASM,
    CC,
    Tool {
        name: "rustfmt",
        purpose: "checks the format",
        check: &["cargo", "fmt", "--version"],
        source: Source::Rustup("rustfmt"),
    },
    Tool {
        name: "clippy",
        purpose: "checks the code",
        check: &["cargo", "clippy", "--version"],
        source: Source::Rustup("clippy"),
    },
];

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
        let (name, version, below) = match self.source {
            Source::Pip(name, version) => (name, version, "bin"),
            Source::Npm(name, version) => (name, version, "node_modules/.bin"),
            Source::Apt(_) | Source::Rustup(_) | Source::GuestTarget => return None,
        };
        // the version is part of the path, so that a newer one is another tool
        Some(home(project, name, version).join(below).join(name))
    }

    fn found(&self, project: &Project) -> bool {
        if let Some(program) = self.program(project) {
            return program.exists();
        }
        if let Source::GuestTarget = self.source {
            let directory =
                output(project.command("rustc").args(["--print", "target-libdir", "--target", GUEST_TARGET]));
            return directory.is_ok_and(|path| PathBuf::from(path.trim()).is_dir());
        }
        let Some((program, arguments)) = self.check.split_first() else { return false };
        let mut command = project.command(program);
        // daemons lie where only root looks
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        command.env("PATH", path).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn install(&self, project: &Project) -> Result<()> {
        match self.source {
            Source::Apt(packages) => install_apt(project, packages),
            Source::Rustup(component) => run(project.command("rustup").args(["component", "add", component])),
            Source::GuestTarget => run(project.command("rustup").args(["target", "add", GUEST_TARGET])),
            Source::Pip(name, version) => {
                let home = home(project, name, version);
                run(project.command("python3").args(["-m", "venv"]).arg(&home))?;
                let package = format!("{name}=={version}");
                run(project.command(home.join("bin/pip")).args(["--quiet", "install", &package]))
            }
            Source::Npm(name, version) => {
                let home = home(project, name, version);
                std::fs::create_dir_all(&home).with_context(|| format!("`{}` cannot be made", home.display()))?;
                let package = format!("{name}@{version}");
                let quiet = ["install", "--silent", "--no-fund", "--no-audit", "--prefix"];
                run(project.command("npm").args(quiet).arg(&home).arg(package))
            }
        }
    }
}

impl Source {
    /// The command that a person would give.
    fn shown(&self) -> String {
        match self {
            Self::Apt(packages) => format!("apt-get install {}", packages.join(" ")),
            Self::Rustup(component) => format!("rustup component add {component}"),
            Self::GuestTarget => format!("rustup target add {GUEST_TARGET}"),
            Self::Pip(name, version) => format!("pip install {name}=={version}"),
            Self::Npm(name, version) => format!("npm install {name}@{version}"),
        }
    }
}

fn home(project: &Project, name: &str, version: &str) -> PathBuf {
    project.target.join("tools").join(format!("{name}-{version}"))
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

    #[test]
    fn a_tool_is_found_by_its_check() {
        let project = Project::here().expect("a project");
        let tool = |check| Tool { name: "a tool", purpose: "does something", check, source: Source::Apt(&["none"]) };
        assert!(tool(&["sh", "-c", "true"]).found(&project));
        assert!(!tool(&["sh", "-c", "exit 3"]).found(&project));
        assert!(!tool(&["no-such-program-anywhere"]).found(&project));
    }

    #[test]
    fn what_cannot_be_installed_is_a_failure_that_says_how() {
        let project = Project::here().expect("a project");
        let tool = Tool {
            name: "a tool",
            purpose: "does something",
            check: &["no-such-program-anywhere"],
            source: Source::Rustup("no-such-component-anywhere"),
        };
        let error = format!("{:#}", ensure(&project, &[tool]).expect_err("a failure"));
        assert!(error.contains("rustup component add no-such-component-anywhere"), "{error}");
        assert!(error.contains("does something"), "{error}");
    }

    #[test]
    fn every_tool_can_be_looked_for() {
        let project = Project::here().expect("a project");
        for tool in [FOR_TESTS, FOR_SLOW_TESTS, FOR_BENCH, FOR_DEMO, FOR_LINT].into_iter().flatten() {
            let known = tool.program(&project).is_some() || matches!(tool.source, Source::GuestTarget);
            assert_ne!(known, !tool.check.is_empty(), "{}", tool.name);
        }
    }
}
