//! What a kit holds, and how it is written.
use crate::script;
use flate2::{Compression, write::GzEncoder};
use matterstack_pattern::{Dots, PATTERNS_MAX, Pattern, Patterns, WEIGHT_MAX};
use matterstack_sdk::task::{Command, OutputPattern, Resources};
use matterstack_sdk::work::{self, Entry};
use matterstack_sdk::{Attempt, Error, Variable, json};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// What the operator and `kit import` put into the attempt directory: no outputs of the task.
pub(crate) const OWN_FILES: [&str; 8] =
    ["kit/**", "kit.tar.gz", "status.*", "import.json", "output/**", "*.replaced-*/**", ".*", ".*/**"];
/// How names begin that a task's own files must leave alone.
const RESERVED: [&str; 8] = ["kit", "status.", "import.json", "output", ".clock", ".import", ".kit", ".status"];
/// How long what may be half of something must stay the same, in seconds.
const SETTLE_S: f64 = 5.0;

/// `operators.<key>.config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Lines below the first of the job script, such as `#SBATCH --account=abc`.
    #[serde(default)]
    pub(crate) header: Vec<String>,
    /// Lines before the command, such as `module load lammps`.
    #[serde(default)]
    pub(crate) setup: Vec<String>,
    /// Words before the command, such as `srun`.
    #[serde(default)]
    pub(crate) launcher: Vec<String>,
    #[serde(default)]
    settle_s: Option<f64>,
}

/// What a kit needs of its task.
#[derive(Debug, Deserialize)]
struct Task {
    id: String,
    #[serde(default)]
    command: Option<Command>,
    #[serde(default)]
    files: BTreeMap<String, Value>,
    #[serde(default)]
    env: BTreeMap<String, Variable>,
    #[serde(default)]
    outputs: Vec<OutputPattern>,
    #[serde(default)]
    resources: Option<Resources>,
}

/// A kit.
pub(crate) struct Kit {
    pub(crate) run: String,
    pub(crate) task: String,
    pub(crate) attempt: String,
    pub(crate) token: String,
    /// `kit-`, some of the task's id, some of the attempt's.
    pub(crate) name: String,
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, Variable>,
    pub(crate) resources: Resources,
    /// Where the task's own files go, below the job's working directory.
    pub(crate) inputs: Vec<String>,
    /// Those of them that can be executed.
    executables: BTreeSet<String>,
    pub(crate) outputs: Patterns,
    pub(crate) config: Config,
}

impl Kit {
    /// Reads the task and the configuration.
    pub(crate) fn of(attempt: &Attempt) -> Result<Self, Error> {
        let task: Task = attempt.task()?;
        let config: Config = match attempt.config.as_str() {
            "" | "null" => Config::default(),
            _ => attempt.config()?,
        };
        check_config(&config)?;
        let argv = argv(task.command)?;
        for (name, value) in &task.env {
            if !is_variable(name) || matches!(value, Variable::Text(text) if text.contains('\0')) {
                return Err(Error::invalid("env", format!("`env` has {name:?}, which no shell can set")));
            }
        }
        let executes = |file: &Value| file.get("executable") == Some(&Value::Bool(true));
        let executables = task.files.iter().filter(|(_, file)| executes(file)).map(|(name, _)| name.clone()).collect();
        let inputs: Vec<String> = task.files.into_keys().collect();
        work::refuse_reserved(&inputs, |name| RESERVED.iter().any(|reserved| name.starts_with(reserved)))?;
        Ok(Self {
            run: attempt.run_id.clone(),
            attempt: attempt.attempt_id.clone(),
            token: attempt.token(),
            name: name(&task.id, &attempt.attempt_id),
            task: task.id,
            argv,
            env: task.env,
            resources: task.resources.unwrap_or_default(),
            inputs,
            executables,
            outputs: patterns(&task.outputs)?,
            config,
        })
    }

    /// How long what may be half of something must stay the same, in milliseconds.
    pub(crate) fn settle_ms(&self) -> u64 {
        (self.config.settle_s.unwrap_or(SETTLE_S) * 1000.0) as u64
    }

    /// The name of what comes back.
    pub(crate) fn return_name(&self) -> String {
        format!("return{}", &self.name["kit".len()..])
    }

    /// Whether the kit has been given to anybody.
    pub(crate) fn is_written(&self) -> bool {
        matches!(work::entry(&work::path("kit.tar.gz")), Ok(Entry::File(..)))
    }

    /// Writes `kit/`, then `kit.tar.gz`. May be repeated until the archive is in place.
    pub(crate) fn write(&self) -> Result<(), Error> {
        if self.is_written() {
            return Ok(());
        }
        let folder = work::path("kit");
        let again = |error: io::Error| work::failed("written", &folder, &error);
        match work::entry(&folder).map_err(again)? {
            Entry::Missing => {}
            Entry::Directory => fs::remove_dir_all(&folder).map_err(again)?,
            Entry::File(..) | Entry::Other(_) => fs::remove_file(&folder).map_err(again)?,
        }
        fs::create_dir_all(folder.join("work")).map_err(again)?;
        let files = self.write_files(&folder).map_err(|error| match error.kind() {
            io::ErrorKind::Other => Error::invalid("input-file", error.to_string()),
            _ => work::failed("written", &folder, &error),
        })?;
        let archive = work::path("kit.tar.gz");
        self.pack(&folder, files.keys()).map_err(|error| work::failed("written", &archive, &error))
    }

