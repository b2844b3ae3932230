//! The texts a cluster gets: the options of `sbatch`, the job script of one attempt, the wrapper of an array.
//!
//! The job script is for people and for the site: it lies in the attempt directory and can be laid out by a template.
//! The wrapper is the host's own: it claims the attempt, runs the job script and records its end.
use super::site::Place;
use crate::backend::job::{Command, JobDocument, shell_text};
use crate::backend::setup::guarded;
use crate::ground::files::read_regular;
use crate::ground::words::quoted;
use crate::model::attempt_dir::JOB_SCRIPT;
use crate::model::config::SlurmConfig;
use crate::model::exit::EXIT_FORMAT;
use crate::model::time::Time;
use crate::model::workflow::Resources;
use minijinja::{Environment, context};
use std::path::Path;

/// The longest job script that is read back, in bytes.
const SCRIPT_MAX: u64 = 64 * 1024 * 1024;

/// In the claim: which line of `setup` ended the job script, and with what.
const SETUP: &str = "setup";

/// The built-in job script. A login shell knows `module`, which is what `setup` is for.
const TEMPLATE: &str = include_str!("job.sh.jinja");

/// What a site's template may use.
pub const TEMPLATE_VARIABLES: [&str; 7] = ["attempt", "options", "env", "setup", "launcher", "command", "resources"];

/// Lines that the job script ends with: which submit it belongs to. A job of another submit does not run it.
pub(super) fn ticket(array: &str, index: u32) -> String {
    format!("# matterstack: {array} {index}")
}

/// Finds the ticket in a job script.
fn read_ticket(script: &str) -> Option<(String, u32)> {
    let line = script.lines().rev().find_map(|line| line.strip_prefix("# matterstack: "))?;
    let (array, index) = line.split_once(' ')?;
    super::array::is_name(array).then_some((array.to_owned(), index.parse().ok()?))
}

/// The ticket of the job script in an attempt directory, where its job can put anything in the script's place.
pub(super) fn ticket_in(directory: &Path) -> Option<(String, u32)> {
    let script = read_regular(&directory.join(JOB_SCRIPT), SCRIPT_MAX).ok()??;
    read_ticket(&String::from_utf8_lossy(&script))
}

/// Checks a site's template of the job script.
///
/// # Errors
/// If it cannot be parsed, or uses something that is not there.
pub fn check_template(template: &str) -> Result<(), String> {
    let command = Command::Argv(vec!["true".to_owned()]);
    let job = JobDocument {
        command,
        env: Default::default(),
        resources: Resources::default(),
        outputs: Vec::new(),
        launcher: None,
    };
    if let Ok(parsed) = Environment::new().template_from_str(template) {
        let mut used: Vec<String> = parsed.undeclared_variables(false).into_iter().collect();
        used.sort();
        if let Some(name) = used.iter().find(|name| !TEMPLATE_VARIABLES.contains(&name.as_str())) {
            return Err(format!("there is no variable `{name}`"));
        }
    }
    let script = render(template, &SlurmConfig::default(), &job, "0", &[])?;
    if script.starts_with("#!") { Ok(()) } else { Err("the script does not begin with `#!`".to_owned()) }
}

/// The job script of one attempt, with its ticket at the end once it has one.
pub(super) fn job_script(
    settings: &SlurmConfig,
    job: &JobDocument,
    attempt: &str,
    options: &[String],
    ticket: Option<&str>,
) -> Result<String, String> {
    let plain = |name: &str| {
        !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if let Some(name) = job.env.keys().find(|name| !plain(name)) {
        return Err(format!("`{}` cannot name a variable of a shell", name.escape_default()));
    }
    let template = settings.template.as_deref().unwrap_or(TEMPLATE);
    let script = render(template, settings, job, attempt, options)?;
    let ticket = ticket.map(|ticket| format!("{ticket}\n")).unwrap_or_default();
    Ok(format!("{}\n{ticket}", script.trim_end()))
}

fn render(
    template: &str,
    settings: &SlurmConfig,
    job: &JobDocument,
    attempt: &str,
    options: &[String],
) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.add_filter("quote", |text: String| quoted(&text));
    let texts = job.env.iter().filter_map(|(name, value)| Some((name, value.text()?)));
    let mut env: Vec<String> = texts.map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    env.push(format!("MATTERSTACK_ATTEMPT={attempt}"));
    let resources = &job.resources;
    let context = context! {
        attempt,
        options => options.to_vec(),
        env,
        setup => setup(settings),
        launcher => job.launcher.as_ref().map(|launcher| shell_text(launcher, None)).unwrap_or_default(),
        command => shell_text(&job.command, Some(&settings.shell)),
        resources => context! {
            cores => resources.cores,
            memory_mb => resources.memory_mb,
            gpus => resources.gpus,
            walltime_s => resources.walltime_s,
            nodes => resources.nodes,
            tasks => resources.tasks,
        },
    };
    environment.render_str(template, context).map_err(|error| {
        std::iter::successors(std::error::Error::source(&error), |error| error.source())
            .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
    })
}

