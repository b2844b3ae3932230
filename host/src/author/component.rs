//! Makes a component of a script, for who publishes one: beside the script it needs the SDK of its language and the
//! contract, which the binary carries, and the language's own program.
use super::build::start_in;
use super::new;
use super::scratch::scratch;
use crate::failure::{Failure, FailureKind};
use crate::ground::files::{self, read_named};
use crate::model::config::PLUGIN_MAX;
use crate::model::script::{Language, look};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The sources of which a component can be made, by how their names end.
const ENDS: [&str; 4] = ["py", "ts", "js", "mjs"];

/// The script of which a component is made: what bears its name beside it.
pub(super) fn source_of(component: &Path) -> Option<PathBuf> {
    if component.extension().is_none_or(|ending| ending != "wasm") {
        return None;
    }
    ENDS.iter().map(|ending| component.with_extension(ending)).find(|source| source.is_file())
}

/// Makes the component. What the programs print goes to `log`.
///
/// # Errors
/// If the script lacks a function, or a program is missing or fails.
pub(super) fn componentize(source: &Path, component: &Path, log: &OwnedFd) -> Result<(), Failure> {
    let unread = |error| Failure::machine(format!("`{}` cannot be read", source.display()), error);
    let source = &fs::canonicalize(source).map_err(unread)?;
    let language = Language::of(&source.to_string_lossy()).unwrap_or(Language::JavaScript);
    let found = look(language, &read_named(source, PLUGIN_MAX).map_err(unread)?);
    let (Some(world), []) = (found.world.as_deref(), found.problems.as_slice()) else {
        let why = found.problems.first().map(String::as_str).unwrap_or_default();
        return Err(Failure::of(FailureKind::Plugin, format!("`{}` {why}", source.display())));
    };
    let folder = component.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = &fs::canonicalize(folder).map_err(unread)?;
    let place = scratch()?;
    // put in place when it is whole: a build that was cut short leaves nothing that looks new
    let out = place.path().join("made.wasm");
    let put = |name: &str, text: &str| {
        let path = place.path().join(name);
        path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text))
    };
    let unwritten = |error| Failure::io(format!("`{}` cannot be written", place.path().display()), error);
    for (name, bytes) in new::files(&format!("sdk-{}", language.runner())).unwrap_or_default() {
        put(name, &String::from_utf8_lossy(bytes)).map_err(unwritten)?;
    }
    let made = Made { source, out: &out, world };
    let (name, text, commands) = match language {
        Language::Python => ("matterstack_app.py", made.python(), vec![made.with_python(folder)]),
        Language::JavaScript => ("app.js", made.javascript(), made.with_javascript().into()),
    };
    put(name, &text).map_err(unwritten)?;
    // there, so that no path that changes each time comes into what is made
    commands.iter().try_for_each(|command| start_in(command, folder, place.path(), log))?;
    put_in_place(&out, component)
}

/// Moves what a program has made to where it belongs, in one step.
pub(super) fn put_in_place(made: &Path, place: &Path) -> Result<(), Failure> {
    let lost =
        |error| Failure::machine(format!("`{}` was not made, though the build succeeded", place.display()), error);
    let bytes = read_named(made, PLUGIN_MAX).map_err(lost)?;
    // a bare name is beside nothing
    let place = Path::new(".").join(place);
    files::put(&place, &bytes, true)
        .map_err(|error| Failure::io(format!("`{}` cannot be written", place.display()), error))
}

/// What is made of what.
struct Made<'a> {
    source: &'a Path,
    out: &'a Path,
    /// `campaign` or `operator`.
    world: &'a str,
}

impl Made<'_> {
    fn world(&self) -> &'static str {
        if self.world == "operator" { "compute-operator" } else { "campaign" }
    }

    fn python(&self) -> String {
        let stem = self.source.file_stem().unwrap_or_default().to_string_lossy();
        match self.world {
            "operator" => format!(
                "import {stem} as script\n\
                 from matterstack_component.operator import CALLS, export\n\
                 OperatorCalls = export(**{{call: getattr(script, call, None) for call in CALLS}})\n"
            ),
            _ => format!(
                "from {stem} import analyze, plan\n\
                 from matterstack_component.campaign import export\n\
                 CampaignCalls = export(plan, analyze)\n"
            ),
        }
    }

    fn with_python(&self, folder: &Path) -> Vec<String> {
        let (beside, out) = (folder.display().to_string(), self.out.display().to_string());
        ["componentize-py", "-d", "wit", "-w", self.world(), "componentize", "-p", &beside, "-p", "."]
            .into_iter()
            .chain(["matterstack_app", "-o", &out])
            .map(str::to_owned)
            .collect()
    }

    fn javascript(&self) -> String {
        let (world, source) = (self.world, serde_json::Value::from(self.source.display().to_string()));
        format!(
            "import {{ {world} }} from \"./sdk/{world}.js\";\n\
             import * as script from {source};\n\
             export const {world}Calls = {world}(script);\n"
        )
    }

    /// The bundler goes first: it reads TypeScript, and takes in what came from npm. Both are started where the SDK
    /// lies.
    fn with_javascript(&self) -> [Vec<String>; 2] {
        let external = "--external:matterstack:plugin/*";
        let alias = "--alias:matterstack=./sdk/matterstack.js";
        let outfile = "--outfile=bundle.js";
        let words = ["esbuild", "app.js", "--bundle", "--format=esm", "--log-level=warning", external, alias, outfile];
        let out = self.out.display().to_string();
        let made = [
            "componentize-qjs",
            "--sync",
            "--stub-wasi",
            "-w",
            "wit",
            "-n",
            self.world(),
            "-j",
            "bundle.js",
            "-o",
            &out,
        ];
        [words.map(str::to_owned).into(), made.map(str::to_owned).into()]
    }
}
