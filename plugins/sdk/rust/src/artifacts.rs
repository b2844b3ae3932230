//! Content-addressed reads: the campaign's own inputs and the output files that its results name.
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

/// Returns a whole file, read in chunks. Fails like [`read`].
pub fn read_all(file: &OutputFile) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(usize::try_from(file.size).unwrap_or_default());
    loop {
        let chunk = read(&file.sha256, bytes.len() as u64, CHUNK_BYTES)?;
        bytes.extend_from_slice(&chunk);
        if chunk.is_empty() || bytes.len() as u64 >= file.size {
            return Ok(bytes);
        }
    }
}

/// Returns a whole file as text. Fails like [`read`], and with `invalid` if it is not UTF-8.
pub fn read_text(file: &OutputFile) -> Result<String, Error> {
    String::from_utf8(read_all(file)?).map_err(|_| Error::invalid("not-utf-8", format!("`{}` is not UTF-8", file.path)))
}

/// Runs `body` with these files (digest, bytes) readable on this thread: for native tests.
pub fn with_files<T>(files: impl IntoIterator<Item = (String, Vec<u8>)>, body: impl FnOnce() -> T) -> T {
    FILES.set(files.into_iter().collect());
    let value = body();
    FILES.set(HashMap::new());
    value
}
