//! What differs between operating systems: identities of the machine, of its boot and of processes, kinds of file
//! systems, and waiting for changes of files. Everything here is Linux.
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit, setrlimit};
use std::fs;
use std::io::{self, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// Identifies this machine across boots: 32 hexadecimal digits.
///
/// systemd asks that its machine id is not shown as it is, so this is a digest of it; without one, of the host name.
/// `MATTERSTACK_TEST_MACHINE_ID` overrides the source, for tests.
pub fn machine_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let source = std::env::var("MATTERSTACK_TEST_MACHINE_ID")
            .ok()
            .or_else(|| read_line("/etc/machine-id"))
            .or_else(|| read_line("/var/lib/dbus/machine-id"))
            .unwrap_or_else(host_name);
        let mut digest = crate::model::document::sha256(format!("matterstack {source}").as_bytes());
        digest.truncate(32);
        digest
    })
}

/// Identifies the current boot. `MATTERSTACK_TEST_BOOT_ID` overrides it, for tests.
///
/// # Errors
/// If the kernel does not tell.
pub fn boot_id() -> io::Result<String> {
    if let Ok(id) = std::env::var("MATTERSTACK_TEST_BOOT_ID") {
        return Ok(id);
    }
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(id) = BOOT.get() {
        return Ok(id.clone());
    }
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT.get_or_init(|| id.trim().to_owned()).clone())
}

/// The machine's name on the network.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether the machine gives this process another thread. Libraries that start their own take that for granted.
pub fn has_room_for_a_thread() -> bool {
    std::thread::Builder::new().stack_size(32 * 1024).spawn(|| ()).is_ok_and(|thread| thread.join().is_ok())
}

/// Lets a write beyond the limit of a file's size (`ulimit -f`) fail like one to a full disk instead of ending the
/// process. A handler, unlike a signal that is ignored, is not handed on to jobs.
///
/// # Errors
/// If the handler cannot be set.
pub fn survive_file_size_limit() -> io::Result<()> {
    signal_hook::flag::register(rustix::process::Signal::XFSZ.as_raw(), std::sync::Arc::default()).map(drop)
}

/// The architecture that this program was built for, as `x86_64`.
pub fn architecture() -> &'static str {
    std::env::consts::ARCH
}

/// The cores that this process may use, by affinity and control group; at least one.
pub fn usable_cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}

/// The effective user id of this process.
pub fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The name of the effective user: from the system's list of users, else what the environment says, else the number.
pub fn user_name() -> String {
    let listed = listed_name(user_id()).or_else(|| std::env::var("USER").ok());
    listed.filter(|name| !name.is_empty()).unwrap_or_else(|| user_id().to_string())
}

/// The name of a user: this process's own as [`user_name`] says, another's from the system's list of users, else the
/// number.
pub fn user_name_of(user: u32) -> String {
    if user == user_id() { user_name() } else { listed_name(user).unwrap_or_else(|| user.to_string()) }
}

/// The number of a user by the system's list of users. What the environment says is no proof of who somebody is.
pub fn user_number(name: &str) -> Option<u32> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// A user for a person: the number, as records have it, and the name that the system's list gives it.
pub fn named_user(user: i64) -> String {
    match u32::try_from(user).ok().and_then(listed_name) {
        Some(name) => format!("{user} ({name})"),
        None => user.to_string(),
    }
}

