//! What `cargo xtask dist` makes, as a person has it who installs it: the wheel in a fresh environment of Python, the
//! archive where there is nothing else.
use super::readme::{blocks, page};
use crate::support::{built, optimisers, path, root};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use tempfile::TempDir;

const PAGE: &str = "docs/install.md";

/// A package that `cargo xtask test` has made, by how its name ends.
fn package(ending: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("dist");
    let entries = fs::read_dir(&directory);
    let entries =
        entries.unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask test` makes it", directory.display()));
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let names: Vec<String> = names.filter(|name| name.ends_with(ending)).collect();
    let [name] = &names[..] else { panic!("{names:?} in {}", directory.display()) };
    built(&format!("dist/{name}"), &["host/src", "plugins/sdk/python", "tests/xtask/src/dist"])
}

fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// A command in a directory, which has the suite's programs, its native code, and nothing else of this machine.
fn at(directory: &Path, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).env_clear().env("HOME", directory).env("LANG", "C.UTF-8").env("PATH", path());
    command.env("XDG_CACHE_HOME", cache()).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("MATTERSTACK_TEST_POOL", directory.join("machine"));
    command
}

fn said(done: &Output) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}\n{text}", done.status);
    text
}

/// A directory in which the page's first commands were given, and what they printed: an environment `env` with the
/// wheel in it. It is made once.
fn environment() -> &'static (TempDir, String) {
    static MADE: OnceLock<(TempDir, String)> = OnceLock::new();
    MADE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let wheel = package(".whl");
        fs::copy(&wheel, directory.path().join(wheel.file_name().expect("a name"))).expect("a copy");
        let commands = blocks(PAGE).into_iter().find(|block| block.language == "sh").expect("commands");
        // pip writes where it installs, and asks no index: it has none to ask
        let mut shell = at(directory.path(), "bash");
        let given = shell.args(["-euo", "pipefail", "-c", &commands.text]).output().expect("bash");
        let printed = said(&given);
        (directory, printed)
    })
}

fn python() -> PathBuf {
    environment().0.path().join("env/bin/python")
}

#[test]
fn the_wheel_is_installed_as_its_page_says() {
    let (directory, printed) = environment();
    let version = env!("CARGO_PKG_VERSION");
    assert!(printed.contains(&format!("matterstack {version}")), "{printed}");
    assert!(printed.contains("javascript") && printed.contains("python"), "both runners: {printed}");
    // the module is the one that scripts and their tests know, and what is installed beside it is found
    let site = said(&at(directory.path(), python()).args(["-c", SITE]).output().expect("python"));
    let site = Path::new(site.trim());
    for module in ["matterstack.py", "matterstack_runs.py", "matterstack_component/campaign.py"] {
        let own = fs::read(root().join("plugins/sdk/python").join(module)).expect("a module");
        assert!(fs::read(site.join(module)).expect("a module") == own, "{module}");
    }
    for place in ["man/man1/matterstack-init.1", "bash-completion/completions/matterstack"] {
        assert!(directory.path().join("env/share").join(place).is_file(), "{place}");
    }
}

const SITE: &str = "import sysconfig; print(sysconfig.get_path('purelib'))";

#[test]
fn runs_are_made_and_read_from_python() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut tests = at(scratch.path(), python());
    tests.args(["-m", "unittest", "discover", "-v", "-s"]).arg(root().join("tests/python/installed"));
    let printed = said(&tests.output().expect("python"));
    assert!(printed.contains("Ran ") && !printed.contains("Ran 0") && !printed.contains("skipped"), "{printed}");
}

#[test]
fn the_page_is_followed_in_python() {
    let all = blocks(PAGE);
    let shell: Vec<&str> = all.iter().filter(|block| block.language == "sh").map(|block| &*block.text).collect();
    let [_, making, ..] = shell[..] else { panic!("{} blocks", shell.len()) };
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let bin = environment().0.path().join("env/bin");
    let mut shell = at(scratch.path(), "bash");
    shell.env("PATH", format!("{}:{}", bin.display(), path()));
    said(&shell.args(["-euo", "pipefail", "-c", making]).output().expect("bash"));
    let program = all.iter().find(|block| block.language == "python").expect("a program");
    let printed = said(&at(scratch.path(), python()).args(["-c", &program.text]).output().expect("python"));
    assert!(printed.contains("completed") && printed.contains("0.04"), "{printed}");
    assert!(printed.contains("no workspace `nowhere`"), "{printed}");
}

#[test]
#[ignore = "needs libraries of 2 GB: `cargo xtask test --slow`"]
fn tables_are_data_frames_where_pandas_is() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let site = said(&at(scratch.path(), python()).args(["-c", SITE]).output().expect("python"));
    let mut pandas = at(scratch.path(), optimisers());
    pandas.env("PYTHONPATH", format!("{}:{}", site.trim(), root().join("tests/python/installed").display()));
    let printed = said(&pandas.args(["-m", "frames"]).output().expect("python"));
    assert!(printed.contains("a frame"), "{printed}");
}

#[test]
fn the_archive_runs_where_there_is_nothing_else() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let tree = unpacked(directory.path());
    for place in ["proc", "dev", "cache", "srv/workspaces/w"] {
        fs::create_dir_all(tree.join(place)).expect("a directory");
    }
    fs::create_dir_all(cache()).expect("a directory");
    let config = json!({
        "campaign": {"plugin": "campaign.js"},
        "operators": {"local": {"plugin": "builtin:compute", "grants": {"compute": ["local"]}}},
        "backends": {"local": {"kind": "local"}},
    });
    fs::write(tree.join("srv/workspaces/w/config.json"), config.to_string()).expect("a configuration");
    fs::write(tree.join("srv/workspaces/w/campaign.js"), SCRIPT).expect("a script");
    // no shell, no C library, no loader: the kernel's own file systems, and native code that other tests have made
    let enter = r#"mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; mount --rbind "$2" "$1/cache"
        there() { env -i HOME=/ XDG_CACHE_HOME=/cache MATTERSTACK_TEST_POOL=/machine "$(command -v chroot)" "$@"; }
        for verb in "init w --run-id r" "loop r" "status r" "replay r"; do
            there "$1" /bin/matterstack --workspaces /srv/workspaces $verb
        done"#;
    let mut unshare = at(directory.path(), "unshare");
    unshare.args(["--mount", "--pid", "--fork", "--kill-child", "bash", "-euc", enter, "sh"]).arg(&tree).arg(cache());
    let printed = said(&unshare.output().expect("unshare"));
    let version = env!("CARGO_PKG_VERSION");
    assert!(printed.contains(&format!(r#"result: ["matterstack {version}\n"]"#)), "{printed}");
}

/// The only program that a job can start there is ours.
const SCRIPT: &str = r#"
export function plan(ctx, state) {
  if (state !== null) return { complete: state, reason: "one is enough" };
  const command = ["/bin/matterstack", "--version"];
  return { tasks: [{ id: "a", command, outputs: ["stdout"] }], state: [], reason: "its version" };
}
export function analyze(ctx, state, results) {
  return results.map((result) => result.output("stdout").text());
}
"#;

#[test]
fn the_archive_has_a_page_for_every_command_and_completions() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let tree = unpacked(directory.path());
    let program = tree.join("bin/matterstack");
    let ours = |arguments: &[&str]| said(&at(directory.path(), &program).args(arguments).output().expect("it runs"));
    let pages: BTreeSet<String> = fs::read_dir(tree.join("share/man/man1"))
        .expect("pages")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let commands = page("docs/commands.md");
    let commands: BTreeSet<&str> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(['`', ' ']).next())
        .filter(|word| word.chars().all(|c| c.is_ascii_lowercase()))
        .collect();
    assert!(commands.len() > 30, "{commands:?}");
    for command in commands {
        assert!(pages.contains(&format!("matterstack-{command}.1")), "{command}: {pages:?}");
    }
    assert!(pages.contains("matterstack.1") && pages.contains("matterstack-plugin-runner-add.1"), "{pages:?}");
    let places = [("bash", "bash-completion/completions/matterstack"), ("zsh", "zsh/site-functions/_matterstack")];
    for (shell, place) in places.into_iter().chain([("fish", "fish/vendor_completions.d/matterstack.fish")]) {
        let there = fs::read_to_string(tree.join("share").join(place)).expect("completions");
        assert!(there == ours(&["completions", shell]), "{shell}");
    }
    for file in ["LICENSE", "README.md"] {
        assert!(tree.join("share/doc/matterstack").join(file).is_file(), "{file}");
    }
}

/// The archive, unpacked as its page says; returns where its `bin` and `share` are.
fn unpacked(directory: &Path) -> PathBuf {
    let archive = package(".tar.gz");
    fs::copy(&archive, directory.join(archive.file_name().expect("a name"))).expect("a copy");
    let block = blocks(PAGE).into_iter().rfind(|block| block.language == "sh").expect("commands");
    said(&at(directory, "bash").args(["-euo", "pipefail", "-c", &block.text]).output().expect("bash"));
    directory.join(".local")
}
