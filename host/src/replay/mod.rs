//! Makes the decisions of a run again, each by itself and from the record alone, and compares what comes of them.
//!
//! It takes no lease, changes nothing and starts nothing. A decision depends on its configuration, plugin, state,
//! results and the files it read, all of which are recorded; whether others come out as recorded makes no difference to
//! it.
mod compare;
mod files;

pub use compare::{Aspect, Difference};

use crate::backend::Backends;
use crate::failure::{Failure, FailureKind};
use crate::ground::digest::digest;
use crate::ground::files::open_regular_path;
use crate::ground::threads::share;
use crate::model::config::RunConfig;
use crate::model::contract::{Context, Decision, Folded};
use crate::model::document::{canonical_value, sha256};
use crate::model::evidence::{DecisionKind, DecisionOutcome, EngineRecord, RemovedRecord};
use crate::model::limit::{CompileLimits, PluginLimits};
use crate::model::script::{CAMPAIGN, PinnedScript};
use crate::plugin::{
    Answer, Compiler, HostSettings, LogEntry, PluginError, PluginErrorKind, PluginHost, PluginLog, PluginSource,
    Plugins, this_engine,
};
use crate::run::{CampaignView, RunDir};
use crate::store::{DecisionInput, MadeAs, Store, StoreError};
use crate::tick::{
    WHY_ANALYZED, canonical_next, canonical_output, input_digest, raw_analysis, raw_decision, rest_of_analysis,
    rest_of_plan,
};
use crate::workspace::read_run_config;
use compare::{Came, Recorded, Told};
use files::{ReplayedFiles, ReplayedTasks};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Decisions in a row that one thread takes, since each state is told against the one before.
const TAKEN: i64 = 16;

/// How long one decision may take, in milliseconds.
const PATIENCE_MS: u64 = 24 * 3600 * 1000;

/// What came of a replay.
#[derive(Debug, Default, Serialize)]
pub struct Replay {
    /// The numbers of those that came out otherwise, where another plugin was asked.
    #[serde(skip)]
    pub otherwise: Vec<u64>,
    /// Decisions made again.
    pub decisions: u64,
    /// Those that came out as recorded.
    pub agreed: u64,
    /// Those that had passed their deadline, which says nothing about the campaign, and were left out.
    pub left_out: u64,
    /// Those that read a file which a person has removed since, and were left out: nobody can make them again.
    pub removed: u64,
    /// The first such file.
    pub removed_file: Option<RemovedRecord>,
    /// Those that another engine had made, of which fuel and the wording of errors were not compared.
    pub other_engine: u64,
    /// The first of those that came out otherwise.
    pub first: Option<Difference>,
}

impl Replay {
    /// Decisions that came out otherwise.
    pub fn differing(&self) -> u64 {
        self.decisions - self.agreed
    }

    fn add(&mut self, other: Self) {
        self.decisions += other.decisions;
        self.otherwise.extend(other.otherwise);
        self.agreed += other.agreed;
        self.left_out += other.left_out;
        self.other_engine += other.other_engine;
        self.removed += other.removed;
        self.removed_file = self.removed_file.take().or(other.removed_file);
        let first = self.first.take().into_iter().chain(other.first);
        self.first = first.min_by_key(|difference| difference.place);
    }
}

/// What makes native code of plugins, within the limits of a configuration.
pub type Compilers<'a> = &'a (dyn Fn(&CompileLimits) -> Compiler + Sync);

/// Makes every decision of a run again; `compiler` makes what native code is not there yet.
///
/// # Errors
/// If the record cannot be read, or was made under another version of the plugin contract.
pub fn replay(dir: &RunDir, compiler: Compilers<'_>) -> Result<Replay, Failure> {
    made_again(dir, None, compiler)
}

/// Asks the campaign of another configuration what was asked of those that decided, and tells which answers differ.
/// Nothing is kept. Everything else is as it was recorded; fuel and the wording of errors are another plugin's own.
///
/// # Errors
/// As [`replay`].
pub fn rehearse(dir: &RunDir, config: &RunConfig, compiler: Compilers<'_>) -> Result<Replay, Failure> {
    let mut tried = made_again(dir, Some(config), compiler)?;
    tried.otherwise.sort_unstable();
    tried.otherwise.dedup();
    Ok(tried)
}

