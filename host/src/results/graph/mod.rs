//! The graph of a run: tasks, and what each waits for, as text for programs that draw and as a picture.
mod picture;

use crate::ground::words::one_line;
use crate::model::states::TaskState;
use crate::store::{Store, StoreError};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

pub use picture::BOXES_MAX;

/// Tasks, and what waits for what.
#[derive(Debug, Default)]
pub struct Graph {
    /// In the order in which they were planned.
    pub nodes: Vec<Node>,
    /// Pairs of places in `nodes`: the second waits for the first.
    pub arrows: Vec<(usize, usize)>,
}

/// A task, or tasks whose ids differ in numbers alone.
#[derive(Debug)]
pub struct Node {
    /// The task's id; of several, with `*` where the numbers stand.
    pub name: String,
    /// How many of its tasks are in each state.
    pub states: BTreeMap<TaskState, usize>,
    /// How many of its tasks ran nothing, and took earlier results.
    pub reused: usize,
    /// Whether it stands for tasks of a kind, however many there are.
    folded: bool,
}

impl Node {
    /// How many tasks it stands for.
    pub fn tasks(&self) -> usize {
        self.states.values().sum()
    }

    /// What became of its tasks, in words.
    fn words(&self) -> String {
        let count = |(word, count): (&str, usize)| match self.folded {
            true => format!("{count} {word}"),
            false => word.to_owned(),
        };
        let states = self.states.iter().map(|(state, tasks)| (state.as_str(), *tasks));
        let reused = (self.reused > 0).then_some(("reused", self.reused));
        states.chain(reused).map(count).collect::<Vec<_>>().join(", ")
    }
}

impl Graph {
    /// The graph of a run; with `fold`, tasks whose ids differ in numbers alone are one node.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn of(store: &Store, fold: bool) -> Result<Self, StoreError> {
        let reused: HashSet<i64> = store.reused_tasks()?.into_iter().collect();
        let (mut graph, mut named, mut places) = (Self::default(), HashMap::new(), HashMap::new());
        for task in store.tasks(None, None)? {
            let name = if fold { kind_of(&task.id) } else { task.id.clone() };
            let place = *named.entry(name).or_insert_with_key(|name| {
                graph.nodes.push(Node { name: name.clone(), states: BTreeMap::new(), reused: 0, folded: fold });
                graph.nodes.len() - 1
            });
            let node = &mut graph.nodes[place];
            *node.states.entry(task.state).or_default() += 1;
            node.reused += usize::from(reused.contains(&task.key));
            places.insert(task.id, place);
        }
        let mut seen = BTreeSet::new();
        for (task, on) in store.dependency_pairs()? {
            if let (Some(to), Some(from)) = (places.get(&task), places.get(&on))
                && from != to
                && seen.insert((*from, *to))
            {
                graph.arrows.push((*from, *to));
            }
        }
        Ok(graph)
    }

    /// A Mermaid flowchart.
    pub fn mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        for (place, node) in self.nodes.iter().enumerate() {
            let name = one_line(&node.name).replace('"', "#quot;");
            text += &format!("  t{place}[\"{name} ({})\"]\n", node.words());
        }
        for (from, to) in &self.arrows {
            text += &format!("  t{from} --> t{to}\n");
        }
        text
    }

    /// The language of Graphviz.
    pub fn dot(&self) -> String {
        let mut text = "digraph run {\n  rankdir=LR;\n".to_owned();
        for (place, node) in self.nodes.iter().enumerate() {
            let name = one_line(&node.name).replace('\\', "\\\\").replace('"', "\\\"");
            text += &format!("  t{place} [label=\"{name}\\n{}\"];\n", node.words());
        }
        for (from, to) in &self.arrows {
            text += &format!("  t{from} -> t{to};\n");
        }
        text + "}\n"
    }
}

/// An id with `*` for each number in it, a decimal point included.
fn kind_of(id: &str) -> String {
    let mut kind = String::with_capacity(id.len());
    let mut rest = id;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        kind += &rest[..start];
        kind.push('*');
        rest = rest[start..].trim_start_matches(|c: char| c.is_ascii_digit());
        let decimals = rest.strip_prefix('.').filter(|decimals| decimals.starts_with(|c: char| c.is_ascii_digit()));
        rest = decimals.map_or(rest, |decimals| decimals.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    kind + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_differ_in_numbers_are_of_one_kind() {
        assert_eq!(kind_of("relax-03"), "relax-*");
        assert_eq!(kind_of("solvent=water,t=300.5,n=2"), "solvent=water,t=*,n=*");
        assert_eq!(kind_of("v1.2.3."), "v*.*.");
        assert_eq!(kind_of("größe"), "größe");
    }
}
