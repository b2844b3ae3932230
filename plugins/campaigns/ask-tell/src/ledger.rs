//! Records in the order in which they came. Most of them lie in files of the run, whose digests are all that the state
//! holds, so that a decision costs what is new.
use crate::pieces::Pieces;
use matterstack_sdk::work::Hasher;
use matterstack_sdk::{Error, OutputFile, artifacts};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// How many records are put away together.
const SEGMENT_RECORDS: usize = 200;
/// How many bytes of records are put away, however few they are.
const SEGMENT_BYTES: usize = 256 * 1024;

/// Records in the order in which they came.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    segments: Vec<Segment>,
    open: Vec<Box<RawValue>>,
    /// Of documents that begin with the segments: what a hasher has come to that has seen them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<Seen>,
}

/// What a hasher has come to after a text and the files of all segments.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Seen {
    after: String,
    hasher: String,
}

impl Seen {
    fn of(after: String, hasher: &Hasher) -> Self {
        Self { after, hasher: hasher.keep() }
    }
}

/// Records in a file, each with a comma behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Segment {
    sha256: String,
    size: u64,
}

impl Segment {
    /// The text of the file that holds records.
    fn text_of(records: &str) -> String {
        format!("{records},")
    }

    fn write(text: &str) -> Result<Self, Error> {
        Ok(Self { sha256: artifacts::write(text.as_bytes())?, size: text.len() as u64 })
    }

    fn text(&self) -> Result<String, Error> {
        let mut text = self.file_text()?;
        text.pop();
        Ok(text)
    }

    /// The text of its file, which ends with a comma.
    fn file_text(&self) -> Result<String, Error> {
        let (sha256, size) = (self.sha256.clone(), self.size);
        artifacts::read_text(&OutputFile { path: "records".to_owned(), sha256, size, remote: None })
    }
}

impl Ledger {
    /// A ledger for documents that begin with this text and then hold all records.
    pub(crate) fn after(text: &str) -> Self {
        let mut hasher = Hasher::default();
        hasher.add(text.as_bytes());
        Self { seen: Some(Seen::of(text.to_owned(), &hasher)), ..Self::default() }
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, record: &impl Serialize) -> Result<(), Error> {
        self.open.push(serde_json::value::to_raw_value(record)?);
        Ok(())
    }

    /// Puts records away in a file once they are many.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        let bytes: usize = self.open.iter().map(|record| record.get().len()).sum();
        if self.open.len() >= SEGMENT_RECORDS || bytes >= SEGMENT_BYTES {
            let text = Segment::text_of(&joined(&self.open));
            self.segments.push(Segment::write(&text)?);
            self.open.clear();
            self.seen = self.seen.take().and_then(|seen| {
                let mut hasher = Hasher::kept(&seen.hasher)?;
                hasher.add(text.as_bytes());
                Some(Seen::of(seen.after, &hasher))
            });
        }
        Ok(())
    }

    /// Reads all segments once more, for the documents that begin with them.
    fn see_again(&mut self) -> Result<(), Error> {
        let Some(seen) = self.seen.take() else { return Ok(()) };
        let mut hasher = Hasher::default();
        hasher.add(seen.after.as_bytes());
        for segment in &self.segments {
            hasher.add(segment.file_text()?.as_bytes());
        }
        self.seen = Some(Seen::of(seen.after, &hasher));
        Ok(())
    }

    /// Every record as it was written, with commas between them.
    pub(crate) fn text(&self) -> Result<String, Error> {
        let mut texts = self.segments.iter().map(Segment::text).collect::<Result<Vec<String>, Error>>()?;
        if !self.open.is_empty() {
            texts.push(joined(&self.open));
        }
        Ok(texts.join(","))
    }

    /// Adds every record to a document, with commas between them, and one behind the last if others follow.
    pub(crate) fn put(&self, pieces: &mut Pieces, more_follow: bool) -> Result<(), Error> {
        let last = self.segments.len().saturating_sub(1);
        let seen = self.seen.as_ref().filter(|seen| pieces.is(&seen.after));
        let hasher = seen.and_then(|seen| Hasher::kept(&seen.hasher));
        if let Some(hasher) = hasher.filter(|_| !self.segments.is_empty() && (more_follow || !self.open.is_empty())) {
            pieces.files(self.segments.iter().map(|segment| segment.sha256.as_str()), hasher)?;
            return self.put_open(pieces, more_follow);
        }
        for (place, segment) in self.segments.iter().enumerate() {
            if place < last || more_follow || !self.open.is_empty() {
                pieces.file(&segment.sha256, &segment.file_text()?)?;
            } else {
                pieces.text(&segment.text()?);
            }
        }
        self.put_open(pieces, more_follow)
    }

    fn put_open(&self, pieces: &mut Pieces, more_follow: bool) -> Result<(), Error> {
        pieces.text(&joined(&self.open));
        if more_follow && !self.open.is_empty() {
            pieces.text(",");
        }
        Ok(())
    }

    /// Every record.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        Ok(serde_json::from_str(&format!("[{}]", self.text()?))?)
    }

    /// Puts another record in the place of the last one for which `change` has one; returns the one that was there.
    pub(crate) fn replace<T: Serialize + DeserializeOwned>(
        &mut self,
        change: impl Fn(&T) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let read = |text: &str| -> Result<Vec<T>, Error> { Ok(serde_json::from_str(&format!("[{text}]"))?) };
        for record in self.open.iter_mut().rev() {
            let old: T = serde_json::from_str(record.get())?;
            if let Some(new) = change(&old) {
                *record = serde_json::value::to_raw_value(&new)?;
                return Ok(Some(old));
            }
        }
        for segment in self.segments.iter_mut().rev() {
            let mut records = read(&segment.text()?)?;
            let found = records.iter().enumerate().rev().find_map(|(place, old)| Some((place, change(old)?)));
            let Some((place, new)) = found else { continue };
            let old = std::mem::replace(&mut records[place], new);
            let texts = records.iter().map(serde_json::to_string).collect::<Result<Vec<String>, _>>()?;
            *segment = Segment::write(&Segment::text_of(&texts.join(",")))?;
            self.see_again()?;
            return Ok(Some(old));
        }
        Ok(None)
    }
}