fn listed_name(user: u32) -> Option<String> {
    let id = user.to_string();
    let users = fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

/// When a process started, in clock ticks since the boot: with the pid and the boot id it names a process for ever.
/// Nothing for a process that is gone or has ended without being waited for.
pub fn process_start_time(pid: i32) -> Option<u64> {
    let (state, start_time) = process_stat(pid)?;
    (!matches!(state.as_str(), "Z" | "X")).then_some(start_time)
}

/// Whether a process, by its pid and its start time, was stopped by a signal or by a debugger: it lives and does
/// nothing.
pub fn process_is_stopped(pid: i32, start_time: u64) -> bool {
    process_stat(pid).is_some_and(|(state, since)| since == start_time && matches!(state.as_str(), "T" | "t"))
}

/// The state of a process and when it started, as the kernel shows them.
fn process_stat(pid: i32) -> Option<(String, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the command's name stands in parentheses and may hold anything, parentheses included
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.to_owned();
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// How long ago a process started, by its start time in clock ticks since the boot; the wall clock has no part in it.
pub fn since_start(start_time: u64) -> Duration {
    /// What the kernel counts in for programs, on every processor that Rust runs on.
    const TICKS_PER_SECOND: f64 = 100.0;
    let uptime = fs::read_to_string("/proc/uptime").ok();
    let uptime = uptime.and_then(|text| text.split(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0);
    Duration::try_from_secs_f64(uptime - start_time as f64 / TICKS_PER_SECOND).unwrap_or_default()
}

/// The number of the mount through which a path is reached: in one boot the kernel gives none twice. Nothing where the
/// kernel does not tell (before Linux 6.8).
pub fn mount_of(path: &Path) -> Option<u64> {
    /// `STATX_MNT_ID_UNIQUE`
    const UNIQUE: u32 = 0x4000;
    let wanted = rustix::fs::StatxFlags::from_bits_retain(UNIQUE);
    let found = rustix::fs::statx(rustix::fs::CWD, path, rustix::fs::AtFlags::empty(), wanted).ok()?;
    (found.stx_mask & UNIQUE != 0).then_some(found.stx_mnt_id)
}

/// What a file system knows of a directory that a copy of it does not share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Its number on the file system.
    pub inode: u64,
    /// When it was made, in nanoseconds since the epoch, where that is kept.
    pub born_ns: Option<i64>,
    /// The subvolume or data set that holds it, where snapshots can be had.
    pub volume: Option<i64>,
}

/// The marks of a directory.
///
/// # Errors
/// If it cannot be reached.
pub fn marks(directory: &Path) -> io::Result<Marks> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    /// File systems on which a snapshot keeps all numbers but this one: btrfs and zfs.
    const SNAPSHOTS: [u64; 2] = [0x9123_683e, 0x2fc1_2fc1];
    let found = statx(CWD, directory, AtFlags::empty(), StatxFlags::INO | StatxFlags::BTIME)?;
    let born = found.stx_btime;
    let born_ns = born.tv_sec.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(i64::from(born.tv_nsec)));
    let told = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    let holds = rustix::fs::statvfs(directory)?;
    let kind = rustix::fs::statfs(directory)?.f_type as u64 & 0xffff_ffff;
    let volume = SNAPSHOTS.contains(&kind).then_some(holds.f_fsid as i64);
    Ok(Marks { inode: found.stx_ino, born_ns: born_ns.filter(|_| told), volume })
}

/// The limit of descriptors with which this process was started, where it was raised.
static DESCRIPTORS: OnceLock<Rlimit> = OnceLock::new();

/// Lets this process open as many descriptors as it may. What it starts through [`under_own_descriptor_limit`] gets the
/// limit that it had, as many programs count on.
pub fn raise_descriptor_limit() {
    let given = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: given.maximum, maximum: given.maximum };
    if given.current != given.maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        let _ = DESCRIPTORS.set(given);
    }
}

/// Does something, such as starting a program, under the limit of descriptors with which this process was started.
/// Nothing is to be opened meanwhile.
pub fn under_own_descriptor_limit<T>(work: impl FnOnce() -> T) -> T {
    let Some(given) = DESCRIPTORS.get() else { return work() };
    // a limit that cannot be lowered is only a larger one than the program would have had
    let _ = setrlimit(Resource::Nofile, *given);
    let done = work();
    let _ = setrlimit(Resource::Nofile, Rlimit { current: given.maximum, maximum: given.maximum });
    done
}

/// Gives another process the limit of descriptors with which this one was started.
pub fn give_own_descriptor_limit(pid: Pid) {
    if let Some(given) = DESCRIPTORS.get() {
        // a process that is gone needs none
        let _ = prlimit(Some(pid), Resource::Nofile, *given);
    }
}

