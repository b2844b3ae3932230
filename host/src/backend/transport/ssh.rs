//! The cluster's commands are behind OpenSSH's client.
//!
//! Logging in is the client's business, with the person's own configuration, agent, jump hosts and known hosts; nothing
//! here weakens its checks. The far shell first says that it is there, and only then is the script sent, so whatever
//! fails before that provably started nothing. What a login prints around the script is told apart by markers that
//! nobody can guess, and the script's own exit code comes in one of them: without it the answer is lost. A crash leaves
//! at worst the shared connection, which closes itself when it has been idle.
use super::child::{self, NoEnd};
use super::frame::{Frame, Source, between, bootstrap};
use super::{Exec, Finished, NoAnswer, Transport};
use crate::ground::random;
use crate::ground::words::quoted;
use crate::model::document::sha256;
use std::cell::Cell;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The longest path of a socket, in bytes, less what the client appends while it makes one.
const SOCKET_PATH_MAX: usize = 104 - 17;
/// How long a shared connection stays open unused.
const PERSIST: &str = "10m";
/// In what the client says when a connection through a jump host is closed.
const BEHIND_A_JUMP: &str = "UNKNOWN port";
/// How long a login may take that is tried once more for what it says.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Runs scripts on a host of the person's ssh configuration, over one shared connection.
#[derive(Debug, Clone)]
pub struct Ssh {
    host: String,
    /// The configuration given to the client: the person's own first, then what it leaves open.
    config: PathBuf,
}

/// Why a script did not start: what a person is told, and what would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// A short word for programs.
    pub code: &'static str,
    /// One sentence without a final period.
    pub what: String,
    /// What would help.
    pub remedy: String,
}

/// Why there is no answer, with what would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SshError {
    /// The script provably did not start.
    Unreachable(Trouble),
    /// The script may have run, in part or to its end.
    Lost(String),
}

impl Ssh {
    /// A host by its name in the person's ssh configuration, or in another configuration file.
    ///
    /// # Errors
    /// If the name or the file cannot be used, or no private place for the connection's socket can be made.
    pub fn new(host: &str, config: Option<&Path>) -> Result<Self, Trouble> {
        Self::in_directory(&runtime_directory(), host, config)
    }

