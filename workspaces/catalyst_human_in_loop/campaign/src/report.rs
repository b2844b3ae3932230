//! What a person is told: the line on progress, and the final result.
use crate::State;
use crate::alloys::{Activity, Computed};
use crate::approval::Verdict;
use matterstack_sdk::json;
use serde_json::{Map, Value};

/// Every computed alloy, the most active first, equals by name.
fn ranked(state: &State) -> Vec<(&String, &Activity)> {
    let mut all: Vec<(&String, &Activity)> =
        state.computed.iter().filter_map(|(id, computed)| Some((id, computed.value()?))).collect();
    all.sort_by(|a, b| b.1.log10_tof_per_s.total_cmp(&a.1.log10_tof_per_s).then_with(|| a.0.cmp(b.0)));
    all
}

/// The line on progress that the host shows.
pub(crate) fn line(state: &State) -> String {
    let waiting = state.proposals.last().filter(|proposal| proposal.verdict == Verdict::Pending);
    let waiting = waiting.map(|proposal| format!("; proposal {} waits for a person", proposal.number));
    let best = match ranked(state).first() {
        Some((id, activity)) => format!("best: {id}, log10 TOF {:.3}", activity.log10_tof_per_s),
        None => "nothing computed yet".to_owned(),
    };
    let (approved, rejected) = (state.approved(), state.rejected());
    format!("proposals: {approved} approved, {rejected} rejected; {best}{}", waiting.unwrap_or_default())
}

/// The campaign's result, or none if no alloy has a value.
pub(crate) fn result(state: &State, stopped: &str) -> Option<Value> {
    let ranking: Vec<Value> = ranked(state)
        .into_iter()
        .enumerate()
        .map(|(place, (id, activity))| {
            let Activity { binding_ev, log10_tof_per_s } = activity;
            json!({"rank": place + 1, "alloy": id, "binding_ev": binding_ev, "log10_tof_per_s": log10_tof_per_s})
        })
        .collect();
    let failure = |(id, computed): (&String, &Computed)| match computed {
        Computed::Failed(reason) => Some((id.clone(), json!(reason))),
        Computed::Value(_) => None,
    };
    let failed: Map<String, Value> = state.computed.iter().filter_map(failure).collect();
    let proposals: Vec<Value> = state
        .proposals
        .iter()
        .map(|proposal| {
            let (word, chosen): (_, &[String]) = match &proposal.verdict {
                Verdict::Approved(chosen) => ("approved", chosen),
                Verdict::Rejected => ("rejected", &[]),
                Verdict::Pending | Verdict::Unanswered { .. } => ("unanswered", &[]),
            };
            json!({"proposal": proposal.number, "alloys": proposal.alloys, "verdict": word, "computed": chosen,
                "comment": proposal.comment()})
        })
        .collect();
    let result = json!({"ranking": ranking, "failed": failed, "proposals": proposals, "stopped": stopped});
    (!ranking.is_empty()).then_some(result)
}
