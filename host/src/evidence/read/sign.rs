//! Signing a bundle, with the key of a person: the signature goes beside the manifest, into the folder or into the zip.
use super::Verification;
use super::archive::Archive;
use super::manifest::{SIGNATURE, parse};
use super::open::Opened;
use super::signature::{self, NAMESPACE, Signed};
use super::verify::compare;
use crate::backend::sign_with_ssh;
use crate::evidence::draft::Draft;
use crate::evidence::{archive, study};
use crate::failure::Failure;
use crate::ground::files::{new_file, open_regular_path, put};
use crate::run::MANIFEST;
use crate::workspace::now_ms;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use zip::{ZipArchive, ZipWriter};

/// The zip while it is written.
const ASIDE: &str = "signed";

/// A bundle that was signed.
#[derive(Debug)]
pub struct SignedBundle {
    /// Where the signature is: its file, or the zip that holds it.
    pub path: PathBuf,
    /// The key that made it.
    pub signed: Signed,
}

/// Signs the manifest of a bundle, a folder or a zip, in place of an earlier signature. `key` is a file: a private key,
/// or a public one whose other half an agent or a piece of hardware has.
///
/// # Errors
/// If the bundle is not what its manifest says, the key cannot be used, or nothing can be written.
pub fn sign(bundle: &Path, key: &Path) -> Result<SignedBundle, Failure> {
    match std::fs::canonicalize(bundle) {
        // of a link, what it leads to is replaced
        Ok(zip) if zip.is_file() => sign_zip(bundle, zip, key),
        // what is nothing that could be opened is told so
        _ => sign_folder(bundle, key),
    }
}

fn sign_folder(folder: &Path, key: &Path) -> Result<SignedBundle, Failure> {
    let opened = Opened::open(folder)?;
    let around = opened.dir().root().ancestors().nth(2).filter(|around| {
        let has = |name: &str| around.join(name).is_file();
        has(MANIFEST) && has(study::DOCUMENT)
    });
    if let Some(study) = around {
        // its manifest names every file
        let what =
            format!("bundle `{}` is not signed: it is part of the study `{}`", folder.display(), study.display());
        return Err(Failure::input(what).hint("sign the study, and with it every bundle; or a copy elsewhere"));
    }
    let (made, signed) = signature_of(&opened, folder, key)?;
    let path = opened.dir().join(SIGNATURE);
    put(&path, &made, true).map_err(|error| Failure::io(format!("`{}` cannot be written", path.display()), error))?;
    Ok(SignedBundle { path: folder.join(SIGNATURE), signed })
}

fn sign_zip(shown: &Path, zip: PathBuf, key: &Path) -> Result<SignedBundle, Failure> {
    // whoever would write it anew meanwhile waits; and nobody is asked for a passphrase in vain
    let draft = Draft::aside(zip).map_err(unwritten)?;
    let opened = Opened::open(shown)?;
    let (made, signed) = signature_of(&opened, shown, key)?;
    let aside = draft.path().join(ASIDE);
    let written = match opened.archive() {
        Some(archive) => with_signature(archive, &made, &aside).and_then(|()| draft.put_file_in_place(ASIDE)),
        None => Err(io::Error::other("it was a zip, and is none any more")),
    };
    written.map_err(|error| unwritten(draft.failed(error)))?;
    Ok(SignedBundle { path: shown.to_owned(), signed })
}

fn unwritten(failure: Failure) -> Failure {
    failure.hint("a zip is written anew beside itself to be signed: make room there, or mend the permission")
}

/// Signs the manifest of a bundle that is what it says.
fn signature_of(opened: &Opened, bundle: &Path, key: &Path) -> Result<(Vec<u8>, Signed), Failure> {
    let shown = bundle.display();
    let (manifest, _) = opened.manifest_and_signature()?;
    let mut found = Verification::default();
    match parse(&manifest) {
        Err(why) => return Err(Failure::input(format!("bundle `{shown}` is not signed: its manifest {why}"))),
        Ok(listed) => compare(opened, &listed, &mut found)?,
    }
    if let Some(first) = found.wrong.first() {
        let what = format!("bundle `{shown}` is not signed: `{}` is {}", first.path, first.what.as_str());
        return Err(Failure::input(what).hint(format!("`matterstack evidence verify {shown}` names all that is wrong")));
    }
    let made = sign_with_ssh(key, NAMESPACE, &manifest).map_err(|error| {
        let not_signed = |why: &str| Failure::input(format!("bundle `{shown}` is not signed: {why}"));
        match error.kind() {
            io::ErrorKind::NotFound => not_signed("the program `ssh-keygen` is not in PATH").hint(
                "it is part of OpenSSH; of a bundle the manifest is all that is signed: it can be done elsewhere",
            ),
            _ => not_signed(&format!("`ssh-keygen` made no signature with `{}`", key.display()))
                .because(error)
                .hint("it takes OpenSSH 8.1 or newer; KEY is a private key, or the `.pub` of one that an agent has"),
        }
    })?;
    // what was made is looked at before it is put beside the manifest
    let signed = signature::verify(&manifest, &made, None, now_ms())
        .map_err(|(_, why)| Failure::input(format!("bundle `{shown}` is not signed: what `ssh-keygen` made {why}")))?;
    Ok((made, signed))
}

/// Writes an archive anew with a signature after its manifest, in place of an earlier one. Every other file is taken
/// over as it is packed, in the order in which it lies there.
fn with_signature(archive: &Archive, signature: &[u8], to: &Path) -> io::Result<()> {
    let mut from = ZipArchive::new(BufReader::new(archive.file().try_clone()?))?;
    let mut zip = ZipWriter::new(BufWriter::with_capacity(256 * 1024, new_file(to)?));
    for at in 0..from.len() {
        let file = from.by_index_raw(at)?;
        let name = file.name_raw().to_owned();
        if name == SIGNATURE.as_bytes() {
            continue;
        }
        zip.raw_copy_file(file)?;
        if name == MANIFEST.as_bytes() {
            zip.start_file(SIGNATURE, archive::options())?;
            zip.write_all(signature)?;
        }
    }
    let file: File = zip.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    // another reader may see something else in a zip than was compared with the manifest
    if archive.is_like(&Archive::open(open_regular_path(to)?)?, SIGNATURE) {
        return Ok(());
    }
    Err(io::Error::other("its files do not come out as they are: unpack it, and sign the folder"))
}
