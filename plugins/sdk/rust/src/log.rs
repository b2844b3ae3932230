//! Messages for the run's log; natively they go nowhere.
use crate::bindings::campaign::matterstack::plugin::log as wit;

fn write(level: wit::Level, message: &str) {
    if cfg!(target_family = "wasm") {
        wit::write(level, message);
    }
}

/// Writes a message for the plugin's author.
pub fn debug(message: impl AsRef<str>) {
    write(wit::Level::Debug, message.as_ref());
}

/// Writes a message worth keeping.
pub fn info(message: impl AsRef<str>) {
    write(wit::Level::Info, message.as_ref());
}

/// Writes a message that a person may want to act on.
pub fn warn(message: impl AsRef<str>) {
    write(wit::Level::Warn, message.as_ref());
}

/// Writes that something went wrong.
pub fn error(message: impl AsRef<str>) {
    write(wit::Level::Error, message.as_ref());
}
