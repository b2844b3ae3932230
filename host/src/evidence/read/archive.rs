//! Reading a zip that somebody else made, which may be made to harm: its directory is looked through before a byte is
//! unpacked, and nothing in it is believed that does not agree with the rest.
//!
//! What is read is what bundles are made of: regular files, stored or deflated, each name once. Everything else that
//! the format allows is refused: there is no other meaning that another reader could see in the same bytes.
use crate::ground::words::one_line;
use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt;

/// The most files that a bundle may have.
pub(super) const FILES_MAX: usize = 1_000_000;
/// The longest name, in bytes.
const NAME_MAX: usize = 1024;
/// The largest list of contents that files of such a number can have.
const LIST_MAX: u64 = 512 * 1024 * 1024;
/// Up to so much may be unpacked of any archive, however small that is.
const UNPACKED_FREE: u64 = 1 << 30;
/// How many times its own size an archive may unpack to beyond that.
const UNPACKED_TIMES: u64 = 200;
/// Deflate makes no more than so many bytes of one.
const DEFLATE_TIMES: u64 = 1032;

/// The record at the end of an archive, without its comment.
const END: usize = 22;
/// The sizes of what stands before the name of a file: in the list, and before the file itself.
const LISTED: usize = 46;
const LOCAL: usize = 30;
/// What a size or a place says that is in a wider field.
const WIDE: u32 = u32::MAX;

/// An archive whose list of contents was read and is in order.
#[derive(Debug)]
pub(super) struct Archive {
    file: File,
    /// Sorted by name.
    pub(super) members: Vec<Member>,
}

/// A file in an archive.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) size: u64,
    packed: u64,
    crc: u32,
    deflated: bool,
    /// Where its own header begins, and where what follows it does.
    begin: u64,
    end: u64,
}

/// Why a file of an archive cannot be had.
#[derive(Debug)]
pub(super) enum Unpacking {
    /// The bytes are not those that were packed.
    Damaged(String),
    /// The archive says one thing and holds another, or the disk fails.
    Refused(io::Error),
}

fn refused<T>(why: impl Into<String>) -> io::Result<T> {
    Err(io::Error::new(ErrorKind::InvalidData, why.into()))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Where the list of contents lies.
struct List {
    files: u64,
    begin: u64,
    size: u64,
}

impl Archive {
    /// Reads the list of contents of an archive.
    ///
    /// # Errors
    /// If it is none, or one that nobody in good faith makes of a bundle.
    pub(super) fn open(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let list = find_list(&file, length)?;
        if list.files > FILES_MAX as u64 {
            return refused(format!("it has {} files, and a bundle has at most {FILES_MAX}", list.files));
        }
        if list.size > LIST_MAX {
            return refused("its list of contents is too large");
        }
        let mut reader = BufReader::new(Part { file: &file, at: list.begin, left: list.size });
        let mut members = Vec::with_capacity(list.files as usize);
        for _ in 0..list.files {
            members.extend(member(&mut reader)?);
        }
        if reader.read(&mut [0])? > 0 {
            return refused("its list of contents has more than it counts");
        }
        in_order(&mut members, list.begin)?;
        refuse_bomb(&members, length)?;
        Ok(Self { file, members })
    }

    /// The bytes of all of it.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Whether another archive has the same files, packed alike, but for one.
    pub(super) fn is_like(&self, other: &Self, but: &str) -> bool {
        let all = |of: &'_ Self| {
            let told = |one: &Member| (one.name.clone(), one.size, one.packed, one.crc, one.deflated);
            of.members.iter().filter(|one| one.name != but).map(told).collect::<Vec<_>>()
        };
        all(self) == all(other)
    }

    /// Hands out the bytes of a file, which are compared with what the archive says of them on the way.
    pub(super) fn read(&self, member: &Member, each: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), Unpacking> {
        let damaged = |why: &str| Unpacking::Damaged(why.to_owned());
        let mut local = [0; LOCAL];
        self.file.read_exact_at(&mut local, member.begin).map_err(Unpacking::Refused)?;
        let (named, extra) = (u16_at(&local, 26) as usize, u64::from(u16_at(&local, 28)));
        let mut name = vec![0; named.min(NAME_MAX)];
        self.file.read_exact_at(&mut name, member.begin + LOCAL as u64).map_err(Unpacking::Refused)?;
        let method = if member.deflated { 8 } else { 0 };
        if u32_at(&local, 0) != 0x0403_4b50 || name != member.name.as_bytes() || u16_at(&local, 8) != method {
            return Err(damaged("what stands before it is not what the list of contents says"));
        }
        let data = member.begin + LOCAL as u64 + named as u64 + extra;
        if data.saturating_add(member.packed) > member.end {
            return Err(Unpacking::Refused(io::Error::new(ErrorKind::InvalidData, "it reaches into another file")));
        }
        let packed = Part { file: &self.file, at: data, left: member.packed };
        if !member.deflated {
            return hand_out(packed, member, each);
        }
        let mut inflating = DeflateDecoder::new(BufReader::new(packed));
        hand_out(&mut inflating, member, each)?;
        if inflating.total_in() == member.packed { Ok(()) } else { Err(damaged("it has bytes that mean nothing")) }
    }
}

