//! `respond`: a person answers a question of a run, field by field on a terminal or by options in a script.
use super::Session;
use super::output::{one_line, print_json, tell};
use crate::failure::{Failure, FailureKind, refuse_bundle};
use crate::model::document::{self, Dialect};
use crate::people::answer::{Judgement, Question, question};
use crate::people::approval::{Approval, approval};
use crate::run::{ANSWER_MAX, Run, Signature};
use crate::workspace::{SET, now_ms, open_to_look, set_value};
use clap::Args;
use serde_json::{Map, Value, json};
use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(override_usage = "matterstack respond [OPTIONS] [RUN] TASK")]
pub(super) struct RespondArgs {
    /// The run [default: latest], and the task that asks
    #[arg(num_args = 1..=2, required = true, value_names = ["RUN", "TASK"])]
    pub(super) of: Vec<String>,
    /// A field of the answer; JSON if it parses and the field is not text, else text; dots separate keys
    #[arg(long = "set", value_name = "K=V")]
    sets: Vec<String>,
    /// The whole answer as a JSON file; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sets", "approve", "reject"])]
    file: Option<PathBuf>,
    /// Let a task start that waits for approval, or set `approved` of the answer to true
    #[arg(long, conflicts_with = "reject")]
    approve: bool,
    /// The opposite: the task ends as failed with the code `rejected`, unless it says otherwise
    #[arg(long)]
    reject: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", value_parser = short_reason)]
    reason: Option<String>,
}

/// The longest reason that stands beside what is given to an attempt, in bytes.
const REASON_MAX: usize = 16 * 1024;

/// A reason that the tick which takes what was given can read with the signature that it stands in.
pub(super) fn short_reason(text: &str) -> Result<String, String> {
    if text.len() > REASON_MAX { Err(format!("at most {REASON_MAX} bytes")) } else { Ok(text.to_owned()) }
}

pub(super) fn respond(session: &Session, (name, task): (&str, &str), arguments: &RespondArgs) -> Result<u8, Failure> {
    let dir = session.run(name)?;
    refuse_bundle(&dir)?;
    let run = open_to_look(&dir)?;
    if let Some(approval) = approval(&run, task)? {
        return approve(session, &run, &approval, arguments);
    }
    let question = question(&run, task)?;
    let scripted = arguments.approve || arguments.reject || !arguments.sets.is_empty();
    let answer = match &arguments.file {
        Some(file) => from_file(file)?,
        None if scripted => from_options(arguments, &question.schema)?,
        None if std::io::stdin().is_terminal() => {
            return give(session, &question, &on_terminal(&run, &question)?, arguments.reason.as_deref());
        }
        None => {
            return Err(Failure::input(format!(
                "task `{}` asks for an answer, and nobody is at a terminal",
                question.task
            ))
            .hint("give it with --set KEY=VALUE, --file FILE, --approve or --reject"));
        }
    };
    if let Judgement::Invalid(why) = question.judge(&run, &text_of(&answer))? {
        return Err(Failure::input(format!("the answer to task `{}` is not valid", question.task))
            .because(why)
            .hint("the question is still open; its `schema.json` says what it takes"));
    }
    give(session, &question, &answer, arguments.reason.as_deref())
}

/// Gives a person's word on a task that waits for approval before it starts.
fn approve(session: &Session, run: &Run, approval: &Approval, arguments: &RespondArgs) -> Result<u8, Failure> {
    let task = &approval.asked.task;
    let said = arguments.approve || arguments.reject;
    let approved = if said && arguments.sets.is_empty() {
        arguments.approve
    } else if !said && arguments.sets.is_empty() && arguments.file.is_none() && std::io::stdin().is_terminal() {
        tell(&format!("task `{task}` {}\n{}\n", one_line(&approval.asked.sentence), one_line(&approval.asked.spec)));
        match read_line("Approve it? [y]es, [n]o (the task fails): ")?.as_str() {
            "y" | "yes" => true,
            "n" | "no" => false,
            _ => return Err(Failure::input(format!("nothing was answered; task `{task}` still waits"))),
        }
    } else {
        return Err(Failure::input(format!("task `{task}` waits for approval, which is given or not"))
            .hint("give it with --approve or --reject"));
    };
    let signature = approval.give(run, approved, arguments.reason.as_deref(), now_ms())?;
    let word = if approved { "approved" } else { "rejected" };
    tell(&format!("task `{task}` is {word}; the next `step` or `loop` of run `{}` takes it", approval.run_id));
    if session.json {
        print_given(&approval.run_id, task, &signature)?;
    }
    Ok(0)
}

