//! Where this machine's apt gets Debian from. It is read when it is needed: nothing in the repository names a server.
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// One line of an apt source: an archive, a suite of it, and the components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Archive {
    pub(super) uri: String,
    pub(super) suite: String,
    components: String,
    /// The file with the keys it is signed by.
    pub(super) signed_by: Option<PathBuf>,
}

impl Archive {
    /// As it stands in a `sources.list`.
    pub(super) fn line(&self) -> String {
        let option = self.signed_by.as_ref().map(|key| format!("[signed-by={}] ", key.display())).unwrap_or_default();
        format!("deb {option}{} {} {}\n", self.uri, self.suite, self.components)
    }
}

/// The name of this machine's release.
pub(super) fn release() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("`/etc/os-release` cannot be read")?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("`/etc/os-release` names no release")?.trim_matches('"').to_owned())
}

/// The archives of this release that the machine's apt knows, its updates and security fixes among them. Those of
/// others (a newer Node, say) are left out: a fresh machine has none.
pub(super) fn archives(release: &str) -> Result<Vec<Archive>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    for entry in fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten() {
        files.push(entry.path());
    }
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let text = fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))?;
        let deb822 = file.extension().is_some_and(|ending| ending == "sources");
        found.extend(if deb822 { stanzas(&text) } else { lines(&text) });
    }
    found.retain(|archive| {
        archive.suite.strip_prefix(release).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    });
    Ok(found)
}

/// `deb [options] URI SUITE COMPONENTS…`
fn lines(text: &str) -> Vec<Archive> {
    let archive = |line: &str| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        let mut words = rest.split_whitespace();
        Some(Archive {
            uri: words.next()?.to_owned(),
            suite: words.next()?.to_owned(),
            components: words.collect::<Vec<_>>().join(" "),
            signed_by: signed_by.and_then(key),
        })
    };
    text.lines().filter_map(archive).collect()
}

/// Paragraphs of `Key: values`.
fn stanzas(text: &str) -> Vec<Archive> {
    let mut found = Vec::new();
    for stanza in text.split("\n\n") {
        let value = |name: &str| {
            let values = stanza.lines().filter_map(|line| line.split_once(':'));
            values.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next().unwrap_or("")
        };
        if value("Enabled") == "no" || !value("Types").split_whitespace().any(|kind| kind == "deb") {
            continue;
        }
        for uri in value("URIs").split_whitespace() {
            found.extend(value("Suites").split_whitespace().map(|suite| Archive {
                uri: uri.to_owned(),
                suite: suite.to_owned(),
                components: value("Components").to_owned(),
                signed_by: key(value("Signed-By")),
            }));
        }
    }
    found
}

fn key(text: &str) -> Option<PathBuf> {
    Path::new(text).is_absolute().then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_write_a_source_are_read() {
        let text = "# a comment\ndeb [arch=amd64 signed-by=/k.gpg] mirror:/debian sid main contrib\ndeb-src mirror:/debian sid main\n";
        let archive = lines(text);
        assert_eq!(archive.len(), 1);
        assert_eq!(archive[0].line(), "deb [signed-by=/k.gpg] mirror:/debian sid main contrib\n");
        let text = "Types: deb deb-src\n# a comment\nURIs: mirror:/debian\nSuites: sid sid-updates\nComponents: main\n\n\
                    Types: deb\nEnabled: no\nURIs: other:/debian\nSuites: sid\n";
        let suites: Vec<String> = stanzas(text).into_iter().map(|archive| archive.line()).collect();
        assert_eq!(suites, ["deb mirror:/debian sid main\n", "deb mirror:/debian sid-updates main\n"]);
    }

    #[test]
    fn this_machine_has_an_archive_of_its_release() {
        let release = release().expect("a release");
        let archives = archives(&release).expect("archives");
        assert!(archives.iter().any(|archive| archive.suite == release), "{archives:?}");
    }
}
