//! Slurm's commands: what is called, and what its answers mean. Every call has a time limit on both sides.
use super::batch;
use super::ledger::{Element, Row};
use super::state::is_ghost;
use crate::backend::transport::{Exec, Finished, NoAnswer, Transport};
use crate::ground::words::quoted;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long `sbatch` may take; it waits by itself where the cluster is full.
const SBATCH_S: u64 = 30;
/// How long any other command may take.
const ASK_S: u64 = 20;
/// What the transport gets on top, so that a command that is late ends where it runs.
const SLACK_S: u64 = 15;

/// Times in UTC, messages in English.
const ENVIRONMENT: &str = "TZ=UTC LC_ALL=C SLURM_TIME_FORMAT=standard; export TZ LC_ALL SLURM_TIME_FORMAT\n";

/// What `sbatch` answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Submitted {
    /// The job exists; its id.
    Yes(String),
    /// There is no job and there will be none until something is changed.
    Refused(String),
    /// There is no job now; later there may be room.
    Full(String),
    /// Nobody knows.
    Ambiguous(String),
}

/// Errors that say for certain that no job was made, and that a further try would fail as well.
const REFUSALS: &[&str] = &[
    "invalid partition",
    "invalid account",
    "invalid qos",
    "invalid user",
    "invalid generic resource",
    "invalid feature",
    "invalid node name",
    "invalid job array specification",
    "invalid --",
    "invalid time limit",
    "invalid wckey",
    "invalid license",
    "requested node configuration is not available",
    "requested time limit is invalid",
    "requested partition configuration not available",
    "requested reservation is invalid",
    "user's group not permitted",
    "memory specification can not be satisfied",
    "more processors requested than permitted",
    "node count specification invalid",
    "task count specification invalid",
    "unrecognized option",
    "unknown option",
    "option requires an argument",
    "batch script contains",
    "this does not look like a batch script",
    "access/permission denied",
    "violates accounting/qos policy",
];

/// Errors that say for certain that no job was made because too many are there already.
const FULL: &[&str] = &["maxsubmit", "resource temporarily unavailable", "slurm temporarily unable to accept job"];

/// Reads the answer of `sbatch --parsable`.
pub(super) fn read_submit(answer: Result<Finished, NoAnswer>) -> Submitted {
    let done = match answer {
        Ok(done) => done,
        Err(NoAnswer::Unreachable(text)) => return Submitted::Full(text),
        Err(NoAnswer::Lost(text)) => return Submitted::Ambiguous(text),
    };
    let stderr = String::from_utf8_lossy(&done.stderr);
    let message = message_of(&stderr, &done);
    if done.code == 0 {
        let stdout = String::from_utf8_lossy(&done.stdout);
        let ids: Vec<&str> = stdout.lines().filter_map(read_id).collect();
        return match ids.as_slice() {
            [id] => Submitted::Yes((*id).to_owned()),
            _ => Submitted::Ambiguous(format!("sbatch gave no job id but `{}`", shortened(&stdout))),
        };
    }
    let lower = stderr.to_lowercase();
    // a try that was late may have succeeded at last
    let late = done.code == 124 || done.code == 137;
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    match () {
        () if done.code == 127 && !lower.contains("slurm") => {
            Submitted::Refused(format!("the cluster has no program `sbatch`: {message}"))
        }
        () if late => Submitted::Ambiguous(format!("sbatch was late: {message}")),
        () if has(FULL) => Submitted::Full(message),
        () if has(REFUSALS) => Submitted::Refused(message),
        () => Submitted::Ambiguous(message),
    }
}

fn read_id(line: &str) -> Option<&str> {
    let id = line.trim().split(';').next()?;
    (!id.is_empty() && id.len() <= 12 && id.bytes().all(|byte| byte.is_ascii_digit())).then_some(id)
}

/// What a command said went wrong, in one line.
fn message_of(stderr: &str, done: &Finished) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { format!("exit code {} and no message", done.code) } else { shortened(&lines.join("; ")) }
}

