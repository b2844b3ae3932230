//! The texts of a kit: the job script, the script that packs what the job left, and the page for the person.
//!
//! A task's id, its command and its file names are any text. In a script they stand in single quotes, or in a comment
//! as a JSON string on one line; nothing of them is ever a word of the shell.
use crate::kit::Kit;
use matterstack_sdk::{Variable, work};

/// A word as a shell takes it, whatever it holds.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Text for a comment: one line, whatever it holds.
fn in_comment(text: &str) -> String {
    work::visible(&serde_json::Value::from(text).to_string())
}

/// Lines for Slurm; other schedulers take them for comments.
fn slurm_lines(kit: &Kit) -> String {
    let wanted = &kit.resources;
    let mut lines =
        vec![format!("--job-name={}", kit.name), "--output=scheduler.out".to_owned(), "--no-requeue".to_owned()];
    lines.extend(wanted.nodes.map(|nodes| format!("--nodes={nodes}")));
    lines.extend(wanted.tasks.map(|tasks| format!("--ntasks={tasks}")));
    lines.extend(wanted.cores.map(|cores| format!("--cpus-per-task={cores}")));
    lines.extend(wanted.memory_mb.map(|memory| format!("--mem={memory}M")));
    lines.extend(wanted.gpus.filter(|gpus| *gpus > 0).map(|gpus| format!("--gres=gpu:{gpus}")));
    lines.extend(wanted.walltime_s.map(|seconds| format!("--time={}", (seconds / 60.0).ceil().max(1.0) as u64)));
    // to the steps: the script itself knows nothing of signals
    lines.extend(wanted.signal_before_s.map(|seconds| format!("--signal=USR1@{seconds}")));
    lines.into_iter().map(|line| format!("#SBATCH {line}\n")).collect()
}

/// The lines that set the variables of the command, and those before them that look whether its secrets can be read
/// here: the host has let no name pass that is more than letters, digits, `_`, `.` and `-`.
fn variables(kit: &Kit) -> (String, String) {
    let (mut env, mut secrets) = (String::new(), String::new());
    for (name, value) in &kit.env {
        match value {
            Variable::Text(text) => env += &format!("export {name}={}\n", quoted(text)),
            Variable::Secret { secret } => {
                let place = format!("~/.config/matterstack/secrets/{secret}");
                secrets += &format!(
                    "if [ ! -s {place} ] || [ -z \"$(find {place} -type f -user \"$(id -u)\" ! -perm /077)\" ]; then\n    \
                     echo 'job.sh: the secret {secret} is wanted in {place}, for nobody else to read (chmod 600)' >&2\n    \
                     exit 2\nfi\n"
                );
                env += &format!("{name}=$(cat {place}) && export {name} || exit 2\n");
            }
        }
    }
    (env, secrets)
}

/// `job.sh`: runs the command once, in `work/`, and says how it ended in `status.json`.
pub(crate) fn job(kit: &Kit) -> String {
    let header: String = kit.config.header.iter().map(|line| format!("{line}\n")).collect();
    let (env, secrets) = variables(kit);
    let setup: String = kit.config.setup.iter().map(|line| format!("{line}\n")).collect();
    let command: Vec<String> = kit.config.launcher.iter().chain(&kit.argv).map(|word| quoted(word)).collect();
    format!(
        r##"#!/bin/sh
{slurm}{header}# Task {task}, attempt {attempt} of run {run}.
# Submit it from its own folder (`sbatch job.sh`), or run it there (`sh job.sh`).

# A scheduler may run a copy of this script from elsewhere; the folder is the one that holds this kit's token.
here=
for candidate in "${{SLURM_SUBMIT_DIR:-}}" "${{PBS_O_WORKDIR:-}}" "$(dirname "$0")" .; do
    if [ -n "$candidate" ] && [ "$(cat "$candidate/token" 2>/dev/null)" = {token} ]; then
        here=$candidate
        break
    fi
done
if [ -z "$here" ] || ! cd "$here"; then
    echo "job.sh: the folder of {name} is not here; submit the job from inside it" >&2
    exit 2
fi
{secrets}if ! mkdir started 2>/dev/null; then
    echo "job.sh: this job was started before; to run it once more, remove the folder 'started' and what it left" >&2
    exit 3
fi
(
cd work || exit 2
{env}{setup}{command}
) >stdout 2>stderr
code=$?
if [ "$code" -eq 0 ]; then
    printf '{{"status": "completed", "data": {{"exit_code": 0}}}}\n' >status.json.part
else
    printf '{{"status": "failed", "error": "the command ended with exit code %d", "data": {{"exit_code": %d}}}}\n' "$code" "$code" >status.json.part
fi
mv status.json.part status.json
exit "$code"
"##,
        slurm = slurm_lines(kit),
        task = in_comment(&kit.task),
        attempt = kit.attempt,
        run = kit.run,
        token = quoted(&kit.token),
        name = kit.name,
        command = command.join(" "),
    )
}