    fn write_files(&self, folder: &Path) -> io::Result<Map<String, Value>> {
        let mut files = Map::new();
        let mut note = |name: String, (sha256, size): (String, u64)| {
            let executable = self.executes(&name);
            files.insert(name, json!({"sha256": sha256, "size": size, "executable": executable}));
        };
        for (name, text) in [
            ("job.sh", script::job(self)),
            ("return.sh", script::bring_back(self)),
            ("README.md", script::readme(self)),
            ("token", format!("{}\n", self.token)),
        ] {
            work::create(&folder.join(name))?.write_all(text.as_bytes())?;
            note(name.to_owned(), (work::sha256(text.as_bytes()), text.len() as u64));
        }
        for input in &self.inputs {
            let to = folder.join("work").join(input);
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            let copied = work::copy_hashed(&work::path(input), &mut work::create(&to)?);
            let copied = copied.map_err(|error| io::Error::new(error.kind(), format!("file `{input}`: {error}")))?;
            note(format!("work/{input}"), copied);
        }
        let outputs: Vec<&str> = self.outputs.all().iter().map(Pattern::text).collect();
        let manifest = json!({
            "format": "matterstack-kit-1", "name": self.name, "run": self.run, "task": self.task, "attempt": self.attempt,
            "token": self.token, "outputs": outputs, "files": files,
        });
        let text = serde_json::to_string_pretty(&manifest)? + "\n";
        work::create(&folder.join("manifest.json"))?.write_all(text.as_bytes())?;
        files.insert("manifest.json".to_owned(), Value::Null);
        Ok(files)
    }

    /// Whether a file of the kit can be executed: its scripts can, and what could be where it comes from.
    fn executes(&self, name: &str) -> bool {
        match name.strip_prefix("work/") {
            Some(input) => self.executables.contains(input),
            None => name.ends_with(".sh"),
        }
    }

    /// One archive of the folder. Times and owners say nothing, so that a repeated pack gives the same bytes.
    fn pack<'a>(&self, folder: &Path, files: impl Iterator<Item = &'a String>) -> io::Result<()> {
        let aside = work::path(".kit.tar.gz.part");
        let mut builder = tar::Builder::new(GzEncoder::new(work::create(&aside)?, Compression::default()));
        for directory in ["", "work/"] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            builder.append_data(&mut header, format!("{}/{directory}", self.name), io::empty())?;
        }
        for name in files {
            let mut file: File = work::open(&folder.join(name))?;
            let mut header = tar::Header::new_gnu();
            header.set_size(file.metadata()?.len());
            header.set_mode(if self.executes(name) { 0o755 } else { 0o644 });
            builder.append_data(&mut header, format!("{}/{name}", self.name), &mut file)?;
        }
        builder.into_inner()?.finish()?.sync_all()?;
        fs::rename(&aside, work::path("kit.tar.gz"))
    }
}

/// Like the attempt directory's name: some plain characters of the task's id, and enough of the attempt's.
fn name(task: &str, attempt: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let task: String = task.chars().take(24).map(plain).collect();
    format!("kit-{task}-{}", attempt.chars().take(12).collect::<String>())
}

fn argv(command: Option<Command>) -> Result<Vec<String>, Error> {
    let argv = match command {
        Some(Command::Argv(argv)) => argv,
        Some(Command::Shell(line)) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line],
        None => return Err(Error::invalid("no-command", "the task has no `command`")),
    };
    if argv.first().is_none_or(String::is_empty)
        || argv.last().is_some_and(|word| argv.len() == 3 && word.trim().is_empty())
    {
        return Err(Error::invalid("no-command", "the task's `command` is empty"));
    }
    match argv.iter().find(|word| word.contains('\0')) {
        Some(_) => {
            Err(Error::invalid("bad-command", "the task's `command` holds a NUL, which no program can be given"))
        }
        None => Ok(argv),
    }
}

fn is_variable(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(fine)
}

fn check_config(config: &Config) -> Result<(), Error> {
    let lines = config.header.iter().chain(&config.setup);
    if lines.chain(&config.launcher).any(|line| line.contains(['\n', '\r', '\0'])) {
        return Err(Error::invalid("config", "`config.header`, `setup` and `launcher` must hold single lines"));
    }
    if config.header.iter().any(|line| !line.starts_with('#')) {
        return Err(Error::invalid("config", "every line of `config.header` must begin with `#`"));
    }
    if config.settle_s.is_some_and(|seconds| !seconds.is_finite() || seconds < 0.0) {
        return Err(Error::invalid("config", "`config.settle_s` is negative"));
    }
    Ok(())
}

/// The task's patterns, by the rules by which the host plans them.
fn patterns(outputs: &[OutputPattern]) -> Result<Patterns, Error> {
    let wrong = |text: String| Error::invalid("outputs", text);
    if outputs.len() > PATTERNS_MAX {
        return Err(wrong(format!("there are {} patterns; {PATTERNS_MAX} are allowed", outputs.len())));
    }
    let parse = |output: &OutputPattern| {
        let text = output.pattern();
        Pattern::parse(text).map_err(|error| wrong(format!("`{text}`: {error}")))
    };
    let all: Vec<Pattern> = outputs.iter().map(parse).collect::<Result<_, _>>()?;
    if all.iter().map(Pattern::weight).sum::<usize>() > WEIGHT_MAX {
        return Err(wrong("the patterns are too much to be matched together".to_owned()));
    }
    Ok(Patterns::new(all, Dots::Written))
}
