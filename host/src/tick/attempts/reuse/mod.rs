//! A task whose work an earlier attempt of another run has done completes with what that one left, and nothing runs.
//!
//! The files are brought into a directory of their own, which the attempt gets in the commit that completes it: what a
//! crash leaves there is never taken for what a job was given or has left. A run that cannot be read fails no tick.
mod key;
mod named;
mod source;
mod take;
mod why;

pub use why::{Answer, Survey, explain_reuse, reject, survey};

use crate::ground::carriage::{Allowance, Carriage};
use crate::ground::failpoint;
use crate::model::code::Code;
use crate::model::config::RunConfig;
use crate::model::reason::Reason;
use crate::model::reuse::{Ignorable, Part, ReuseConfig, ReuseKey, Reused};
use crate::model::states::{AttemptOutcome, AttemptState};
use crate::model::workflow::Task;
use crate::store::{AttemptEnd, AttemptRow, Earlier, EarlierState, NewInput, StoreError, Writer};
use crate::tick::attempts::verdict::{self, Sequel, Verdict};
use crate::tick::{Run, TickError};
use key::{Frame, Keyless};
use source::{Source, Sources};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use take::{NotTaken, Taken, take, wanted};

/// What the directory of an attempt that took earlier results is called, after what it would be called otherwise.
const DIRECTORY: &str = "-reused";

/// What is known of earlier runs while tasks are started: they are opened when the first task asks for it.
#[derive(Debug, Default)]
pub(in crate::tick) struct Reuse {
    frames: BTreeMap<String, Result<Frame, String>>,
    sources: Option<Sources>,
    /// Attempts whose results are taken and not recorded yet.
    taken: BTreeSet<String>,
}

/// What becomes of an attempt that may take earlier results.
pub(in crate::tick) enum Serving {
    /// It has taken them.
    Yes(Box<Served>),
    /// It has to run.
    No(AttemptRow),
    /// Large files are on their way: how far they are.
    Later(AttemptRow, String),
}

/// An attempt that has taken what an earlier one left, and is not recorded yet.
#[derive(Debug)]
pub(in crate::tick) struct Served {
    verdict: Verdict,
    reused: Reused,
    key: ReuseKey,
    inputs: Vec<NewInput>,
}

impl Served {
    /// Records it: the attempt goes from its beginning to its end, and names the earlier one.
    pub(in crate::tick) fn record(&self, writer: &Writer<'_>, now_ms: i64) -> Result<(), StoreError> {
        let attempt = &self.verdict.attempt;
        writer.keep_inputs(attempt.key, &self.inputs)?;
        writer.keep_reuse_key(attempt.key, &self.key)?;
        writer.keep_reused(attempt.key, &self.reused, &attempt.directory)?;
        verdict::apply(writer, &self.verdict, now_ms)
    }
}

/// The configuration under which tasks of an operator may take earlier results.
fn allowed<'a>(config: &'a RunConfig, operator: &str) -> Option<&'a ReuseConfig> {
    let reuse = config.reuse.as_ref().filter(|reuse| reuse.from.is_some())?;
    let chosen = reuse.operators.as_ref().is_none_or(|operators| operators.iter().any(|one| one == operator));
    chosen.then_some(reuse)
}

impl Reuse {
    /// The keys of an attempt at a task that consumes this: its own first, by which later runs find what it leaves,
    /// then those of places that count as its own. Or why it has none.
    pub(in crate::tick) fn keys(
        &mut self,
        run: &Run,
        (operator, directory): (&str, &str),
        task: &Task,
        inputs: &[NewInput],
    ) -> Result<Result<Vec<ReuseKey>, String>, TickError> {
        if !self.frames.contains_key(operator) {
            let frame = match Frame::of(run, operator) {
                Ok(frame) => Ok(frame),
                Err(Keyless::Told(why)) => Err(why),
                Err(Keyless::Store(error)) => return Err(error.into()),
            };
            self.frames.insert(operator.to_owned(), frame);
        }
        let ignoring = allowed(&run.config, operator).filter(|reuse| !reuse.ignore.is_empty());
        if let Some(reuse) = ignoring {
            self.sources(run, reuse)?;
        }
        let frame = match self.frames.get(operator) {
            Some(Ok(frame)) => frame,
            Some(Err(why)) => return Ok(Err(why.clone())),
            None => return Ok(Err(String::new())),
        };
        let (ignore, others) = match (ignoring, &self.sources) {
            (Some(reuse), Some(sources)) => (reuse.ignore.as_slice(), sources.settings.as_slice()),
            _ => (&[][..], &[][..]),
        };
        match frame.recipe(run, directory, task, inputs) {
            Ok(recipe) => Ok(Ok(frame.keys(&recipe, ignore, others))),
            Err(Keyless::Told(why)) => Ok(Err(why)),
            Err(Keyless::Store(error)) => Err(error.into()),
        }
    }

    /// The earlier runs, opened once.
    fn sources(&mut self, run: &Run, reuse: &ReuseConfig) -> Result<&mut Sources, TickError> {
        if self.sources.is_none() {
            self.sources = Some(Sources::open(run, reuse)?);
        }
        Ok(self.sources.get_or_insert_default())
    }

