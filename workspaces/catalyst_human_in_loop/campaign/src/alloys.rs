//! The alloys, what is estimated of them, and what is computed.
use matterstack_sdk::task::Resources;
use matterstack_sdk::{Error, Outcome, Task, TaskResult, artifacts, json};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const OPERATOR: &str = "compute";
const OUTPUT: &str = "activity.json";
/// Bytes of a result that is read; a real one has about 150.
const OUTPUT_MAX: u64 = 64 * 1024;
/// Characters of a failure's reason that the state keeps.
const REASON_MAX: usize = 200;
/// Percentages of the first element.
const PERCENT: [u32; 3] = [25, 50, 75];

/// A binary alloy.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Alloy {
    /// `Cu25Ni75`, which is also the id of its task.
    pub(crate) id: String,
    /// Both elements: fraction, and the binding energy of the pure element in eV.
    parts: [(f64, f64); 2],
    /// The average binding energy of both, in eV.
    pub(crate) estimate_ev: f64,
    /// Relative price.
    pub(crate) price: f64,
}

impl Alloy {
    /// Computes what was approved. A failure costs this alloy only.
    pub(crate) fn task(&self) -> Task {
        let elements = self.parts.map(|(fraction, binding)| json!({"fraction": fraction, "binding_ev": binding}));
        Task::new(&self.id, OPERATOR)
            .command(["python3", "activity.py", "input.json", "-o", OUTPUT])
            .file("activity.py", "scripts/activity.py")
            .content("input.json", json!({"candidate": self.id, "elements": elements}).to_string())
            .output(OUTPUT)
            .resources(Resources { cores: Some(1), walltime_s: Some(300.0), ..Resources::default() })
            .allow_failure()
    }
}

/// Every pair of elements of the input in three compositions.
pub(crate) fn pool(text: &str) -> Result<Vec<Alloy>, Error> {
    #[derive(Deserialize)]
    struct Input {
        elements: BTreeMap<String, Element>,
    }
    #[derive(Deserialize)]
    struct Element {
        binding_ev: f64,
        price: f64,
    }
    let wrong = |text: String| Error::invalid("elements", format!("input `elements` cannot be used: {text}"));
    let Input { elements } = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    if elements.len() < 2 {
        return Err(wrong(format!("it has {} elements; at least 2 are needed", elements.len())));
    }
    if let Some(name) = elements.keys().find(|name| name.is_empty() || !name.chars().all(|c| c.is_ascii_alphabetic())) {
        return Err(wrong(format!("`{name}` is no element's symbol")));
    }
    let elements: Vec<(&String, &Element)> = elements.iter().collect();
    let pairs = elements.iter().enumerate().flat_map(|(n, a)| elements[n + 1..].iter().map(move |b| (a, b)));
    let alloy = |((a, first), (b, second)): (&(&String, &Element), &(&String, &Element)), percent: u32| {
        let x = f64::from(percent) / 100.0;
        Alloy {
            id: format!("{a}{percent}{b}{}", 100 - percent),
            parts: [(x, first.binding_ev), (1.0 - x, second.binding_ev)],
            estimate_ev: x * first.binding_ev + (1.0 - x) * second.binding_ev,
            price: x * first.price + (1.0 - x) * second.price,
        }
    };
    Ok(pairs.flat_map(|pair| PERCENT.map(|percent| alloy(pair, percent))).collect())
}

/// What a computation left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Computed {
    Value(Activity),
    /// Why there is none.
    Failed(String),
}

/// The part of a result that the campaign keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Activity {
    pub(crate) binding_ev: f64,
    pub(crate) log10_tof_per_s: f64,
}

impl Computed {
    pub(crate) fn value(&self) -> Option<&Activity> {
        match self {
            Self::Value(activity) => Some(activity),
            Self::Failed(_) => None,
        }
    }

    /// Reads what a task left. Fails if its file cannot be fetched; what is wrong with the file is the alloy's failure.
    pub(crate) fn of(result: &TaskResult) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct File {
            candidate: String,
            #[serde(flatten)]
            activity: Activity,
        }
        if result.outcome != Outcome::Completed {
            let reason = result.reason.as_deref().or(result.code.as_deref()).unwrap_or("no reason was given");
            return Ok(Self::Failed(reason.chars().take(REASON_MAX).collect()));
        }
        let Some(file) = result.output(OUTPUT) else { return Ok(Self::Failed(format!("it left no `{OUTPUT}`"))) };
        if file.size > OUTPUT_MAX {
            return Ok(Self::Failed(format!("`{OUTPUT}` has {} bytes", file.size)));
        }
        Ok(match serde_json::from_slice::<File>(&artifacts::read_all(file)?) {
            Ok(file) if file.candidate != result.task => {
                Self::Failed(format!("`{OUTPUT}` is about `{}`", file.candidate))
            }
            Ok(file) => Self::Value(file.activity),
            Err(error) => Self::Failed(format!("`{OUTPUT}` is not a result: {error}")),
        })
    }
}
