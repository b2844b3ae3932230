//! `backup`: a consistent copy of a run's database.
use super::output::{print, print_json};
use super::{Session, shown};
use crate::failure::Failure;
use crate::workspace::{back_up, read_store};
use serde_json::json;
use std::path::Path;

pub(super) fn backup(session: &Session, name: &str, out: &Path) -> Result<u8, Failure> {
    let dir = session.run(name)?;
    let (size, sha256) = back_up(&read_store(&dir)?, out)?;
    if session.json {
        print_json(&json!({"run_id": dir.id(), "path": out, "size": size, "sha256": sha256}))?;
    } else {
        print(&format!("{}\n", shown(out)))?;
    }
    Ok(0)
}
