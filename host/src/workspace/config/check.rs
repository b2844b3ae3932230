//! What a configuration cannot mean, although it is of the form that configurations have.
use super::layers::{FORMAT, Wrong};
use super::notify;
use super::operators;
use super::rules;
use crate::model::config::{ASK_TELL, AnalyzeMode, BackendConfig, LocalConfig, RunConfig, SlurmConfig, names_a_secret};
use crate::model::document::{self, INTEGER_MAX, Place};
use crate::model::limit::{Limit, Limits};
use crate::model::misfit;
use crate::model::pool::check_names;
use crate::model::recorded::RecordedCommand;
use crate::model::workflow::{Task, nearest};
use serde_json::Value;
use std::collections::BTreeSet;

/// The most commands of `record`: each takes a moment before a run is made.
const RECORD_MAX: usize = 20;

/// Refuses a configuration that cannot be meant.
pub(super) fn check(config: &RunConfig) -> Result<(), Wrong> {
    let plain = |name: &str| {
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=64).contains(&name.len()) && name.chars().all(fine)
    };
    let mut names = config.operators.keys().chain(config.backends.keys()).chain(config.campaign.inputs.keys());
    if let Some(name) = names.find(|name| !plain(name)) {
        let kind = ["operators", "backends", "campaign.inputs"];
        let kind =
            kind.into_iter().zip([config.operators.contains_key(name), config.backends.contains_key(name), true]);
        let kind = kind.into_iter().find(|(_, holds)| *holds).map_or("", |(kind, _)| kind);
        return Err(Wrong::new(
            kind,
            format!("`{}` cannot name an operator, a backend or an input", name.escape_debug()),
        )
        .hint("use 1 to 64 letters, digits, `-` and `_`"));
    }
    if config.campaign.seed > INTEGER_MAX {
        let what = format!("campaign.seed is {}; at most {INTEGER_MAX} (2^53 - 1) is exact", config.campaign.seed);
        return Err(Wrong::new("campaign.seed", what));
    }
    if config.machine.is_some() {
        let what = "machine stands in the configuration of a run, and all runs share one machine";
        return Err(Wrong::new("machine", what).hint(
            "write it into ~/.config/matterstack/config.json; what a run may take is `cores`, `memory_mb` and `gpus` \
             of its backend",
        ));
    }
    exact("campaign.params", &config.campaign.params)?;
    if config.campaign.plugin == ASK_TELL && config.campaign.analyze == Some(AnalyzeMode::Workflow) {
        let what = format!("campaign.analyze is `workflow`, and {ASK_TELL} is told each result as it comes");
        return Err(Wrong::new("campaign.analyze", what).hint("leave it out"));
    }
    check_operators(config)?;
    check_reuse(config)?;
    for (name, backend) in &config.backends {
        match backend {
            BackendConfig::Local(local) => check_local(name, local)?,
            BackendConfig::Slurm(slurm) => check_slurm(name, slurm)?,
        }
    }
    check_limits(&config.limits)
}

fn check_local(name: &str, local: &LocalConfig) -> Result<(), Wrong> {
    at_least_one(&format!("backends.{name}.cores"), u64::from(local.cores))?;
    at_least_one(&format!("backends.{name}.memory_mb"), local.memory_mb.unwrap_or(1))?;
    if let Err(why) = check_names(local.gpus.iter().flatten()) {
        let key = format!("backends.{name}.gpus");
        return Err(Wrong::new(&key, format!("{key} {why}")));
    }
    for pattern in &local.pass_env {
        let key = format!("backends.{name}.pass_env");
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '*');
        if pattern.is_empty() || !pattern.chars().all(plain) {
            let what = format!("{key} has `{}`, which is no pattern of names", pattern.escape_debug());
            return Err(Wrong::new(&key, what).hint("write names of variables, with `*` for any letters: `OMP_*`"));
        }
        if names_a_secret(pattern) {
            let what = format!("{key} has `{pattern}`, which looks like the name of a secret");
            let hint = "what is passed stands in the record of the run, which others read; a task gets it as {\"secret\": NAME} in its `env`";
            return Err(Wrong::new(&key, what).hint(hint));
        }
    }
    let key = format!("backends.{name}.record");
    let wrong =
        |what: &str| Err(Wrong::new(&key, format!("{key} {what}")).hint("write lines such as `python3 --version`"));
    let mut commands = local.record.iter().map(RecordedCommand::command);
    if commands.clone().any(|command| command.trim().is_empty() || command.contains('\0')) {
        return wrong("has a command that is empty or holds a NUL character");
    }
    let mut seen = BTreeSet::new();
    match commands.find(|command| !seen.insert(*command)) {
        Some(twice) => wrong(&format!("has `{}` twice", twice.escape_debug())),
        None if local.record.len() > RECORD_MAX => wrong(&format!("has more than {RECORD_MAX} commands")),
        None => Ok(()),
    }
}

