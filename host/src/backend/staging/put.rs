//! Attempt directories to the cluster.
use super::{Carrier, CarryError, OWN, pattern};
use crate::backend::transport::{Exec, NoAnswer};
use crate::ground::digest::Hashed;
use crate::ground::files::open_regular;
use crate::ground::random;
use crate::ground::words::quoted;
use crate::model::attempt_dir::{CARRIED, CLAIM, FETCHED, STAGED, own_expression};
use crate::model::outputs;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// One attempt directory to carry to the cluster.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// The attempt, which names its directory over there.
    pub attempt: String,
    /// Its directory here, if it has one.
    pub directory: Option<PathBuf>,
    /// Further files, by name.
    pub files: Vec<(String, Vec<u8>)>,
    /// Files that an earlier attempt left over there, by their destination in this one.
    pub linked: Vec<(String, RemoteFile)>,
    /// What the task carries from one attempt to the next.
    pub carry: Carry,
}

/// What a task carries from one attempt to the next. Such files are the attempt's own: what the job leaves of them
/// comes back, although they were there when it began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carry {
    /// Patterns of the files.
    pub patterns: Vec<String>,
    /// The attempt that left them over there; absent if they are in the attempt's directory here.
    pub from: Option<String>,
}

/// What became of a batch that was put in place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Put {
    /// Attempts that were not, because something that they need of earlier ones cannot be had, with a sentence each.
    pub refused: Vec<(String, String)>,
    /// Attempts that go on from nothing, because the one before has no directory over there any more.
    pub bare: Vec<String>,
}

/// A file that an earlier attempt of the run left on the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// The attempt that left it.
    pub attempt: String,
    /// Its path in that attempt's directory.
    pub path: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// What is said of a file that can be executed.
const EXECUTABLE: &str = "matterstack-executable";

impl Carrier<'_> {
    /// Carries a batch of attempt directories to the cluster in one stream. Files that are there already are copied
    /// over there. A directory in which a job has begun is left as it is.
    ///
    /// # Errors
    /// If nothing was put in place: no answer, no room, a refusal, or a file that cannot be read here.
    pub fn put(&self, parcels: &[Parcel]) -> Result<Put, CarryError> {
        let script = script(self, parcels)?;
        let (mut reader, writer) = io::pipe().map_err(|error| CarryError::Here("making a pipe".to_owned(), error))?;
        let (packed, answer) = std::thread::scope(|scope| {
            let packing = scope.spawn(move || pack(parcels, writer));
            let call = Exec { script: &script, stdin: Some(&mut reader), stdout: None, timeout: self.timeout };
            let answer = self.exec(call);
            // a far end that reads no more must not leave the packer waiting
            drop(reader);
            (packing.join(), answer)
        });
        match packed {
            Ok(Err((what, error))) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(CarryError::Here(what, error));
            }
            Ok(_) => {}
            Err(panic) => std::panic::resume_unwind(panic),
        }
        let done = answer?;
        let mut put = Put::default();
        for line in String::from_utf8_lossy(&done.stdout).lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (attempt, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let attempt = attempt.to_owned();
            match word {
                "gone" => put
                    .refused
                    .push((attempt, format!("`{rest}` is no longer on the cluster as it was when its task ended"))),
                "stays" => {
                    put.refused.push((attempt, format!("what an earlier attempt left cannot be carried over: {rest}")))
                }
                "bare" => put.bare.push(attempt),
                _ => {}
            }
        }
        Ok(put)
    }

    /// Fetches one file that an attempt left on the cluster, and checks it. Tells whether it can be executed.
    ///
    /// # Errors
    /// If there is no answer, or the file is gone or changed; then the beginning of it may have been written.
    pub fn pull(&self, file: &RemoteFile, to: &mut dyn Write) -> Result<bool, CarryError> {
        // what a job, or anybody, has put in its place since may have no end, or never begin
        let script = format!(
            "f={}/{}; [ ! -x \"$f\" ] || echo {EXECUTABLE} >&2; [ ! -f \"$f\" ] || exec head -c {} -- \"$f\"",
            self.place(),
            quoted(&format!("{}/{}", file.attempt, file.path)),
            file.size.saturating_add(1)
        );
        let mut hashed = Hashed::new(to, file.size.saturating_add(1));
        let done =
            self.exec(Exec { script: &script, stdin: None, stdout: Some(&mut hashed), timeout: self.timeout })?;
        if hashed.size() == file.size && hashed.finish() == file.sha256 {
            return Ok(String::from_utf8_lossy(&done.stderr).lines().any(|line| line == EXECUTABLE));
        }
        Err(CarryError::Damaged(format!("`{}` was changed after its task ended", file.path)))
    }
}

