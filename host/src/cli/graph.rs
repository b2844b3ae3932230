//! `graph`: the tasks and what they depend on.
use super::output::{print, print_json};
use super::{GraphFormat, Session};
use crate::failure::Failure;
use crate::results::{BOXES_MAX, Graph};
use crate::workspace::read_store;
use serde_json::{Value, json};

pub(super) fn graph(session: &Session, name: &str, format: GraphFormat, fold: bool) -> Result<u8, Failure> {
    let graph = Graph::of(&read_store(&session.run(name)?)?, fold)?;
    if session.json {
        return print_json(&document(&graph, fold)).map(|()| 0);
    }
    let text = match format {
        GraphFormat::Mermaid => graph.mermaid(),
        GraphFormat::Dot => graph.dot(),
        GraphFormat::Svg => graph.svg().ok_or_else(|| {
            let failure = Failure::input(format!("{} boxes are more than a picture of {BOXES_MAX}", graph.nodes.len()));
            failure.hint(if fold {
                "`--format dot` has them all"
            } else {
                "`--fold` makes one of those that are alike"
            })
        })?,
    };
    print(&text)?;
    Ok(0)
}

fn document(graph: &Graph, fold: bool) -> Value {
    let nodes = graph.nodes.iter().map(|node| match (fold, node.states.keys().next()) {
        (false, Some(state)) => json!({"id": node.name, "state": state, "reused": node.reused > 0}),
        _ => json!({"id": node.name, "tasks": node.tasks(), "states": node.states, "reused": node.reused}),
    });
    let nodes: Vec<Value> = nodes.collect();
    let name = |place: &usize| &graph.nodes[*place].name;
    let arrows = graph.arrows.iter().map(|(from, to)| json!({"from": name(from), "to": name(to)}));
    json!({"tasks": nodes, "dependencies": arrows.collect::<Vec<_>>()})
}
