//! `evidence`: writes the bundle, and says what it found.
use super::output::{one_line, print, print_json, tell};
use super::verify::{BundleCommand, of_bundle};
use super::{Session, shown, study};
use crate::evidence::{self, Request, Written};
use crate::failure::{Failure, FailureKind, refuse_bundle};
use crate::model::about::{About, Author, License};
use crate::model::pattern::{Dots, Pattern, Patterns};
use crate::workspace;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Write the evidence bundle: all that strangers need to follow and to believe a run
///
/// A folder, or with --archive one zip: the record itself (state.sqlite), configurations, plugins, inputs, outputs
/// and logs, each once; evidence.json, which holds everything recorded for programs (`matterstack config schema
/// evidence` describes it); README.md and report.html for people; manifest-sha256.txt with the digest of every
/// other file, as `sha256sum -c` reads it. A run that has not ended or has failed gets a bundle that says so. Every
/// file is compared with its recorded SHA-256; what is changed or missing is said, and the exit code stays 0. While
/// nothing changes, writing again gives the same bytes.
///
/// ro-crate-metadata.json makes the bundle a research object (RO-Crate), which repositories and programs of others
/// read. Its licence and its authors stand in the configuration under `evidence`, or are given here; what is
/// missing of them is said.
///
/// No secret of a task goes into it: files that hold one are left out. Names of users and machines do, but for
/// --redact, with which files are left out too that tell one. A bundle can be read like a run: `status`, `table`,
/// `explain` and `replay` take its folder for RUN.
///
/// Of a workspace it is a study: below `runs` a bundle for every run, table.csv with a row for every task of all of
/// them, study.json, and manifest-sha256.txt with the digest of every other file. A run that cannot be read is
/// named and left out.
///
/// With --json: run_id, path, state, complete (the run has ended), sha256 (of the manifest), verified: {files,
/// bytes, intact, changed, missing, unreadable, removed}, and omitted (files that the bundle does not hold). Of a
/// workspace: workspace, path, runs and rows (how many), left_out: [{run_id, reason}], findings (files that are not
/// as recorded), and sha256 (of the manifest).
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct EvidenceArguments {
    #[command(subcommand)]
    command: Option<BundleCommand>,
    /// The run, or a workspace: all of its runs
    #[arg(default_value = "latest")]
    run: String,
    /// The folder [default: evidence/ in the directory of the run, or of the workspace]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One zip instead of a folder
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    archive: Option<PathBuf>,
    /// Leave files out: outputs and logs by their path or TASK/PATH, inputs by their path; their digests stay. May be
    /// given several times
    #[arg(long, value_name = "GLOB")]
    omit: Vec<String>,
    /// Put `user-1`, `host-1` in the place of the names of users and machines
    #[arg(long)]
    redact: bool,
    /// Under which licence it may be used, such as CC-BY-4.0 [default: `evidence.license` of the configuration]
    #[arg(long, value_name = "LICENCE", value_parser = License::new)]
    license: Option<License>,
    /// Who answers for it: 'NAME; ORCID; AFFILIATION; ADDRESS', of which the name must be there; may be given several
    /// times [default: `evidence.authors` of the configuration]
    #[arg(long = "author", value_name = "AUTHOR", value_parser = Author::parse)]
    authors: Vec<Author>,
}

pub(super) fn evidence(session: &Session, arguments: &EvidenceArguments) -> Result<u8, Failure> {
    if let Some(command) = &arguments.command {
        return of_bundle(session, command);
    }
    let omit = arguments.omit.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>, _>>();
    let omit = omit.map_err(|error| Failure::input(format!("--omit: {error}")))?;
    let omit = (!omit.is_empty()).then(|| Patterns::new(omit, Dots::Written));
    let about = About { license: arguments.license.clone(), authors: arguments.authors.clone() };
    let request = Request { omit: omit.as_ref(), redact: arguments.redact, about: &about };
    let (out, archive) = (arguments.out.as_deref(), arguments.archive.as_deref());
    if let Some(slug) = study::named(session, &arguments.run)? {
        return study::study(session, &slug, (out, archive), &request);
    }
    let dir = session.run(&arguments.run)?;
    refuse_bundle(&dir).map_err(|failure| match archive {
        Some(_) => failure.hint("any program packs its files into a zip as they are; `evidence sign` takes either"),
        None => failure,
    })?;
    if out.is_none() && archive.is_none() {
        workspace::refuse_other_user(&dir).map_err(|failure| match failure.kind {
            FailureKind::Input => failure.hint("name a place of your own with `--out DIR`"),
            _ => failure,
        })?;
    }
    let written = match archive {
        Some(file) => evidence::write_archive(&dir, file, &request)?,
        None => evidence::write(&dir, out.unwrap_or(&dir.evidence()), &request)?,
    };
    say(&written);
    let run = &written.run;
    if session.json {
        print_json(&json!({
            "run_id": run.run_id, "path": written.path, "state": run.state, "complete": run.state.ended(),
            "sha256": written.sha256, "verified": written.verified, "omitted": written.omitted,
        }))?;
    } else {
        print(&format!("{}\n", shown(&written.path)))?;
    }
    Ok(0)
}

/// What is said where a signature goes.
pub(super) const UNSIGNED: &str =
    "warning: the one that was there was signed; this one is another, and is not: `matterstack evidence sign` signs it";

/// What a person must know of a bundle who gives it away.
fn say(written: &Written) {
    let run = &written.run;
    if !run.state.ended() {
        tell(&format!(
            "run `{}` is {} and has not ended: the bundle says what is recorded so far",
            run.run_id, run.state
        ));
    }
    for finding in &written.findings {
        let of = finding.task.as_ref().map(|task| format!(" of task `{task}`")).unwrap_or_default();
        let (kind, path) = (finding.kind.as_str(), &finding.path);
        tell(&one_line(&format!("warning: {kind} `{path}`{of} is {}", finding.integrity.as_str())));
    }
    let more = written.verified.findings() - written.findings.len() as u64;
    if more > 0 {
        tell(&format!("warning: and {more} more files are not as recorded; the report lists them"));
    }
    if written.withheld > 0 {
        tell(&format!(
            "{} file(s) hold a secret of their task: the bundle has their digests alone and names them under `withheld`",
            written.withheld
        ));
    }
    if written.omitted > 0 {
        let what =
            "are named in the record and are not in the bundle: evidence.json says under `omitted` which and why";
        tell(&format!("{} file(s) {what}", written.omitted));
    }
    if written.unsigned {
        tell(UNSIGNED);
    }
    miss(&written.about);
    if written.still_named {
        tell(
            "warning: what the campaign was given or answered, or a task, tells a name that is redacted elsewhere; it \
             cannot be changed without making the record another",
        );
    }
}

/// Says what those will miss who find the bundle without its run.
fn miss(about: &About) {
    let missing = about.missing();
    if let Some((last, before)) = missing.split_last() {
        let all = if before.is_empty() { last.clone() } else { format!("{} and {last}", before.join(", ")) };
        tell(&one_line(&format!(
            "the bundle does not say {all}: give --license and --author, or `evidence` in the configuration"
        )));
    }
}
