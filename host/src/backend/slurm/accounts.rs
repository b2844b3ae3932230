//! What the site's accounts (slurmdbd) tell of jobs that the queue has forgotten. Their silence decides nothing.
use super::client::ask_program;
use super::ledger::{Element, Job};
use super::state::{self, Stage};
use super::{CANCEL, Client, POLL_AFTER_MS, SILENT_MS, SlurmBackend, grace_ms};
use crate::backend::JobKey;
use crate::backend::transport::Transport;
use crate::model::contract::{Detail, GuestError, Status};
use std::collections::HashMap;

/// How many times the grace the accounts may be late with an end: a slurmdbd that was down is told of it afterwards.
const LATE: i64 = 30;

/// What was learnt since the last look at the queue.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// By array and index.
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
        let grace = grace_ms();
        let soon = Ok((Status::Running(None), grace.max(50) as u64));
        if self.settings.sacct {
            match self.account_of(client, element) {
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
                Ok(_) if now.saturating_sub(job.since_ms) < LATE * grace && !key.directory.join(CANCEL).exists() => {
                    return soon;
                }
                Ok(_) => {}
            }
        }
        // absent twice, and for long enough
        if client.ledger.head.answered_ms < job.since_ms.saturating_add(grace) {
            return soon;
        }
        Ok((self.judge(client, key, &element.batch, Stage::Gone, &job.reason)?, POLL_AFTER_MS))
    }

    /// Where a job stands by the accounts, if they know it; asked once for an array between two looks at the queue.
    fn account_of(&self, client: &mut Client, element: &Element) -> Result<Option<Stage>, String> {
        if let Some(silence) = &client.accounts.silent {
            return Err(silence.clone());
        }
        if !client.accounts.stages.contains_key(&element.batch) {
            let stages = ask(&*self.transport, &element.batch);
            let stages = stages.inspect_err(|silence| client.accounts.silent = Some(silence.clone()))?;
            client.accounts.stages.insert(element.batch.clone(), stages);
        }
        Ok(client.accounts.stages.get(&element.batch).and_then(|stages| stages.get(&element.index)).copied())
    }
}

/// Asks for the jobs of one array, by index.
fn ask(transport: &dyn Transport, batch: &str) -> Result<HashMap<u32, Stage>, String> {
    // a start in the past is needed, or only what ran today is told
    let words = ["sacct", "-n", "-P", "-X", "-S", "now-60days", "-o", "JobID,NodeList,State", "--name", batch];
    Ok(ask_program(transport, &words)?.lines().filter_map(read_line).collect())
}

fn read_line(line: &str) -> Option<(u32, Stage)> {
    let mut fields = line.splitn(3, '|');
    let (id, nodes, word) = (fields.next()?, fields.next()?, fields.next()?);
    let index = id.split_once('_').map_or(Some(0), |(_, index)| index.parse().ok())?;
    Some((index, state::stage(word, "", !["", "None assigned"].contains(&nodes))))
}

#[cfg(test)]
mod tests {
    use super::super::state::End;
    use super::*;

    #[test]
    fn lines_name_elements() {
        assert_eq!(read_line("12_3|None assigned|CANCELLED by 0"), Some((3, Stage::Ended(End::Cancelled))));
        assert_eq!(read_line("12_3|n[1-2]|CANCELLED by 0"), Some((3, Stage::Ended(End::CancelledThere))));
        assert_eq!(read_line("12_[4-9]|None assigned|PENDING"), None);
        assert_eq!(read_line("12|n1|TIMEOUT"), Some((0, Stage::Ended(End::Timeout))));
        assert_eq!(read_line("sacct: nonsense"), None);
    }
}
