//! ro-crate-metadata.json: the bundle as a research object that others' programs read, a Provenance Run Crate.
//!
//! The campaign is the workflow and its configuration the input; a task is a step, each attempt at it an action of the
//! operator that carried it out, each decision an action of the campaign. It claims what it holds: without an attempt
//! it is a Workflow Run Crate, and without the campaign a Process Run Crate. It is written from one view of the store
//! and the digests of the bundle, row by row, and has no time of its own.
mod actions;
mod files;
mod graph;
mod parameters;
mod people;
mod software;
mod terms;

use super::contents::Contents;
use crate::failure::Failure;
use crate::model::about::About;
use crate::model::act::{ActRecord, VERSION};
use crate::model::config::{PinnedFile, RunConfig};
use crate::model::evidence::{EnvironmentRecord, NumberedEngine, RunRecord};
use crate::store::Snapshot;
use graph::{Entity, Graph, moment};
use parameters::Parameters;
use people::People;
use software::Software;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use terms::{EDITION, Profile};

/// What a crate can claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// Something was run.
    Process,
    /// A workflow was run.
    Workflow,
    /// A workflow was run, with each of its steps.
    Provenance,
}

impl Claim {
    /// The profiles that the crate keeps to.
    fn profiles(self) -> &'static [Profile] {
        const ALL: [Profile; 4] = [EDITION.process, EDITION.workflow_crate, EDITION.workflow, EDITION.provenance];
        match self {
            Self::Process => &ALL[..1],
            Self::Workflow => &ALL[..3],
            Self::Provenance => &ALL,
        }
    }
}

/// What is described, as far as it is small.
struct Subject<'a> {
    view: &'a Snapshot<'a>,
    config: Option<&'a RunConfig>,
    contents: &'a Contents,
    run: RunRecord,
    acts: Vec<ActRecord>,
    engines: Vec<NumberedEngine>,
    environments: Vec<EnvironmentRecord>,
    /// The versions of this program that had a hand in it.
    versions: BTreeSet<String>,
    /// The operators of tasks, and whether an attempt was made with each.
    operators: Vec<(String, bool)>,
    software: Software,
    parameters: Parameters,
    /// What pinned files are called, by where they lie in the bundle.
    names: BTreeMap<String, String>,
    claim: Claim,
}

/// Writes the metadata of a bundle to `out`: what is recorded of the run, what only people know, and what the bundle
/// holds beside this file.
pub(super) fn write(
    view: &Snapshot<'_>,
    config: Option<&RunConfig>,
    about: &About,
    contents: &Contents,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let store = view.store();
    let (acts, operators, run) = (store.acts()?, view.operators()?, view.run()?);
    let (plugins, engines) = (store.plugin_versions()?, store.engines()?);
    let software = Software::new(&plugins, &acts, config, contents);
    let made = acts.iter().filter_map(|act| act.by.version.clone());
    let mut versions: BTreeSet<String> = made.chain(engines.iter().map(|one| one.engine.version.clone())).collect();
    if versions.is_empty() {
        versions.insert(VERSION.to_owned());
    }
    let subject = Subject {
        view,
        config,
        contents,
        parameters: Parameters::new(&run, config, contents).map_err(unwritten)?,
        claim: software::claim(&software, &operators),
        names: names(config, contents),
        environments: store.environments()?,
        run,
        acts,
        engines,
        versions,
        operators,
        software,
    };
    let mut people = People::new(about);
    let mut graph = Graph::begin(out, &EDITION.contexts).map_err(unwritten)?;
    root(&subject, &people, &mut graph)?;
    software::campaign(&subject, &mut graph)?;
    software::others(&subject, &mut graph).map_err(unwritten)?;
    subject.parameters.write(&mut graph).map_err(unwritten)?;
    actions::run(&subject, &mut people, &mut graph)?;
    actions::acts(&subject, &mut people, &mut graph).map_err(unwritten)?;
    actions::decisions(&subject, &mut people, &mut graph)?;
    actions::tasks(&subject, &mut graph)?;
    actions::attempts(&subject, &mut people, &mut graph)?;
    files::kept(&subject, &mut graph).map_err(unwritten)?;
    files::of_attempts(&subject, &mut graph)?;
    people.write(&mut graph).and_then(|()| graph.end()).map_err(unwritten)
}

