//! Reads config.json: merges what `--set`, the workspace and the user say, and checks it.
use crate::failure::{Failure, FailureKind};
use crate::model::config::{BackendConfig, Limits, RunConfig, SlurmConfig};
use crate::model::document::{self, INTEGER_MAX};
use crate::model::workflow::nearest;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Where a site's or a person's own settings lie: `$XDG_CONFIG_HOME` or `~/.config`, then `matterstack/config.json`.
pub fn user_config() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CONFIG_HOME").filter(|path| Path::new(path).is_absolute());
    let base =
        base.map(PathBuf::from).or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")));
    base.map(|base| base.join("matterstack").join("config.json"))
}

/// Reads a JSON file as a value.
///
/// # Errors
/// If it is missing, unreadable or not JSON; then with line and column.
pub fn parse_document(path: &Path) -> Result<Value, Failure> {
    // A pipe that the shell made (`--config <(…)`) is read; one that lies in the place of a file would be waited for.
    let odd = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
    if odd && !path.starts_with("/dev") {
        return Err(Failure::machine(
            format!("configuration `{}` cannot be read", path.display()),
            "not a regular file",
        )
        .hint("remove what is in its place, or name a file with --config FILE"));
    }
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::input(format!("no configuration `{}`", path.display()))
            .hint("write one, or name another with --config FILE; `matterstack config schema` prints its schema"),
        _ => Failure::machine(format!("configuration `{}` cannot be read", path.display()), error),
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::input(format!("configuration `{}` is not JSON", path.display()))
            .because(error)
            .hint("mend the file at that line and column")
    })
}

/// Joins what `--set`, a configuration file and the user's own file say, in this order of precedence, and checks it.
///
/// # Errors
/// If a file cannot be read, or the result is not a valid configuration.
pub fn resolve(file: &Path, user: Option<&Path>, sets: &[String]) -> Result<RunConfig, Failure> {
    let mut value = match user.filter(|path| path.exists()) {
        Some(path) => parse_document(path)?,
        None => Value::Object(Map::new()),
    };
    let given = parse_document(file)?;
    if given.get("pinned").is_some() {
        return Err(Failure::input(format!("`{}` has the key `pinned`, which only `init` writes", file.display()))
            .hint("remove it"));
    }
    merge(&mut value, given);
    for set in sets {
        set_value(&mut value, set)?;
    }
    let config = parse(&value, &file.display().to_string())?;
    check(&config)?;
    Ok(config)
}

/// Reads the configuration of one backend: from a file, over the user's own.
///
/// # Errors
/// If a file cannot be read, or no such backend is configured, or not validly.
pub fn backend_config(name: &str, file: Option<&Path>, user: Option<&Path>) -> Result<BackendConfig, Failure> {
    let mut value = Value::Object(Map::new());
    for path in user.filter(|path| path.exists()).into_iter().chain(file) {
        merge(&mut value, parse_document(path)?);
    }
    let backends = value.get("backends").and_then(Value::as_object);
    let Some(found) = backends.and_then(|backends| backends.get(name)) else {
        let names = backends.into_iter().flat_map(|backends| backends.keys().map(String::as_str));
        let hint = match nearest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name the configuration with --workspace W or --config FILE".to_owned(),
        };
        return Err(Failure::input(format!("no backend `{name}` is configured")).hint(hint));
    };
    let alone = serde_json::json!({"campaign": {"plugin": "builtin:workflow"}, "backends": {name: found}});
    let mut config = parse(&alone, &file.or(user).unwrap_or(Path::new("config.json")).display().to_string())?;
    check(&config)?;
    config.backends.remove(name).ok_or_else(|| Failure::of(FailureKind::Bug, "a backend just read is not there"))
}

/// Reads a run's resolved configuration from its text.
///
/// # Errors
/// If it is not a valid configuration.
pub fn read_run_config(text: &[u8], name: &str) -> Result<RunConfig, Failure> {
    let value: Value = serde_json::from_slice(text)
        .map_err(|error| Failure::input(format!("configuration `{name}` is not JSON")).because(error))?;
    let config = parse(&value, name)?;
    check(&config)?;
    Ok(config)
}

