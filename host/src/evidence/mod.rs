//! The evidence bundle of a run: evidence.json for programs, report.md for people.
//!
//! It is written from one unchanging view of the store, whatever state the run is in, and holds no time of its own:
//! while nothing changes, neither does a byte. It takes no lease and changes nothing of the run. Rows go to disk as
//! they are read, so a large run is never held in memory whole. A crash leaves an earlier bundle as it was.
mod document;
mod draft;
mod markdown;
mod report;
mod secrets;
mod verify;

use crate::failure::Failure;
use crate::ground::digest::digest;
use crate::ground::failpoint;
use crate::ground::files::{open_regular_path, read_regular, read_whole};
use crate::model::config::{CONFIG_MAX, PinnedFile, RunConfig};
use crate::model::document::sha256;
use crate::model::evidence::{FileKind, Finding, Integrity, PluginRecord, RunRecord, Verified};
use crate::model::schema;
use crate::model::script::component;
use crate::run::RunDir;
use crate::store::{Snapshot, Store};
use document::DocumentWriter;
use draft::Draft;
use report::Report;
use secrets::Secrets;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use verify::Verifier;

/// Findings that are handed back; the bundle has all of them.
const FINDINGS_TOLD: usize = 10;
/// Things a run waits for that the report lists.
const WAITS_MAX: u32 = 100;

/// Compares every plugin the run ever had, and every other pinned file, with what is recorded; hands those that differ
/// to `found`.
///
/// # Errors
/// If the run directory or the store cannot be read, or `found` fails.
pub fn verify_pinned(
    dir: &RunDir,
    store: &Store,
    config: &RunConfig,
    found: &mut dyn FnMut(Finding) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let plugins = store.plugin_versions()?;
    let mut verifier = Verifier::new(dir, found)?;
    verifier.plugins(&plugins)?;
    verifier.kept(store)?;
    verifier.pinned(config)
}

/// A bundle that was written.
#[derive(Debug)]
pub struct Written {
    /// The run.
    pub run: RunRecord,
    /// evidence.json
    pub document: PathBuf,
    /// report.md
    pub report: PathBuf,
    /// SHA-256 of evidence.json.
    pub sha256: String,
    /// What the comparison of files came to.
    pub verified: Verified,
    /// The first files that are not as recorded.
    pub findings: Vec<Finding>,
    /// How many files hold a secret of their task.
    pub withheld: u64,
}

/// The run's configuration as found, and what is wrong with it.
struct FoundConfig {
    config: Option<RunConfig>,
    size: u64,
    finding: Option<Finding>,
}

type Document<'a> = DocumentWriter<BufWriter<&'a File>>;

/// Writes the evidence bundle of a run to `out`, in place of an earlier one.
///
/// # Errors
/// If the store cannot be read, the directory cannot be written, or another process is writing to it.
pub fn write(dir: &RunDir, out: &Path) -> Result<Written, Failure> {
    let store = Store::read(&dir.database())?;
    let draft = Draft::begin(out)?;
    let failed = |error| draft.failed(error);
    let mut document = DocumentWriter::begin(BufWriter::with_capacity(256 * 1024, draft.document())).map_err(failed)?;
    // An `amend` may put another config.json in place once the view is taken.
    let before = read_regular(&dir.config(), CONFIG_MAX).ok().flatten().unwrap_or_default();
    let mut secrets = Secrets::default();
    let (run, mut report, found, plugins, attempts) = store.snapshot(|view| {
        let run = view.run()?;
        let found = find_config(dir, &run.config_sha256, before);
        let plugins = plugins(view, found.config.as_ref())?;
        let scratch = draft.scratch().map_err(failed)?;
        let longest = view.longest_task_id()?;
        let mut report = Report::new(run.clone(), longest, found.config.as_ref(), &plugins, scratch).map_err(failed)?;
        begin(&mut document, &run, &found, &plugins).map_err(failed)?;
        let attempts = rows(view, &mut document, &mut report, (dir, &mut secrets), &failed)?;
        Ok::<_, Failure>((run, report, found, plugins, attempts))
    })?;
    failpoint::hit("evidence.rows");
    let mut findings = Vec::new();
    document.begin_list("findings").map_err(failed)?;
    let verified = {
        let mut note = |finding: Finding| {
            report.finding(&finding);
            document.row(&finding).map_err(failed)?;
            if findings.len() < FINDINGS_TOLD {
                findings.push(finding);
            }
            Ok(())
        };
        let mut verifier = Verifier::new(dir, &mut note)?;
        verifier.config(found.finding, found.size)?;
        verifier.plugins(&plugins)?;
        verifier.kept(&store)?;
        found.config.as_ref().map_or(Ok(()), |config| verifier.pinned(config))?;
        verifier.outputs(&store, &attempts)?;
        verifier.verified
    };
    document.end_list().map_err(failed)?;
    document.value("verified", &verified).map_err(failed)?;
    document.end().map_err(failed)?;
    let mut file = draft.document();
    let (sha256, _) = file.seek(SeekFrom::Start(0)).and_then(|_| digest(&mut file)).map_err(failed)?;
    let (document, report) = draft.put_in_place(|out| report.finish(&verified, &sha256, out))?;
    Ok(Written { run, document, report, sha256, verified, findings, withheld: secrets.found })
}

