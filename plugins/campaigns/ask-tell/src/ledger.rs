//! Records in the order in which they came. Most of them lie in files of the run, whose digests are all that the state
//! holds, so that a decision costs what is new.
use crate::pieces::Pieces;
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
}

/// Records in a file, each with a comma behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Segment {
    sha256: String,
    size: u64,
}

impl Segment {
    fn write(records: &str) -> Result<Self, Error> {
        let text = format!("{records},");
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
    /// Adds a record.
    pub(crate) fn push(&mut self, record: &impl Serialize) -> Result<(), Error> {
        self.open.push(serde_json::value::to_raw_value(record)?);
        Ok(())
    }

    /// Puts records away in a file once they are many.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        let bytes: usize = self.open.iter().map(|record| record.get().len()).sum();
        if self.open.len() >= SEGMENT_RECORDS || bytes >= SEGMENT_BYTES {
            self.segments.push(Segment::write(&joined(&self.open))?);
            self.open.clear();
        }
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
        for (place, segment) in self.segments.iter().enumerate() {
            if place < last || more_follow || !self.open.is_empty() {
                pieces.file(&segment.sha256, &segment.file_text()?)?;
            } else {
                pieces.text(&segment.text()?);
            }
        }
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
            *segment = Segment::write(&texts.join(","))?;
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
    use serde_json::Value;

    #[test]
    fn records_are_put_away_and_stay_what_they_are() {
        artifacts::with_files([], || {
            let mut ledger = Ledger::default();
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
                    let parts = source["parts"].as_array().expect("parts").iter().filter_map(Value::as_str);
                    let bytes: Vec<u8> =
                        parts.flat_map(|part| artifacts::read(part, 0, 10_000).expect("a part")).collect();
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
        });
    }
}
