//! The result of a run, and what its watchers see before.
use crate::State;
use crate::front::{Front, worst};
use crate::params::Spec;
use crate::trial::Trial;
use matterstack_sdk::{Error, Summary, Value, json};

/// The result of the run that has stopped for this reason.
pub(crate) fn result(spec: &Spec<'_>, state: &State, why: &str) -> Result<Value, Error> {
    let all = state.trials.all()?;
    let front = state.trials.front();
    let best = |id: &str| {
        let trial = all.iter().rev().find(|trial| trial.trial == id);
        trial.map(|trial| json!({"trial": trial.trial, "params": trial.params, "result": trial.result}))
    };
    let points: Vec<Value> = front.points().iter().filter_map(|point| best(&point.trial)).collect();
    let mut result = json!({"history": all, "asks": state.round, "stopped": why});
    if spec.goals.objectives.len() == 1 {
        result["best"] = points.into_iter().next().unwrap_or_default();
        return Ok(result);
    }
    result["pareto"] = Value::Array(points);
    if spec.goals.objectives.len() == 2 {
        let counted: Vec<Vec<f64>> = all.iter().filter_map(|trial| spec.goals.point(trial)).collect();
        if let Some(reference) = spec.reference.or_else(|| worst(&counted, &spec.goals)) {
            result["reference_point"] =
                spec.goals.objectives.keys().zip(reference).map(|(name, at)| (name.clone(), json!(at))).collect();
            result["hypervolume"] = json!(growth(spec, &all, reference));
        }
    }
    Ok(result)
}

/// The hypervolume after each trial of the history.
fn growth(spec: &Spec<'_>, all: &[Trial], reference: [f64; 2]) -> Vec<f64> {
    let (mut front, mut last, mut volume) = (Front::new(&spec.goals), 0, 0.0);
    let after = |trial: &Trial| {
        front.add(trial, &spec.goals);
        let better = front.points().last().is_some_and(|point| point.trial == trial.trial) || last == 0;
        last += 1;
        if better {
            volume = front.hypervolume(reference).unwrap_or_default();
        }
        volume
    };
    all.iter().map(after).collect()
}

/// How far the run has come.
pub(crate) fn summary(state: &State) -> Summary {
    let (counts, front) = (state.trials.counts(), state.trials.front());
    let mut names = front.objectives().keys();
    let best = match (front.points(), names.next(), names.next()) {
        ([], _, _) => "nothing so far".to_owned(),
        ([point, ..], Some(name), None) => format!("best {name} {} ({})", point.values[0], point.trial),
        (points, _, _) => format!("{} on the Pareto front", counted(points.len() as u64)),
    };
    // with a budget whoever shows this adds how many of how many
    let ended = state.budget.is_none().then(|| format!(", {} ended", counted(counts.ended)));
    let failed = (counts.failed > 0).then(|| format!(", {} without a result", counts.failed));
    let mut summary =
        Summary::new([Some(best), ended, failed].into_iter().flatten().collect::<String>()).done(counts.ended as f64);
    summary.total = state.budget.map(|budget| budget as f64);
    if let ([point, ..], [name]) = (front.points(), &front.objectives().keys().collect::<Vec<&String>>()[..]) {
        return summary.metric(*name, point.values[0]);
    }
    if front.objectives().len() > 1 {
        let volume = state.reference.and_then(|reference| front.hypervolume(reference));
        summary = summary.metric("pareto", front.points().len() as f64);
        summary.metrics.extend(volume.map(|volume| ("hypervolume".to_owned(), volume)));
    }
    summary
}

fn counted(trials: u64) -> String {
    if trials == 1 { "1 trial".to_owned() } else { format!("{trials} trials") }
}
