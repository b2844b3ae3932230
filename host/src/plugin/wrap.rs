//! A core module becomes a component: by the description of its world that its tool chain left in it.
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

/// The component of a core module. What the module asks of WASI 0.1 is answered by wasmtime's adapter over WASI 0.2.
///
/// # Errors
/// If the module does not describe its world (as wit-bindgen's guests do), or lacks what that world exports; in the
/// encoder's words.
pub fn wrap(module: &[u8]) -> Result<Vec<u8>, String> {
    let encoder = ComponentEncoder::default().validate(true).module(module);
    let encoder = encoder.and_then(|encoder| {
        encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
    });
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| format!("{error:#}"))
}
