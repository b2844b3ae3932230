//! `config.json`: what a person writes, and its resolved form inside a run.
use super::about::About;
use super::document::Place;
use super::limit::Limits;
use super::misfit::{Misfit, fit};
use super::notify::NotifyConfig;
use super::pool::MachineConfig;
use super::recorded::RecordedCommand;
use super::reuse::ReuseConfig;
use super::rules::{Approve, Budget};
use super::script::PinnedScript;
use super::workflow::FileSource;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The largest configuration that is read, in bytes: lists of tasks that are larger go into files of their own.
pub const CONFIG_MAX: u64 = 1 << 30;
/// The largest plugin that is read, in bytes.
pub const PLUGIN_MAX: u64 = 1 << 28;

/// How the names of standard plugins begin.
pub const BUILTIN: &str = "builtin:";

/// The standard campaign that runs a list of tasks.
pub const WORKFLOW: &str = "builtin:workflow";
/// The standard campaign that makes its tasks from a template.
pub const SWEEP: &str = "builtin:sweep";

/// The standard campaign whose decisions a program of the user's makes.
pub const ASK_TELL: &str = "builtin:ask-tell";

/// The standard operator that runs commands on backends.
pub const COMPUTE: &str = "builtin:compute";

/// Whether a variable is called as secrets are: what jobs inherit stands in records that others read.
pub fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["KEY", "PASSWORD", "PASSWD", "SECRET", "TOKEN", "CREDENTIAL"].iter().any(|word| name.contains(word))
}

fn object() -> Value {
    Value::Object(Map::new())
}

fn yes() -> bool {
    true
}

fn default_files() -> Vec<String> {
    vec!["scripts/**".to_owned()]
}

/// A run's configuration. Unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The JSON Schema of this file, for editors; not read.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The format of this file.
    #[serde(default = "one")]
    pub format: u32,
    /// What decides.
    pub campaign: CampaignConfig,
    /// What carries tasks outside, by operator key.
    #[serde(default)]
    pub operators: BTreeMap<String, OperatorConfig>,
    /// Compute systems of the host, by name.
    #[serde(default)]
    pub backends: BTreeMap<String, BackendConfig>,
    /// What the jobs of all runs may take of this machine together; only in a person's own configuration or in
    /// `/etc/matterstack/config.json`, and never recorded in a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineConfig>,
    /// Bounds on everything.
    #[serde(default)]
    pub limits: Limits,
    /// How the StateStore keeps its journal.
    #[serde(default)]
    pub store: StoreConfig,
    /// When tasks take what earlier attempts of other runs left, in place of running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<ReuseConfig>,
    /// Who is told when the run waits for a person or has ended, and when a task fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifyConfig>,
    /// What bundles of evidence say of the run beside what is recorded: the licence and the authors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<About>,
    /// What `init` copied into the run, with digests. Written by `init`, never by a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Pinned>,
}

impl RunConfig {
    /// The pinned file that a source names, and its name among them.
    pub fn pinned_file<'a>(&self, source: &'a FileSource) -> Option<(Cow<'a, str>, &PinnedFile)> {
        let name = source.pinned_as()?;
        let file = self.pinned.as_ref()?.files.get(&*name)?;
        Some((name, file))
    }

    /// Patterns of the variables that local jobs inherit beside those that all do.
    pub fn pass_env(&self) -> Vec<&str> {
        let patterns = self.backends.values().flat_map(|backend| match backend {
            BackendConfig::Local(local) => local.pass_env.as_slice(),
            BackendConfig::Slurm(_) => &[],
        });
        patterns.map(String::as_str).collect()
    }

    /// Whether an operator is granted a backend.
    pub fn may_use(&self, operator: &str, backend: &str) -> bool {
        let granted = self.operators.get(operator).map(|operator| &operator.grants.compute);
        granted.is_some_and(|granted| granted.iter().any(|name| name == backend))
    }

    /// Whether a backend tells when there is something to ask about the attempts of an operator.
    pub fn backend_tells(&self, operator: &str) -> bool {
        self.operators.get(operator).is_some_and(|settings| !settings.grants.compute.is_empty())
    }
}

/// The `campaign` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignConfig {
    /// A path in the workspace, or `builtin:NAME`. A component (`.wasm`), or a plain script (`.py`, `.js`).
    pub plugin: String,
    /// Of a script: further files that it imports, by their paths in the workspace. Modules, folders of them, and for
    /// Python wheels without native code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// Parameters under the campaign's own schema. In a run, those that are large lie in a file of their own:
    /// `pinned.params`.
    #[serde(default = "object")]
    pub params: Value,
    /// The only source of the campaign's randomness.
    #[serde(default)]
    pub seed: u64,
    /// Files copied into the run and read through artifacts, by name.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// Patterns of the files that tasks may name as `{"path": …}`.
    #[serde(default = "default_files")]
    pub files: Vec<String>,
    /// When `analyze` is called; absent: as the plugin's manifest says, else `workflow`. It cannot be amended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analyze: Option<AnalyzeMode>,
    /// Whether the campaign can take back a result that it has received, once the task has run again: such a result
    /// comes with `supersedes`. Absent: as the plugin's manifest says, else not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_back: Option<bool>,
    /// The command that makes the plugin of its source, in the workspace: `plugin build` and `init` start it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build: Vec<String>,
}