/// What to say when the file cannot be written.
fn unwritten(error: io::Error) -> Failure {
    Failure::machine(format!("`{}` cannot be written", super::contents::METADATA), error)
}

/// What pinned files are called, by where they lie in the bundle.
fn names(config: Option<&RunConfig>, contents: &Contents) -> BTreeMap<String, String> {
    let Some(pinned) = config.and_then(|config| config.pinned.as_ref()) else { return BTreeMap::new() };
    let files = pinned.files.iter().chain(&pinned.inputs).map(|(name, file)| (name.as_str(), file));
    let params = pinned.params.as_ref().map(|file| ("params.json", file));
    let named = |(name, file): (&str, &PinnedFile)| Some((contents.place(&file.sha256)?, name.to_owned()));
    params.into_iter().chain(files).filter_map(named).collect()
}

/// Describes the crate itself: the metadata file, what is in the crate, and what it keeps to.
fn root(subject: &Subject<'_>, people: &People<'_>, graph: &mut Graph<'_>) -> Result<(), Failure> {
    let run = &subject.run;
    let described = if subject.claim == Claim::Process { &EDITION.descriptor[..1] } else { EDITION.descriptor };
    let descriptor = Entity::new(super::contents::METADATA, &["CreativeWork"]).link("about", "./");
    graph.add(&descriptor.links("conformsTo", described)).map_err(unwritten)?;

    let ended = if run.state.ended() { "" } else { "; it has not ended" };
    let description = format!(
        "A run of workspace {} by MatterStack: what was asked, what the campaign decided and why, and each of {} \
         tasks with its attempts, inputs, outputs and logs. The run is {}{ended}.",
        run.workspace, run.tasks.total, run.state
    );
    let label = run.label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
    let entity = Entity::new("./", &["Dataset"])
        .text("name", &format!("Run {} of {}{label}", run.run_id, run.workspace))
        .text("description", &description)
        .text("identifier", &run.run_id)
        .text("dateCreated", &moment(run.created_at))
        .text("datePublished", &moment(run.ended_at.map_or_else(|| subject.view.last_event(), Ok)?))
        .links("conformsTo", subject.claim.profiles().iter().map(|profile| profile.id))
        .links("author", people.authors())
        .links("publisher", people.publisher());
    let entity = people.license(entity);
    let entity = if subject.software.has_main() { entity.link("mainEntity", &subject.software.main()) } else { entity };
    let mut open = graph.open(&entity).map_err(unwritten)?;
    let mut parts = open.list("hasPart");
    subject.contents.each(&mut |path, _, _| parts.push(&graph::encoded(path))).map_err(unwritten)?;
    parts.end().map_err(unwritten)?;
    let mut mentions = open.list("mentions");
    mentions.push(actions::RUN).map_err(unwritten)?;
    for act in &subject.acts {
        mentions.push(&actions::act(act.act)).map_err(unwritten)?;
    }
    let view = subject.view;
    view.each_decision_number(|(number, attempt)| {
        mentions.push(&actions::decision(number, attempt)).map_err(unwritten)
    })?;
    view.each_attempt_id(|id| mentions.push(&actions::attempt(&id)).map_err(unwritten))?;
    mentions.end().and_then(|()| open.end()).map_err(unwritten)?;

    for profile in subject.claim.profiles() {
        let entity = Entity::new(profile.id, EDITION.profile_types).text("name", profile.name);
        graph.add(&entity.text("version", profile.version())).map_err(unwritten)?;
    }
    Ok(())
}
