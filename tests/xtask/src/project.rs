//! The clone this tool was built from: its places, its crates, and the commands it starts.
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Instant;

/// What the guests are built for.
pub(crate) const GUEST_TARGET: &str = "wasm32-wasip2";

/// The clone and its target directory.
pub(crate) struct Project {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
}

/// A member of the workspace.
pub(crate) struct Member {
    pub(crate) name: String,
    /// Whether it is built as a component.
    pub(crate) guest: bool,
}

impl Project {
    /// Finds the clone and the target directory this program was built in.
    pub(crate) fn here() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = root.canonicalize().with_context(|| format!("the clone at `{}` is gone", root.display()))?;
        let program = std::env::current_exe().context("the path of this program")?;
        // cargo marks the target directory, below which programs and tests lie at different depths
        let target = program.ancestors().find(|directory| directory.join("CACHEDIR.TAG").exists());
        let target = target.with_context(|| format!("`{}` is in no target directory", program.display()))?;
        Ok(Self { root, target: target.to_owned() })
    }

    /// The `matterstack` binary, once it is built.
    pub(crate) fn matterstack(&self) -> PathBuf {
        self.target.join("release/matterstack")
    }

    /// Builds that binary, with the standard plugins inside.
    pub(crate) fn build_host(&self) -> Result<()> {
        say("building matterstack and its standard plugins");
        run(&mut self.cargo(["build", "--release", "--package", "matterstack"]))
    }

    /// A command that runs in the clone's root.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        // what `cargo run` says about this tool would otherwise be taken for news by the cargo it starts
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command
    }

    /// A cargo command that runs in the clone's root.
    pub(crate) fn cargo<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut cargo = self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments);
        cargo
    }

    /// A cargo command that builds or checks guests as components, in the directory the host's build script uses too.
    pub(crate) fn guest_cargo(&self, verb: &str, packages: &[&str]) -> Command {
        let mut cargo = self.cargo([verb, "--profile", "guest", "--target", GUEST_TARGET, "--target-dir"]);
        cargo.arg(self.target.join("guests")).args(packages_arguments(packages));
        cargo
    }

    /// The component that `guest_cargo("build", …)` leaves for a package.
    pub(crate) fn component(&self, package: &str) -> PathBuf {
        let file = format!("{}.wasm", package.replace('-', "_"));
        self.target.join("guests").join(GUEST_TARGET).join("guest").join(file)
    }

    /// Every crate of the workspace, as cargo tells.
    pub(crate) fn members(&self) -> Result<Vec<Member>> {
        let text = output(&mut self.cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
        let metadata: serde_json::Value = serde_json::from_str(&text).context("what `cargo metadata` printed")?;
        let packages = metadata["packages"].as_array().context("`cargo metadata` lists no packages")?;
        let is_guest = |package: &serde_json::Value| {
            let targets = package["targets"].as_array().into_iter().flatten();
            targets.flat_map(|target| target["kind"].as_array().into_iter().flatten()).any(|kind| kind == "cdylib")
        };
        let member = |package: &serde_json::Value| {
            Some(Member { name: package["name"].as_str()?.to_owned(), guest: is_guest(package) })
        };
        Ok(packages.iter().filter_map(member).collect())
    }
}

/// `--package NAME` for each name.
pub(crate) fn packages_arguments<'a>(packages: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    packages.iter().flat_map(|package| ["--package", package])
}

/// Tells what comes next, and how many minutes and seconds after the first word.
pub(crate) fn say(what: &str) {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    let seconds = FIRST.elapsed().as_secs();
    eprintln!("==> {:02}:{:02} {what}", seconds / 60, seconds % 60);
}

/// Runs a command to its end; its output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("`{shown}` cannot be started"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs a command to its end and returns what it printed; its messages go where ours go.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let done = command.stderr(Stdio::inherit()).output().with_context(|| format!("`{shown}` cannot be started"))?;
    if !done.status.success() {
        bail!("`{shown}` failed ({})", done.status);
    }
    String::from_utf8(done.stdout).with_context(|| format!("what `{shown}` printed"))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Crates that may be compiled twice: they take seconds, and nothing large stands on them.
    const SMALL: [&str; 4] = ["getrandom", "libc", "once_cell", "serde_json"];

    /// The crates that a package is made of, each with the features that it has there.
    fn made_of(project: &Project, package: &str) -> BTreeSet<String> {
        let mut tree = project.cargo(["tree", "--edges", "normal,build", "--prefix", "none", "--format", "{p} {f}"]);
        let text = output(tree.args(["--package", package])).expect("a tree");
        text.lines().map(|line| line.trim_end_matches(" (*)").trim_end().to_owned()).collect()
    }

    #[test]
    fn what_this_tool_and_the_host_are_made_of_is_compiled_once() {
        let project = Project::here().expect("a project");
        let (host, own) = (made_of(&project, "matterstack"), made_of(&project, "xtask"));
        // name and version
        let crate_of = |line: &String| line.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
        let shared: BTreeSet<Vec<String>> = host.iter().map(crate_of).collect();
        assert!(shared.len() > 100, "{} crates", shared.len());
        let twice = own.iter().filter(|line| shared.contains(&crate_of(line)) && !host.contains(*line));
        let twice: Vec<&String> = twice.filter(|line| !SMALL.iter().any(|name| crate_of(line)[0] == *name)).collect();
        assert!(twice.is_empty(), "with features that the host does not ask: {twice:#?}");
    }
}
