//! Results from the cluster.
use super::{Carrier, CarryError, OWN, pattern};
use crate::backend::transport::Exec;
use crate::ground::carriage::{allow_to_execute, make_way};
use crate::ground::digest::copy_hashed;
use crate::ground::machine;
use crate::ground::words::quoted;
use crate::model::attempt_dir::{FETCHED, KEPT, STAGED, own_expression};
use crate::model::code::Code;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The most bytes that one attempt may bring back.
const BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// The most files that one attempt may bring back.
const FILES_MAX: usize = 100_000;
/// The most bytes that the list of one stream may have.
const LIST_MAX: u64 = 256 * 1024 * 1024;
/// The most bytes that an archive adds to a file, beside its name, and that its files may have grown meanwhile.
const ENTRY_MAX: u64 = 8 * 1024;
const GROWN_MAX: u64 = 256 * 1024 * 1024;
/// Stands between the list and the files; no line of the list can be it.
const FILES_FOLLOW: &str = "= files";

/// An ended attempt whose results are wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The attempt, which names its directory over there.
    pub attempt: String,
    /// Its directory here.
    pub directory: PathBuf,
    /// Patterns of the files to bring back.
    pub outputs: Vec<String>,
    /// Patterns of the files that stay over there.
    pub keep: Vec<String>,
    /// Whether the host's own files come as well: standard output and error, and the exit record.
    pub own: bool,
}

/// What became of one attempt's results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// They are in place; these files stay over there.
    Yes(Vec<Kept>),
    /// The attempt has no directory over there.
    Gone,
    /// They were not taken, and nothing was put in place: why. Another try may have them.
    No(String),
    /// Some of them can never be taken, by no fault of the way: a word, and why. What came is in place.
    Never(Code, String),
}

/// What is wrong with an attempt's results.
#[derive(Debug, Clone)]
enum Trouble {
    Passes(String),
    Lasts(Code, String),
}

/// A file that stays over there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its path in the attempt's directory.
    pub path: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

impl Carrier<'_> {
    /// Brings what a batch of ended attempts left into the directories given in one stream: the host's own files, if
    /// they are wanted, and what the patterns name. Returns what became of each, by attempt.
    ///
    /// # Errors
    /// If the stream did not come to its end, or this machine could not write; then nothing was put in place.
    pub fn fetch(&self, wanted: &[Wanted]) -> Result<BTreeMap<String, Fetched>, CarryError> {
        let here = |error| CarryError::Here("receiving results".to_owned(), error);
        let (reader, mut writer) = io::pipe().map_err(here)?;
        let script = script(self, wanted);
        let (received, answer) = std::thread::scope(|scope| {
            let receiving = scope.spawn(move || receive(reader, wanted));
            let answer =
                self.exec(Exec { script: &script, stdin: None, stdout: Some(&mut writer), timeout: self.timeout });
            drop(writer);
            (receiving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), answer)
        });
        // a receiver that gave up is the reason of what the transport says
        let received = match (received, answer) {
            (Err(error), _) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge) => {
                return Err(here(error));
            }
            (_, Err(error)) => return Err(error),
            (Err(error), Ok(_)) => return Err(here(error)),
            (Ok(received), Ok(_)) => received,
        };
        wanted.iter().map(|one| Ok((one.attempt.clone(), received.deliver(one).map_err(here)?))).collect()
    }
}