/// The variables of a job that are set to a secret, as the wrapper reads them: `VARIABLE=NAME`. The job script has none
/// of them: a template could put what they hold where others see it.
pub(super) fn secrets(job: &JobDocument) -> Vec<String> {
    job.env.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.secret()?))).collect()
}

/// The lines of `setup`; which one failed is noted in the claim.
fn setup(settings: &SlurmConfig) -> Vec<String> {
    if settings.setup_may_fail {
        return settings.setup.clone();
    }
    guarded(&settings.setup, &format!("\"$MATTERSTACK_CLAIM/{SETUP}\""), "MATTERSTACK_CLAIM ")
}

/// The arguments of `sbatch` that a job's resources and the site's settings make. Jobs with the same ones share an
/// array.
pub(super) fn options(settings: &SlurmConfig, resources: &Resources) -> Vec<String> {
    let mut all = Vec::new();
    let mut option = |name: &str, value: Option<String>| all.extend(value.map(|value| format!("--{name}={value}")));
    option("partition", settings.partition.clone());
    option("account", settings.account.clone());
    option("qos", settings.qos.clone());
    option("constraint", settings.constraint.clone());
    let gpus = resources.gpus.filter(|gpus| *gpus > 0).map(|gpus| format!("gpu:{gpus}"));
    let gres: Vec<String> = settings.gres.clone().into_iter().chain(gpus).collect();
    option("gres", (!gres.is_empty()).then(|| gres.join(",")));
    option("nodes", resources.nodes.map(|nodes| nodes.to_string()));
    option("ntasks", resources.tasks.map(|tasks| tasks.to_string()));
    option("cpus-per-task", resources.cores.map(|cores| cores.to_string()));
    option("mem", resources.memory_mb.map(|memory| format!("{memory}M")));
    option("time", resources.walltime_s.map(|seconds| ((seconds / 60.0).ceil().max(1.0) as u64).to_string()));
    if resources.walltime_s.is_none() {
        option("signal", resources.signal_before_s.map(|seconds| format!("B:USR1@{seconds}")));
    }
    all.extend(settings.extra_args.iter().cloned());
    all
}

/// The wrapper of an array that is handed in at this time.
pub(super) fn wrapper(place: &Place, array: &str, resources: &Resources, queued_at: Time) -> String {
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let warn = resources.walltime_s.zip(resources.signal_before_s);
    let head = format!(
        "#!/bin/sh\n# Runs the elements of array {array}: each claims its attempt, runs the job script there and records \
         the end.\nformat={EXIT_FORMAT}\nbase={}\nmap={}\nmarks={}\narray={array}\nwall={}\nwarn={}\nqueued={queued_at}\n",
        quoted(&place.base),
        quoted(&place.map),
        quoted(&place.marks),
        number(resources.walltime_s),
        number(warn.map(|(wall, before)| (wall - f64::from(before)).max(0.0))),
    );
    head + WRAPPER
}

/// Exit codes 120 to 122 mean that nothing was started. The exit record is whole or not there, and durable before it is
/// seen. Signals of the scheduler reach the command by themselves, except for USR1, which the wrapper passes on.
const WRAPPER: &str = include_str!("wrapper.sh");
