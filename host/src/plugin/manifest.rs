//! Finds what a plugin says of itself. Nothing of it is executed, and nothing is believed but what it says.
use crate::model::manifest::Manifest;
use wasmparser::{Parser, Payload};

/// The name of the custom section.
const SECTION: &str = "matterstack:manifest";
/// The largest manifest, in bytes.
const MANIFEST_MAX: usize = 1024 * 1024;

/// The manifest of a component: its own, or that of the module it was made of. None if it has none.
///
/// # Errors
/// In words that follow the plugin's name: it cannot be read, or there are several.
pub fn manifest(component: &[u8]) -> Result<Option<Manifest>, String> {
    let mut found: Option<(usize, &[u8])> = None;
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        // what cannot be read is refused where it is compiled
        let Ok(payload) = payload else { break };
        match payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if section.name() == SECTION => match found {
                // that of the whole counts before those of its parts
                Some((of, _)) if of < depth => {}
                Some((of, text)) if of == depth && text != section.data() => {
                    return Err("has more than one manifest".to_owned());
                }
                _ => found = Some((depth, section.data())),
            },
            _ => {}
        }
    }
    let Some((_, text)) = found else { return Ok(None) };
    if text.len() > MANIFEST_MAX {
        return Err(format!("has a manifest of {} bytes; at most {MANIFEST_MAX} are allowed", text.len()));
    }
    Manifest::parse(text).map(Some).map_err(|why| format!("has a manifest that {why}"))
}

#[cfg(test)]
mod tests {
    use super::{SECTION, manifest};

    /// A section of a component or module.
    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("a short section");
        assert!(length < 128);
        [&[id, length], content].concat()
    }

    fn custom(text: &str) -> Vec<u8> {
        section(0, &[&[SECTION.len() as u8], SECTION.as_bytes(), text.as_bytes()].concat())
    }

    fn component(sections: &[Vec<u8>]) -> Vec<u8> {
        [b"\0asm\x0d\0\x01\0".to_vec(), sections.concat()].concat()
    }

    fn module(sections: &[Vec<u8>]) -> Vec<u8> {
        section(1, &[b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat())
    }

    #[test]
    fn the_manifest_of_the_whole_counts_before_that_of_a_part() {
        let name = |bytes: &[u8]| manifest(bytes).expect("a manifest").and_then(|manifest| manifest.name);
        let (a, b) = (custom(r#"{"format":1,"name":"a"}"#), custom(r#"{"format":1,"name":"b"}"#));
        assert_eq!(manifest(&component(&[])), Ok(None));
        assert_eq!(name(&component(&[module(std::slice::from_ref(&a))])).as_deref(), Some("a"));
        for order in [[module(std::slice::from_ref(&a)), b.clone()], [b.clone(), module(std::slice::from_ref(&a))]] {
            assert_eq!(name(&component(&order)).as_deref(), Some("b"));
        }
        assert_eq!(manifest(&component(&[a, b])), Err("has more than one manifest".to_owned()));
    }

    #[test]
    fn what_is_no_manifest_is_named() {
        for (text, words) in [
            (r#"{"format":2}"#, "format 2"),
            (r#"{"format":1,"analyse":"workflow"}"#, "unknown field `analyse`"),
            (r#"{"format":1,"analyze":"never"}"#, "unknown variant `never`"),
            ("{}", "missing field `format`"),
            ("text", "cannot be read"),
        ] {
            let why = manifest(&component(&[custom(text)])).expect_err(words);
            assert!(why.contains(words), "{why}");
        }
    }
}
