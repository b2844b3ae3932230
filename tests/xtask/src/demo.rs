//! `cargo xtask demo`: the coatings campaign from nothing to its report, through the commands a person would give.
use crate::guests::build_campaign;
use crate::project::{Project, output, say};
use crate::runners;
use crate::tools;
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::process::Command;

const WORKSPACE: &str = "coatings_active_learning";
const PACKAGE: &str = "campaign-coatings";
/// Rows of the ranking that are shown; the report has them all.
const RANKING_SHOWN: usize = 10;

/// Builds what is not built yet, runs the campaign to its end and shows what it found.
pub(crate) fn demo(project: &Project) -> Result<bool> {
    tools::ensure(project, tools::FOR_DEMO)?;
    // the campaign of the demo is no script: where the runners cannot be built it is shown all the same
    if let Err(error) = runners::build(project) {
        println!("without what runs scripts in Python and JavaScript: {error:#}");
    }
    project.build_host()?;
    say("building the coatings campaign");
    build_campaign(project, PACKAGE, &workspace(project).join("campaign/coatings.wasm"))?;

    let made = given(project, &["init", WORKSPACE, "--json"])?;
    let made: Value = serde_json::from_str(&made).context("what `init` printed")?;
    let run_id = made["run_id"].as_str().context("`init` tells no run id")?;
    told(&["loop", run_id]);
    let ended = matterstack(project).args(["loop", run_id]).status().context("matterstack cannot be started")?;
    given(project, &["evidence", run_id])?;
    if !ended.success() {
        bail!("run `{run_id}` did not complete ({ended}); `matterstack explain {run_id}` says why");
    }

    let status = output(matterstack(project).args(["status", run_id, "--json"]))?;
    let status: Value = serde_json::from_str(&status).context("what `status` printed")?;
    print!("\n{}", findings(&status["result"])?);
    let report = PathBuf::from(made["path"].as_str().context("`init` tells no path")?).join("evidence/README.md");
    if !report.is_file() {
        bail!("there is no report at `{}`", report.display());
    }
    println!("\nthe report is {}", report.display());
    Ok(true)
}

fn workspace(project: &Project) -> PathBuf {
    project.root.join("workspaces").join(WORKSPACE)
}

fn matterstack(project: &Project) -> Command {
    let mut command = project.command(project.matterstack());
    // whatever the caller's environment names, the demo runs in this clone
    command.arg("--workspaces").arg(project.root.join("workspaces"));
    command
}

fn told(arguments: &[&str]) {
    say(&format!("matterstack {}", arguments.join(" ")));
}

/// Gives a command and returns what it printed.
fn given(project: &Project, arguments: &[&str]) -> Result<String> {
    told(arguments);
    output(matterstack(project).args(arguments))
}

/// The campaign's result for a person: the best of the ranking, the Pareto front, and the hypervolume as it grew.
fn findings(result: &Value) -> Result<String> {
    let list = |name: &str| result[name].as_array().with_context(|| format!("the result has no list `{name}`"));
    let (ranking, pareto, growth) = (list("ranking")?, list("pareto")?, list("hypervolume")?);
    let shown = ranking.len().min(RANKING_SHOWN);
    let mut text = format!("ranking: the best {shown} of {}\n{}", ranking.len(), table(&ranking[..shown]));
    text += &format!("\nPareto front: the {} that no other beats in both\n{}", pareto.len(), table(pareto));
    let volumes = growth.iter().filter_map(|entry| entry["hypervolume"].as_f64());
    let volumes: Vec<String> = volumes.map(|volume| format!("{volume:.3}")).collect();
    text += &format!("\nhypervolume after each iteration: {}\n", volumes.join(" "));
    if let Some(reason) = result["stopped"].as_str() {
        text += &format!("stopped: {reason}\n");
    }
    Ok(text)
}

/// Candidates as a table: who, what it is made of, how it did.
fn table(candidates: &[Value]) -> String {
    let elements: Vec<&String> =
        candidates.iter().take(1).flat_map(|first| first["composition"].as_object()).flat_map(Map::keys).collect();
    let mut lines = vec![["rank", "candidate"].map(str::to_owned).to_vec()];
    lines[0].extend(elements.iter().map(|element| (*element).clone()));
    lines[0].extend(["friction", "dissolution nm/h"].map(str::to_owned));
    let number = |value: &Value| value.as_f64().map_or_else(|| "?".to_owned(), |number| format!("{number:.3}"));
    for candidate in candidates {
        let mut line = vec![candidate["rank"].to_string(), candidate["id"].as_str().unwrap_or("?").to_owned()];
        line.extend(elements.iter().map(|element| number(&candidate["composition"][element.as_str()])));
        line.extend(["friction_coefficient", "dissolution_rate_nm_h"].map(|name| number(&candidate[name])));
        lines.push(line);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let shown = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        format!("  {}\n", cells.collect::<Vec<String>>().join("  "))
    };
    lines.iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn findings_are_tables_with_one_line_a_candidate() {
        let row = |rank: usize, id: &str| {
            json!({"rank": rank, "id": id, "composition": {"Cr": 0.25, "Mo": 0.75}, "front": 1,
                "friction_coefficient": 0.0625, "dissolution_rate_nm_h": 1.5})
        };
        let result = json!({
            "ranking": (1..=12).map(|rank| row(rank, &format!("c{rank}"))).collect::<Vec<_>>(),
            "pareto": [row(1, "c1")],
            "hypervolume": [{"iteration": 1, "hypervolume": 0.25}, {"iteration": 2, "hypervolume": 0.5}],
            "stopped": "the iterations are used up",
        });
        let text = findings(&result).expect("findings");
        assert!(text.contains("ranking: the best 10 of 12\n"), "{text}");
        assert!(text.contains("\n  rank  candidate     Cr     Mo  friction  dissolution nm/h\n"), "{text}");
        assert!(text.contains("\n     9         c9  0.250  0.750     0.062             1.500\n"), "{text}");
        assert!(!text.contains("c11"), "{text}");
        assert!(text.contains("Pareto front: the 1 "), "{text}");
        assert!(text.contains("iteration: 0.250 0.500\nstopped: the iterations are used up\n"), "{text}");
    }

    #[test]
    fn a_result_without_a_ranking_is_an_error() {
        assert!(findings(&json!({"pareto": [], "hypervolume": []})).is_err());
        assert!(findings(&Value::Null).is_err());
    }
}
