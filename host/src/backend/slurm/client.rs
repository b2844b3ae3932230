//! Slurm's commands: what is called, and what its answers mean. Every call has a time limit on both sides.
use super::batch;
use super::ledger::{Element, Row};
use super::state::is_ghost;
use crate::backend::transport::{Exec, Finished, NoAnswer, Transport};
use crate::explain::quoted;
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

/// Runs a command that only asks; an error is the sentence on why there is no answer.
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
        "{ENVIRONMENT}timeout -k 5 {ASK_S} squeue -h -r -t all -u \"$(id -un)\" -o '%i|%F|%K|%T|%r|%S|%e|%j' && echo end"
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
    let mut left = line.splitn(5, '|');
    let (id, array, index, word) = (left.next()?, left.next()?, left.next()?, left.next()?);
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
    Some(Row { element, id, word: word.to_owned(), reason: reason.to_owned() })
}

/// Asks the site's accounts for the jobs of one array: state words by index.
pub(super) fn accounts(transport: &dyn Transport, batch: &str) -> Result<Vec<Row>, String> {
    let script = command(
        ASK_S,
        &["sacct", "-n", "-P", "-X", "-S", "now-60days", "-o", "JobID,State", "--name", batch].map(str::to_owned),
    );
    let text = ask(transport, &script)?;
    Ok(text.lines().filter_map(|line| read_account(line, batch)).collect())
}

fn read_account(line: &str, batch: &str) -> Option<Row> {
    let (id, word) = line.split_once('|')?;
    let index = id.split_once('_').map_or(Some(0), |(_, index)| index.parse().ok())?;
    let element = Element { batch: batch.to_owned(), index };
    Some(Row { element, id: id.to_owned(), word: word.to_owned(), reason: String::new() })
}

/// Asks for the cluster's MaxArraySize; 0 or 1 means that it has no arrays.
pub(super) fn array_size(transport: &dyn Transport) -> Result<u32, String> {
    let script = command(ASK_S, &["scontrol", "show", "config"].map(str::to_owned));
    let text = ask(transport, &script)?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("MaxArraySize"));
    let size = line.and_then(|rest| rest.trim_start().strip_prefix('=')?.trim().parse().ok());
    size.ok_or_else(|| "scontrol tells no MaxArraySize".to_owned())
}

/// Asks the cluster to stop jobs: ids by their array's name, since an id alone may be somebody else's by now.
pub(super) fn cancel(transport: &dyn Transport, jobs: &[(String, Vec<String>)]) -> Result<(), String> {
    let mut script = ENVIRONMENT.to_owned();
    script.push_str("failed=0\n");
    for (batch, ids) in jobs {
        for some in ids.chunks(200) {
            let ids: Vec<String> = some.iter().map(|id| quoted(id)).collect();
            script.push_str(&format!(
                "timeout -k 5 {ASK_S} scancel -u \"$(id -un)\" -n {} {} || failed=1\n",
                quoted(batch),
                ids.join(" ")
            ));
        }
    }
    script.push_str("exit $failed\n");
    ask(transport, &script).map(drop)
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
            "7|7|3|RUNNING|None|2026-11-24T10:00:00|N/A|{OURS}\n\
             7|7|5|RUNNING|None|2026-11-24T10:00:00|NONE|{OURS}\n\
             8|8|N/A|PENDING|a|b|c|N/A|N/A|{OURS}\n\
             9|9|N/A|PENDING|Priority|N/A|N/A|somebody-else\n\
             9|9|N/A|PENDING|Priority|N/A|N/A|x|{OURS}x\n\
             10|10|1|FAILED|BadConstraints|N/A|2026-11-24T10:00:00|{OURS}\n\
             slurm_load_jobs warning: something\n\
             11|11|4|NEW_WORD|None|N/A|N/A|{OURS}\nend\n"
        );
        let rows = read_queue(&text).expect("an answer");
        let short: Vec<String> =
            rows.iter().map(|row| format!("{} {} {} {}", row.id, row.element.index, row.word, row.reason)).collect();
        assert_eq!(short, ["7_3 3 RUNNING None", "7_5 5 RUNNING None", "8 0 PENDING a|b|c", "11_4 4 NEW_WORD None"]);
        assert_eq!(read_queue("end\n"), Ok(Vec::new()));
        assert!(read_queue("").is_err() && read_queue("7|7|3|RUNN").is_err());
    }

    #[test]
    fn accounts_name_elements() {
        let row = read_account("12_3|CANCELLED by 0", OURS).expect("a row");
        assert_eq!((row.element.index, row.word.as_str()), (3, "CANCELLED by 0"));
        assert_eq!(read_account("12_[4-9]|PENDING", OURS), None);
        assert_eq!(read_account("12|TIMEOUT", OURS).map(|row| row.element.index), Some(0));
    }
}
