//! Fills the folder of a bundle: the record first, then everything that follows from it.
use super::contents::{Contents, METADATA, listed};
use super::document::DocumentWriter;
use super::draft::Draft;
use super::pack::Packer;
use super::report::Report;
use super::research_object;
use super::secrets::Secrets;
use super::verify::{self, Verifier};
use super::{Request, Written};
use crate::failure::{Failure, FailureKind};
use crate::ground::digest::digest;
use crate::ground::failpoint;
use crate::ground::files::{open_regular_path, read_regular, read_whole};
use crate::ground::names::Names;
use crate::model::about::About;
use crate::model::config::{CONFIG_MAX, PinnedFile, RunConfig};
use crate::model::document::sha256;
use crate::model::evidence::{ConfigRecord, FileKind, Finding, Integrity, PluginRecord, RunRecord, Verified};
use crate::model::schema;
use crate::model::script::component;
use crate::results::{Wanted, report};
use crate::run::{MANIFEST, RunDir};
use crate::store::{Snapshot, Store};
use serde_json::value::RawValue;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::path::PathBuf;

/// The record.
const RECORD: &str = "state.sqlite";
/// The document for programs.
pub(super) const DOCUMENT: &str = "evidence.json";
/// Findings that are handed back; the bundle has all of them.
const FINDINGS_TOLD: usize = 10;
/// Things a run waits for that the report lists.
const WAITS_MAX: u32 = 100;

type Document = DocumentWriter<BufWriter<File>>;
type Failed<'a> = &'a dyn Fn(io::Error) -> Failure;

/// A bundle that is being filled.
struct Filling<'a> {
    dir: &'a RunDir,
    folder: PathBuf,
    store: Store,
    names: Names,
    failed: Failed<'a>,
}

/// What the run went by.
struct Configs {
    /// The present one, if this program understands it.
    config: Option<RunConfig>,
    all: Vec<ConfigRecord>,
    /// What is wrong with config.json of the run directory.
    finding: Option<Finding>,
}

/// Writes all files of a bundle.
pub(super) fn fill(dir: &RunDir, draft: &Draft, request: &Request<'_>) -> Result<Written, Failure> {
    let failed = |error| draft.failed(error);
    let folder = draft.path();
    let record = folder.join(RECORD);
    let store = Store::read(&dir.database())?;
    store.back_up(&record).map_err(|error| no_room(error.into(), &failed))?;
    let names = Store::tidy_copy(&record, request.redact).map_err(|error| no_room(error.into(), &failed))?;
    let filling = Filling { dir, folder, store: Store::read(&record)?, names, failed: &failed };
    let scratch = || draft.scratch().map_err(failed);
    let packer = Packer::new(filling.folder.clone(), scratch()?, request.omit, &filling.names);
    filling.all(packer, scratch()?, request.about)
}

