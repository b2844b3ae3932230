//! What a task's patterns can name: checked when it is planned, so that no job runs for a file that can never be taken.
use super::attempt_dir::{is_printed, own_name};
use super::id::TaskId;
use super::pattern::{Dots, PATTERNS_MAX, Pattern, Patterns, WEIGHT_MAX, plain_path};
use super::workflow::{FileSource, PlannedTask, Task, WorkflowError, is_folder, nearest};
use std::borrow::Cow;
use std::collections::HashMap;

/// Characters of a pattern that a sentence shows.
const SHOWN_MAX: usize = 100;

/// Which of a task's patterns one is, as errors name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Outputs,
    Carry,
}

impl List {
    fn word(self) -> &'static str {
        match self {
            Self::Outputs => "output",
            Self::Carry => "carry",
        }
    }
}

/// The beginning of a pattern, for a sentence.
fn beginning(pattern: &str) -> Cow<'_, str> {
    match pattern.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &pattern[..end])),
        None => Cow::Borrowed(pattern),
    }
}

/// The patterns of what a task leaves, ready to be matched; those that are none are passed over.
pub fn patterns<'a>(texts: impl Iterator<Item = &'a str>) -> Patterns {
    let parsed = texts.take(PATTERNS_MAX).filter_map(|text| Pattern::parse(text).ok());
    Patterns::new(parsed.collect(), Dots::Written)
}

/// Refuses patterns that are none, or that can never match.
///
/// # Errors
/// The first one, with what to write instead.
pub(super) fn refuse_bad_patterns(task: &Task) -> Result<(), WorkflowError> {
    let wrong = |text: String| Err(WorkflowError::Value(task.id.clone(), text));
    let outputs = task.outputs.iter().map(|output| (List::Outputs, output.pattern()));
    let carried = task.retry.carry.iter().map(|text| (List::Carry, text.as_str()));
    for (list, count) in [(List::Outputs, task.outputs.len()), (List::Carry, task.retry.carry.len())] {
        if count > PATTERNS_MAX {
            return wrong(format!("it has {count} {} patterns; {PATTERNS_MAX} are allowed", list.word()));
        }
    }
    let mut weights = [0, 0];
    for (list, text) in outputs.chain(carried) {
        let shown = beginning(text);
        let pattern = match Pattern::parse(text) {
            Ok(pattern) => pattern,
            Err(error) => return wrong(format!("{} pattern `{shown}`: {error}", list.word())),
        };
        let weight = &mut weights[usize::from(list == List::Carry)];
        *weight += pattern.weight();
        if *weight > WEIGHT_MAX {
            return wrong(format!("its {} patterns are too much to be matched together, at `{shown}`", list.word()));
        }
        if let Some(why) = never_matches(task, list, &pattern) {
            return wrong(format!("{} pattern `{shown}` can never match: {why}", list.word()));
        }
    }
    Ok(())
}

/// Why none of a pattern's alternatives can name a file that the task leaves; nothing if one can.
fn never_matches(task: &Task, list: List, pattern: &Pattern) -> Option<String> {
    let mut first = None;
    for (path, beginning) in pattern.plain_paths().zip(pattern.plain_beginnings()) {
        let why = match (path, beginning) {
            (Some(path), _) => never_left(task, list, &path),
            (None, Some(beginning)) => hosts_own(list, beginning),
            (None, None) => None,
        };
        first = first.or(Some(why?));
    }
    first
}

/// Why a task cannot leave a file at this path.
fn never_left(task: &Task, list: List, path: &str) -> Option<String> {
    if let Some(why) = hosts_own(list, path) {
        return Some(why);
    }
    if list == List::Carry {
        // the attempt before may have rewritten what was staged, but what is staged again counts
        return task.files.contains_key(path).then(|| format!("`{path}` is staged for every attempt"));
    }
    let staged = path.match_indices('/').map(|(end, _)| &path[..end]).chain([path]);
    let staged = staged.into_iter().find(|part| task.files.contains_key(*part))?;
    Some(format!(
        "`{staged}` is staged, and staged files are no outputs; have the job write the result under another name"
    ))
}