fn shortened(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
    if text.chars().count() > 400 {
        line.push('…');
    }
    line.trim().to_owned()
}

/// A script that calls one program, for so many seconds at most.
fn command(seconds: u64, words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("{ENVIRONMENT}exec timeout -k 5 {seconds} {}", words.join(" "))
}

/// Calls `sbatch` with this script.
pub(super) fn submit(transport: &dyn Transport, arguments: &[String], script: &str) -> Submitted {
    let words: Vec<String> =
        ["sbatch", "--parsable"].into_iter().map(str::to_owned).chain(arguments.iter().cloned()).collect();
    let text = command(SBATCH_S, &words);
    let mut stdin = script.as_bytes();
    read_submit(transport.exec(Exec {
        script: &text,
        stdin: Some(&mut stdin),
        stdout: None,
        timeout: Duration::from_secs(SBATCH_S + SLACK_S),
    }))
}

/// Calls a program that only asks; an error is the sentence on why there is no answer.
pub(super) fn ask_program(transport: &dyn Transport, words: &[&str]) -> Result<String, String> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    ask(transport, &command(ASK_S, &words))
}

/// Runs a script that only asks; an error is the sentence on why there is no answer.
fn ask(transport: &dyn Transport, script: &str) -> Result<String, String> {
    let answer = transport.exec(Exec::of(script, Duration::from_secs(ASK_S + SLACK_S)));
    let done = answer.map_err(|error| error.to_string())?;
    if done.code != 0 {
        return Err(message_of(&String::from_utf8_lossy(&done.stderr), &done));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Asks for every job of the user who submits. The last line tells a queue that is empty from an answer cut short.
pub(super) fn queue(transport: &dyn Transport) -> Result<Vec<Row>, String> {
    let script = format!(
        "{ENVIRONMENT}timeout -k 5 {ASK_S} squeue -h -r -t all -u \"$(id -un)\" -o '%i|%F|%K|%T|%N|%r|%S|%e|%j' && echo end"
    );
    read_queue(&ask(transport, &script)?)
}

/// Reads what `squeue` printed; rows that are not ours, or not rows, are passed over.
pub(super) fn read_queue(text: &str) -> Result<Vec<Row>, String> {
    let Some(rows) = text.trim_end().strip_suffix("end") else {
        return Err(format!("squeue printed `{}`", shortened(text)));
    };
    Ok(rows.lines().filter_map(read_row).collect())
}

fn read_row(line: &str) -> Option<Row> {
    let mut left = line.splitn(6, '|');
    let (id, array, index, word, nodes) = (left.next()?, left.next()?, left.next()?, left.next()?, left.next()?);
    // the reason may hold anything, our names do not
    let mut right = left.next()?.rsplitn(4, '|');
    let (name, end, start, reason) = (right.next()?, right.next()?, right.next()?, right.next()?);
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // a job without a time limit has no end: Slurm has several words for what it does not know
    let no_time = ["N/A", "NONE", "Unknown", "INVALID", "UNLIMITED"];
    let time = |text: &str| no_time.contains(&text) || (text.len() == 19 && text.as_bytes().get(10) == Some(&b'T'));
    if !batch::is_token(name) || !number(array) || !time(start) || !time(end) {
        return None;
    }
    if is_ghost(word, reason, !no_time.contains(&start)) {
        return None;
    }
    let (index, id) =
        if number(index) { (index.parse().ok()?, format!("{array}_{index}")) } else { (0, id.to_owned()) };
    let element = Element { batch: name.to_owned(), index };
    Some(Row { element, id, word: word.to_owned(), reason: reason.to_owned(), placed: !nodes.is_empty() })
}

/// Asks for the cluster's MaxArraySize; 0 or 1 means that it has no arrays.
pub(super) fn array_size(transport: &dyn Transport) -> Result<u32, String> {
    let text = ask_program(transport, &["scontrol", "show", "config"])?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("MaxArraySize"));
    let size = line.and_then(|rest| rest.trim_start().strip_prefix('=')?.trim().parse().ok());
    size.ok_or_else(|| "scontrol tells no MaxArraySize".to_owned())
}

/// The most bytes of one script that stops jobs: it is one argument of a shell.
const STOP_SCRIPT_MAX: usize = 50_000;

/// Asks the cluster to stop jobs, each given by the name of its array and its id.
///
/// An id alone may be somebody else's by now, so the cluster is asked first whether it still bears the name. `scancel`
/// itself is given no name: with one it stops every pending element of an array for the sake of a single one.
pub(super) fn cancel(transport: &dyn Transport, jobs: &BTreeSet<(String, String)>) -> Result<(), String> {
    let mut lines = String::new();
    for (batch, array, elements) in arrays(jobs) {
        lines.push_str(&format!(
            "ours {} && set -- \"$@\" {}\n",
            quoted(&format!("{array}|{batch}")),
            quoted(&elements)
        ));
        if lines.len() > STOP_SCRIPT_MAX {
            ask(transport, &stop_script(&std::mem::take(&mut lines)))?;
        }
    }
    if lines.is_empty() { Ok(()) } else { ask(transport, &stop_script(&lines)).map(drop) }
}

/// What has ended meanwhile is no failure, though `scancel` says so.
fn stop_script(lines: &str) -> String {
    format!(
        "{ENVIRONMENT}live=$(timeout -k 5 {ASK_S} squeue -h -u \"$(id -un)\" -o '%F|%j') || exit 1\n\
         nl='\n'; live=$nl$live$nl\n\
         ours() {{ case $live in *\"$nl$1$nl\"*) return 0; esac; return 1; }}\n\
         set --\n{lines}[ $# -gt 0 ] || exit 0\n\
         said=$(timeout -k 5 {ASK_S} scancel \"$@\" 2>&1) && exit 0\n\
         printf '%s\\n' \"$said\" | grep -qvi -e 'invalid job id' -e 'already complet' || exit 0\n\
         printf '%s\\n' \"$said\" >&2; exit 1\n"
    )
}

/// Jobs as `scancel` takes them, one expression for all elements of an array: name, id of the array, expression.
fn arrays(jobs: &BTreeSet<(String, String)>) -> Vec<(&str, &str, String)> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut found: BTreeMap<(&str, &str), BTreeSet<u32>> = BTreeMap::new();
    for (batch, id) in jobs {
        let (array, index) = id.split_once('_').map_or((id.as_str(), None), |(array, index)| (array, Some(index)));
        let index = index.map(str::parse::<u32>).transpose();
        // an id that is none came from a handle that a plugin has spoilt
        if let (true, Ok(index)) = (number(array), index) {
            found.entry((batch, array)).or_default().extend(index);
        }
    }
    let expression = |array: &str, elements: &BTreeSet<u32>| match elements.len() {
        0 => array.to_owned(),
        _ => format!("{array}_[{}]", ranges(elements)),
    };
    found.iter().map(|((batch, array), elements)| (*batch, *array, expression(array, elements))).collect()
}