fn made_again(dir: &RunDir, other: Option<&RunConfig>, compiler: Compilers<'_>) -> Result<Replay, Failure> {
    let store = crate::workspace::read_store(dir)?;
    let (made, engines, run_id) = (store.decisions_made()?, store.engines()?, store.run()?.run_id);
    let here = this_engine();
    if let Some(other) = engines.iter().find(|other| other.engine.contract != here.contract) {
        let what = format!(
            "run `{run_id}` has decisions under version {} of the plugin contract, and this matterstack speaks {}",
            other.engine.contract, here.contract
        );
        return Err(
            Failure::of(FailureKind::Plugin, what).hint(format!("replay it with matterstack {}", other.engine.version))
        );
    }
    drop(store);
    let engines: BTreeMap<i64, EngineRecord> = engines.into_iter().map(|one| (one.number, one.engine)).collect();
    let next = AtomicI64::new(1);
    let work = || -> Result<Replay, Failure> {
        let mut replayer = Replayer::new(dir, &run_id, &engines, (other, compiler))?;
        loop {
            let from = next.fetch_add(TAKEN, Ordering::Relaxed);
            if from > made {
                return Ok(replayer.total);
            }
            (from..from + TAKEN).take_while(|place| *place <= made).try_for_each(|place| replayer.again(place))?;
        }
    };
    let mut total = Replay::default();
    share((made / TAKEN + 1) as usize, work)?.into_iter().for_each(|one| total.add(one));
    Ok(total)
}

/// Why a decision could not be compared.
enum Broken {
    Machine(Failure),
    /// The record of it is damaged.
    Record(String),
    /// A person has removed a file that it read, which the record tells.
    Removed(RemovedRecord),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Machine(failure)
    }
}

/// What a plugin logs was logged when it decided.
struct NoLog;

impl PluginLog for NoLog {
    fn write(&self, _: &LogEntry<'_>) -> usize {
        0
    }
}

/// A campaign as one configuration names it.
struct Campaign {
    config: RunConfig,
    host: PluginHost,
    files: Arc<ReplayedFiles>,
}

/// One thread's share.
struct Replayer<'a> {
    dir: &'a RunDir,
    run_id: &'a str,
    engines: &'a BTreeMap<i64, EngineRecord>,
    /// The configuration whose campaign is asked in the place of those that decided.
    other: Option<&'a RunConfig>,
    compiler: Compilers<'a>,
    store: Store,
    /// By the digests of configuration and plugin.
    campaigns: BTreeMap<(String, String), Campaign>,
    /// The runs under which the first decisions were made, where this one goes on from others.
    made_as: Vec<MadeAs>,
    /// The digests of plugins that are there.
    plugins: BTreeSet<String>,
    /// The state that was read last, with its decision.
    state: Option<(u64, String)>,
    total: Replay,
}

impl<'a> Replayer<'a> {
    fn new(
        dir: &'a RunDir,
        run_id: &'a str,
        engines: &'a BTreeMap<i64, EngineRecord>,
        (other, compiler): (Option<&'a RunConfig>, Compilers<'a>),
    ) -> Result<Self, Failure> {
        let store = crate::workspace::read_store(dir)?;
        let made_as = store.made_as()?;
        Ok(Self {
            dir,
            run_id,
            engines,
            other,
            compiler,
            store,
            campaigns: BTreeMap::new(),
            made_as,
            plugins: BTreeSet::new(),
            state: None,
            total: Replay::default(),
        })
    }

    /// Makes one decision again; `place` counts the decisions made.
    fn again(&mut self, place: i64) -> Result<(), Failure> {
        let wrong = |why: &str| format!("entry {place} of the decisions of run `{}` {why}", self.run_id);
        let input = self.store.decision_input(place).map_err(|error| {
            let failure = Failure::from(error);
            Failure { what: format!("{}: {}", wrong("cannot be read"), failure.what), ..failure }
        })?;
        let Some(input) = input else {
            return Err(Failure::of(FailureKind::Machine, wrong("is missing, and later ones are there")));
        };
        if input.record.outcome == DecisionOutcome::Deadline {
            self.total.left_out += 1;
            return Ok(());
        }
        let same_engine = self.engines.get(&input.record.engine) == Some(&this_engine());
        let difference = match self.difference(place, &input, same_engine) {
            Err(Broken::Machine(failure)) => return Err(failure),
            Err(Broken::Removed(file)) => {
                self.total.removed += 1;
                self.total.removed_file.get_or_insert(file);
                return Ok(());
            }
            Err(Broken::Record(why)) => Some(compare::unreadable(place, &input, &why)),
            Ok(difference) => difference,
        };
        self.total.other_engine += u64::from(!same_engine);
        self.total.decisions += 1;
        if self.other.is_some() && difference.is_some() {
            self.total.otherwise.push(input.record.number);
        }
        match difference {
            None => self.total.agreed += 1,
            Some(difference) if self.total.first.is_none() => self.total.first = Some(difference),
            Some(_) => {}
        }
        Ok(())
    }

