//! `manifest-sha256.txt`: the digest of every other file of a bundle, as `sha256sum` writes and reads it.
use super::archive::misnamed;
use crate::ground::words::one_line;
use crate::run::MANIFEST;

/// What signs it.
pub(in crate::evidence) const SIGNATURE: &str = "manifest-sha256.txt.sig";

/// A line of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) path: String,
    pub(super) sha256: String,
}

/// Reads a manifest.
///
/// # Errors
/// Which line is not as the writer of bundles has it, and how.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Listed>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is no UTF-8".to_owned())?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("ends in the middle of a line".to_owned());
    }
    let mut all: Vec<Listed> = Vec::new();
    for (at, line) in text.split_terminator('\n').enumerate() {
        let listed = line_of(line).map_err(|why| format!("line {} {why}: {}", at + 1, one_line(line)))?;
        if all.last().is_some_and(|before| before.path >= listed.path) {
            return Err(format!("line {} is not in the order of paths: {}", at + 1, one_line(line)));
        }
        all.push(listed);
    }
    Ok(all)
}

fn line_of(line: &str) -> Result<Listed, &'static str> {
    let (escaped, rest) = line.strip_prefix('\\').map_or((false, line), |rest| (true, rest));
    let (sha256, path) = rest.split_once("  ").ok_or("has no digest and path")?;
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_digest {
        return Err("does not begin with a digest");
    }
    let path = if escaped {
        unescaped(path).ok_or("has a path that is not escaped as it should be")?
    } else {
        path.to_owned()
    };
    if let Some(why) = misnamed(&path) {
        return Err(why);
    }
    if path == MANIFEST || path == SIGNATURE {
        return Err("names the manifest itself, or its signature");
    }
    Ok(Listed { path, sha256: sha256.to_owned() })
}

fn unescaped(path: &str) -> Option<String> {
    let (mut plain, mut rest) = (String::new(), path.chars());
    while let Some(c) = rest.next() {
        plain.push(match c {
            '\\' => match rest.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            c => c,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_one_form() {
        let digest = "0123456789abcdef".repeat(4);
        let line = |path: &str| format!("{digest}  {path}\n");
        let good = line("a b") + &format!("\\{digest}  a\\\\c\\nd\n") + &line("b/c");
        let paths: Vec<String> = parse(good.as_bytes()).expect("a manifest").into_iter().map(|one| one.path).collect();
        assert_eq!(paths, ["a b", "a\\c\nd", "b/c"]);
        for (bad, why) in [
            (line("b") + &line("a"), "line 2 is not in the order"),
            (line("a") + &line("a"), "line 2 is not in the order"),
            (line("../a"), "climbs out"),
            (line("/etc/passwd"), "is no path below"),
            (line("a//b"), "climbs out"),
            (line(MANIFEST), "names the manifest itself"),
            (line("a").to_uppercase(), "does not begin with a digest"),
            (digest[1..].to_owned() + "  a\n", "does not begin with a digest"),
            (digest.clone() + " a\n", "has no digest and path"),
            (line("a").trim_end().to_owned(), "ends in the middle"),
            (format!("\\{digest}  a\\x\n"), "not escaped"),
            ("\n".to_owned(), "has no digest"),
        ] {
            let found = parse(bad.as_bytes()).expect_err("not a manifest");
            assert!(found.contains(why), "{bad:?}: {found}");
        }
    }
}
