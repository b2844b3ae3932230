//! What people were asked, and what they answered.
use super::{Snapshot, StoreError};
use crate::model::act::{ActRecord, Actor, Verb};
use crate::model::evidence::{Answerer, ApprovalKind, ApprovalRecord, ApprovalState};
use crate::model::time::Time;
use rusqlite::Row;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

/// Words on whether tasks may start, and the documents of attempts that may be answers, in the order asked.
const ALL: &str = "SELECT t.task_id, p.version, t.operator, NULL, p.asked_ms, p.state, a.user_id, a.user, a.host, a.at_ms, \
     lower(hex(p.request)), a.reason, p.act, NULL FROM approvals p JOIN tasks t ON t.task_key = p.task_key LEFT JOIN \
     acts a ON a.act = p.act UNION ALL SELECT t.task_id, x.version, x.operator, x.attempt_id, x.created_at_ms, NULL, \
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, x.data FROM attempts x JOIN tasks t ON t.task_key = x.task_key WHERE \
     instr(x.data, '\"by_hand\"') > 0 ORDER BY 5, 1, 2, 4";

/// What an operator that asks people says of an answer.
#[derive(Deserialize)]
struct Answered {
    answer: Value,
    by: Option<Answerer>,
    by_hand: bool,
    at: Time,
    sha256: String,
    #[serde(default)]
    rejected: bool,
}

/// Answers that acts record, by attempt and digest. Those that were set aside are none.
type Responses = HashMap<(String, String), ActRecord>;

impl Snapshot<'_> {
    /// Hands over everything that people were asked to allow, and every answer to a question, in the order asked.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_approval<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(ApprovalRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let acts = self.store().acts()?.into_iter().filter(|act| act.verb == Verb::Respond.as_str());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let responses: Responses = acts
            .filter(|act| act.arguments.get("set_aside").is_none())
            .map(|act| ((text(&act.arguments["attempt"]), text(&act.arguments["sha256"])), act))
            .collect();
        self.store().each(ALL, |row| approval(row, &responses), |found| found.map_or(Ok(()), &mut each))
    }
}

/// What a row tells; nothing if it is of an attempt whose operator says something else under the same name.
fn approval(row: &Row<'_>, responses: &Responses) -> Result<Option<ApprovalRecord>, StoreError> {
    let state: Option<String> = row.get(5)?;
    let by = match (row.get::<_, Option<u32>>(6)?, row.get::<_, Option<String>>(7)?, row.get::<_, Option<String>>(8)?) {
        (Some(user_id), Some(user), Some(host)) => Some(Answerer { user_id, user, host }),
        _ => None,
    };
    let mut record = ApprovalRecord {
        kind: ApprovalKind::Start,
        task: row.get(0)?,
        version: row.get(1)?,
        operator: row.get(2)?,
        attempt_id: row.get(3)?,
        asked_at: Time(row.get(4)?),
        state: state.as_deref().and_then(ApprovalState::parse).unwrap_or(ApprovalState::Asked),
        by,
        at: row.get::<_, Option<i64>>(9)?.map(Time),
        by_hand: false,
        sha256: row.get::<_, Option<String>>(10)?.unwrap_or_default(),
        answer: None,
        reason: row.get(11)?,
        act: row.get(12)?,
    };
    let Some(data) = row.get::<_, Option<String>>(13)? else { return Ok(Some(record)) };
    let Ok(answered) = serde_json::from_str::<Answered>(&data) else { return Ok(None) };
    record.kind = ApprovalKind::Question;
    record.state = if answered.rejected { ApprovalState::Rejected } else { ApprovalState::Answered };
    (record.by, record.by_hand, record.at) = (answered.by, answered.by_hand, Some(answered.at));
    let key = (record.attempt_id.clone().unwrap_or_default(), answered.sha256.clone());
    if let Some(act) = responses.get(&key) {
        // what an operator says may be made up; whose the file was that it read is known
        let ActRecord { by: Actor { user_id, user, host, .. }, .. } = act.clone();
        record.by = Some(Answerer { user_id, user, host });
        (record.act, record.reason) = (Some(act.act), act.reason.clone());
    }
    (record.sha256, record.answer) = (answered.sha256, Some(answered.answer));
    Ok(Some(record))
}
