//! Words of reasons, as rows hold them.
use super::StoreError;
use crate::model::code::Word;
use crate::model::reason::Reason;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

impl FromSql for Word {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        Self::from_stored(text).ok_or_else(|| {
            FromSqlError::Other(StoreError::Row(format!("unknown word `{text}` in the database")).into())
        })
    }
}

impl ToSql for Word {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.stored()))
    }
}

/// The two columns of a reason.
pub(super) fn columns(reason: Option<&Reason>) -> (Option<&Word>, Option<&str>) {
    reason.map(|reason| (&reason.word, reason.text.as_str())).unzip()
}
