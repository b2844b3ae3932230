//! Looks through a whole archive before anything of it is believed or written: what kinds of entries it has, how many,
//! and how much they unpack to.
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use tar::{Archive, EntryType};

/// Entries that an archive may have.
const ENTRIES_MAX: u64 = 200_000;
/// Bytes of a header that gives one entry a long name.
const NAME_MAX: u64 = 64 * 1024;
/// Bytes that may follow the last entry.
const PADDING_MAX: u64 = 1024 * 1024;

/// Why an archive is not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It ends too early, or its checksums do not hold.
    Truncated(String),
    /// It has something in it that no return has.
    Foreign(String),
    /// It would unpack to too much.
    TooLarge(String),
}

/// A decoder of the archive from its beginning.
pub(super) fn decoder(file: &File) -> io::Result<GzDecoder<io::BufReader<File>>> {
    let mut file = file.try_clone()?;
    file.seek(SeekFrom::Start(0))?;
    Ok(GzDecoder::new(io::BufReader::with_capacity(256 * 1024, file)))
}

/// Surveys the archive; `bytes_max` is what all its entries may have together.
pub(super) fn survey(file: &File, bytes_max: u64) -> Result<(), Refusal> {
    let broken = |error: io::Error| Refusal::Truncated(error.to_string());
    let mut archive = Archive::new(decoder(file).map_err(broken)?);
    let (mut entries, mut bytes) = (0_u64, 0_u64);
    // Unread, a header with a name of gigabytes is an entry like any other.
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        let size = entry.size();
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        entries += 1;
        bytes = bytes.saturating_add(size);
        if entries > ENTRIES_MAX {
            return Err(Refusal::TooLarge(format!("it has more than {ENTRIES_MAX} entries")));
        }
        if bytes > bytes_max {
            return Err(Refusal::TooLarge(format!("it unpacks to more than {bytes_max} bytes (at `{name}`)")));
        }
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::Directory => {}
            EntryType::GNULongName | EntryType::XHeader | EntryType::XGlobalHeader if size <= NAME_MAX => {}
            EntryType::GNULongName | EntryType::XHeader | EntryType::XGlobalHeader => {
                return Err(Refusal::TooLarge(format!("it has a header of {size} bytes; at most {NAME_MAX} are read")));
            }
            EntryType::Symlink | EntryType::Link => {
                return Err(Refusal::Foreign(format!("`{name}` is a link; a return holds only files and folders")));
            }
            _ => {
                return Err(Refusal::Foreign(format!("`{name}` is neither a file nor a folder")));
            }
        }
        io::copy(&mut entry, &mut io::sink()).map_err(broken)?;
    }
    // The compressed stream has its own checksum at its end.
    let rest = io::copy(&mut archive.into_inner().take(PADDING_MAX + 1), &mut io::sink()).map_err(broken)?;
    if rest > PADDING_MAX {
        return Err(Refusal::TooLarge(format!("more than {PADDING_MAX} bytes follow its last entry")));
    }
    if entries == 0 {
        return Err(Refusal::Foreign("it is empty".to_owned()));
    }
    Ok(())
}
