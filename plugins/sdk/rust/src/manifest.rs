//! What a plugin says of itself, embedded into its component.

/// The bytes of a text whose length is known: what a static of a section is made of.
#[doc(hidden)]
pub const fn bytes<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(text.as_bytes());
    bytes
}

/// Embeds a manifest as the section `matterstack:manifest`; for the macros that export a plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! __embed_manifest {
    ($manifest:expr) => {
        // a native program has no such section
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, reason = "a section of a component")]
        const _: () = {
            const TEXT: &str = $manifest;
            #[used]
            #[unsafe(link_section = "matterstack:manifest")]
            static MANIFEST: [u8; TEXT.len()] = $crate::manifest::bytes(TEXT);
        };
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_those_of_the_text() {
        const TEXT: &str = "{\"unit\": \"µm\"}";
        const BYTES: [u8; TEXT.len()] = super::bytes(TEXT);
        assert_eq!(BYTES, TEXT.as_bytes());
    }
}
