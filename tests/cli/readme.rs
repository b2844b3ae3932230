//! The README and the pages as a newcomer takes them: their commands are given, the campaign is built and run, the
//! tables are complete, and every link leads somewhere.
use crate::support::slurm::{Cluster, Plan};
use crate::support::sshd::Sshd;
use crate::support::world::PROGRAM;
use matterstack::backend::local::INHERITED;
use matterstack::model::attempt_dir::NAMES;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Commands that build what the tests themselves are part of; `.ci/run` gives the first two.
const GIVEN_ELSEWHERE: [&str; 3] = ["cargo xtask demo", "cargo xtask test", "cargo install --locked --path host"];

/// Pages whose commands are given by tests of their own, or by the suite that this is part of.
const README: &str = "README.md";
const CAMPAIGN: &str = "docs/campaign-in-rust.md";
const OPERATOR: &str = "docs/operator-in-rust.md";
const CLUSTER: &str = "docs/slurm.md";
const ENVIRONMENT: &str = "docs/environment.md";
const MENDING: &str = "docs/mending.md";
const ASK_TELL: &str = "docs/ask-tell.md";
const QUERY: &str = "docs/query.md";
const RESULTS: &str = "docs/results.md";
const REUSE: &str = "docs/reuse.md";
const WHAT_IF: &str = "docs/what-if.md";
const EVIDENCE: &str = "docs/evidence.md";
const RESEARCH_OBJECT: &str = "docs/research-object.md";
const SWEEP: &str = "docs/sweep.md";
const COMING_FROM: &str = "docs/coming-from.md";
const SCRIPTS: &str = "docs/authors/scripts.md";
const COMPONENTS: &str = "docs/authors/components.md";
const DETERMINISM: &str = "docs/authors/determinism.md";
const CONTRIBUTING: &str = "CONTRIBUTING.md";
/// Its commands are given where what is installed is tried.
const INSTALL: &str = "docs/install.md";

/// A fenced block: its language and its lines.
pub(super) struct Block {
    pub(super) language: String,
    pub(super) text: String,
}

pub(super) fn root() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).expect("the repository")
}

pub(super) fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every page for people outside the folders of plugins and workspaces, relative to the root.
fn pages() -> Vec<String> {
    let mut pages = Vec::new();
    for folder in ["", "docs/", "docs/authors/"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder") {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            pages.extend(name.ends_with(".md").then(|| format!("{folder}{name}")));
        }
    }
    pages.sort();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// Every page there is, relative to the root.
pub(super) fn all_pages() -> Vec<String> {
    let mut pages = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let passed_over = name.starts_with('.') || ["target", "runs", "node_modules"].contains(&name.as_str());
            if entry.file_type().expect("a type").is_dir() && !passed_over {
                folders.push(entry.path());
            } else if name.ends_with(".md") {
                let path = entry.path();
                pages.push(path.strip_prefix(root()).expect("below the root").to_str().expect("UTF-8").to_owned());
            }
        }
    }
    assert!(pages.len() > 20 && pages.iter().any(|page| page == "plugins/operators/compute/README.md"), "{pages:?}");
    pages
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).expect("a page");
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings.map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

pub(super) fn blocks(name: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for line in page(name).lines() {
        match line.strip_prefix("```") {
            Some(language) if !open => blocks.push(Block { language: language.to_owned(), text: String::new() }),
            Some(_) => {}
            None => {
                if let Some(block) = blocks.last_mut().filter(|_| open) {
                    block.text += &format!("{line}\n");
                }
                continue;
            }
        }
        open = !open;
    }
    blocks
}

fn given_elsewhere(block: &Block) -> bool {
    block.text.lines().all(|line| GIVEN_ELSEWHERE.contains(&line))
}

/// Gives the commands of a block, in a directory where `matterstack` is on the path; any that fails is named.
fn give(directory: &Path, block: &str) -> String {
    let bin = Path::new(PROGRAM).parent().expect("the directory of the binary");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-x", "-c", block]).current_dir(directory);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        // what cargo says to a test, and what a developer's own settings would change
        if (text.starts_with("CARGO_") && text != "CARGO_HOME")
            || text.starts_with("MATTERSTACK_")
            || text == "RUSTFLAGS"
        {
            shell.env_remove(&name);
        }
    }
    shell.env("PATH", path).env("XDG_CONFIG_HOME", directory.join("settings")).env("CARGO_NET_OFFLINE", "true");
    shell.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
    let done = shell.output().expect("bash runs");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}\n{out}\n{err}", done.status);
    out.into_owned()
}

