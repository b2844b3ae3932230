//! The runners of scripts: interpreters as components, which the host carries.
mod pack;

use crate::project::Project;
use anyhow::Result;

/// Makes the runners where they are missing or older than what they are made of, so that a host that is built next
/// carries them.
pub(crate) fn build(project: &Project) -> Result<()> {
    pack::pack(project)
}
