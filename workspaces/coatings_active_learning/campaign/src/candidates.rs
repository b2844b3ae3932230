//! Candidates, the two tasks of each, and how their results are folded into them.
use crate::alloy::Composition;
use crate::objectives::{DISSOLUTION, FRICTION, Objectives};
use matterstack_sdk::task::Resources;
use matterstack_sdk::{Error, Outcome, Task, TaskResult, artifacts, json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The operator key that carries the simulations.
const OPERATOR: &str = "local";
/// Bytes of a result file that is read; a real one has about 200.
const RESULT_MAX: u64 = 64 * 1024;
/// Characters of a failure's reason that the state keeps.
const REASON_MAX: usize = 200;

/// One objective's simulation.
struct Simulation {
    /// The last part of the task's id.
    name: &'static str,
    script: &'static str,
    output: &'static str,
    /// The key of the value in the output file.
    key: &'static str,
    range: (f64, f64),
}

const SIMULATIONS: [Simulation; 2] = [
    Simulation {
        name: "friction",
        script: "sim_friction.py",
        output: "friction_results.json",
        key: "friction_coefficient",
        range: FRICTION,
    },
    Simulation {
        name: "dissolution",
        script: "sim_dissolution.py",
        output: "dissolution_results.json",
        key: "dissolution_rate_nm_h",
        range: DISSOLUTION,
    },
];

/// What is known of one objective of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measurement {
    /// Its task has not ended.
    Pending,
    /// Its task left this value.
    Value(f64),
    /// Its task left none; why.
    Failed(String),
}

/// A composition that was proposed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// `c001`, `c002` and so on, in the order of proposal.
    pub id: String,
    /// The iteration that proposed it.
    pub iteration: u32,
    /// Its composition.
    pub composition: Composition,
    /// Friction and dissolution.
    measurements: [Measurement; 2],
}

impl Candidate {
    /// A candidate that nothing is known of.
    pub fn new(number: usize, iteration: u32, composition: Composition) -> Self {
        let measurements = [Measurement::Pending, Measurement::Pending];
        Self { id: format!("c{number:03}"), iteration, composition, measurements }
    }

    /// Both objectives, if both simulations left a value.
    pub fn objectives(&self) -> Option<Objectives> {
        match self.measurements {
            [Measurement::Value(friction), Measurement::Value(dissolution)] => {
                Some(Objectives { friction, dissolution })
            }
            _ => None,
        }
    }

    /// Why the candidate is lost, if one of its simulations failed.
    pub fn failure(&self) -> Option<&str> {
        self.measurements.iter().find_map(|measurement| match measurement {
            Measurement::Failed(reason) => Some(reason.as_str()),
            Measurement::Pending | Measurement::Value(_) => None,
        })
    }

    /// Whether both simulations have ended.
    pub fn has_ended(&self) -> bool {
        !self.measurements.contains(&Measurement::Pending)
    }

    /// Whether it may come to have both objectives.
    pub fn is_awaited(&self) -> bool {
        !self.has_ended() && self.failure().is_none()
    }

    /// Its two tasks. A failure costs the candidate, not the run.
    pub fn tasks(&self) -> Vec<Task> {
        let input = json!({"candidate": self.id, "composition": self.composition.by_element()});
        let task = |simulation: &Simulation| {
            Task::new(format!("{}-{}", self.id, simulation.name), OPERATOR)
                .command(["python3", simulation.script, "input.json", "-o", simulation.output])
                .file(simulation.script, format!("scripts/{}", simulation.script))
                .file("alloy.py", "scripts/alloy.py")
                .content("input.json", input.to_string())
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .output(simulation.output)
                .resources(Resources { cores: Some(1), walltime_s: Some(300.0), ..Resources::default() })
                .allow_failure()
        };
        SIMULATIONS.iter().map(task).collect()
    }
}

/// Folds results into the candidates they belong to. A result that comes again, after a rerun, replaces the one before.
///
/// Fails if a task is none of this campaign's or an output file cannot be fetched; what a simulation did wrong is its
/// candidate's failure.
pub fn fold(candidates: &mut [Candidate], results: &[TaskResult]) -> Result<(), Error> {
    for result in results {
        let unknown = || Error::invalid("unknown-task", format!("task `{}` is none of this campaign", result.task));
        let (id, name) = result.task.rsplit_once('-').ok_or_else(unknown)?;
        let index = SIMULATIONS.iter().position(|simulation| simulation.name == name).ok_or_else(unknown)?;
        let candidate = candidates.iter_mut().find(|candidate| candidate.id == id).ok_or_else(unknown)?;
        candidate.measurements[index] = measurement(&SIMULATIONS[index], id, result)?;
    }
    Ok(())
}

fn measurement(simulation: &Simulation, id: &str, result: &TaskResult) -> Result<Measurement, Error> {
    if result.outcome != Outcome::Completed {
        let reason = result.reason.as_deref().or(result.code.as_deref()).unwrap_or("no reason was given");
        return Ok(failed(simulation, reason));
    }
    let Some(file) = result.output(simulation.output) else {
        return Ok(failed(simulation, &format!("it left no `{}`", simulation.output)));
    };
    if file.size > RESULT_MAX {
        return Ok(failed(simulation, &format!("`{}` has {} bytes", simulation.output, file.size)));
    }
    Ok(match read(simulation, id, &artifacts::read_all(file)?) {
        Ok(value) => Measurement::Value(value),
        Err(reason) => failed(simulation, &format!("`{}` {reason}", simulation.output)),
    })
}

