//! `graph`: the tasks and what they depend on, for programs that draw.
use super::output::{one_line, print, print_json};
use super::{GraphFormat, Session};
use crate::failure::Failure;
use crate::store::TaskRow;
use crate::workspace::read_store;
use serde_json::{Value, json};

pub(super) fn graph(session: &Session, name: &str, format: GraphFormat) -> Result<u8, Failure> {
    let store = read_store(&session.run(name)?)?;
    let tasks = store.tasks(None, None)?;
    let pairs = store.dependency_pairs()?;
    let reused: std::collections::HashSet<i64> = store.reused_tasks()?.into_iter().collect();
    let word = |task: &TaskRow| {
        let word = task.state.as_str();
        if reused.contains(&task.key) { format!("{word}, reused") } else { word.to_owned() }
    };
    if session.json {
        let nodes: Vec<Value> = tasks
            .iter()
            .map(|task| json!({"id": task.id, "state": task.state, "reused": reused.contains(&task.key)}))
            .collect();
        let edges: Vec<Value> = pairs.iter().map(|(task, on)| json!({"from": on, "to": task})).collect();
        return print_json(&json!({"tasks": nodes, "dependencies": edges})).map(|()| 0);
    }
    let position: std::collections::HashMap<&str, usize> =
        tasks.iter().enumerate().map(|(position, task)| (task.id.as_str(), position)).collect();
    let of = |id: &str| position.get(id).copied().unwrap_or_default();
    let mut text = String::new();
    match format {
        GraphFormat::Mermaid => {
            text += "flowchart LR\n";
            for (position, task) in tasks.iter().enumerate() {
                let label = one_line(&task.id).replace('"', "#quot;");
                text += &format!("  t{position}[\"{label} ({})\"]\n", word(task));
            }
            for (task, on) in &pairs {
                text += &format!("  t{} --> t{}\n", of(on), of(task));
            }
        }
        GraphFormat::Dot => {
            text += "digraph run {\n  rankdir=LR;\n";
            for (position, task) in tasks.iter().enumerate() {
                let label = one_line(&task.id).replace('\\', "\\\\").replace('"', "\\\"");
                text += &format!("  t{position} [label=\"{label}\\n{}\"];\n", word(task));
            }
            for (task, on) in &pairs {
                text += &format!("  t{} -> t{};\n", of(on), of(task));
            }
            text += "}\n";
        }
    }
    print(&text)?;
    Ok(0)
}
