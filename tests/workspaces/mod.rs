//! The worked examples, run as their authors mean them.
mod battery;
mod catalyst;
mod coatings;
mod solar;
mod space;
mod thin_film;

use crate::support::{component, root};
use std::path::PathBuf;
use std::sync::OnceLock;

/// The folder of a workspace.
fn workspace(slug: &str) -> PathBuf {
    root().join("workspaces").join(slug)
}

/// The component of the coatings campaign.
fn coatings_component() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| component("campaign-coatings"))
}