    /// Lets an attempt that nothing was done for take what an earlier one left. Only the first attempt at a task may:
    /// whoever wants it to run again wants it to run.
    pub(in crate::tick) fn serve(
        &mut self,
        run: &Run,
        attempt: AttemptRow,
        (task, inputs): (&Task, &[NewInput]),
        keys: &[ReuseKey],
        allowance: &Allowance,
    ) -> Result<Serving, TickError> {
        let Some(reuse) = allowed(&run.config, &attempt.operator) else { return Ok(Serving::No(attempt)) };
        let begun = attempt.number > 1 || attempt.state != AttemptState::Created;
        let (Some(key), false) = (keys.first(), begun || run.dir.join(&attempt.directory).exists()) else {
            return Ok(Serving::No(attempt));
        };
        let directory = format!("{}{DIRECTORY}", attempt.directory);
        let aside = run.dir.progress(&attempt.id);
        let mut progress = Carriage::read(&aside);
        for found in self.sources(run, reuse)?.with_keys(keys, &attempt.task_id) {
            if !self.may_serve(run, &found.earlier)? {
                continue;
            }
            let Some(source) = self.sources.as_ref().and_then(|sources| sources.all.get(found.source)) else {
                continue;
            };
            let into = run.dir.join(&directory);
            let given = (task, attempt.task_json.as_str());
            match bring(source, &found.earlier, given, &into, (&mut progress, allowance)) {
                Ok(taken) => {
                    progress.forget(&aside);
                    let attempt = AttemptRow { directory, ..attempt };
                    let accepted = accepted(key, &found.earlier, &reuse.ignore);
                    // what was computed otherwise is found by who wants it so
                    let theirs = keys.iter().find(|key| accepted.is_some() && key.parts == found.earlier.parts);
                    let kept = (theirs.unwrap_or(key), accepted.unwrap_or_default());
                    let served = served(attempt, (&source.run, found.earlier), taken, (kept, inputs));
                    self.taken.insert(served.reused.origin.clone());
                    return Ok(Serving::Yes(Box::new(served)));
                }
                Err(NotTaken::PutAside(text)) => {
                    progress
                        .keep(&aside)
                        .map_err(|error| TickError::Io(format!("writing `{}`", aside.display()), error))?;
                    return Ok(Serving::Later(attempt, text));
                }
                Err(NotTaken::Unfit(_)) => {
                    progress.forget(&aside);
                    clear(&into);
                }
            }
        }
        clear(&run.dir.join(&directory));
        Ok(Serving::No(attempt))
    }

    /// Whether the results of an earlier attempt can be taken, as far as the stores tell: an attempt serves one task of
    /// a run.
    fn may_serve(&self, run: &Run, earlier: &Earlier) -> Result<bool, TickError> {
        Ok(earlier.state == EarlierState::Sound
            && !self.taken.contains(&earlier.origin)
            && !run.store.has_reused(&earlier.origin)?)
    }
}

/// In what an earlier attempt differs that is accepted, for the end of a sentence; nothing if it does not.
fn accepted(own: &ReuseKey, earlier: &Earlier, ignore: &[Ignorable]) -> Option<String> {
    let differing = own.differing(&earlier.parts).into_iter();
    let differing: Vec<&str> =
        differing.filter(|part| ignore.iter().any(|one| one.part() == *part)).map(Part::name).collect();
    let text = format!("; it differs in {}, which `reuse.ignore` accepts", differing.join(" and in "));
    (!differing.is_empty()).then_some(text)
}

/// Brings what an earlier attempt left into a directory of its own.
fn bring(
    source: &Source,
    earlier: &Earlier,
    given: (&Task, &str),
    into: &Path,
    (progress, allowance): (&mut Carriage, &Allowance),
) -> Result<Taken, NotTaken> {
    if !progress.was_put_aside() {
        // a tick that died here may have left something of another attempt's
        clear(into);
    }
    failpoint::hit("reuse.before");
    let wanted = wanted(source, earlier, given);
    let taken = wanted.and_then(|wanted| take(source, earlier, wanted, into, progress, allowance));
    failpoint::hit("reuse.after");
    taken
}

/// Removes what was taken for nothing. What stays is in nobody's way: the attempt has another directory.
fn clear(directory: &Path) {
    let _ = std::fs::remove_dir_all(directory);
}

fn served(
    mut attempt: AttemptRow,
    (run, earlier): (&str, Earlier),
    taken: Taken,
    ((key, accepted), inputs): ((&ReuseKey, String), &[NewInput]),
) -> Served {
    let Earlier { number, task, .. } = &earlier;
    let said =
        format!("it has the results of attempt {number} at task `{task}` of run `{run}`, and ran nothing{accepted}");
    let reused = Reused { run: run.to_owned(), attempt: earlier.attempt, origin: earlier.origin };
    let handle = serde_json::json!({"reused": {"run": reused.run, "attempt": reused.attempt}});
    attempt.handle = Some(handle.to_string());
    let mut end = AttemptEnd::new(AttemptOutcome::Completed, Some(Reason::new(Code::Reused, said)));
    end.data = taken.data;
    end.outputs = taken.outputs;
    end.logs = taken.logs;
    let verdict = Verdict { attempt, end, sequel: Sequel::Policy };
    Served { verdict, reused, key: key.clone(), inputs: inputs.to_vec() }
}
