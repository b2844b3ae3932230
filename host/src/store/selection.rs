//! The tasks that a person means, in portions, so that of any number little is in memory.
use super::task::{TASK_COLUMNS, task_row};
use super::{Store, StoreError, TaskRow};
use crate::model::pattern::{Dots, Pattern, PatternError, Patterns};
use crate::model::selection::{Selection, Standing, looks_like_pattern};
use rusqlite::named_params;

/// Tasks that are read at once.
const PORTION: u32 = 1_000;

/// Whether one of the words that `explain` has for a task is the one that is asked for, as far as they are recorded or
/// follow from its row. Behind a word may stand the limit that was reached, and before one that it is a plugin's.
const HAS_CODE: &str = "EXISTS (SELECT 1 FROM (SELECT t.reason_code AS word UNION ALL \
     SELECT a.reason_code FROM attempts a WHERE a.task_key = t.task_key AND a.ended_at_ms IS NULL UNION ALL \
     SELECT CASE WHEN t.state = 'pending' AND t.blocked > 0 THEN 'dependency' WHEN t.retry_at_ms IS NOT NULL THEN 'retry' \
     WHEN t.state = 'completed' AND t.stale THEN 'stale' END) \
     WHERE word IN (:code, 'plugin:' || :code) OR substr(word, 1, length(:code) + 1) = :code || ' ')";

/// Why tasks cannot be chosen.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// No task of the run has this id.
    #[error("no task has the id `{0}`")]
    NoTask(String),
    /// What is to be a pattern of ids is none.
    #[error("`{0}` is no pattern of task ids: {1}")]
    Pattern(String, PatternError),
    /// No task is ever in such a state.
    #[error("`{0}` is no state of a task")]
    State(String),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A selection that has been looked into, and how far its tasks have been read.
#[derive(Debug)]
pub struct Chosen<'a> {
    selection: &'a Selection,
    standing: Option<Standing>,
    names: Option<Patterns>,
    after: i64,
    last: i64,
}

impl Chosen<'_> {
    /// Whether a single task is named by its id.
    pub fn is_one(&self) -> bool {
        self.last != i64::MAX
    }
}

impl Store {
    /// Looks into what a person says of tasks.
    ///
    /// # Errors
    /// If it names no task, no pattern or no state, or the store cannot be read.
    pub fn choose<'a>(&self, selection: &'a Selection) -> Result<Chosen<'a>, SelectionError> {
        let parse = |text: &String| Standing::parse(text).ok_or_else(|| SelectionError::State(text.clone()));
        let standing = selection.state.as_ref().map(parse).transpose()?;
        let mut chosen = Chosen { selection, standing, names: None, after: 0, last: i64::MAX };
        let Some(text) = &selection.task else { return Ok(chosen) };
        match self.task(text)? {
            Some(task) => (chosen.after, chosen.last) = (task.key - 1, task.key),
            None if looks_like_pattern(text) => {
                let pattern = Pattern::parse(text).map_err(|error| SelectionError::Pattern(text.clone(), error))?;
                chosen.names = Some(Patterns::new(vec![pattern], Dots::Any));
            }
            None => return Err(SelectionError::NoTask(text.clone())),
        }
        Ok(chosen)
    }

    /// The next portion of the chosen tasks, in the order planned; nothing once all have been read.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn next_chosen(&self, chosen: &mut Chosen<'_>) -> Result<Option<Vec<TaskRow>>, StoreError> {
        loop {
            let portion = self.chosen_page(chosen)?;
            let Some(end) = portion.last() else { return Ok(None) };
            chosen.after = end.key;
            let Some(names) = &chosen.names else { return Ok(Some(portion)) };
            let named: Vec<TaskRow> = portion.into_iter().filter(|task| names.match_path(&task.id)).collect();
            if !named.is_empty() {
                return Ok(Some(named));
            }
        }
    }

    /// Every task that is chosen, in the order planned.
    ///
    /// # Errors
    /// If the selection names what is not there, or the database cannot be read.
    pub fn chosen(&self, selection: &Selection) -> Result<Vec<TaskRow>, SelectionError> {
        let mut chosen = self.choose(selection)?;
        let mut all = Vec::new();
        while let Some(portion) = self.next_chosen(&mut chosen)? {
            all.extend(portion);
        }
        Ok(all)
    }

    fn chosen_page(&self, chosen: &Chosen<'_>) -> Result<Vec<TaskRow>, StoreError> {
        let Selection { operator, iteration, code, .. } = chosen.selection;
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {TASK_COLUMNS} FROM tasks t WHERE t.task_key > :after AND t.task_key <= :last AND \
             (:state IS NULL OR t.state = :state) AND (NOT :lost OR t.reason_code = 'lost') AND (NOT :stale OR t.stale = 1) AND \
             (:operator IS NULL OR t.operator = :operator) AND (:iteration IS NULL OR t.iteration = :iteration) AND \
             (:code IS NULL OR {HAS_CODE}) ORDER BY t.task_key LIMIT :most"
        ))?;
        let rows = statement.query_map(
            named_params! {
                ":after": chosen.after, ":last": chosen.last,
                ":state": chosen.standing.map(|standing| standing.state().as_str()),
                ":lost": chosen.standing == Some(Standing::Lost), ":stale": chosen.standing == Some(Standing::Stale),
                ":operator": operator, ":iteration": iteration, ":code": code, ":most": PORTION,
            },
            task_row,
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
