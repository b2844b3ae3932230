//! The archive: unpacked below any prefix, its binary is on the path and its pages and completions are found.
use super::{Parts, copy};
use crate::project::{Project, run, say};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

/// Makes it, the same to the byte wherever the binary is the same.
pub(super) fn make(project: &Project, parts: &Parts) -> Result<PathBuf> {
    say("packing the archive");
    let name = format!("matterstack-{}-{}-linux", parts.version, std::env::consts::ARCH);
    let folder = parts.directory.join(&name);
    fs::create_dir_all(folder.join("bin")).with_context(|| format!("`{}` cannot be made", folder.display()))?;
    copy(&project.matterstack(), &folder.join("bin/matterstack"))?;
    copy(&parts.share(), &folder.join("share"))?;
    let own = folder.join("share/doc/matterstack");
    fs::create_dir_all(&own).with_context(|| format!("`{}` cannot be made", own.display()))?;
    for file in ["LICENSE", "README.md"] {
        copy(&project.root.join(file), &own.join(file))?;
    }
    let archive = parts.directory.join(&name).with_added_extension("tar.gz");
    let mut tar = project.command("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"]);
    tar.args(["--mtime=1980-01-01 00:00Z", "--use-compress-program=gzip -n", "--create", "--file"]).arg(&archive);
    run(tar.arg("--directory").arg(&parts.directory).arg(&name))?;
    Ok(archive)
}
