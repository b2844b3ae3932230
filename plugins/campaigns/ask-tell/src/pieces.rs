//! A document in the making: texts of now, and between them files that the run has already.
use matterstack_sdk::work::Hasher;
use matterstack_sdk::{Error, Value, artifacts, json};

/// A document that is put together of texts and of files.
#[derive(Default)]
pub(crate) struct Pieces {
    hasher: Hasher,
    /// The digests of what is before `text`.
    parts: Vec<String>,
    /// What was added since.
    text: String,
    files: usize,
}

impl Pieces {
    /// Adds a text.
    pub(crate) fn text(&mut self, text: &str) {
        self.hasher.add(text.as_bytes());
        self.text.push_str(text);
    }

    /// Adds what a file of the run holds.
    pub(crate) fn file(&mut self, sha256: &str, text: &str) -> Result<(), Error> {
        self.write_text()?;
        self.hasher.add(text.as_bytes());
        self.parts.push(sha256.to_owned());
        self.files += 1;
        Ok(())
    }

    /// Whether this text is all that there is so far.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.files == 0 && self.text == text
    }

    /// Adds files that need not be read, since a hasher is at hand which has seen them after all that is here so far.
    pub(crate) fn files<'a>(&mut self, digests: impl Iterator<Item = &'a str>, hasher: Hasher) -> Result<(), Error> {
        self.write_text()?;
        let before = self.parts.len();
        self.parts.extend(digests.map(str::to_owned));
        self.files += self.parts.len() - before;
        self.hasher = hasher;
        Ok(())
    }

    /// How a task names the document: with no file in it, it is kept as it is; else what is new of it is, since a run
    /// of thousands of asks would hold all of its trials as often once more.
    pub(crate) fn source(mut self) -> Result<Value, Error> {
        if self.files == 0 {
            return Ok(json!({"digest": artifacts::write(self.text.as_bytes())?}));
        }
        self.write_text()?;
        Ok(json!({"digest": self.hasher.digest(), "parts": self.parts}))
    }

    fn write_text(&mut self) -> Result<(), Error> {
        if !self.text.is_empty() {
            self.parts.push(artifacts::write(std::mem::take(&mut self.text).as_bytes())?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use matterstack_sdk::work::sha256;

    #[test]
    fn its_parts_one_after_the_other_are_the_whole() {
        artifacts::with_files([], || {
            let records = artifacts::write(b"1,2,").expect("a file");
            let mut pieces = Pieces::default();
            pieces.text("{\"a\":[");
            pieces.file(&records, "1,2,").expect("a file");
            pieces.file(&records, "1,2,").expect("a file");
            pieces.text("3");
            pieces.text("]}");
            let source = pieces.source().expect("a source");
            let parts: Vec<&str> =
                source["parts"].as_array().expect("parts").iter().filter_map(Value::as_str).collect();
            let texts: Vec<u8> = parts.iter().flat_map(|part| artifacts::read(part, 0, 100).expect("a part")).collect();
            assert_eq!((parts.len(), texts.as_slice()), (4, b"{\"a\":[1,2,1,2,3]}".as_slice()));
            assert_eq!(source["digest"], sha256(&texts).as_str());
        });
        artifacts::with_files([], || {
            let mut pieces = Pieces::default();
            pieces.text("{}");
            let source = pieces.source().expect("a source");
            assert_eq!(source, json!({"digest": sha256(b"{}")}));
        });
    }
}
