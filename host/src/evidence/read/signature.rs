//! Who signed a manifest: signatures as `ssh-keygen -Y sign` makes them, verified here, so that it works where that
//! program is too old or missing.
use crate::ground::words::one_line;
use jiff::civil::DateTime;
use serde::Serialize;
use ssh_key::{Algorithm, Error, HashAlg, LineEnding, PublicKey, SshSig};

/// What our signatures are for: one that was made for another purpose is none of ours.
pub(super) const NAMESPACE: &str = "evidence@matterstack";

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// Characters of a line between them.
const LINE: usize = 70;

/// A signature that fits its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signed {
    /// The kind of key.
    pub key: String,
    /// What tells the key from others, as `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// Whose key it is, by the file of signers; nothing if none was given.
    pub signer: Option<String>,
}

/// Whose key signed a manifest.
///
/// # Errors
/// What is wrong with the signature, or with who made it.
pub(super) fn verify(
    manifest: &[u8],
    signature: &[u8],
    signers: Option<&str>,
    now_ms: i64,
) -> Result<Signed, (Option<Signed>, String)> {
    let parsed = read(signature).map_err(|why| (None, why))?;
    let key = PublicKey::from(parsed.public_key().clone());
    let none = |why: String| (None, why);
    match key.verify(NAMESPACE, manifest, &parsed) {
        Ok(()) => {}
        Err(Error::Namespace) => {
            let purpose = one_line(parsed.namespace());
            return Err(none(format!("was made for `{purpose}`, not for `{NAMESPACE}`")));
        }
        Err(Error::AlgorithmUnsupported { algorithm }) => {
            return Err(none(format!("is by a key that cannot be verified here ({algorithm}); `ssh-keygen` can")));
        }
        Err(_) => return Err(none("is not of this manifest: that was altered, or is older or newer".to_owned())),
    }
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    let mut signed = Signed { key: key.algorithm().to_string(), fingerprint, signer: None };
    let Some(signers) = signers else { return Ok(signed) };
    match signer_of(&key, signers, now_ms) {
        Ok(signer) => {
            signed.signer = Some(signer);
            Ok(signed)
        }
        Err(why) => {
            let nobody = || format!("is by the key {}, which nobody has in the file of signers", signed.fingerprint);
            let why = why.unwrap_or_else(nobody);
            Err((Some(signed), why))
        }
    }
}

/// Reads a signature, which must be as the program writes it.
fn read(signature: &[u8]) -> Result<SshSig, String> {
    let none = |why: &str| why.to_owned();
    let text = std::str::from_utf8(signature).ok().filter(|text| is_canonical(text));
    let text = text.ok_or_else(|| none("is not a signature as `ssh-keygen -Y sign` writes it"))?;
    let parsed = SshSig::from_pem(text).map_err(|error| format!("is no signature: {error}"))?;
    // the library takes earlier ones, which there have never been
    if parsed.version() != SshSig::VERSION {
        return Err(format!("is no signature of version {}", SshSig::VERSION));
    }
    // it does not mind every length either; of one kind of key it does not write what it has read
    let written = parsed.to_pem(LineEnding::LF).ok();
    if parsed.algorithm() != Algorithm::SkEcdsaSha2NistP256 && written.as_deref() != Some(text) {
        return Err(none("is not a signature as `ssh-keygen -Y sign` writes it"));
    }
    Ok(parsed)
}

/// Whose key it is by a file of signers; else why it does not count, if anybody has it there.
fn signer_of(key: &PublicKey, signers: &str, now_ms: i64) -> Result<String, Option<String>> {
    let mut why = None;
    for line in signers.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some(signer) = Signer::parse(line).filter(|signer| signer.key.key_data() == key.key_data()) else {
            continue;
        };
        match signer.objection(now_ms) {
            None => return Ok(signer.principals),
            Some(objection) => why = Some(format!("is by a key of {}, {objection}", one_line(&signer.principals))),
        }
    }
    Err(why)
}

/// Whether a text is written as the program writes it, so that no byte of it can be another one.
fn is_canonical(text: &str) -> bool {
    let Some(body) = text.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(&format!("{END}\n"))) else {
        return false;
    };
    let Some(body) = body.strip_prefix('\n') else { return false };
    let lines: Vec<&str> = body.split_terminator('\n').collect();
    let Some((last, whole)) = lines.split_last() else { return false };
    body.ends_with('\n')
        && whole.iter().all(|line| line.len() == LINE)
        && (1..=LINE).contains(&last.len())
        && lines.iter().all(|line| line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)))
}

/// A line of a file of signers, as `ssh-keygen` calls it: `allowed_signers`.
struct Signer {
    principals: String,
    options: String,
    key: PublicKey,
}