/// Numbers as `0-4,7`.
fn ranges(numbers: &BTreeSet<u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let text = |(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    runs.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "ms-0123456789abcdef0123456789abcdef";

    fn done(code: i32, stdout: &str, stderr: &str) -> Result<Finished, NoAnswer> {
        Ok(Finished { code, stdout: stdout.into(), stderr: stderr.into() })
    }

    #[test]
    fn answers_of_sbatch() {
        let word = |answer: &Submitted| match answer {
            Submitted::Yes(id) => format!("yes {id}"),
            Submitted::Refused(_) => "refused".to_owned(),
            Submitted::Full(_) => "full".to_owned(),
            Submitted::Ambiguous(_) => "ambiguous".to_owned(),
        };
        let failed = |text: &str| done(1, "", &format!("sbatch: error: Batch job submission failed: {text}\n"));
        let cases = [
            (done(0, "17\n", ""), "yes 17"),
            (done(0, "17;cluster\n", "a key is given twice"), "yes 17"),
            (done(0, "welcome to the cluster\n17\n", ""), "yes 17"),
            (done(0, "", ""), "ambiguous"),
            (done(0, "17\n18\n", ""), "ambiguous"),
            (done(0, "\u{1}\u{2}garbage", ""), "ambiguous"),
            (done(0, "99999999999999999999", ""), "ambiguous"),
            (failed("Socket timed out on send/recv operation"), "ambiguous"),
            (failed("Unable to contact slurm controller (connect failure)"), "ambiguous"),
            (failed("Protocol authentication error"), "ambiguous"),
            (failed("Invalid partition name specified"), "refused"),
            (failed("Requested node configuration is not available"), "refused"),
            (failed("Memory specification can not be satisfied"), "refused"),
            (failed("Invalid account or account/partition combination specified"), "refused"),
            (failed("Resource temporarily unavailable"), "full"),
            (
                done(
                    1,
                    "",
                    "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job \
                     violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n",
                ),
                "full",
            ),
            (
                done(
                    1,
                    "",
                    "sbatch: error: QOSMaxWallDurationPerJobLimit\nsbatch: error: Batch job submission failed: Job \
                     violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n",
                ),
                "refused",
            ),
            (
                done(124, "", "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying"),
                "ambiguous",
            ),
            (done(255, "", ""), "ambiguous"),
            (Err(NoAnswer::Lost("cut".to_owned())), "ambiguous"),
            (Err(NoAnswer::Unreachable("no route".to_owned())), "full"),
        ];
        for (answer, expected) in cases {
            assert_eq!(word(&read_submit(answer.clone())), expected, "{answer:?}");
        }
    }

    #[test]
    fn rows_that_are_not_ours_count_for_nothing() {
        let text = format!(
            "7|7|3|RUNNING|n[1-2]|None|2026-11-24T10:00:00|N/A|{OURS}\n\
             7|7|5|RUNNING|n[1-2]|None|2026-11-24T10:00:00|NONE|{OURS}\n\
             8|8|N/A|PENDING||a|b|c|N/A|N/A|{OURS}\n\
             9|9|N/A|PENDING||Priority|N/A|N/A|somebody-else\n\
             9|9|N/A|PENDING||Priority|N/A|N/A|x|{OURS}x\n\
             10|10|1|FAILED||BadConstraints|N/A|2026-11-24T10:00:00|{OURS}\n\
             slurm_load_jobs warning: something\n\
             11|11|4|NEW_WORD||None|N/A|N/A|{OURS}\nend\n"
        );
        let rows = read_queue(&text).expect("an answer");
        let short: Vec<String> =
            rows.iter().map(|row| format!("{} {} {} {}", row.id, row.element.index, row.word, row.reason)).collect();
        assert_eq!(short, ["7_3 3 RUNNING None", "7_5 5 RUNNING None", "8 0 PENDING a|b|c", "11_4 4 NEW_WORD None"]);
        assert_eq!(read_queue("end\n"), Ok(Vec::new()));
        assert!(read_queue("").is_err() && read_queue("7|7|3|RUNN").is_err());
    }

    #[test]
    fn what_is_to_be_stopped_is_named_by_array() {
        let jobs = ["7_0", "7_1", "7_2", "7_9", "7_11", "12", "x", "", "7_x", "7;rm"];
        let jobs = jobs.iter().map(|id| ("a".to_owned(), (*id).to_owned())).chain([("b".to_owned(), "8_3".to_owned())]);
        let jobs: BTreeSet<(String, String)> = jobs.collect();
        let expected =
            [("a", "12", "12".to_owned()), ("a", "7", "7_[0-2,9,11]".to_owned()), ("b", "8", "8_[3]".to_owned())];
        assert_eq!(arrays(&jobs), expected);
    }
}
