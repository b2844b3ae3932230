//! Files that a command names and that nobody has pinned: programs, tables of a group, potentials. What such a file
//! holds is part of what the command computes.
use crate::ground::digest::digest_of;
use crate::model::workflow::CommandLine;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

/// The largest file that is read for its digest, in bytes: a tick is over in seconds.
const READ_MAX: u64 = 256 * 1024 * 1024;
/// Characters of a word that a sentence shows.
const SHOWN_MAX: usize = 100;

/// Programs that run images, which a registry may give another content under the same tag.
const RUN_IMAGES: [&str; 4] = ["docker", "podman", "apptainer", "singularity"];

/// Where the words of a command lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// To files of this machine.
    Here,
    /// To files of a cluster, which nobody looks at.
    Far,
}

/// A word of a command, and whether a shell may make another of it.
struct Named<'a> {
    text: &'a str,
    expanded: bool,
}

/// The digests of the files outside of the attempt's own directory that a command names; or why it cannot be told what
/// it runs on.
pub(super) fn named_files(
    command: &CommandLine,
    directory: &Path,
    view: View,
) -> Result<BTreeMap<String, String>, String> {
    let words = words(command);
    refuse_images(&words)?;
    let mut files = BTreeMap::new();
    for word in words.iter().filter(|word| word.text.contains('/')) {
        let Some(path) = outside(word, directory)? else { continue };
        let shown: String = word.text.chars().take(SHOWN_MAX).collect();
        if view == View::Far {
            return Err(format!("its command names `{shown}`, and what that holds on the cluster is not looked at"));
        }
        if let Some(sha256) = content(&path, &shown)? {
            files.insert(word.text.to_owned(), sha256);
        }
    }
    Ok(files)
}

/// Every word of a command that may name a file, also those inside a line for a shell.
fn words(command: &CommandLine) -> Vec<Named<'_>> {
    let mut words = Vec::new();
    let mut line = |text| words.extend(tokens(text).map(|text| Named { text, expanded: true }));
    match command {
        CommandLine::Shell(text) => line(text),
        CommandLine::Argv(argv) => {
            argv.iter().filter(|word| word.contains(char::is_whitespace)).for_each(|word| line(word));
            for word in argv {
                words.push(Named { text: word, expanded: false });
                words.extend(word.split_once('=').map(|(_, text)| Named { text, expanded: false }));
            }
        }
    }
    words
}

/// A line of shell in pieces none of which is more than a word.
fn tokens(line: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| c.is_whitespace() || ";|&()<>\"'`=,".contains(c);
    line.split(ends).filter(|token| !token.is_empty())
}

fn refuse_images(words: &[Named<'_>]) -> Result<(), String> {
    let runs = words.iter().find_map(|word| {
        let name = word.text.rsplit('/').next().unwrap_or_default();
        RUN_IMAGES.into_iter().find(|program| *program == name)
    });
    let Some(program) = runs else { return Ok(()) };
    let pinned = words.iter().any(|word| word.text.contains("@sha256:"));
    // these two also run images that are files, which are named like any other
    let by_file =
        ["apptainer", "singularity"].contains(&program) && !words.iter().any(|word| word.text.contains("://"));
    if pinned || by_file {
        return Ok(());
    }
    Err(format!(
        "it runs an image of `{program}` by a tag, which may have another content today: name it by `@sha256:…`"
    ))
}

/// Where a word leads, if that is outside of the attempt's own directory.
fn outside(word: &Named<'_>, directory: &Path) -> Result<Option<PathBuf>, String> {
    let text = word.text;
    let absolute = text.starts_with('/');
    let unknown = word.expanded && text.starts_with(['$', '~']);
    let path = plain(&directory.join(text));
    if text == "/" || !(absolute || unknown) && path.starts_with(directory) {
        return Ok(None);
    }
    if word.expanded && (unknown || text.contains(['$', '*', '?', '[', '{'])) {
        let shown: String = text.chars().take(SHOWN_MAX).collect();
        return Err(format!("its command names `{shown}`, and only its shell knows which file that is"));
    }
    Ok(Some(path))
}

/// A path without `.` and `..`: the directory need not be there yet.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    plain
}

/// The digest of what a path leads to; nothing if that is no file, or none that holds anything.
fn content(path: &Path, shown: &str) -> Result<Option<String>, String> {
    let unread = |error| format!("its command names `{shown}`, which cannot be read: {error}");
    let metadata = match std::fs::metadata(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::InvalidFilename => return Ok(None),
        metadata => metadata.map_err(unread)?,
    };
    if metadata.is_dir() {
        return Err(format!("its command names the folder `{shown}`, and what a folder holds is not looked at"));
    }
    if metadata.file_type().is_char_device() {
        return Ok(None);
    }
    if metadata.len() > READ_MAX {
        let most = READ_MAX / 1024 / 1024;
        return Err(format!("its command names `{shown}`, which has more than {most} MiB and is not read for that"));
    }
    digest_of(path, &metadata).map(Some).map_err(unread)
}

#[cfg(test)]
mod tests {
    use super::{View, named_files};
    use crate::model::document::sha256;
    use crate::model::workflow::CommandLine;

    #[test]
    fn files_that_a_command_names_are_part_of_what_it_computes() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let table = scratch.path().join("table.csv");
        std::fs::write(&table, "1").expect("a file");
        let directory = scratch.path().join("run/operators/local/a-1");
        let shown = table.to_str().expect("UTF-8");
        let argv = |words: &[&str]| CommandLine::Argv(words.iter().map(|word| (*word).to_owned()).collect());
        let line = |text: &str| CommandLine::Shell(text.to_owned());
        let files = |command: &CommandLine, view| {
            named_files(command, &directory, view).map(|files| files.into_iter().collect::<Vec<_>>())
        };
        let one = |name: &str| Ok(vec![(name.to_owned(), sha256(b"1"))]);
        for (command, expected) in [
            (argv(&["sum", shown]), one(shown)),
            (argv(&["sum", &format!("--in={shown}")]), one(shown)),
            (argv(&["sh", "-c", &format!("sum <{shown}")]), one(shown)),
            (line(&format!("sum '{shown}' > sum.dat")), one(shown)),
            (line("cat ../../../../table.csv"), one("../../../../table.csv")),
            (line("cat sub/$i x/*.dat ./a ../a-1/b >/dev/null; echo https://a.b/c /none/here $((6 / 2))"), Ok(vec![])),
            (argv(&["apptainer", "exec", shown]), one(shown)),
            (argv(&["docker", "run", "a/b@sha256:00"]), Ok(vec![])),
        ] {
            assert_eq!(files(&command, View::Here), expected, "{command:?}");
        }
        for command in [
            line("cat $HOME/table.csv"),
            line("cat ~/table.csv"),
            line(&format!("cat {}/*.csv", scratch.path().display())),
            argv(&["ls", scratch.path().to_str().expect("UTF-8")]),
            argv(&["docker", "run", "a/b:latest"]),
            argv(&["apptainer", "exec", "docker://a/b"]),
        ] {
            assert!(files(&command, View::Here).is_err(), "{command:?}");
        }
        assert!(files(&argv(&["sum", shown]), View::Far).is_err());
        assert_eq!(files(&argv(&["sum", "in.dat"]), View::Far), Ok(vec![]));
        // another content is another key, also for a process that has read the file before
        std::fs::write(&table, "22").expect("a file");
        assert_eq!(files(&argv(&["sum", shown]), View::Here), Ok(vec![(shown.to_owned(), sha256(b"22"))]));
    }
}