impl Signer {
    fn parse(line: &str) -> Option<Self> {
        let (principals, rest) = word(line)?;
        let (second, after) = word(rest)?;
        let (options, rest) = if is_key_type(&second) { (String::new(), rest) } else { (second, after) };
        let (kind, rest) = word(rest)?;
        let (bytes, _) = word(rest)?;
        let key = PublicKey::from_openssh(&format!("{kind} {bytes}")).ok()?;
        Some(Self { principals: principals.replace('"', ""), options, key })
    }

    /// Why the key does not count, for this purpose and at this time.
    fn objection(&self, now_ms: i64) -> Option<String> {
        for option in split_outside_quotes(&self.options, ',') {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = value.trim_matches('"');
            match name.to_ascii_lowercase().as_str() {
                "" => {}
                "namespaces" if matches_list(value, NAMESPACE) => {}
                "namespaces" => return Some(format!("who may sign for `{}` alone", one_line(value))),
                name @ ("valid-after" | "valid-before") => match time_ms(value) {
                    None => {
                        return Some(format!("whose `{name}` is not understood here: give it with a Z, in UTC"));
                    }
                    Some(at) if (name == "valid-after") == (now_ms >= at) => {}
                    Some(_) => return Some(format!("which does not count now ({name} {})", one_line(value))),
                },
                "cert-authority" => return Some("which vouches for others and does not sign itself".to_owned()),
                other => return Some(format!("with an option that is not known here: {}", one_line(other))),
            }
        }
        None
    }
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|begin| word.starts_with(begin))
}

/// The first word of a line, which may have spaces in quotes, and what follows it.
fn word(line: &str) -> Option<(String, &str)> {
    let line = line.trim_start();
    let mut quoted = false;
    let end = line.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        c.is_whitespace() && !quoted
    });
    let end = end.map_or(line.len(), |(at, _)| at);
    (end > 0 && !quoted).then(|| (line[..end].to_owned(), &line[end..]))
}

fn split_outside_quotes(text: &str, by: char) -> Vec<&str> {
    let (mut quoted, mut parts, mut from) = (false, Vec::new(), 0);
    for (at, c) in text.char_indices() {
        quoted ^= c == '"';
        if c == by && !quoted {
            parts.push(&text[from..at]);
            from = at + c.len_utf8();
        }
    }
    parts.push(&text[from..]);
    parts
}

/// Whether a list of patterns, as OpenSSH has them, takes a word: one with `!` before it forbids what it matches.
fn matches_list(list: &str, word: &str) -> bool {
    let mut taken = false;
    for pattern in list.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches_pattern(pattern.as_bytes(), word.as_bytes()) => return false,
            Some(_) => {}
            None => taken |= matches_pattern(pattern.as_bytes(), word.as_bytes()),
        }
    }
    taken
}

