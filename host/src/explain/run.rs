//! Why a run as a whole does not move.
use super::{Explanation, Seen, Told, ran_unseen};
use crate::ground::words::{one_line, set_option};
use crate::model::code::{Code, Word};
use crate::model::config::{PinnedFile, RunConfig};
use crate::model::script::{CAMPAIGN, component};
use crate::model::states::RunState;
use crate::model::time::Time;
use crate::run::taking_command;
use crate::store::{Standing, StoreError};
use serde_json::Value;

/// Digits of a digest that a sentence shows.
const SHORT_DIGEST: usize = 12;

/// What is said of pinned files of which the workspace has another copy.
pub(super) fn of_changed(changed: &[String], run: &str, config: &RunConfig) -> Option<Explanation> {
    let [first, rest @ ..] = changed else { return None };
    let more = if rest.is_empty() { String::new() } else { format!(" and of {} more", rest.len()) };
    Some(Explanation {
        task: None,
        code: Code::FilesChanged.into(),
        sentence: format!("the workspace has another copy of `{first}`{more} than the run"),
        command: Some(taking_command(config, run, first)),
    })
}

impl Seen<'_> {
    pub(super) fn run(&self) -> Result<Option<Explanation>, StoreError> {
        let reason = self.row.reason.clone().unwrap_or_default();
        let word = self.row.reason_code.clone();
        let (code, sentence, command): Told = match self.row.state {
            RunState::Active => return self.asleep(),
            RunState::Completed => return Ok(None),
            RunState::Paused => (Code::Paused.into(), "a person paused the run".to_owned(), self.command("resume")),
            RunState::Cancelling => {
                let text = match self.store.ends_in()? {
                    Some(end) => {
                        format!("the campaign has ended the run, which will be {end}; what is live is stopped first")
                    }
                    None => "the run is being cancelled; it waits for what is live to stop".to_owned(),
                };
                (Code::Cancelling.into(), text, self.command("step"))
            }
            RunState::Failed => (word.unwrap_or(Code::Failed.into()), reason, self.command("resume")),
            RunState::Cancelled => (word.unwrap_or(Code::Cancelled.into()), reason, self.command("resume")),
            RunState::Held => {
                let word = word.unwrap_or(Code::Held.into());
                let command = match word.own() {
                    Some(Code::Lost) => self.lost_tasks()?,
                    Some(other) if other.is_of_plugin() && self.config.script(CAMPAIGN).is_some() => {
                        let exchange = self.command(&format!("amend plugin {}", self.config.campaign.plugin));
                        return Ok(Some(Explanation {
                            task: None,
                            sentence: format!("{reason}; {}", self.script_digests()),
                            command: self.raise(&word, "resume").or(exchange),
                            code: word,
                        }));
                    }
                    Some(Code::PluginError | Code::PlannedNothing | Code::Stuck) => self.command("resume"),
                    Some(other) if other.is_of_plugin() => {
                        self.raise(&word, "resume").or_else(|| self.command("amend plugin FILE"))
                    }
                    _ => return self.asks(word, reason).map(Some),
                };
                (word, reason, command)
            }
        };
        Ok(Some(Explanation { task: None, code, sentence, command }))
    }

    /// Which script decides, and what carries it out, by the beginnings of their digests.
    fn script_digests(&self) -> String {
        let short = |file: &PinnedFile| file.sha256.chars().take(SHORT_DIGEST).collect::<String>();
        let campaign = &self.config.campaign.plugin;
        let script = self.config.script(CAMPAIGN).map(|script| short(&script.file)).unwrap_or_default();
        let runner = self.config.pinned_component(campaign).map(short).unwrap_or_default();
        format!("`{campaign}` is {script}, carried out by `{}` {runner}", component(campaign))
    }

    /// Why an active run has nothing open and does nothing, if it waits for a time.
    fn asleep(&self) -> Result<Option<Explanation>, StoreError> {
        let counts = self.store.task_counts()?;
        let Some(wake) = self.store.wake()?.filter(|_| counts.pending + counts.running == 0) else { return Ok(None) };
        let sentence = format!("the campaign asked to be asked again at {}", Time(wake.at_ms));
        Ok(Some(Explanation { task: None, code: Code::WakeAt.into(), sentence, command: None }))
    }

    /// What helps a run that waits for its lost tasks: all of them are brought back at once, unless one would run
    /// twice.
    fn lost_tasks(&self) -> Result<Option<String>, StoreError> {
        for task in self.store.standing_tasks(Standing::Running, u64::MAX) {
            let task = task?;
            let attempts = self.store.attempts(task.key)?;
            if ran_unseen(&attempts) {
                return Ok(self.lost_task(&task.id, &attempts));
            }
        }
        Ok(self.command("rerun --state lost"))
    }

    /// What a campaign asks a person for that has put its run on hold: the values of its form, if it gave one.
    fn asks(&self, code: Word, reason: String) -> Result<Explanation, StoreError> {
        let last = self.store.decision_input(self.store.decisions_made()?)?;
        let answer = last.and_then(|input| input.answer).and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let form = answer.as_ref().and_then(|answer| answer.pointer("/next/hold/data/form/properties")?.as_object());
        let Some(form) = form.filter(|form| !form.is_empty()) else {
            let command = self.command("resume --set KEY=VALUE");
            return Ok(Explanation { task: None, code, sentence: reason, command });
        };
        let (mut asked, mut sets) = (Vec::new(), Vec::new());
        for (name, schema) in form {
            let of: Vec<String> =
                schema["enum"].as_array().into_iter().flatten().map(|one| one_line(&one.to_string())).collect();
            let of = if of.is_empty() { String::new() } else { format!(" ({})", of.join(", ")) };
            asked.push(format!("`{}`{of}", one_line(name)));
            sets.push(set_option(name));
        }
        let sentence = format!("{reason}; it asks for {}", asked.join(", "));
        Ok(Explanation { task: None, code, sentence, command: self.command(&format!("resume {}", sets.join(" "))) })
    }
}
