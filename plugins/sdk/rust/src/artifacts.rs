//! Content-addressed files: the campaign's own inputs, the output files that its results name, and what it has written.
use crate::bindings::campaign::matterstack::plugin::artifacts as wit;
use crate::error::Error;
use crate::task::OutputFile;
use std::cell::RefCell;
use std::collections::HashMap;

/// Bytes asked for in one read.
const CHUNK_BYTES: u32 = 4 << 20;

thread_local! {
    static FILES: RefCell<HashMap<String, Vec<u8>>> = RefCell::new(HashMap::new());
}

/// Returns up to `max` bytes of the file with this SHA-256 from `offset`, none at its end. A digest that the run
/// does not own is `denied`.
pub fn read(sha256: &str, offset: u64, max: u32) -> Result<Vec<u8>, Error> {
    if cfg!(target_family = "wasm") {
        return wit::read(sha256, offset, max).map_err(Error::from);
    }
    FILES.with_borrow(|files| {
        let bytes = files.get(sha256).ok_or_else(|| {
            Error::Denied(crate::Detail::new("unknown-digest", format!("no file has the digest `{sha256}`")))
        })?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(max as usize).min(bytes.len());
        Ok(bytes[start..end].to_vec())
    })
}

/// Returns a whole file, read in chunks. Fails like [`read`], and with `invalid` if the file stayed on a cluster.
pub fn read_all(file: &OutputFile) -> Result<Vec<u8>, Error> {
    if let Some(place) = &file.remote {
        let text = format!("`{}` stayed on backend `{}`, and cannot be read here", file.path, place.backend);
        return Err(Error::invalid("file-is-remote", text));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(file.size).unwrap_or_default());
    loop {
        let chunk = read(&file.sha256, bytes.len() as u64, CHUNK_BYTES)?;
        bytes.extend_from_slice(&chunk);
        if chunk.is_empty() || bytes.len() as u64 >= file.size {
            return Ok(bytes);
        }
    }
}

/// Returns a whole file as text. Fails like [`read`], and with `invalid`, naming the line, if it is not UTF-8.
pub fn read_text(file: &OutputFile) -> Result<String, Error> {
    String::from_utf8(read_all(file)?).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Error::invalid("not-utf-8", format!("`{}` is not UTF-8 in line {line}", file.path))
    })
}

/// Keeps bytes in the run, at most 16 MiB at once; returns their SHA-256, by which tasks name them
/// ([`Task::file_written`](crate::Task::file_written)). They are kept if the decision is. An operator's call is
/// `denied`.
///
/// ```
/// # use matterstack_sdk::{Task, artifacts, json};
/// let sha256 = artifacts::with_files([], || artifacts::write(b"[1, 2]"))?;
/// let task = Task::new("fit", "local").file_written("points.json", &sha256);
/// assert_eq!(json!(task)["files"]["points.json"], json!({"digest": sha256}));
/// assert_eq!(serde_json::from_value::<Task>(json!(task)).unwrap(), task);
/// # Ok::<(), matterstack_sdk::Error>(())
/// ```
pub fn write(bytes: &[u8]) -> Result<String, Error> {
    if cfg!(target_family = "wasm") {
        return wit::write(bytes).map_err(Error::from);
    }
    let sha256 = crate::work::sha256(bytes);
    FILES.with_borrow_mut(|files| files.insert(sha256.clone(), bytes.to_vec()));
    Ok(sha256)
}

/// Runs `body` with these files (digest, bytes) readable on this thread, and what it writes: for native tests.
pub fn with_files<T>(files: impl IntoIterator<Item = (String, Vec<u8>)>, body: impl FnOnce() -> T) -> T {
    FILES.set(files.into_iter().collect());
    let value = body();
    FILES.set(HashMap::new());
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(sha256: &str, size: usize) -> OutputFile {
        OutputFile { path: "file".into(), sha256: sha256.into(), size: size as u64, remote: None }
    }

    #[test]
    fn a_file_is_read_in_parts() {
        with_files([("d".to_owned(), b"0123456789".to_vec())], || {
            assert_eq!(read("d", 0, 4).unwrap(), b"0123");
            assert_eq!(read("d", 8, 4).unwrap(), b"89");
            for offset in [10, 11, u64::MAX] {
                assert_eq!(read("d", offset, 4).unwrap(), b"", "{offset}");
            }
            assert_eq!(read("d", 3, 0).unwrap(), b"");
        });
    }

    #[test]
    fn a_file_larger_than_one_read_comes_whole() {
        for size in [0, 1, CHUNK_BYTES as usize, 2 * CHUNK_BYTES as usize + 1] {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            with_files([("d".to_owned(), bytes.clone())], || {
                assert!(read_all(&file("d", size)).unwrap() == bytes, "{size}");
                // a size that is not true neither cuts the file nor waits for more
                assert!(read_all(&file("d", size + 10)).unwrap() == bytes, "{size}");
            });
        }
    }

    #[test]
    fn a_file_that_stayed_on_a_cluster_says_where_it_is() {
        let text =
            r#"{"path":"WAVECAR","sha256":"d","size":4,"remote":{"backend":"hpc","path":"/scratch/r/a/WAVECAR"}}"#;
        let file: OutputFile = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&file).unwrap(), text);
        let error = with_files([("d".to_owned(), b"same".to_vec())], || read_all(&file).unwrap_err());
        assert!(matches!(&error, Error::Invalid(detail) if detail.message.contains("backend `hpc`")), "{error:?}");
    }

    #[test]
    fn what_the_run_does_not_own_is_denied() {
        let denied = |error: Error| matches!(error, Error::Denied(detail) if detail.code == "unknown-digest");
        assert!(denied(read("d", 0, 1).unwrap_err()));
        assert!(denied(read_all(&file("d", 1)).unwrap_err()));
        with_files([("d".to_owned(), vec![1])], || ());
        assert!(denied(read("d", 0, 1).unwrap_err()), "the files were there for the body only");
    }

    #[test]
    fn what_is_written_is_read_by_its_digest() {
        with_files([], || {
            let sha256 = write(b"abc").unwrap();
            assert_eq!(sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
            assert_eq!(read_all(&file(&sha256, 3)).unwrap(), b"abc");
        });
    }

    #[test]
    fn text_must_be_utf_8() {
        with_files([("a".to_owned(), "é".into()), ("b".to_owned(), vec![0xff])], || {
            assert_eq!(read_text(&file("a", 2)).unwrap(), "é");
            assert_eq!(read_text(&file("b", 1)).unwrap_err().detail().code, "not-utf-8");
        });
    }
}
