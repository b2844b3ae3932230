//! One cycle: a recipe, its three tasks, and what came of them.
use matterstack_sdk::task::Resources;
use matterstack_sdk::{Error, Task, TaskResult, artifacts, json, task};
use serde::{Deserialize, Serialize};

const COMPUTE: &str = "compute";
const ROBOT: &str = "robot";
/// The names of the three tasks, before the number of the cycle.
const STEPS: [&str; 3] = ["simulate", "deposit", "reconcile"];
const SIMULATION: &str = "simulation.json";
const MEASUREMENT: &str = "measurement.json";
const COMPARISON: &str = "comparison.json";
/// Bytes of a comparison that is read; a real one has about 300.
const COMPARISON_MAX: u64 = 64 * 1024;
/// Characters of a failure's reason that the state keeps.
const REASON_MAX: usize = 300;

/// The settings of a deposition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    pub(crate) power_w: f64,
    pub(crate) pressure_pa: f64,
    pub(crate) time_s: f64,
}

impl Recipe {
    /// Recipes that spread evenly over 50 to 280 W and 0.5 to 8 Pa, whatever their number.
    fn spread(number: usize, time_s: f64) -> Self {
        // multiples of these two irrational numbers fill the unit square without clusters
        let share = |step: f64| (number as f64 * step).fract();
        let power_w = (50.0 + 230.0 * share(0.754_877_666_2)).round();
        let pressure_pa = ((0.5 + 7.5 * share(0.569_840_290_99)) * 10.0).round() / 10.0;
        Self { power_w, pressure_pa, time_s }
    }
}

/// What the simulation needs to know of the chamber.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parameters {
    pub(crate) sticking: f64,
    pub(crate) scattering_per_pa_m: f64,
    /// Standard errors of both; none for a guess.
    #[serde(default)]
    pub(crate) errors: Option<[f64; 2]>,
}

/// A simulated film beside the measured one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) predicted_nm: f64,
    pub(crate) measured_nm: f64,
    /// Predicted less measured, as a share of measured.
    pub(crate) difference: f64,
    /// Fitted to this film and all before it.
    pub(crate) parameters: Parameters,
}

/// What came of a cycle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Its tasks have not ended.
    Pending,
    Compared(Comparison),
    Failed {
        reason: String,
        /// Whether the run was held for it.
        held: bool,
    },
}

/// A cycle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cycle {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) recipe: Recipe,
    pub(crate) outcome: Outcome,
}

/// The step and the cycle's number in a task's id.
pub(crate) fn step(task: &str) -> Option<(&str, usize)> {
    let (step, number) = task.rsplit_once('-')?;
    if STEPS.contains(&step) { Some((step, number.parse().ok()?)) } else { None }
}

impl Cycle {
    pub(crate) fn new(number: usize, time_s: f64) -> Self {
        Self { number, recipe: Recipe::spread(number, time_s), outcome: Outcome::Pending }
    }

    pub(crate) fn comparison(&self) -> Option<&Comparison> {
        match &self.outcome {
            Outcome::Compared(comparison) => Some(comparison),
            Outcome::Pending | Outcome::Failed { .. } => None,
        }
    }

    /// Simulate with what is known, let the robot make the film, compare; the fit begins at the first guess each time.
    pub(crate) fn tasks(&self, known: &Parameters, guess: &Parameters, before: &[Self]) -> Vec<Task> {
        let [simulate, deposit, reconcile] = STEPS.map(|step| format!("{step}-{}", self.number));
        let Recipe { power_w, pressure_pa, time_s } = self.recipe;
        let input = json!({
            "power_w": power_w, "pressure_pa": pressure_pa, "time_s": time_s,
            "sticking": known.sticking, "scattering_per_pa_m": known.scattering_per_pa_m,
        });
        let film = |cycle: &Self| {
            let measured = cycle.comparison()?.measured_nm;
            Some(json!({"recipe": cycle.recipe, "thickness_nm": measured}))
        };
        let films: Vec<_> = before.iter().filter_map(film).collect();
        let history = json!({
            "films": films, "sticking": guess.sticking, "scattering_per_pa_m": guess.scattering_per_pa_m,
        });
        vec![
            computation(&simulate, &["simulate.py", "input.json", "-o", SIMULATION])
                .content("input.json", input.to_string())
                .output(SIMULATION),
            // the robot is asked only for what could be simulated
            Task::new(&deposit, ROBOT).input(json!(self.recipe)).after(&simulate).output(MEASUREMENT),
            computation(&reconcile, &["reconcile.py", SIMULATION, MEASUREMENT, "history.json", "-o", COMPARISON])
                .file_from(SIMULATION, &simulate, SIMULATION)
                .file_from(MEASUREMENT, &deposit, MEASUREMENT)
                .content("history.json", history.to_string())
                .output(COMPARISON),
        ]
    }

    /// Takes the end of one of the cycle's tasks, also of one that was run again.
    pub(crate) fn fold(&mut self, step: &str, result: &TaskResult) -> Result<(), Error> {
        let reason = match result.outcome {
            task::Outcome::Completed if step != "reconcile" => return Ok(()),
            task::Outcome::Completed => match comparison(result)? {
                Ok(comparison) => {
                    self.outcome = Outcome::Compared(comparison);
                    return Ok(());
                }
                Err(reason) => reason,
            },
            // what is skipped follows from a failure that is known already
            task::Outcome::Skipped if matches!(self.outcome, Outcome::Failed { .. }) => return Ok(()),
            _ => result.reason.as_deref().or(result.code.as_deref()).unwrap_or("no reason was given").to_owned(),
        };
        let reason = format!("`{}`: {reason}", result.task).chars().take(REASON_MAX).collect();
        self.outcome = Outcome::Failed { reason, held: false };
        Ok(())
    }
}

fn computation(id: &str, command: &[&str]) -> Task {
    let argv = std::iter::once("python3").chain(command.iter().copied());
    let script = format!("scripts/{}", command[0]);
    Task::new(id, COMPUTE)
        .command(argv)
        .file(command[0], script)
        .file("film.py", "scripts/film.py")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .resources(Resources { cores: Some(1), walltime_s: Some(300.0), ..Resources::default() })
}

/// What `reconcile` left, or what is wrong with it. Fails if the file cannot be fetched.
fn comparison(result: &TaskResult) -> Result<Result<Comparison, String>, Error> {
    #[derive(Deserialize)]
    struct File {
        predicted_nm: f64,
        measured_nm: f64,
        difference: f64,
        parameters: Fitted,
    }
    #[derive(Deserialize)]
    struct Fitted {
        sticking: f64,
        sticking_error: f64,
        scattering_per_pa_m: f64,
        scattering_error: f64,
    }
    let Some(file) = result.output(COMPARISON) else { return Ok(Err(format!("it left no `{COMPARISON}`"))) };
    if file.size > COMPARISON_MAX {
        return Ok(Err(format!("`{COMPARISON}` has {} bytes", file.size)));
    }
    Ok(match serde_json::from_slice::<File>(&artifacts::read_all(file)?) {
        Ok(File { predicted_nm, measured_nm, difference, parameters }) => {
            let Fitted { sticking, sticking_error, scattering_per_pa_m, scattering_error } = parameters;
            let errors = Some([sticking_error, scattering_error]);
            let parameters = Parameters { sticking, scattering_per_pa_m, errors };
            Ok(Comparison { predicted_nm, measured_nm, difference, parameters })
        }
        Err(error) => Err(format!("`{COMPARISON}` is not a comparison: {error}")),
    })
}
