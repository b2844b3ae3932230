//! News on its way to a person: a process of ours carries it, so that no tick waits. What it cannot deliver it tells
//! whoever started it, who writes that into the run's log. A crash loses what was under way.
use super::program::{spawn, start_and_leave};
use crate::ground::machine;
use crate::model::notify::{NotifyConfig, message, origin_of};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The first argument of the process that carries news.
pub const CARRY: &str = "__carry-news";

/// How long a letter or a message may be under way.
const UNDER_WAY: Duration = Duration::from_secs(60);
/// How often it is looked whether that has ended.
const LOOK: Duration = Duration::from_millis(50);
/// The longest complaint of a program that is told, in bytes.
const COMPLAINT_MAX: u64 = 1_000;
/// Where a program of mail lies that is on nobody's path.
const SENDMAIL: [&str; 2] = ["/usr/sbin/sendmail", "/usr/lib/sendmail"];

/// What is carried.
#[derive(Debug, Serialize, Deserialize)]
struct News {
    to: NotifyConfig,
    /// The document, as it is sent.
    document: String,
}

/// Starts the process that carries a document to whom a configuration names, from the run's directory.
///
/// # Errors
/// If the program that is named is not there, or nothing can be started.
pub fn send_news(to: &NotifyConfig, directory: &Path, document: &str) -> io::Result<()> {
    if let Some(program) = to.command.as_ref().and_then(|command| command.first())
        && find(program, directory).is_none()
    {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("notification program `{program}` not found")));
    }
    let news = News { to: to.clone(), document: document.to_owned() };
    let program = machine::own_program().display().to_string();
    start_and_leave(&[program, CARRY.to_owned()], directory, serde_json::to_string(&news)?.as_bytes())
}

/// Carries what stands on the standard input, in the run's directory. Returns what could not be delivered, and why.
///
/// # Errors
/// If the input is not what [`send_news`] writes.
pub fn carry_news(input: &mut impl Read, granted: &[String]) -> io::Result<Vec<String>> {
    let News { to, document } = serde_json::from_reader(input)?;
    let mut failures = Vec::new();
    if let Some(address) = &to.webhook {
        failures.extend(post(address, &document, granted).err());
    }
    if let Some(address) = &to.mail {
        failures.extend(mail(address, &document).err());
    }
    if let Some((program, arguments)) = to.command.as_ref().and_then(|command| command.split_first()) {
        let mut command = Command::new(program);
        command.args(arguments);
        failures.extend(run(command, program, document.as_bytes(), None).err());
    }
    Ok(failures)
}

/// Sends a document by `curl`, which knows the machine's certificates and proxies. The address stands in a file that
/// only this process has, and not among the arguments, which everybody sees.
fn post(address: &str, document: &str, granted: &[String]) -> Result<(), String> {
    let origin = origin_of(address).ok_or("notify.webhook is no address of the web")?;
    if !granted.contains(&origin) {
        return Err(format!(
            "the news was not sent: `{origin}` is not among the `notify.origins` of your own settings"
        ));
    }
    let quoted = address.replace('\\', "\\\\").replace('"', "\\\"");
    let settings = format!(
        "url = \"{quoted}\"\ngloboff\nproto = \"=http,https\"\ndata-binary = \"@-\"\nheader = \"Content-Type: application/json\"\n\
         header = \"Expect:\"\nuser-agent = \"matterstack\"\noutput = \"/dev/null\"\nsilent\nshow-error\nfail\n\
         connect-timeout = 15\nmax-time = 45\n"
    );
    let settings = machine::file_in_memory(settings.as_bytes()).map_err(|error| error.to_string())?;
    let place = format!("/proc/{}/fd/{}", std::process::id(), settings.as_raw_fd());
    let mut command = Command::new("curl");
    command.args(["-q", "--config", &place]);
    let sent = run(command, "curl", document.as_bytes(), Some(UNDER_WAY));
    sent.map_err(|why| format!("the news was not sent to `{origin}`: {why}"))
}

fn mail(address: &str, document: &str) -> Result<(), String> {
    let value: Value = serde_json::from_str(document).map_err(|error| error.to_string())?;
    let found = find("sendmail", Path::new("/"));
    let found = found.or_else(|| SENDMAIL.iter().map(PathBuf::from).find(|path| path.exists()));
    let program = found.ok_or("the news was not mailed: there is no program `sendmail`")?;
    let mut command = Command::new(&program);
    command.args(["-t", "-i"]);
    let sent = run(command, "sendmail", message(address, &value).as_bytes(), Some(UNDER_WAY));
    sent.map_err(|why| format!("the news was not mailed: {why}"))
}

/// Where a program lies: as a shell finds it, from a directory.
fn find(program: &str, directory: &Path) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(directory.join(program)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    std::env::split_paths(&path).map(|entry| entry.join(program)).find(|path| path.is_file())
}

/// Lets a program have a text, and waits for its end, for so long at most.
fn run(mut command: Command, name: &str, text: &[u8], most: Option<Duration>) -> Result<(), String> {
    let in_memory = |text: &[u8]| machine::file_in_memory(text).map_err(|error| error.to_string());
    let complaint = in_memory(b"")?;
    let told = complaint.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::from(in_memory(text)?)).stdout(Stdio::null()).stderr(Stdio::from(told));
    let mut child = spawn(&mut command).map_err(|error| format!("program `{name}` cannot be started: {error}"))?;
    let begun = Instant::now();
    let status = loop {
        let ended = if most.is_some() { child.try_wait() } else { child.wait().map(Some) };
        match ended.map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if most.is_some_and(|most| begun.elapsed() > most) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("`{name}` had not ended after {} s", UNDER_WAY.as_secs()));
            }
            None => std::thread::sleep(LOOK),
        }
    };
    if status.success() { Ok(()) } else { Err(format!("`{name}` ended with {status}{}", said(complaint))) }
}

/// What a program complained of, in a line.
fn said(mut complaint: File) -> String {
    use std::io::Seek;
    let mut bytes = Vec::new();
    let read = complaint.rewind().and_then(|()| complaint.take(COMPLAINT_MAX).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes).trim().replace('\n', "; ");
    if read.is_ok() && !text.is_empty() { format!(": {text}") } else { String::new() }
}