    /// The same, with the connection's socket in this directory.
    ///
    /// # Errors
    /// As for [`Ssh::new`].
    pub fn in_directory(directory: &Path, host: &str, config: Option<&Path>) -> Result<Self, Trouble> {
        let plain =
            !host.is_empty() && !host.starts_with('-') && !host.chars().any(|c| c.is_whitespace() || c.is_control());
        if !plain {
            return Err(trouble(
                "ssh-host",
                format!("`{host}` cannot name an ssh host"),
                "name it as `ssh` would take it",
            ));
        }
        let config = config.map(given_config).transpose()?;
        let unusable = |error: io::Error| {
            let what = format!("no private directory `{}` for ssh's shared connection: {error}", directory.display());
            trouble("ssh-directory", what, "set XDG_RUNTIME_DIR to a directory of your own with mode 0700")
        };
        private_directory(directory).map_err(unusable)?;
        let name = sha256(format!("{host}\n{}", config.as_deref().unwrap_or(Path::new("")).display()).as_bytes());
        let name = name.get(..8).unwrap_or_default();
        let text = client_config(&directory.join(format!("{name}-%C")), config.as_deref());
        let path = directory.join(format!("{name}.conf"));
        if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            replace(&path, &text).map_err(unusable)?;
        }
        Ok(Self { host: host.to_owned(), config: path })
    }

    /// The host's name in the ssh configuration.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The command with which a person opens the shared connection, and answers whatever the login asks.
    pub fn opening_command(&self) -> String {
        format!("ssh -F {} -o ControlPersist=yes -fN -- {}", quoted(&self.config.to_string_lossy()), quoted(&self.host))
    }

    /// Closes the shared connection, if there is one.
    pub fn close(&self) {
        // there may be none, and then there is nothing to close
        let _ = Command::new("ssh").arg("-F").arg(&self.config).args(["-O", "exit", "--", &self.host]).output();
    }

    /// Runs a script to its end.
    ///
    /// # Errors
    /// If there is no answer within the time; the case tells whether the script can have run.
    pub fn run(&self, call: Exec<'_>) -> Result<Finished, SshError> {
        let random = random::word::<16>()
            .map_err(|error| SshError::Unreachable(trouble("random", error.to_string(), "repeat it")))?;
        let token = format!("ms{random}");
        let script = format!("{}\n#{token}", call.script);
        let begun = Cell::new(false);
        let mut source = Source { begun: &begun, script: script.as_bytes(), rest: call.stdin };
        let mut frame = Frame::new(&begun, &token, call.stdout);
        let framed =
            Exec { script: call.script, stdin: Some(&mut source), stdout: Some(&mut frame), timeout: call.timeout };
        let ended = child::run(self.command(&[], &bootstrap(&token, script.len())), framed);
        let sent = source.script.len() < script.len();
        let (printed, answer) = frame.end();
        match (ended, answer) {
            (ended, Some((code, stdout))) => {
                let stderr = ended.map(|ended| ended.stderr).unwrap_or_default();
                Ok(Finished { code, stdout, stderr: between(&stderr, &token) })
            }
            (Ok(ended), None) if sent => Err(SshError::Lost(cut(&ended))),
            (Err(NoEnd::Lost(why)), None) if sent => Err(SshError::Lost(why)),
            (Ok(ended), None) => Err(SshError::Unreachable(self.trouble(&self.unmuffled(ended), &printed))),
            (Err(NoEnd::NotFound(program)), None) => {
                let what = format!("program `{program}` not found");
                Err(SshError::Unreachable(trouble("no-ssh", what, "install the OpenSSH client")))
            }
            (Err(NoEnd::Lost(why) | NoEnd::NotStarted(why)), None) => Err(SshError::Unreachable(self.silence(&why))),
        }
    }

    /// What a login that failed says. Where jump hosts are on the way and the connection is to be shared, the client
    /// keeps to itself what they say, so it is asked once more for a connection that is not.
    fn unmuffled(&self, ended: Finished) -> Finished {
        if !String::from_utf8_lossy(&ended.stderr).contains(BEHIND_A_JUMP) {
            return ended;
        }
        let again = self.command(&["ControlPath=none", "ControlPersist=no"], "exit");
        match child::run(again, Exec::of("exit", ASK_AGAIN)) {
            Ok(again) if again.code != 0 => again,
            Ok(_) | Err(_) => ended,
        }
    }

    fn command(&self, more: &[&str], remote: &str) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(&self.config).arg("-T");
        // a jump host that asks is not asked back: its client does not know that this is a batch
        command.env("SSH_ASKPASS_REQUIRE", "never");
        // what would hang, or get between a program and the script; the log level keeps the reason of a failure
        for option in [
            "BatchMode=yes",
            "ClearAllForwardings=yes",
            "ForwardX11=no",
            "LogLevel=INFO",
            "PermitLocalCommand=no",
            "RemoteCommand=none",
        ]
        .iter()
        .chain(more)
        {
            command.arg("-o").arg(option);
        }
        command.args(["--", &self.host, remote]);
        command
    }

    /// Nothing came from the other side.
    fn silence(&self, why: &str) -> Trouble {
        let what = format!("`{}` did not answer over ssh: {why}", self.host);
        trouble("timed-out", what, "check the network, and that the host is up")
    }

    /// The host takes none of the keys; `last` is the end of what the client said.
    fn refused(&self, said: &str, last: &str) -> Trouble {
        let host = &self.host;
        let remedy = format!(
            "if the login asks for a password or a one-time code, open the connection first: {}; if your key has a \
             passphrase, load it into the agent with `ssh-add`; otherwise name a key that the host accepts in the ssh \
             configuration",
            self.opening_command()
        );
        let Some(line) = said.lines().map(str::trim).find(|line| is_unread_key(line)) else {
            return trouble("permission-denied", format!("`{host}` refused the login: {last}"), &remedy);
        };
        let what = format!("`{host}` refused the login: {last}; and a key was not tried: {line}");
        let remedy = format!("name the right file as `IdentityFile`, yours alone by `chmod 600`; else, {remedy}");
        trouble("permission-denied", what, &remedy)
    }

    /// Reads from what the client said why no shell began.
    fn trouble(&self, ended: &Finished, printed: &[u8]) -> Trouble {
        let said = String::from_utf8_lossy(&ended.stderr);
        let has = |text: &str| said.contains(text);
        let host = &self.host;
        let whose = match has(BEHIND_A_JUMP) {
            true => format!("`{host}`, or of a jump host on the way to it,"),
            false => format!("`{host}`"),
        };
        let by_hand = format!("ssh -F {} -- {}", quoted(&self.config.to_string_lossy()), quoted(host));
        let last = last_line(&said);
        if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
            let remedy =
                "ask the site whether its key was changed; if it was, remove the old one with `ssh-keygen -R HOST`";
            return trouble("host-key-changed", format!("the host key of {whose} has changed"), remedy);
        }
        if has("Host key verification failed") {
            let remedy = format!("log in once by hand and compare the fingerprint: {by_hand}");
            return trouble("host-key-unknown", format!("the host key of {whose} is not known"), &remedy);
        }
        if has("Permission denied") || has("Too many authentication failures") || has("No more authentication methods")
        {
            return self.refused(&said, last);
        }
        if has("Could not resolve hostname") {
            let remedy = "name it as `ssh` knows it, or add it to the ssh configuration";
            return trouble("unknown-host", format!("host `{host}` is unknown: {last}"), remedy);
        }
        if has("Connection refused") {
            let remedy = "check host and port in the ssh configuration, and that the host is up";
            return trouble("connection-refused", format!("`{host}` refused the connection: {last}"), remedy);
        }
        if has("timed out") || has("No route to host") || has("Network is unreachable") || has("not responding") {
            let what = format!("`{host}` did not answer: {last}");
            return trouble("timed-out", what, "check the network, and that the host is up");
        }
        if has("Bad configuration option") || has("Bad owner or permissions") || has("terminating, ") {
            return trouble("ssh-config", format!("the ssh configuration is refused: {last}"), "mend that file");
        }
        let printed = String::from_utf8_lossy(printed);
        let last = if last.is_empty() { last_line(&printed) } else { last };
        let what = format!("the login on `{host}` ended with {} before a shell began: {last}", ended.code);
        trouble("no-shell", what, &format!("see what it says to you: {by_hand}"))
    }
}

