//! `builtin:sweep`, the campaign that makes one task from a template for each row of parameters: of a grid, of columns
//! that go together, of a list, or of a CSV file.
//!
//! The tasks go to the host as a plain list, which validates them. A task that failed or was skipped fails the run
//! unless the template says `allow_failure`. Parameters that have grown are planned whole: the host passes over the
//! tasks that it knows.
mod rows;

use campaign_tally::{Tally, fingerprint};
use campaign_template::Row;
use matterstack_sdk::{Campaign, Context, Decision, Error, Next, TaskResult, artifacts};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

/// The longest id of a task, in bytes.
const ID_MAX_BYTES: usize = 200;

/// The campaign.
pub struct Sweep;

matterstack_sdk::export_campaign!(Sweep, manifest: concat!(
    r#"{"format": 1, "name": "sweep", "version": ""#,
    env!("CARGO_PKG_VERSION"),
    r#"", "takes_back": true}"#
));

/// `campaign.params`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// A task, in whose texts `{name}` stands for a parameter.
    template: Map<String, Value>,
    /// Every value of each parameter with every one of the others.
    #[serde(default)]
    grid: BTreeMap<String, Vec<Value>>,
    /// Parameters that go together: the first values of all, the second of all, and so on.
    #[serde(default)]
    zip: BTreeMap<String, Vec<Value>>,
    /// The rows themselves.
    #[serde(default)]
    list: Option<Vec<BTreeMap<String, Value>>>,
    /// The name of an input that is a CSV file, whose first line names the parameters.
    #[serde(default)]
    rows: Option<String>,
}

/// What is remembered between decisions.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    tally: Tally,
    /// Tells the tasks that were planned last from others.
    list: String,
}

impl Campaign for Sweep {
    type Params = Params;
    type State = State;

    fn plan(ctx: &Context<Params>, state: Option<State>) -> Result<Decision<State>, Error> {
        let tasks = tasks(ctx)?;
        let list = fingerprint(&tasks);
        match state {
            None => {
                let state = State { list, ..State::default() };
                let decision = Decision::new(state, Next::RawWorkflow(tasks), "run a task for every row of parameters");
                Ok(Decision { skip_known: campaign_tally::may_know_tasks(ctx), ..decision })
            }
            Some(state) if state.list != list => {
                let state = State { list, ..state };
                Ok(Decision::new(state, Next::RawWorkflow(tasks), "run what the parameters have more").skipping_known())
            }
            Some(state) => {
                let (next, reason) = state.tally.end(ctx.open_tasks);
                Ok(Decision::new(state, next, reason))
            }
        }
    }

    fn analyze(_ctx: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
        results.into_iter().for_each(|result| state.tally.add(result));
        Ok(state)
    }
}

/// The task of every row, as the text of a JSON array.
fn tasks(ctx: &Context<Params>) -> Result<String, Error> {
    let (params, rows) = (ctx.params()?, rows(ctx)?);
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(rows.len());
    let mut all = Vec::with_capacity(rows.len());
    for (position, row) in rows.iter().enumerate() {
        let mut task = campaign_template::fill(&params.template, row).map_err(wrong)?;
        let id = match task.get("id") {
            Some(Value::String(id)) => id.clone(),
            Some(id) => return Err(wrong(format!("the id of row {} is no text but {id}", position + 1))),
            None => derived_id(row).unwrap_or_else(|| format!("row-{:04}", position + 1)),
        };
        if id.is_empty() || id.len() > ID_MAX_BYTES {
            let text = format!("row {} has an id of {} bytes; 1 to {ID_MAX_BYTES} are allowed", position + 1, id.len());
            return Err(wrong(text));
        }
        if let Some(other) = seen.insert(id.clone(), position) {
            let (first, second) = (other + 1, position + 1);
            let text = format!("rows {first} and {second} both have the id `{id}`: let `template.id` tell them apart");
            return Err(wrong(text));
        }
        task.insert("id".to_owned(), Value::String(id));
        all.push(Value::Object(task));
    }
    Ok(Value::Array(all).to_string())
}

