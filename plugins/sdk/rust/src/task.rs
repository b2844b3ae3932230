//! Tasks as a campaign writes them and results as it reads them.
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A logical unit of work, under the JSON Schema `tasks`. What is left out has the host's default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Unique in the run, 1 to 200 bytes.
    pub id: String,
    /// The operator key that carries the task.
    pub operator: String,
    /// What to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// Files put into the attempt directory, by destination.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, FileSource>,
    /// Environment variables of the command: texts, or secrets by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Variable>,
    /// Ids of the tasks that must end first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// Patterns of the files that the task leaves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputPattern>,
    /// What the command needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Ready tasks start by it: the larger first. Within ±1 000 000.
    #[serde(default, skip_serializing_if = "is_ordinary")]
    pub priority: i32,
    /// When to try again, as in the schema `tasks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Value>,
    /// Whether the run may go on if the task fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_failure: bool,
    /// Whether the task runs though a dependency failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_dependency_failure: bool,
    /// A document for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
}

/// What an environment variable is set to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Variable {
    /// A text.
    Text(String),
    /// What a file holds that only its owner may read, where the job starts.
    Secret {
        /// Its name in `~/.config/matterstack/secrets`.
        secret: String,
    },
}

impl From<&str> for Variable {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Whether a priority is the one that is meant where none is given.
fn is_ordinary(priority: &i32) -> bool {
    *priority == 0
}

/// A pattern of output files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OutputPattern {
    /// The files come back into the run.
    Fetched(String),
    /// The files stay where the job ran.
    Kept {
        /// The pattern.
        pattern: String,
        /// Where they are kept.
        keep: Keep,
    },
}

impl OutputPattern {
    /// The pattern itself.
    pub fn pattern(&self) -> &str {
        match self {
            Self::Fetched(pattern) | Self::Kept { pattern, .. } => pattern,
        }
    }
}

/// Where output files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// On the cluster, with size and digest in the record.
    Remote,
}

/// What a task runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Command {
    /// A program and its arguments.
    Argv(Vec<String>),
    /// A line for `/bin/sh -c`.
    Shell(String),
}

/// How a file comes into the attempt directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// A file of its own.
    Copy,
    /// A second name of the same file; a job that writes into it fails its attempt.
    Link,
}

/// Where a staged file comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FileSource {
    /// A pinned file of the campaign (`campaign.files`).
    Pinned {
        /// Its path in the workspace.
        path: String,
        /// How it is staged; a copy if absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        stage: Option<Stage>,
        /// Whether it can be executed; as where it comes from if absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        executable: Option<bool>,
    },
    /// Text written as it stands.
    Content {
        /// The text.
        content: String,
        /// Whether it can be executed.
        #[serde(skip_serializing_if = "Option::is_none")]
        executable: Option<bool>,
    },
    /// Bytes that the campaign has written ([`artifacts::write`](crate::artifacts::write)).
    Written {
        /// Their SHA-256.
        digest: String,
        /// The digests of what was written in parts, which one after the other are this; none if it was written whole.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parts: Vec<String>,
        /// How they are staged; a copy if absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        stage: Option<Stage>,
        /// Whether the file can be executed.
        #[serde(skip_serializing_if = "Option::is_none")]
        executable: Option<bool>,
    },
    /// A file that a task of another run left, which was brought into this one when it was made.
    Other {
        /// The other run.
        run: String,
        /// Its task.
        from: String,
        /// The file's path among that task's outputs.
        output: String,
        /// How it is staged; a copy if absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        stage: Option<Stage>,
        /// Whether it can be executed; as where it comes from if absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        executable: Option<bool>,
    },
    /// A file that an earlier task left; implies the dependency.
    From {
        /// The task.
        from: String,
        /// The file's path among its outputs.
        output: String,
        /// How it is staged; a copy if absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        stage: Option<Stage>,
        /// Whether it can be executed; as where it comes from if absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        executable: Option<bool>,
    },
}

/// What a command needs; what is absent has the backend's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Processor cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Memory in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// Graphics processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
    /// Things that the machine's pool counts, such as licences, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u32>,
    /// The longest run time, in seconds; at most ten years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub walltime_s: Option<f64>,
    /// Machines of a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
    /// Processes, for a launcher such as `srun`; each has `cores` cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u32>,
    /// How long before the end of its time a job gets the signal USR1, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal_before_s: Option<u32>,
}