fn check_operators(config: &RunConfig) -> Result<(), Wrong> {
    for (key, operator) in &config.operators {
        exact(&format!("operators.{key}.config"), &operator.config)?;
        if let Some(backend) = operator.grants.compute.iter().find(|name| !config.backends.contains_key(*name)) {
            let near = nearest(backend, config.backends.keys().map(String::as_str));
            let hint = near.map_or_else(
                || format!("add `\"backends\": {{\"{backend}\": {{\"kind\": \"local\"}}}}`"),
                |near| format!("did you mean `{near}`?"),
            );
            let what = format!("operators.{key}.grants.compute names backend `{backend}`, which is not configured");
            return Err(Wrong::new(&format!("operators.{key}.grants.compute"), what).hint(hint));
        }
        if let Some(exchange) = operator.grants.exchange.as_ref().filter(|path| !path.is_absolute()) {
            let what = format!("operators.{key}.grants.exchange is `{}`, which is not absolute", exchange.display());
            return Err(Wrong::new(&format!("operators.{key}.grants.exchange"), what)
                .hint("a run may be moved: write the whole path, such as `/mnt/robot/exchange`"));
        }
        at_least_one(&format!("operators.{key}.max_active"), operator.max_active.unwrap_or(1))?;
    }
    Ok(())
}

fn check_reuse(config: &RunConfig) -> Result<(), Wrong> {
    let Some(reuse) = &config.reuse else { return Ok(()) };
    let named = reuse.operators.iter().flatten();
    if let Some(key) = named.into_iter().find(|key| !config.operators.contains_key(*key)) {
        let near = nearest(key, config.operators.keys().map(String::as_str));
        let wrong = Wrong::new("reuse.operators", format!("reuse.operators names `{key}`, which is not configured"));
        return Err(match near {
            Some(near) => wrong.hint(format!("did you mean `{near}`?")),
            None => wrong,
        });
    }
    let name = |from: &&String| from.is_empty() || from.contains(['/', '\0']) || from.starts_with('.');
    if let Some(from) = reuse.from.as_ref().filter(name) {
        let what = format!("reuse.from is `{}`, which is no run of the workspace", from.escape_debug());
        return Err(
            Wrong::new("reuse.from", what).hint("give the id of a run, `latest`, or `workspace` for all of them")
        );
    }
    Ok(())
}

fn check_limits(limits: &Limits) -> Result<(), Wrong> {
    let numbers = [
        ("limits.max_active", limits.max_active),
        ("limits.max_tasks", limits.max_tasks),
        ("limits.attempt_files", limits.attempt_files),
        ("limits.attempt_mb", limits.attempt_mb),
        ("limits.plugin.memory_mb", limits.plugin.memory_mb),
        ("limits.plugin.call_ms", limits.plugin.call_ms),
        ("limits.plugin.fuel", limits.plugin.fuel),
        ("limits.plugin.output_mb", limits.plugin.output_mb),
        ("limits.plugin.table_elements", limits.plugin.table_elements),
        ("limits.plugin.host_calls", limits.plugin.host_calls),
    ];
    numbers.into_iter().try_for_each(|(name, value)| at_least_one(name, value))
}

/// Refuses what only a new run can say.
pub(super) fn check_new(config: &RunConfig) -> Result<(), Wrong> {
    if config.format != FORMAT {
        let wrong = Wrong::new("format", format!("the configuration is of format {}", config.format));
        return Err(wrong.hint(format!("this version reads format {FORMAT}")));
    }
    Ok(())
}

/// Refuses what can only make everything fail, where it is being written. A run that has it already must stay readable.
pub(super) fn check_now(config: &RunConfig) -> Result<(), Wrong> {
    let limits = [Limit::AttemptLogMb, Limit::Handles, Limit::PlanMs, Limit::CompileMemoryMb, Limit::CompileCpuS];
    limits.into_iter().try_for_each(|limit| at_least_one(limit.key(), config.limits.get(limit)))?;
    rules::check(config)?;
    notify::check(config)?;
    operators::check(config)
}

/// Refuses a document that plugins would not all read alike.
fn exact(place: &str, value: &Value) -> Result<(), Wrong> {
    document::check(&value.to_string()).map_err(|fault| Wrong::new(place, place).because(fault.sentence()))
}