/// Reads a file to its end.
fn hand_out(
    mut from: impl Read,
    member: &Member,
    each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), Unpacking> {
    let (mut buffer, mut size, mut crc) = (vec![0; 64 * 1024], 0_u64, Crc::new());
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData) => {
                return Err(Unpacking::Damaged(format!("it cannot be unpacked ({error})")));
            }
            Err(error) => return Err(Unpacking::Refused(error)),
        };
        size += count as u64;
        if size > member.size {
            let why = format!("it unpacks to more than the {} bytes that the archive says", member.size);
            return Err(Unpacking::Damaged(why));
        }
        crc.update(&buffer[..count]);
        each(&buffer[..count]).map_err(Unpacking::Refused)?;
    }
    if size == member.size && crc.sum() == member.crc {
        return Ok(());
    }
    Err(Unpacking::Damaged("it does not unpack to what was packed".to_owned()))
}

/// Finds the list of contents by what stands at the very end.
fn find_list(file: &File, length: u64) -> io::Result<List> {
    let tail = length.min((END + usize::from(u16::MAX)) as u64);
    let mut bytes = vec![0; tail as usize];
    file.read_exact_at(&mut bytes, length - tail)?;
    let is_end =
        |at: &usize| u32_at(&bytes, *at) == 0x0605_4b50 && at + END + u16_at(&bytes, at + 20) as usize == bytes.len();
    let Some(at) = (0..(bytes.len() + 1).saturating_sub(END)).rev().find(is_end) else {
        return refused("it is no zip archive, or not all of one");
    };
    let end = &bytes[at..];
    let place = length - tail + at as u64;
    if u16_at(end, 4) != 0 || u16_at(end, 6) != 0 || u16_at(end, 8) != u16_at(end, 10) {
        return refused("it is one part of several");
    }
    let mut list =
        List { files: u64::from(u16_at(end, 10)), begin: u64::from(u32_at(end, 16)), size: u64::from(u32_at(end, 12)) };
    let mut until = place;
    if u16_at(end, 10) == u16::MAX || u32_at(end, 16) == WIDE || u32_at(end, 12) == WIDE {
        (list, until) = wide_list(file, place)?;
    }
    match list.begin.checked_add(list.size) {
        Some(sum) if sum == until => Ok(list),
        _ => refused("its list of contents is not where it says"),
    }
}

/// The same of an archive that is large or has many files, with where the record of it begins.
fn wide_list(file: &File, end: u64) -> io::Result<(List, u64)> {
    let (mut locator, mut record) = ([0; 20], [0; 56]);
    let Some(at) = end.checked_sub(20) else { return refused("it has no end of a large archive") };
    file.read_exact_at(&mut locator, at)?;
    let place = u64_at(&locator, 8);
    if u32_at(&locator, 0) != 0x0706_4b50 || place.checked_add(56).is_none_or(|sum| sum > at) {
        return refused("it has no end of a large archive");
    }
    file.read_exact_at(&mut record, place)?;
    if u32_at(&record, 0) != 0x0606_4b50 || u64_at(&record, 24) != u64_at(&record, 32) {
        return refused("the end of a large archive is damaged");
    }
    Ok((List { files: u64_at(&record, 32), begin: u64_at(&record, 48), size: u64_at(&record, 40) }, place))
}

