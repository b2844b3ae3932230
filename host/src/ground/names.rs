//! Names of people and machines, and what stands in for them where they are not to be told.
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, Read};

/// The bytes that are looked through at once.
const PIECE: usize = 256 * 1024;

/// Names that are not told, each with the word in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The longest first, so that none hides another that begins with it.
    all: Vec<(String, String)>,
}

impl Names {
    /// Of these users and machines: `user-1`, `host-1` and so on stand in for them, in the order of the names. A word
    /// that is both is a user.
    pub fn new(users: &BTreeSet<String>, hosts: &BTreeSet<String>) -> Self {
        let numbered = |names: Vec<&String>, kind: &str| -> Vec<(String, String)> {
            let stand_ins = (1..).map(|number| format!("{kind}-{number}"));
            names.into_iter().cloned().zip(stand_ins).collect()
        };
        let told = |name: &&String| !name.is_empty();
        let mut all = numbered(users.iter().filter(told).collect(), "user");
        all.extend(numbered(hosts.difference(users).filter(told).collect(), "host"));
        all.sort_by(|(one, _), (other, _)| (other.len(), one).cmp(&(one.len(), other)));
        Self { all }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// A text with the words in place of the names. A name counts where it is a word of its own.
    pub fn replaced<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for (name, stand_in) in &self.all {
            let mut done = 0;
            while let Some(at) = word_at(text.as_bytes(), name.as_bytes(), done) {
                text.to_mut().replace_range(at..at + name.len(), stand_in);
                done = at + stand_in.len();
            }
        }
        text
    }

    /// Whether a stream holds one of the names, as a word of its own.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn are_in(&self, mut stream: impl Read) -> io::Result<bool> {
        let overlap = self.all.first().map_or(0, |(longest, _)| longest.len()) + 2;
        let (mut buffer, mut kept) = (vec![0; overlap + PIECE], 0);
        loop {
            let count = match stream.read(&mut buffer[kept..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count?,
            };
            let filled = kept + count;
            if self.all.iter().any(|(name, _)| word_at(&buffer[..filled], name.as_bytes(), 0).is_some()) {
                return Ok(true);
            }
            if count == 0 {
                return Ok(false);
            }
            let start = filled.saturating_sub(overlap);
            buffer.copy_within(start..filled, 0);
            kept = filled - start;
        }
    }
}

/// Where a name stands as a word of its own, from a place on.
fn word_at(text: &[u8], name: &[u8], from: usize) -> Option<usize> {
    let of_word =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 128);
    let mut found = memchr::memmem::find_iter(text.get(from..)?, name).map(|at| from + at);
    found.find(|at| {
        !of_word(at.checked_sub(1).and_then(|before| text.get(before))) && !of_word(text.get(at + name.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let set = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect();
        Names::new(&set(&["ada", "root"]), &set(&["vm", "vm.lab", "root"]))
    }

    #[test]
    fn a_name_counts_as_a_word_of_its_own() {
        let text = r#"{"by":"ada","at":"vm.lab","path":"/root/canada/vm","more":"vmx ada_2"}"#;
        let expected = r#"{"by":"user-1","at":"host-2","path":"/user-2/canada/host-1","more":"vmx ada_2"}"#;
        assert_eq!(names().replaced(text), expected);
        assert_eq!(names().replaced("canada"), "canada");
    }

    #[test]
    fn a_name_is_found_wherever_it_lies() {
        for before in [0, 1, PIECE - 3, PIECE, PIECE + 7, 2 * PIECE] {
            let text = [&vec![b'.'; before][..], b"ada", &[b'.'; 5]].concat();
            assert!(names().are_in(&text[..]).expect("memory"), "{before}");
        }
        assert!(!names().are_in(&b"canada vmx"[..]).expect("memory"));
        assert!(!Names::default().are_in(&b"ada"[..]).expect("memory"));
    }
}
