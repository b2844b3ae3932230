//! `report`: writes the page of a run.
use super::output::{print, print_json, tell};
use super::{Session, shown};
use crate::failure::{Failure, FailureKind};
use crate::ground::files::new_file;
use crate::results::{self, Wanted};
use crate::workspace::{self, kept_config, read_store};
use clap::Args;
use serde_json::json;
use std::io::{BufWriter, IntoInnerError};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The run
    #[arg(default_value = "latest")]
    run: String,
    /// Where to [default: report.html in the run directory]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A JSON output whose numbers are drawn, by its path; also several
    #[arg(long, value_name = "FILE")]
    fields: Vec<String>,
    /// A number of which the least is best, such as y.loss with --fields y.json; also several
    #[arg(long, value_name = "NAME")]
    minimize: Vec<String>,
    /// A number of which the largest is best; also several
    #[arg(long, value_name = "NAME")]
    maximize: Vec<String>,
}

pub(super) fn report(session: &Session, arguments: ReportArgs) -> Result<u8, Failure> {
    let ReportArgs { run, out, fields, minimize, maximize } = arguments;
    let dir = session.run(&run)?;
    if out.is_none() {
        workspace::refuse_other_user(&dir).map_err(|failure| match failure.kind {
            FailureKind::Input => failure.hint("name a place of your own with `--out FILE`"),
            _ => failure,
        })?;
    }
    let out = out.unwrap_or_else(|| dir.join("report.html"));
    if out.is_dir() {
        return Err(Failure::input(format!("`{}` is a directory", out.display())).hint("name a file in it"));
    }
    let store = read_store(&dir)?;
    let wanted = Wanted { fields, minimize, maximize, compared: None };
    let missing = write(&out, |file| results::report(&dir, &store, kept_config(&dir).ok().as_ref(), &wanted, file))?;
    missing.iter().for_each(|what| tell(&format!("warning: {what}")));
    if session.json {
        print_json(&json!({"run_id": dir.id(), "path": out, "missing": missing}))?;
    } else {
        print(&format!("{}\n", shown(&out)))?;
    }
    Ok(0)
}

/// Writes a file aside and puts it in place whole; an earlier one stays where that fails.
fn write<T>(out: &Path, work: impl FnOnce(&mut dyn std::io::Write) -> Result<T, Failure>) -> Result<T, Failure> {
    let wrong = |error| Failure::io(format!("`{}` cannot be written", out.display()), error);
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let aside = out.with_file_name(name);
    let mut file = BufWriter::with_capacity(256 * 1024, new_file(&aside).map_err(wrong)?);
    let written = work(&mut file).and_then(|value| {
        let file = file.into_inner().map_err(IntoInnerError::into_error).map_err(wrong)?;
        file.sync_all().and_then(|()| std::fs::rename(&aside, out)).map_err(wrong)?;
        Ok(value)
    });
    if written.is_err() {
        // what cannot be taken away is told by its name
        let _ = std::fs::remove_file(&aside);
    }
    written
}
