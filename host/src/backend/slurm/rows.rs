//! Rows of the queue as the cluster shows them, and what they tell of the jobs of one backend.
use super::ledger::Element;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a cluster's configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limits {
    /// MaxArraySize; 0 or 1 means that it has no arrays.
    pub(super) array_size: u32,
    /// MinJobAge, in milliseconds: for so long the queue shows a job that has ended.
    pub(super) shown_ms: i64,
}

/// A row of the queue as the cluster shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The name of our array.
    pub(super) array: String,
    /// The number of the job that the array is to the cluster.
    pub(super) number: String,
    /// The index in the array; none of what is no element: a job by itself, or what is left of an array.
    pub(super) index: Option<u32>,
    pub(super) word: String,
    pub(super) reason: String,
    pub(super) placed: bool,
}

/// What a poll showed of the jobs of one backend.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// The elements, each with its job.
    pub(super) jobs: Vec<(Element, Seen)>,
    /// The arrays of which anything stood in the queue, each by its number.
    pub(super) arrays: BTreeSet<String>,
    /// What is left of arrays whose pending elements were cancelled: name and number.
    pub(super) rests: Vec<(String, String)>,
    /// Elements of such arrays whose submit had no answer: they were taken in, and cancelled.
    pub(super) withdrawn: Vec<(Element, String)>,
    /// For how long the queue shows what has ended, in milliseconds; 0 if that is not known.
    pub(super) shown_ms: i64,
    /// How long the cluster took to answer, in milliseconds: what it shows may be of any moment meanwhile.
    pub(super) waited_ms: i64,
}

/// What a poll showed of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) word: String,
    pub(super) reason: String,
    pub(super) placed: bool,
}

impl Shown {
    /// Sorts the rows of arrays of which `is_ours` holds. Without `arrays` a row without an index is a job by itself;
    /// with them it is what is left of an array whose pending elements were cancelled.
    pub(super) fn of(rows: &[Row], limits: Option<Limits>, mut is_ours: impl FnMut(&Element) -> bool) -> Self {
        let has_arrays = limits.is_none_or(|limits| limits.array_size > 1);
        let mut shown = Self { shown_ms: limits.map_or(0, |limits| limits.shown_ms), ..Self::default() };
        for row in rows {
            let element = Element { array: row.array.clone(), index: row.index.unwrap_or(0) };
            if !is_ours(&element) {
                continue;
            }
            shown.arrays.insert(row.number.clone());
            let id = match row.index {
                Some(index) => format!("{}_{index}", row.number),
                None if has_arrays => {
                    shown.rests.push((row.array.clone(), row.number.clone()));
                    continue;
                }
                None => row.number.clone(),
            };
            let (word, reason) = (row.word.clone(), row.reason.clone());
            shown.jobs.push((element, Seen { id, word, reason, placed: row.placed }));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_arrays_a_row_without_an_index_is_a_job() {
        let row = Row {
            array: "a".to_owned(),
            number: "7".to_owned(),
            index: None,
            word: "CANCELLED".to_owned(),
            reason: String::new(),
            placed: false,
        };
        let jobs =
            |array_size| Shown::of(std::slice::from_ref(&row), Some(Limits { array_size, shown_ms: 1 }), |_| true).jobs;
        assert_eq!(jobs(1).iter().map(|(_, seen)| seen.id.as_str()).collect::<Vec<_>>(), ["7"]);
        assert!(jobs(1001).is_empty());
    }
}