/// A crate's files as the README shows them; what it builds is kept for the next time.
fn write_crate(directory: &Path, manifest: &str, source: &str) {
    let root = root();
    fs::create_dir_all(directory.join("src")).expect("a crate");
    let manifest = manifest.replace("/path/to/matterstack", &root.display().to_string());
    fs::write(directory.join("Cargo.toml"), manifest).expect("a manifest");
    fs::write(directory.join("src/lib.rs"), source).expect("a source");
    // the versions that are there already: a test downloads nothing
    fs::copy(root.join("Cargo.lock"), directory.join("Cargo.lock")).expect("a lock file");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme-crate");
    fs::create_dir_all(&target).expect("a target directory");
    std::os::unix::fs::symlink(target, directory.join("target")).expect("a link");
}

#[test]
fn its_commands_work() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let blocks = blocks(README);
    let shell: Vec<&Block> = blocks.iter().filter(|block| block.language == "sh").collect();
    let given: Vec<String> =
        shell.iter().filter(|block| !given_elsewhere(block)).map(|block| give(directory.path(), &block.text)).collect();
    assert_eq!((shell.len(), given.len()), (5, 3), "blocks that were given");
    assert_eq!(given[0].matches(" completed ").count(), 10, "ten rows of the table: {}", given[0]);
    assert!(given[1].ends_with("\n49\n"), "{}", given[1]);
    assert!(given[2].contains("completed"), "{}", given[2]);
}

/// Gives the commands of a page that shows a crate of this name: one block each of manifest, source and commands.
fn crate_of(page: &str, name: &str) -> String {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let blocks = blocks(page);
    let of = |language: &str| {
        let mut found = blocks.iter().filter(|block| block.language == language);
        let first = found.next().expect("a block");
        assert!(found.next().is_none(), "the test knows what to do with one block of {language}");
        first.text.as_str()
    };
    write_crate(&directory.path().join(name), of("toml"), of("rust"));
    give(directory.path(), of("sh"))
}

#[test]
fn the_campaign_in_rust_finds_the_minimum() {
    let out = crate_of(CAMPAIGN, "descent");
    assert!(out.contains(r#"result: {"x":3.0,"y":1.0}"#), "{out}");
}

#[test]
fn the_operator_in_rust_weighs() {
    let out = crate_of(OPERATOR, "balance");
    let line = |task: &str| out.lines().find(|line| line.split_whitespace().next() == Some(task)).expect("a task");
    assert!(line("salt").contains("completed"), "{out}");
    assert!(line("anvil").contains("failed") && out.contains("90000 g do not go on this balance"), "{out}");
    assert!(out.contains("12.5025"), "{out}");
}

#[test]
fn a_run_is_mended_and_grows_as_its_page_says() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let given: Vec<String> = blocks(MENDING)
        .iter()
        .filter(|block| block.language == "sh")
        .map(|block| give(directory.path(), &block.text))
        .collect();
    let [_, mended, amended, settled, grown] = &given[..] else { panic!("{} blocks", given.len()) };
    assert!(mended.contains("2 failed") && mended.contains("differs in the workspace"), "{mended}");
    assert!(mended.contains(": completed"), "{mended}");
    assert!(amended.contains("completed (stale)"), "{amended}");
    assert!(settled.contains("was settled as completed") && !settled.contains("(stale)"), "{settled}");
    assert!(grown.contains("4 tasks, 0 pending, 0 queued, 0 running, 4 completed"), "{grown}");
}

#[test]
fn a_job_gets_a_secret_as_its_page_says() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let given: Vec<String> = blocks(ENVIRONMENT)
        .iter()
        .filter(|block| block.language == "sh")
        .map(|block| give(directory.path(), &block.text))
        .collect();
    let [given] = &given[..] else { panic!("{} blocks", given.len()) };
    assert!(given.trim_end().ends_with("11"), "{given}");
}