/// The value in an output file, or what is wrong with the file.
fn read(simulation: &Simulation, id: &str, bytes: &[u8]) -> Result<f64, String> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| format!("is not JSON: {error}"))?;
    if document["candidate"] != id {
        return Err(format!("is about candidate {}", document["candidate"]));
    }
    let value = document[simulation.key].as_f64().ok_or_else(|| format!("has no number `{}`", simulation.key))?;
    let (least, most) = simulation.range;
    if !(least..=most).contains(&value) {
        return Err(format!("says `{}` is {value}, outside {least} to {most}", simulation.key));
    }
    Ok(value)
}

fn failed(simulation: &Simulation, reason: &str) -> Measurement {
    Measurement::Failed(format!("{}: {reason}", simulation.name).chars().take(REASON_MAX).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use matterstack_sdk::OutputFile;

    /// A result of one task that left `content`, under the digest `task`.
    pub(crate) fn left(task: &str, content: &str) -> (TaskResult, (String, Vec<u8>)) {
        let name = task.rsplit_once('-').unwrap().1;
        let file = OutputFile {
            path: format!("{name}_results.json"),
            sha256: task.to_owned(),
            size: content.len() as u64,
            remote: None,
        };
        let result = TaskResult { outputs: vec![file], ..ended(task, Outcome::Completed, None) };
        (result, (task.to_owned(), content.as_bytes().to_vec()))
    }

    pub(crate) fn ended(task: &str, outcome: Outcome, reason: Option<&str>) -> TaskResult {
        TaskResult {
            task: task.to_owned(),
            outcome,
            code: reason.map(|_| "exit".to_owned()),
            reason: reason.map(str::to_owned),
            attempt: None,
            attempts: 1,
            allow_failure: true,
            data: None,
            outputs: vec![],
            data_sha256: None,
            data_size: None,
            supersedes: None,
        }
    }

    fn candidates() -> Vec<Candidate> {
        (1..=2).map(|number| Candidate::new(number, 1, Composition::from_weights([1.0; 5]))).collect()
    }

    fn folded(candidates: &mut [Candidate], all: Vec<(TaskResult, (String, Vec<u8>))>) {
        let (results, files): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        artifacts::with_files(files, || fold(candidates, &results)).unwrap();
    }

    #[test]
    fn values_come_from_the_output_files() {
        let mut all = candidates();
        folded(
            &mut all,
            vec![
                left("c001-friction", r#"{"candidate": "c001", "friction_coefficient": 0.2}"#),
                left("c001-dissolution", r#"{"candidate": "c001", "dissolution_rate_nm_h": 1.5}"#),
                left("c002-friction", r#"{"candidate": "c002", "friction_coefficient": 0.3}"#),
            ],
        );
        assert_eq!(all[0].objectives(), Some(Objectives { friction: 0.2, dissolution: 1.5 }));
        assert_eq!((all[1].objectives(), all[1].failure()), (None, None), "one of two results is no result");
    }

    #[test]
    fn a_failure_costs_its_candidate_only_and_a_rerun_mends_it() {
        let mut all = candidates();
        folded(
            &mut all,
            vec![
                left("c001-friction", r#"{"candidate": "c001", "friction_coefficient": 0.2}"#),
                (ended("c001-dissolution", Outcome::Failed, Some("exit code 2")), Default::default()),
                left("c002-friction", r#"{"candidate": "c002", "friction_coefficient": 0.3}"#),
                left("c002-dissolution", r#"{"candidate": "c002", "dissolution_rate_nm_h": 2}"#),
            ],
        );
        assert_eq!(all[0].failure(), Some("dissolution: exit code 2"));
        assert_eq!(all[0].objectives(), None);
        assert!(all[1].objectives().is_some());
        folded(&mut all, vec![left("c001-dissolution", r#"{"candidate": "c001", "dissolution_rate_nm_h": 1}"#)]);
        assert_eq!(all[0].failure(), None);
        assert!(all[0].objectives().is_some());
    }

    #[test]
    fn a_bad_output_file_is_its_candidates_failure() {
        let check = |content: &str, words: &str| {
            let mut all = candidates();
            folded(&mut all, vec![left("c001-friction", content)]);
            let reason = all[0].failure().unwrap_or("none");
            assert!(reason.contains(words), "{content}: {reason}");
        };
        check("", "is not JSON");
        check("[]", "is about candidate null");
        check(r#"{"candidate": "c002", "friction_coefficient": 0.2}"#, "is about candidate \"c002\"");
        check(r#"{"candidate": "c001"}"#, "has no number `friction_coefficient`");
        check(r#"{"candidate": "c001", "friction_coefficient": "0.2"}"#, "has no number");
        check(r#"{"candidate": "c001", "friction_coefficient": 0.7}"#, "outside 0.01 to 0.5");
        let mut all = candidates();
        folded(&mut all, vec![(ended("c001-friction", Outcome::Completed, None), Default::default())]);
        assert_eq!(all[0].failure(), Some("friction: it left no `friction_results.json`"));
    }

    #[test]
    fn a_result_of_nobodys_task_is_an_error() {
        for task in ["c003-friction", "c001-hardness", "c001"] {
            let error = fold(&mut candidates(), &[ended(task, Outcome::Failed, None)]).unwrap_err();
            assert_eq!(error.detail().code, "unknown-task");
        }
    }
}
