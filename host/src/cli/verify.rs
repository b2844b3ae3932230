//! `evidence verify` and `evidence sign`: what is done with bundles, wherever they come from.
use super::output::{one_line, print, print_json, tell};
use super::report::FOUND;
use super::{Session, shown};
use crate::evidence::read::{self, Opened, SignedBundle, Verification};
use crate::failure::Failure;
use crate::ground::files::read_named;
use crate::ground::words::quoted;
use crate::replay::Replay;
use crate::workspace;
use clap::Subcommand;
use serde_json::json;
use std::path::{Path, PathBuf};

/// The largest file of signers, in bytes.
const SIGNERS_MAX: u64 = 16 * 1024 * 1024;
/// Things that are wrong with a bundle and told to a person.
const WRONG_TOLD: usize = 100;

#[derive(Debug, Subcommand)]
pub(super) enum BundleCommand {
    /// Look whether a bundle or a study is what it was when it was made, and agrees with itself
    ///
    /// Every file is compared with the manifest, and the manifest with its signature; then evidence.json with its
    /// schema, the database with its rules, the files with the record, and every decision is made again. What is
    /// altered, missing or added is named, and the exit code is 1. A bundle may come from anybody: nothing of it is
    /// executed but its campaigns, in their sandbox. Of a study every bundle is looked through so, and its document and
    /// its table are compared with what the bundles say.
    ///
    /// With --json: run_id, files and bytes (that were compared), wrong: [{path, what (altered, missing, added,
    /// manifest, signature, schema, store, record or replay), detail}], has_signature, signed ({key, fingerprint,
    /// signer}, or null), and replay (as `replay` prints it, or null where something else is wrong). Of a study run_id
    /// and replay are null, a path begins with that of the bundle, and there is study: {workspace, runs: [{run_id,
    /// replay}]}.
    Verify {
        /// The bundle or the study, a folder or a zip
        bundle: PathBuf,
        /// Whose keys count: a file of allowed signers, as ssh-keygen takes it
        #[arg(long, value_name = "FILE")]
        signers: Option<PathBuf>,
    },
    /// Sign a bundle or a study, with an SSH key
    ///
    /// `ssh-keygen` signs the manifest, which has the digest of every file; the signature lies beside it, in the folder
    /// or in the zip. It asks for the passphrase of the key, or for a touch, where the key wants that.
    ///
    /// With --json: path (of the signature, or of the zip that holds it), key and fingerprint.
    Sign {
        /// The bundle or the study, a folder or a zip
        bundle: PathBuf,
        /// The private key, or the public one (`.pub`) of a key that an agent has
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
}

pub(super) fn of_bundle(session: &Session, command: &BundleCommand) -> Result<u8, Failure> {
    match command {
        BundleCommand::Verify { bundle, signers } => verify(session, bundle, signers.as_deref()),
        BundleCommand::Sign { bundle, key } => sign(session, bundle, key),
    }
}

fn verify(session: &Session, bundle: &Path, signers: Option<&Path>) -> Result<u8, Failure> {
    let text = |path: &Path| -> Result<String, Failure> {
        let wrong = |error: std::io::Error| {
            Failure::input(format!("file of signers `{}` cannot be read", path.display())).because(error)
        };
        let bytes = read_named(path, SIGNERS_MAX).map_err(wrong)?;
        String::from_utf8(bytes).map_err(|error| wrong(std::io::Error::other(error)))
    };
    let text = signers.map(text).transpose()?;
    let mut opened = Opened::open(bundle)?;
    let found = read::verify(&mut opened, text.as_deref(), &workspace::compiler)?;
    if session.json {
        print_json(&found)?;
    } else {
        print(&words(&found))?;
    }
    if found.has_signature {
        say_how_to_verify(bundle, signers, &found);
    }
    Ok(if found.wrong.is_empty() { 0 } else { FOUND })
}

/// What was found, for a person.
fn words(found: &Verification) -> String {
    let mut text = String::new();
    for wrong in found.wrong.iter().take(WRONG_TOLD) {
        text += &one_line(&format!("{}: `{}` {}", wrong.what.as_str(), wrong.path, wrong.detail));
        text += "\n";
    }
    let more = found.wrong.len().saturating_sub(WRONG_TOLD);
    if more > 0 {
        text += &format!("and {more} more; --json prints all\n");
    }
    text += &format!("{} files, {} bytes compared with the manifest\n", found.files, found.bytes);
    match (&found.signed, found.has_signature) {
        (Some(signed), _) => {
            let by = signed.signer.as_ref().map_or("nobody that is named".to_owned(), |signer| one_line(signer));
            text += &format!("signed by {by}, with the key {} ({})\n", signed.fingerprint, signed.key);
        }
        (None, true) => {}
        (None, false) => text += "not signed\n",
    }
    if let Some(study) = &found.study {
        text += &one_line(&format!("{} run(s) of workspace `{}`", study.runs.len(), study.workspace));
        text += "\n";
    }
    let sum = |of: fn(&Replay) -> u64| found.replays().map(of).sum::<u64>();
    if found.replays().next().is_none() && !found.wrong.is_empty() {
        return text + "no decision was made again: what they depend on is not as it was\n";
    }
    text += &format!("{} decision(s) made again, {} as recorded\n", sum(|one| one.decisions), sum(|one| one.agreed));
    for (count, why) in [
        (sum(|one| one.left_out), "had passed their deadline and were left out"),
        (sum(|one| one.removed), "read what was removed and were left out"),
        (sum(|one| one.other_engine), "were made by another engine: their fuel was not compared"),
    ] {
        if count > 0 {
            text += &format!("{count} decision(s) {why}\n");
        }
    }
    text
}

/// Says which key signed means whom, and how others look at the signature who trust no program of ours.
fn say_how_to_verify(bundle: &Path, signers: Option<&Path>, found: &Verification) {
    if found.signed.as_ref().is_some_and(|signed| signed.signer.is_none()) && signers.is_none() {
        tell("a signature proves that a key made it; whose key that is, a file says: `--signers FILE`");
    }
    let signer = found.signed.as_ref().and_then(|signed| signed.signer.as_deref()).unwrap_or("WHO");
    let file = signers.map_or_else(|| "allowed_signers".to_owned(), |path| path.display().to_string());
    let place = if bundle.is_dir() { bundle.join("manifest-sha256.txt") } else { "manifest-sha256.txt".into() };
    let place = place.display().to_string();
    tell(&one_line(&format!(
        "to see it without this program: ssh-keygen -Y verify -n evidence@matterstack -f {} -I {} -s {} < {}",
        quoted(&file),
        quoted(signer),
        quoted(&format!("{place}.sig")),
        quoted(&place)
    )));
}

fn sign(session: &Session, bundle: &Path, key: &Path) -> Result<u8, Failure> {
    let SignedBundle { path, signed } = read::sign(bundle, key)?;
    if session.json {
        let signed = json!({"path": path, "key": signed.key, "fingerprint": signed.fingerprint});
        return print_json(&signed).map(|()| 0);
    }
    tell(&format!("signed with the key {} ({})", signed.fingerprint, signed.key));
    print(&format!("{}\n", shown(&path)))?;
    Ok(0)
}
