//! Why something is as it is: a word for programs and a sentence for people.
use crate::model::code::{Code, Word};
use crate::model::contract::Detail;

/// A word and its sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The word, which programs compare.
    pub word: Word,
    /// One sentence without a final period.
    pub text: String,
}

impl Reason {
    /// Joins a word and its sentence.
    pub fn new(word: impl Into<Word>, text: impl Into<String>) -> Self {
        Self { word: word.into(), text: text.into() }
    }

    /// What an operator says became of an attempt.
    pub fn of_operator(detail: Detail) -> Self {
        Self { word: Word::of_operator(&detail.code), text: detail.message }
    }

    /// What a campaign says of its run.
    pub fn of_campaign(detail: &Detail) -> Self {
        Self { word: Word::of_campaign(&detail.code), text: detail.message.clone() }
    }

    /// Whether its word is this one of the host's own.
    pub fn is(&self, code: Code) -> bool {
        self.word.is(code)
    }
}