/// Lays one document over another: objects are joined, anything else is replaced.
fn merge(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                match below.get_mut(&key) {
                    // entries of another kind do not mix: `kind` says which keys belong together
                    Some(old) if old.get("kind") == value.get("kind") || value.get("kind").is_none() => {
                        merge(old, value);
                    }
                    _ => {
                        below.insert(key, value);
                    }
                }
            }
        }
        (below, above) => *below = above,
    }
}

/// Sets one value, given as `KEY=VALUE`; dots separate keys, the value is JSON if it parses, else text.
///
/// # Errors
/// If there is no `=`, a key is empty, or the path leads through something that is not an object.
pub fn set_value(document: &mut Value, text: &str) -> Result<(), Failure> {
    let wrong = |why: &str| {
        Failure::input(format!("`--set {text}`: {why}")).hint("write it as --set KEY=VALUE; dots separate keys")
    };
    let (path, value) = text.split_once('=').ok_or_else(|| wrong("there is no `=`"))?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    let mut place = document;
    for key in path.split('.') {
        if key.is_empty() {
            return Err(wrong("a key is empty"));
        }
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let object = place.as_object_mut().ok_or_else(|| wrong(&format!("what holds `{key}` is not an object")))?;
        place = object.entry(key).or_insert(Value::Null);
    }
    *place = value;
    Ok(())
}

fn parse(value: &Value, name: &str) -> Result<RunConfig, Failure> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let place = error.path().to_string();
        let cause = plain_cause(error.into_inner().to_string());
        let place = if place == "." { String::new() } else { format!(" at `{place}`") };
        let failure = Failure::input(format!("configuration `{name}` is not valid{place}")).because(&cause);
        match near_key(&cause) {
            Some(near) => failure.hint(format!("did you mean `{near}`? `matterstack config schema` prints every key")),
            None => failure.hint("`matterstack config schema` prints every key and its type"),
        }
    })
}

/// A cause without the names of our types, which mean nothing to whoever writes the file.
fn plain_cause(message: String) -> String {
    match message.split_once("expected struct ") {
        Some((before, _)) => format!("{before}expected an object"),
        None => message,
    }
}

/// The valid key nearest to the one serde refused: its message lists them in backticks.
fn near_key(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let wrong = quoted.next().filter(|_| message.starts_with("unknown "))?;
    let known: Vec<&str> = quoted.collect();
    nearest(wrong, known.iter().copied()).map(str::to_owned)
}

fn check(config: &RunConfig) -> Result<(), Failure> {
    let plain = |name: &str| {
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=64).contains(&name.len()) && name.chars().all(fine)
    };
    let mut names = config.operators.keys().chain(config.backends.keys()).chain(config.campaign.inputs.keys());
    if let Some(name) = names.find(|name| !plain(name)) {
        return Err(Failure::input(format!("`{name}` cannot name an operator, a backend or an input"))
            .hint("use 1 to 64 letters, digits, `-` and `_`"));
    }
    if config.campaign.seed > INTEGER_MAX {
        return Err(Failure::input(format!(
            "campaign.seed is {}; at most {INTEGER_MAX} is exact in JSON",
            config.campaign.seed
        )));
    }
    exact("campaign.params", &config.campaign.params)?;
    check_operators(config)?;
    for (name, backend) in &config.backends {
        match backend {
            BackendConfig::Local { slots } => at_least_one(&format!("backends.{name}.slots"), u64::from(*slots))?,
            BackendConfig::Slurm(slurm) => check_slurm(name, slurm)?,
        }
    }
    check_limits(&config.limits)
}

fn check_operators(config: &RunConfig) -> Result<(), Failure> {
    for (key, operator) in &config.operators {
        exact(&format!("operators.{key}.config"), &operator.config)?;
        if let Some(backend) = operator.grants.compute.iter().find(|name| !config.backends.contains_key(*name)) {
            let near = nearest(backend, config.backends.keys().map(String::as_str));
            let hint = near.map_or_else(
                || format!("add `\"backends\": {{\"{backend}\": {{\"kind\": \"local\"}}}}`"),
                |near| format!("did you mean `{near}`?"),
            );
            let what = format!("operators.{key}.grants.compute names backend `{backend}`, which is not configured");
            return Err(Failure::input(what).hint(hint));
        }
        if let Some(exchange) = operator.grants.exchange.as_ref().filter(|path| !path.is_absolute()) {
            let what = format!("operators.{key}.grants.exchange is `{}`, which is not absolute", exchange.display());
            return Err(
                Failure::input(what).hint("a run may be moved: write the whole path, such as `/mnt/robot/exchange`")
            );
        }
        at_least_one(&format!("operators.{key}.max_active"), operator.max_active.unwrap_or(1))?;
    }
    Ok(())
}

