//! Moments as documents write them.
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// The longest delay that a plugin may ask for, in milliseconds: a week.
pub const DELAY_MAX_MS: u64 = 7 * 86_400_000;

/// How far ahead a campaign may ask to be woken, in milliseconds: ten years.
pub const FUTURE_MAX_MS: u64 = 3_653 * 86_400_000;

/// A delay that a plugin asks for, within what can be waited for, in milliseconds.
pub fn delay_ms(asked_ms: u64) -> i64 {
    asked_ms.min(DELAY_MAX_MS) as i64
}

/// A moment, in milliseconds since the epoch; documents write it as RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", jiff::Timestamp::from_millisecond(self.0).unwrap_or_default())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<jiff::Timestamp>().map(|time| Self(time.as_millisecond())).map_err(de::Error::custom)
    }
}

impl schemars::JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date-time"})
    }
}