/// What every batch begins with: unpacks aside and checks every file. What an attempt carries over is copied, since its
/// job may write into it; a directory that is in place already has it. Names with line feeds are passed over.
fn prelude(place: &str, random: &str) -> String {
    format!(
        r#"set -e
umask 077
export LC_ALL=C
mkdir -p -- {place}
cd {place}
r=$(pwd) w=.in-{random}
n='
'
trap 'cd "$r"; rm -rf "./$w"' EXIT
mkdir "$w"
cd "$w"
tar -xof -
sha256sum -c --quiet .sha256 >&2
full() {{ case $1 in *'No space left on device'*|*'Disk quota exceeded'*) printf '%s\n' "$1" >&2; exit 1;; esac; }}
copy() {{
  [ -f "$r/$3" ] && [ "$(stat -Lc %s -- "$r/$3")" = "$5" ] || return 1
  case $2 in */*) e=$(mkdir -p -- "$1/${{2%/*}}" 2>&1) || {{ full "$e"; return 1; }};; esac
  e=$(cp -p --reflink=auto -- "$r/$3" "$1/$2" 2>&1) || {{ full "$e"; return 1; }}
  h=$(sha256sum <"$1/$2") && [ "${{h%% *}}" = "$4" ]
}}
carry() {{
  [ ! -d "$r/$1" ] || return 0
  [ -d "$r/$2" ] || {{ printf 'bare %s\n' "$1"; return 0; }}
  e=$(cd "$r/$2" && find . -regextype posix-extended ! -path . -type d ! -regex "\./($4)" -prune -o \
    -type f ! -path "*$n*" -print | grep -aE "^\./($3)\$" | grep -avE '^\./({host})$' |
    awk 'BEGIN{{while((getline x<"{STAGED}")>0)s[x]}}!($0 in s)' |
    while IFS= read -r x; do [ -e "$r/$w/$1/$x" ] || printf '%s\n' "$x"; done | tr '\n' '\0' | tee "$r/$w/$1/{CARRIED}" |
    xargs -0r cp -pP --parents --reflink=auto -t "$r/$w/$1" -- 2>&1 &&
    cd "$r/$w/$1" && s=$(xargs -0r sha256sum -- <{CARRIED} 2>&1) && printf '%s\n' "$2" "$s" 2>&1 >{CARRIED}) || {{
    full "$e"; printf 'stays %s %s\n' "$1" "$(printf %s "$e" | head -n 1)"; return 1; }}
}}
"#,
        host = own_expression(),
    )
}

/// Puts attempt by attempt in place, once all has arrived.
fn script(carrier: &Carrier<'_>, parcels: &[Parcel]) -> Result<String, CarryError> {
    let random = random::word::<8>();
    let random = random.map_err(|error| CarryError::NoAnswer(NoAnswer::Unreachable(error.to_string())))?;
    let mut text = prelude(&carrier.place(), &random);
    for parcel in parcels {
        let _ = writeln!(text, "a={}; ok=1", quoted(&parcel.attempt));
        for (destination, file) in &parcel.linked {
            let source = quoted(&format!("{}/{}", file.attempt, file.path));
            let _ = writeln!(
                text,
                "copy \"$a\" {} {source} {} {} || {{ ok=; printf 'gone %s %s\\n' \"$a\" {}; }}",
                quoted(destination),
                file.sha256,
                file.size,
                quoted(&file.path.replace('\n', " "))
            );
        }
        if let Carry { patterns, from: Some(from) } = &parcel.carry {
            let (files, folders) = (pattern::files(patterns), pattern::folders(patterns));
            let (from, files, folders) = (quoted(from), quoted(&files), quoted(&folders));
            let _ = writeln!(text, "carry \"$a\" {from} {files} {folders} || ok=");
        }
        let _ = writeln!(
            text,
            "if [ -z \"$ok\" ] || [ -d \"$r/$a/{CLAIM}\" ]; then :; elif [ -d \"$r/$a\" ]; then cp -Rp \"$a/.\" \"$r/$a\"; \
             else mv -T \"$a\" \"$r/$a\"; fi"
        );
    }
    Ok(text)
}

type PackError = (String, io::Error);

/// The stream: every file of every parcel, the list of what is staged, and last the digests of all of them.
fn pack(parcels: &[Parcel], to: io::PipeWriter) -> Result<(), PackError> {
    let stream = |error| ("sending a batch".to_owned(), error);
    let mut builder = tar::Builder::new(io::BufWriter::with_capacity(64 * 1024, to));
    builder.mode(tar::HeaderMode::Deterministic);
    let mut digests = String::new();
    for parcel in parcels {
        directory(&mut builder, &parcel.attempt).map_err(stream)?;
        let carried = outputs::patterns(parcel.carry.patterns.iter().map(String::as_str));
        let mut names: Vec<String> = parcel.linked.iter().map(|(name, _)| name.clone()).collect();
        if let Some(path) = &parcel.directory {
            let what = |error| (format!("reading `{}`", path.display()), error);
            let root = Dir::open_ambient_dir(path, ambient_authority()).map_err(what)?;
            for (name, executable) in files_below(&root).map_err(what)? {
                let mut file = open_regular(&root, &name).map_err(what)?;
                let place = format!("{}/{name}", parcel.attempt);
                digests.push_str(&append(&mut builder, &place, &mut file, executable).map_err(what)?);
                if !carried.match_path(&name) {
                    names.push(name);
                }
            }
        }
        for (name, bytes) in &parcel.files {
            digests
                .push_str(&append_bytes(&mut builder, &format!("{}/{name}", parcel.attempt), bytes).map_err(stream)?);
            names.push(name.clone());
        }
        let staged: String = names.into_iter().map(|name| format!("./{name}\n")).collect();
        let name = format!("{}/{STAGED}", parcel.attempt);
        digests.push_str(&append_bytes(&mut builder, &name, staged.as_bytes()).map_err(stream)?);
    }
    append_bytes(&mut builder, ".sha256", digests.as_bytes()).map_err(stream)?;
    builder.into_inner().and_then(|mut rest| rest.flush()).map_err(stream)
}

fn directory(builder: &mut tar::Builder<impl Write>, name: &str) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    builder.append_data(&mut header, format!("{name}/"), io::empty())
}

fn append(builder: &mut tar::Builder<impl Write>, name: &str, file: &mut File, executable: bool) -> io::Result<String> {
    let size = file.metadata()?.len();
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(if executable { 0o755 } else { 0o644 });
    let mut reading = Hashed::new(file.take(size), size);
    builder.append_data(&mut header, name, &mut reading)?;
    if reading.size() != size {
        return Err(io::Error::other(format!("`{name}` became shorter while it was read")));
    }
    Ok(digest_line(&reading.finish(), name))
}

fn append_bytes(builder: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> io::Result<String> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, bytes)?;
    Ok(digest_line(&crate::model::document::sha256(bytes), name))
}

/// A line as `sha256sum -c` reads it, which has an escape for odd names.
fn digest_line(digest: &str, name: &str) -> String {
    if name.contains(['\\', '\n', '\r']) {
        let name = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        return format!("\\{digest}  {name}\n");
    }
    format!("{digest}  {name}\n")
}

/// Whether an attempt directory can be carried.
///
/// # Errors
/// If it holds a link, or anything else that is neither a file nor a directory.
pub fn check(directory: &Path) -> io::Result<()> {
    files_below(&Dir::open_ambient_dir(directory, ambient_authority())?).map(drop)
}

fn files_below(root: &Dir) -> io::Result<Vec<(String, bool)>> {
    let mut names = Vec::new();
    walk(root, "", &mut names)?;
    names.sort();
    Ok(names)
}

/// Every regular file below a directory but the host's own, and whether it can be executed. A link is an error: what it
/// points to is not what it seems over there.
fn walk(directory: &Dir, prefix: &str, names: &mut Vec<(String, bool)>) -> io::Result<()> {
    for entry in directory.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        let name =
            name.to_str().ok_or_else(|| io::Error::other(format!("a file name below `{prefix}` is not UTF-8")))?;
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if path == CLAIM || path == FETCHED {
            continue;
        }
        if kind.is_dir() {
            walk(&entry.open_dir()?, &format!("{path}/"), names)?;
        } else if kind.is_file() {
            if !OWN.contains(&path.as_str()) {
                use cap_std::fs::PermissionsExt;
                names.push((path, entry.metadata()?.permissions().mode() & 0o111 != 0));
            }
        } else {
            return Err(io::Error::other(format!(
                "`{path}` is neither a file nor a directory, and cannot go to the cluster"
            )));
        }
    }
    Ok(())
}
