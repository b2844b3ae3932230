//! A file system that gives up under its jobs, is checked and mounted again: what was claimed stays claimed.
use super::{Site, task};
use crate::support::slurm::Plan;
use crate::support::until;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of the test's own, in a file.
struct Disk {
    image: PathBuf,
    place: PathBuf,
}

impl Disk {
    fn new(directory: &Path) -> Self {
        let disk = Self { image: directory.join("image"), place: directory.join("disk") };
        std::fs::create_dir(&disk.place).expect("a directory");
        let file = std::fs::File::create(&disk.image).expect("an image");
        file.set_len(100 << 20).expect("room");
        run("mkfs.ext4", &["-q", &text(&disk.image)]);
        disk.mount();
        disk
    }

    fn mount(&self) {
        run("mount", &["-o", "loop", &text(&self.image), &text(&self.place)]);
    }

    /// What a kernel does with errors on the disk: nothing more is written.
    fn give_up(&self) {
        // the remount itself reports what it did as an error
        let _ = Command::new("mount").args(["-o", "remount,abort"]).arg(&self.place).output();
    }

    /// Checks it and mounts it again, as an administrator would.
    fn mend(&mut self) {
        until("nobody uses it", || {
            Command::new("umount").arg(&self.place).output().is_ok_and(|done| done.status.success())
        });
        // whoever else still holds the mount, in a name space of their own, keeps what has given up: the disk goes
        // elsewhere
        run("sync", &[]);
        let copy = self.image.with_extension("mended");
        run("cp", &["--sparse=always", &text(&self.image), &text(&copy)]);
        self.image = copy;
        let _ = Command::new("e2fsck").arg("-fy").arg(&self.image).output();
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.place).output();
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(done.status.success(), "{program} {arguments:?}: {done:?}");
}

#[test]
fn commands_that_have_started_are_not_started_again_after_their_disk_was_set_back() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let log = scratch.path().join("started");
    let line = format!("echo $MATTERSTACK_ATTEMPT >> {}; sleep 2", text(&log));
    let tasks: Vec<_> = (0..8).map(|n| task(&format!("t{n}"), &line)).collect();
    let mut disk = Disk::new(scratch.path());
    let site = Site::below(&disk.place, Plan::default(), &json!(tasks), &json!({}));
    site.init();
    site.step();
    let started = || std::fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    until("all have started", || started().len() == 8);
    disk.give_up();
    until("no job is left", || {
        site.cluster.jobs("%T").iter().all(|word| !["PENDING", "RUNNING", "COMPLETING"].contains(&word.as_str()))
    });
    disk.mend();
    site.step_to_end();
    let mut all = started();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!((count, all.len()), (8, 8), "{}", site.tasks());
    site.check();
}
