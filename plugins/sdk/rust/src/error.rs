//! What a plugin answers when it cannot do what it was asked.
use crate::bindings::campaign::matterstack::plugin::types as wit;
use serde_json::Value;
use std::fmt;

/// What went wrong, for a program and for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// A short word from an open set, such as `no-command`: what programs compare.
    pub code: String,
    /// One sentence for a person, without a final period.
    pub message: String,
    /// More for programs, an object: where it went wrong (`path`; `file`, `line` and `source`), or for a hold the
    /// `form` that a person fills in.
    pub data: Option<Value>,
}

impl Detail {
    /// Joins a code and its sentence.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), data: None }
    }

    /// Adds an object for programs.
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }
}

/// Why a call failed; the case says whether a further try can help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The request can never be right as it stands.
    Invalid(Detail),
    /// The outside understood the request and said no.
    Rejected(Detail),
    /// The outside did not answer or is busy; the number is a delay before the next try, in milliseconds.
    Transient(Detail, Option<u64>),
    /// A capability that the run's configuration does not grant.
    Denied(Detail),
    /// The effect may or may not have happened.
    Ambiguous(Detail),
    /// Anything else.
    Other(Detail),
}

impl Error {
    /// Makes an `invalid` error.
    pub fn invalid(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(Detail::new(code, message))
    }

    /// Makes an `other` error.
    pub fn other(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Other(Detail::new(code, message))
    }

    /// What went wrong, whatever the case.
    pub fn detail(&self) -> &Detail {
        match self {
            Self::Invalid(detail)
            | Self::Rejected(detail)
            | Self::Transient(detail, _)
            | Self::Denied(detail)
            | Self::Ambiguous(detail)
            | Self::Other(detail) => detail,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Detail { code, message, .. } = self.detail();
        write!(f, "{message} ({code})")
    }
}

impl std::error::Error for Error {}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::invalid("json", error.to_string())
    }
}

impl From<wit::Detail> for Detail {
    fn from(detail: wit::Detail) -> Self {
        let data = detail.data.and_then(|text| serde_json::from_str(&text).ok());
        Self { code: detail.code, message: detail.message, data }
    }
}

impl From<Detail> for wit::Detail {
    fn from(detail: Detail) -> Self {
        Self { code: detail.code, message: detail.message, data: detail.data.map(|data| data.to_string()) }
    }
}

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::Invalid(detail) => Self::Invalid(detail.into()),
            wit::Error::Rejected(detail) => Self::Rejected(detail.into()),
            wit::Error::Transient(delay) => Self::Transient(delay.detail.into(), delay.retry_after_ms),
            wit::Error::Denied(detail) => Self::Denied(detail.into()),
            wit::Error::Ambiguous(detail) => Self::Ambiguous(detail.into()),
            wit::Error::Other(detail) => Self::Other(detail.into()),
        }
    }
}

impl From<Error> for wit::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(detail) => Self::Invalid(detail.into()),
            Error::Rejected(detail) => Self::Rejected(detail.into()),
            Error::Transient(detail, retry_after_ms) => {
                Self::Transient(wit::Delay { detail: detail.into(), retry_after_ms })
            }
            Error::Denied(detail) => Self::Denied(detail.into()),
            Error::Ambiguous(detail) => Self::Ambiguous(detail.into()),
            Error::Other(detail) => Self::Other(detail.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn every_case_crosses_the_border_and_comes_back() {
        let detail = || Detail::new("code", "what happened").with_data(json!({"path": "a[0]"}));
        let all = [
            Error::Invalid(detail()),
            Error::Rejected(detail()),
            Error::Transient(detail(), Some(250)),
            Error::Transient(detail(), None),
            Error::Denied(detail()),
            Error::Ambiguous(detail()),
            Error::Other(detail()),
        ];
        for error in all {
            assert_eq!(Error::from(wit::Error::from(error.clone())), error);
            assert_eq!(error.detail(), &detail());
            assert_eq!(error.to_string(), "what happened (code)");
        }
    }

    #[test]
    fn a_document_that_cannot_be_read_is_invalid() {
        let error = Error::from(serde_json::from_str::<u32>("x").unwrap_err());
        let Error::Invalid(detail) = error else { panic!("{error}") };
        assert_eq!(detail.code, "json");
        assert!(detail.message.contains("line 1"), "{detail:?}");
    }
}