impl Transport for Ssh {
    fn exec(&self, call: Exec<'_>) -> Result<Finished, NoAnswer> {
        self.run(call).map_err(|error| match error {
            SshError::Unreachable(trouble) => NoAnswer::Unreachable(format!("{}; {}", trouble.what, trouble.remedy)),
            SshError::Lost(why) => NoAnswer::Lost(why),
        })
    }
}

fn trouble(code: &'static str, what: String, remedy: &str) -> Trouble {
    Trouble { code, what, remedy: remedy.to_owned() }
}

/// The sentence on a connection that ended before the script's end was told.
fn cut(ended: &Finished) -> String {
    let said = String::from_utf8_lossy(&ended.stderr);
    match last_line(&said) {
        "" => format!("the ssh connection ended with {} before the answer came", ended.code),
        last => format!("the ssh connection ended with {} before the answer came: {last}", ended.code),
    }
}

/// Whether a line of the client is of a key that the configuration names and that cannot be read.
fn is_unread_key(line: &str) -> bool {
    let bad = line.ends_with(": bad permissions") || line.ends_with(": Permission denied");
    (line.starts_with("Load key ") && bad) || line.starts_with("no such identity: ")
}

fn last_line(text: &str) -> &str {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default()
}

/// What the client reads: the person's own settings come first and hold; the rest makes one connection serve all calls
/// and notices within seconds when it is dead.
fn client_config(socket: &Path, config: Option<&Path>) -> String {
    let include = |path: &str| format!("Include \"{path}\"\n");
    let own = match config {
        Some(config) => include(&config.to_string_lossy()),
        None => include("~/.ssh/config") + &include("/etc/ssh/ssh_config"),
    };
    format!(
        "{own}Host *\n  ControlMaster auto\n  ControlPath \"{}\"\n  ControlPersist {PERSIST}\n  ServerAliveInterval 5\n  \
         ServerAliveCountMax 3\n  ConnectTimeout 15\n",
        socket.display()
    )
}

fn given_config(config: &Path) -> Result<PathBuf, Trouble> {
    let expanded = match (config.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => config.to_owned(),
    };
    let unusable = |why: &str| {
        let what = format!("ssh configuration `{}` {why}", config.display());
        trouble("ssh-config", what, "correct `ssh.config` of the backend, or leave it out for your own `~/.ssh/config`")
    };
    let path = fs::canonicalize(&expanded).map_err(|error| unusable(&format!("cannot be read: {error}")))?;
    match path.to_str() {
        Some(text) if !text.contains(['"', '\n']) => Ok(path),
        _ => Err(unusable("has a name that ssh cannot include")),
    }
}

/// A directory of this user's alone, for sockets whose path must be short.
fn runtime_directory() -> PathBuf {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(|base| PathBuf::from(base).join("matterstack"));
    // eight digits, a dash and the forty of `%C`
    let fits = |path: &PathBuf| path.is_absolute() && path.as_os_str().len() + 1 + 49 <= SOCKET_PATH_MAX;
    own.filter(fits).unwrap_or_else(|| PathBuf::from(format!("/tmp/matterstack-{}", crate::ground::machine::user_id())))
}

fn private_directory(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != crate::ground::machine::user_id() || found.mode() & 0o077 != 0 {
        return Err(io::Error::other("it is not a directory of this user's alone"));
    }
    Ok(())
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_would_be_options_are_refused() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let place = directory.path().join("ssh");
        for host in ["", "-oProxyCommand=x", "a b", "a\nb"] {
            assert_eq!(Ssh::in_directory(&place, host, None).expect_err(host).code, "ssh-host");
        }
        let error = Ssh::in_directory(&place, "h", Some(Path::new("/no/such/config"))).expect_err("no file");
        assert_eq!(error.code, "ssh-config");
    }

    #[test]
    fn a_directory_that_others_can_use_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a scratch directory");
        let open = directory.path().join("open");
        fs::create_dir(&open).expect("a directory");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).expect("a mode");
        assert_eq!(Ssh::in_directory(&open, "h", None).expect_err("open").code, "ssh-directory");
    }
}
