//! A workspace of the repository, copied to a root of its own and run through the binary.
use super::workspace;
use crate::support::component;
use crate::support::slurm::{Cluster, Plan};
use crate::support::world::{Done, PROGRAM, World};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long anything may take on a busy machine.
pub(super) const LONG: Duration = Duration::from_secs(300);

pub(super) struct Space {
    world: World,
    slug: &'static str,
    /// Variables of every command.
    environment: Vec<(String, String)>,
}

impl Space {
    /// The workspace as it is in the repository, whose campaign is a standard one.
    pub(super) fn plain(slug: &'static str) -> Self {
        let space = Self { world: World::new(&json!({})), slug, environment: Vec::new() };
        copy(&workspace(slug), &space.directory());
        space
    }

    /// The workspace as it is in the repository, with its campaign built.
    pub(super) fn new(slug: &'static str, package: &str) -> Self {
        let space = Self::plain(slug);
        let config = fs::read(space.directory().join("config.json")).expect("config.json");
        let config: Value = serde_json::from_slice(&config).expect("JSON");
        let plugin = space.directory().join(config["campaign"]["plugin"].as_str().expect("a plugin"));
        fs::create_dir_all(plugin.parent().expect("a parent")).expect("a directory");
        fs::copy(component(package), plugin).expect("the component");
        space
    }

    /// Where a person would have cloned to: what holds `workspaces`.
    pub(super) fn home(&self) -> PathBuf {
        self.world.root().parent().expect("a parent").to_owned()
    }

    pub(super) fn directory(&self) -> PathBuf {
        self.world.root().join(self.slug)
    }

    pub(super) fn run_dir(&self, run: &str) -> PathBuf {
        self.directory().join("runs").join(text(&self.status(run)["run_id"]))
    }

    /// Gives every further command a variable.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Writes the settings of the site, as the README says.
    pub(super) fn settings(&self, settings: &Value) {
        let directory = self.home().join(".config/matterstack");
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("config.json"), settings.to_string()).expect("settings");
    }

    /// Starts a cluster, and does what the README says to run this workspace on it: writes the settings of the site,
    /// and returns the arguments of `init` that switch. The cluster is asked more often than a real one should be.
    pub(super) fn on_slurm(&mut self) -> (Cluster, [&'static str; 4]) {
        let readme = fs::read_to_string(self.directory().join("README.md")).expect("a README");
        let settings = readme.split_once("```json\n").and_then(|(_, rest)| rest.split_once("```")).expect("settings").0;
        self.settings(&serde_json::from_str(settings).expect("JSON"));
        let switch = r#"operators.compute.grants.compute=["cluster"]"#;
        assert!(readme.contains(&switch.replace("=[", "='[").replace(']', "]'")), "the README gives another switch");
        let cluster = Cluster::start(Plan::default());
        let (name, value) = cluster.environment();
        self.set(name, &value);
        (cluster, ["--set", switch, "--set", "backends.cluster.poll_interval_s=0.2"])
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Done {
        let environment: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.world.run_with(arguments, &environment)
    }

    /// Makes a run with this id and these further arguments.
    pub(super) fn init(&self, run: &str, arguments: &[&str]) {
        self.run(&[&["init", self.slug, "--run-id", run], arguments].concat()).code(0);
    }

    /// Starts a command and leaves it alone.
    pub(super) fn start(&self, arguments: &[&str]) -> Reaped {
        let mut command = self.world.command(arguments);
        command.envs(self.environment.iter().cloned()).stdout(Stdio::null()).stderr(Stdio::null());
        Reaped(command.spawn().expect("the binary runs"))
    }

    pub(super) fn status(&self, run: &str) -> Value {
        self.run(&["status", run, "--json"]).code(0).json()
    }

    /// The result of a completed run.
    pub(super) fn result(&self, run: &str) -> Value {
        let status = self.status(run);
        assert_eq!(status["state"], "completed", "{status}");
        status["result"].clone()
    }

    /// Asks of every number in the bundle of a run what a stranger asks.
    #[track_caller]
    pub(super) fn asked_by_a_stranger(&self, run: &str) {
        crate::evidence::questions::ask_of_zip(&|arguments| self.run(arguments), run);
    }

    /// The tasks of a run with their states, as `a=completed b=failed`; each had one attempt at most.
    pub(super) fn tasks_once(&self, run: &str) -> Vec<String> {
        let tasks = self.run(&["tasks", run, "--json"]).code(0).json();
        let tasks = tasks.as_array().expect("a list").iter().map(|task| {
            assert!(task["attempts"].as_u64() <= Some(1), "{task}");
            format!("{}={}", text(&task["id"]), text(&task["state"]))
        });
        tasks.collect()
    }

    /// The directories of an operator's attempts whose names begin with these words.
    pub(super) fn attempts(&self, run: &str, operator: &str, prefix: &str) -> Vec<PathBuf> {
        let place = self.run_dir(run).join("operators").join(operator);
        let entries = fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut found: Vec<PathBuf> =
            entries.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix))).collect();
        found.sort();
        found
    }

    /// Gives the first block of the README: checks the two lines that build, and runs those after them.
    pub(super) fn follow_readme(&self, package: &str, component: &str) -> String {
        let readme = fs::read_to_string(self.directory().join("README.md")).expect("a README");
        let block = readme.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("```")).expect("a block").0;
        let file = package.replace('-', "_");
        let built = format!(
            "cargo build --profile guest --target wasm32-wasip2 --target-dir target/guests --package {package}\n\
             cp target/guests/wasm32-wasip2/guest/{file}.wasm workspaces/{}/{component}\n",
            self.slug
        );
        let commands = block.strip_prefix(&built).unwrap_or_else(|| panic!("the README builds otherwise: {block}"));
        let bin = Path::new(PROGRAM).parent().expect("the directory of the binary");
        let mut shell = Command::new("sh");
        shell.args(["-c", commands]).current_dir(self.home()).env_clear().env("HOME", self.home());
        shell.env("PATH", format!("{}:{}", bin.display(), crate::support::path()));
        shell.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
        let done = shell.output().expect("a shell");
        format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
    }

    /// Runs one of the workspace's scripts in a directory of its own on this document; returns its exit code, what it
    /// said, and what it left in `out.json`.
    pub(super) fn script(&self, name: &str, input: &Value) -> (Option<i32>, String, Value) {
        let directory = tempfile::tempdir().expect("a scratch directory");
        fs::write(directory.path().join("input.json"), input.to_string()).expect("a file");
        let script = self.directory().join("scripts").join(name);
        let mut python = Command::new("python3");
        python.arg("-B").arg(script).args(["input.json", "-o", "out.json"]).current_dir(directory.path());
        let done = python.output().expect("python3");
        let left = fs::read(directory.path().join("out.json")).unwrap_or_else(|_| b"null".to_vec());
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        (done.status.code(), said, serde_json::from_slice(&left).expect("JSON"))
    }
}

/// A process of the test, killed with it.
pub(super) struct Reaped(pub(super) Child);

impl Reaped {
    /// SIGKILL, and wait for the end.
    pub(super) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until something is true, which takes as long as its work.
#[track_caller]
pub(super) fn until(what: &str, is_true: impl FnMut() -> bool) {
    crate::support::until_within(LONG, what, is_true);
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

pub(super) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

pub(super) fn read(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Copies what a person gets by cloning: not what was built or run.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("the workspace").flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if path.is_file() {
            fs::copy(&path, to.join(&*name)).expect("a copy");
        } else if !["runs", "campaign", "__pycache__"].contains(&&*name) {
            copy(&path, &to.join(&*name));
        }
    }
}
