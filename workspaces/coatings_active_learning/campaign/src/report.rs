//! What a person is told: the line on progress, and the final result.
use crate::State;
use crate::candidates::Candidate;
use crate::objectives::{Objectives, Scaled, front_numbers};
use crate::overlap::Mark;
use crate::params::Params;
use matterstack_sdk::json;
use serde_json::Value;

/// The line on progress that the host shows.
pub(crate) fn line(state: &State) -> String {
    let measured = state.measured();
    let best = |value: fn(&Objectives) -> f64| {
        measured
            .iter()
            .map(|(candidate, objectives)| (value(objectives), &candidate.id))
            .min_by(|a, b| a.0.total_cmp(&b.0))
    };
    let (Some((friction, slippery)), Some((dissolution, lasting))) = (best(|o| o.friction), best(|o| o.dissolution))
    else {
        return "no results yet".to_owned();
    };
    let failed = state.candidates.iter().filter(|candidate| candidate.failure().is_some()).count();
    let failed = if failed > 0 { format!(", {failed} candidates failed") } else { String::new() };
    format!(
        "best friction {friction:.3} ({slippery}), best dissolution {dissolution:.2} nm/h ({lasting}), hypervolume {:.3}{failed}",
        state.hypervolume.last().copied().unwrap_or_default()
    )
}

/// The campaign's result: every measured candidate in order of merit, the Pareto front by rising friction, the
/// hypervolume as it grew, and the candidates that failed.
pub(crate) fn result(state: &State, params: &Params, stopped: &str) -> Value {
    let measured = state.measured();
    let scaled: Vec<Scaled> = measured.iter().map(|(_, objectives)| objectives.scaled()).collect();
    let fronts = front_numbers(&scaled);
    let mut order: Vec<usize> = (0..measured.len()).collect();
    // within a front, what alone would dominate most comes first
    let merit = |index: usize| (1.0 - scaled[index][0]) * (1.0 - scaled[index][1]);
    order.sort_by(|&a, &b| fronts[a].cmp(&fronts[b]).then(merit(b).total_cmp(&merit(a))));
    let ranking: Vec<Value> = order
        .iter()
        .enumerate()
        .map(|(place, &index)| entry(place + 1, measured[index], fronts[index], merit(index)))
        .collect();
    let mut pareto: Vec<Value> = ranking.iter().filter(|entry| entry["front"] == 1).cloned().collect();
    pareto.sort_by(|a, b| {
        a["friction_coefficient"]
            .as_f64()
            .partial_cmp(&b["friction_coefficient"].as_f64())
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let failed: Vec<Value> = state
        .candidates
        .iter()
        .filter_map(|candidate| candidate.failure().map(|reason| json!({"id": candidate.id, "reason": reason})))
        .collect();
    let hypervolume = growth(state, params);
    json!({"ranking": ranking, "pareto": pareto, "hypervolume": hypervolume, "failed": failed, "stopped": stopped})
}

/// The hypervolume after each iteration; where these overlap, as the candidates ended.
fn growth(state: &State, params: &Params) -> Vec<Value> {
    if params.parallel.is_some() {
        let row =
            |mark: &Mark| json!({"ended": mark.ended, "evaluated": mark.evaluated, "hypervolume": mark.hypervolume});
        return state.growth(params).iter().map(row).collect();
    }
    let measured = state.measured();
    let rows = (1u32..).zip(&state.hypervolume).map(|(iteration, volume)| {
        let evaluated = measured.iter().filter(|(candidate, _)| candidate.iteration <= iteration).count();
        json!({"iteration": iteration, "evaluated": evaluated, "hypervolume": volume})
    });
    rows.collect()
}

fn entry(rank: usize, (candidate, objectives): (&Candidate, Objectives), front: u32, merit: f64) -> Value {
    json!({
        "rank": rank,
        "id": candidate.id,
        "iteration": candidate.iteration,
        "composition": candidate.composition.by_element(),
        "friction_coefficient": objectives.friction,
        "dissolution_rate_nm_h": objectives.dissolution,
        "front": front,
        "dominated_share": merit,
    })
}
