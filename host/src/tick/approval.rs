//! Takes the words of people on tasks that wait for approval. Who gave one is told by the owner of its file alone. The
//! word, the act and what follows are one transaction; the file is put away after it, and one that a crash left is put
//! away by a later tick, since nothing is asked under its id any more.
use super::{Moment, Run, TickError, outlook};
use crate::model::act::{Act, Actor, Verb};
use crate::model::code::Code;
use crate::model::reason::Reason;
use crate::model::rules::Person;
use crate::model::states::TaskState;
use crate::run::{Approval, Expected, Word, known};
use crate::store::{Asked, Durability, Outlook, StoreError, Writer};
use serde_json::json;
use std::collections::BTreeMap;

/// What stands behind the sentence of a task of which a word was set aside.
const ASIDE: &str = "; an answer of ";

/// Takes every word that has been given. Returns where the run stands then.
pub(super) fn take_answers(run: &mut Run, moment: Moment<'_>) -> Result<Outlook, TickError> {
    let before = outlook(run)?;
    if before.state.ended() || !before.asks || !run.store.waits_for_approval()? {
        return Ok(before);
    }
    let words = run.dir.words();
    let (mut words, all) =
        words.map_err(|error| TickError::Io("reading the directory of approvals".to_owned(), error))?;
    if !all {
        // one that is found twice says nothing the second time
        words.splice(..0, run.dir.words_of(&expected(run)?));
    }
    if words.is_empty() {
        return Ok(before);
    }
    for word in words {
        take(run, &word, moment)?;
    }
    Ok(outlook(run)?)
}

/// Whose word each task waits for, where it is not known to lie there.
fn expected(run: &Run) -> Result<Vec<Expected>, StoreError> {
    let by: BTreeMap<&str, Vec<u32>> = run
        .config
        .operators
        .iter()
        .filter_map(|(key, operator)| Some((key.as_str(), known(&operator.approve.as_ref()?.by))))
        .collect();
    let asked = run.store.all_asked()?;
    let of = |(approval, operator): (String, String)| {
        Some(Expected { approval, by: by.get(operator.as_str()).filter(|by| !by.is_empty())?.clone() })
    };
    Ok(asked.into_iter().filter_map(of).collect())
}

/// Takes one word. What counts is recorded before its file is put away, so that it is never lost, and says nothing a
/// second time. What does not is put away first: what cannot be moved, as whoever may write there can arrange, would
/// else be recorded with every tick, and is as if it were not there.
fn take(run: &mut Run, file: &Approval, moment: Moment<'_>) -> Result<(), TickError> {
    let Some(asked) = &run.store.asked_under(file.of())? else {
        let _ = run.dir.put_away(file, moment.now_ms);
        return Ok(());
    };
    let approve = run.config.operators.get(&asked.operator).and_then(|operator| operator.approve.as_ref());
    let by: Vec<Person> = approve.map(|approve| approve.by.clone()).unwrap_or_default();
    let aside = file.set_aside(&asked.request, &by);
    let counts = aside.is_none();
    if !counts && run.dir.put_away(file, moment.now_ms).is_err() {
        return Ok(());
    }
    let owner = (moment.user_name)(file.owner);
    let act = act(asked, file, owner.clone(), aside.as_deref(), moment.now_ms);
    run.store.transaction(Durability::Full, |writer| match (&file.word, aside) {
        (Ok(word), None) => answer(writer, asked, word, &owner, &act),
        (_, aside) => {
            let why = aside.unwrap_or_default();
            let asks = asked.sentence.split(ASIDE).next().unwrap_or_default();
            let text = format!("{asks}{ASIDE}`{owner}` (uid {}) was set aside: {why}", file.owner);
            writer.add_act(&act)?;
            writer.set_task_reason(asked.task_key, Some(&Reason::new(Code::Approval, text)))
        }
    })?;
    if counts {
        let _ = run.dir.put_away(file, moment.now_ms);
    }
    Ok(())
}

/// Does what the word says, in the caller's transaction.
fn answer(writer: &Writer<'_>, asked: &Asked, word: &Word, owner: &str, act: &Act) -> Result<(), StoreError> {
    writer.answer_approval(&asked.approval, word.approved, act)?;
    if word.approved {
        return writer.look_again(asked.task_key, &format!("approved by `{owner}`"), act.at_ms);
    }
    let why = act.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let reason = Reason::new(Code::Rejected, format!("rejected by `{owner}`{why}"));
    writer.set_task_state(asked.task_key, (TaskState::Running, TaskState::Failed), Some(&reason), act.at_ms)
}

/// What the record says of it.
fn act(asked: &Asked, file: &Approval, owner: String, aside: Option<&str>, now_ms: i64) -> Act {
    let mut arguments = json!({"task": asked.task, "approval": asked.approval, "sha256": asked.request});
    let word = file.word.as_ref().ok();
    if let Some(word) = word {
        arguments["approved"] = word.approved.into();
    }
    if let Some(why) = aside {
        arguments["set_aside"] = why.into();
    }
    let by = Actor {
        user_id: file.owner,
        user: owner,
        host: word.map(|word| word.by.host.clone()).unwrap_or_default(),
        version: word.and_then(|word| word.by.version.clone()),
    };
    Act { verb: Verb::Respond, arguments, reason: word.and_then(|word| word.by.reason.clone()), by, at_ms: now_ms }
}
