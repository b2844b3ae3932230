//! Signing a bundle, with the key of a person.
use super::Verification;
use super::manifest::{SIGNATURE, parse};
use super::open::Opened;
use super::signature::{self, NAMESPACE, Signed};
use super::verify::{MANIFEST_MAX, compare};
use crate::backend::sign_with_ssh;
use crate::failure::Failure;
use crate::ground::files::put;
use crate::run::MANIFEST;
use crate::workspace::now_ms;
use std::path::{Path, PathBuf};

/// A bundle that was signed.
#[derive(Debug)]
pub struct SignedBundle {
    /// Where the signature is.
    pub path: PathBuf,
    /// The key that made it.
    pub signed: Signed,
}

/// Signs the manifest of a bundle, in place of an earlier signature. `key` is a file: a private key, or a public one
/// whose other half an agent or a piece of hardware has.
///
/// # Errors
/// If the bundle is not what its manifest says, the key cannot be used, or nothing can be written.
pub fn sign(folder: &Path, key: &Path) -> Result<SignedBundle, Failure> {
    let shown = folder.display();
    if !folder.is_dir() {
        return Err(Failure::input(format!("`{shown}` is not a folder"))
            .hint("a bundle is signed as a folder: unpack it, sign it, and pack it again"));
    }
    let opened = Opened::open(folder)?;
    let manifest = opened.read(MANIFEST, MANIFEST_MAX)?.unwrap_or_default();
    let mut found = Verification::default();
    match parse(&manifest) {
        Err(why) => return Err(Failure::input(format!("bundle `{shown}` is not signed: its manifest {why}"))),
        Ok(listed) => compare(&opened, &listed, &mut found)?,
    }
    if let Some(first) = found.wrong.first() {
        let what = format!("bundle `{shown}` is not signed: `{}` is {}", first.path, first.what.as_str());
        return Err(Failure::input(what).hint(format!("`matterstack evidence verify {shown}` names all that is wrong")));
    }
    let made = sign_with_ssh(key, NAMESPACE, &manifest).map_err(|error| {
        Failure::input(format!(
            "bundle `{shown}` is not signed: `ssh-keygen` made no signature with `{}`",
            key.display()
        ))
        .because(error)
        .hint("it takes OpenSSH 8.1 or newer; KEY is a private key, or the `.pub` of one that an agent has")
    })?;
    // what was made is looked at before it is put beside the manifest
    let signed = signature::verify(&manifest, &made, None, now_ms())
        .map_err(|(_, why)| Failure::input(format!("bundle `{shown}` is not signed: what `ssh-keygen` made {why}")))?;
    let path = opened.dir().join(SIGNATURE);
    put(&path, &made, true).map_err(|error| Failure::io(format!("`{}` cannot be written", path.display()), error))?;
    Ok(SignedBundle { path: folder.join(SIGNATURE), signed })
}
