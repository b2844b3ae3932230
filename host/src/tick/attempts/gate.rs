//! Questions that say whose answer counts: `input.approve.by`. An operator sees no more of an answer than its bytes, so
//! the host looks at who owns the file: before the operator is asked, and once more when it has taken an answer, since
//! a file may be exchanged in between. What is set aside lies beside the question; after a crash the next tick looks at
//! the same.
use crate::model::act::{Act, Actor, Verb};
use crate::model::reason::Reason;
use crate::model::rules::{Person, answerers, is_among, people};
use crate::model::states::AttemptState;
use crate::run::{set_aside_answer, was_set_aside};
use crate::store::AttemptRow;
use crate::tick::attempts::NEXT_TICK_MS;
use crate::tick::attempts::poll::{Learnt, Progress};
use crate::tick::{Moment, Run, TickError};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A question that certain people alone may answer.
pub(super) struct Gate {
    directory: PathBuf,
    by: Vec<Person>,
}

impl Gate {
    /// What an attempt asks of certain people, if it does. Where a backend carries the attempt out, nobody is asked.
    pub(super) fn of(run: &Run, attempt: &AttemptRow) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Asks {
            #[serde(default)]
            input: Option<Value>,
        }
        if run.config.backend_tells(&attempt.operator) || !attempt.task_json.contains("\"approve\"") {
            return None;
        }
        let asks: Asks = serde_json::from_str(&attempt.task_json).ok()?;
        Some(Self { by: answerers(asks.input.as_ref())?, directory: run.dir.join(&attempt.directory) })
    }

    /// Sets an answer aside that somebody else gave, and tells what the record says of it.
    pub(super) fn set_aside(&self, attempt: &AttemptRow, moment: Moment<'_>) -> Result<Option<Act>, TickError> {
        let aside = set_aside_answer(&self.directory, &self.by, moment.user_name);
        let aside =
            aside.map_err(|error| TickError::Io(format!("setting an answer to `{}` aside", attempt.task_id), error))?;
        Ok(aside.map(|aside| {
            let (task, id) = (&attempt.task_id, &attempt.id);
            let arguments = json!({"task": task, "attempt": id, "sha256": aside.sha256, "set_aside": aside.why});
            let by = Actor { user_id: aside.uid, user: aside.user, host: String::new(), version: None };
            Act { verb: Verb::Respond, arguments, reason: None, by, at_ms: moment.now_ms }
        }))
    }

    /// What was learnt, unless the operator has taken an answer that is none of those who may give it: then the
    /// question stays as it was `before`.
    pub(super) fn heed(&self, learnt: Learnt, before: AttemptRow, act: Option<Act>) -> Learnt {
        match learnt {
            Learnt::Progress(progress) => {
                Learnt::Progress(Progress { reason: self.told(progress.reason), act, ..progress })
            }
            Learnt::End(verdict)
                if self.is_answered_by_others(verdict.end.data.as_deref(), verdict.end.act.as_ref()) =>
            {
                let text = format!("only {} may answer, and the answer was not theirs", people(&self.by));
                let reason = before.waits_for.clone().map(|word| Reason { word, text });
                let attempt = AttemptRow { task_json: String::new(), ..before };
                let to = AttemptState::WaitingExternal;
                let to = if attempt.waits_for.is_some() { to } else { attempt.state };
                Learnt::Progress(Progress { attempt, to, reason, poll_after_ms: NEXT_TICK_MS, act })
            }
            Learnt::End(mut verdict) => {
                verdict.end.act = verdict.end.act.take().or(act);
                Learnt::End(verdict)
            }
        }
    }

    /// What an attempt waits for, and that an answer was set aside.
    fn told(&self, reason: Option<Reason>) -> Option<Reason> {
        let aside = was_set_aside(&self.directory);
        reason.map(|reason| match aside {
            Some(aside) => Reason { text: format!("{}; {aside}", reason.text), ..reason },
            None => reason,
        })
    }

    /// Whether an answer was taken whose file is not that of somebody who may give it. What ends without an answer, by
    /// its deadline or cancelled, ends.
    fn is_answered_by_others(&self, data: Option<&str>, act: Option<&Act>) -> bool {
        let data = data.and_then(|data| serde_json::from_str::<Value>(data).ok());
        let Some(taken) = data.as_ref().filter(|data| data.get("answer").is_some()) else { return false };
        let theirs = act.is_some_and(|act| {
            act.arguments.get("sha256") == taken.get("sha256")
                && is_among(&self.by, act.by.user_id, &crate::ground::machine::user_number)
        });
        !theirs
    }
}
