//! Runs the `matterstack` binary as a person does, in a directory and an environment of its own.
use super::until;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_matterstack");

/// A workspaces root with one workspace, `demo`.
pub(crate) struct World {
    directory: tempfile::TempDir,
}

/// What a command left.
#[derive(Debug)]
pub(crate) struct Done {
    /// The exit code; nothing if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts the exit code and gives the output back.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, Some(expected), "{self:?}");
        self
    }
}

impl World {
    pub(crate) fn new(config: &Value) -> Self {
        Self::below(&std::env::temp_dir(), config)
    }

    /// One in a directory of its own below this one.
    pub(crate) fn below(place: &Path, config: &Value) -> Self {
        let world = Self { directory: tempfile::tempdir_in(place).expect("a scratch directory") };
        std::fs::create_dir_all(world.workspace()).expect("a workspace");
        world.write("config.json", &config.to_string());
        super::pool::ample_pool(world.directory.path());
        world
    }

    /// A workspace whose campaign runs these tasks through `builtin:compute` on a local backend with two cores.
    pub(crate) fn with_tasks(tasks: &Value) -> Self {
        Self::new(&tasks_config(tasks))
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("workspaces")
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.root().join("demo")
    }

    pub(crate) fn run_dir(&self, run: &str) -> PathBuf {
        self.workspace().join("runs").join(run)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.workspace().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, content).expect("a file");
    }

    /// The command with these arguments, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.directory.path()).env_clear();
        // Native code is shared by all tests; everything else is this world's own.
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
        command.env("MATTERSTACK_TEST_POOL", self.directory.path().join("machine"));
        command.env("PATH", super::path()).env("HOME", self.directory.path()).env("XDG_CACHE_HOME", cache);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        done(self.command(arguments).output().expect("the binary runs"))
    }

    pub(crate) fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Done {
        done(self.command(arguments).envs(environment.iter().copied()).output().expect("the binary runs"))
    }

    /// Runs a command where address space is limited to so many KiB.
    pub(crate) fn limited(&self, kb: u32, arguments: &[&str]) -> Done {
        let shell = format!("ulimit -v {kb}; exec \"$@\"");
        let ours = self.command(arguments);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &shell, "sh"]).arg(ours.get_program()).args(ours.get_args());
        command.current_dir(self.directory.path()).env_clear();
        command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
        done(command.output().expect("a shell"))
    }

    /// A `loop` over the run `r` that waits for something to happen.
    pub(crate) fn waiting_loop(&self, arguments: &[&str]) -> Child {
        let trace = tempfile::NamedTempFile::new_in(self.directory.path()).expect("a trace");
        let mut command = self.command(&[&["loop", "r"], arguments].concat());
        command.env("MATTERSTACK_FAILPOINT_TRACE", trace.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut driver = command.spawn().expect("a loop");
        until("the loop waits", || {
            assert!(driver.try_wait().expect("a loop").is_none(), "the loop has ended");
            std::fs::read_to_string(trace.path()).is_ok_and(|text| text.contains("loop.waits"))
        });
        driver
    }

    /// Makes a run with the id `r`.
    pub(crate) fn init(&self) {
        self.run(&["init", "demo", "--run-id", "r"]).code(0);
    }

    pub(crate) fn status(&self) -> Value {
        self.run(&["status", "r", "--json"]).code(0).json()
    }

    /// What is recorded of the run `r`.
    pub(crate) fn evidence(&self) -> Value {
        self.run(&["evidence", "r"]).code(0);
        let text = std::fs::read_to_string(self.run_dir("r").join("evidence/evidence.json")).expect("a bundle");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Every decision of a run comes out as recorded, and its store keeps every rule.
    pub(crate) fn is_sound(&self, run: &str) {
        self.run(&["replay", run]).code(0);
        self.run(&["doctor", run]).code(0);
    }

    /// Steps, each time in a new process, until the run is no longer active.
    pub(crate) fn step_to_end(&self) -> Value {
        let start = Instant::now();
        loop {
            let tick = self.run(&["step", "r", "--json"]).json();
            if tick["state"] != "active" && tick["state"] != "cancelling" {
                return tick;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "the run does not end: {}", self.status());
            std::thread::sleep(Duration::from_millis(15));
        }
    }

    /// The state of each task, as `a=completed b=failed`.
    pub(crate) fn tasks(&self) -> String {
        let tasks = self.run(&["tasks", "r", "--json"]).code(0).json();
        let word =
            |task: &Value| format!("{}={}", task["id"].as_str().unwrap_or("?"), task["state"].as_str().unwrap_or("?"));
        tasks.as_array().into_iter().flatten().map(word).collect::<Vec<_>>().join(" ")
    }
}

pub(crate) fn tasks_config(tasks: &Value) -> Value {
    json!({
        "campaign": {"plugin": "builtin:workflow", "params": {"tasks": tasks}},
        "operators": {"local": {"plugin": "builtin:compute", "grants": {"compute": ["local"]}}},
        "backends": {"local": {"kind": "local", "cores": 2}},
    })
}

pub(crate) fn done(output: Output) -> Done {
    Done {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