/// Reads what the list of contents says of one file; nothing of a folder.
fn member(reader: &mut impl Read) -> io::Result<Option<Member>> {
    let mut head = [0; LISTED];
    reader.read_exact(&mut head)?;
    if u32_at(&head, 0) != 0x0201_4b50 {
        return refused("its list of contents is damaged");
    }
    let (named, extra, comment) = (u16_at(&head, 28), u16_at(&head, 30), u16_at(&head, 32));
    if usize::from(named) > NAME_MAX {
        return refused(format!("a name has more than {NAME_MAX} bytes"));
    }
    let mut rest = vec![0; usize::from(named) + usize::from(extra) + usize::from(comment)];
    reader.read_exact(&mut rest)?;
    let Ok(name) = std::str::from_utf8(&rest[..usize::from(named)]) else { return refused("a name is no UTF-8") };
    let shown = one_line(name);
    let (flags, method, mode) = (u16_at(&head, 8), u16_at(&head, 10), u32_at(&head, 38) >> 16);
    if flags & (1 | 1 << 6 | 1 << 13) != 0 {
        return refused(format!("`{shown}` is encrypted"));
    }
    let folder = name.strip_suffix('/');
    let kind = if u16_at(&head, 4) >> 8 == 3 { mode & 0o170_000 } else { 0 };
    if !matches!((kind, folder), (0, _) | (0o100_000, None) | (0o040_000, Some(_))) {
        return refused(format!("`{shown}` is a link or no regular file"));
    }
    if let Some(why) = misnamed(folder.unwrap_or(name)) {
        return refused(format!("`{shown}` {why}"));
    }
    let mut member = Member {
        name: name.to_owned(),
        size: u64::from(u32_at(&head, 24)),
        packed: u64::from(u32_at(&head, 20)),
        crc: u32_at(&head, 16),
        deflated: method == 8,
        begin: u64::from(u32_at(&head, 42)),
        end: 0,
    };
    if !matches!(method, 0 | 8) {
        return refused(format!("`{shown}` is packed in a way that is not read here (method {method})"));
    }
    widen(&mut member, &head, &rest[usize::from(named)..usize::from(named) + usize::from(extra)])?;
    let most = if member.deflated { member.packed.saturating_mul(DEFLATE_TIMES) } else { member.packed };
    if member.size > most || !member.deflated && member.size != member.packed {
        return refused(format!("`{shown}` cannot have the {} bytes that the archive says", member.size));
    }
    if folder.is_some() && member.size > 0 {
        return refused(format!("`{shown}` is a folder with bytes of its own"));
    }
    Ok(folder.is_none().then_some(member))
}

/// Takes sizes and the place from the wide fields, where the narrow ones say so.
fn widen(member: &mut Member, head: &[u8], mut extra: &[u8]) -> io::Result<()> {
    let wide = |at: usize| u32_at(head, at) == WIDE;
    if !wide(24) && !wide(20) && !wide(42) {
        return Ok(());
    }
    while extra.len() >= 4 {
        let (tag, size) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let Some(field) = extra.get(4..4 + size) else { break };
        if tag == 1 {
            let mut numbers = field.chunks_exact(8).map(|number| u64_at(number, 0));
            for (narrow, to) in [(24, &mut member.size), (20, &mut member.packed), (42, &mut member.begin)] {
                if wide(narrow) {
                    match numbers.next() {
                        Some(number) => *to = number,
                        None => return refused("a wide field is missing"),
                    }
                }
            }
            return Ok(());
        }
        extra = &extra[4 + size..];
    }
    refused("a wide field is missing")
}

/// What is wrong with a name, of a file that must lie below a folder.
pub(super) fn misnamed(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Some("is no name");
    }
    if name.starts_with('/') || name.contains('\0') {
        return Some("is no path below a folder");
    }
    let climbs = name.split('/').any(|part| matches!(part, "" | "." | ".."));
    climbs.then_some("climbs out of the folder")
}

/// Sorts the files; refuses names that come twice, also as a folder, and files that share bytes.
fn in_order(members: &mut [Member], list: u64) -> io::Result<()> {
    members.sort_unstable_by_key(|member| member.begin);
    for at in 0..members.len() {
        let end = members.get(at + 1).map_or(list, |next| next.begin);
        let one = &mut members[at];
        one.end = end;
        let least = one.begin.saturating_add(LOCAL as u64).saturating_add(one.name.len() as u64 + one.packed);
        if one.packed > list || least > end {
            return refused(format!("`{}` reaches into another file", one_line(&one.name)));
        }
    }
    members.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    for at in 1..members.len() {
        let (before, name) = (&members[at - 1].name, &members[at].name);
        if before == name {
            return refused(format!("`{}` is there twice", one_line(name)));
        }
        let above = name.match_indices('/').map(|(end, _)| &name[..end]);
        for folder in above {
            if members.binary_search_by(|member| member.name.as_str().cmp(folder)).is_ok() {
                return refused(format!("`{}` is a file and a folder", one_line(folder)));
            }
        }
    }
    Ok(())
}

fn refuse_bomb(members: &[Member], length: u64) -> io::Result<()> {
    let unpacked = members.iter().fold(0_u64, |sum, member| sum.saturating_add(member.size));
    if unpacked > UNPACKED_FREE && unpacked > length.saturating_mul(UNPACKED_TIMES) {
        return refused(format!("its {length} bytes would unpack to {unpacked}, which no bundle does"));
    }
    Ok(())
}

/// A part of a file, read without moving the place in it that others read at.
struct Part<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        if count == 0 && most > 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
