//! What `sha256sum` writes: one line for each file.
use std::collections::BTreeMap;

/// Reads the lines; the paths with their digests. Nothing if a line is not one of `sha256sum`.
pub(super) fn read(text: &str) -> Option<BTreeMap<String, String>> {
    text.lines().map(line).collect()
}

/// A digest, a blank, a blank or `*`, a path. A backslash before all of it says that the path has escapes in it.
fn line(line: &str) -> Option<(String, String)> {
    let (escaped, line) = line.strip_prefix('\\').map_or((false, line), |rest| (true, rest));
    let (digest, rest) = line.split_once(' ')?;
    let path = rest.strip_prefix([' ', '*'])?;
    let hexadecimal = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let path = if escaped { unescape(path)? } else { path.to_owned() };
    (hexadecimal && !path.is_empty()).then(|| (path, digest.to_ascii_lowercase()))
}

fn unescape(text: &str) -> Option<String> {
    let mut chars = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn lines_of_sha256sum_are_read_and_others_are_not() {
        let digest = "AB".repeat(32);
        let text = format!("{digest}  files/a b\n{digest} *files/c\n\\{digest}  files/d\\ne\\\\f\n");
        let sums = read(&text).expect("lines");
        assert_eq!(sums.keys().collect::<Vec<_>>(), ["files/a b", "files/c", "files/d\ne\\f"]);
        assert!(sums.values().all(|found| *found == digest.to_lowercase()));
        for wrong in ["", "abc  files/a", &digest, &format!("{digest}  "), &format!("\\{digest}  a\\x")] {
            assert!(read(&format!("{wrong}\n")).is_none(), "{wrong}");
        }
    }
}