fn hosts_own(list: List, path: &str) -> Option<String> {
    if list == List::Outputs && is_printed(path) {
        return None;
    }
    own_name(path).map(|name| format!("`{name}` is a name for what the host writes"))
}

/// Refuses files of other tasks that these can never leave. `earlier` gives the text of a task of the run that is not
/// among the planned ones.
///
/// # Errors
/// The first one that no pattern gives, or that of `earlier`.
pub fn refuse_impossible_sources<E: From<WorkflowError>>(
    planned: &[PlannedTask],
    earlier: impl Fn(&TaskId) -> Result<Option<Task>, E>,
) -> Result<(), E> {
    let mut positions: Option<HashMap<&str, usize>> = None;
    let mut known: HashMap<&str, Option<Gives>> = HashMap::new();
    for one in planned {
        for (destination, source) in one.task.iter().flat_map(|task| &task.files) {
            let FileSource::From(from) = source else { continue };
            let positions = positions.get_or_insert_with(|| {
                planned.iter().enumerate().map(|(position, one)| (one.id.as_str(), position)).collect()
            });
            let id = from.from.as_str();
            if !known.contains_key(id) {
                let gives = match positions.get(id).and_then(|position| planned.get(*position)) {
                    Some(other) => Some(other.task.as_deref().map_or_else(Gives::nothing, Gives::of)),
                    None => earlier(&from.from)?.map(|task| Gives::of(&task)),
                };
                known.insert(id, gives);
            }
            if let Some(Some(gives)) = known.get(id)
                && let Some(why) =
                    if is_folder(destination) { gives.why_none(&from.output) } else { gives.why_not(&from.output) }
            {
                let what = if is_folder(destination) { "files" } else { "file" };
                let text = format!("{what} `{}` of task `{id}` can never be there: {why}", from.output);
                return Err(WorkflowError::Value(one.id.clone(), text).into());
            }
        }
    }
    Ok(())
}

/// What a task can give to others.
struct Gives {
    patterns: Patterns,
    staged: Vec<String>,
}

impl Gives {
    /// What a task without outputs and staged files can give.
    fn nothing() -> Self {
        Self { patterns: patterns(std::iter::empty()), staged: Vec::new() }
    }

    fn of(task: &Task) -> Self {
        let patterns = patterns(task.outputs.iter().map(super::workflow::OutputPattern::pattern));
        Self { patterns, staged: task.files.keys().cloned().collect() }
    }

    /// Why an output of this name is none.
    fn why_not(&self, output: &str) -> Option<String> {
        let path = plain_path(output);
        if self.staged.contains(&path) {
            return Some("it is staged there, and staged files are no outputs".to_owned());
        }
        if self.patterns.match_path(&path) {
            return None;
        }
        Some(self.names_none(&path))
    }

    /// Why a pattern of outputs names none.
    fn why_none(&self, output: &str) -> Option<String> {
        let wanted = Pattern::parse(output).ok()?;
        let meets = self.patterns.all().iter().any(|pattern| pattern.meets(&wanted));
        (!meets).then(|| self.names_none(output))
    }

    fn names_none(&self, path: &str) -> String {
        let texts = || self.patterns.all().iter().map(Pattern::text);
        match (texts().count(), nearest(path, texts())) {
            (0, _) => "that task has no `outputs`".to_owned(),
            (_, Some(near)) => format!("none of that task's output patterns names it; did you mean `{near}`?"),
            (_, None) => {
                let shown: Vec<String> = texts().take(5).map(|text| format!("`{text}`")).collect();
                format!("none of that task's output patterns names it: {}", shown.join(", "))
            }
        }
    }
}
