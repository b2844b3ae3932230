//! Which tasks a person means: by an id or a pattern of ids, and by how they stand. All that is said must hold.
use super::states::TaskState;

/// What a person says of the tasks that are meant; nothing says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// A task by its id, or tasks by a pattern of ids.
    pub task: Option<String>,
    /// Those in a state; `lost` for those that wait for a person's word on a lost attempt, `stale` for those that
    /// completed on what has been changed since.
    pub state: Option<String>,
    /// Those of an operator.
    pub operator: Option<String>,
    /// Those of an iteration.
    pub iteration: Option<u32>,
    /// Those of which this is the reason's code, or that of their live attempt.
    pub code: Option<String>,
    /// Also what completed or failed after them. Only what brings tasks back goes by it.
    pub recursive: bool,
}

impl Selection {
    /// One that names a task, or a pattern of ids.
    pub fn of_task(text: &str) -> Self {
        Self { task: Some(text.to_owned()), ..Self::default() }
    }

    /// Whether it says nothing, so that every task is meant.
    pub fn is_everything(&self) -> bool {
        let Self { task, state, operator, iteration, code, recursive: _ } = self;
        task.is_none() && state.is_none() && operator.is_none() && iteration.is_none() && code.is_none()
    }

    /// The tasks in words, such as ``failed task of operator `hpc` ``.
    pub fn words(&self) -> String {
        let state = self.state.as_ref().map(|state| format!("{state} ")).unwrap_or_default();
        let mut text = format!("{state}task");
        if let Some(task) = &self.task {
            text += &format!(" `{task}`");
        }
        if let Some(operator) = &self.operator {
            text += &format!(" of operator `{operator}`");
        }
        if let Some(iteration) = self.iteration {
            text += &format!(" of iteration {iteration}");
        }
        if let Some(code) = &self.code {
            text += &format!(" with code `{code}`");
        }
        text
    }
}

/// Whether a text can only be a pattern of task ids, or the id of a task that looks like one.
pub fn looks_like_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// A state that a selection can name: one of a task, or one of those that `lost` and `stale` tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In this state.
    State(TaskState),
    /// Running, with an attempt of which only a person can say what became of it.
    Lost,
    /// Completed on what has been changed since.
    Stale,
}

impl Standing {
    /// Reads its word.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "lost" => Some(Self::Lost),
            "stale" => Some(Self::Stale),
            text => TaskState::parse(text).map(Self::State),
        }
    }

    /// Every word, for a sentence.
    pub fn words() -> String {
        let states = TaskState::ALL.iter().map(|state| state.as_str());
        states.chain(["lost", "stale"]).collect::<Vec<_>>().join(", ")
    }

    /// The state that such a task is in.
    pub fn state(self) -> TaskState {
        match self {
            Self::State(state) => state,
            Self::Lost => TaskState::Running,
            Self::Stale => TaskState::Completed,
        }
    }
}
