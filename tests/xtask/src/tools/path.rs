//! Where programs are looked for, and the directory of links that the suites have for their `PATH`.
use super::{Source, Tool};
use crate::project::{Project, output};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Where Debian's packages put programs. They come first, so that what a developer has put before them (a manager of
/// Python versions, say) changes nothing; daemons lie where only root looks.
const SYSTEM: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// Debian's places, and then the caller's own `PATH`.
pub(super) fn search() -> OsString {
    let mut path = OsString::from(SYSTEM);
    if let Some(own) = std::env::var_os("PATH") {
        path.push(":");
        path.push(own);
    }
    path
}

/// The file behind a program's name.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let runs = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&search()).map(|directory| directory.join(name)).find(runs)
}

/// Makes the directory below the target directory that holds a link to each program of these tools, and nothing else. A
/// suite that is given it as `PATH` cannot lean on what happens to be installed.
pub(crate) fn links(project: &Project, tools: &[&[Tool]]) -> Result<PathBuf> {
    let mut wanted = BTreeMap::new();
    for tool in tools.iter().copied().flatten() {
        for program in tool.programs {
            let place = match tool.source {
                Source::Apt(_) => find(program),
                // not what rustup puts before it, which would put its own directory on the `PATH` of all it starts
                Source::Toolchain => Some(toolchain(project)?.join(program)),
                Source::Pip(..) | Source::Npm(..) => tool.directory(project).map(|directory| directory.join(program)),
                // what these bring is no program, or is asked for by its path
                Source::PipList(..) | Source::Rustup(_) | Source::GuestTarget => continue,
            };
            wanted.insert(*program, place.with_context(|| format!("`{program}` of {} is gone", tool.name))?);
        }
    }
    let directory = project.target.join("path");
    link(&directory, &wanted).with_context(|| format!("`{}` cannot be made", directory.display()))?;
    Ok(directory)
}

/// Changes only what is not right, because a suite of another terminal may be using the directory.
fn link(directory: &Path, wanted: &BTreeMap<&str, PathBuf>) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let right = entry.file_name().to_str().and_then(|name| wanted.get(name)).cloned();
        if right.is_none() || fs::read_link(entry.path()).ok() != right {
            fs::remove_file(entry.path())?;
        }
    }
    for (name, place) in wanted {
        match symlink(place, directory.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// The directory of the tool chain's own programs.
pub(crate) fn toolchain(project: &Project) -> Result<PathBuf> {
    let sysroot = output(project.command("rustc").args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim()).join("bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_what_is_listed_and_to_nothing_else() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let directory = scratch.path().join("path");
        let names = || {
            let mut names: Vec<String> = fs::read_dir(&directory)
                .expect("a directory")
                .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        };
        let sh = || find("sh").expect("a shell");
        link(&directory, &BTreeMap::from([("a", sh()), ("b", sh())])).expect("links");
        fs::write(directory.join("stranger"), "").expect("a file");
        link(&directory, &BTreeMap::from([("b", "/bin/true".into()), ("c", sh())])).expect("links");
        assert_eq!(names(), ["b", "c"]);
        assert_eq!(fs::read_link(directory.join("b")).expect("a link"), Path::new("/bin/true"));
    }

    #[test]
    fn a_program_that_is_not_listed_is_not_found() {
        let project = Project::here().expect("a project");
        let shell = Tool {
            name: "a shell",
            purpose: "runs",
            programs: &["sh", "cat"],
            check: &[],
            source: Source::Apt(&["dash"]),
        };
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let project = Project { root: project.root, target: scratch.path().to_owned() };
        let path = links(&project, &[&[shell]]).expect("links");
        let runs = |line: &str| {
            let mut command = std::process::Command::new(path.join("sh"));
            command.args(["-c", line]).env("PATH", &path).stderr(std::process::Stdio::null());
            command.status().expect("a shell").success()
        };
        assert!(runs("cat /dev/null"));
        assert!(!runs("sleep 0"));
    }
}
