//! `cargo xtask lint`: format, lints and documentation, with every warning an error, and what deny.toml asks of
//! dependencies.
use crate::project::{Project, packages_arguments, run, say};
use crate::runners;
use crate::tools;
use anyhow::{Context, Result};

const STRICT: [&str; 3] = ["--", "--deny", "warnings"];

/// Checks every crate; guests as components too.
pub(crate) fn lint(project: &Project) -> Result<()> {
    tools::ensure(project, tools::FOR_LINT)?;
    let members = project.members()?;
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let guests: Vec<&str> = members.iter().filter(|member| member.guest).map(|member| member.name.as_str()).collect();
    // apart, as in `test`: together they would ask other features of shared crates
    let (host, others): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| **name == "matterstack");

    say("format");
    run(&mut project.cargo(["fmt", "--all", "--check"]))?;
    for packages in [&host, &others] {
        say(&format!("lints: {}", packages.join(", ")));
        let mut clippy = project.cargo(["clippy", "--quiet", "--release", "--all-targets"]);
        run(clippy.args(packages_arguments(packages)).args(STRICT))?;
    }
    say("licences and sources of dependencies");
    let deny = tools::CARGO_DENY.program(project).context("bug: cargo-deny has no path")?;
    let quiet = ["--log-level", "error", "check", "--hide-inclusion-graph"];
    run(project.command(&deny).args(quiet).args(["licenses", "bans", "sources"]))?;
    for manifest in runners::manifests() {
        let own = ["--manifest-path", &manifest, "--config", "deny.toml"];
        run(project.command(&deny).args(own).args(quiet).args(["licenses", "bans", "sources"]))?;
    }
    say("the runners of scripts");
    for mut check in runners::lints(project) {
        run(&mut check)?;
    }
    say(&format!("lints, as components: {}", guests.join(", ")));
    run(project.guest_cargo("clippy", &guests).arg("--quiet").args(STRICT))?;
    for packages in [&host, &others] {
        say(&format!("documentation: {}", packages.join(", ")));
        let mut doc = project.cargo(["doc", "--quiet", "--release", "--no-deps"]);
        run(doc.env("RUSTDOCFLAGS", "--deny warnings").args(packages_arguments(packages)))?;
    }
    Ok(())
}