impl CampaignConfig {
    /// Whether the campaign can take back a result that it has received.
    pub fn can_take_back(&self) -> bool {
        self.takes_back.unwrap_or(false)
    }

    /// Whether the campaign receives each result as it comes.
    pub fn takes_each_result(&self) -> bool {
        self.analyze == Some(AnalyzeMode::EachResult)
    }
}

/// When `analyze` is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AnalyzeMode {
    /// When the workflow of an iteration has ended.
    #[default]
    Workflow,
    /// When any task has ended, in the order in which they end; then a plan is asked for, beside what goes on.
    EachResult,
}

/// One entry of `operators`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperatorConfig {
    /// A path in the workspace, or `builtin:NAME`. A component (`.wasm`), or a plain script (`.py`, `.js`).
    pub plugin: String,
    /// Of a script: further files that it imports, as `campaign.modules`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// What the plugin may reach.
    #[serde(default)]
    pub grants: Grants,
    /// How many of its attempts may be live at once; absent: only `limits.max_active` counts.
    #[serde(default)]
    pub max_active: Option<u64>,
    /// A document for the plugin, under its own schema.
    #[serde(default = "object")]
    pub config: Value,
    /// A JSON Schema for the `input` of its tasks: one that it refuses never starts, whatever the campaign plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepts: Option<Value>,
    /// What it may use in the whole run; what is more waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Whose word its tasks need before they start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<Approve>,
}

/// What a plugin may reach. Nothing by default but the attempt's own directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Backends it may run any command on.
    #[serde(default)]
    pub compute: Vec<String>,
    /// The attempt's own directory as `/work`.
    #[serde(default = "yes")]
    pub work: bool,
    /// The real clock.
    #[serde(default)]
    pub clock: bool,
    /// Real randomness.
    #[serde(default)]
    pub random: bool,
    /// Environment variables it may read.
    #[serde(default)]
    pub env: Vec<String>,
    /// A directory shared with a laboratory, by its absolute path; the plugin reads and writes it as `/exchange`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<PathBuf>,
}

impl Default for Grants {
    fn default() -> Self {
        Self { compute: Vec::new(), work: true, clock: false, random: false, env: Vec::new(), exchange: None }
    }
}

/// One entry of `backends`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum BackendConfig {
    /// Jobs on this machine.
    Local(Box<LocalConfig>),
    /// Jobs of a Slurm cluster, here or behind `ssh`.
    Slurm(Box<SlurmConfig>),
}

impl BackendConfig {
    /// Reads one entry of `backends`. Its kind says which keys it may have, so that serde would read it by what it
    /// holds, and neither name the key that is wrong nor refuse a list.
    ///
    /// # Errors
    /// What does not fit, by the way to it from the entry.
    pub fn read(value: &Value) -> Result<Self, Misfit> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        enum Kind {
            Local,
            Slurm,
        }
        let misfit = |why: &str| Misfit { place: Vec::new(), why: why.to_owned(), near: None };
        let mut keys = value.as_object().ok_or_else(|| misfit("expected an object, with a `kind`"))?.clone();
        let kind = keys.remove("kind").ok_or_else(|| misfit("missing field `kind`"))?;
        let kind = fit::<Kind>(&kind).map_err(|misfit| misfit.below([Place::Key("kind".to_owned())]))?;
        let keys = Value::Object(keys);
        Ok(match kind {
            Kind::Local => Self::Local(Box::new(fit(&keys)?)),
            Kind::Slurm if keys.get("record").is_some() => {
                let why = "only backends of the kind `local` have `record`: what a cluster's programs are, a job there can \
                           tell: let it print that into an output";
                return Err(misfit(why).below([Place::Key("record".to_owned())]));
            }
            Kind::Slurm => Self::Slurm(Box::new(fit(&keys)?)),
        })
    }
}

impl<'de> Deserialize<'de> for BackendConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::read(&value).map_err(serde::de::Error::custom)
    }
}

