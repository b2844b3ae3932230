//! What can be said of a script without executing it: that it is text, of a size that is taken, and which of the
//! functions are there that are called. Whether it is sound is its interpreter's to say.
use crate::model::document::sha256;
use serde::Serialize;

/// The largest script, in bytes: what can be read in one piece by its interpreter.
const SCRIPT_MAX: usize = 16 * 1024 * 1024;
/// The functions of a campaign.
const CAMPAIGN: [&str; 2] = ["plan", "analyze"];
/// The functions of an operator, and how many of the first of them it has to have.
const OPERATOR: [&str; 6] = ["submit", "reconcile", "check_status", "prepare", "collect_results", "cancel"];
const OPERATOR_NEEDS: usize = 3;

/// What a script is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Script {
    /// `python` or `javascript`.
    pub language: String,
    /// `campaign` or `operator`, by its functions; null if they do not tell.
    pub world: Option<String>,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// The functions that matter and that it seems to have.
    pub functions: Vec<String>,
    /// Why it cannot be used, in sentences that follow its name.
    pub problems: Vec<String>,
}

/// Looks at a script.
pub(super) fn look(language: &'static str, bytes: &[u8]) -> Script {
    let mut script = Script {
        language: language.to_owned(),
        world: None,
        sha256: sha256(bytes),
        size: bytes.len() as u64,
        functions: Vec::new(),
        problems: Vec::new(),
    };
    match text(bytes) {
        Ok(text) => script.read(text),
        Err(why) => script.problems.push(why),
    }
    script
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    if bytes.len() > SCRIPT_MAX {
        return Err(format!("has {} bytes; a script may have {SCRIPT_MAX}", bytes.len()));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err("begins with a byte order mark: save it as UTF-8 without one".to_owned());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        format!("is not UTF-8: byte {} is {:#04x}", error.valid_up_to(), bytes[error.valid_up_to()])
    })?;
    match text.find('\0') {
        Some(at) => Err(format!("is no text: byte {at} is 0")),
        None if text.trim().is_empty() => Err("is empty".to_owned()),
        None => Ok(text),
    }
}

impl Script {
    fn read(&mut self, text: &str) {
        let has = |name: &&str| text.lines().any(|line| names(line, name));
        let of = |all: &[&'static str]| all.iter().copied().filter(|name| has(name)).collect::<Vec<_>>();
        let (campaign, operator) = (of(&CAMPAIGN), of(&OPERATOR));
        let needed = &OPERATOR[..OPERATOR_NEEDS];
        let (world, found, all) = match (campaign.len(), operator.iter().filter(|name| needed.contains(name)).count()) {
            (0, 0) => {
                let campaign = "`plan` and `analyze` (a campaign)";
                let text = format!("has neither {campaign} nor `submit`, `reconcile` and `check_status` (an operator)");
                return self.problems.push(text);
            }
            (_, 0) => ("campaign", campaign, &CAMPAIGN[..]),
            (0, _) => ("operator", operator, needed),
            // what a campaign calls its own functions is its own business
            (_, few) if few < OPERATOR_NEEDS => ("campaign", campaign, &CAMPAIGN[..]),
            (_, _) => ("operator", operator, needed),
        };
        let missing = all.iter().filter(|name| !found.contains(name));
        let article = if world == "operator" { "an" } else { "a" };
        self.problems.extend(missing.map(|name| format!("has no function `{name}`, and {article} {world} has one")));
        self.world = Some(world.to_owned());
        self.functions = found.into_iter().map(str::to_owned).collect();
    }
}

/// Whether a line at the outermost level defines a name, hands it on, or brings it in: a whole word at its beginning,
/// or in a list of names.
fn names(line: &str, name: &str) -> bool {
    let begins = ["def ", "async def ", "function ", "async function ", "const ", "let ", "var ", "import ", "from "];
    let export = line.strip_prefix("export ").unwrap_or(line);
    let export = export.strip_prefix("default ").unwrap_or(export);
    let tells = begins.iter().any(|word| export.starts_with(word))
        || line.starts_with("export")
        || line.starts_with("exports.")
        || line.starts_with("module.exports")
        || export.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='));
    // the argument of a function and what stands behind a comment sign are none of the names
    let head = line.split(['(', '#']).next().unwrap_or_default();
    let head = if line.starts_with("from ") || line.contains('{') { line } else { head };
    tells && head.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::look;

    fn world(language: &'static str, text: &str) -> (Option<String>, Vec<String>) {
        let script = look(language, text.as_bytes());
        (script.world, script.problems)
    }

    #[test]
    fn the_functions_tell_what_a_script_is() {
        for (language, text) in [
            ("python", "import math\ndef plan(ctx, state):\n    pass\n\ndef analyze(ctx, state, results): pass\n"),
            ("python", "from mine import plan, analyze\n"),
            ("python", "plan = make()\nasync def analyze(a, b, c): pass\n"),
            ("javascript", "export function plan(ctx, state) {}\nexport const analyze = (ctx) => 1\n"),
            ("javascript", "function plan() {}\nfunction analyze() {}\nexport { plan, analyze }\n"),
            ("python", "def plan(ctx, state): pass\ndef analyze(c, s, r): pass\ndef submit(x): pass\n"),
        ] {
            assert_eq!(world(language, text), (Some("campaign".to_owned()), Vec::new()), "{text}");
        }
        let operator = "def submit(a): pass\ndef reconcile(a): pass\ndef check_status(a): pass\n";
        assert_eq!(world("python", operator), (Some("operator".to_owned()), Vec::new()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let (_, problems) = world("python", "def plan(ctx, state):\n    def analyze(): pass\n");
        assert_eq!(problems, ["has no function `analyze`, and a campaign has one"]);
        let (_, problems) = world("python", "def submit(a): pass\ndef check_status(a): pass\n");
        assert_eq!(problems, ["has no function `reconcile`, and an operator has one"]);
        let (world, problems) = world("javascript", "// function plan() {}\nconsole.log(1)\n");
        assert!(world.is_none() && problems[0].starts_with("has neither `plan`"), "{problems:?}");
    }

    #[test]
    fn what_is_no_text_is_named() {
        for (bytes, words) in [
            (&b"\xef\xbb\xbfdef plan(): pass"[..], "byte order mark"),
            (b"def plan\xff", "byte 8 is 0xff"),
            (b"a\0b", "byte 1 is 0"),
            (b" \n", "is empty"),
        ] {
            let problems = look("python", bytes).problems;
            assert!(problems[0].contains(words), "{problems:?}");
        }
    }
}
