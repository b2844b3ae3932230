//! `cargo xtask demo`: the coatings campaign from nothing to its report, through the commands a person would give.
use crate::guests::build_campaign;
use crate::project::{Project, output, say};
use crate::tools;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

const WORKSPACE: &str = "coatings_active_learning";
const PACKAGE: &str = "campaign-coatings";
/// Rows of the ranking that are shown; the report has them all.
const RANKING_SHOWN: usize = 10;

/// Builds what is not built yet, runs the campaign to its end and shows what it found.
pub(crate) fn demo(project: &Project) -> Result<bool> {
    tools::ensure(project, tools::FOR_DEMO)?;
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
    let report = PathBuf::from(made["path"].as_str().context("`init` tells no path")?).join("evidence/report.md");
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

/// The campaign's result for a person: the best of the ranking, the Pareto front, the hypervolume.
fn findings(result: &Value) -> Result<String> {
    let list = |name: &str| result[name].as_array().with_context(|| format!("the result has no list `{name}`"));
    let (ranking, pareto) = (list("ranking")?, list("pareto")?);
    let shown = ranking.len().min(RANKING_SHOWN);
    let mut text = format!("ranking: the best {shown} of {}\n{}", ranking.len(), table(&ranking[..shown]));
    text += &format!("\nPareto front: {} that no other beats in everything\n{}", pareto.len(), table(pareto));
    if let Some(volume) = result["hypervolume"].as_f64() {
        text += &format!("\nhypervolume {volume:.4}\n");
    }
    Ok(text)
}

/// Objects as a table; a column for each number, text or entry of an inner object, in the order of the first row.
fn table(rows: &[Value]) -> String {
    let rows: Vec<Vec<(String, String)>> = rows.iter().map(cells).collect();
    let Some(first) = rows.first() else { return "  none\n".to_owned() };
    let heading: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    let body = rows.iter().map(|row| {
        let cell = |name: &&str| row.iter().find(|(key, _)| key == name).map_or("", |(_, text)| text.as_str());
        heading.iter().map(cell).collect::<Vec<&str>>()
    });
    let lines: Vec<Vec<&str>> = std::iter::once(heading.clone()).chain(body).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        text += &format!("  {}\n", cells.collect::<Vec<String>>().join("  "));
    }
    text
}

/// The columns of one row.
fn cells(row: &Value) -> Vec<(String, String)> {
    let mut cells = Vec::new();
    for (name, value) in row.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => cells.extend(self::cells(value)),
            Value::Array(values) => {
                let texts: Vec<String> = values.iter().map(short).collect();
                cells.push((name.clone(), texts.join(" ")));
            }
            _ => cells.push((name.clone(), short(value))),
        }
    }
    cells
}

/// A number with four decimals unless it is whole; a text as it stands.
fn short(value: &Value) -> String {
    match (value.as_str(), value.as_f64()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(number)) if !value.is_i64() && !value.is_u64() => format!("{number:.4}"),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn findings_are_tables_with_one_line_a_candidate() {
        let row = |id: &str, friction: f64| json!({"candidate": id, "composition": {"Cr": 0.25, "Mo": 0.75}, "friction": friction});
        let result = json!({
            "ranking": (0..12).map(|n| row(&format!("c{n}"), 0.01 * f64::from(n))).collect::<Vec<_>>(),
            "pareto": [row("c0", 0.0)], "hypervolume": 0.5,
        });
        let text = findings(&result).expect("findings");
        assert!(text.contains("ranking: the best 10 of 12\n"), "{text}");
        assert!(text.contains("\n         c9  0.2500  0.7500    0.0900\n"), "{text}");
        assert!(!text.contains("c10"), "{text}");
        assert!(text.contains("Pareto front: 1 "), "{text}");
        assert!(text.ends_with("hypervolume 0.5000\n"), "{text}");
    }

    #[test]
    fn a_result_without_a_ranking_is_an_error() {
        assert!(findings(&json!({"pareto": []})).is_err());
        assert!(findings(&Value::Null).is_err());
    }
}