fn print_given(run_id: &str, task: &str, signature: &Signature) -> Result<(), Failure> {
    let by = json!({"user": signature.user, "uid": signature.uid, "host": signature.host});
    let (sha256, at) = (&signature.sha256, &signature.at);
    print_json(&json!({"run_id": run_id, "task": task, "sha256": sha256, "at": at, "by": by}))
}

fn give(session: &Session, question: &Question, answer: &Value, reason: Option<&str>) -> Result<u8, Failure> {
    let signature = question.give(&text_of(answer), reason, now_ms())?;
    tell(&format!(
        "task `{}` is answered; the next `step` or `loop` of run `{}` takes it",
        question.task, question.run_id
    ));
    if session.json {
        print_given(&question.run_id, &question.task, &signature)?;
    }
    Ok(0)
}

fn text_of(answer: &Value) -> Vec<u8> {
    (answer.to_string() + "\n").into_bytes()
}

fn from_file(file: &std::path::Path) -> Result<Value, Failure> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().take(ANSWER_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|open| open.take(ANSWER_MAX + 1).read_to_end(&mut bytes))
    };
    let name = file.display();
    read.map_err(|error| Failure::input(format!("answer `{name}` cannot be read")).because(error))?;
    if bytes.len() as u64 > ANSWER_MAX {
        return Err(Failure::input(format!("answer `{name}` has more than {ANSWER_MAX} bytes")));
    }
    document::read(&bytes, Dialect::Strict).map_err(|fault| {
        let what = if fault.kind.is_syntax() { "is not JSON" } else { "cannot be taken as it stands" };
        Failure::input(format!("answer `{name}` {what}")).because(fault)
    })
}

fn from_options(arguments: &RespondArgs, schema: &Value) -> Result<Value, Failure> {
    let mut answer = Value::Object(Map::new());
    if arguments.approve || arguments.reject {
        answer["approved"] = Value::Bool(arguments.approve);
    }
    for set in &arguments.sets {
        match set.split_once('=') {
            Some((key, text)) if schema["properties"][key]["type"] == "string" => answer[key] = text.into(),
            _ => set_value(&mut answer, set, SET)?,
        }
    }
    Ok(answer)
}

/// Asks until the operator finds the answer valid.
fn on_terminal(run: &Run, question: &Question) -> Result<Value, Failure> {
    let shown: Vec<String> = question.instructions.lines().map(one_line).collect();
    tell(&format!("{}\n", shown.join("\n")));
    loop {
        let answer = match question.schema["properties"].as_object() {
            Some(fields) => Value::Object(ask_fields(fields, &question.schema["required"])?),
            None => ask("answer", &question.schema, true)?.unwrap_or(Value::Null),
        };
        if let Judgement::Invalid(why) = question.judge(run, &text_of(&answer))? {
            tell(&format!("that is no valid answer: {}\n", one_line(&why)));
            continue;
        }
        match read_line(&format!("{answer}\nGive this answer? [y]es, [n]o (ask again): "))?.as_str() {
            "" | "y" | "yes" => return Ok(answer),
            _ => tell(""),
        }
    }
}

fn ask_fields(fields: &Map<String, Value>, required: &Value) -> Result<Map<String, Value>, Failure> {
    let required = |name: &str| required.as_array().is_some_and(|names| names.iter().any(|other| other == name));
    let mut answer = Map::new();
    for (name, schema) in fields {
        if let Some(value) = ask(name, schema, required(name))? {
            let rejected = name == "approved" && value == Value::Bool(false);
            answer.insert(name.clone(), value);
            if rejected {
                break;
            }
        }
    }
    Ok(answer)
}