#[test]
fn a_run_takes_what_another_has_computed_as_its_page_says() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let given: Vec<String> = blocks(REUSE)
        .iter()
        .filter(|block| block.language == "sh")
        .map(|block| give(directory.path(), &block.text))
        .collect();
    let [second, third] = &given[..] else { panic!("{} blocks", given.len()) };
    let of = |text: &str, task: &str| {
        let line = text.lines().rfind(|line| line.split_whitespace().next() == Some(task)).expect("a task");
        line.contains("completed (reused)")
    };
    assert!(second.contains("differs in the files that it is given: `p.upf`"), "{second}");
    assert_eq!(["si", "ge", "sum"].map(|task| of(second, task)), [true, false, false], "{second}");
    assert!(third.contains("a person rejected what it left"), "{third}");
    assert_eq!(["si", "ge", "sum"].map(|task| of(third, task)), [false, true, true], "{third}");
}

#[test]
fn a_run_goes_on_otherwise_as_its_page_says() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let given: Vec<String> = blocks(WHAT_IF)
        .iter()
        .filter(|block| block.language == "sh")
        .map(|block| give(directory.path(), &block.text))
        .collect();
    let [forked, tried] = &given[..] else { panic!("{} blocks", given.len()) };
    let of = |mark: bool| {
        let rows = forked.lines().filter(|line| line.starts_with(" trial-") || line.starts_with("trial-"));
        rows.filter(|line| line.contains("(reused)") == mark).count()
    };
    assert!(of(true) >= 2 && of(false) >= 2 && of(true) + of(false) == 6, "{forked}");
    assert!(forked.contains("decision(s) made again"), "{forked}");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let grid = tried.lines().map(words).find(|row| row.first().is_some_and(|name| name == "scripts/grid.py:ask"));
    assert_eq!(grid.expect("a row")[1..5], ["1", "6", "1", "4"], "{tried}");
    let ask = tried.lines().map(words).find(|row| row.first().is_some_and(|name| name == "scripts/ask.py:ask"));
    assert_eq!(ask.expect("a row")[1..3], ["1", "0"], "it asks for points that nobody has measured: {tried}");
}

#[test]
fn a_bundle_is_given_away_as_its_page_says() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let given: Vec<String> = blocks(EVIDENCE)
        .iter()
        .filter(|block| block.language == "sh")
        .map(|block| give(directory.path(), &block.text))
        .collect();
    assert!(given[0].contains("3 decision(s) made again, 3 as recorded") && given[0].contains("84"), "{}", given[0]);
    let omitted = |name: &str| -> Vec<String> {
        let text = fs::read(directory.path().join(name).join("evidence.json")).expect("evidence.json");
        let bundle: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let rows = bundle["omitted"].as_array().expect("a list").iter();
        rows.map(|row| format!("{} {}", row["task"].as_str().expect("a task"), row["why"].as_str().expect("why")))
            .collect()
    };
    assert_eq!(omitted("bundle"), [] as [&str; 0]);
    assert_eq!(omitted("slim"), ["melt asked", "melt asked"]);
    assert!(omitted("blind").iter().all(|one| one.ends_with(" redacted")), "{:?}", omitted("blind"));
}

#[test]
fn a_bundle_is_a_research_object_as_its_page_says() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let licences = blocks(RESEARCH_OBJECT).into_iter().filter(|block| block.language == "sh").map(|block| {
        give(directory.path(), &block.text);
        let bundle = directory.path().join("workspaces/alloy/runs/first/evidence");
        let text = fs::read(bundle.join("ro-crate-metadata.json")).expect("ro-crate-metadata.json");
        let crate_: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let graph = crate_["@graph"].as_array().expect("a graph");
        let root = graph.iter().find(|entity| entity["@id"] == "./").expect("a root").clone();
        (root["license"]["@id"].clone(), root["publisher"]["@id"].clone())
    });
    let expected = [("CC-BY-4.0", "https://ror.org/03wnrjx87"), ("CC0-1.0", "https://lab.example.org")];
    let expected = expected.map(|(id, publisher)| (format!("https://spdx.org/licenses/{id}").into(), publisher.into()));
    assert_eq!(licences.collect::<Vec<_>>(), expected);
}

