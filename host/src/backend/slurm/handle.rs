//! What a submit returns: which element of which array an attempt's job is.
use super::array;
use super::ledger::Element;
use super::{Memory, unavailable};
use crate::backend::JobKey;
use crate::model::code::Code;
use crate::model::contract::{Detail, GuestError};
use serde::{Deserialize, Serialize};

/// What a submit returns; with the job's id once it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handle {
    array: String,
    index: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) external_id: Option<String>,
}

impl Handle {
    /// Reads a handle, which a plugin may have spoilt: the name of its array becomes part of paths.
    pub(super) fn parse(text: &str) -> Result<Self, GuestError> {
        let wrong =
            |why: String| GuestError::Invalid(Detail::of(Code::Handle, format!("not a handle of a Slurm job: {why}")));
        let handle: Self = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if !array::is_name(&handle.array) {
            return Err(wrong(format!("`{}` names no array", handle.array.escape_default())));
        }
        Ok(handle)
    }

    /// The job that it names, unless that is another attempt's.
    pub(super) fn element_of(&self, memory: &mut Memory, key: JobKey<'_>) -> Result<Element, GuestError> {
        let element = Element { array: self.array.clone(), index: self.index };
        match memory.arrays.member(&element) {
            Some(member) if member.attempt != key.attempt_id.as_str() => {
                Err(GuestError::Invalid(Detail::of(Code::Handle, "it is the handle of another attempt's job")))
            }
            _ => Ok(element),
        }
    }

    pub(super) fn of(element: &Element, id: Option<String>) -> Self {
        Self { array: element.array.clone(), index: element.index, external_id: id.filter(|id| !id.is_empty()) }
    }

    pub(super) fn text(&self) -> Result<String, GuestError> {
        serde_json::to_string(self).map_err(|error| unavailable(&error.into()))
    }
}
