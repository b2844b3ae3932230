//! New plugins: a workspace of its own with the source of one, a test of it, and a configuration that runs it. The
//! binary carries all of it, the SDKs included.
use crate::failure::Failure;
use crate::workspace::{Workspaces, make_workspace_of};
use std::path::{Path, PathBuf};

pub(super) type Files = &'static [(&'static str, &'static [u8])];

/// What plugins begin with: the language, with `-operator` behind it or not, and files by their paths. Beside it, with
/// `sdk-` before the language, what a script needs to become a component.
static TEMPLATES: &[(&str, Files)] = include!(concat!(env!("OUT_DIR"), "/templates.rs"));
/// What stands in them for the name.
const NAME: &str = "{{name}}";

/// The languages in which a plugin can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// A script, which needs no tool chain.
    Python,
    /// A script, which needs no tool chain.
    Javascript,
    /// A component.
    Rust,
    /// A script that is made of it.
    Typescript,
}

impl Language {
    fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Javascript => "javascript",
            Self::Rust => "rust",
            Self::Typescript => "typescript",
        }
    }
}

/// Makes a workspace with a new plugin; returns its slug and where it lies.
///
/// # Errors
/// If the place is not below the root, or there is something at it.
pub fn make_plugin(
    workspaces: &Workspaces,
    place: &Path,
    language: Language,
    operator: bool,
) -> Result<(String, PathBuf), Failure> {
    let word = format!("{}{}", language.as_str(), if operator { "-operator" } else { "" });
    let files = files(&word).unwrap_or_else(|| panic!("bug: no template `{word}`"));
    make_workspace_of(workspaces, place, |slug| {
        let name = name_of(slug);
        files.iter().map(|(path, bytes)| filled(path, bytes, &name)).collect()
    })
}

/// The files of what a plugin begins with, or of an SDK.
pub(super) fn files(word: &str) -> Option<Files> {
    TEMPLATES.iter().find(|(of, _)| *of == word).map(|(_, files)| *files)
}

/// A name for a crate and a file, of the last part of a slug.
fn name_of(slug: &str) -> String {
    let last = slug.rsplit('/').next().unwrap_or(slug).to_ascii_lowercase();
    let plain: String = last.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    match plain.starts_with(|c: char| c.is_ascii_alphabetic()) {
        true => plain,
        false => format!("plugin_{plain}"),
    }
}

fn filled(path: &str, bytes: &[u8], name: &str) -> (PathBuf, Vec<u8>) {
    // a file of this name would hide what is beside it from git here
    let path = if path == "gitignore" { ".gitignore" } else { path };
    match std::str::from_utf8(bytes) {
        Ok(text) if text.contains(NAME) => (path.into(), text.replace(NAME, name).into_bytes()),
        _ => (path.into(), bytes.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Language, files, name_of};

    #[test]
    fn every_language_begins_a_campaign_and_an_operator() {
        for language in [Language::Python, Language::Javascript, Language::Rust, Language::Typescript] {
            for world in ["", "-operator"] {
                assert!(files(&format!("{}{world}", language.as_str())).is_some(), "{language:?}{world}");
            }
        }
    }

    #[test]
    fn a_name_is_one_of_a_crate() {
        for (slug, name) in [("demos/My-Lab", "my_lab"), ("3d", "plugin_3d"), ("µm", "plugin__m")] {
            assert_eq!(name_of(slug), name);
        }
    }
}
