//! `campaign.params`: what a scientist writes, and what it comes to.
use crate::goals::{Direction, Goals};
use crate::recipe::{Recipe, Template, read_tell};
use crate::space::Space;
use matterstack_sdk::Error;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Characters that would make a pattern of a name.
const OPEN: [char; 9] = ['*', '?', '[', ']', '{', '}', ',', '\\', '\n'];
/// The most trials at a time.
const PARALLEL_MAX: u64 = 10_000;

/// `campaign.params`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    ask: Value,
    tell: Value,
    pub(crate) variables: BTreeMap<String, Value>,
    pub(crate) objectives: BTreeMap<String, Direction>,
    #[serde(default)]
    pub(crate) constraints: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) observables: Vec<String>,
    #[serde(default)]
    pub(crate) constants: Map<String, Value>,
    #[serde(default = "one")]
    parallel: u64,
    #[serde(default = "one")]
    batch: u64,
    #[serde(default)]
    pub(crate) budget: Budget,
    #[serde(default)]
    start: Option<Value>,
    #[serde(default)]
    pub(crate) stop: Stop,
    #[serde(default)]
    reference_point: BTreeMap<String, f64>,
}

/// How many trials there may be.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    /// At most so many are planned.
    #[serde(default)]
    pub(crate) trials: Option<u64>,
    /// Whether those that failed or were abandoned count.
    #[serde(default)]
    failed_count: Option<bool>,
}

/// When to stop before that.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stop {
    /// After so many trials that brought nothing better.
    #[serde(default)]
    pub(crate) no_improvement: Option<u64>,
}

fn one() -> u64 {
    1
}

impl Budget {
    /// Whether trials that failed or were abandoned count.
    pub(crate) fn counts_failed(&self) -> bool {
        self.failed_count.unwrap_or(true)
    }
}

/// What the parameters come to.
pub(crate) struct Spec<'a> {
    /// As they were written.
    pub(crate) params: &'a Params,
    pub(crate) ask: Template,
    /// Files of an ask that the next one gets.
    pub(crate) keep: Vec<String>,
    tells: Vec<(Option<String>, Recipe)>,
    pub(crate) space: Space,
    pub(crate) goals: Goals,
    pub(crate) parallel: u64,
    pub(crate) batch: u64,
    /// The input of past results.
    pub(crate) start: Option<String>,
    /// The corner from which a hypervolume is measured.
    pub(crate) reference: Option<[f64; 2]>,
}

impl<'a> Spec<'a> {
    /// Checks the parameters as a whole.
    pub(crate) fn read(params: &'a Params) -> Result<Self, Error> {
        Self::checked(params).map_err(|why| Error::invalid("params", why))
    }

    fn checked(params: &'a Params) -> Result<Self, String> {
        let space = Space::read(&params.variables, &params.constants)?;
        let goals = Goals::read(&params.objectives, &params.constraints, &params.observables)?;
        if let Some(name) = goals.names().find(|name| space.knows(name)) {
            return Err(format!("`{name}` is a variable or a constant, and is measured as well"));
        }
        let (parallel, batch) = (params.parallel, params.batch);
        if !(1..=PARALLEL_MAX).contains(&parallel) || !(1..=parallel).contains(&batch) {
            return Err(format!(
                "`parallel` is {parallel} and `batch` {batch}: 1 ≤ `batch` ≤ `parallel` ≤ {PARALLEL_MAX} is needed"
            ));
        }
        let spec = Self {
            params,
            ask: Template::read(&params.ask, "ask", &["keep"])?,
            keep: keep(params.ask.get("keep"))?,
            tells: read_tell(&params.tell)?,
            space,
            goals,
            parallel,
            batch,
            start: start(params.start.as_ref())?,
            reference: None,
        };
        let reference = spec.reference_point()?;
        spec.try_templates()?;
        Ok(Self { reference, ..spec })
    }

    fn reference_point(&self) -> Result<Option<[f64; 2]>, String> {
        let (given, objectives) = (&self.params.reference_point, &self.goals.objectives);
        if given.is_empty() {
            return Ok(None);
        }
        if let Some(name) = given.keys().find(|name| !objectives.contains_key(*name)) {
            return Err(format!("`reference_point.{name}` is no objective"));
        }
        match given.values().copied().collect::<Vec<f64>>()[..] {
            [first, second] if objectives.len() == 2 => Ok(Some([first, second])),
            _ => Err("`reference_point` is for two objectives, and gives both of them".to_owned()),
        }
    }

    /// Fills every template once, so that a name that is none is refused before anything runs.
    fn try_templates(&self) -> Result<(), String> {
        if self.ask.stages("ask.json") {
            return Err("`ask.files` has `ask.json`, which the campaign puts there".to_owned());
        }
        let values = self.space.with_constants(&self.space.sample());
        for (name, recipe) in &self.tells {
            let place = name.as_ref().map_or_else(|| "tell".to_owned(), |name| format!("tell.{name}"));
            for step in recipe {
                step.filled(&values, "trial-0001", "trial-0001.1").map_err(|why| format!("in `{place}` {why}"))?;
                if step.has_program() && step.stages("params.json") {
                    return Err(format!("`{place}.files` has `params.json`, which the campaign puts there"));
                }
            }
        }
        Ok(())
    }

    /// What measures a trial: by its name, or the only one there is.
    pub(crate) fn recipe(&self, tell: Option<&str>) -> Result<&Recipe, String> {
        let known = || {
            let names = self.tells.iter().filter_map(|(name, _)| name.as_deref()).collect::<Vec<&str>>();
            names.join("`, `")
        };
        match (&self.tells[..], tell) {
            ([(_, recipe)], None) => Ok(recipe),
            ([(None, _)], Some(name)) => Err(format!("`tell` is `{name}`, and there is only one, without a name")),
            (_, None) => Err(format!("`tell` is missing; there are `{}`", known())),
            (all, Some(wanted)) => match all.iter().find(|(name, _)| name.as_deref() == Some(wanted)) {
                Some((_, recipe)) => Ok(recipe),
                None => Err(format!("`tell` is `{wanted}`, which is none; there are `{}`", known())),
            },
        }
    }
}

/// The names of kept files: they are put into a pattern, and so must be none.
fn keep(written: Option<&Value>) -> Result<Vec<String>, String> {
    let Some(written) = written else { return Ok(Vec::new()) };
    let names: Vec<String> = serde_json::from_value(written.clone())
        .map_err(|_| format!("`ask.keep` is a list of names of files, and not {written}"))?;
    for name in &names {
        let folded = name.starts_with('/') || name.ends_with('/') || name.split('/').any(|part| part == "..");
        if name.is_empty() || folded || name.contains(OPEN) {
            return Err(format!("`ask.keep` has `{name}`, which is no name of a file"));
        }
    }
    Ok(names)
}

fn start(written: Option<&Value>) -> Result<Option<String>, String> {
    match written {
        None => Ok(None),
        Some(Value::String(name)) => Ok(Some(name.clone())),
        Some(Value::Object(object)) if object.contains_key("run") => {
            let run = &object["run"];
            Err(format!(
                "`start` names the run {run}: a past run cannot be taken over yet; give a table of its results"
            ))
        }
        Some(other) => Err(format!("`start` is the name of an input, and not {other}")),
    }
}
