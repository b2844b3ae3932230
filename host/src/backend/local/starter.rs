//! Starts one job's command.
use super::record::{Job, Settings};
use crate::backend::exit::Reason;
use crate::backend::job::Command as JobCommand;
use crate::backend::program::spawn;
use crate::ground::files::new_file;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

/// What a job inherits of the environment of the process that hands it in; the task's own `env` and
/// `MATTERSTACK_ATTEMPT` come on top.
pub const INHERITED: [&str; 13] = [
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "PYTHONPATH",
    "SHELL",
    "TMPDIR",
    "TZ",
    "USER",
    "VIRTUAL_ENV",
];

/// Where programs are looked for if the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What jobs inherit of the environment of this process, by name.
pub fn inherited() -> BTreeMap<String, String> {
    INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
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

    /// Starts the job in a process group of its own.
    pub(super) fn start(&mut self, job: &Job) -> Result<Child, NotStarted> {
        let directory = Path::new(&job.directory);
        // `stdout` is made by a start and by nothing else, so whoever makes it is the only one to start the job,
        // whatever became of the journal
        let stdout = output(directory, "stdout")?;
        let started = output(directory, "stderr").and_then(|stderr| self.start_in(job, directory, stdout, stderr));
        if let Err(NotStarted::Now { .. }) = &started {
            for name in ["stdout", "stderr"] {
                let _ = fs::remove_file(directory.join(name));
            }
        }
        started
    }

    fn start_in(&mut self, job: &Job, directory: &Path, stdout: File, stderr: File) -> Result<Child, NotStarted> {
        let cannot = |what: &str, error: io::Error| not_started(what, &error);
        // a job can take away what it printed, and not easily what says how it ended
        if directory.join("exit.json").symlink_metadata().is_ok() {
            return Err(NotStarted::Before);
        }
        let (name, arguments) = match &job.command {
            JobCommand::Shell(line) => ("/bin/sh", vec!["-c", line.as_str()]),
            JobCommand::Argv(argv) => match argv.split_first() {
                Some((name, rest)) => (name.as_str(), rest.iter().map(String::as_str).collect()),
                None => return Err(NotStarted::Ever(Reason::CannotStart, "the command is empty".to_owned())),
            },
        };
        if !Arc::ptr_eq(&self.settings, &job.settings) {
            self.programs.clear();
            self.settings = job.settings.clone();
        }
        let program = self.find(name, job)?;
        // a program given by path keeps the standard library's fast start (posix_spawn) with an environment of our own
        let mut command = Command::new(program);
        command.arg0(name).args(arguments).current_dir(directory).process_group(0);
        // not opened by the standard library, which would do so under the jobs' own limit of descriptors
        let null = self.null.try_clone().map_err(|error| cannot("open `/dev/null`", error))?;
        command.stdin(null).stdout(stdout).stderr(stderr);
        command.env_clear().envs(&job.settings.environment).envs(&job.env).env("MATTERSTACK_ATTEMPT", &job.attempt);
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
