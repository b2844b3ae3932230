//! `cargo xtask fresh`: both commands of the README, in a clone on a machine that has nothing.
//!
//! The machine is a minimal Debian tree below the target directory, entered with `pivot_root` in namespaces of its own,
//! so that all that was started and mounted in it ends with the command. Of this machine it has, read-only: the Rust
//! tool chain, the certificates, and what the clients of the package registries are told by files and variables. Needs
//! root.
mod sources;

use crate::project::{Project, output, run, say};
use crate::tools;
use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The README's two commands.
const COMMANDS: [&str; 2] = ["cargo xtask demo", "cargo xtask test"];
/// What stands beside Rust before the first command: the README asks for a C compiler, and names the rest itself.
const PACKAGES: &str = "ca-certificates,gcc,libc6-dev";
/// Where the clone and the tool chain are in the tree.
const CLONE: &str = "/srv/matterstack";
const RUST: &str = "/usr/local/rust";
/// How many last lines of each command are shown again in the end.
const LAST_LINES: usize = 3;
const ENTER: &str = include_str!("enter.sh");

/// Certificates and settings of clients, by their places on any machine.
const SETTINGS: [&str; 5] =
    ["/etc/ssl/certs", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/etc/pip.conf", "/etc/npmrc"];
/// Settings of clients in the home directory.
const OWN_SETTINGS: [&str; 5] = [".cargo/config.toml", ".cargo/config", ".config/pip", ".pip", ".npmrc"];
/// How the names of variables begin, or end, that clients of registries heed.
const VARIABLES: [&str; 5] = ["PIP_", "npm_config_", "CARGO_HTTP_", "CARGO_NET_", "CARGO_SOURCE_"];
const VARIABLE_ENDS: [&str; 6] = ["_proxy", "_PROXY", "_CA_BUNDLE", "_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// A command that was given there.
struct Given {
    command: String,
    ok: bool,
    wall: Duration,
    cpu: Duration,
    last_lines: Vec<String>,
}

/// Makes the tree, clones what is committed into it, gives the commands there (the README's two, if none are named) and
/// shows their last lines.
pub(crate) fn fresh(project: &Project, commands: &[String]) -> Result<bool> {
    ensure!(output(project.command("id").arg("-u"))?.trim() == "0", "only root can make and enter a fresh tree");
    tools::ensure(project, tools::FOR_FRESH)?;
    let place = project.target.join("fresh");
    let tree = place.join("tree");
    make(project, &tree)?;
    let commands: Vec<&str> =
        if commands.is_empty() { COMMANDS.to_vec() } else { commands.iter().map(String::as_str).collect() };
    let mut given = Vec::new();
    for (number, command) in commands.into_iter().enumerate() {
        let log = place.join(format!("{}.log", number + 1));
        say(&format!("in the fresh tree: {command} (also in {})", log.display()));
        given.push(give(project, &tree, command, &log)?);
    }
    for one in &given {
        let minutes = |time: Duration| format!("{:.1} min", time.as_secs_f64() / 60.0);
        println!("\n{} ({} of wall time, {} of CPU time)", one.command, minutes(one.wall), minutes(one.cpu));
        one.last_lines.iter().for_each(|line| println!("  {line}"));
    }
    let ok = given.iter().all(|one| one.ok);
    if ok {
        fs::remove_dir_all(&tree).with_context(|| format!("`{}` cannot be removed", tree.display()))?;
    } else {
        println!("\nthe tree is left at {}", tree.display());
    }
    Ok(ok)
}

/// A minimal Debian of this machine's release, from the archive that it uses itself, with a clone in it.
fn make(project: &Project, tree: &Path) -> Result<()> {
    // a tree that something is still mounted in would take this machine's files along
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("what is mounted")?;
    let shown = tree.display().to_string();
    if let Some(mount) = mounts.lines().filter_map(|line| line.split(' ').nth(4)).find(|at| at.starts_with(&shown)) {
        bail!("`{mount}` is still mounted: unmount it first");
    }
    if tree.exists() {
        say("removing the tree of the last time");
        fs::remove_dir_all(tree).with_context(|| format!("`{shown}` cannot be removed"))?;
    }
    fs::create_dir_all(tree).with_context(|| format!("`{shown}` cannot be made"))?;
    let release = sources::release()?;
    let archives = sources::archives(&release)?;
    let main = archives.iter().find(|archive| archive.suite == release);
    let main = main.with_context(|| format!("this machine's apt has no source for `{release}`"))?;
    say(&format!("making a minimal Debian ({release})"));
    let mut debootstrap = project.command("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}"), &release]).arg(tree).arg(&main.uri);
    run(debootstrap.stdout(Stdio::null()))?;

    let write = |name: &str, text: &str| {
        fs::write(tree.join(name), text).with_context(|| format!("`{name}` cannot be written to the tree"))
    };
    write("etc/apt/sources.list", &archives.iter().map(sources::Archive::line).collect::<String>())?;
    write("etc/apt/apt.conf.d/00machine", &output(project.command("apt-config").args(["dump", "Acquire::http"]))?)?;
    for key in archives.iter().filter_map(|archive| archive.signed_by.as_ref()) {
        let there = tree.join(key.strip_prefix("/").unwrap_or(key));
        fs::create_dir_all(there.parent().unwrap_or(tree)).context("a place for keys")?;
        fs::copy(key, there).with_context(|| format!("`{}` cannot be copied", key.display()))?;
    }
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    write("etc/hosts", &format!("{hosts}\n127.0.0.1 localhost fresh\n"))?;
    write("etc/hostname", "fresh\n")?;
    write("etc/resolv.conf", &fs::read_to_string("/etc/resolv.conf").unwrap_or_default())?;

    if !output(project.command("git").args(["status", "--porcelain", "--untracked-files=no"]))?.is_empty() {
        say("what is not committed is not in the clone");
    }
    let clone = tree.join(&CLONE[1..]);
    run(project.command("git").args(["clone", "--quiet", "--no-hardlinks"]).arg(&project.root).arg(clone))
}

