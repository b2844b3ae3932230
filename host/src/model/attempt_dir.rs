//! The names inside an attempt directory that are not the task's: what the host, its supervisors and its wrappers write
//! there. A plan may stage none of them, and no pattern names any but [`STDOUT`] and [`STDERR`].

/// What the command printed.
pub const STDOUT: &str = "stdout";
/// What the command printed to standard error.
pub const STDERR: &str = "stderr";
/// How the command ended.
pub const EXIT: &str = "exit.json";
/// The exit record in the making.
pub(super) const EXIT_PART: &str = ".exit.json.tmp";
/// What a cluster's job runs.
pub const JOB_SCRIPT: &str = "matterstack-job.sh";
/// A person wants the job stopped.
pub const CANCEL: &str = ".cancel";
/// The directory that whoever decides over the attempt makes, for ever.
pub const CLAIM: &str = ".claim";
/// In the claim: whose it is.
pub const OWNER: &str = "owner";
/// In the claim: the host's, so that nothing starts.
pub const FENCED: &str = "fenced";
/// Where files wait until all that an attempt left on a cluster have arrived.
pub const FETCHED: &str = ".fetched";
/// Where a file from a cluster waits until all of it has arrived.
pub const PULLED: &str = ".pulled";
/// How all further names of the host's begin.
pub const PREFIX: &str = ".matterstack-";
/// On a cluster: the files that were there when the job began.
pub const STAGED: &str = ".matterstack-staged";
/// On a cluster: the files that stay there, with size and digest.
pub const KEPT: &str = ".matterstack-kept";
/// On a cluster: the attempt from which files were carried over there, and a line of `sha256sum` for each.
pub const CARRIED: &str = ".matterstack-carried";
/// On a cluster: what the wrapper runs after a command that succeeded.
pub const AFTER: &str = ".matterstack-after";
/// A staged file in the making.
pub const PART: &str = ".matterstack-part";

/// Every name but those that begin with [`PREFIX`].
pub const NAMES: [&str; 9] = [STDOUT, STDERR, EXIT, EXIT_PART, JOB_SCRIPT, CANCEL, CLAIM, FETCHED, PULLED];

/// The host's own name that a path in an attempt directory is, or lies below.
pub fn own_name(path: &str) -> Option<&str> {
    let first = path.split('/').find(|part| !part.is_empty() && *part != ".")?;
    (NAMES.contains(&first) || first.starts_with(PREFIX)).then_some(first)
}

/// What the command printed, which a task may name as its outputs.
pub fn is_printed(path: &str) -> bool {
    path == STDOUT || path == STDERR
}

/// The host's own names as an extended regular expression, for paths relative to an attempt directory.
pub fn own_expression() -> String {
    let plain: Vec<String> = NAMES.iter().map(|name| name.replace('.', r"\.")).collect();
    format!(r"(({})(/.*)?|{}[^/]*(/.*)?)", plain.join("|"), PREFIX.replace('.', r"\."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_names_are_told_from_a_tasks() {
        for path in ["stdout", "./stderr", "exit.json", ".claim/owner", ".matterstack-x", "matterstack-job.sh/x"] {
            assert!(own_name(path).is_some(), "{path}");
        }
        for path in ["stdout.txt", "a/stdout", "exit.json.bak", ".claims", "matterstack", "results/.claim"] {
            assert_eq!(own_name(path), None, "{path}");
        }
    }
}
