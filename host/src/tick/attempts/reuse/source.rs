//! Earlier runs of the workspace, opened to look for results. One that cannot be used is passed over, and a sentence
//! says why.
use super::key::{Common, Keyless, common};
use crate::model::config::RunConfig;
use crate::model::reuse::{ReuseConfig, ReuseKey, WORKSPACE};
use crate::run::{Machine, Run, RunDir};
use crate::store::{Earlier, EarlierState, Store, StoreError};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// An earlier run.
#[derive(Debug)]
pub(super) struct Source {
    /// Its id.
    pub(super) run: String,
    pub(super) dir: RunDir,
    pub(super) store: Store,
    made_ms: i64,
    /// Whether it could be read so far.
    sound: bool,
}

/// The earlier runs whose results may be taken, the one made last first.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) all: Vec<Source>,
    /// Why others are passed over.
    pub(super) passed: Vec<String>,
    /// What their operators and backends brought to every key, under each configuration they ever had; only where a
    /// difference in that is accepted.
    pub(super) settings: Vec<Common>,
}

/// An attempt with the key that is looked for, and the place of its run among the sources.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) source: usize,
    pub(super) earlier: Earlier,
}

impl Source {
    /// Reads its store. One that cannot be read is passed over from here on.
    pub(super) fn read<T>(
        &mut self,
        work: impl FnOnce(&Store) -> Result<T, StoreError>,
        passed: &mut Vec<String>,
    ) -> Option<T> {
        if !self.sound {
            return None;
        }
        match work(&self.store) {
            Ok(value) => Some(value),
            Err(error) => {
                self.sound = false;
                passed.push(format!("run `{}` cannot be read: {error}", self.run));
                None
            }
        }
    }
}

impl Sources {
    /// Opens the runs that the configuration names. None of them is changed, and no file is left beside its database.
    pub(super) fn open(run: &Run, reuse: &ReuseConfig) -> Result<Self, StoreError> {
        let own = run.store.run()?;
        let mut sources = Self::default();
        let Some(from) = &reuse.from else { return Ok(sources) };
        let Some(runs) = run.dir.root().parent() else { return Ok(sources) };
        let places: Vec<PathBuf> = if from == WORKSPACE {
            let entries = std::fs::read_dir(runs).into_iter().flatten().flatten();
            let shown = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
            shown
                .map(|entry| entry.path())
                .filter(|path| path.join("state.sqlite").symlink_metadata().is_ok())
                .collect()
        } else {
            vec![runs.join(from)]
        };
        for place in places.into_iter().filter(|place| place != run.dir.root()) {
            let dir = RunDir::new(place);
            match open(&dir, reuse, own.user_id, &run.machine) {
                Ok(source) if source.run != own.run_id => {
                    if !reuse.ignore.is_empty() {
                        settings_of(&source.store, &mut sources.settings)?;
                    }
                    sources.all.push(source);
                }
                // a copy of this very run
                Ok(_) => {}
                Err(why) => sources.passed.push(format!("run `{}` {why}", dir.id())),
            }
        }
        sources.all.sort_by(|a, b| (b.made_ms, &b.run).cmp(&(a.made_ms, &a.run)));
        sources.passed.sort();
        Ok(sources)
    }

    /// Every completed attempt with one of these keys: those at the same task first, then by the age of their runs. Its
    /// results are not looked at yet.
    pub(super) fn with_keys(&mut self, keys: &[ReuseKey], task: &str) -> Vec<Found> {
        let mut found = Vec::new();
        for source in 0..self.all.len() {
            let read = |store: &Store| -> Result<Vec<Vec<Earlier>>, StoreError> {
                keys.iter().map(|key| store.earlier_with_key(&key.sha256)).collect()
            };
            let earlier = self.all[source].read(read, &mut self.passed).unwrap_or_default();
            found.extend(earlier.into_iter().flatten().map(|earlier| Found { source, earlier }));
        }
        // whoever took the results of an attempt has the same results: rejected once, they are so everywhere
        let rejected: BTreeSet<String> = found
            .iter()
            .filter(|one| one.earlier.state == EarlierState::Rejected)
            .map(|one| one.earlier.origin.clone())
            .collect();
        for one in found.iter_mut().filter(|one| rejected.contains(&one.earlier.origin)) {
            one.earlier.state = EarlierState::Rejected;
        }
        found.sort_by_key(|one| one.earlier.task != task);
        found
    }
}

/// Adds what the operators and backends of a run brought to its keys. A configuration of another version tells nothing.
fn settings_of(store: &Store, settings: &mut Vec<Common>) -> Result<(), StoreError> {
    let pinned = store.environment().ok();
    store.each_config(|record| {
        let Ok(config) = serde_json::from_str::<RunConfig>(&record.text) else { return Ok(()) };
        for operator in config.operators.keys() {
            match common(&config, pinned.as_ref(), operator) {
                Ok(one) if !settings.contains(&one) => settings.push(one),
                Ok(_) | Err(Keyless::Told(_)) => {}
                Err(Keyless::Store(error)) => return Err(error),
            }
        }
        Ok(())
    })
}

/// Opens an earlier run; or why it is passed over.
fn open(dir: &RunDir, reuse: &ReuseConfig, user_id: i64, machine: &Machine) -> Result<Source, String> {
    let unread = |error: &dyn std::fmt::Display| format!("cannot be read: {error}");
    let metadata = std::fs::symlink_metadata(dir.database());
    if metadata.is_err() && dir.root().symlink_metadata().is_err() {
        return Err("is not in the workspace".to_owned());
    }
    if !metadata.map_err(|error| unread(&error))?.is_file() {
        return Err(unread(&"its `state.sqlite` is not a regular file"));
    }
    // what goes on there may still be taken back
    if dir.is_driven() == Some(true) {
        return Err("is being advanced by another process".to_owned());
    }
    let store = Store::read(&dir.database()).map_err(|error| unread(&error))?;
    if store.keeps_others_out() {
        return Err("cannot be read beside others: the disk is full".to_owned());
    }
    store.keep_view().map_err(|error| unread(&error))?;
    let row = store.run().map_err(|error| unread(&error))?;
    if row.user_id != user_id {
        let user = u32::try_from(row.user_id).map(machine.user_name).unwrap_or_default();
        if !reuse.users.contains(&user) {
            return Err(format!("is of user `{user}`, whom `reuse.users` does not name"));
        }
    }
    Ok(Source { run: row.run_id, dir: dir.clone(), store, made_ms: row.created_at_ms, sound: true })
}
