//! A link that is cut at the two moments at which most is at stake, before, in the middle of and after each: what is
//! not here is in `mod.rs`, where the controller or the wire makes the moment.
use super::{Far, task, until};
use crate::support::sshd::{Link, program};
use serde_json::json;
use std::path::Path;

/// A program over there that can be held up.
pub(super) struct Held {
    directory: tempfile::TempDir,
}

impl Held {
    /// Puts a program in front of the real one, which waits before or after its work while the file `hold` exists.
    pub(super) fn new(name: &str, after: bool) -> Self {
        let held = Self { directory: tempfile::tempdir().expect("a scratch directory") };
        let place = held.path().display();
        let wait = format!(
            "if [ -e {place}/hold ]; then : > {place}/held; while [ -e {place}/hold ]; do sleep 0.05; done; fi"
        );
        let text = match after {
            false => format!("{wait}\nexec /usr/bin/{name} \"$@\""),
            true => format!("/usr/bin/{name} \"$@\"\nr=$?\n{wait}\nexit $r"),
        };
        program(&held.path().join(name), &text);
        held
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn hold(&self) {
        std::fs::write(self.path().join("hold"), "").expect("a file");
    }

    /// Whether the program waits.
    pub(super) fn waits(&self) -> bool {
        self.path().join("held").exists()
    }

    pub(super) fn let_go(&self) {
        std::fs::remove_file(self.path().join("hold")).expect("held");
    }

    pub(super) fn environment(&self) -> String {
        format!("PATH={}:{}", self.path().display(), crate::support::path())
    }
}

/// Cuts the link in a tick that stands still in a program over there, lets the program go on, and mends the link.
fn cut_in(name: &str, after: bool, ready: impl Fn(&Far)) {
    let held = Held::new(name, after);
    let tasks = json!([task("a", "head -c 300000 /dev/urandom > o"), task("b", "echo 1 > o")]);
    let far = Far::with(Some(Link::new()), &held.environment(), &tasks);
    far.init();
    ready(&far);
    held.hold();
    far.cut_in("the program over there is held up", || held.waits());
    held.let_go();
    far.link().mend();
    far.end();
    far.check(2);
}

/// Both jobs have been handed in and are over, and nothing was fetched.
fn ended(far: &Far) {
    until("both run", || {
        far.step();
        far.starts().len() == 2
    });
    until("both are over", || {
        let entries = far.there().read_dir().expect("the run").flatten();
        entries.filter(|entry| entry.path().join("exit.json").exists()).count() == 2
    });
}

#[test]
fn after_the_submit_and_before_its_answer() {
    cut_in("sbatch", true, |_| ());
}

#[test]
fn in_the_middle_of_what_a_submit_carries_there() {
    cut_in("sha256sum", false, |_| ());
}

#[test]
fn in_the_middle_of_a_fetch() {
    cut_in("sha256sum", false, ended);
}

#[test]
fn after_a_fetch_and_before_its_end_is_told() {
    cut_in("tar", true, ended);
}