/// Whether a pattern with `*` and `?` matches.
fn matches_pattern(pattern: &[u8], word: &[u8]) -> bool {
    let (mut at, mut place, mut again) = (0, 0, None);
    while place < word.len() {
        match pattern.get(at) {
            Some(b'*') => {
                again = Some((at + 1, place));
                at += 1;
            }
            Some(c) if *c == b'?' || *c == word[place] => (at, place) = (at + 1, place + 1),
            _ => match &mut again {
                Some((from, tried)) => {
                    *tried += 1;
                    (at, place) = (*from, *tried);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == b'*')
}

/// A time as files of signers have it, in UTC: `YYYYMMDD[HHMM[SS]]Z`.
fn time_ms(text: &str) -> Option<i64> {
    let digits = text.strip_suffix(['Z', 'z'])?;
    let is_time = matches!(digits.len(), 8 | 12 | 14) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_time {
        return None;
    }
    let number = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |part| part.parse::<i16>().ok());
    let small = |from: usize| number(from, from + 2).and_then(|number| i8::try_from(number).ok());
    let at = DateTime::new(number(0, 4)?, small(4)?, small(6)?, small(8)?, small(10)?, small(12)?, 0).ok()?;
    Some(jiff::tz::Offset::UTC.to_timestamp(at).ok()?.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with keys that live in hardware, as `ssh-keygen` verifies them, over [`SIGNED`].
    const HARDWARE_ED25519: &str = concat!(
        "-----BEGIN SSH SIGNATURE-----\n",
        "U1NIU0lHAAAAAQAAAEoAAAAac2stc3NoLWVkMjU1MTlAb3BlbnNzaC5jb20AAAAgEirGo+\n",
        "O688/r0+Jd+Fu59IZKASuFniBd5BBihjYrMCoAAAAEc3NoOgAAABRldmlkZW5jZUBtYXR0\n",
        "ZXJzdGFjawAAAAAAAAAGc2hhNTEyAAAAZwAAABpzay1zc2gtZWQyNTUxOUBvcGVuc3NoLm\n",
        "NvbQAAAEBnAeqW4nVHjNBGUjB5liBEMLxV6Z3mY7+Iy2zDQCre2gq0m/x//leJuGTfHQ3i\n",
        "hLj8kfK32PbSBdr1Hm1XwIMHAQAAAAc=\n",
        "-----END SSH SIGNATURE-----\n",
    );
    const HARDWARE_ECDSA: &str = concat!(
        "-----BEGIN SSH SIGNATURE-----\n",
        "U1NIU0lHAAAAAQAAAH8AAAAic2stZWNkc2Etc2hhMi1uaXN0cDI1NkBvcGVuc3NoLmNvbQ\n",
        "AAAAhuaXN0cDI1NgAAAEEExqQvPxywUfKtO9BWw1Ttbc/5P3UrsJOQ3wYQPlmk5PiAtu7L\n",
        "EbFhGvL3tw6r1m40qrFjIolP6u/2IhGrulO+vgAAAARzc2g6AAAAFGV2aWRlbmNlQG1hdH\n",
        "RlcnN0YWNrAAAAAAAAAAZzaGE1MTIAAAB4AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZA\n",
        "b3BlbnNzaC5jb20AAABJAAAAIGo+nDmM4ndtOZJaFZfMlJI1pKsWJLhBVdsjktMOe9ngAA\n",
        "AAIQCi0gV4jLC/6x7jPau4nHwVU4vzfqNgHh4bInyRu/ZW4wEAAAAH\n",
        "-----END SSH SIGNATURE-----\n",
    );
    const SIGNED: &[u8] = b"a manifest\n";
    const KEY: &str = concat!(
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc",
        "2guY29tAAAAIBIqxqPjuvPP69PiXfhbufSGSgErhZ4gXeQQYoY2KzAqAAAABHNzaDo="
    );

    #[test]
    fn keys_in_hardware_sign_too() {
        for (signature, kind) in [(HARDWARE_ED25519, "sk-ssh-ed25519"), (HARDWARE_ECDSA, "sk-ecdsa-sha2-nistp256")] {
            let signed = verify(SIGNED, signature.as_bytes(), None, 0).expect("a signature");
            assert!(signed.key.starts_with(kind) && signed.fingerprint.starts_with("SHA256:"), "{signed:?}");
            let (none, why) = verify(b"another", signature.as_bytes(), None, 0).expect_err("of another manifest");
            assert!(none.is_none() && why.contains("not of this manifest"), "{why}");
        }
    }

    #[test]
    fn no_byte_of_a_signature_can_be_another() {
        let text = HARDWARE_ED25519.as_bytes();
        for at in 0..text.len() {
            for flip in [1_u8, 0x20] {
                let mut other = text.to_vec();
                other[at] ^= flip;
                let found = verify(SIGNED, &other, None, 0);
                assert!(found.is_err(), "byte {at} ^ {flip}: {found:?}");
            }
            let cut = [&text[..at], &text[at + 1..]].concat();
            assert!(verify(SIGNED, &cut, None, 0).is_err(), "without byte {at}");
        }
        for more in ["\n", " ", "x"] {
            assert!(verify(SIGNED, format!("{HARDWARE_ED25519}{more}").as_bytes(), None, 0).is_err());
        }
    }

    #[test]
    fn a_file_of_signers_says_whose_key_counts() {
        let by = |line: &str, now_ms: i64| verify(SIGNED, HARDWARE_ED25519.as_bytes(), Some(line), now_ms);
        let noon = 1_790_000_000_000;
        for (options, why) in [
            ("", ""),
            ("namespaces=\"file,evidence@*\" ", ""),
            ("namespaces=\"file\" ", "for `file` alone"),
            ("namespaces=\"*,!evidence@*\" ", "alone"),
            ("valid-after=\"20200101Z\",valid-before=\"20300101120000Z\" ", ""),
            ("valid-before=\"20200101Z\" ", "does not count now"),
            ("valid-after=\"20300101Z\" ", "does not count now"),
            ("valid-after=\"20200101\" ", "give it with a Z"),
            ("cert-authority ", "vouches for others"),
            ("sings ", "not known here: sings"),
        ] {
            let found = by(&format!("# people\n\nada@lab.example,\"b c\" {options}{KEY} a comment\n"), noon);
            match (why, found) {
                ("", found) => {
                    let signed = found.unwrap_or_else(|why| panic!("{options}: {why:?}"));
                    assert_eq!(signed.signer.as_deref(), Some("ada@lab.example,b c"), "{options}");
                }
                (why, Err((Some(_), found))) => assert!(found.contains(why), "{options}: {found}"),
                (_, found) => panic!("{options}: {found:?}"),
            }
        }
        for nobody in ["", "ada@lab.example ssh-ed25519 AAAA\n", "ada\n", "\"ada\n"] {
            let (signed, why) = by(nobody, noon).expect_err("a stranger");
            assert!(signed.is_some() && why.contains("nobody has in the file"), "{why}");
        }
    }
}
