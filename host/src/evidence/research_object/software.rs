//! The programs of a crate: the campaign that decides, what carries tasks outside, and this program.
use super::files::{format_of, of_bytes};
use super::graph::{Entity, Graph, encoded};
use super::{Claim, Subject};
use crate::evidence::contents::Contents;
use crate::failure::Failure;
use crate::model::act::ActRecord;
use crate::model::config::{BUILTIN, PinnedFile, RunConfig};
use crate::model::evidence::PluginRecord;
use crate::model::script::{CAMPAIGN, Language, component, operator_place};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// What stands for a campaign that is not in the bundle.
const ABSENT: &str = "#campaign";

/// The plugins of a run, and which of them decides now.
#[derive(Debug)]
pub(super) struct Software {
    /// By where they lie in the bundle: what a configuration calls them, and the version of ours that brought them.
    plugins: BTreeMap<String, Code>,
    /// Where a plugin lies, by its digest; the id of one that the bundle does not have.
    ids: BTreeMap<String, String>,
    /// Those that the bundle does not have, by their digests.
    absent: BTreeMap<String, String>,
    main: Option<Main>,
}

#[derive(Debug)]
struct Code {
    name: String,
    version: Option<String>,
}

#[derive(Debug)]
struct Main {
    path: String,
    name: String,
    file: PinnedFile,
    /// Where what it needs to be carried out lies: of a script its modules and what runs it.
    needs: Vec<String>,
}

/// A name for what a plugin is of: its digest says it to the byte.
fn version(sha256: &str) -> String {
    format!("sha256:{}", sha256.get(..12).unwrap_or(sha256))
}

impl Software {
    pub(super) fn new(
        plugins: &[PluginRecord],
        acts: &[ActRecord],
        config: Option<&RunConfig>,
        contents: &Contents,
    ) -> Self {
        let mut software = Self { plugins: BTreeMap::new(), ids: BTreeMap::new(), absent: BTreeMap::new(), main: None };
        for plugin in plugins {
            let act = acts.iter().find(|act| act.act == plugin.act);
            // what the binary brings is of its version
            let version = act.and_then(|act| act.by.version.clone()).filter(|_| plugin.name.starts_with(BUILTIN));
            match contents.place(&plugin.sha256) {
                Some(path) => {
                    software.ids.insert(plugin.sha256.clone(), encoded(&path));
                    software.plugins.insert(path, Code { name: plugin.name.clone(), version });
                }
                None => {
                    let id = format!("#plugin-{}", plugin.sha256);
                    software.ids.insert(plugin.sha256.clone(), id);
                    software.absent.insert(plugin.sha256.clone(), plugin.name.clone());
                }
            }
        }
        software.main = config.and_then(|config| main(config, contents));
        software
    }

    /// Whether the campaign is in the bundle.
    pub(super) fn has_main(&self) -> bool {
        self.main.is_some()
    }

    /// The id of the campaign.
    pub(super) fn main(&self) -> String {
        self.main.as_ref().map_or_else(|| ABSENT.to_owned(), |main| encoded(&main.path))
    }

    /// Whether the campaign lies there.
    pub(super) fn is_main(&self, path: &str) -> bool {
        self.main.as_ref().is_some_and(|main| main.path == path)
    }

    /// What a configuration calls the plugin that lies there.
    pub(super) fn plugin_at(&self, path: &str) -> Option<&str> {
        self.plugins.get(path).map(|code| code.name.as_str())
    }

    /// The id of what decided or carried something outside, by its digest.
    pub(super) fn id(&self, sha256: &str) -> Option<&str> {
        self.ids.get(sha256).map(String::as_str)
    }

    /// Says what code has to say of itself.
    pub(super) fn as_code(&self, entity: Entity, path: &str, sha256: &str) -> Entity {
        let known = self.plugins.get(path).and_then(|code| code.version.clone());
        let language = language(self.plugin_at(path).unwrap_or(path));
        let entity = entity.text("version", &known.unwrap_or_else(|| version(sha256)));
        entity.link("url", &encoded(path)).link("programmingLanguage", language.0)
    }
}

/// The campaign as the configuration pins it, if the bundle has it.
fn main(config: &RunConfig, contents: &Contents) -> Option<Main> {
    let place = |file: &PinnedFile| contents.place(&file.sha256);
    let runner = config.pinned_component(&config.campaign.plugin);
    let (name, file, needs) = match config.script(CAMPAIGN) {
        Some(script) => {
            let needs = script.modules.values().chain(runner).filter_map(place).collect();
            (script.name.clone(), script.file.clone(), needs)
        }
        None => (config.campaign.plugin.clone(), runner?.clone(), Vec::new()),
    };
    Some(Main { path: place(&file)?, name, file, needs })
}

/// The id of the language that a plugin is written in, and what it is called.
fn language(name: &str) -> (&'static str, &'static str) {
    match Language::of(name) {
        Some(Language::Python) => ("#python", "Python"),
        Some(Language::JavaScript) => ("#javascript", "JavaScript"),
        None => ("#webassembly", "WebAssembly component"),
    }
}

/// The id of what carries the tasks of an operator outside.
pub(super) fn tool(operator: &str) -> String {
    format!("#operator-{}", encoded(operator))
}

