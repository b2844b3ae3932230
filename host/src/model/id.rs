//! One newtype for each kind of identifier.
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

identifier! {
    /// A run: sortable by time, unique, also the name of its directory.
    RunId
}
identifier! {
    /// A task: chosen by the campaign, any text of 1 to 200 bytes, unique in its run.
    TaskId
}
identifier! {
    /// An attempt: 128 random bits in hexadecimal; also the submit key and the name of what is made outside for it.
    AttemptId
}
identifier! {
    /// The key under which config.json configures an operator.
    OperatorKey
}
