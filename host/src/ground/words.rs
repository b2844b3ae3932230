//! Words as a shell takes them.

/// An argument as a shell takes it and as no command takes it for an option.
pub fn positional(text: &str) -> String {
    if text.starts_with('-') { format!("-- {}", quoted(text)) } else { quoted(text) }
}

/// A word as a shell takes it.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
