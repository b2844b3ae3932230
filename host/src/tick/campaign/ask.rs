//! What the campaign is asked, and what it answers. Until the transaction that records and follows an answer it is in
//! memory alone: after a crash the next tick asks anew.
use crate::ground::files::put;
use crate::model::contract::{Context, PlanReason, Reads};
use crate::model::evidence::{DecisionKind, EngineRecord};
use crate::plugin::{Answer, PluginError};
use crate::store::{Came, FormerState, NewDecision, RunRow, StoreError, Writer, kept_path};
use crate::tick::campaign::PlanError;
use crate::tick::campaign::decision::{context, input_digest};
use crate::tick::{Moment, Run, TickError};
use std::collections::BTreeMap;

/// A decision that came to nothing.
pub(in crate::tick) struct Undecided {
    pub(in crate::tick) error: PlanError,
    /// What was asked, if it came to that.
    pub(in crate::tick) asked: Option<Box<Asked>>,
    /// What the call used, and what it said.
    pub(in crate::tick) answer: Spent,
}

impl<E: Into<PlanError>> From<E> for Undecided {
    fn from(error: E) -> Self {
        Self { error: error.into(), asked: None, answer: Spent::default() }
    }
}

/// What a call used beside its answer.
#[derive(Default)]
pub(in crate::tick) struct Spent {
    pub(in crate::tick) fuel: u64,
    pub(in crate::tick) reads: Reads,
    /// The files it wrote, by digest, with their sizes; they lie in the run.
    pub(in crate::tick) written: Vec<(String, u64)>,
    /// What it said, where that could not be taken.
    pub(in crate::tick) said: Option<String>,
}

impl Spent {
    /// What a call used whose answer has yet to be believed.
    pub(in crate::tick) fn of<T>(answer: Answer<T>) -> (Self, Result<T, PluginError>, Written) {
        let Answer { value, fuel, reads, written } = answer;
        (Self { fuel, reads, written: Vec::new(), said: None }, value, written)
    }

    /// Puts the files that a call wrote into the run, durably, before the answer that names them is recorded.
    pub(in crate::tick) fn keep(&mut self, run: &Run, written: Written) -> Result<(), PlanError> {
        for (digest, bytes) in written {
            keep_bytes(run, &digest, &bytes)?;
            self.written.push((digest, bytes.len() as u64));
        }
        Ok(())
    }
}

/// Files by SHA-256.
pub(in crate::tick) type Written = BTreeMap<String, Vec<u8>>;

/// Puts a file that no attempt left into the run, durably; one that is there already is the same.
pub(in crate::tick) fn keep_bytes(run: &Run, digest: &str, bytes: &[u8]) -> Result<(), TickError> {
    let path = run.dir.join(&run.dir.place(kept_path(digest)));
    let wrong = |error| TickError::Io(format!("writing `{}`", path.display()), error);
    if std::fs::metadata(&path).is_ok_and(|there| there.is_file() && there.len() == bytes.len() as u64) {
        return Ok(());
    }
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(wrong)?;
    crate::ground::failpoint::hit("kept.put");
    put(&path, bytes, true).map_err(wrong)
}

/// What the campaign is to be asked.
pub(in crate::tick) struct Question<'a> {
    pub(in crate::tick) kind: DecisionKind,
    /// The run as it stands.
    pub(in crate::tick) row: &'a RunRow,
    /// The results that are handed over, as canonical JSON.
    pub(in crate::tick) finished: Option<String>,
    /// The configuration that it is asked under, by its digest.
    pub(in crate::tick) config_sha256: &'a str,
    /// Why it is asked, beside what the store says.
    pub(in crate::tick) also: Option<PlanReason>,
}

/// A decision as it is asked for: all that it can depend on.
pub(in crate::tick) struct Asked {
    kind: DecisionKind,
    pub(in crate::tick) context: Context,
    former: Option<(u64, String)>,
    pub(in crate::tick) finished: Option<String>,
    plugin_sha256: String,
    engine: EngineRecord,
    input_sha256: String,
}

impl Asked {
    pub(in crate::tick) fn new(run: &Run, question: Question<'_>, moment: Moment<'_>) -> Result<Self, PlanError> {
        let Question { kind, row, finished, config_sha256, also } = question;
        let mut context = context(run, row, kind, moment.now_ms)?;
        context.asked.extend(also.map(|why| why.as_str().to_owned()));
        context.asked.sort_unstable();
        context.asked.dedup();
        let former = run.store.campaign_state()?;
        let state = former.as_ref().map(|(_, text)| text.as_str());
        let input_sha256 = input_digest(kind, &context, config_sha256, state, finished.as_deref());
        let (plugin_sha256, engine) = (campaign_digest(run), run.plugins.engine());
        Ok(Self { kind, context, former, finished, plugin_sha256, engine, input_sha256 })
    }

    pub(in crate::tick) fn state(&self) -> Option<&str> {
        self.former.as_ref().map(|(_, text)| text.as_str())
    }

    pub(in crate::tick) fn record(&self, writer: &Writer<'_>, spent: &Spent, came: Came<'_>) -> Result<(), StoreError> {
        let former = self.former.as_ref().map(|(number, text)| FormerState { number: *number, text });
        let supplied = self.context.run.supplied();
        let new = NewDecision {
            number: self.context.decision,
            kind: self.kind,
            iteration: self.context.iteration,
            now_ms: self.context.now_ms as i64,
            plugin_sha256: &self.plugin_sha256,
            engine: &self.engine,
            former,
            asked: &self.context.asked,
            open_tasks: self.context.open_tasks,
            supplied: supplied.as_deref(),
            finished: self.finished.as_deref(),
            input_sha256: &self.input_sha256,
            fuel: spent.fuel,
            reads: &spent.reads,
            written: &spent.written,
        };
        writer.add_decision(&new, came)
    }

    /// It came to nothing.
    pub(in crate::tick) fn undecided(self, error: impl Into<PlanError>, answer: Spent) -> Undecided {
        Undecided { error: error.into(), asked: Some(Box::new(self)), answer }
    }
}

fn campaign_digest(run: &Run) -> String {
    let pinned = run.config.pinned_component(&run.config.campaign.plugin);
    pinned.map(|file| file.sha256.clone()).unwrap_or_default()
}
