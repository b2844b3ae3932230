//! The strings by which an edition of Workflow Run RO-Crate tells itself from another. Types, keys and entities are the
//! same in both; 0.5 is the one that validators know.

/// The strings of one edition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edition {
    /// What the keys mean: of RO-Crate, and of what Workflow Run RO-Crate adds.
    pub(super) contexts: [&'static str; 2],
    /// What the metadata file keeps to.
    pub(super) descriptor: &'static [&'static str],
    /// The profile of a crate with a workflow in it.
    pub(super) workflow_crate: Profile,
    /// The profile of something that was run.
    pub(super) process: Profile,
    /// The profile of a workflow that was run.
    pub(super) workflow: Profile,
    /// The profile of a workflow that was run, with each of its steps.
    pub(super) provenance: Profile,
    /// The types of an entity that is a profile.
    pub(super) profile_types: &'static [&'static str],
}

/// A profile of crates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Profile {
    /// Its address, with the version at its end.
    pub(super) id: &'static str,
    /// What it is called.
    pub(super) name: &'static str,
}

impl Profile {
    /// Its version.
    pub(super) fn version(self) -> &'static str {
        self.id.rsplit('/').next().unwrap_or_default()
    }
}

const fn profile(id: &'static str, name: &'static str) -> Profile {
    Profile { id, name }
}

/// The edition that is written.
pub(super) const EDITION: Edition = Edition {
    contexts: ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"],
    descriptor: &["https://w3id.org/ro/crate/1.1", "https://w3id.org/workflowhub/workflow-ro-crate/1.0"],
    workflow_crate: profile("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate"),
    process: profile("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate"),
    workflow: profile("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate"),
    provenance: profile("https://w3id.org/ro/wfrun/provenance/0.5", "Provenance Run Crate"),
    profile_types: &["CreativeWork"],
};

/// The same in 0.6, which stands on RO-Crate 1.3: to be written once a validator knows it.
#[cfg(test)]
const NEXT: Edition = Edition {
    contexts: ["https://w3id.org/ro/crate/1.3/context", "https://w3id.org/ro/terms/workflow-run/context"],
    descriptor: &["https://w3id.org/ro/crate/1.3"],
    workflow_crate: profile("https://w3id.org/workflowhub/workflow-ro-crate/1.1", "Workflow RO-Crate"),
    process: profile("https://w3id.org/ro/wfrun/process/0.6", "Process Run Crate"),
    workflow: profile("https://w3id.org/ro/wfrun/workflow/0.6", "Workflow Run Crate"),
    provenance: profile("https://w3id.org/ro/wfrun/provenance/0.6", "Provenance Run Crate"),
    profile_types: &["CreativeWork", "Profile"],
};

#[cfg(test)]
mod tests {
    use super::{EDITION, Edition, NEXT, Profile};

    fn profiles(edition: &Edition) -> [Profile; 4] {
        [edition.workflow_crate, edition.process, edition.workflow, edition.provenance]
    }

    #[test]
    fn an_edition_has_one_version_and_names_what_it_stands_on() {
        for (edition, run, stands_on) in [(EDITION, "0.5", "1.1"), (NEXT, "0.6", "1.3")] {
            let versions = [edition.process, edition.workflow, edition.provenance].map(Profile::version);
            assert_eq!(versions, [run; 3]);
            assert!(edition.contexts[0].ends_with(&format!("/crate/{stands_on}/context")));
            assert!(edition.descriptor[0].ends_with(&format!("/crate/{stands_on}")));
        }
        assert_eq!(EDITION.contexts[1], NEXT.contexts[1]);
        for (now, then) in profiles(&EDITION).into_iter().zip(profiles(&NEXT)) {
            assert!(now.name == then.name && now.id != then.id, "{now:?}");
        }
        assert_ne!(EDITION.profile_types, NEXT.profile_types);
    }
}
