//! Which tasks of a virtual run go on at a time. As many are live as the configuration lets be, and of those each
//! backend of this machine runs what it has room for: by the rules of the tick and of the backend.
use crate::backend::Reckoned;
use crate::model::config::RunConfig;
use crate::model::workflow::{Task, local_backend, rank};
use crate::tick::{Capacity, Claim, room, shares};
use std::collections::{BTreeMap, BTreeSet};

/// What the tasks of an operator may take.
#[derive(Debug, Default)]
struct Operator {
    max: Option<u64>,
    backend: Option<String>,
    live: u64,
    /// Those that are ready, in the order in which they start.
    ready: BTreeSet<(i64, usize, String)>,
}

#[derive(Debug)]
pub(super) struct Places {
    max: u64,
    live: BTreeSet<String>,
    operators: BTreeMap<String, Operator>,
    backends: BTreeMap<String, Reckoned>,
}

impl Places {
    pub(super) fn of(config: &RunConfig) -> Self {
        let mut backends = BTreeMap::new();
        let mut operator = |(key, settings): (&String, &crate::model::config::OperatorConfig)| {
            let backend = local_backend(key, config).map(|(name, local)| {
                backends.entry(name.to_owned()).or_insert_with(|| Reckoned::new(local));
                name.to_owned()
            });
            (key.clone(), Operator { max: settings.max_active, backend, ..Operator::default() })
        };
        let operators = config.operators.iter().map(&mut operator).collect();
        Self { max: config.limits.max_active, live: BTreeSet::new(), operators, backends }
    }

    /// Takes in a task that waits for nothing but room. `place` is its place in the plan.
    pub(super) fn ready(&mut self, task: &Task, place: usize) {
        let rank = rank(task.priority, task.dependencies().is_empty());
        let operator = self.operators.entry(task.operator.clone()).or_default();
        operator.ready.insert((rank, place, task.id.as_str().to_owned()));
    }

    /// Lets as many tasks be live as may be, and returns those that begin.
    ///
    /// # Errors
    /// If there is never room for one: the sentence.
    pub(super) fn begin<'a>(
        &mut self,
        now_ms: u64,
        task: impl Fn(&str) -> Option<&'a Task>,
    ) -> Result<Vec<String>, String> {
        let mut begun = Vec::new();
        let live = self.live.len() as u64;
        let claims: Vec<Claim> = self.operators.values().map(|operator| operator.claim(live, self.max)).collect();
        let shares = shares(self.max.saturating_sub(live), &claims);
        for (operator, share) in self.operators.values_mut().zip(shares) {
            for _ in 0..share {
                let Some((_, _, id)) = operator.ready.pop_first() else { break };
                operator.live += 1;
                let backend = operator.backend.as_ref().and_then(|name| self.backends.get_mut(name));
                match backend {
                    Some(backend) => {
                        let resources = task(&id).and_then(|task| task.resources.as_ref());
                        backend.hand_in(&id, resources).map_err(|why| format!("task `{id}` can never start: {why}"))?;
                    }
                    None => begun.push(id.clone()),
                }
                self.live.insert(id);
            }
        }
        for backend in self.backends.values_mut() {
            begun.extend(std::iter::from_fn(|| backend.start(now_ms)));
        }
        Ok(begun)
    }

    /// Gives the place of a task away that has ended, or is not wanted any more.
    pub(super) fn end(&mut self, task: &Task) {
        let id = task.id.as_str();
        let Some(operator) = self.operators.get_mut(&task.operator) else { return };
        if !self.live.remove(id) {
            operator.ready.retain(|(_, _, other)| other != id);
            return;
        }
        operator.live = operator.live.saturating_sub(1);
        if let Some(backend) = operator.backend.as_ref().and_then(|name| self.backends.get_mut(name)) {
            backend.end(id);
        }
    }
}

impl Operator {
    fn claim(&self, run_live: u64, run_max: u64) -> Claim {
        let (operator_live, operator_max) = (self.live, self.max);
        let most = room(Capacity { run_live, run_max, operator_live, operator_max });
        Claim { live: self.live, wanted: most.min(self.ready.len() as u64) }
    }
}