fn check_limits(limits: &Limits) -> Result<(), Failure> {
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

/// Refuses a document that plugins would not all read alike.
fn exact(place: &str, value: &Value) -> Result<(), Failure> {
    document::check(&value.to_string()).map_err(|error| Failure::input(place.to_owned()).because(error))
}

fn check_slurm(name: &str, slurm: &SlurmConfig) -> Result<(), Failure> {
    let wrong = |key: &str, why: String| Err(Failure::input(format!("backends.{name}.{key} {why}")));
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
    if slurm.extra_args.iter().any(|word| word == "--comment") {
        return wrong("extra_args", "holds `--comment`; write it as one word: `--comment=TEXT`".to_owned());
    }
    let ours = ["--array", "-a", "--job-name", "-J", "--requeue", "--export", "--output", "-o", "--wrap", "--parsable"];
    // sbatch takes `-a0-3` and `--arr=0-3` as well
    let is = |word: &str, option: &str| match word.split('=').next().unwrap_or(word) {
        name if name.starts_with("--") => name.len() > 2 && option.starts_with(name),
        _ => !option.starts_with("--") && word.starts_with(option),
    };
    if let Some(word) = slurm.extra_args.iter().find(|word| ours.iter().any(|option| is(word, option))) {
        return wrong("extra_args", format!("holds `{word}`, which the backend itself sets"));
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
        return Err(Failure::input(format!("backends.{name}.template is not a valid template"))
            .because(error)
            .hint(format!("it is Jinja; its variables are {}", crate::backend::slurm::TEMPLATE_VARIABLES.join(", "))));
    }
    at_least_one(&format!("backends.{name}.submits_per_minute"), u64::from(slurm.submits_per_minute))?;
    at_least_one(&format!("backends.{name}.array_max"), u64::from(slurm.array_max))
}

fn at_least_one(name: &str, value: u64) -> Result<(), Failure> {
    if value > 0 { Ok(()) } else { Err(Failure::of(FailureKind::Input, format!("{name} is 0; at least 1 is needed"))) }
}

#[cfg(test)]
mod tests {
    use super::{check_slurm, merge, near_key, set_value};
    use serde_json::json;

    #[test]
    fn a_set_value_is_json_if_it_parses() {
        let mut document = json!({"campaign": {"params": {"batch": 5}}});
        for set in ["campaign.params.batch=8", "campaign.plugin=a.wasm", "limits.max_active=3", "campaign.note=a=b"] {
            set_value(&mut document, set).expect(set);
        }
        let expected = json!({
            "campaign": {"params": {"batch": 8}, "plugin": "a.wasm", "note": "a=b"}, "limits": {"max_active": 3},
        });
        assert_eq!(document, expected);
        for wrong in ["campaign", "=3", "a..b=3", "campaign.plugin.x=3"] {
            assert!(set_value(&mut document, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn objects_are_joined_and_kinds_are_not() {
        let mut below = json!({"backends": {"local": {"kind": "local", "slots": 8}, "hpc": {"kind": "slurm", "x": 1}}});
        merge(&mut below, json!({"backends": {"local": {"kind": "local"}, "hpc": {"kind": "local"}}, "n": [1]}));
        let expected =
            json!({"backends": {"local": {"kind": "local", "slots": 8}, "hpc": {"kind": "local"}}, "n": [1]});
        assert_eq!(below, expected);
    }

    #[test]
    fn a_mistyped_key_has_a_near_one() {
        let message = "unknown field `campain`, expected one of `campaign`, `operators`";
        assert_eq!(near_key(message).as_deref(), Some("campaign"));
        assert_eq!(near_key("missing field `campaign`"), None);
    }

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