/// Asks for one field, again and again until the text is of its type; nothing if it is left out.
fn ask(name: &str, schema: &Value, required: bool) -> Result<Option<Value>, Failure> {
    let choices = schema["enum"].as_array();
    let kind = schema["type"].as_str().unwrap_or("JSON");
    let mut prompt = one_line(schema["title"].as_str().unwrap_or(name));
    if let Some(text) = schema["description"].as_str() {
        prompt += &format!(" ({})", one_line(text));
    }
    for (number, choice) in choices.into_iter().flatten().enumerate() {
        prompt += &format!("\n  {}: {}", number + 1, one_line(&choice.to_string()));
    }
    let default = schema.get("default");
    prompt += &match (default, required) {
        (Some(default), _) => format!(" [{}]", one_line(&default.to_string())),
        (None, true) => format!(" <{}>", if kind == "boolean" { "yes or no" } else { kind }),
        (None, false) => format!(" <{kind}, or nothing>"),
    };
    loop {
        let line = read_line(&format!("{prompt}: "))?;
        if line.is_empty() && (default.is_some() || !required) {
            return Ok(default.cloned());
        }
        match value_of(&line, kind, choices) {
            Some(value) => return Ok(Some(value)),
            None if choices.is_some() => tell("  give the number of a choice, or the choice itself"),
            None => tell(&format!("  that is no {kind}")),
        }
    }
}

/// A line as a value of the field's type.
fn value_of(line: &str, kind: &str, choices: Option<&Vec<Value>>) -> Option<Value> {
    if let Some(choices) = choices {
        let shown = |choice: &Value| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned);
        let same = |choice: &&Value| shown(choice) == line;
        let by_number = || choices.get(line.parse::<usize>().ok()?.checked_sub(1)?);
        return choices.iter().find(same).or_else(by_number).cloned();
    }
    let parsed = || serde_json::from_str::<Value>(line).ok();
    match kind {
        "string" => Some(line.into()),
        "boolean" => match line.to_lowercase().as_str() {
            "y" | "yes" | "true" => Some(true.into()),
            "n" | "no" | "false" => Some(false.into()),
            _ => None,
        },
        "integer" => parsed().filter(|value| value.is_i64() || value.is_u64()),
        "number" => parsed().filter(Value::is_number),
        "array" => parsed().filter(Value::is_array),
        "object" => parsed().filter(Value::is_object),
        _ => parsed(),
    }
}

fn read_line(prompt: &str) -> Result<String, Failure> {
    // Where standard error is closed there is nobody to ask, and the end of the input comes soon.
    let _ = write!(std::io::stderr(), "{prompt}");
    let mut line = String::new();
    let read =
        std::io::stdin().lock().read_line(&mut line).map_err(|error| Failure::machine("standard input", error))?;
    if read == 0 {
        return Err(Failure::of(FailureKind::Input, "the answer was broken off; the question is still open"));
    }
    Ok(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::value_of;
    use serde_json::{Value, json};

    #[test]
    fn a_line_becomes_a_value_of_the_fields_type() {
        let choices = vec![json!("low"), json!("high"), json!(3)];
        let cases: [(&str, &str, bool, Option<Value>); 12] = [
            ("low", "string", true, Some(json!("low"))),
            ("2", "string", true, Some(json!("high"))),
            ("3", "string", true, Some(json!(3))),
            ("4", "string", true, None),
            ("0", "string", true, None),
            ("3", "string", false, Some(json!("3"))),
            ("3", "integer", false, Some(json!(3))),
            ("3.5", "integer", false, None),
            ("3.5", "number", false, Some(json!(3.5))),
            ("Yes", "boolean", false, Some(json!(true))),
            ("perhaps", "boolean", false, None),
            ("[1]", "array", false, Some(json!([1]))),
        ];
        for (line, kind, chosen, expected) in cases {
            assert_eq!(value_of(line, kind, chosen.then_some(&choices)), expected, "{line} {kind}");
        }
    }
}
