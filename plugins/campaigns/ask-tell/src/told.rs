//! Results that no task brings: what a person tells while the run goes on, and the table that it begins with.
use crate::goals::{Measured, Unusable};
use crate::measure;
use crate::params::Spec;
use crate::space::same_point;
use crate::trial::{Source, Trial};
use crate::trials::Trials;
use matterstack_sdk::{Context, Error, artifacts};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a person tells of one trial.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default)]
    trial: Option<String>,
    #[serde(default)]
    params: Option<Map<String, Value>>,
    result: Value,
}

/// Takes in what a person tells; returns the tasks that need not run any more. One wrong row refuses them all.
pub(crate) fn hear(trials: &mut Trials, spec: &Spec<'_>, rows: &Value) -> Result<Vec<String>, Error> {
    let wrong = |why: String| Error::invalid("tell", why);
    let rows = rows.as_array().ok_or_else(|| wrong(format!("`tell` is no list of rows but {rows}")))?;
    let mut cancel = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let row = serde_json::from_value(row.clone()).map_err(|error| error.to_string());
        let heard = row.map_err(Fault::Row).and_then(|row| one(trials, spec, row));
        cancel.extend(heard.map_err(|fault| match fault {
            Fault::Row(why) => wrong(format!("row {} of `tell` is wrong: {why}", place + 1)),
            Fault::Run(error) => error,
        })?);
    }
    Ok(cancel)
}

/// What went wrong with a row: the row itself, or the run.
enum Fault {
    Row(String),
    Run(Error),
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self::Row(why)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Run(error)
    }
}

/// Takes in one row. It is about the trial that it names, else about the pending trial of its point, else about a point
/// that a person chose.
fn one(trials: &mut Trials, spec: &Spec<'_>, row: Row) -> Result<Vec<String>, Fault> {
    let measured = spec.goals.take(&row.result).map_err(|Unusable { why, .. }| why)?;
    let params = row.params.as_ref().map(|params| spec.space.check(params)).transpose()?;
    match (row.trial, params) {
        (Some(id), params) => of_trial(trials, spec, &id, params.as_ref(), measured),
        (None, Some(params)) => match trials.place_of_point(&params) {
            Some(place) => end(trials, spec, place, measured),
            None => {
                let mut trial = Trial::pending(trials.next_told_id(), params, None);
                measure::tell(&mut trial, measured, Source::Person);
                trials.record(&trial, &spec.goals)?;
                Ok(Vec::new())
            }
        },
        (None, None) => Err(Fault::Row("it names neither `trial` nor `params`".to_owned())),
    }
}

/// Ends a pending trial, or takes back what one had come to.
fn of_trial(
    trials: &mut Trials,
    spec: &Spec<'_>,
    id: &str,
    params: Option<&Map<String, Value>>,
    measured: Measured,
) -> Result<Vec<String>, Fault> {
    let refuse_other = |trial: &Trial| match params {
        Some(params) if !same_point(params, &trial.params) => {
            let other = Value::Object(trial.params.clone());
            Err(Fault::Row(format!("the parameters of `{id}` are {other}")))
        }
        Some(_) | None => Ok(()),
    };
    if let Some(place) = trials.place(id) {
        refuse_other(&trials.pending()[place].trial)?;
        return end(trials, spec, place, measured);
    }
    match trials.ended_trial(id)? {
        None => Err(Fault::Row(format!("there is no trial `{id}`"))),
        Some(trial) => {
            refuse_other(&trial)?;
            trials.supersede(id, &spec.goals, |trial| measure::tell(trial, measured.clone(), Source::Table))?;
            Ok(Vec::new())
        }
    }
}

fn end(trials: &mut Trials, spec: &Spec<'_>, place: usize, measured: Measured) -> Result<Vec<String>, Fault> {
    Ok(trials.end(place, 0, &spec.goals, |trial| measure::tell(trial, measured, Source::Table))?)
}

/// The trials of the table that a run begins with.
pub(crate) fn start<P: serde::de::DeserializeOwned>(ctx: &Context<P>, spec: &Spec<'_>) -> Result<Trials, Error> {
    let mut trials = Trials::default();
    trials.follow(&spec.goals)?;
    let Some(name) = &spec.start else { return Ok(trials) };
    let wrong = |why: String| Error::invalid("start", format!("input `{name}`: {why}"));
    let text = artifacts::read_text(ctx.input(name)?)?;
    if text.trim_start().starts_with('{') {
        let trials = earlier(spec, &text, trials).map_err(|fault| match fault {
            Fault::Row(why) => wrong(why),
            Fault::Run(error) => error,
        })?;
        return Ok(trials);
    }
    for (place, row) in campaign_template::of_csv(&text).map_err(wrong)?.iter().enumerate() {
        let mut trial = Trial::pending(trials.next_start_id(), Map::new(), None);
        let read = past(spec, row, &mut trial);
        read.map_err(|why| wrong(format!("row {} is wrong: {why}", place + 1)))?;
        trials.record(&trial, &spec.goals)?;
        trials.settle()?;
    }
    Ok(trials)
}

/// The trials that completed in an earlier run, of which this is what `status --json` prints.
fn earlier(spec: &Spec<'_>, text: &str, mut trials: Trials) -> Result<Trials, Fault> {
    let status: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON document: {error}"))?;
    let Some(history) = status.pointer("/result/history").and_then(Value::as_array) else {
        return Err(Fault::Row(
            "it is neither a table nor the status of a run that has ended, with `result.history`".to_owned(),
        ));
    };
    for known in history.iter().filter(|known| known["state"] == "completed") {
        let wrong = |why: String| Fault::Row(format!("trial {} of it is wrong: {why}", known["trial"]));
        let params = known["params"].as_object().cloned().unwrap_or_default();
        let mut trial = Trial::pending(trials.next_start_id(), spec.space.check(&params).map_err(wrong)?, None);
        let measured = spec.goals.take(&known["result"]).map_err(|Unusable { why, .. }| wrong(why))?;
        measure::tell(&mut trial, measured, Source::Run);
        trials.record(&trial, &spec.goals)?;
        trials.settle()?;
    }
    Ok(trials)
}

fn past(spec: &Spec<'_>, row: &campaign_template::Row, trial: &mut Trial) -> Result<(), String> {
    let (mut params, mut result) = (Map::new(), Map::new());
    for (name, cell) in row.iter() {
        let text = cell.text().unwrap_or_default();
        if text.is_empty() {
            continue;
        }
        if spec.space.knows(name) {
            params.insert(name.to_owned(), spec.space.of_cell(name, cell.value(), &text));
        } else if spec.goals.names().any(|known| known == name) {
            result.insert(name.to_owned(), cell.value());
        } else {
            return Err(format!("column `{name}` is neither a variable nor measured"));
        }
    }
    trial.params = spec.space.check(&params)?;
    let measured = spec.goals.take(&Value::Object(result)).map_err(|Unusable { why, .. }| why)?;
    measure::tell(trial, measured, Source::Table);
    Ok(())
}
