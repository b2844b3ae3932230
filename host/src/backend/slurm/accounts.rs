//! What the site's accounts (slurmdbd) tell of jobs that the queue has forgotten. Their silence decides nothing.
use super::claim::is_cancelled;
use super::commands::{array_of, ask_program, marker};
use super::ledger::{Element, Job};
use super::state::{self, Stage};
use super::status::{POLL_AFTER_MS, SILENT_MS};
use super::{Memory, SlurmBackend};
use crate::backend::JobKey;
use crate::backend::transport::Transport;
use crate::model::code::Code;
use crate::model::contract::{Detail, GuestError, Status};
use std::collections::HashMap;

/// How many times the grace the accounts may be late with an end: a slurmdbd that was down is told of it once it is
/// back.
const LATE: i64 = 30;

/// No element has a higher index, nor does a line tell of more: Slurm allows no larger array.
const ELEMENTS_MAX: u32 = 4_000_000;

/// What was learnt since the last look at the queue.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// By the array's id, and by index.
    stages: HashMap<String, HashMap<u32, Stage>>,
    /// Why they did not answer.
    silent: Option<String>,
}

impl SlurmBackend {
    /// Where a job stands that the queue shows no more and that left no exit record.
    pub(super) fn forgotten(
        &self,
        memory: &mut Memory,
        key: JobKey<'_>,
        element: &Element,
        job: &Job,
        now: i64,
    ) -> Result<(Status, u64), GuestError> {
        let grace = self.grace_ms();
        let soon = Ok((Status::Running(None), grace.max(50) as u64));
        if self.settings.sacct {
            match self.account_of(memory, element, job, now) {
                Err(silence) => {
                    let text = format!(
                        "the queue has forgotten job {}, and the site's accounts do not answer: {silence}; where `sacct` \
                         is false the queue alone decides",
                        job.id
                    );
                    return Ok((Status::Unavailable(Detail::of(Code::AccountsSilent, text)), SILENT_MS));
                }
                Ok(Some(ended @ Stage::Ended(_))) => {
                    return Ok((self.judge(memory, key, element, ended, "")?, POLL_AFTER_MS));
                }
                Ok(_) => {
                    let since = memory.ledger.head.accounts_ms.unwrap_or(now).max(job.since_ms);
                    if now.saturating_sub(since) < LATE * grace && !is_cancelled(key.directory) {
                        return soon;
                    }
                }
            }
        }
        // absent twice, and for long enough
        if memory.ledger.head.answered_ms < job.since_ms.saturating_add(grace) {
            return soon;
        }
        Ok((self.judge(memory, key, element, Stage::Gone, &job.reason)?, POLL_AFTER_MS))
    }

    /// Where a job stands by the accounts, if they know it; asked once for an array between two looks at the queue.
    fn account_of(&self, memory: &mut Memory, element: &Element, job: &Job, now: i64) -> Result<Option<Stage>, String> {
        if let Some(silence) = &memory.accounts.silent {
            return Err(silence.clone());
        }
        let number = job.id.split('_').next().filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(number) = number.filter(|number| !number.is_empty()) else { return Ok(None) };
        if !memory.accounts.stages.contains_key(number) {
            let stages = ask(&*self.transport, number, &element.array);
            let since = stages.is_ok().then(|| memory.ledger.head.accounts_ms.unwrap_or(now));
            if since != memory.ledger.head.accounts_ms {
                memory.ledger.head.accounts_ms = since;
                memory.ledger.touch();
            }
            let stages = stages.inspect_err(|silence| memory.accounts.silent = Some(silence.clone()))?;
            memory.accounts.stages.insert(number.to_owned(), stages);
        }
        Ok(memory.accounts.stages.get(number).and_then(|stages| stages.get(&element.index)).copied())
    }
}

/// Asks for the jobs of one array, by index: by its id, since a job that was never eligible to start is not told
/// otherwise; whose they are, name or comment tells, since the id may be another's. The start in the past reaches
/// beyond today.
fn ask(transport: &dyn Transport, number: &str, array: &str) -> Result<HashMap<u32, Stage>, String> {
    let marker = marker()?;
    let delimiter = format!("--delimiter={marker}");
    let words = ["sacct", "-n", "-P", "-X", "-S", "now-60days", "-o", "JobID,NodeList,State,JobName,Comment"];
    let text = ask_program(transport, &[&words[..], &["-j", number, &delimiter]].concat())?;
    Ok(text.split('\n').filter_map(|line| read_line(line, &marker, array)).flatten().collect())
}

/// Reads a line, which may tell of several elements that never started: `12_[4-9,11]`.
fn read_line(line: &str, marker: &str, array: &str) -> Option<Vec<(u32, Stage)>> {
    let mut fields = line.split(marker);
    let (id, nodes, word, name) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    array_of(name, fields.next().unwrap_or_default()).filter(|ours| *ours == array)?;
    let elements = id.split_once('_').map_or("0", |(_, elements)| elements);
    let elements = elements.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or(elements);
    let mut indices: Vec<u32> = Vec::new();
    for part in elements.split('%').next()?.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        indices.extend(first..=last.min(ELEMENTS_MAX));
        if indices.len() > ELEMENTS_MAX as usize {
            return None;
        }
    }
    let stage = state::stage(word, "", !["", "None assigned"].contains(&nodes));
    Some(indices.into_iter().map(|index| (index, stage)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::state::End;
    use super::*;

    #[test]
    fn lines_name_elements() {
        const OURS: &str = "ms-0123456789abcdef0123456789abcdef";
        let read_line = |line: &str| super::read_line(&format!("{line}|{OURS}|").replace('|', "~0~"), "~0~", OURS);
        let cancelled = Stage::Ended(End::Cancelled);
        assert_eq!(read_line("12_3|None assigned|CANCELLED by 0"), Some(vec![(3, cancelled)]));
        assert_eq!(read_line("12_3|n[1-2]|CANCELLED by 0"), Some(vec![(3, Stage::Ended(End::CancelledThere))]));
        let several = [0, 1, 4].map(|index| (index, cancelled));
        assert_eq!(read_line("12_[0-1,4%2]|None assigned|CANCELLED by 0"), Some(several.to_vec()));
        assert_eq!(read_line("12|n1|TIMEOUT"), Some(vec![(0, Stage::Ended(End::Timeout))]));
        assert_eq!(read_line("12_[0-1,...]|None assigned|PENDING"), None);
        assert_eq!(read_line("sacct: nonsense"), None);
        let whose = |name: &str, comment: &str| {
            super::read_line(&format!("12_3~0~n1~0~FAILED~0~{name}~0~{comment}"), "~0~", OURS).is_some()
        };
        assert!(whose(OURS, "") && whose("renamed", &format!("{OURS} run task")));
        assert!(
            !whose("other", "")
                && !whose("ms-ffffffffffffffffffffffffffffffff", OURS)
                && !whose("x", &format!("x {OURS}"))
        );
        assert_eq!(read_line("12_[5000000-4294967295]|None assigned|PENDING"), Some(Vec::new()));
        assert_eq!(read_line(&format!("12_[{}0]|n|FAILED", "0-4000000,".repeat(1_000_000))), None);
    }
}
