//! What a variable of a command is set to: a text, or a secret, of which only the name is known until the job starts.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest name of a secret, in bytes.
const NAME_MAX_BYTES: usize = 100;

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a text, or {\"secret\": NAME}")]
pub enum Variable {
    /// As it stands.
    Text(String),
    /// Read where the job starts, and kept nowhere else.
    Secret(Secret),
}

/// `{"secret": NAME}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// The name of a file in `~/.config/matterstack/secrets` on the machine where the job starts, which only its owner
    /// may read.
    pub secret: String,
}

impl From<&str> for Variable {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Variable {
    /// What it is set to, where that is known.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Secret(_) => None,
        }
    }

    /// The name of the secret that it is set to.
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::Text(_) => None,
            Self::Secret(secret) => Some(&secret.secret),
        }
    }

    /// The line of shell that sets this variable to it, for a person; texts are put into quotation marks by `quoted`.
    pub fn shown(&self, name: &str, quoted: impl Fn(&str) -> String) -> String {
        match self {
            Self::Text(text) => format!("export {name}={}", quoted(text)),
            Self::Secret(Secret { secret }) => {
                format!("# {name} is read from the secret `{secret}` when the job starts")
            }
        }
    }

    /// Why no variable can be set to it; without the variable's name.
    pub fn fault(&self) -> Option<String> {
        match self {
            Self::Text(text) => text.contains('\0').then(|| "holds a NUL character, which no variable can".to_owned()),
            Self::Secret(Secret { secret }) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
                let named = !secret.is_empty()
                    && secret.len() <= NAME_MAX_BYTES
                    && secret.chars().all(plain)
                    && !secret.starts_with(['.', '-']);
                (!named).then(|| {
                    format!(
                        "names the secret `{}`; a name has 1 to {NAME_MAX_BYTES} letters, digits, `_`, `.` and `-`, does \
                         not begin with `.` or `-`, and is no path",
                        secret.escape_debug()
                    )
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Variable;

    #[test]
    fn a_secret_is_a_name_and_no_path() {
        let fault =
            |name: &str| serde_json::from_value::<Variable>(serde_json::json!({"secret": name})).map(|v| v.fault());
        for name in ["token", "LAB.api-key_2", "a"] {
            assert_eq!(fault(name).expect("a variable"), None, "{name}");
        }
        let long = "x".repeat(101);
        for name in ["", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "-r", "a b", "ü", "a\0", "a\n", &long] {
            assert!(fault(name).expect("a variable").is_some(), "{name:?}");
        }
        for other in [r#"{"secret": 1}"#, r#"{"secret": "a", "b": 1}"#, "{}", "1", "null", "[]"] {
            let error = serde_json::from_str::<Variable>(other).expect_err("no variable").to_string();
            assert!(error.starts_with("expected a text, or {\"secret\": NAME}"), "{other}: {error}");
        }
    }
}