    /// The first thing in which a decision comes out otherwise than recorded.
    fn difference(
        &mut self,
        place: i64,
        input: &DecisionInput,
        same_engine: bool,
    ) -> Result<Option<Difference>, Broken> {
        if let (None, Some(why)) = (self.other, self.plugin_trouble(input)) {
            return Ok(Some(compare::no_plugin(place, input, &why)));
        }
        let configured = sha256(input.config.as_bytes());
        if configured != input.record.config_sha256 {
            let why = format!("its configuration has SHA-256 {configured}, not {}", input.record.config_sha256);
            return Err(Broken::Record(why));
        }
        let given = input.record.state_from.map(|number| self.state_after(number)).transpose()?;
        let read = self.store.decision_reads(place).map_err(Failure::from)?;
        let (context, mut came) = self.decide(input, given.as_deref())?;
        came.missing = came.missing.filter(|(digest, _)| read.contains(digest));
        if let Some((digest, _)) = &came.missing
            && let Some(file) = self.store.removed_of_digest(digest).map_err(Failure::from)?
        {
            return Err(Broken::Removed(file));
        }
        let state = match input.record.outcome {
            DecisionOutcome::Answered => Some(self.state_after(input.record.number)?),
            DecisionOutcome::Error
            | DecisionOutcome::Trap
            | DecisionOutcome::Limit
            | DecisionOutcome::Deadline
            | DecisionOutcome::BadOutput => None,
        };
        let (record, finished) = (&input.record, input.finished.as_deref());
        let input_sha256 = input_digest(record.kind, &context, &record.config_sha256, given.as_deref(), finished);
        let written = self.store.decision_writes(place).map_err(Failure::from)?;
        let recorded = Recorded { input, state: state.as_deref(), read: &read, written: &written, same_engine };
        if self.other.is_some() {
            return Ok(compare::first_unlike(place, &recorded, &came));
        }
        Ok(compare::first_difference(place, &recorded, &input_sha256, &came))
    }

    /// What is the matter with the plugin that decided. Native code that is cached does not stand in for it.
    fn plugin_trouble(&mut self, input: &DecisionInput) -> Option<String> {
        let wanted = &input.record.plugin_sha256;
        if self.plugins.contains(wanted) {
            return None;
        }
        let Some(path) = &input.plugin else { return Some("no configuration pinned it".to_owned()) };
        match open_regular_path(&self.dir.join(path)).and_then(|mut file| digest(&mut file)) {
            Ok((found, _)) if found == *wanted => {
                self.plugins.insert(wanted.clone());
                None
            }
            Ok((found, _)) => Some(format!("`{path}` has SHA-256 {found}")),
            Err(error) => Some(format!("`{path}` cannot be read: {error}")),
        }
    }

    fn state_after(&mut self, number: u64) -> Result<String, Broken> {
        let known = self.state.as_ref().map(|(known, text)| (*known, text.as_str()));
        let text = match self.store.state_after(number, known) {
            Err(StoreError::Row(why)) => return Err(Broken::Record(why)),
            other => other.map_err(Failure::from)?,
        };
        self.state = Some((number, text.clone()));
        Ok(text)
    }

    /// Asks the campaign what it was asked.
    fn decide(&mut self, input: &DecisionInput, state: Option<&str>) -> Result<(Context, Came), Failure> {
        let record = &input.record;
        let key = (record.config_sha256.clone(), record.plugin_sha256.clone());
        if !self.campaigns.contains_key(&key) {
            let campaign = self.campaign(input)?;
            self.campaigns.insert(key.clone(), campaign);
        }
        let Some(campaign) = self.campaigns.get(&key) else {
            return Err(Failure::of(FailureKind::Bug, "bug: a campaign that was just kept is gone"));
        };
        let supplied = record.supplied.as_ref().map(canonical_value).transpose();
        let supplied = supplied.map_err(|error| Failure::machine("what was supplied", error))?;
        let made_as = self.made_as.iter().find(|made| record.number < made.at);
        let run_id = made_as.map_or(self.run_id, |made| made.run.as_str());
        let told = Arc::new(ReplayedTasks::new(input.open_tasks.clone()));
        let view = CampaignView::new(run_id, self.dir, &campaign.config, supplied).told_by(told);
        let context = Context {
            decision: record.number,
            iteration: record.iteration,
            now_ms: record.at.0.max(0) as u64,
            seed: campaign.config.campaign.seed,
            asked: record.asked.clone(),
            open_tasks: record.open_tasks,
            run: Arc::new(view),
        };
        campaign.files.begin(input.refusals.clone());
        let mut came = match record.kind {
            DecisionKind::Plan => plan(campaign.host.plan(&context, state))?,
            DecisionKind::Analyze => {
                let finished = input.finished.as_deref().unwrap_or("[]");
                analysis(campaign.host.analyze(&context, state.unwrap_or("null"), finished))?
            }
        };
        came.missing = campaign.files.missing();
        Ok((context, came))
    }

