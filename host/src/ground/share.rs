//! What of the machine this process may use, and which groups of processes are still there. Everything here is Linux.
use super::machine::process_start_time;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process, test_kill_process_group};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const MIB: u64 = 1024 * 1024;

/// Where a person's own settings lie: `$XDG_CONFIG_HOME` or `~/.config`, then `matterstack/config.json`.
pub fn user_settings() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CONFIG_HOME").filter(|path| Path::new(path).is_absolute());
    let base =
        base.map(PathBuf::from).or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")));
    base.map(|base| base.join("matterstack").join("config.json"))
}

/// A directory that stands for the places of the machine's pool and of the site's settings, for tests.
pub fn pool_of_test() -> Option<PathBuf> {
    std::env::var_os("MATTERSTACK_TEST_POOL").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Where the settings of the site lie.
pub fn site_settings() -> PathBuf {
    pool_of_test().unwrap_or_else(|| "/etc/matterstack".into()).join("config.json")
}

/// The memory that this process may use, by control group and machine, in MiB.
pub fn usable_memory_mb() -> Option<u64> {
    let of_machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (kind, path) = (fields.nth(1)?, fields.next()?);
        let (root, name) = match kind {
            "" => ("/sys/fs/cgroup", "memory.max"),
            kind if kind.split(',').any(|kind| kind == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => return None,
        };
        let below = Path::new(path.trim_start_matches('/'));
        let limits = below.ancestors().filter_map(|group| {
            fs::read_to_string(Path::new(root).join(group).join(name)).ok()?.trim().parse::<u64>().ok()
        });
        limits.min()
    });
    let limits = limits.map(|bytes| bytes / MIB).chain(of_machine.map(|kib| kib / 1024));
    limits.min().map(|most| most.max(1))
}

/// The time since the boot, in milliseconds: the same for all processes of the machine.
pub fn since_boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// Whether this process leads a session, so that what it starts is in one that has its number.
pub fn leads_session() -> bool {
    rustix::process::getsid(None).is_ok_and(|session| session == rustix::process::getpid())
}

/// The user of a process, if there is one that may be seen.
pub fn owner_of(pid: i32) -> Option<u32> {
    fs::metadata(format!("/proc/{pid}")).ok().map(|process| process.uid())
}

/// Whether a process that started then is there: the same, or one that cannot be looked at.
pub fn is_there(pid: i32, start_time: u64) -> bool {
    match process_start_time(pid) {
        Some(start) => start == start_time,
        // of another user, on a machine that hides those
        None => {
            owner_of(pid).is_none()
                && Pid::from_raw(pid.max(0)).is_some_and(|pid| test_kill_process(pid) == Err(Errno::PERM))
        }
    }
}

/// Whether anything is left of the group that this process led, which started then.
pub fn group_is_there(leader: i32, start_time: u64) -> bool {
    if let Some(start) = process_start_time(leader) {
        // a number that was given again is one that no group had
        return start == start_time;
    }
    let Some(group) = Pid::from_raw(leader.max(0)) else { return false };
    test_kill_process_group(group) != Err(Errno::SRCH) && any_process(|group, _| group == leader)
}

/// Whether a session has a process outside these groups.
pub fn session_is_there(session: i32, but: &[i32]) -> bool {
    // what the kernel runs for itself has the session 0
    session > 0 && any_process(|group, of| of == session && !but.contains(&group))
}

/// Whether there is a process that has not ended whose group and session are these.
fn any_process(is: impl Fn(i32, i32) -> bool) -> bool {
    fs::read_dir("/proc").into_iter().flatten().flatten().any(|process| {
        let name = process.file_name();
        if !name.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit) {
            return false;
        }
        let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let Some(fields) = stat.rfind(')').and_then(|end| stat.get(end + 1..)) else { return false };
        let mut fields = fields.split_ascii_whitespace();
        let ended = matches!(fields.next(), Some("Z" | "X") | None);
        let mut number = |skip| fields.nth(skip).and_then(|field| field.parse::<i32>().ok());
        match (number(1), number(0)) {
            (Some(group), Some(session)) => !ended && is(group, session),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{group_is_there, is_there, owner_of, session_is_there, usable_memory_mb};
    use crate::ground::machine::{process_start_time, user_id};

    #[test]
    fn a_process_is_told_from_another_with_its_number() {
        let own = std::process::id() as i32;
        let start = process_start_time(own).expect("it runs");
        assert!(is_there(own, start) && !is_there(own, start + 1));
        assert!(group_is_there(own, start) && !group_is_there(own, start + 1));
        assert_eq!(owner_of(own), Some(user_id()));
        for none in [0, -1, i32::MAX] {
            assert!(!is_there(none, start) && !group_is_there(none, start) && !session_is_there(none, &[]), "{none}");
        }
        assert!(usable_memory_mb().is_some_and(|memory| memory > 0));
    }
}
