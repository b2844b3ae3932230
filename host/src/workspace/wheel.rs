//! Whether a wheel is Python alone, by the list of files at the end of a zip archive. Nothing is unpacked.
use super::pin::is_native;

/// How the record at the end of an archive begins, and how many bytes it has without its comment.
const END: ([u8; 4], usize) = (*b"PK\x05\x06", 22);
/// How the record of a file begins, and how many bytes it has without its name.
const FILE: ([u8; 4], usize) = (*b"PK\x01\x02", 46);
/// The longest comment behind the end.
const COMMENT_MAX: usize = u16::MAX as usize;

/// What in a wheel is native code; nothing if all of it is Python.
pub(super) fn native_code(path: &str, archive: &[u8]) -> Result<Option<String>, String> {
    let names = names(archive).ok_or("it is no zip archive, or is cut short")?;
    if let Some(native) = names.iter().find(|name| is_native(name)) {
        return Ok(Some(format!("`{native}`")));
    }
    // NAME-VERSION-PYTHON-ABI-PLATFORM.whl
    let platform = path.strip_suffix(".whl").and_then(|stem| stem.rsplit('-').next()).unwrap_or_default();
    Ok((platform != "any" && path.matches('-').count() >= 4).then(|| format!("it is built for `{platform}`")))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?)).ok()
}

/// The names of the files in an archive; nothing if it is none.
fn names(archive: &[u8]) -> Option<Vec<String>> {
    let last = archive.len().checked_sub(END.1)?;
    let end = (last.saturating_sub(COMMENT_MAX)..=last).rev().find(|&at| archive[at..].starts_with(&END.0))?;
    let (count, mut at) = (u16_at(archive, end + 10)?, u32_at(archive, end + 16)?);
    let mut names = Vec::new();
    for _ in 0..count {
        let record = archive.get(at..end)?;
        if !record.starts_with(&FILE.0) {
            return None;
        }
        let (name, extra, comment) = (u16_at(record, 28)?, u16_at(record, 30)?, u16_at(record, 32)?);
        names.push(String::from_utf8_lossy(record.get(FILE.1..FILE.1 + name)?).into_owned());
        at += FILE.1 + name + extra + comment;
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::native_code;

    /// An archive with empty files of these names.
    fn archive(names: &[&str]) -> Vec<u8> {
        let mut list = Vec::new();
        for name in names {
            let mut record = b"PK\x01\x02".to_vec();
            record.resize(46, 0);
            record[28..30].copy_from_slice(&(name.len() as u16).to_le_bytes());
            record.extend_from_slice(name.as_bytes());
            list.extend(record);
        }
        let mut end = b"PK\x05\x06".to_vec();
        end.resize(22, 0);
        end[10..12].copy_from_slice(&(names.len() as u16).to_le_bytes());
        [list, end].concat()
    }

    #[test]
    fn native_code_is_found_by_name_and_by_tag() {
        let pure = archive(&["m/__init__.py", "m-1.dist-info/WHEEL"]);
        let native = archive(&["m/__init__.py", "m/core.cpython-312-x86_64-linux-gnu.so"]);
        assert_eq!(native_code("m-1-py3-none-any.whl", &pure), Ok(None));
        let named = native_code("m-1-py3-none-any.whl", &native);
        assert_eq!(named, Ok(Some("`m/core.cpython-312-x86_64-linux-gnu.so`".to_owned())));
        let tagged = native_code("m-1-cp312-cp312-win_amd64.whl", &pure);
        assert_eq!(tagged, Ok(Some("it is built for `win_amd64`".to_owned())));
    }

    #[test]
    fn what_is_no_archive_is_told() {
        let whole = archive(&["m/__init__.py", "n"]);
        for end in 0..whole.len() {
            assert!(native_code("m.whl", &whole[..end]).is_err(), "{end}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            let _ = native_code("m.whl", &damaged);
        }
    }
}
