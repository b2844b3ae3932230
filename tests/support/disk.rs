//! A disk of its own for a test: a file system in a file, which can give up, be taken away and come back.
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) struct Disk {
    directory: tempfile::TempDir,
    /// Devices to be given back in the end.
    taken: Vec<String>,
}

impl Disk {
    /// A mounted file system of some MiB. Nothing reaches it but what is synced, as far as that can be had.
    pub(crate) fn new(mib: u64) -> Self {
        Self::made(mib, "mkfs.ext4", &["-q", "-F"])
    }

    /// One on which files can share their blocks (btrfs).
    pub(crate) fn with_clones(mib: u64) -> Self {
        Self::made(mib, "mkfs.btrfs", &["-q", "-m", "single"])
    }

    fn made(mib: u64, make: &str, arguments: &[&str]) -> Self {
        let disk = Self { directory: tempfile::tempdir().expect("a scratch directory"), taken: Vec::new() };
        std::fs::create_dir(disk.root()).expect("a directory");
        let image = std::fs::File::create(disk.image()).expect("an image");
        image.set_len(mib * 1024 * 1024).expect("an image");
        run(make, &[arguments, &[path(&disk.image())]].concat());
        disk.mount();
        disk
    }

    /// Where it is mounted.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    pub(crate) fn mount(&self) {
        run("mount", &["-o", "loop,commit=600", path(&self.image()), path(&self.root())]);
    }

    pub(crate) fn unmount(&self) {
        run("umount", &[path(&self.root())]);
    }

    /// Whether it could be unmounted.
    pub(crate) fn try_unmount(&self) -> bool {
        output("umount", &[path(&self.root())]).status.success()
    }

    /// Lets the file system give up, as it does when its disk fails under `errors=remount-ro`.
    pub(crate) fn abort(&self) {
        output("mount", &["-o", "remount,abort", path(&self.root())]);
    }

    /// Checks and mounts it again after it gave up.
    pub(crate) fn mend(&self) {
        output("e2fsck", &["-fy", path(&self.image())]);
        self.mount();
    }

    /// Unmounts it and mounts it again under another number of its device, one that is taken before the old one is
    /// given back.
    pub(crate) fn mount_elsewhere(&mut self) {
        let device = run("losetup", &["-f", "--show", path(&self.image())]).stdout;
        let device = String::from_utf8(device).expect("UTF-8").trim().to_owned();
        self.unmount();
        run("blockdev", &["--flushbufs", &device]);
        run("mount", &[&device, path(&self.root())]);
        self.taken.push(device);
    }

    /// What would be there if the power failed now: a disk of its own with what has reached this one.
    pub(crate) fn as_after_power_failure(&self) -> Self {
        let copy = Self { directory: tempfile::tempdir().expect("a scratch directory"), taken: Vec::new() };
        std::fs::create_dir(copy.root()).expect("a directory");
        std::fs::copy(self.image(), copy.image()).expect("a copy");
        copy.mount();
        copy
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        output("umount", &["-l", path(&self.root())]);
        for device in &self.taken {
            output("losetup", &["-d", device]);
        }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn output(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
    command.output().unwrap_or_else(|error| panic!("`{program}`: {error}"))
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let output = output(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}, for which root and loop devices are needed: {output:?}");
    output
}
