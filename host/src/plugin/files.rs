//! Files and directories as a plugin may have them, in the place of WASI's own: only regular files and directories are
//! opened, and none blocks; a directory is read as far as the plugin asks.
//!
//! What stands in for: `open-at` of wasmtime-wasi waits at a pipe until somebody takes its other end, on a thread that
//! no deadline ends, and its `read-directory` brings a whole directory into the host's memory before the plugin sees a
//! name.
use super::state::CallState;
use crate::ground::files::open_for_guest;
use cap_std::fs::{DirEntry, FileTypeExt, OpenOptions, ReadDir};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::filesystem::{Descriptor, Dir};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DescriptorType, DirectoryEntry, ErrorCode, OpenFlags, PathFlags,
};
use wasmtime_wasi::{FsPerms, OpenMode};

/// The interface, as wasmtime-wasi names it.
const INTERFACE: &str = "wasi:filesystem/types@0.2.12";
/// Names that are read of a directory beyond the one that was asked for.
const AHEAD: usize = 64;

type Fs<T> = Result<T, ErrorCode>;

/// A directory that is being read.
struct Listing {
    /// What has not been read; nothing at the end.
    rest: Option<ReadDir>,
    ahead: VecDeque<Fs<DirectoryEntry>>,
}

/// Puts these in the place of WASI's own.
pub(super) fn link_bounded(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(INTERFACE)?;
    types.resource("directory-entry-stream", ResourceType::host::<Listing>(), |mut store, index| {
        store.data_mut().table().delete(Resource::<Listing>::new_own(index))?;
        Ok(())
    })?;
    types.func_wrap_async("[method]descriptor.open-at", |mut store, (directory, how, path, open, flags)| {
        Box::new(async move { Ok((store.data_mut().open_at(&directory, Ask { how, path, open, flags }).await?,)) })
    })?;
    types.func_wrap_async("[method]descriptor.read-directory", |mut store, (directory,)| {
        Box::new(async move { Ok((store.data_mut().read_directory(&directory).await?,)) })
    })?;
    types.func_wrap_async("[method]directory-entry-stream.read-directory-entry", |mut store, (listing,)| {
        Box::new(async move { Ok((store.data_mut().next_entry(&listing).await?,)) })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// What is asked of `open-at`.
struct Ask {
    how: PathFlags,
    path: String,
    open: OpenFlags,
    flags: DescriptorFlags,
}

impl CallState {
    /// A directory of the plugin's.
    fn directory(&mut self, descriptor: &Resource<Descriptor>) -> wasmtime::Result<Fs<Dir>> {
        Ok(match self.table().get(descriptor)? {
            Descriptor::Dir(directory) => Ok(directory.clone()),
            Descriptor::File(_) => Err(ErrorCode::NotDirectory),
        })
    }

    async fn open_at(
        &mut self,
        descriptor: &Resource<Descriptor>,
        ask: Ask,
    ) -> wasmtime::Result<Fs<Resource<Descriptor>>> {
        let opened = match self.directory(descriptor)? {
            Ok(directory) => spawn_blocking(move || ask.open_in(&directory)).await?,
            Err(error) => Err(error),
        };
        match opened {
            Ok(opened) => Ok(Ok(self.table().push(opened)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn read_directory(&mut self, descriptor: &Resource<Descriptor>) -> wasmtime::Result<Fs<Resource<Listing>>> {
        let read = match self.directory(descriptor)? {
            Ok(directory) => spawn_blocking(move || entries(&directory.dir)).await?,
            Err(error) => Err(error),
        };
        match read {
            Ok(rest) => Ok(Ok(self.table().push(Listing { rest: Some(rest), ahead: VecDeque::new() })?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn next_entry(&mut self, listing: &Resource<Listing>) -> wasmtime::Result<Fs<Option<DirectoryEntry>>> {
        let listing = self.table().get_mut(listing)?;
        if listing.ahead.is_empty()
            && let Some(mut rest) = listing.rest.take()
        {
            let read = move || {
                let ahead: VecDeque<_> = rest.by_ref().take(AHEAD).map(entry).collect();
                (ahead, rest)
            };
            let (ahead, rest) = spawn_blocking(read).await?;
            listing.rest = (ahead.len() == AHEAD).then_some(rest);
            listing.ahead = ahead;
        }
        Ok(listing.ahead.pop_front().transpose())
    }
}

/// A directory by another handle of its own.
fn again(directory: &File) -> io::Result<cap_std::fs::Dir> {
    Ok(cap_std::fs::Dir::from_std_file(directory.try_clone()?))
}

fn entries(directory: &Arc<File>) -> Fs<ReadDir> {
    Ok(again(directory).and_then(|directory| directory.entries())?)
}

fn entry(entry: io::Result<DirEntry>) -> Fs<DirectoryEntry> {
    let entry = entry?;
    let kind = entry.file_type()?;
    let of_others = [
        (kind.is_fifo(), DescriptorType::Fifo),
        (kind.is_socket(), DescriptorType::Socket),
        (kind.is_block_device(), DescriptorType::BlockDevice),
        (kind.is_char_device(), DescriptorType::CharacterDevice),
        (kind.is_symlink(), DescriptorType::SymbolicLink),
        (kind.is_dir(), DescriptorType::Directory),
        (kind.is_file(), DescriptorType::RegularFile),
    ];
    let type_ = of_others.into_iter().find(|(is, _)| *is).map_or(DescriptorType::Unknown, |(_, kind)| kind);
    let name = entry.file_name().into_string().map_err(|_| ErrorCode::IllegalByteSequence)?;
    Ok(DirectoryEntry { type_, name })
}

impl Ask {
    fn open_in(&self, directory: &Dir) -> Fs<Descriptor> {
        let (options, mode) = self.options(directory.perms)?;
        let follow = self.how.contains(PathFlags::SYMLINK_FOLLOW);
        let (file, kind) = again(&directory.dir)
            .and_then(|below| open_for_guest(options, follow, &below, Path::new(&self.path)))
            .map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => ErrorCode::NotPermitted,
                _ => error.into(),
            })?;
        if kind.is_dir() {
            return Ok(Descriptor::Dir(Dir::new(file, directory.perms, mode, false)));
        }
        if self.open.contains(OpenFlags::DIRECTORY) {
            return Err(ErrorCode::NotDirectory);
        }
        Ok(Descriptor::File(wasmtime_wasi::filesystem::File::new(file, directory.perms, mode, false)))
    }

    /// How it is opened, and what may then be done with it.
    fn options(&self, granted: FsPerms) -> Fs<(OpenOptions, OpenMode)> {
        let to_sync = DescriptorFlags::FILE_INTEGRITY_SYNC
            | DescriptorFlags::DATA_INTEGRITY_SYNC
            | DescriptorFlags::REQUESTED_WRITE_SYNC;
        if self.flags.intersects(to_sync) {
            return Err(ErrorCode::Unsupported);
        }
        let changes = OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE;
        if self.open.contains(OpenFlags::DIRECTORY) && self.open.intersects(changes) {
            return Err(ErrorCode::Invalid);
        }
        let create = self.open.contains(OpenFlags::CREATE);
        let truncate = self.open.contains(OpenFlags::TRUNCATE);
        let write = create || truncate || self.flags.contains(DescriptorFlags::WRITE);
        if write && granted.write_not_permitted() {
            return Err(ErrorCode::NotPermitted);
        }
        // what is not opened to be written is opened to be read
        let read = self.flags.contains(DescriptorFlags::READ) || !self.flags.contains(DescriptorFlags::WRITE);
        let mut options = OpenOptions::new();
        options.read(read).write(write).truncate(truncate);
        if create {
            let exclusive = self.open.contains(OpenFlags::EXCLUSIVE);
            options.create(!exclusive).create_new(exclusive);
        }
        let mut mode = OpenMode::empty();
        mode.set(OpenMode::READ, read);
        mode.set(OpenMode::WRITE, write);
        Ok((options, mode))
    }
}