/// The running program, also after its file was replaced.
pub fn own_program() -> &'static Path {
    Path::new("/proc/self/exe")
}

/// Where native code is cached, what was seen of runs, and what runs share: `$XDG_CACHE_HOME` or `~/.cache`, then
/// `matterstack`.
pub fn cache_directory() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .map(|base| base.join("matterstack"))
}

/// How much address space this process may have, in bytes; nothing if that is not limited (`ulimit -v`).
pub fn address_space_limit() -> Option<u64> {
    rustix::process::getrlimit(Resource::As).current
}

/// Limits this process, which lives for one piece of work: memory that it may write to and files that it may make, in
/// bytes, and processor time, in seconds. It ends with its parent, and leaves no core.
///
/// # Errors
/// If the kernel refuses.
pub fn confine_this_process(bytes: u64, cpu_s: u64) -> io::Result<()> {
    // Memory that is written, not address space, of which threads and allocators reserve much and use little.
    for (resource, most) in
        [(Resource::Data, bytes), (Resource::Fsize, bytes), (Resource::Cpu, cpu_s), (Resource::Core, 0)]
    {
        let limit = rustix::process::getrlimit(resource);
        let most = [limit.current, limit.maximum].into_iter().flatten().fold(most, u64::min);
        rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: limit.maximum })?;
    }
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Finds processes of this user whose initial environment holds `entry` (`NAME=VALUE`).
///
/// # Errors
/// If `/proc` cannot be listed; processes that cannot be looked at are passed over.
pub fn processes_with_environment(entry: &str) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")? {
        let process = process?;
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(environment) = fs::read(process.path().join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|line| line == entry.as_bytes()) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Whether a file system is seen by one machine only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// A kind known to be local.
    Local,
    /// NFS, Lustre, GPFS and the like, or a kind that is not known.
    Shared,
}

/// Tells the kind of the file system that holds `path`.
///
/// # Errors
/// If the path cannot be reached.
pub fn file_system(path: &Path) -> io::Result<FileSystem> {
    const LOCAL: [u64; 10] = [
        0xef53,      // ext2 to ext4
        0x5846_5342, // xfs
        0x9123_683e, // btrfs
        0x0102_1994, // tmpfs
        0x794c_7630, // overlayfs
        0x2fc1_2fc1, // zfs
        0xf2f5_2010, // f2fs
        0xca45_1a4e, // bcachefs
        0x8584_58f6, // ramfs
        0x3153_464a, // jfs
    ];
    let kind = rustix::fs::statfs(path)?.f_type as u64 & 0xffff_ffff;
    Ok(if LOCAL.contains(&kind) { FileSystem::Local } else { FileSystem::Shared })
}

/// What a file system still takes: bytes, and files where it counts those.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Bytes that this user may still write.
    pub bytes: u64,
    /// Files that this user may still make.
    pub files: Option<u64>,
}

/// What the file system of a path still takes.
///
/// # Errors
/// If it cannot be asked.
pub fn room(path: &Path) -> io::Result<Room> {
    let found = rustix::fs::statvfs(path)?;
    let files = (found.f_files > 0).then_some(found.f_favail);
    Ok(Room { bytes: found.f_bavail.saturating_mul(found.f_frsize), files })
}

/// Whether nothing can be written in a directory now, by what its file system tells: it has given up, is read-only or
/// full.
pub fn disk_refuses_writes(directory: &Path) -> bool {
    use rustix::fs::StatVfsMountFlags;
    match rustix::fs::statvfs(directory) {
        Ok(disk) => {
            disk.f_flag.contains(StatVfsMountFlags::RDONLY)
                || disk.f_bavail == 0
                || (disk.f_files > 0 && disk.f_favail == 0)
        }
        Err(error) => is_trouble(&error.into()),
    }
}