/// What of this machine is seen there: each place, and where.
fn seen(project: &Project, variables: &BTreeMap<String, String>) -> Result<Vec<(PathBuf, PathBuf)>> {
    let toolchain = tools::toolchain(project)?;
    let sysroot = toolchain.parent().context("a tool chain has no directory")?;
    let mut seen = vec![(sysroot.to_owned(), PathBuf::from(RUST))];
    seen.extend(SETTINGS.iter().map(|place| (PathBuf::from(place), PathBuf::from(place))));
    if let Some(home) = std::env::home_dir() {
        seen.extend(OWN_SETTINGS.iter().map(|name| (home.join(name), Path::new("/root").join(name))));
    }
    // a variable may name a file or a directory of settings, or of packages
    let named = variables.values().filter(|value| value.starts_with('/')).map(PathBuf::from);
    seen.extend(named.map(|place| (place.clone(), place)));
    seen.retain(|(place, _)| place.exists());
    // what lies in a place that is seen already is seen already
    let all = seen.clone();
    seen.retain(|(place, _)| !all.iter().any(|(other, _)| place != other && place.starts_with(other)));
    seen.dedup();
    Ok(seen)
}

/// The variables that the clients of registries heed.
fn variables() -> BTreeMap<String, String> {
    let heeded = |name: &str| {
        VARIABLES.iter().any(|start| name.starts_with(start)) || VARIABLE_ENDS.iter().any(|end| name.ends_with(end))
    };
    std::env::vars().filter(|(name, _)| heeded(name)).collect()
}

/// Gives a command in the clone there, passes on what it prints and keeps it in a file.
fn give(project: &Project, tree: &Path, command: &str, log: &Path) -> Result<Given> {
    let variables = variables();
    let mut unshare = project.command("unshare");
    unshare.args(["--mount", "--propagation=private", "--uts", "--pid", "--fork", "--kill-child", "bash", "-c", ENTER]);
    unshare.arg("enter.sh").arg(tree).arg(format!("cd {CLONE} && {{ {command}; }} 2>&1"));
    for (place, there) in seen(project, &variables)? {
        unshare.arg(place).arg(there);
    }
    unshare.env_clear().envs(&variables).env("HOME", "/root").env("LANG", "C.UTF-8");
    unshare.env("PATH", format!("{RUST}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    let (start, before) = (Instant::now(), cpu_of_children()?);
    let (ok, last_lines) = pass_on(unshare.stdin(Stdio::null()), log, &mut std::io::stdout())?;
    let cpu = cpu_of_children()?.saturating_sub(before);
    Ok(Given { command: command.to_owned(), ok, wall: start.elapsed(), cpu, last_lines })
}

/// Runs a command; tells whether it succeeded, and its last lines.
fn pass_on(command: &mut Command, log: &Path, out: &mut impl Write) -> Result<(bool, Vec<String>)> {
    let mut file = File::create(log).with_context(|| format!("`{}` cannot be written", log.display()))?;
    let mut child = command.stdout(Stdio::piped()).spawn().context("unshare cannot be started")?;
    let mut lines = BufReader::new(child.stdout.take().context("bug: the command has no output")?);
    let (mut line, mut last) = (Vec::new(), Vec::new());
    while lines.read_until(b'\n', &mut line).context("what the command prints")? > 0 {
        file.write_all(&line).context("the log")?;
        out.write_all(&line).context("standard output")?;
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if !text.is_empty() {
            last.push(text);
        }
        if last.len() > LAST_LINES {
            last.remove(0);
        }
        line.clear();
    }
    Ok((child.wait().context("the end of the command")?.success(), last))
}

fn cpu_of_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time =
        |time: nix::sys::time::TimeVal| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64);
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_command_are_kept_and_all_of_them_logged() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let log = scratch.path().join("log");
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo 1; echo 2; echo 3; echo; echo 4; exit 3"]);
        let (ok, last) = pass_on(&mut shell, &log, &mut std::io::sink()).expect("a run");
        assert_eq!((ok, last), (false, ["2", "3", "4"].map(str::to_owned).to_vec()));
        assert_eq!(fs::read_to_string(log).expect("a log"), "1\n2\n3\n\n4\n");
    }

    #[test]
    fn the_tool_chain_is_seen_and_no_place_twice() {
        let project = Project::here().expect("a project");
        let variables = BTreeMap::from([("SSL_CERT_FILE".to_owned(), "/etc/ssl/certs/one.crt".to_owned())]);
        let seen = seen(&project, &variables).expect("places");
        assert!(seen.iter().any(|(place, there)| place.join("bin/rustc").exists() && there == Path::new(RUST)));
        assert!(seen.iter().all(|(place, _)| place != Path::new("/etc/ssl/certs/one.crt")), "{seen:?}");
    }
}