fn check_slurm(name: &str, slurm: &SlurmConfig) -> Result<(), Wrong> {
    let wrong = |key: &str, why: String| {
        let key = format!("backends.{name}.{key}");
        Err(Wrong::new(&key, format!("{key} {why}")))
    };
    let texts = [
        ("partition", &slurm.partition),
        ("account", &slurm.account),
        ("qos", &slurm.qos),
        ("gres", &slurm.gres),
        ("constraint", &slurm.constraint),
    ];
    let texts = texts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?)));
    let words = slurm.extra_args.iter().map(|word| ("extra_args", word));
    for (key, text) in texts.chain(words) {
        if text.is_empty() || text.chars().any(char::is_control) {
            return wrong(key, format!("holds `{}`, which is no argument of sbatch", text.escape_debug()));
        }
    }
    if let Err(why) = check_extra_args(&slurm.extra_args) {
        return wrong("extra_args", why);
    }
    if let Some(root) = &slurm.remote_root
        && (root.chars().any(char::is_control) || !root.starts_with(['/', '~', '$']))
    {
        return wrong("remote_root", format!("is `{}`; it begins with `/`, `~/` or a variable", root.escape_debug()));
    }
    if slurm.setup.iter().any(|line| line.contains('\0')) || slurm.template.iter().any(|text| text.contains('\0')) {
        return wrong("setup", "or `template` holds a NUL character".to_owned());
    }
    if !(slurm.poll_interval_s.is_finite() && (0.1..=86_400.0).contains(&slurm.poll_interval_s)) {
        return wrong("poll_interval_s", format!("is {}; between 0.1 and 86400 is needed", slurm.poll_interval_s));
    }
    if !(slurm.grace_s.is_finite() && (1.0..=86_400.0).contains(&slurm.grace_s)) {
        return wrong("grace_s", format!("is {}; between 1 and 86400 is needed", slurm.grace_s));
    }
    if let Some(template) = &slurm.template
        && let Err(error) = crate::backend::slurm::check_template(template)
    {
        let key = format!("backends.{name}.template");
        return Err(Wrong::new(&key, format!("{key} is not a valid template"))
            .because(error)
            .hint(format!("it is Jinja; its variables are {}", crate::backend::slurm::TEMPLATE_VARIABLES.join(", "))));
    }
    at_least_one(&format!("backends.{name}.submits_per_minute"), u64::from(slurm.submits_per_minute))?;
    at_least_one(&format!("backends.{name}.array_max"), u64::from(slurm.array_max))
}

/// Refuses arguments that the backend itself sets.
fn check_extra_args(words: &[String]) -> Result<(), String> {
    let ours = ["--array", "-a", "--job-name", "-J", "--requeue", "--export", "--output", "-o", "--wrap", "--parsable"];
    if words.iter().any(|word| word == "--comment") {
        return Err("holds `--comment`; write it as one word: `--comment=TEXT`".to_owned());
    }
    // sbatch takes `-a0-3` and `--arr=0-3` as well
    let is = |word: &str, option: &str| match word.split('=').next().unwrap_or(word) {
        name if name.starts_with("--") => name.len() > 2 && option.starts_with(name),
        _ => !option.starts_with("--") && word.starts_with(option),
    };
    match words.iter().find(|word| ours.iter().any(|option| is(word, option))) {
        Some(word) => Err(format!("holds `{word}`, which the backend itself sets")),
        None => Ok(()),
    }
}

fn at_least_one(name: &str, value: u64) -> Result<(), Wrong> {
    if value > 0 { Ok(()) } else { Err(Wrong::new(name, format!("{name} is 0; at least 1 is needed"))) }
}

/// Refuses tasks of `builtin:workflow` that stand in the configuration and are not of the form that tasks have, while
/// it is known in which line they stand. What depends on more than one task is the plan's own business.
pub(super) fn check_tasks(config: &RunConfig) -> Result<(), Wrong> {
    if config.campaign.plugin != "builtin:workflow" {
        return Ok(());
    }
    let tasks = config.campaign.params.get("tasks").and_then(Value::as_array);
    for (position, task) in tasks.into_iter().flatten().enumerate() {
        if let Err(misfit) = misfit::fit::<Task>(task) {
            let id = task.get("id").and_then(Value::as_str);
            let id = id.map_or_else(String::new, |id| format!(" (task `{}`)", id.escape_debug()));
            let place = ["campaign", "params", "tasks"].map(|key| Place::Key(key.to_owned()));
            let task = place.into_iter().chain([Place::Index(position)]).collect::<Vec<_>>();
            let what = format!("`{}`{id}: {}", document::way(&task), misfit.sentence());
            let wrong = Wrong::at(task.into_iter().chain(misfit.place.iter().cloned()).collect(), what);
            return Err(match &misfit.near {
                Some(near) => {
                    wrong.hint(format!("did you mean `{near}`? `matterstack config schema tasks` prints every key"))
                }
                None => wrong.hint("`matterstack config schema tasks` prints every key and its type"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_slurm;
    use serde_json::json;

    #[test]
    fn what_the_backend_sets_itself_is_no_further_argument() {
        let check = |value: serde_json::Value| check_slurm("c", &serde_json::from_value(value).expect("settings"));
        for word in ["--array=0-3", "-a0-3", "-a", "--arr=0-3", "-Jx", "--exp=ALL", "-o/dev/null", "--requeue"] {
            assert!(check(json!({"extra_args": [word]})).is_err(), "{word}");
        }
        for word in ["--export-file=x", "--account=a", "-A", "--nice=7", "--exclusive", "--error=x"] {
            assert!(check(json!({"extra_args": [word]})).is_ok(), "{word}");
        }
        for seconds in [0.0, -1.0, 1e300] {
            assert!(check(json!({"poll_interval_s": seconds})).is_err(), "{seconds}");
        }
    }
}