/// The id of a version of this program.
pub(super) fn host(version: &str) -> String {
    format!("#matterstack-{}", encoded(version))
}

/// Describes the campaign, with every step that it planned.
pub(super) fn campaign(subject: &Subject<'_>, graph: &mut Graph<'_>) -> Result<(), Failure> {
    let failed = super::unwritten;
    let Some(main) = &subject.software.main else {
        let name = subject.config.map_or("the campaign", |config| &config.campaign.plugin);
        let entity = Entity::new(ABSENT, &["SoftwareApplication"]).text("name", name);
        let entity = entity.text("version", "unknown").text("url", "urn:matterstack:campaign");
        return graph.add(&entity.text("description", "What decided; this crate does not have it.")).map_err(failed);
    };
    let types = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"];
    let entity = Entity::new(&encoded(&main.path), &types).text("name", &main.name);
    let entity = entity.text("description", "Decides which tasks come next, and what their results say");
    let entity = entity.text("encodingFormat", format_of(&main.path));
    let entity = of_bytes(entity, &main.file.sha256, main.file.size);
    let entity = subject.software.as_code(entity, &main.path, &main.file.sha256);
    let entity = entity.link("conformsTo", "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE");
    let entity = entity.links("softwareRequirements", main.needs.iter().map(|path| encoded(path)));
    let entity = entity.links("input", subject.parameters.inputs()).links("output", subject.parameters.outputs());
    let entity = entity.links("exampleOfWork", subject.parameters.of(&main.path));
    // a tool that nothing was done with is none of the workflow's parts
    let used = subject.operators.iter().filter(|(_, made)| *made);
    let entity = entity.links("hasPart", used.map(|(operator, _)| tool(operator)));
    let mut open = graph.open(&entity).map_err(failed)?;
    let mut steps = open.list("step");
    subject.view.each_task_id(|task, _| steps.push(&super::actions::step(task)).map_err(failed))?;
    steps.end().and_then(|()| open.end()).map_err(failed)
}

/// Describes every other program: operators, plugins that the bundle does not have, languages, and this program.
pub(super) fn others(subject: &Subject<'_>, graph: &mut Graph<'_>) -> io::Result<()> {
    for (operator, _) in &subject.operators {
        graph.add(&operator_entity(subject, operator))?;
    }
    for (sha256, name) in &subject.software.absent {
        let entity = Entity::new(&format!("#plugin-{sha256}"), &["SoftwareSourceCode"]).text("name", name);
        let entity = entity.text("version", &version(sha256)).text("url", &format!("nih:sha-256;{sha256}"));
        graph.add(&entity.text("sha256", sha256).text("description", "This crate has its digest alone."))?;
    }
    let names = subject.software.plugins.values().map(|code| code.name.as_str());
    let main = subject.software.main.as_ref().map(|main| main.name.as_str());
    let languages: BTreeSet<_> = names.chain(main).map(language).collect();
    for (id, name) in languages {
        graph.add(&Entity::new(id, &["ComputerLanguage"]).text("name", name))?;
    }
    for version in &subject.versions {
        let entity = Entity::new(&host(version), &["SoftwareApplication"]).text("name", "MatterStack");
        let entity = entity.text("version", version).text("url", &format!("urn:matterstack:{version}"));
        let engines = subject.engines.iter().filter(|numbered| numbered.engine.version == *version);
        let runs = engines.map(|one| format!("wasmtime {} on {}", one.engine.runtime, one.engine.target));
        graph.add(&entity.texts("runtimePlatform", runs.collect::<BTreeSet<_>>()))?;
    }
    Ok(())
}

fn operator_entity(subject: &Subject<'_>, operator: &str) -> Entity {
    let entity = Entity::new(&tool(operator), &["SoftwareApplication"]);
    let configured = subject.config.and_then(|config| Some((config, config.operators.get(operator)?)));
    let Some((config, settings)) = configured else {
        let url = format!("urn:matterstack:operator:{}", encoded(operator));
        return entity.text("name", operator).text("version", "unknown").text("url", &url);
    };
    let entity = entity.text("name", &format!("{operator} ({})", settings.plugin));
    let entity =
        entity.text("description", "Carries tasks outside, asks what became of them and collects what they left");
    let script = config.script(&operator_place(operator)).map(|script| &script.file);
    let Some(file) = script.or_else(|| config.pinned_component(&component(&settings.plugin))) else {
        return entity.text("version", "unknown").text("url", "urn:matterstack:operator");
    };
    let placed = subject.contents.place(&file.sha256);
    let known = placed.as_ref().and_then(|path| subject.software.plugins.get(path)?.version.clone());
    let entity = entity.text("version", &known.unwrap_or_else(|| version(&file.sha256)));
    match placed {
        Some(path) => entity.link("url", &encoded(&path)).link("hasPart", &encoded(&path)),
        None => entity.text("url", &format!("nih:sha-256;{}", file.sha256)),
    }
}

/// What a crate may claim to be.
pub(super) fn claim(software: &Software, operators: &[(String, bool)]) -> Claim {
    match (software.has_main(), operators.iter().any(|(_, made)| *made)) {
        (true, true) => Claim::Provenance,
        (true, false) => Claim::Workflow,
        (false, _) => Claim::Process,
    }
}
