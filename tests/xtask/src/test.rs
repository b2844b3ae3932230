//! `cargo xtask test`: every suite there is, and one line on how they ended.
use crate::dist;
use crate::guests;
use crate::project::{Member, Project, packages_arguments, run, say};
use crate::runners;
use crate::tools::{self, Tool};
use anyhow::{Context, Result, bail};
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::num::NonZero;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

/// A test that needs what no program brings.
struct Needy {
    test: &'static str,
    /// Whether it is among those that take minutes.
    slow: bool,
    /// Why it cannot run here, if it cannot.
    why_not: fn() -> Option<&'static str>,
}

const NEEDY: [Needy; 3] = [
    Needy { test: "a_control_group_out_of_memory_is_tried_again_with_more", slow: true, why_not: no_memory_groups },
    Needy { test: "clones_fit_where_copies_would_not", slow: false, why_not: not_root },
    Needy { test: "the_archive_runs_where_there_is_nothing_else", slow: false, why_not: not_root },
];

/// The tests that would run and cannot here, and why.
fn unable(slow: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    NEEDY.iter().filter(move |one| slow || !one.slow).filter_map(|one| Some((one.test, (one.why_not)()?)))
}

/// How many tests ended how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Summary {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.ignored > 0 { write!(f, ", {} skipped", self.ignored) } else { Ok(()) }
    }
}

impl Summary {
    /// Reads libtest's own last line, such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn of_line(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |word: &str| {
            let number = counts.split("; ").find_map(|part| part.strip_suffix(word))?;
            number.trim().parse().ok()
        };
        Some(Self { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// Installs what the tests need, runs every test that a filter names (all, without filters) and prints their sum.
///
/// The suites find the programs on our list and no others, so that a list that lacks one is seen here and not on the
/// next machine.
pub(crate) fn test(project: &Project, filters: &[String], slow: bool) -> Result<bool> {
    let tools: &[&[Tool]] = if slow { &[tools::FOR_TESTS, tools::FOR_SLOW_TESTS] } else { &[tools::FOR_TESTS] };
    for tools in tools {
        tools::ensure(project, tools)?;
    }
    runners::build(project)?;
    guests::build_for_tests(project)?;
    let path = tools::links(project, tools)?;
    let members = project.members()?;
    let (host, others) = suites(&members);
    let mut total = Summary::default();
    // tests wait for jobs, clusters and people more than they compute
    let threads = 2 * available_parallelism().map_or(1, NonZero::get);
    if let Err(error) = dist::for_tests(project) {
        println!("{error:#}; counted as one failure");
        total.failed += 1;
    }
    for packages in [host, others] {
        say(&format!("testing {}", packages.join(", ")));
        let cargo = || {
            let mut cargo = project.cargo(["test", "--release", "--no-fail-fast"]);
            cargo.args(packages_arguments(&packages));
            cargo
        };
        // what does not compile is told apart from a test that fails, and what does is tried all the same
        if let Err(error) = run(cargo().args(["--quiet", "--no-run"])) {
            println!("{error:#}; counted as one failure");
            total.failed += 1;
            continue;
        }
        let mut suites = cargo();
        suites.env("PATH", &path).arg("--").args(filters).args(["--test-threads", &threads.to_string()]);
        if slow {
            suites.arg("--include-ignored");
        }
        suites.args(unable(slow).flat_map(|(test, _)| ["--skip", test]));
        total.add(count(&mut suites, &mut std::io::stdout())?);
    }
    for mut suite in runners::tests(project) {
        say("testing the runners of scripts");
        suite.env("PATH", &path).arg("--").args(filters);
        total.add(count(&mut suite, &mut std::io::stdout())?);
    }
    if total == Summary::default() {
        bail!("no test has a name with {}", filters.join(" or "));
    }
    total.add(told_apart(&total, filters, slow));
    println!("{total}");
    Ok(total.failed == 0)
}

/// Says which tests did not run, and counts those that the test binaries were not told of.
fn told_apart(total: &Summary, filters: &[String], slow: bool) -> Summary {
    if !slow && total.ignored > 0 {
        println!("{} tests take minutes or need more than this: `cargo xtask test --slow` runs them", total.ignored);
    }
    let mut skipped = Summary::default();
    let asked = |test: &str| filters.is_empty() || filters.iter().any(|filter| test.contains(filter.as_str()));
    for (test, why) in unable(slow).filter(|(test, _)| asked(test)) {
        println!("`{test}` was skipped: {why}");
        skipped.ignored += 1;
    }
    skipped
}

/// Only root may mount file systems, and have another directory for its root.
fn not_root() -> Option<&'static str> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0);
    (!root).then_some("only root may mount a file system, or change the root directory, as it needs")
}

/// Slurm's daemons hold jobs to their memory only so.
fn no_memory_groups() -> Option<&'static str> {
    let there = Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists();
    (!there).then_some("this machine has no memory controller of control groups, version 1, that counts swap")
}

