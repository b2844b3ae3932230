//! Starts one job's command.
use super::record::{Job, Settings};
use crate::backend::exit::Reason;
use crate::backend::job::Command as JobCommand;
use crate::backend::program::spawn;
use crate::backend::setup::shell_or_usual;
use crate::ground::files::new_file;
use crate::ground::secret::read_secret;
use crate::model::attempt_dir::{EXIT, STDERR, STDOUT};
use crate::model::config::names_a_secret;
use crate::model::pattern::{Dots, Pattern, Patterns};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

/// What a job inherits of the environment of the process that hands it in; the task's own `env` and
/// `MATTERSTACK_ATTEMPT` come on top.
pub const INHERITED: [&str; 12] = [
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "PYTHONPATH",
    "SHELL",
    "TZ",
    "USER",
    "VIRTUAL_ENV",
];

/// How libraries are told which graphics processors to use.
const GPU_VARIABLES: [&str; 2] = ["CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"];

/// Where programs are looked for if the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Variables of one session, which no pattern passes on: they mean nothing where and when a job runs.
const SESSION: [&str; 14] = [
    "DBUS_*",
    "DISPLAY",
    "MATTERSTACK_*",
    "OLDPWD",
    "PWD",
    "SHLVL",
    "SSH_*",
    "STY",
    "TERM*",
    "TMP*",
    "TMUX*",
    "WAYLAND_DISPLAY",
    "XDG_*",
    "_",
];

/// Where a job whose `setup` failed finds that noted, in its directory.
pub(super) const SETUP_MARK: &str = ".setup-failed";

/// What jobs inherit of the environment of this process, by name: what all do, and what these patterns name, but for
/// variables of one session and those that are called as secrets are.
pub fn inherited(patterns: &[&str]) -> BTreeMap<String, String> {
    let matcher = |patterns: &[&str]| {
        let parsed = patterns.iter().filter_map(|pattern| Pattern::parse(pattern).ok());
        Patterns::new(parsed.collect(), Dots::Any)
    };
    let (passed, session) = (matcher(patterns), matcher(&SESSION));
    let passes = |name: &str| {
        INHERITED.contains(&name) || passed.match_path(name) && !session.match_path(name) && !names_a_secret(name)
    };
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| passes(name))
        .collect()
}

/// Starts jobs, each in the environment that it inherits.
pub(super) struct Starter {
    /// Where programs were found under these settings.
    programs: BTreeMap<String, PathBuf>,
    settings: Arc<Settings>,
    /// What jobs read.
    null: File,
}

/// Why a job was not started.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// It never will be.
    Ever(Reason, String),
    /// Its directory shows that it was started before.
    Before,
    /// The machine has no room for it now, or this process itself may have no more.
    Now { why: String, own: bool },
}

impl Starter {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { programs: BTreeMap::new(), settings: Arc::default(), null: File::open("/dev/null")? })
    }

    /// Starts the job in a process group of its own, and tells it these graphics processors, where it is to be told.
    pub(super) fn start(&mut self, job: &Job, gpus: Option<&[String]>) -> Result<Child, NotStarted> {
        let directory = Path::new(&job.directory);
        // `stdout` is made by a start and by nothing else, so whoever makes it is the only one to start the job,
        // whatever became of the journal
        let stdout = output(directory, STDOUT)?;
        let started = output(directory, STDERR).and_then(|stderr| self.start_in(job, gpus, stdout, stderr));
        if let Err(NotStarted::Now { .. }) = &started {
            for name in [STDOUT, STDERR] {
                let _ = fs::remove_file(directory.join(name));
            }
        }
        started
    }

    fn start_in(
        &mut self,
        job: &Job,
        gpus: Option<&[String]>,
        stdout: File,
        stderr: File,
    ) -> Result<Child, NotStarted> {
        let directory = Path::new(&job.directory);
        let cannot = |what: &str, error: io::Error| not_started(what, &error);
        // a job can take away what it printed, and not easily what says how it ended
        if directory.join(EXIT).symlink_metadata().is_ok() {
            return Err(NotStarted::Before);
        }
        let words = words(job);
        let Some((name, arguments)) = words.split_first() else {
            return Err(NotStarted::Ever(Reason::CannotStart, "the command is empty".to_owned()));
        };
        if !Arc::ptr_eq(&self.settings, &job.settings) {
            self.programs.clear();
            self.settings = job.settings.clone();
        }
        let program = self.find(name, job)?;
        let secrets = secrets(job)?;
        // a program given by path keeps the standard library's fast start (posix_spawn) with an environment of our own
        let mut command = Command::new(program);
        command.arg0(name).args(arguments).current_dir(directory).process_group(0);
        // not opened by the standard library, which would do so under the jobs' own limit of descriptors
        let null = self.null.try_clone().map_err(|error| cannot("open `/dev/null`", error))?;
        command.stdin(null).stdout(stdout).stderr(stderr);
        command.env_clear().envs(&job.settings.environment);
        command.envs(place(directory, job)).envs(&job.env).envs(secrets).env("MATTERSTACK_ATTEMPT", &job.attempt);
        if let Some(gpus) = gpus {
            let told = gpus.join(",");
            command.envs(GPU_VARIABLES.map(|name| (name, &told)));
        }
        let ever = |reason, what: &str| NotStarted::Ever(reason, format!("program `{name}` {what}"));
        spawn(&mut command).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ever(Reason::NotFound, "not found"),
            io::ErrorKind::PermissionDenied => ever(Reason::NotExecutable, "cannot be executed"),
            _ if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
                ever(Reason::NotExecutable, "is not in an executable format")
            }
            _ => cannot("start a process", error),
        })
    }

    fn find(&mut self, name: &str, job: &Job) -> Result<PathBuf, NotStarted> {
        if name.contains('/') {
            return Ok(PathBuf::from(name));
        }
        let own_path = job.env.get("PATH");
        if own_path.is_none()
            && let Some(program) = self.programs.get(name)
        {
            return Ok(program.clone());
        }
        let path = own_path.or_else(|| job.settings.environment.get("PATH")).map_or(DEFAULT_PATH, String::as_str);
        // a relative entry of PATH means the job's own directory
        let program = std::env::split_paths(path).map(|entry| entry.join(name)).find(|program| {
            fs::metadata(Path::new(&job.directory).join(program))
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        });
        let program =
            program.ok_or_else(|| NotStarted::Ever(Reason::NotFound, format!("program `{name}` not found")))?;
        let program = if program.components().count() == 1 { Path::new(".").join(program) } else { program };
        if own_path.is_none() && program.is_absolute() {
            self.programs.insert(name.to_owned(), program.clone());
        }
        Ok(program)
    }
}

