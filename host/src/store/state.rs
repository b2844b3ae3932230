//! The campaign's states, one for each decision: whole now and then, else what changed since an earlier one.
use super::{Store, StoreError, Writer, compress};
use rusqlite::{Connection, OptionalExtension};

/// Deltas in a row at most, so that no state is far from a whole one.
const DEPTH_MAX: i64 = 64;
/// Bytes that may have to be unpacked for one state, unless it is larger itself.
const UNPACKED_MAX: i64 = 64 * 1024 * 1024;

/// A state that a new one can be told against.
#[derive(Debug, Clone, Copy)]
pub struct FormerState<'a> {
    /// The number of the decision that left it.
    pub number: u64,
    /// Its text.
    pub text: &'a str,
}

impl Writer<'_> {
    /// Keeps the state that a decision left.
    pub(super) fn keep_state(
        &self,
        number: u64,
        text: &str,
        former: Option<FormerState<'_>>,
    ) -> Result<(), StoreError> {
        let delta = former.map(|former| self.delta(text, former)).transpose()?.flatten();
        let (bytes, base, depth) = match delta {
            Some((bytes, base, depth)) => (bytes, Some(base), depth),
            None => (compress::pack(text, None)?, None, 0),
        };
        self.connection
            .prepare_cached("INSERT INTO states (number, base, depth, size, bytes) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute((number as i64, base, depth, text.len() as i64, bytes))?;
        Ok(())
    }

    /// What changed since the former state; nothing where the whole state serves better.
    fn delta(&self, text: &str, former: FormerState<'_>) -> Result<Option<(Vec<u8>, i64, i64)>, StoreError> {
        let base = former.number as i64;
        let found: Option<(i64, i64)> = self
            .connection
            .prepare_cached("SELECT depth, size FROM states WHERE number = ?1")?
            .query_row([base], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((depth, size)) = found else { return Ok(None) };
        let depth = depth + 1;
        if depth > DEPTH_MAX || depth.saturating_mul(size) > UNPACKED_MAX {
            return Ok(None);
        }
        let bytes = compress::pack(text, Some(former.text))?;
        // What changed through and through is as small alone, and read at once.
        Ok((bytes.len() <= 256 || bytes.len() * 4 <= text.len()).then_some((bytes, base, depth)))
    }
}

impl Store {
    /// The state that a decision left.
    ///
    /// # Errors
    /// If the database cannot be read, or has no such state.
    pub fn state_of(&self, number: u64) -> Result<String, StoreError> {
        state_of(&self.connection, number, None)
    }

    /// The state that a decision left, read with the help of one that is known.
    ///
    /// # Errors
    /// If the database cannot be read, or has no such state.
    pub fn state_after(&self, number: u64, known: Option<(u64, &str)>) -> Result<String, StoreError> {
        state_of(&self.connection, number, known)
    }

    /// The campaign's present state, with the number of the decision that left it.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn campaign_state(&self) -> Result<Option<(u64, String)>, StoreError> {
        let number: Option<i64> =
            self.connection.prepare_cached("SELECT state_of FROM run")?.query_row([], |row| row.get(0))?;
        number.map(|number| Ok((number as u64, self.state_of(number as u64)?))).transpose()
    }
}

fn state_of(connection: &Connection, number: u64, known: Option<(u64, &str)>) -> Result<String, StoreError> {
    let mut statement = connection.prepare_cached("SELECT base, size, bytes FROM states WHERE number = ?1")?;
    let mut chain: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut next = Some(number as i64);
    let mut text: Option<String> = None;
    while let Some(at) = next {
        if let Some((_, known)) = known.filter(|(number, _)| *number as i64 == at) {
            text = Some(known.to_owned());
            break;
        }
        let found = statement
            .query_row([at], |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, i64>(1)?, row.get(2)?)))
            .optional()?;
        let Some((base, size, bytes)) = found else {
            return Err(StoreError::Row(format!("the state after decision {at} is missing")));
        };
        chain.push((size as usize, bytes));
        // a chain leads back in time, so it ends
        if base.is_some_and(|base| base >= at) {
            return Err(StoreError::Row(format!("the state after decision {at} refers to a later one")));
        }
        next = base;
    }
    for (size, bytes) in chain.into_iter().rev() {
        text = Some(compress::unpack(&bytes, size, text.as_deref())?);
    }
    text.ok_or_else(|| StoreError::Row(format!("the state after decision {number} is missing")))
}