/// A backend of the kind `local`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocalConfig {
    /// How many cores its jobs take together.
    pub cores: u32,
    /// How much memory they take together, as far as tasks say what they need, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// The graphics processors that they may use, by what `CUDA_VISIBLE_DEVICES` calls them; absent: those of
    /// `machine.gpus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<Vec<String>>,
    /// Lines of shell before each command, such as `. $MATTERSTACK_WORKSPACE_DIR/venv/bin/activate`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub setup: Vec<String>,
    /// Whether a line of `setup` may fail. Otherwise one that does ends the attempt with the code `setup`, before the
    /// command starts; each line must be whole by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub setup_may_fail: bool,
    /// The shell for `setup` and for commands that are a line of shell, which is put behind it, such as
    /// `["bash", "-euo", "pipefail", "-c"]`; empty: `/bin/sh -c`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// Patterns of further variables that jobs inherit of the shell that makes the run, such as `OMP_*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pass_env: Vec<String>,
    /// Commands that tell which programs jobs use, such as `python3 --version`; what they print is recorded. They are
    /// run when the run is made and by `amend RUN environment`, behind `setup`, in the directory of the workspace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub record: Vec<RecordedCommand>,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            cores: 1,
            memory_mb: None,
            gpus: None,
            setup: Vec::new(),
            setup_may_fail: false,
            shell: Vec::new(),
            pass_env: Vec::new(),
            record: Vec::new(),
        }
    }
}

/// A backend of the kind `slurm`. What a job needs of cores, memory and time, its task says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SlurmConfig {
    /// `--partition`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// `--account`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `--qos`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// `--gres`, beside the `gpus` of a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gres: Option<String>,
    /// `--constraint`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// Further arguments of `sbatch`, such as `--exclusive`.
    pub extra_args: Vec<String>,
    /// Lines of shell before the command, such as `module load lammps`. With any, the job script is run by a login
    /// shell, which knows `module`.
    pub setup: Vec<String>,
    /// Whether a line of `setup` may fail. Otherwise one that does ends the attempt with the code `setup`, before the
    /// command starts; each line must be whole by itself.
    pub setup_may_fail: bool,
    /// The shell for commands that are a line of shell, which is put behind it; empty: `/bin/sh -c`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// A template of the job script in place of the built-in one, in the syntax of Jinja.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Where jobs run on the cluster, for a cluster that does not share this machine's files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_root: Option<String>,
    /// The shortest time between two polls, in seconds.
    pub poll_interval_s: f64,
    /// How long something must be absent before it counts as absent, in seconds: between two looks for a submit whose
    /// answer was lost, after a job has left the queue, and for an exit record to show on a network file system. More
    /// where that is slow.
    pub grace_s: f64,
    /// How often `sbatch` may be called in a minute. One call submits an array of many tasks.
    pub submits_per_minute: u32,
    /// The most tasks in one array; the cluster's MaxArraySize holds too.
    pub array_max: u32,
    /// Whether the site keeps accounts (slurmdbd), so that `sacct` knows jobs that `squeue` has forgotten.
    pub sacct: bool,
    /// How to reach the cluster; absent: its commands are on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshConfig>,
}

impl Default for SlurmConfig {
    fn default() -> Self {
        Self {
            partition: None,
            account: None,
            qos: None,
            gres: None,
            constraint: None,
            extra_args: Vec::new(),
            setup: Vec::new(),
            setup_may_fail: false,
            shell: Vec::new(),
            template: None,
            remote_root: None,
            poll_interval_s: 10.0,
            grace_s: 10.0,
            submits_per_minute: 120,
            array_max: 1000,
            sacct: false,
            ssh: None,
        }
    }
}

/// How to reach a cluster with OpenSSH's client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SshConfig {
    /// The login node, as the ssh configuration knows it.
    pub host: String,
    /// The ssh configuration file; absent: the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

fn one() -> u32 {
    1
}

/// The `store` section.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// The journal mode of the database.
    #[serde(default)]
    pub journal: Journal,
}

/// How SQLite keeps its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Journal {
    /// WAL on file systems known to be local, a rollback journal elsewhere.
    #[default]
    Auto,
    /// Write-ahead log: fast, unsafe on network file systems.
    Wal,
    /// Rollback journal: safe wherever locks work.
    Rollback,
}

/// What `init` copied into the run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// Plugins by their name in the configuration; for scripts what carries them out, such as `builtin:python`.
    pub plugins: BTreeMap<String, PinnedFile>,
    /// Scripts, by what they are the plugin of: `campaign`, or `operators.KEY`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scripts: BTreeMap<String, PinnedScript>,
    /// Inputs by name.
    pub inputs: BTreeMap<String, PinnedFile>,
    /// Files tasks may name: those of the workspace by their path in it, outputs of other runs as `//RUN/TASK/OUTPUT`.
    pub files: BTreeMap<String, PinnedFile>,
    /// `campaign.params` where they are large, so that only a tick that plans reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<PinnedFile>,
}

/// One file inside the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PinnedFile {
    /// Where it lies, relative to the run directory.
    pub path: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Whether it can be executed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// Of an operator's plugin: what stands for it where earlier results are reused, by its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse_version: Option<String>,
}

impl PinnedFile {
    /// One that nothing is said of beside what it holds.
    pub fn new(path: String, sha256: String, size: u64) -> Self {
        Self { path, sha256, size, executable: false, reuse_version: None }
    }
}