/// The program and the arguments that carry out a job: its own, or a shell that goes through `setup` first.
fn words(job: &Job) -> Vec<String> {
    let Settings { setup, shell, .. } = &*job.settings;
    let mut words = match (&job.command, setup.is_empty()) {
        (JobCommand::Argv(argv), true) => return argv.clone(),
        (JobCommand::Argv(argv), false) if argv.is_empty() => return Vec::new(),
        (JobCommand::Argv(_) | JobCommand::Shell(_), _) => shell_or_usual(shell),
    };
    let mut script = setup.clone();
    match &job.command {
        JobCommand::Shell(line) => {
            script.push(line.clone());
            words.push(script.join("\n"));
        }
        JobCommand::Argv(argv) => {
            script.push("exec \"$@\"".to_owned());
            words.extend([script.join("\n"), "matterstack".to_owned()]);
            words.extend(argv.iter().cloned());
        }
    }
    words
}

/// The variables of a job that are set to a secret, with what each holds: it is kept nowhere else.
fn secrets(job: &Job) -> Result<Vec<(&String, OsString)>, NotStarted> {
    let read = |name: &str| read_secret(name).map_err(|why| NotStarted::Ever(Reason::Secret, why));
    job.secrets.iter().map(|(variable, name)| Ok((variable, OsString::from_vec(read(name)?)))).collect()
}

/// What a job is told of where it is: the run, the workspace, and where a failure of `setup` is noted. A run that is
/// moved takes jobs along that start afterwards.
fn place(directory: &Path, job: &Job) -> Vec<(&'static str, OsString)> {
    // the supervisor stands in the run directory, `runs/ID` of its workspace
    let Ok(run) = std::env::current_dir() else { return Vec::new() };
    let mut told = Vec::new();
    told.extend(run.file_name().map(|id| ("MATTERSTACK_RUN", id.to_owned())));
    told.extend(run.ancestors().nth(2).map(|workspace| ("MATTERSTACK_WORKSPACE_DIR", workspace.into())));
    if !job.settings.setup.is_empty() {
        told.push(("MATTERSTACK_SETUP", run.join(directory).join(SETUP_MARK).into()));
    }
    told
}

/// What passes by itself is waited for: too many processes, memory or files in use, or a disk that fails.
fn not_started(what: &str, error: &io::Error) -> NotStarted {
    let passing =
        [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::ROFS];
    let passes = error.raw_os_error().is_some_and(|code| passing.iter().any(|errno| errno.raw_os_error() == code));
    let own = [Errno::AGAIN, Errno::MFILE].map(|errno| Some(errno.raw_os_error())).contains(&error.raw_os_error());
    let why = format!("cannot {what}: {error}");
    if passes { NotStarted::Now { why, own } } else { NotStarted::Ever(Reason::CannotStart, why) }
}

/// Makes a file for what the job prints. A regular file of that name is of a start before this one; anything else is in
/// the way for good.
fn output(directory: &Path, name: &str) -> Result<File, NotStarted> {
    let path = directory.join(name);
    new_file(&path).map_err(|error| match path.symlink_metadata() {
        Ok(there) if error.kind() == io::ErrorKind::AlreadyExists && there.is_file() => NotStarted::Before,
        _ => not_started(&format!("open `{name}`"), &error),
    })
}