#[test]
fn a_sweep_runs_and_grows_as_its_page_says() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let given: Vec<String> = blocks(SWEEP)
        .iter()
        .filter(|block| block.language == "sh")
        .map(|block| give(directory.path(), &block.text))
        .collect();
    let [first, grown] = &given[..] else { panic!("{} blocks", given.len()) };
    assert_eq!(first.lines().filter(|line| line.contains(" completed  local")).count(), 6, "{first}");
    assert!(first.contains("n=1,t=300") && first.contains("n=3,t=400"), "{first}");
    assert!(grown.contains("9 tasks, 0 pending, 0 queued, 0 running, 9 completed"), "{grown}");
}

#[test]
fn who_comes_from_another_tool_finds_the_same_job_here() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let all = blocks(COMING_FROM);
    let shell: Vec<&Block> = all.iter().filter(|block| block.language == "sh").collect();
    let [block] = shell[..] else { panic!("{} blocks", shell.len()) };
    let said = give(directory.path(), &block.text);
    // the second table has the column of results beside that of parameters
    let row = |x: &str, y: &str| said.lines().any(|line| line.split_whitespace().skip(5).take(2).eq([x, y]));
    assert!(row("1", "1") && row("2", "4") && row("3", "9"), "{said}");
}

#[test]
fn a_program_decides_as_its_page_says() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let all = blocks(ASK_TELL);
    let given: Vec<String> =
        all.iter().filter(|block| block.language == "sh").map(|block| give(directory.path(), &block.text)).collect();
    let [first, told] = &given[..] else { panic!("{} blocks", given.len()) };
    let done = |text: &str, name: &str| {
        text.lines().filter(|line| line.trim_start().starts_with(name) && line.contains(" completed ")).count()
    };
    assert_eq!((done(first, "trial-"), done(first, "ask-") >= 5), (10, true), "{first}");
    assert!(first.contains("completed") && told.contains("completed"), "{first}{told}");
}

#[test]
fn scripts_decide_as_their_page_says() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let all = blocks(SCRIPTS);
    let given: Vec<String> =
        all.iter().filter(|block| block.language == "sh").map(|block| give(directory.path(), &block.text)).collect();
    let [first, second, third] = &given[..] else { panic!("{} blocks", given.len()) };
    assert!(first.contains("completed") && first.contains(r#"result: {"x":613,"y":0}"#), "{first}");
    assert!(second.contains("refused, and no run was made") && second.contains("completed"), "{second}");
    assert!(third.contains("campaign.plugin") && !third.contains("result"), "{third}");
    // the author's own test, under the author's own Python
    let test = all.iter().find(|block| block.language == "python").expect("a test");
    let body = format!("{}\ntest_it_halves_its_step_where_it_is_best()\n", test.text);
    let done = Command::new("python3")
        .args(["-c", &body])
        .current_dir(directory.path().join("workspaces/descent"))
        .env("PYTHONPATH", root().join("plugins/sdk/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn components_are_built_as_their_page_says() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let blocks = blocks(COMPONENTS);
    let shell: Vec<&str> =
        blocks.iter().filter(|block| block.language == "sh").map(|block| block.text.as_str()).collect();
    // one shell, as at a terminal: what the first block exports is used by the others
    let commands = shell.concat().replace("/path/to/matterstack", &root().display().to_string());
    let out = give(directory.path(), &commands);
    assert_eq!((shell.len(), out.matches("matterstack:plugin/campaign-calls").count() >= 2), (4, true), "{out}");
    // the two runs differ in their plugins alone
    assert!(out.contains(" campaign.plugin ") && !out.contains("result"), "{out}");
    // what is shown of operators is what the guests are made of
    let app = |file: &str| fs::read_to_string(root().join("tests/guests").join(file)).expect("a guest");
    for (language, file) in [("python", "loop-python/robot_app.py"), ("js", "loop-javascript/robot-app.js")] {
        let shown = blocks.iter().find(|block| block.language == language).expect("an operator");
        assert!(app(file).contains(&shown.text), "{file}");
    }
}

#[test]
fn what_usually_differs_is_the_same_as_its_page_says() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let block = blocks(DETERMINISM).into_iter().find(|block| block.language == "sh").expect("commands");
    let out = give(directory.path(), &(block.text + "matterstack status one --json\nmatterstack status two --json\n"));
    assert_eq!(out.matches("FileNotFoundError").count(), 2, "{out}");
    assert!(out.contains("\"clock\": true") || out.contains("\"clock\":true"), "{out}");
    let drawn: Vec<&str> = out.lines().filter(|line| line.contains("uuid")).collect();
    assert!(drawn.len() >= 2 && drawn.windows(2).all(|two| two[0] == two[1]), "{out}");
}

#[test]
fn results_are_taken_out_as_their_page_says() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let block = blocks(RESULTS).into_iter().find(|block| block.language == "sh").expect("commands");
    let given = give(directory.path(), &block.text);
    assert!(given.contains("done 340.0 water"), "{given}");
    let row = |name: &str| given.lines().rfind(|line| line.contains(name)).expect("a row").to_owned();
    assert!(row("solvent=dmso").contains("0.0") && row("solvent=water").contains("0.2450"), "{given}");
    assert!(given.contains("Y.LOSS"), "{given}");
}

#[test]
fn runs_become_a_database_as_its_page_says() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let before = "matterstack new screening\nmatterstack init screening\n".to_owned();
    let commands = blocks(QUERY).into_iter().filter(|block| block.language == "sh").map(|block| block.text);
    let given = give(directory.path(), &std::iter::once(before).chain(commands).collect::<String>());
    assert!(given.contains("screening.db: 1 runs") && given.contains("study: 1 runs, 10 tasks"), "{given}");
}