fn joined(records: &[Box<RawValue>]) -> String {
    records.iter().map(|record| record.get()).collect::<Vec<&str>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use matterstack_sdk::work::sha256;
    use serde_json::Value;

    #[test]
    fn records_are_put_away_and_stay_what_they_are() {
        artifacts::with_files([], || {
            let mut ledger = Ledger::after("[");
            for number in 0..450_u32 {
                ledger.push(&number).expect("a record");
                ledger.settle().expect("a file");
            }
            assert_eq!((ledger.segments.len(), ledger.open.len()), (2, 50));
            for count in [450_u32, 400] {
                for more in [false, true] {
                    let mut pieces = Pieces::default();
                    pieces.text("[");
                    let few = Ledger { open: ledger.open[..(count as usize - 400)].to_vec(), ..ledger.clone() };
                    few.put(&mut pieces, more).expect("records");
                    pieces.text(if more { "450]" } else { "]" });
                    let source = pieces.source().expect("a source");
                    let digest = source["digest"].clone();
                    let parts = source["parts"].as_array().expect("parts").iter().filter_map(Value::as_str);
                    let bytes: Vec<u8> =
                        parts.flat_map(|part| artifacts::read(part, 0, 10_000).expect("a part")).collect();
                    assert_eq!(digest, sha256(&bytes), "{count} {more}");
                    let read: Vec<u32> = serde_json::from_slice(&bytes).expect("a list");
                    assert!(read.into_iter().eq((0..count).chain(more.then_some(450))), "{count} {more}");
                }
            }
            let text = serde_json::to_string(&ledger).expect("a state");
            assert!(text.len() < 1000, "{text}");
            let mut ledger: Ledger = serde_json::from_str(&text).expect("a ledger");
            assert!(ledger.read::<u32>().expect("records").into_iter().eq(0..450));
            for (old, new) in [(3, 1003), (449, 1449)] {
                let change = |record: &u32| (*record == old).then_some(new);
                assert_eq!(ledger.replace(change).expect("a change"), Some(old));
            }
            assert_eq!(ledger.replace(|record: &u32| (*record == 3).then_some(0)).expect("none"), None);
            let read = ledger.read::<u32>().expect("records");
            assert_eq!((read[3], read[449], read.len()), (1003, 1449, 450));
            let mut pieces = Pieces::default();
            pieces.text("[");
            ledger.put(&mut pieces, false).expect("records");
            pieces.text("]");
            let whole = serde_json::to_string(&read).expect("a list");
            assert_eq!(pieces.source().expect("a source")["digest"], sha256(whole.as_bytes()), "after a change");
        });
    }
}
