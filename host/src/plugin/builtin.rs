//! The standard plugins, embedded in the binary by the build script.

/// The plugins by the name after `builtin:`.
static BUILTINS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/builtins.rs"));

/// Returns the component that `builtin:NAME` stands for.
pub fn builtin(name: &str) -> Option<&'static [u8]> {
    BUILTINS.iter().find(|(known, _)| *known == name).map(|(_, component)| *component)
}

/// The names that may follow `builtin:`.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILTINS.iter().map(|(name, _)| *name)
}
