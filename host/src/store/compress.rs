//! Documents as they lie in the database: compressed, alone or against an earlier one.
use super::StoreError;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, DParameter};

/// Quick, and small enough for text.
const LEVEL: i32 = 3;
/// The largest window a reader must be ready for, as a power of two: what a plugin may answer at most stays below it.
const WINDOW_MAX: u32 = 30;
/// The largest document, in bytes; what a damaged row says beyond it is not believed.
const SIZE_MAX: usize = 1 << 31;
/// Documents from this size on, in bytes, are also searched for repetitions that are far apart.
const LONG: usize = 128 * 1024;

/// Compresses a text, against an earlier one if there is one.
pub(super) fn pack(text: &str, former: Option<&str>) -> Result<Vec<u8>, StoreError> {
    let failed = |code| StoreError::Row(format!("bug: zstd: {}", zstd::zstd_safe::get_error_name(code)));
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(LEVEL)).map_err(failed)?;
    // so that what was damaged, or is told against another text, is never taken for whole
    context.set_parameter(CParameter::ChecksumFlag(true)).map_err(failed)?;
    let reach = text.len() + former.map_or(0, str::len);
    if reach > LONG {
        let window = (usize::BITS - reach.leading_zeros()).clamp(10, WINDOW_MAX);
        context.set_parameter(CParameter::WindowLog(window)).map_err(failed)?;
        context.set_parameter(CParameter::EnableLongDistanceMatching(true)).map_err(failed)?;
    }
    if let Some(former) = former {
        context.ref_prefix(former.as_bytes()).map_err(failed)?;
    }
    let mut bytes = Vec::with_capacity(zstd::zstd_safe::compress_bound(text.len()));
    context.compress2(&mut bytes, text.as_bytes()).map_err(failed)?;
    bytes.shrink_to_fit();
    Ok(bytes)
}

/// The text of `size` bytes that was compressed.
pub(super) fn unpack(bytes: &[u8], size: usize, former: Option<&str>) -> Result<String, StoreError> {
    let damaged =
        |code| StoreError::Row(format!("a compressed document is damaged: {}", zstd::zstd_safe::get_error_name(code)));
    let mut context = DCtx::create();
    context.set_parameter(DParameter::WindowLogMax(WINDOW_MAX)).map_err(damaged)?;
    if let Some(former) = former {
        context.ref_prefix(former.as_bytes()).map_err(damaged)?;
    }
    if size > SIZE_MAX {
        return Err(StoreError::Row(format!("a compressed document is damaged: it says that it has {size} bytes")));
    }
    let mut text = Vec::with_capacity(size);
    context.decompress(&mut text, bytes).map_err(damaged)?;
    String::from_utf8(text).map_err(|error| StoreError::Row(format!("a compressed document is no text: {error}")))
}

/// The text that was compressed alone.
pub(super) fn unpack_alone(bytes: &[u8]) -> Result<String, StoreError> {
    let size = zstd::zstd_safe::get_frame_content_size(bytes).ok().flatten();
    let size = size.and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or_else(|| StoreError::Row("a compressed document is damaged: it has no size".to_owned()))?;
    unpack(bytes, size, None)
}

#[cfg(test)]
mod tests {
    use super::{pack, unpack, unpack_alone};

    /// A document of numbers that no compressor can guess.
    fn numbers(count: u64, seed: u64) -> String {
        let mut state = seed | 1;
        let mut text = String::from("[");
        for _ in 0..count {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text += &format!("{state},");
        }
        text + "0]"
    }

    #[test]
    fn a_text_comes_back_and_a_delta_holds_only_what_changed() {
        for count in [0, 1, 100, 20_000, 600_000] {
            let former = numbers(count, 7);
            let text = former.replacen("[", "[1,2,3,", 1) + " ";
            let alone = pack(&text, None).expect("it packs");
            assert_eq!(unpack_alone(&alone).expect("it unpacks"), text);
            let delta = pack(&text, Some(&former)).expect("it packs");
            assert_eq!(unpack(&delta, text.len(), Some(&former)).expect("it unpacks"), text);
            assert!(delta.len() < 200 + text.len() / 500, "{count}: {} of {}", delta.len(), text.len());
            assert!(count == 0 || unpack(&delta, text.len(), None).is_err(), "{count}: the former text is needed");
        }
        assert!(unpack_alone(b"garbage").is_err());
    }
}