/// Whether an error is the machine's, and no fault of whoever asked for the file: no space or quota left, a disk or a
/// server that fails, or this process being out of memory or of descriptors.
pub fn is_trouble(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let troubles = [
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::ROFS,
        Errno::IO,
        Errno::STALE,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::TIMEDOUT,
        Errno::NOTCONN,
    ];
    Errno::from_io_error(error).is_some_and(|errno| troubles.contains(&errno))
}

/// Whether a process of this machine holds an OS lock on a file, as the kernel lists them; the file is not touched.
///
/// # Errors
/// If the file cannot be examined or the kernel does not tell.
pub fn is_locked(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let inode = fs::metadata(path)?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks")?;
    // `1: FLOCK ADVISORY WRITE 4242 08:01:131 0 EOF`; the device is left out, because some file systems name another
    // there
    let of = |line: &str| line.split_ascii_whitespace().nth(5)?.rsplit(':').next().map(|number| number == inode);
    Ok(locks.lines().any(|line| of(line) == Some(true)))
}

/// Makes everything that was written to the file system of a directory survive a power failure.
///
/// # Errors
/// If something could not be written.
pub fn sync_file_system(directory: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(fs::File::open(directory)?)?)
}

/// A file that exists in memory only, holding these bytes and to be read from its beginning.
///
/// # Errors
/// If the kernel gives no memory for it.
pub fn file_in_memory(bytes: &[u8]) -> io::Result<fs::File> {
    let mut file = fs::File::from(rustix::fs::memfd_create("matterstack", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// Waits for changes of files and directories.
#[derive(Debug)]
pub struct Watch {
    inotify: OwnedFd,
}

impl Watch {
    /// Starts watching nothing.
    ///
    /// # Errors
    /// If the user's limit on watches is reached.
    pub fn new() -> io::Result<Self> {
        Ok(Self { inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)? })
    }

    /// Watches a file for writes, or a directory also for new names.
    ///
    /// # Errors
    /// If the path is missing or the user's limit on watches is reached.
    pub fn add(&self, path: &Path) -> io::Result<()> {
        let events = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&self.inotify, path, events)?;
        Ok(())
    }

    /// Waits until something changes; returns whether it did. A signal ends the wait early.
    ///
    /// # Errors
    /// If the kernel refuses to wait.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let ready = poll_readable(&[self.as_fd()], timeout)?;
        Ok(ready.first() == Some(&true) && self.drain()?)
    }

    /// Forgets the changes seen so far; returns whether there were any. A name that begins with a dot does not count:
    /// it is of something in the making, which is renamed when it is done.
    ///
    /// # Errors
    /// If the kernel refuses to tell.
    pub fn drain(&self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut any = false;
        loop {
            match events.next() {
                Ok(event) => any |= event.file_name().is_none_or(|name| !name.to_bytes().starts_with(b".")),
                Err(rustix::io::Errno::AGAIN) => return Ok(any),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// Waits until one of the descriptors can be read; tells which. A signal ends the wait with none.
///
/// # Errors
/// If the kernel refuses to wait.
pub fn poll_readable(descriptors: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> =
        descriptors.iter().map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN)).collect();
    let timeout = timeout.map(|timeout| Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    });
    match rustix::event::poll(&mut polled, timeout.as_ref()) {
        Ok(_) => Ok(polled.iter().map(|descriptor| !descriptor.revents().is_empty()).collect()),
        Err(rustix::io::Errno::INTR) => Ok(vec![false; descriptors.len()]),
        Err(error) => Err(error.into()),
    }
}

fn read_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::is_trouble;
    use rustix::io::Errno;
    use std::io;

    #[test]
    fn trouble_of_the_machine_is_told_from_a_file_that_is_not_there() {
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::STALE, Errno::MFILE, Errno::NFILE, Errno::ROFS] {
            assert!(is_trouble(&io::Error::from(errno)), "{errno}");
        }
        for errno in [Errno::NOENT, Errno::LOOP, Errno::ISDIR, Errno::ACCESS, Errno::NAMETOOLONG] {
            assert!(!is_trouble(&io::Error::from(errno)), "{errno}");
        }
    }
}