#[test]
fn no_page_has_commands_that_nobody_gives() {
    let given = [
        README,
        CAMPAIGN,
        OPERATOR,
        CLUSTER,
        CONTRIBUTING,
        ASK_TELL,
        ENVIRONMENT,
        MENDING,
        QUERY,
        RESULTS,
        REUSE,
        WHAT_IF,
        EVIDENCE,
        RESEARCH_OBJECT,
        SWEEP,
        COMING_FROM,
        SCRIPTS,
        INSTALL,
        COMPONENTS,
        DETERMINISM,
    ];
    for name in pages().iter().filter(|name| !given.contains(&name.as_str())) {
        assert!(blocks(name).iter().all(|block| block.language != "sh"), "{name} has commands; a test must give them");
    }
}

#[test]
fn every_link_leads_somewhere() {
    for name in all_pages() {
        let (text, own) = (page(&name), root().join(&name));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
            if target.contains("://") {
                continue;
            }
            let place = if path.is_empty() { own.clone() } else { own.parent().expect("a folder").join(path) };
            assert!(place.exists(), "{name} links to `{target}`, which is not there");
            if let Some(anchor) = anchor {
                assert!(anchors(&place).iter().any(|there| there == anchor), "{name} links to `{target}`: no heading");
            }
        }
    }
}

/// Gives commands to a shell whose home directory is this one, for `ssh` as well, which heeds no `HOME`. Needs root.
fn give_at_home(home: &Path, runtime: &Path, commands: &str) -> String {
    let enter = "home=$(getent passwd \"$(id -u)\" | cut -d: -f6); mount --bind \"$1\" \"$home\"; cd \"$home\"; export HOME=$home; \
                 export PATH=$home/bin:$PATH; exec bash -euxo pipefail -c \"$2\"";
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "bash", "-euc", enter, "sh"]).arg(home).arg(commands).env_clear();
    shell.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("XDG_RUNTIME_DIR", runtime);
    let done = shell.output().expect("unshare of util-linux runs");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}\n{out}\n{err}", done.status);
    out.into_owned()
}