/// An id that says what the row is, if that is short enough and nothing in it is a list or an object.
fn derived_id(row: &Row) -> Option<String> {
    let parts = row.iter().map(|(name, cell)| Some(format!("{name}={}", cell.text()?)));
    let id = parts.collect::<Option<Vec<String>>>()?.join(",");
    (id.len() <= ID_MAX_BYTES && !id.contains(char::is_control)).then_some(id)
}

fn rows(ctx: &Context<Params>) -> Result<Vec<Row>, Error> {
    let params = ctx.params()?;
    let columns = !params.grid.is_empty() || !params.zip.is_empty();
    match (columns, &params.list, &params.rows) {
        (true, None, None) => rows::of_columns(&params.grid, &params.zip),
        (false, Some(list), None) => rows::of_list(list),
        (false, None, Some(name)) => {
            let text = artifacts::read_text(ctx.input(name)?)?;
            campaign_template::of_csv(&text).map_err(|error| wrong(format!("input `{name}`: {error}")))
        }
        (false, None, None) => Err(wrong("give the parameters in one of `grid`, `zip`, `list` and `rows`")),
        _ => Err(wrong("give the parameters in one way: `grid` and `zip`, or `list`, or `rows`")),
    }
}

fn wrong(text: impl Into<String>) -> Error {
    Error::invalid("params", text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use matterstack_sdk::json;

    fn planned(params: Value, csv: Option<&str>) -> Result<Vec<Value>, String> {
        let ctx = Context::first(serde_json::from_value(params).map_err(|error| error.to_string())?);
        let text = csv.unwrap_or_default();
        let ctx = ctx.with_inputs(csv.map(|text| ("t", "d", text.len() as u64)));
        let plan = || Sweep::plan(&ctx, None);
        let decision = artifacts::with_files([("d".to_owned(), text.as_bytes().to_vec())], plan);
        match decision.map_err(|error| error.detail().message.clone())?.next {
            Next::RawWorkflow(text) => Ok(serde_json::from_str(&text).expect("a list")),
            next => panic!("{next:?}"),
        }
    }

    fn ids(params: Value) -> Vec<String> {
        let tasks = planned(params, None).expect("a plan");
        tasks.iter().map(|task| task["id"].as_str().expect("a text").to_owned()).collect()
    }

    #[test]
    fn a_grid_is_every_value_with_every_other_and_columns_go_together() {
        let params = json!({"template": {"command": "true"}, "grid": {"T": [300, 400], "s": ["a", "b"]}, "zip": {"x": [1, 2], "y": [0.5, 1.5]}});
        let ids = ids(params);
        assert_eq!((ids.len(), ids[0].as_str(), ids[7].as_str()), (8, "T=300,s=a,x=1,y=0.5", "T=400,s=b,x=2,y=1.5"));
    }

    #[test]
    fn a_text_that_is_a_placeholder_keeps_the_kind_of_the_value() {
        let template = json!({
            "id": "run-{n}", "command": ["sh", "-c", "echo ${HOME} {n}.{flag} {{n}} {a,b} '{print $1}'", "{n}"], "env": {"N": "{n}"},
            "input": {"n": "{n}", "all": "{all}", "flag": "{flag}"}, "files": {"{n}.json": {"content": "{\"n\": {n}}"}},
        });
        let list = json!([{"n": 1.5, "all": [1, 2], "flag": true}]);
        let tasks = planned(json!({"template": template, "list": list}), None).expect("a plan");
        let expected = json!({
            "id": "run-1.5", "command": ["sh", "-c", "echo ${HOME} 1.5.true {n} {a,b} '{print $1}'", "1.5"], "env": {"N": "1.5"},
            "input": {"n": 1.5, "all": [1, 2], "flag": true}, "files": {"1.5.json": {"content": "{\"n\": 1.5}"}},
        });
        assert_eq!(tasks, [expected]);
    }

    #[test]
    fn a_table_gives_a_row_a_line() {
        let csv = "\u{feff}name,x\r\n\"a, \"\"b\"\"\",1.50\r\n\r\nplain,007\n";
        let template = json!({"id": "{name}", "input": {"x": "{x}"}, "command": "run {x}"});
        let tasks = planned(json!({"template": template, "rows": "t"}), Some(csv)).expect("a plan");
        let expected = json!([
            {"id": "a, \"b\"", "input": {"x": 1.5}, "command": "run 1.50"},
            {"id": "plain", "input": {"x": "007"}, "command": "run 007"},
        ]);
        assert_eq!(json!(tasks), expected);
        let derived =
            planned(json!({"template": {"command": "true"}, "rows": "t"}), Some("b,a\n1,2\n")).expect("a plan");
        assert_eq!(derived[0]["id"], "b=1,a=2", "in the order of the table");
    }

    #[test]
    fn what_is_wrong_with_parameters_is_said() {
        let with = |more: Value| {
            let mut params = json!({"template": {"id": "{x}", "command": "{x}"}});
            more.as_object().expect("an object").iter().for_each(|(key, value)| params[key] = value.clone());
            params
        };
        for (params, words) in [
            (json!({"grid": {"x": [1]}}), "missing field `template`"),
            (with(json!({})), "one of `grid`, `zip`, `list` and `rows`"),
            (with(json!({"grdi": {"x": [1]}})), "unknown field `grdi`"),
            (with(json!({"grid": {"x": [1]}, "list": []})), "in one way"),
            (with(json!({"grid": {"x": []}})), "`grid.x` has no values"),
            (with(json!({"grid": {"y": [1]}})), "`{x}` in `command` is no parameter; there are `y`"),
            (with(json!({"grid": {"x": [1], "y": [1, 2]}})), "rows 1 and 2 both have the id `1`"),
            (with(json!({"zip": {"x": [1, 2], "y": [1]}})), "`zip.x` has 2 values and `zip.y` 1"),
            (with(json!({"grid": {"x": [1]}, "zip": {"x": [1]}})), "`x` is in `grid` and in `zip`"),
            (with(json!({"grid": {"x": [[1]]}})), "`{x}` in `command` is a list or an object"),
            (json!({"template": {"id": 1}, "grid": {"x": [1]}}), "the id of row 1 is no text but 1"),
            (with(json!({"grid": {"a-b": [1]}})), "`a-b` is no name"),
            (with(json!({"list": []})), "`list` has no rows"),
            (with(json!({"list": [{"x": 1}, {"y": 1}]})), "`{x}` in `command` is no parameter"),
            (with(json!({"rows": "none"})), "`campaign.inputs` has no `none`"),
        ] {
            let error = planned(params.clone(), None).expect_err("a refusal");
            assert!(error.contains(words), "{params}: {error}");
        }
        let many: Vec<u32> = (0..1000).collect();
        let error = planned(with(json!({"grid": {"x": many, "y": many, "z": many}})), None).expect_err("a refusal");
        assert!(error.contains("more than 10000000 rows"), "{error}");
        for (csv, words) in [
            ("x,x\n1,2\n", "column `x` stands twice"),
            ("x,y\n1\n", "line 2 has 1 cells, and the first line names 2"),
            ("x\n\"1\n", "a quote in line 2 is not closed"),
            ("x\n", "it has no rows"),
            ("", "it is empty"),
        ] {
            let error = planned(with(json!({"rows": "t"})), Some(csv)).expect_err("a refusal");
            assert!(error.contains(words) && error.contains("input `t`"), "{csv}: {error}");
        }
    }

    #[test]
    fn what_has_grown_is_planned_again() {
        let context = |values: Value| -> Context<Params> {
            let params = json!({"template": {"command": "true"}, "grid": {"x": values}});
            Context::first(serde_json::from_value(params).expect("parameters"))
        };
        let first = Sweep::plan(&context(json!([1])), None).expect("a plan");
        assert!(!first.skip_known, "there are no tasks yet");
        let grown = Sweep::plan(&context(json!([1, 2])), Some(first.state)).expect("a plan");
        assert!(matches!(&grown.next, Next::RawWorkflow(text) if text.contains("x=2")), "{grown:?}");
        assert!(grown.skip_known);
        let again = Sweep::plan(&context(json!([1, 2])), Some(grown.state)).expect("a plan");
        assert!(matches!(again.next, Next::Complete(_)));
    }
}