impl Task {
    /// Starts a task for an operator key.
    pub fn new(id: impl Into<String>, operator: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            operator: operator.into(),
            command: None,
            files: BTreeMap::new(),
            env: BTreeMap::new(),
            depends_on: Vec::new(),
            outputs: Vec::new(),
            resources: None,
            priority: 0,
            retry: None,
            allow_failure: false,
            allow_dependency_failure: false,
            input: None,
        }
    }

    /// Sets the program and its arguments.
    pub fn command<S: Into<String>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.command = Some(Command::Argv(argv.into_iter().map(Into::into).collect()));
        self
    }

    /// Sets a line for `/bin/sh -c`.
    pub fn shell(mut self, line: impl Into<String>) -> Self {
        self.command = Some(Command::Shell(line.into()));
        self
    }

    /// Stages a pinned file of the campaign; to a destination that ends in `/`, all that are in a folder.
    pub fn file(mut self, destination: impl Into<String>, path: impl Into<String>) -> Self {
        self.files.insert(destination.into(), FileSource::Pinned { path: path.into(), stage: None, executable: None });
        self
    }

    /// Stages a text.
    pub fn content(mut self, destination: impl Into<String>, content: impl Into<String>) -> Self {
        self.files.insert(destination.into(), FileSource::Content { content: content.into(), executable: None });
        self
    }

    /// Stages bytes that the campaign has written, by the digest that [`artifacts::write`](crate::artifacts::write)
    /// returned.
    pub fn file_written(mut self, destination: impl Into<String>, digest: impl Into<String>) -> Self {
        let source = FileSource::Written { digest: digest.into(), parts: Vec::new(), stage: None, executable: None };
        self.files.insert(destination.into(), source);
        self
    }

    /// Stages a file that an earlier task leaves; to a destination that ends in `/`, all that a pattern names.
    pub fn file_from(mut self, destination: impl Into<String>, task: &str, output: &str) -> Self {
        let (from, output) = (task.to_owned(), output.to_owned());
        self.files.insert(destination.into(), FileSource::From { from, output, stage: None, executable: None });
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), Variable::Text(value.into()));
        self
    }

    /// Sets an environment variable to a secret, which is read where the job starts.
    pub fn env_secret(mut self, name: impl Into<String>, secret: impl Into<String>) -> Self {
        self.env.insert(name.into(), Variable::Secret { secret: secret.into() });
        self
    }

    /// Adds a dependency.
    pub fn after(mut self, task: impl Into<String>) -> Self {
        self.depends_on.push(task.into());
        self
    }

    /// Adds an output pattern.
    pub fn output(mut self, pattern: impl Into<String>) -> Self {
        self.outputs.push(OutputPattern::Fetched(pattern.into()));
        self
    }

    /// Adds a pattern of large files that stay on the cluster; a later task there gets them without a transfer.
    pub fn output_kept(mut self, pattern: impl Into<String>) -> Self {
        self.outputs.push(OutputPattern::Kept { pattern: pattern.into(), keep: Keep::Remote });
        self
    }

    /// Sets what the command needs.
    pub fn resources(mut self, resources: Resources) -> Self {
        self.resources = Some(resources);
        self
    }

    /// Sets what it is ordered by among those that are ready; the larger starts first.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Sets when to try again.
    pub fn retry(mut self, retry: Value) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Lets the run go on if the task fails.
    pub fn allow_failure(mut self) -> Self {
        self.allow_failure = true;
        self
    }

    /// Runs the task though a dependency failed.
    pub fn allow_dependency_failure(mut self) -> Self {
        self.allow_dependency_failure = true;
        self
    }

    /// Sets the document for the operator.
    pub fn input(mut self, input: Value) -> Self {
        self.input = Some(input);
        self
    }
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should.
    Completed,
    /// It did not, and no further attempt follows.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// It never started, because a dependency did not complete.
    Skipped,
}

/// What became of a task, under the JSON Schema `results`; keys this version does not know are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    /// The task's id.
    pub task: String,
    /// How it ended.
    pub outcome: Outcome,
    /// A short word on why, unless it completed.
    #[serde(default)]
    pub code: Option<String>,
    /// One sentence on why, unless it completed.
    #[serde(default)]
    pub reason: Option<String>,
    /// The id of its last attempt, if it had one.
    #[serde(default)]
    pub attempt: Option<String>,
    /// How many attempts it took.
    #[serde(default)]
    pub attempts: u32,
    /// Whether the task may fail without failing the run.
    #[serde(default)]
    pub allow_failure: bool,
    /// The output document, if the operator gave one; absent where it has more than 64 KiB.
    #[serde(default)]
    pub data: Option<Value>,
    /// SHA-256 of a larger output document.
    #[serde(default)]
    pub data_sha256: Option<String>,
    /// Bytes of a larger output document.
    #[serde(default)]
    pub data_size: Option<u64>,
    /// The files it left.
    #[serde(default)]
    pub outputs: Vec<OutputFile>,
    /// How it had ended when it was delivered before, if it was: that result is taken back. Only a campaign whose
    /// configuration says `takes_back` gets one.
    #[serde(default)]
    pub supersedes: Option<Outcome>,
}

impl TaskResult {
    /// The output document as a file to read ([`artifacts::read_all`](crate::artifacts::read_all)), where it is too
    /// large to stand in the result.
    pub fn data_file(&self) -> Option<OutputFile> {
        let (sha256, size) = self.data_sha256.clone().zip(self.data_size)?;
        Some(OutputFile { path: "data".to_owned(), sha256, size, remote: None })
    }

    /// Returns the output file with this path.
    pub fn output(&self, path: &str) -> Option<&OutputFile> {
        self.outputs.iter().find(|file| file.path == path)
    }
}

/// A file that a task left, or an input of the campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Its path, relative to the attempt directory; an input's name.
    #[serde(default)]
    pub path: String,
    /// SHA-256 in 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Where it is, if it stayed on a cluster ([`Task::output_kept`]): it can be given to a further task
    /// ([`Task::file_from`]), and not be read here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemotePlace>,
}

/// Where an output file is that stayed on a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemotePlace {
    /// The backend that has it.
    pub backend: String,
    /// Its path there.
    pub path: String,
}