    /// Readies the campaign for the configuration of a decision.
    fn campaign(&self, input: &DecisionInput) -> Result<Campaign, Failure> {
        let mut config = read_run_config(input.config.as_bytes(), "a recorded config.json")?;
        let recorded = || (input.plugin.clone().unwrap_or_default(), input.record.plugin_sha256.clone());
        let (path, sha256) = match self.other {
            Some(other) => with_campaign_of(&mut config, other),
            None => recorded(),
        };
        let files = Arc::new(ReplayedFiles::new(self.dir, &config));
        let mut host = PluginHost::new(HostSettings {
            compiler: (self.compiler)(&config.limits.compile),
            compute: Arc::new(Backends::new(self.dir.root())),
            backends: Vec::new(),
            artifacts: files.clone(),
            log: Arc::new(NoLog),
            // the fuse is for a machine that is waited for, and says nothing about the campaign
            limits: PluginLimits { plan_ms: PATIENCE_MS, ..config.limits.plugin.clone() },
        });
        host.set_campaign(PluginSource {
            name: config.campaign.plugin.clone(),
            path: self.dir.join(&path),
            sha256,
            script: config.script(CAMPAIGN).map(PinnedScript::more),
        });
        Ok(Campaign { config, host, files })
    }
}

/// Puts the campaign's plugin of another configuration into one, with all that belongs to it; returns where it lies and
/// its digest.
fn with_campaign_of(config: &mut RunConfig, other: &RunConfig) -> (String, String) {
    config.campaign.plugin.clone_from(&other.campaign.plugin);
    config.campaign.modules.clone_from(&other.campaign.modules);
    let (ours, theirs) = (config.pinned.get_or_insert_default(), other.pinned.clone().unwrap_or_default());
    ours.plugins.extend(theirs.plugins);
    ours.scripts.clone_from(&theirs.scripts);
    let file = config.pinned_component(&config.campaign.plugin);
    file.map(|file| (file.path.clone(), file.sha256.clone())).unwrap_or_default()
}

/// What came of a plan, in the words of the record.
fn plan(answer: Answer<Decision>) -> Result<Came, Failure> {
    let (fuel, reads, written) = (answer.fuel, answer.reads, answer.written.into_keys().collect());
    let decision = match answer.value {
        Ok(decision) => decision,
        Err(error) => return failed(error, fuel).map(|came| Came { reads, ..came }),
    };
    let taken = || -> Result<(String, String), PluginError> {
        let state = canonical_output(&decision.state, "plan", "state")?;
        Ok((state, rest_of_plan(&decision, &canonical_next(&decision.next)?)))
    };
    let said = raw_decision(&decision);
    let came = match taken() {
        Ok((state, rest)) => {
            let (next, reason, summary) = (Some(decision.next.word()), decision.reason, decision.summary);
            Came { written, told: Some(Told { next, reason, summary }), ..Came::answered(state, rest, fuel) }
        }
        Err(error) => Came::failed(error, fuel),
    };
    Ok(Came { said, reads, ..came })
}

/// How a call failed. A machine that gives too little for it says nothing about the record: elsewhere, or alone, it may
/// come out as recorded.
fn failed(error: PluginError, fuel: u64) -> Result<Came, Failure> {
    match error.kind {
        PluginErrorKind::Unstarted(_) | PluginErrorKind::Starved(_) => Err(error.into()),
        _ => Ok(Came::failed(error, fuel)),
    }
}

/// What came of an analysis, in the words of the record.
fn analysis(answer: Answer<Folded>) -> Result<Came, Failure> {
    let (fuel, reads, written) = (answer.fuel, answer.reads, answer.written.into_keys().collect());
    let folded = match answer.value {
        Ok(folded) => folded,
        Err(error) => return failed(error, fuel).map(|came| Came { reads, ..came }),
    };
    let said = raw_analysis(&folded);
    let came = match canonical_output(&folded.state, "analyze", "state") {
        Ok(state) => {
            let rest = rest_of_analysis(&folded);
            let told = Told { next: None, reason: WHY_ANALYZED.to_owned(), summary: folded.summary };
            Came { written, told: Some(told), ..Came::answered(state, rest, fuel) }
        }
        Err(error) => Came::failed(error, fuel),
    };
    Ok(Came { said, reads, ..came })
}
