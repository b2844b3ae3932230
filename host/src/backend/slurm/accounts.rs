//! What the site's accounts (slurmdbd) tell of jobs that the queue has forgotten. Their silence decides nothing.
use super::client::ask_program;
use super::ledger::{Element, Job};
use super::state::{self, Stage};
use super::{Client, POLL_AFTER_MS, SILENT_MS, SlurmBackend};
use crate::backend::JobKey;
use crate::backend::transport::Transport;
use crate::model::attempt_dir::CANCEL;
use crate::model::contract::{Detail, GuestError, Status};
use std::collections::HashMap;

/// How many times the grace the accounts may be late with an end: a slurmdbd that was down is told of it once it is back.
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
        client: &mut Client,
        key: JobKey<'_>,
        element: &Element,
        job: &Job,
        now: i64,
    ) -> Result<(Status, u64), GuestError> {
        let grace = self.grace_ms();
        let soon = Ok((Status::Running(None), grace.max(50) as u64));
        if self.settings.sacct {
            match self.account_of(client, element, job, now) {
                Err(silence) => {
                    let text = format!(
                        "the queue has forgotten job {}, and the site's accounts do not answer: {silence}; where `sacct` \
                         is false the queue alone decides",
                        job.id
                    );
                    return Ok((Status::Unavailable(Detail::new("accounts-silent", text)), SILENT_MS));
                }
                Ok(Some(ended @ Stage::Ended(_))) => {
                    return Ok((self.judge(client, key, &element.batch, ended, "")?, POLL_AFTER_MS));
                }
                Ok(_) => {
                    let since = client.ledger.head.accounts_ms.unwrap_or(now).max(job.since_ms);
                    if now.saturating_sub(since) < LATE * grace && !key.directory.join(CANCEL).exists() {
                        return soon;
                    }
                }
            }
        }
        // absent twice, and for long enough
        if client.ledger.head.answered_ms < job.since_ms.saturating_add(grace) {
            return soon;
        }
        Ok((self.judge(client, key, &element.batch, Stage::Gone, &job.reason)?, POLL_AFTER_MS))
    }

    /// Where a job stands by the accounts, if they know it; asked once for an array between two looks at the queue.
    fn account_of(&self, client: &mut Client, element: &Element, job: &Job, now: i64) -> Result<Option<Stage>, String> {
        if let Some(silence) = &client.accounts.silent {
            return Err(silence.clone());
        }
        let array = job.id.split('_').next().filter(|array| array.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(array) = array.filter(|array| !array.is_empty()) else { return Ok(None) };
        if !client.accounts.stages.contains_key(array) {
            let stages = ask(&*self.transport, array, &element.batch);
            let since = stages.is_ok().then(|| client.ledger.head.accounts_ms.unwrap_or(now));
            if since != client.ledger.head.accounts_ms {
                client.ledger.head.accounts_ms = since;
                client.ledger.touch();
            }
            let stages = stages.inspect_err(|silence| client.accounts.silent = Some(silence.clone()))?;
            client.accounts.stages.insert(array.to_owned(), stages);
        }
        Ok(client.accounts.stages.get(array).and_then(|stages| stages.get(&element.index)).copied())
    }
}

/// Asks for the jobs of one array, by index: by its id, since a job that was never eligible to start is not told
/// otherwise, and by its name, since the id may be another's. The start in the past reaches beyond today.
fn ask(transport: &dyn Transport, array: &str, batch: &str) -> Result<HashMap<u32, Stage>, String> {
    let words = ["sacct", "-n", "-P", "-X", "-S", "now-60days", "-o", "JobID,NodeList,State"];
    let text = ask_program(transport, &[&words[..], &["-j", array, "--name", batch]].concat())?;
    Ok(text.lines().filter_map(read_line).flatten().collect())
}

/// Reads a line, which may tell of several elements that never started: `12_[4-9,11]`.
fn read_line(line: &str) -> Option<Vec<(u32, Stage)>> {
    let mut fields = line.splitn(3, '|');
    let (id, nodes, word) = (fields.next()?, fields.next()?, fields.next()?);
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
        let cancelled = Stage::Ended(End::Cancelled);
        assert_eq!(read_line("12_3|None assigned|CANCELLED by 0"), Some(vec![(3, cancelled)]));
        assert_eq!(read_line("12_3|n[1-2]|CANCELLED by 0"), Some(vec![(3, Stage::Ended(End::CancelledThere))]));
        let several = [0, 1, 4].map(|index| (index, cancelled));
        assert_eq!(read_line("12_[0-1,4%2]|None assigned|CANCELLED by 0"), Some(several.to_vec()));
        assert_eq!(read_line("12|n1|TIMEOUT"), Some(vec![(0, Stage::Ended(End::Timeout))]));
        assert_eq!(read_line("12_[0-1,...]|None assigned|PENDING"), None);
        assert_eq!(read_line("sacct: nonsense"), None);
        assert_eq!(read_line("12_[5000000-4294967295]|None assigned|PENDING"), Some(Vec::new()));
        assert_eq!(read_line(&format!("12_[{}0]|n|FAILED", "0-4000000,".repeat(1_000_000))), None);
    }
}