/// Lists what is wanted with digests and sizes, then sends it. Names with line feeds are passed over. A file that
/// cannot be read is left out, which is noticed here and concerns its own attempt alone.
fn script(carrier: &Carrier<'_>, wanted: &[Wanted]) -> String {
    let own: Vec<String> = OWN.iter().map(|name| pattern::plain(name)).collect();
    let mut text = format!(
        r#"set -e
export LC_ALL=C
cd {place} 2>/dev/null || {{ echo 'no run'; echo '{FILES_FOLLOW}'; exit 0; }}
n='
'
f() {{ find . -regextype posix-extended ! -path . -type d ! -regex "\./(\.claim|$2)" -prune -o \
  -type f ! -path "*$n*" -printf '%s %p\n' | grep -aE "^[0-9]+ \./($1)\$" || :; }}
new() {{ i=/dev/null; [ ! -f {STAGED} ] || i={STAGED}; awk -v i="$i" 'BEGIN{{while((getline x<i)>0)s[x]}}{{p=$0;sub(/^[0-9]+ /,"",p);if(!(p in s))print}}'; }}
pick() {{ (
  cd "./$1" 2>/dev/null || {{ echo "gone $1"; exit; }}
  l=$(f "$2" "$4" | new | if [ -n "$3" ]; then grep -avE "^[0-9]+ \./($3)\$" || :; else cat; fi)
  t=$(printf '%s\n' "$l" | awk '{{b+=$1}}END{{printf "%.0f",b}}')
  if [ "$t" -gt {BYTES_MAX} ]; then echo "large $1 $t"; l=$(f '{own}' //); fi
  [ -z "$l" ] || printf '%s\n' "$l" | awk -v a="$1" '{{s=$1;sub(/^[0-9]+ \.\//,"");print "file",s,"./" a "/" $0}}'
) }}
kept() {{ (
  cd "./$1" 2>/dev/null || exit 0
  if [ -f {KEPT} ]; then cat {KEPT}; else f "$2" "$3" | new | while IFS= read -r x; do
    p=${{x#* }}; h=$(sha256sum <"$p"); printf '%s %s %s\n' "${{h%% *}}" "${{x%% *}}" "$p"; done; fi | while IFS= read -r x; do printf 'kept %s %s\n' "$1" "$x"; done
) }}
l=$(
:
"#,
        place = carrier.place(),
        own = own.join("|"),
    );
    wanted.iter().for_each(|one| pick(&mut text, one, &own));
    let _ = write!(
        text,
        r#")
printf '%s\n' "$l"
w=$(printf '%s\n' "$l" | sed -n 's/^file [0-9]* //p')
[ -z "$w" ] || printf '%s\n' "$w" | tr '\n' '\0' | xargs -0 sha256sum -b -- || :
echo '{FILES_FOLLOW}'
[ -z "$w" ] || printf '%s\n' "$w" | tr '\n' '\0' | tar -cf - --no-recursion --null -T - || :
"#
    );
    text
}

/// Adds the lines that pick one attempt's files, and those that stay; `own` are the names of the host's.
fn pick(script: &mut String, one: &Wanted, own: &[String]) {
    let attempt = quoted(&one.attempt);
    let (mut all, mut none) = (vec![pattern::files(&one.outputs)], Vec::new());
    if one.own {
        all.extend(own.iter().cloned());
        none.extend((!one.keep.is_empty()).then(|| pattern::files(&one.keep)));
    } else {
        none.push(own_expression());
    }
    let (all, none, folders) =
        (quoted(&all.join("|")), quoted(&none.join("|")), quoted(&pattern::folders(&one.outputs)));
    let _ = writeln!(script, "pick {attempt} {all} {none} {folders}");
    if !one.keep.is_empty() {
        let (files, folders) = (quoted(&pattern::files(&one.keep)), quoted(&pattern::folders(&one.keep)));
        let _ = writeln!(script, "kept {attempt} {files} {folders}");
    }
}

/// The part of a shell script with which a job's wrapper notes, in the job's directory and once its command has ended,
/// the files that stay over there.
pub(in crate::backend) fn note_kept(keep: &[String]) -> String {
    if keep.is_empty() {
        return String::new();
    }
    let (files, folders) = (pattern::files(keep), pattern::folders(keep));
    format!(
        r#"( export LC_ALL=C; n='
'
find . -regextype posix-extended ! -path . -type d ! -regex {} -prune -o -type f ! -path "*$n*" -printf '%s %p\n' |
  grep -aE {} | grep -avE {} | while IFS= read -r x; do
  p=${{x#* }}; grep -qxF -e "$p" {STAGED} 2>/dev/null && continue
  h=$(sha256sum <"$p"); printf '%s %s %s\n' "${{h%% *}}" "${{x%% *}}" "$p"; done >{KEPT}.tmp && mv {KEPT}.tmp {KEPT}
)
"#,
        quoted(&format!(r"\./({folders})")),
        quoted(&format!(r"^[0-9]+ \./({files})$")),
        quoted(&format!(r"^[0-9]+ \./{}$", own_expression()))
    )
}

/// What a stream brought, all of it aside.
#[derive(Debug, Default)]
struct Received {
    attempts: HashMap<String, Attempt>,
}

#[derive(Debug, Default)]
struct Attempt {
    gone: bool,
    trouble: Option<Trouble>,
    kept: Vec<Kept>,
    /// What is to come, by path: size and digest.
    listed: BTreeMap<String, (u64, String)>,
    /// What came, by path: under which number it waits.
    arrived: BTreeMap<String, usize>,
}

impl Attempt {
    fn trouble(&mut self, trouble: Trouble) {
        self.trouble.get_or_insert(trouble);
    }

    fn answer(&self, trouble: Option<Trouble>) -> Fetched {
        match trouble {
            None => Fetched::Yes(self.kept.clone()),
            Some(Trouble::Passes(why)) => Fetched::No(why),
            Some(Trouble::Lasts(code, why)) => Fetched::Never(code, why),
        }
    }
}

fn receive(reader: io::PipeReader, wanted: &[Wanted]) -> io::Result<Received> {
    let mut reader = BufReader::with_capacity(256 * 1024, reader);
    let mut received = Received::default();
    for one in wanted {
        received.attempts.insert(one.attempt.clone(), Attempt::default());
    }
    let list_ended = received.read_list(&mut reader.by_ref().take(LIST_MAX))?;
    let mut rest = reader.take(received.announced());
    let unpacked = if list_ended { received.unpack(&mut rest, wanted) } else { Ok(()) };
    // whatever went wrong here, the far end is heard to its end, so that it is its answer that tells what it was
    let full = matches!(&unpacked, Err(error) if error.kind() == io::ErrorKind::StorageFull);
    if !full {
        io::copy(&mut rest, &mut io::sink())?;
        if rest.into_inner().read(&mut [0])? > 0 {
            let text = "the far end sends more than it has announced";
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
    }
    unpacked.map(|()| received)
}

impl Received {
    /// The most bytes that may follow the list: every file with what an archive adds to it. Files that grow meanwhile
    /// are told apart from a stream that never ends.
    fn announced(&self) -> u64 {
        let files = self.attempts.values().flat_map(|attempt| &attempt.listed);
        files
            .map(|(path, (size, _))| size.saturating_mul(2).saturating_add(3 * path.len() as u64 + ENTRY_MAX))
            .fold(GROWN_MAX, u64::saturating_add)
    }

    fn read_list(&mut self, reader: &mut impl BufRead) -> io::Result<bool> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.by_ref().take(64 * 1024).read_until(b'\n', &mut line)? == 0 {
                return Ok(false);
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.strip_suffix('\n').unwrap_or(&text);
            if text == FILES_FOLLOW {
                return Ok(true);
            }
            self.line(text);
        }
    }

    fn line(&mut self, text: &str) {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "no" => self.attempts.values_mut().for_each(|attempt| attempt.gone = true),
            "gone" => {
                if let Some(attempt) = self.attempts.get_mut(rest) {
                    attempt.gone = true;
                }
            }
            "large" => {
                let (attempt, bytes) = rest.split_once(' ').unwrap_or((rest, "?"));
                if let Some(attempt) = self.attempts.get_mut(attempt) {
                    attempt.trouble(Trouble::Lasts(Code::OutputQuota, format!(
                        "its outputs have {bytes} bytes, and {BYTES_MAX} is the most that is fetched; keep large files on the \
                         cluster with {{\"pattern\": …, \"keep\": \"remote\"}}"
                    )));
                }
            }
            "kept" => {
                let Some((attempt, kept)) = rest.split_once(' ') else { return };
                if let (Some(attempt), Some(kept)) = (self.attempts.get_mut(attempt), kept_line(kept)) {
                    attempt.kept.push(kept);
                }
            }
            "file" => {
                let Some((size, path)) = rest.split_once(' ') else { return };
                if let (Some((attempt, path)), Ok(size)) = (self.place(path), size.parse()) {
                    if attempt.listed.len() >= FILES_MAX {
                        attempt.trouble(Trouble::Lasts(
                            Code::OutputQuota,
                            format!("it left more than {FILES_MAX} output files"),
                        ));
                    } else {
                        attempt.listed.insert(path, (size, String::new()));
                    }
                }
            }
            _ => self.digest(text),
        }
    }

    /// A line of `sha256sum`.
    fn digest(&mut self, text: &str) {
        let (escaped, text) = text.strip_prefix('\\').map_or((false, text), |rest| (true, rest));
        let Some((digest, path)) = text.split_once(" *") else { return };
        let path = if escaped { path.replace("\\\\", "\\") } else { path.to_owned() };
        if let Some((attempt, path)) = self.place(&path)
            && is_digest(digest)
            && let Some((_, listed)) = attempt.listed.get_mut(&path)
        {
            *listed = digest.to_owned();
        }
    }

    fn place(&mut self, path: &str) -> Option<(&mut Attempt, String)> {
        let (attempt, path) = path.strip_prefix("./")?.split_once('/')?;
        let attempt = self.attempts.get_mut(attempt)?;
        crate::model::workflow::stays_inside(path).then(|| (attempt, path.to_owned()))
    }

    fn unpack(&mut self, reader: &mut impl Read, wanted: &[Wanted]) -> io::Result<()> {
        let mut places: HashMap<&str, (&Path, Option<Dir>)> =
            wanted.iter().map(|one| (one.attempt.as_str(), (one.directory.as_path(), None))).collect();
        let mut archive = tar::Archive::new(reader);
        for (number, entry) in archive.entries()?.enumerate() {
            let mut entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let name = path.strip_prefix("./").and_then(|path| path.split_once('/')).map(|(name, _)| name.to_owned());
            let Some((attempt, path)) = self.place(&path) else { continue };
            let Some((size, digest)) = attempt.listed.get(&path).cloned() else { continue };
            if entry.header().entry_type() != tar::EntryType::Regular || entry.size() != size {
                attempt.trouble(Trouble::Passes(format!("`{path}` was changed while it was fetched")));
                continue;
            }
            let Some((directory, open)) = name.as_deref().and_then(|name| places.get_mut(name)) else { continue };
            let aside = match open {
                Some(aside) => aside,
                None => open.insert(make_aside(directory)?),
            };
            let mut file = aside.create(number.to_string())?;
            let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
            if copy_hashed(&mut entry, &mut file)?.0 == digest {
                allow_to_execute(&file, executable)?;
                attempt.arrived.insert(path, number);
            } else {
                attempt.trouble(not_as_listed(&path, &digest));
            }
        }
        Ok(())
    }

    /// Puts one attempt's files in place, if all of them came.
    fn deliver(&self, one: &Wanted) -> io::Result<Fetched> {
        let Some(attempt) = self.attempts.get(&one.attempt) else { return Ok(Fetched::Gone) };
        if attempt.gone {
            return Ok(Fetched::Gone);
        }
        let missing = attempt.listed.iter().find(|(path, _)| !attempt.arrived.contains_key(*path));
        let trouble =
            attempt.trouble.clone().or_else(|| missing.map(|(path, (_, digest))| not_as_listed(path, digest)));
        let root = match Dir::open_ambient_dir(&one.directory, ambient_authority()) {
            // nothing of it was written
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(attempt.answer(trouble)),
            root => root?,
        };
        let answer = match trouble {
            Some(Trouble::Passes(why)) => Fetched::No(why),
            trouble => match put_in_place(&root, &attempt.arrived) {
                Ok(()) => attempt.answer(trouble),
                Err(error) if machine::is_trouble(&error) => return Err(error),
                // something the operator made stands in the way
                Err(error) => {
                    Fetched::Never(Code::OutputUnreadable, format!("its results cannot be put in place: {error}"))
                }
            },
        };
        match root.remove_dir_all(FETCHED) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(answer),
        }
    }
}

/// Why a file that was listed did not come, or came as another.
fn not_as_listed(path: &str, digest: &str) -> Trouble {
    if digest.is_empty() {
        return Trouble::Lasts(Code::OutputUnreadable, format!("`{path}` cannot be read on the cluster"));
    }
    Trouble::Passes(format!("`{path}` was changed while it was fetched"))
}

fn put_in_place(root: &Dir, arrived: &BTreeMap<String, usize>) -> io::Result<()> {
    // the exit record last: with it, everything else is there
    let (record, others): (Vec<_>, Vec<_>) = arrived.iter().partition(|(path, _)| *path == "exit.json");
    for (path, number) in others.into_iter().chain(record) {
        make_way(root, Path::new(path))?;
        root.rename(Path::new(FETCHED).join(number.to_string()), root, path)?;
    }
    Ok(())
}

/// An empty directory for what arrives; what an interrupted fetch left is thrown away.
fn make_aside(directory: &Path) -> io::Result<Dir> {
    std::fs::create_dir_all(directory)?;
    let root = Dir::open_ambient_dir(directory, ambient_authority())?;
    match root.symlink_metadata(FETCHED) {
        Ok(found) if found.is_dir() => root.remove_dir_all(FETCHED)?,
        Ok(_) => root.remove_file(FETCHED)?,
        Err(_) => {}
    }
    root.create_dir(FETCHED)?;
    root.open_dir(FETCHED)
}

/// `DIGEST SIZE ./PATH`, as the wrapper or the script notes it.
fn kept_line(text: &str) -> Option<Kept> {
    let (digest, rest) = text.split_once(' ')?;
    let (size, path) = rest.split_once(' ')?;
    let path = path.strip_prefix("./").filter(|path| crate::model::workflow::stays_inside(path))?;
    is_digest(digest).then_some(())?;
    Some(Kept { path: path.to_owned(), sha256: digest.to_owned(), size: size.parse().ok()? })
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
