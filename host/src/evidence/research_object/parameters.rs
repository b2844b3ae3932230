//! What the campaign was given and what it gave, as the parameters of a workflow.
use super::graph::{Entity, Graph, encoded};
use crate::evidence::contents::Contents;
use crate::model::config::RunConfig;
use crate::model::evidence::RunRecord;
use std::collections::BTreeMap;
use std::io;

/// The longest result that is written out, in bytes; evidence.json has the others.
const RESULT_MAX: usize = 64 * 1024;
/// The document for programs.
const EVIDENCE: &str = "evidence.json";

/// One parameter.
#[derive(Debug)]
struct Parameter {
    id: String,
    name: String,
    kind: &'static str,
    /// The id of what was given or came out.
    value: String,
    output: bool,
}

/// The parameters of the campaign.
#[derive(Debug)]
pub(super) struct Parameters {
    all: Vec<Parameter>,
    /// Which parameters the files of the bundle are values of.
    of_files: BTreeMap<String, Vec<String>>,
    /// The values that are no files: id, name and text.
    values: Vec<(String, &'static str, String)>,
}

impl Parameters {
    pub(super) fn new(run: &RunRecord, config: Option<&RunConfig>, contents: &Contents) -> io::Result<Self> {
        let mut parameters = Self { all: Vec::new(), of_files: BTreeMap::new(), values: Vec::new() };
        let mut evidence = false;
        contents.each(&mut |path, _, _| {
            evidence |= path == EVIDENCE;
            Ok(())
        })?;
        if let Some(path) = contents.place(&run.config_sha256) {
            parameters.file("#parameter-config", "configuration", path, false);
        }
        let inputs = config.and_then(|config| config.pinned.as_ref()).map(|pinned| &pinned.inputs);
        for (name, file) in inputs.into_iter().flatten() {
            if let Some(path) = contents.place(&file.sha256) {
                parameters.file(&format!("#parameter-input-{}", encoded(name)), name, path, false);
            }
        }
        if let Some(config) = config {
            parameters.value("seed", "Integer", config.campaign.seed.to_string(), false);
        }
        if evidence {
            parameters.file("#parameter-evidence", "record", EVIDENCE.to_owned(), true);
        }
        let result = run.result.as_ref().map(ToString::to_string).filter(|text| text.len() <= RESULT_MAX);
        match result {
            Some(text) => parameters.value("result", "Text", text, true),
            None => parameters.value("state", "Text", run.state.to_string(), true),
        }
        Ok(parameters)
    }

    fn file(&mut self, id: &str, name: &str, path: String, output: bool) {
        let value = encoded(&path);
        self.of_files.entry(path).or_default().push(id.to_owned());
        self.all.push(Parameter { id: id.to_owned(), name: name.to_owned(), kind: "File", value, output });
    }

    fn value(&mut self, name: &'static str, kind: &'static str, text: String, output: bool) {
        let value = format!("#{name}");
        self.values.push((value.clone(), name, text));
        self.all.push(Parameter { id: format!("#parameter-{name}"), name: name.to_owned(), kind, value, output });
    }

    fn ids(&self, output: bool) -> impl Iterator<Item = &str> {
        self.all.iter().filter(move |one| one.output == output).map(|one| one.id.as_str())
    }

    /// The ids of what the campaign takes.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &str> {
        self.ids(false)
    }

    /// The ids of what the campaign gives.
    pub(super) fn outputs(&self) -> impl Iterator<Item = &str> {
        self.ids(true)
    }

    /// The ids of what it was given, or of what it gave.
    pub(super) fn values(&self, output: bool) -> impl Iterator<Item = &str> {
        self.all.iter().filter(move |one| one.output == output).map(|one| one.value.as_str())
    }

    /// The parameters that a file of the bundle is a value of.
    pub(super) fn of(&self, path: &str) -> &[String] {
        self.of_files.get(path).map_or(&[], Vec::as_slice)
    }

    /// Describes them, and the values that are no files.
    pub(super) fn write(&self, graph: &mut Graph<'_>) -> io::Result<()> {
        for Parameter { id, name, kind, value, .. } in &self.all {
            let entity = Entity::new(id, &["FormalParameter"]).text("name", name).text("additionalType", kind);
            let entity = entity.link("conformsTo", "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE");
            graph.add(&entity.link("workExample", value))?;
        }
        for (id, name, text) in &self.values {
            let entity = Entity::new(id, &["PropertyValue"]).text("name", name).text("value", text);
            graph.add(&entity.link("exampleOfWork", &format!("#parameter-{name}")))?;
        }
        Ok(())
    }
}