#[test]
fn its_commands_for_a_cluster_work() {
    let (here, there) = (tempfile::tempdir().expect("a home"), tempfile::tempdir().expect("a home"));
    let cluster = Cluster::start(Plan::default());
    let (name, conf) = cluster.environment();
    let sshd = Sshd::with(None, &format!("SetEnv {name}={conf} HOME={}", there.path().display()));
    let own = here.path().join(".ssh");
    fs::create_dir(&own).expect("a directory");
    fs::copy(sshd.path().join("config"), own.join("config")).expect("an ssh configuration");
    fs::set_permissions(own.join("config"), fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::create_dir(here.path().join("bin")).expect("a directory");
    fs::copy(PROGRAM, here.path().join("bin/matterstack")).expect("the binary");

    let blocks: Vec<Block> = blocks(CLUSTER).into_iter().filter(|block| block.language == "sh").collect();
    let given: Vec<String> = blocks.iter().map(|block| give_at_home(here.path(), sshd.path(), &block.text)).collect();
    let [partitions, check, run] = given.as_slice() else { panic!("{} blocks", given.len()) };
    assert_eq!(partitions, "PARTITION\nmain*\n");
    assert!(check.contains("ok       fetch") && check.contains("ok       clean up"), "{check}");
    assert!(run.contains("# task `relax` through operator `cluster`") && run.contains("\n100000\n"), "{run}");
    let left: Vec<_> = fs::read_dir(there.path().join("matterstack")).expect("the root over there").collect();
    assert_eq!(left.len(), 0, "{left:?}");
}

#[test]
fn its_tables_are_complete() {
    let missing = |name: &str, words: &[String]| {
        let page = page(name);
        words.iter().filter(|word| !page.contains(&format!("`{word}`"))).cloned().collect::<Vec<String>>()
    };
    assert_eq!(missing("docs/environment.md", &INHERITED.map(str::to_owned)), [] as [&str; 0], "variables of jobs");
    assert_eq!(missing("docs/environment.md", &heeded()), [] as [&str; 0], "variables that the host heeds");
    assert_eq!(missing("docs/files.md", &NAMES.map(str::to_owned)), [] as [&str; 0], "names of the host's own");
    let places = fs::read_dir(root().join("host/src"))
        .expect("the host's sources")
        .map(|entry| format!("host/src/{}", entry.expect("an entry").file_name().to_string_lossy()));
    let places: Vec<String> =
        places.filter(|place| !place.ends_with("/lib.rs") && !place.ends_with("/main.rs")).collect();
    assert_eq!(missing("ARCHITECTURE.md", &places), [] as [&str; 0], "places of the code map");
    let exit = page("docs/exit-codes.md");
    for code in exit_codes() {
        assert!(exit.contains(&format!("\n| {code} | ")), "exit code {code}");
    }
}

/// The variables that the host's sources read of the environment.
fn heeded() -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![root().join("host/src")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(path).unwrap_or_default();
            for before in ["env::var(\"", "env::var_os(\"", "env = \""] {
                names.extend(text.split(before).skip(1).filter_map(|rest| rest.split('"').next().map(str::to_owned)));
            }
        }
    }
    assert!(
        ["HOME", "MATTERSTACK_WORKSPACES", "MATTERSTACK_FAILPOINT"].iter().all(|name| names.contains(&(*name).into()))
    );
    names
}

#[test]
fn the_page_on_tasks_that_are_commands_names_every_key() {
    let page = fs::read_to_string(root().join("plugins/operators/compute/README.md")).expect("the page");
    let schema = |which: &[&str]| -> serde_json::Value {
        let printed = Command::new(PROGRAM).args(["config", "schema"]).args(which).output().expect("the binary runs");
        serde_json::from_slice(&printed.stdout).expect("a schema")
    };
    let (config, tasks) = (schema(&[]), schema(&["tasks"]));
    let backends = config["$defs"]["BackendConfig"]["oneOf"].as_array().expect("kinds of backends");
    let mut places: Vec<&serde_json::Value> = backends.iter().collect();
    places.push(&config["$defs"]["SshConfig"]);
    places.extend(["Resources", "Retry", "RetryOn", "TimeoutRetry", "OomRetry"].map(|name| &tasks["$defs"][name]));
    let keys = places.iter().flat_map(|place| place["properties"].as_object().expect("keys").keys());
    let missing: Vec<&String> = keys.filter(|key| *key != "kind" && !page.contains(key.as_str())).collect();
    assert_eq!(missing, [] as [&str; 0]);
}

/// The exit codes that `--help` tells.
fn exit_codes() -> Vec<u8> {
    let help = Command::new(PROGRAM).arg("--help").output().expect("the binary runs");
    let help = String::from_utf8(help.stdout).expect("text").replace('\n', " ");
    let (_, codes) = help.split_once("Exit codes: ").expect("exit codes in the help");
    let codes = codes.split("; ").map_while(|entry| entry.trim().split(' ').next()?.parse().ok());
    let codes: Vec<u8> = codes.collect();
    assert!(codes.contains(&0) && codes.contains(&130), "{codes:?}");
    codes
}