/// `return.sh`: packs what the task's patterns may match, with hashes; the import looks at the patterns once more.
pub(crate) fn bring_back(kit: &Kit) -> String {
    let find = gather_outputs(kit);
    format!(
        r##"#!/bin/sh
# Packs what task {task} left into {back}.tar.gz, to be taken home and given to `matterstack kit import`.
# It needs sh, find, tar with gzip, and sha256sum, and may be run again.
set -eu
cd "$(dirname "$0")"
top=$(pwd)
name={back}
if [ ! -f status.json ]; then
    echo "return.sh: the job has not said how it ended (there is no status.json); if it never will, say it yourself:" >&2
    echo "  echo '{{\"status\": \"failed\", \"error\": \"why\"}}' > status.json" >&2
    exit 2
fi
rm -rf "$name" "$name.part"
mkdir -p "$name/files/output"
cp status.json "$name/files/status.json"
for file in stdout stderr; do
    if [ -f "$file" ]; then cp "$file" "$name/files/$file"; fi
done
{find}
cd "$name"
find files -type f -exec sha256sum {{}} + >SHA256SUMS
seal=$({{ cat ../token; cat SHA256SUMS; }} | sha256sum)
printf 'format matterstack-return-1\nrun %s\nattempt %s\nseal %s\n' {run} {attempt} "${{seal%% *}}" >RETURN
cd ..
tar -czf "$name.part" "$name/RETURN" "$name/SHA256SUMS" "$name/files"
mv "$name.part" "$name.tar.gz"
rm -rf "$name"
echo "$top/$name.tar.gz"
"##,
        task = in_comment(&kit.task),
        back = kit.return_name(),
        run = quoted(&kit.run),
        attempt = quoted(&kit.attempt),
    )
}

/// Lines that bring together what the task's patterns may match, inputs left out.
fn gather_outputs(kit: &Kit) -> String {
    let wanted: Vec<String> =
        kit.outputs.all().iter().map(|pattern| format!("-path {}", for_find(pattern.text()))).collect();
    let inputs: String =
        kit.inputs.iter().map(|path| format!(" ! -path {}", quoted(&format!("./{}", literally(path))))).collect();
    if wanted.is_empty() {
        return "# The task declares no outputs.".to_owned();
    }
    let each = |links: &str, put: &str| {
        format!(
            "find . -type f {links} \\( {} \\){inputs} -exec sh -c 'for file do mkdir -p \"$0/${{file%/*}}\" && {put} || \
             exit 1; done' \"$top/$name/files/output\" {{}} +",
            wanted.join(" -o ")
        )
    };
    // A file with several names would become a link in the archive, so it is copied, before any is given one more.
    let copied = each("! -links 1", r#"cp "$file" "$0/$file""#);
    let linked = each("-links 1", r#"{ ln "$file" "$0/$file" 2>/dev/null || cp "$file" "$0/$file"; }"#);
    format!("cd work\n{copied}\n{linked}\ncd ..")
}

/// A pattern for `find -path` that matches all that a glob does, and perhaps more: `find` knows neither `**` nor
/// `{a,b}`, and its `*` crosses folders.
fn for_find(pattern: &str) -> String {
    let (mut text, mut depth) = (String::from("./"), 0_u32);
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    text.push('*');
                }
            }
            _ if depth > 0 => {}
            '*' => {
                while chars.peek() == Some(&'*') {
                    chars.next();
                    if chars.peek() == Some(&'/') {
                        chars.next();
                    }
                }
                text.push('*');
            }
            '\\' => {
                text.push(c);
                text.extend(chars.next());
            }
            _ => text.push(c),
        }
    }
    quoted(&text)
}

/// A path in which nothing is a pattern.
fn literally(path: &str) -> String {
    path.chars().fold(String::new(), |mut text, c| {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            text.push('\\');
        }
        text.push(c);
        text
    })
}

/// `README.md`, for the person who carries the kit.
pub(crate) fn readme(kit: &Kit) -> String {
    let outputs: String = match kit.outputs.all() {
        [] => "nothing but its exit code, `stdout` and `stderr`".to_owned(),
        outputs => outputs.iter().map(|pattern| format!("`{pattern}`")).collect::<Vec<_>>().join(", "),
    };
    format!(
        r#"# {name}

The job of task {task}, attempt {attempt} of run {run}.

1. Carry this folder to the cluster, as `{name}.tar.gz` or by any other way.
2. Inside the folder, give the job to the scheduler: `sbatch job.sh` (Slurm), `qsub job.sh` (PBS), or run `sh job.sh`.
   The command runs in `work/`, once. Lines that your site needs go to the top of `job.sh`.
3. When it has ended and `status.json` is there: `sh return.sh` makes `{back}.tar.gz`.
4. Carry that file home: `matterstack kit import {back}.tar.gz`.

What the run wants back: {outputs}.

Without an import: put the files into `output/` in the attempt's directory on the machine of the run, and
`{{"status": "completed"}}` or `{{"status": "failed", "error": "why"}}` into `status.json` beside it.
"#,
        name = kit.name,
        task = in_comment(&kit.task),
        attempt = kit.attempt,
        run = kit.run,
        back = kit.return_name(),
    )
}

#[cfg(test)]
mod tests {
    use super::{for_find, in_comment, literally, quoted};

    #[test]
    fn patterns_for_find_match_at_least_as_much() {
        for (glob, find) in [
            ("*.json", "'./*.json'"),
            ("**/x.csv", "'./*x.csv'"),
            ("a/**", "'./a/*'"),
            ("r_{a,b{c,d}}.txt", "'./r_*.txt'"),
            ("it's[0-9]?", r"'./it'\''s[0-9]?'"),
            (r"a\*b", r"'./a\*b'"),
        ] {
            assert_eq!(for_find(glob), find);
        }
        assert_eq!(literally("a[1]*"), r"a\[1\]\*");
    }

    #[test]
    fn no_text_leaves_its_quotes_or_its_line() {
        assert_eq!(quoted("a'; rm -rf $(pwd)\n"), "'a'\\''; rm -rf $(pwd)\n'");
        assert!(
            !in_comment("a\nrm -rf /\r\u{85}b\u{7f}\u{202e}").contains(['\u{202e}', '\n', '\r', '\u{85}', '\u{7f}'])
        );
    }
}
