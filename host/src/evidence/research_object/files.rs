//! The files of a crate: those that lie in the bundle, and those of which it has the digest alone.
use super::Subject;
use super::graph::{Entity, Graph, encoded};
use crate::failure::Failure;
use crate::store::NamedFile;
use std::io;

/// Where files of attempts lie, by their digests.
const BY_DIGEST: &str = "files/";
/// Further names that a file is given, at most.
const NAMES_MAX: usize = 10;

/// What files are, by how their names end.
const FORMATS: &[(&str, &str)] = &[
    ("cif", "chemical/x-cif"),
    ("csv", "text/csv"),
    ("gz", "application/gzip"),
    ("h5", "application/x-hdf5"),
    ("hdf5", "application/x-hdf5"),
    ("html", "text/html"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("jsonl", "application/x-ndjson"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("mjs", "text/javascript"),
    ("nc", "application/x-netcdf"),
    ("npy", "application/x-npy"),
    ("out", "text/plain"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("py", "text/x-python"),
    ("sh", "text/x-shellscript"),
    ("sqlite", "application/vnd.sqlite3"),
    ("stderr", "text/plain"),
    ("stdout", "text/plain"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("toml", "application/toml"),
    ("tsv", "text/tab-separated-values"),
    ("txt", "text/plain"),
    ("wasm", "application/wasm"),
    ("whl", "application/zip"),
    ("xml", "application/xml"),
    ("xyz", "chemical/x-xyz"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zip", "application/zip"),
];

/// What a file is, by its name.
pub(super) fn format_of(name: &str) -> &'static str {
    let end = name.rsplit(['/', '.']).next().unwrap_or_default().to_ascii_lowercase();
    let known = FORMATS.iter().find(|(known, _)| *known == end);
    known.map_or("application/octet-stream", |(_, format)| format)
}

/// What the files that every bundle has are there for.
const PURPOSES: &[(&str, &str)] = &[
    ("README.md", "What the run was asked, did and found, for people"),
    ("config.json", "The configuration that the run goes by"),
    ("evidence.json", "Everything that is recorded of the run, for programs"),
    ("report.html", "The report, with figures"),
    ("report.md", "What the run was asked, did and found, for people"),
    ("state.sqlite", "The record itself: a copy of the run's database, on which every decision can be made again"),
];

/// How entities refer to the bytes of a digest: by their place, or as bytes that the bundle does not have.
pub(super) fn id_of(subject: &Subject<'_>, sha256: &str) -> String {
    subject.contents.place(sha256).map_or_else(|| format!("#file-{sha256}"), |path| encoded(&path))
}

/// Describes every file of the bundle that is not one of an attempt.
pub(super) fn kept(subject: &Subject<'_>, graph: &mut Graph<'_>) -> io::Result<()> {
    subject.contents.each(&mut |path, sha256, size| {
        let by_digest = path.starts_with(BY_DIGEST) && subject.contents.place(sha256).as_deref() == Some(path);
        if by_digest || subject.software.is_main(path) {
            return Ok(());
        }
        let (types, name) = match subject.software.plugin_at(path) {
            Some(name) => (&["File", "SoftwareSourceCode"][..], name),
            None => (&["File"][..], subject.names.get(path).map_or(path, String::as_str)),
        };
        let entity = Entity::new(&encoded(path), types).text("name", name).text("encodingFormat", format_of(name));
        let entity = of_bytes(entity, sha256, size);
        let purpose = PURPOSES.iter().find(|(known, _)| *known == path).map(|(_, purpose)| *purpose);
        let entity = entity.maybe("description", purpose);
        let entity = if path == "README.md" { entity.link("about", "./") } else { entity };
        let entity = if types.len() > 1 { subject.software.as_code(entity, path, sha256) } else { entity };
        graph.add(&entity.links("exampleOfWork", subject.parameters.of(path)))
    })
}

pub(super) fn of_bytes(entity: Entity, sha256: &str, size: u64) -> Entity {
    entity.text("contentSize", &size.to_string()).text("sha256", sha256)
}

/// Describes every file that attempts left or consumed, once for each digest.
pub(super) fn of_attempts(subject: &Subject<'_>, graph: &mut Graph<'_>) -> Result<(), Failure> {
    let mut named: Option<(NamedFile, Vec<String>)> = None;
    subject.view.each_named_file(|file| {
        match &mut named {
            Some((first, names)) if first.sha256 == file.sha256 => {
                let name = &file.path;
                if names.len() < NAMES_MAX && *name != first.path && !names.contains(name) {
                    names.push(name.clone());
                }
            }
            _ => {
                if let Some((first, names)) = named.replace((file, Vec::new())) {
                    one(subject, graph, &first, &names)?;
                }
            }
        }
        Ok::<_, Failure>(())
    })?;
    named.map_or(Ok(()), |(first, names)| one(subject, graph, &first, &names))
}

fn one(subject: &Subject<'_>, graph: &mut Graph<'_>, file: &NamedFile, names: &[String]) -> Result<(), Failure> {
    let place = subject.contents.place(&file.sha256);
    if place.as_ref().is_some_and(|path| !path.starts_with(BY_DIGEST)) {
        return Ok(()); // described where it lies
    }
    let id = id_of(subject, &file.sha256);
    let entity = Entity::new(&id, &["File"]).text("name", &file.path);
    let entity = entity.text("encodingFormat", format_of(&file.path)).texts("alternateName", names);
    let entity = match file.size {
        Some(size) => of_bytes(entity, &file.sha256, size),
        None => entity.text("sha256", &file.sha256),
    };
    let entity = match place {
        Some(path) => entity.links("exampleOfWork", subject.parameters.of(&path)),
        None => entity.text("description", "This crate has its digest alone; evidence.json says why."),
    };
    graph.add(&entity).map_err(super::unwritten)
}

#[cfg(test)]
mod tests {
    use super::{FORMATS, format_of};

    #[test]
    fn a_file_is_what_its_name_says() {
        assert!(FORMATS.is_sorted());
        for (name, format) in [
            ("stdout", "text/plain"),
            ("exit.json", "application/json"),
            ("a/b.TAR.GZ", "application/gzip"),
            ("json", "application/json"),
            ("a.json/x", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(format_of(name), format, "{name}");
        }
    }
}
