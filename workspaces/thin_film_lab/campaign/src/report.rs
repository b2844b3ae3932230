//! What a person is told: the line on progress, and the final result.
use crate::cycle::{Cycle, Outcome};
use crate::{Params, State};
use matterstack_sdk::json;
use serde_json::Value;

/// The line on progress that the host shows.
pub(crate) fn line(state: &State) -> String {
    let Some((cycle, last)) = state.cycles.iter().rev().find_map(|cycle| Some((cycle, cycle.comparison()?))) else {
        return "no film compared yet".to_owned();
    };
    format!(
        "cycle {}: simulated {:.1} nm, measured {:.1} nm ({:+.1} %); sticking {:.3}, scattering {:.3}; {} of {} agreements",
        cycle.number,
        last.predicted_nm,
        last.measured_nm,
        100.0 * last.difference,
        last.parameters.sticking,
        last.parameters.scattering_per_pa_m,
        state.agreements,
        state.wanted
    )
}

/// The campaign's result: whether simulation and laboratory agree, the parameters, and every cycle.
pub(crate) fn result(state: &State, params: &Params, stopped: &str) -> Value {
    let known = state.parameters(params);
    let cycles: Vec<Value> = state.cycles.iter().map(entry).collect();
    json!({
        "agreed": state.agreements >= state.wanted,
        "parameters": {
            "sticking": known.sticking, "scattering_per_pa_m": known.scattering_per_pa_m, "standard_errors": known.errors,
        },
        "cycles": cycles,
        "stopped": stopped,
    })
}

fn entry(cycle: &Cycle) -> Value {
    let head = json!({"cycle": cycle.number, "recipe": cycle.recipe});
    let rest = match &cycle.outcome {
        Outcome::Compared(comparison) => json!({
            "predicted_nm": comparison.predicted_nm, "measured_nm": comparison.measured_nm,
            "difference": comparison.difference,
        }),
        Outcome::Failed { reason, .. } => json!({"failed": reason}),
        Outcome::Pending => json!({"failed": "it has not ended"}),
    };
    let (Value::Object(mut entry), Value::Object(rest)) = (head, rest) else { return Value::Null };
    entry.extend(rest);
    Value::Object(entry)
}