/// The host's crate, and all others. They are not built in one go: cargo would join the features that they ask of
/// shared crates and compile those once more.
fn suites(members: &[Member]) -> (Vec<&str>, Vec<&str>) {
    members.iter().map(|member| member.name.as_str()).partition(|name| *name == "matterstack")
}

/// Runs the tests, passes on what they print, and counts it.
fn count(command: &mut Command, out: &mut impl Write) -> Result<Summary> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cargo cannot be started")?;
    let mut lines = BufReader::new(child.stdout.take().context("bug: the tests have no output")?);
    let mut total = Summary::default();
    // binaries that began and never said how they ended, and whether the newest may still say it
    let (mut silent, mut open) = (0, false);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).context("what the tests print")? > 0 {
        out.write_all(&line).context("standard output")?;
        let text = String::from_utf8_lossy(&line);
        if begins(&text) {
            silent += u64::from(std::mem::replace(&mut open, true));
        } else if let Some(summary) = Summary::of_line(&text) {
            open = false;
            total.add(summary);
        }
        line.clear();
    }
    silent += u64::from(open);
    let status = child.wait().context("the end of the tests")?;
    if !status.success() && total.failed == 0 {
        silent = silent.max(1);
    }
    if silent > 0 {
        writeln!(
            out,
            "{silent} test binaries ended without saying how their tests did ({status}); counted as failures"
        )?;
        total.failed += silent;
    }
    Ok(total)
}

/// Whether a line is libtest's own first one: `running 3 tests`.
fn begins(line: &str) -> bool {
    let number = line.trim_end().strip_prefix("running ").and_then(|rest| rest.split_once(" test"));
    number.is_some_and(|(number, rest)| number.parse::<u64>().is_ok() && (rest.is_empty() || rest == "s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_from_the_last_line_of_each_binary() {
        let check = |line: &str, expected: Option<(u64, u64, u64)>| {
            let expected = expected.map(|(passed, failed, ignored)| Summary { passed, failed, ignored });
            assert_eq!(Summary::of_line(line), expected, "{line}");
        };
        let tail = "0 measured; 0 filtered out; finished in 0.00s\n";
        check(&format!("test result: ok. 12 passed; 0 failed; 1 ignored; {tail}"), Some((12, 0, 1)));
        check(&format!("test result: FAILED. 3 passed; 2 failed; 0 ignored; {tail}"), Some((3, 2, 0)));
        check("test result: unheard of", None);
        check("test a::b ... ok", None);
        check("running 3 tests", None);
    }

    /// What is counted of a script's output. It is not passed on, or it would count where these tests are run.
    fn printed(script: &str) -> Summary {
        count(Command::new("sh").args(["-c", script]), &mut std::io::sink()).expect("a count")
    }

    #[test]
    fn the_sum_goes_over_all_binaries() {
        let line = |passed| format!("echo 'test result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured';");
        let summary = printed(&format!("{}{}", line(2), line(3)));
        assert_eq!((summary.passed, summary.failed), (5, 0));
        assert_eq!(summary.to_string(), "5 passed, 0 failed");
        let ignored = printed("echo 'test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured'");
        assert_eq!(ignored.to_string(), "1 passed, 0 failed, 2 skipped");
    }

    #[test]
    fn what_cannot_run_is_counted_and_named_as_it_stands_in_the_suites() {
        let nothing = Summary::default();
        for slow in [false, true] {
            let cannot = NEEDY.iter().filter(|one| (slow || !one.slow) && (one.why_not)().is_some()).count() as u64;
            assert_eq!(told_apart(&nothing, &[], slow).ignored, cannot);
        }
        assert_eq!(told_apart(&nothing, &["no such name".to_owned()], true).ignored, 0);
        let suites = Project::here().expect("a project").root.join("tests");
        for name in NEEDY.iter().map(|one| one.test) {
            let mut grep = Command::new("grep");
            let found = grep.args(["-rqF", "--include=*.rs", &format!("fn {name}()")]).arg(&suites).status();
            assert!(found.expect("grep").success(), "{name}");
        }
    }

    #[test]
    fn a_binary_that_dies_is_a_failure() {
        let summary = printed("echo 'running 5 tests'; kill -ABRT $$");
        assert_eq!((summary.passed, summary.failed), (0, 1));
        // also where cargo is content, as with a test that ends its process, and where another binary did well
        let well = "echo 'running 1 test'; echo 'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured';";
        for (script, expected) in [
            ("echo 'running 5 tests'; exit 0", (0, 1)),
            (&*format!("echo 'running 5 tests'; {well}"), (1, 1)),
            (&*format!("{well} echo 'running 0 tests'"), (1, 1)),
            (&*format!("{well} echo 'running late'"), (1, 0)),
            ("exit 101", (0, 1)),
        ] {
            let summary = printed(script);
            assert_eq!((summary.passed, summary.failed), expected, "{script}");
        }
        let counted = printed("echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured'; exit 101");
        assert_eq!((counted.passed, counted.failed), (1, 2));
    }
}