fn begin(
    document: &mut Document<'_>,
    run: &RunRecord,
    found: &FoundConfig,
    plugins: &[PluginRecord],
) -> std::io::Result<()> {
    document.value("format", &schema::evidence_format())?;
    document.value("complete", &run.state.ended())?;
    document.value("run", run)?;
    document.value("config", &found.config)?;
    document.value("plugins", &plugins)
}

/// Writes what the run went by, and what the campaign decided.
fn record(
    view: &Snapshot<'_>,
    document: &mut Document<'_>,
    report: &mut Report,
    failed: &dyn Fn(std::io::Error) -> Failure,
) -> Result<(), Failure> {
    let store = view.store();
    let acts = store.acts()?;
    acts.iter().for_each(|act| report.act(act));
    document.value("acts", &acts).and_then(|()| document.begin_list("configs")).map_err(failed)?;
    store.each_config(|config| document.row(&config).map_err(failed))?;
    document.end_list().map_err(failed)?;
    document.value("engines", &store.engines()?).map_err(failed)?;
    document.value("environments", &store.environments()?).map_err(failed)?;
    document.begin_list("decisions").map_err(failed)?;
    view.each_decision(|decision| {
        report.decision(&decision);
        document.row(&decision).map_err(failed)
    })?;
    document.end_list().map_err(failed)
}

/// Writes every row of the store; returns the attempts that left files.
fn rows(
    view: &Snapshot<'_>,
    document: &mut Document<'_>,
    report: &mut Report,
    (dir, secrets): (&RunDir, &mut Secrets),
    failed: &dyn Fn(std::io::Error) -> Failure,
) -> Result<Vec<i64>, Failure> {
    view.waits(WAITS_MAX)?.iter().for_each(|wait| report.wait(wait));
    record(view, document, report, failed)?;
    document.begin_list("workflows").map_err(failed)?;
    view.each_workflow(|workflow| {
        report.workflow(&workflow);
        document.row(&workflow).map_err(failed)
    })?;
    document.end_list().and_then(|()| document.begin_list("tasks")).map_err(failed)?;
    view.each_task(|task| {
        report.task(&task).map_err(failed)?;
        secrets.learn(&task);
        document.row(&task).map_err(failed)
    })?;
    document.end_list().and_then(|()| document.begin_list("attempts")).map_err(failed)?;
    let mut with_outputs = Vec::new();
    view.each_attempt(|(key, mut attempt)| {
        secrets.mark(dir, &mut attempt);
        report.attempt(&attempt);
        if !attempt.outputs.is_empty() || !attempt.logs.is_empty() {
            with_outputs.push(key);
        }
        document.row(&attempt).map_err(failed)
    })?;
    let resources = view.store().resources()?;
    report.took(&resources);
    document.end_list().and_then(|()| document.value("resources", &resources)).map_err(failed)?;
    document.begin_list("history").map_err(failed)?;
    view.each_transition(|transition| {
        report.transition(&transition);
        document.row(&transition).map_err(failed)
    })?;
    document.end_list().map_err(failed)?;
    Ok(with_outputs)
}

/// Finds the configuration that the store goes by: the one read before the view was taken, one that a change of it has
/// not put in place yet, or the one in place now.
fn find_config(dir: &RunDir, recorded: &str, before: Vec<u8>) -> FoundConfig {
    let next = read_regular(&dir.join("config.json.next"), CONFIG_MAX).ok().flatten().unwrap_or_default();
    let now = open_regular_path(&dir.config()).and_then(|file| read_whole(file, CONFIG_MAX));
    for bytes in [&before, &next].into_iter().chain(now.as_ref().ok()) {
        if sha256(bytes) == recorded
            && let Ok(config) = serde_json::from_slice(bytes)
        {
            return FoundConfig { config: Some(config), size: bytes.len() as u64, finding: None };
        }
    }
    let (integrity, detail) = match &now {
        Ok(_) => (Integrity::Changed, Some("it was changed by hand".to_owned())),
        Err(error) => verify::trouble(error),
    };
    let config = now.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let finding = Finding {
        kind: FileKind::Config,
        path: "config.json".to_owned(),
        task: None,
        attempt_id: None,
        sha256: recorded.to_owned(),
        integrity,
        detail,
    };
    FoundConfig { config, size: 0, finding: Some(finding) }
}

/// Every plugin the run ever had, and what uses each now.
fn plugins(view: &Snapshot<'_>, config: Option<&RunConfig>) -> Result<Vec<PluginRecord>, Failure> {
    let mut plugins = view.store().plugin_versions()?;
    let Some(config) = config else { return Ok(plugins) };
    for plugin in &mut plugins {
        let is = |name: &str, file: &PinnedFile| name == plugin.name && file.sha256 == plugin.sha256;
        let uses = |place: &str, name: &String| {
            let of_script =
                config.script(place).is_some_and(|script| script.files().any(|(name, file)| is(name, file)));
            of_script || config.pinned_component(name).is_some_and(|file| is(&component(name), file))
        };
        let named = config.places().filter(|(place, name, _)| uses(place, name));
        plugin.used_by =
            named.map(|(place, _, _)| place.strip_prefix("operators.").unwrap_or(&place).to_owned()).collect();
    }
    Ok(plugins)
}