impl Filling<'_> {
    fn all(&self, mut packer: Packer<'_>, scratch: File, given: &About) -> Result<Written, Failure> {
        let (store, failed) = (&self.store, self.failed);
        let file = File::create_new(self.folder.join(DOCUMENT)).map_err(failed)?;
        let mut document = DocumentWriter::begin(BufWriter::with_capacity(256 * 1024, file)).map_err(failed)?;
        let mut secrets = Secrets::default();
        let (run, mut told, configs, plugins, attempts) = store.snapshot(|view| {
            let run = view.run()?;
            let configs = self.configs(&run.config_sha256)?;
            let plugins = plugins(view, configs.config.as_ref())?;
            let longest = view.longest_task_id()?;
            let config = configs.config.as_ref();
            let mut report =
                Report::new(&self.bundle(), run.clone(), longest, config, &plugins, scratch).map_err(failed)?;
            begin(&mut document, &run, config, &plugins).map_err(failed)?;
            let attempts = self.rows(view, &mut document, &mut report, (&mut packer, &mut secrets))?;
            Ok::<_, Failure>((run, report, configs, plugins, attempts))
        })?;
        failpoint::hit("evidence.rows");
        let mut findings = Vec::new();
        document.begin_list("findings").map_err(failed)?;
        let verified = {
            let mut note = |finding: Finding| {
                told.finding(&finding);
                document.row(&finding).map_err(failed)?;
                if findings.len() < FINDINGS_TOLD {
                    findings.push(finding);
                }
                Ok(())
            };
            self.files(&mut note, &mut packer, (&configs, &plugins, &attempts))?
        };
        document.end_list().map_err(failed)?;
        document.value("verified", &verified).map_err(failed)?;
        let omitted = packer.count_omitted;
        let (left_out, mut contents) = packer.finish().map_err(failed)?;
        write_omitted(&mut document, left_out).and_then(|()| document.end()).map_err(failed)?;
        self.write_configs(&configs, &mut contents).map_err(failed)?;
        self.named(&mut contents, &[RECORD, DOCUMENT])?;
        let (findings, config) = ((verified, findings), configs.config.as_ref());
        self.pages(&mut contents, told, &findings, config)?;
        let about = config.and_then(|config| config.evidence.clone()).unwrap_or_default();
        let about = about.with(given.license.clone(), &given.authors);
        self.write(METADATA, |out| {
            store.snapshot(|view| research_object::write(view, config, &about, &contents, out))
        })?;
        self.named(&mut contents, &[METADATA])?;
        let sha256 = self.manifest(&contents).map_err(failed)?;
        let still_named = self.still_named().map_err(failed)?;
        let (withheld, path, (verified, findings)) = (secrets.found, PathBuf::new(), findings);
        Ok(Written { run, path, sha256, about, verified, findings, withheld, omitted, unsigned: false, still_named })
    }

    /// Writes what people read.
    fn pages(
        &self,
        contents: &mut Contents,
        told: Report,
        compared: &(Verified, Vec<Finding>),
        config: Option<&RunConfig>,
    ) -> Result<(), Failure> {
        let sha256 = contents.digest_of(DOCUMENT).unwrap_or_default();
        self.write("README.md", |out| told.finish(&compared.0, &sha256, out).map_err(self.failed))?;
        let wanted = Wanted { compared: Some(compared.clone()), ..Wanted::default() };
        self.write("report.html", |out| report(&self.bundle(), &self.store, config, &wanted, out).map(drop))?;
        self.named(contents, &["README.md", "report.html"])
    }

    /// Every configuration of the record, and whether the present one lies where it should.
    fn configs(&self, recorded: &str) -> Result<Configs, Failure> {
        let mut all: Vec<ConfigRecord> = Vec::new();
        self.store.each_config(|config| {
            all.push(config);
            Ok::<_, Failure>(())
        })?;
        let config = all.last().and_then(|config| serde_json::from_str(&config.text).ok());
        Ok(Configs { config, all, finding: finding(self.dir, recorded) })
    }

    fn files(
        &self,
        note: &mut dyn FnMut(Finding) -> Result<(), Failure>,
        packer: &mut Packer<'_>,
        (configs, plugins, attempts): (&Configs, &[PluginRecord], &[i64]),
    ) -> Result<Verified, Failure> {
        let mut verifier = Verifier::new(self.dir, note, Some((packer, self.failed)))?;
        let size = configs.all.last().map_or(0, |config| config.text.len() as u64);
        verifier.config(configs.finding.clone(), size)?;
        verifier.plugins(plugins)?;
        verifier.kept(&self.store)?;
        configs.config.as_ref().map_or(Ok(()), |config| verifier.pinned(config))?;
        verifier.earlier(configs.all.iter().rev().skip(1))?;
        verifier.outputs(&self.store, attempts)?;
        Ok(verifier.verified)
    }

    /// Writes every row of the store; returns the attempts that left files.
    fn rows(
        &self,
        view: &Snapshot<'_>,
        document: &mut Document,
        report: &mut Report,
        (packer, secrets): (&mut Packer<'_>, &mut Secrets),
    ) -> Result<Vec<i64>, Failure> {
        let failed = self.failed;
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
            secrets.mark(self.dir, &mut attempt);
            packer.learn(&attempt);
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

    fn write_configs(&self, configs: &Configs, contents: &mut Contents) -> io::Result<()> {
        std::fs::create_dir_all(self.folder.join("configs"))?;
        let present = configs.all.last().map(|config| ("config.json".to_owned(), config));
        let every = configs.all.iter().map(|config| (format!("configs/{}.json", config.sha256), config));
        for (path, config) in present.into_iter().chain(every) {
            std::fs::write(self.folder.join(&path), &config.text)?;
            contents.add(&path, &config.sha256, config.text.len() as u64);
        }
        Ok(())
    }

    /// Adds files that are written already.
    fn named(&self, contents: &mut Contents, paths: &[&str]) -> Result<(), Failure> {
        for path in paths {
            let file = File::open(self.folder.join(path)).and_then(|mut file| digest(&mut file));
            let (sha256, size) = file.map_err(self.failed)?;
            contents.add(path, &sha256, size);
        }
        Ok(())
    }

    /// Writes a file.
    fn write(&self, path: &str, write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>) -> Result<(), Failure> {
        let file = File::create_new(self.folder.join(path)).map_err(self.failed)?;
        let mut out = BufWriter::with_capacity(256 * 1024, file);
        write(&mut out)?;
        out.flush().map_err(self.failed)
    }

    /// Writes the digest of every other file; returns that of what it wrote.
    fn manifest(&self, contents: &Contents) -> io::Result<String> {
        let mut out = BufWriter::new(File::create_new(self.folder.join(MANIFEST))?);
        contents.each(&mut |path, sha256, _| out.write_all(listed(path, sha256).as_bytes()))?;
        out.flush()?;
        Ok(digest(&mut File::open(self.folder.join(MANIFEST))?)?.0)
    }

    /// Whether what decisions were given or answered tells a name that was redacted.
    fn still_named(&self) -> io::Result<bool> {
        let mut tells = false;
        for path in [DOCUMENT, "README.md"].iter().filter(|_| !self.names.is_empty()) {
            tells |= self.names.are_in(File::open(self.folder.join(path))?)?;
        }
        Ok(tells)
    }

    /// The run as the bundle has it: pages tell nothing of what is left out.
    fn bundle(&self) -> RunDir {
        RunDir::named(&self.folder, &self.dir.id())
    }
}

/// Says of a full disk what it was that could not be written.
fn no_room(failure: Failure, failed: Failed<'_>) -> Failure {
    match failure.kind {
        FailureKind::Disk => failed(rustix::io::Errno::NOSPC.into()),
        _ => failure,
    }
}

fn write_omitted(document: &mut Document, mut omitted: File) -> io::Result<()> {
    omitted.rewind()?;
    document.begin_list("omitted")?;
    for line in BufReader::new(omitted).lines() {
        document.row(&RawValue::from_string(line?)?)?;
    }
    document.end_list()
}

fn begin(
    document: &mut Document,
    run: &RunRecord,
    config: Option<&RunConfig>,
    plugins: &[PluginRecord],
) -> io::Result<()> {
    document.value("format", &schema::evidence_format())?;
    document.value("complete", &run.state.ended())?;
    document.value("run", run)?;
    document.value("config", &config)?;
    document.value("plugins", &plugins)
}

/// Writes what the run went by, and what the campaign decided.
fn record(
    view: &Snapshot<'_>,
    document: &mut Document,
    report: &mut Report,
    failed: Failed<'_>,
) -> Result<(), Failure> {
    let store = view.store();
    let acts = store.acts()?;
    acts.iter().for_each(|act| report.act(act));
    document.value("acts", &acts).and_then(|()| document.begin_list("approvals")).map_err(failed)?;
    view.each_approval(|approval| {
        report.approval(&approval);
        document.row(&approval).map_err(failed)
    })?;
    document.end_list().and_then(|()| document.begin_list("configs")).map_err(failed)?;
    store.each_config(|config| document.row(&config).map_err(failed))?;
    document.end_list().map_err(failed)?;
    let (engines, environments) = (store.engines()?, store.environments()?);
    report.environment(&environments, &engines);
    document.value("engines", &engines).map_err(failed)?;
    document.value("environments", &environments).map_err(failed)?;
    document.begin_list("decisions").map_err(failed)?;
    view.each_decision(|decision| {
        report.decision(&decision);
        document.row(&decision).map_err(failed)
    })?;
    document.end_list().map_err(failed)
}

/// What is wrong with config.json: it may be the one that the record goes by, or one that a change of it has not put in
/// place yet.
fn finding(dir: &RunDir, recorded: &str) -> Option<Finding> {
    let next = read_regular(&dir.join("config.json.next"), CONFIG_MAX).ok().flatten().unwrap_or_default();
    let now = open_regular_path(&dir.config()).and_then(|file| read_whole(file, CONFIG_MAX));
    if now.as_ref().is_ok_and(|bytes| sha256(bytes) == recorded) || sha256(&next) == recorded {
        return None;
    }
    let (integrity, detail) = match &now {
        Ok(_) => (Integrity::Changed, Some("it was changed by hand".to_owned())),
        Err(error) => verify::trouble(error),
    };
    Some(Finding {
        kind: FileKind::Config,
        path: "config.json".to_owned(),
        task: None,
        attempt_id: None,
        sha256: recorded.to_owned(),
        integrity,
        detail,
    })
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
