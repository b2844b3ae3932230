//! Files of a task: where those come from that it is given, and which of those it leaves are kept.
use crate::model::id::TaskId;
use crate::model::pattern::plain_path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A pattern of output files: text, or with the word where they stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum OutputPattern {
    /// The files come back into the run.
    Fetched(String),
    /// The files stay where the job ran.
    Kept(KeptPattern),
}

/// `{"pattern": …, "keep": "remote"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeptPattern {
    /// The pattern.
    pub pattern: String,
    /// Where the files are kept.
    pub keep: Keep,
}

/// Where output files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// On the cluster, with size and digest in the record; on a backend that shares this machine's files, in the run.
    Remote,
}

/// Where an output file is that stayed on a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemotePlace {
    /// The backend that has it.
    pub backend: String,
    /// Its path there.
    pub path: String,
}

impl OutputPattern {
    /// The pattern itself.
    pub fn pattern(&self) -> &str {
        match self {
            Self::Fetched(pattern) | Self::Kept(KeptPattern { pattern, keep: Keep::Remote }) => pattern,
        }
    }

    /// Whether the files stay where the job ran.
    pub fn stays(&self) -> bool {
        matches!(self, Self::Kept(_))
    }
}

/// Where a staged file comes from.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum FileSource {
    /// A pinned file of the workspace.
    Path(PathSource),
    /// Literal text.
    Content(ContentSource),
    /// An output of an earlier task, which thereby becomes a dependency.
    From(FromSource),
    /// An output of a task of another run of the workspace, which was brought into this one when it was made.
    Other(OtherSource),
    /// A file that the run has, by what it holds: one that its campaign wrote, one of its inputs, or an output.
    Digest(DigestSource),
}

impl FileSource {
    /// Says that it can be executed.
    pub fn set_executable(&mut self) {
        match self {
            Self::Path(PathSource { executable, .. })
            | Self::Content(ContentSource { executable, .. })
            | Self::From(FromSource { executable, .. })
            | Self::Other(OtherSource { executable, .. })
            | Self::Digest(DigestSource { executable, .. }) => *executable = Some(true),
        }
    }

    /// Whether it is said to be executable, or not.
    pub fn executable(&self) -> Option<bool> {
        match self {
            Self::Path(PathSource { executable, .. })
            | Self::Content(ContentSource { executable, .. })
            | Self::From(FromSource { executable, .. })
            | Self::Other(OtherSource { executable, .. })
            | Self::Digest(DigestSource { executable, .. }) => *executable,
        }
    }

    /// Whether it is to be a second name of the file where it comes from.
    pub fn is_linked(&self) -> bool {
        match self {
            Self::Path(path) => path.is_linked(),
            Self::From(from) => from.is_linked(),
            Self::Other(other) => other.stage == Some(Stage::Link),
            Self::Digest(digest) => digest.stage == Some(Stage::Link),
            Self::Content(_) => false,
        }
    }

    /// Under which name the run has it pinned, if it is one of its pinned files.
    pub fn pinned_as(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Path(path) => Some(Cow::Borrowed(&path.path)),
            Self::Other(other) => Some(Cow::Owned(other.pinned_as())),
            Self::Content(_) | Self::From(_) | Self::Digest(_) => None,
        }
    }
}

/// How a file comes into the attempt directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// A file of its own: cloned where the file system can, else copied.
    Copy,
    /// A second name of the same file, where the file system can. A job that writes into it fails its attempt, since it
    /// destroys what others use.
    Link,
}

/// `{"path": …}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathSource {
    /// The path in the workspace; of a folder, where the destination ends in `/`.
    pub path: String,
    /// How it is staged; a copy if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Whether it can be executed; as in the workspace if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
}

impl PathSource {
    /// Whether it is a second name of the pinned file.
    pub fn is_linked(&self) -> bool {
        self.stage == Some(Stage::Link)
    }
}

/// `{"content": …}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentSource {
    /// The text.
    pub content: String,
    /// Whether it can be executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
}

/// `{"from": …, "output": …}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FromSource {
    /// The earlier task.
    pub from: TaskId,
    /// The path of its output; a pattern, where the destination ends in `/`.
    pub output: String,
    /// How it is staged; a copy if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Whether it can be executed; as the earlier task left it if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
}

impl FromSource {
    /// Whether it is a second name of the earlier task's file.
    pub fn is_linked(&self) -> bool {
        self.stage == Some(Stage::Link)
    }
}

/// `{"run": …, "from": …, "output": …}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtherSource {
    /// The id of the other run.
    pub run: String,
    /// Its task, which has completed.
    pub from: TaskId,
    /// The path of that task's output.
    pub output: String,
    /// How it is staged; a copy if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Whether it can be executed; as that task left it if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
}

/// The most parts of which a file is put together.
pub(super) const PARTS_MAX: usize = 4096;

/// `{"digest": …}`, or `{"digest": …, "parts": […]}`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DigestSource {
    /// SHA-256, 64 hexadecimal digits.
    pub digest: String,
    /// The digests of files that the run has, which one after the other are this one: the run need not have it whole.
    /// It is put together in the attempt directory, and taken away again when the attempt has completed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// How it is staged; a copy if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Whether it can be executed; as the file is if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
}

impl DigestSource {
    /// Its digest, and those of its parts.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.digest).chain(&self.parts).map(String::as_str)
    }

    /// The digests of the files that the run must have for it: of its parts, or its own.
    pub fn needed(&self) -> &[String] {
        if self.parts.is_empty() { std::slice::from_ref(&self.digest) } else { &self.parts }
    }
}

/// How the name begins under which an output of another run is pinned, which no path in a workspace does.
const OTHER: &str = "//";

impl OtherSource {
    /// How sentences name it.
    pub fn named(&self) -> String {
        format!("output `{}` of task `{}` of run `{}`", self.output, self.from, self.run)
    }

    /// Its name among the pinned files: run, task and output.
    pub fn pinned_as(&self) -> String {
        let task = self.from.as_str().replace('%', "%25").replace('/', "%2F");
        format!("{OTHER}{}/{task}/{}", self.run, plain_path(&self.output))
    }
}

/// Whether a pinned file of this name is an output of another run, and none of the workspace's files.
pub fn is_of_other_run(name: &str) -> bool {
    name.starts_with(OTHER)
}
