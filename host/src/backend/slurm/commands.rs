//! Slurm's commands: what is called, and what its answers mean. Every call has a time limit on both sides.
use super::array;
use super::rows::{Limits, Row};
use super::state::is_ghost;
use crate::backend::transport::{Exec, Finished, NoAnswer, Transport};
use crate::ground::random;
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
    /// Nobody knows. Where `sbatch` waited for room until it was given up, there is no job most likely.
    Ambiguous { text: String, waited: bool },
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

/// What `sbatch` says while it waits for room by itself.
const WAITED: &str = "temporarily unable to accept job";

/// Reads the answer of `sbatch --parsable`.
pub(super) fn read_submit(answer: Result<Finished, NoAnswer>) -> Submitted {
    let done = match answer {
        Ok(done) => done,
        Err(NoAnswer::Unreachable(text)) => return Submitted::Full(text),
        Err(NoAnswer::Lost(text)) => return ambiguous(text),
    };
    let stderr = String::from_utf8_lossy(&done.stderr);
    let message = message_of(&stderr, &done);
    if done.code == 0 {
        let stdout = String::from_utf8_lossy(&done.stdout);
        let ids: Vec<&str> = stdout.lines().filter_map(read_id).collect();
        return match ids.as_slice() {
            [id] => Submitted::Yes((*id).to_owned()),
            _ => ambiguous(format!("sbatch gave no job id but `{}`", shortened(&stdout))),
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
        () if late => ambiguous(format!("sbatch was late: {message}")),
        () if has(FULL) => Submitted::Full(message),
        () if has(REFUSALS) => Submitted::Refused(message),
        () => ambiguous(message),
    }
}

fn ambiguous(text: String) -> Submitted {
    let waited = text.contains(WAITED);
    Submitted::Ambiguous { text, waited }
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

/// A word that nobody can guess, between fields that may hold anything: a name cannot pass for a row or a field.
pub(super) fn marker() -> Result<String, String> {
    Ok(format!("~{}~", random::word::<6>().map_err(|error| error.to_string())?))
}

/// Asks for every job of the user who submits. The last line tells a queue that is empty from an answer cut short.
pub(super) fn queue(transport: &dyn Transport) -> Result<Vec<Row>, String> {
    let m = marker()?;
    let format = format!("{m}%i|%F|%K|%T|%N|%S|%e|%r{m}%j{m}%k");
    let script = format!(
        "{ENVIRONMENT}timeout -k 5 {ASK_S} squeue -h -r -t all -u \"$(id -un)\" -o {} && echo end",
        quoted(&format)
    );
    read_queue(&ask(transport, &script)?, &m)
}

/// Reads what `squeue` printed; rows that are not ours, or not rows, are passed over.
pub(super) fn read_queue(text: &str, marker: &str) -> Result<Vec<Row>, String> {
    let Some(rows) = text.trim_end().strip_suffix("end") else {
        return Err(format!("squeue printed `{}`", shortened(text)));
    };
    Ok(rows.split('\n').filter_map(|line| read_row(line.strip_prefix(marker)?, marker)).collect())
}

fn read_row(line: &str, marker: &str) -> Option<Row> {
    let mut texts = line.split(marker);
    let mut fields = texts.next()?.splitn(8, '|');
    let mut field = || fields.next();
    let (_, number, index, word, nodes) = (field()?, field()?, field()?, field()?, field()?);
    let (start, end, reason) = (field()?, field()?, field()?);
    // the name is cut off where it holds the end of a line, and the comment with it
    let array = array_of(texts.next()?, texts.next().unwrap_or_default())?;
    // a job without a time limit has no end: Slurm has several words for what it does not know
    let no_time = ["N/A", "NONE", "Unknown", "INVALID", "UNLIMITED"];
    let time = |text: &str| no_time.contains(&text) || (text.len() == 19 && text.as_bytes().get(10) == Some(&b'T'));
    if !is_number(number) || !time(start) || !time(end) || is_ghost(word, reason, !no_time.contains(&start)) {
        return None;
    }
    let index = if is_number(index) { Some(index.parse().ok()?) } else { None };
    let (word, reason) = (shortened(word), shortened(reason));
    Some(Row { array: array.to_owned(), number: number.to_owned(), index, word, reason, placed: !nodes.is_empty() })
}

/// The array that a job belongs to by its name, or by the first word of its comment: administrators rename jobs.
pub(super) fn array_of<'a>(name: &'a str, comment: &'a str) -> Option<&'a str> {
    let first = comment.split(' ').next().unwrap_or_default();
    [name, first].into_iter().find(|word| array::is_name(word))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Asks what the cluster's configuration says.
pub(super) fn limits(transport: &dyn Transport) -> Result<Limits, String> {
    let text = ask_program(transport, &["scontrol", "show", "config"])?;
    let number = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
        line?.trim_start().strip_prefix('=')?.split_whitespace().next()?.parse::<u32>().ok()
    };
    let array_size = number("MaxArraySize").ok_or("scontrol tells no MaxArraySize")?;
    Ok(Limits { array_size, shown_ms: number("MinJobAge").map_or(0, |seconds| i64::from(seconds) * 1000) })
}

/// The most bytes of one script that stops jobs: it is one argument of a shell.
const STOP_SCRIPT_MAX: usize = 50_000;

/// Asks the cluster to stop jobs, each given by the name of its array and its id.
///
/// An id alone may be somebody else's by now, so the cluster is asked first whether it still bears the name. `scancel`
/// itself is given no name: with one it stops every pending element of an array for the sake of a single one.
pub(super) fn cancel(transport: &dyn Transport, jobs: &BTreeSet<(String, String)>) -> Result<(), String> {
    let mut lines = String::new();
    for (array, number, elements) in arrays(jobs) {
        lines.push_str(&format!("ours {number} {array} && set -- \"$@\" {}\n", quoted(&elements)));
        if lines.len() > STOP_SCRIPT_MAX {
            ask(transport, &stop_script(&std::mem::take(&mut lines), &marker()?))?;
        }
    }
    if lines.is_empty() { Ok(()) } else { ask(transport, &stop_script(&lines, &marker()?)).map(drop) }
}

/// A job is ours by its name or by the first word of its comment. What has ended meanwhile is no failure, though
/// `scancel` says so.
fn stop_script(lines: &str, m: &str) -> String {
    format!(
        "{ENVIRONMENT}live=$(timeout -k 5 {ASK_S} squeue -h -u \"$(id -un)\" -o '{m}%F|%j{m}%F|%k {m}') || exit 1\n\
         ours() {{ case $live in *\"{m}$1|$2{m}\"*|*\"{m}$1|$2 \"*) return 0; esac; return 1; }}\n\
         set --\n{lines}[ $# -gt 0 ] || exit 0\n\
         said=$(timeout -k 5 {ASK_S} scancel \"$@\" 2>&1) && exit 0\n\
         printf '%s\\n' \"$said\" | grep -qvi -e 'invalid job id' -e 'already complet' || exit 0\n\
         printf '%s\\n' \"$said\" >&2; exit 1\n"
    )
}

/// Jobs as `scancel` takes them, one expression for all elements of an array: name, id of the array, expression.
fn arrays(jobs: &BTreeSet<(String, String)>) -> Vec<(&str, &str, String)> {
    let mut found: BTreeMap<(&str, &str), BTreeSet<u32>> = BTreeMap::new();
    for (array, id) in jobs {
        let (number, index) = id.split_once('_').map_or((id.as_str(), None), |(number, index)| (number, Some(index)));
        let index = index.map(str::parse::<u32>).transpose();
        // an id that is none came from a handle that a plugin has spoilt
        if let (true, Ok(index)) = (array::is_name(array) && is_number(number), index) {
            found.entry((array, number)).or_default().extend(index);
        }
    }
    let expression = |number: &str, elements: &BTreeSet<u32>| match elements.len() {
        0 => number.to_owned(),
        _ => format!("{number}_[{}]", ranges(elements)),
    };
    found.iter().map(|((array, number), elements)| (*array, *number, expression(number, elements))).collect()
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
            Submitted::Ambiguous { .. } => "ambiguous".to_owned(),
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
        let (m, at) = ("~0123~", "2026-11-24T10:00:00");
        let other = "ms-ffffffffffffffffffffffffffffffff";
        let text = format!(
            "{m}7|7|3|RUNNING|n[1-2]|{at}|N/A|None{m}{OURS}{m}{OURS} r t\n\
             {m}7|7|5|RUNNING|n[1-2]|{at}|NONE|None{m}{OURS}{m}\n\
             {m}8|8|N/A|PENDING||N/A|N/A|a|b\u{1b}[2J|c{m}{OURS}{m}(null)\n\
             {m}9|9|N/A|PENDING||N/A|N/A|Priority{m}somebody-else{m}{other}x y\n\
             {m}9|9|N/A|PENDING||N/A|N/A|Priority{m}x|{OURS}{m}x {OURS}\n\
             {m}9|9|N/A|PENDING||N/A|N/A|Priority{m}{OURS}x{m}\n\
             {m}10|10|1|FAILED||N/A|{at}|BadConstraints{m}{OURS}{m}{OURS} r t\n\
             slurm_load_jobs warning: something\n\
             7|7|3|FAILED|n1|{at}|{at}|None|{OURS}\n\
             {m}11|11|4|NEW_WORD||N/A|N/A|None{m}renamed{m}{OURS} r a|task {other} +7\n\
             {m}12|12|5|RUNNING|n1|{at}|N/A|None{m}two\n7|7|3|FAILED|n1|{at}|{at}|None{m}{OURS}{m}{OURS}\n\
             {m}13|13|6|RUNNING|n1|{at}|N/A|None{m}{OURS}{m}{other} r t\nend\n"
        );
        let rows = read_queue(&text, m).expect("an answer");
        let short: Vec<String> =
            rows.iter().map(|row| format!("{} {:?} {} {}", row.number, row.index, row.word, row.reason)).collect();
        let expected = [
            "7 Some(3) RUNNING None",
            "7 Some(5) RUNNING None",
            "8 None PENDING a|b [2J|c",
            "11 Some(4) NEW_WORD None",
            "13 Some(6) RUNNING None",
        ];
        assert_eq!(short, expected);
        assert!(rows.iter().all(|row| row.array == OURS));
        assert_eq!(read_queue("end\n", m), Ok(Vec::new()));
        assert!(read_queue("", m).is_err() && read_queue("~0123~7|7|3|RUNN", m).is_err());
    }

    #[test]
    fn what_is_to_be_stopped_is_named_by_array() {
        let other = "ms-ffffffffffffffffffffffffffffffff";
        let jobs = ["7_0", "7_1", "7_2", "7_9", "7_11", "12", "x", "", "7_x", "7;rm"];
        let jobs = jobs.iter().map(|id| (OURS, *id)).chain([(other, "8_3"), ("$(touch x)", "9_1")]);
        let jobs: BTreeSet<(String, String)> = jobs.map(|(array, id)| (array.to_owned(), id.to_owned())).collect();
        let expected =
            [(OURS, "12", "12".to_owned()), (OURS, "7", "7_[0-2,9,11]".to_owned()), (other, "8", "8_[3]".to_owned())];
        assert_eq!(arrays(&jobs), expected);
    }
}
