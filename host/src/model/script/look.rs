//! What can be said of a script without executing it: that it is text, of a size that is taken, and which of the
//! functions are there that are called. Whether it is sound is its interpreter's to say. Where a function might be
//! there after all, it is taken to be: what is refused here is refused for sure.
use super::Language;
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
pub fn look(language: Language, bytes: &[u8]) -> Script {
    let mut script = Script {
        language: language.runner().to_owned(),
        world: None,
        sha256: sha256(bytes),
        size: bytes.len() as u64,
        functions: Vec::new(),
        problems: Vec::new(),
    };
    match text(bytes) {
        Ok(text) => script.read(language, text),
        Err(why) => script.problems.push(why),
    }
    script
}

/// Why a script cannot be what the configuration makes it, in words that follow its name; nothing if it may be.
pub fn unfit(language: Language, bytes: &[u8], operator: bool) -> Option<String> {
    let text = match text(bytes) {
        Ok(text) => text,
        Err(why) => return Some(why),
    };
    let (kind, needed) = match operator {
        true => ("an operator", &OPERATOR[..OPERATOR_NEEDS]),
        false => ("a campaign", &CAMPAIGN[..]),
    };
    let missing = needed.iter().find(|name| !may_have(language, text, name))?;
    Some(format!("has no function `{missing}`, and {kind} has one"))
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    if bytes.len() > SCRIPT_MAX {
        return Err(format!("has {} bytes; a script may have {SCRIPT_MAX}", bytes.len()));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err("begins with a byte order mark: save it as UTF-8 without one".to_owned());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        format!("is not UTF-8: byte {} is {:#04x}; save it as UTF-8", error.valid_up_to(), bytes[error.valid_up_to()])
    })?;
    match text.find('\0') {
        Some(at) => Err(format!("is no text in UTF-8: byte {at} is 0")),
        None if text.trim().is_empty() => Err("is empty".to_owned()),
        None => Ok(text),
    }
}

impl Script {
    fn read(&mut self, language: Language, text: &str) {
        let defined = |name: &&str| text.lines().any(|line| names(line, name));
        let of = |all: &[&'static str], has: &dyn Fn(&&str) -> bool| {
            all.iter().copied().filter(|name| has(name)).collect::<Vec<_>>()
        };
        let needed = &OPERATOR[..OPERATOR_NEEDS];
        let (plain, few) = (of(&CAMPAIGN, &defined).len(), of(needed, &defined).len());
        let may = |name: &&str| may_have(language, text, name);
        let (campaign, operator) = match (plain, few) {
            // what is packed or handed on is found by its words alone
            (0, 0) => (of(&CAMPAIGN, &may).len(), of(needed, &may).len()),
            seen => seen,
        };
        let (world, all, needed) = match (campaign, operator) {
            (0, 0) => {
                let campaign = "`plan` and `analyze` (a campaign)";
                let text = format!("has neither {campaign} nor `submit`, `reconcile` and `check_status` (an operator)");
                return self.problems.push(text);
            }
            // what a campaign calls its own functions is its own business
            (1.., few) if few < OPERATOR_NEEDS => ("campaign", &CAMPAIGN[..], &CAMPAIGN[..]),
            (_, _) => ("operator", &OPERATOR[..], needed),
        };
        let found = of(all, &may);
        let missing = needed.iter().filter(|name| !found.contains(name));
        let article = if world == "operator" { "an" } else { "a" };
        self.problems.extend(missing.map(|name| format!("has no function `{name}`, and {article} {world} has one")));
        self.world = Some(world.to_owned());
        self.functions = found.into_iter().map(str::to_owned).collect();
    }
}

/// Whether a script may have a function: its name stands somewhere where that could make it one.
fn may_have(language: Language, text: &str, name: &str) -> bool {
    match language {
        Language::Python => may_be_in_python(text, name),
        Language::JavaScript => {
            text.contains("export *") || text.lines().filter(|line| !is_remark(line)).any(|line| has_word(line, name))
        }
    }
}

/// A line of a comment, by how it begins. What begins later in a line may stand in a text, and is no comment for sure.
fn is_remark(line: &str) -> bool {
    let line = line.trim_start();
    ["//", "/*", "* ", "*/"].iter().any(|sign| line.starts_with(sign)) && !line.contains("*/ ")
}

/// Names at the outermost level: in a line that begins there, or in one further in that no function or class holds.
fn may_be_in_python(text: &str, name: &str) -> bool {
    // what makes names of other texts
    const MAKES: [&str; 5] = ["import *", "globals(", "exec(", "setattr(", "__getattr__"];
    if MAKES.iter().any(|word| text.contains(word)) {
        return true;
    }
    let mut held = false;
    text.lines().any(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let outermost = line.starts_with(|c: char| !c.is_whitespace());
        if outermost {
            held = ["def ", "async ", "class "].iter().any(|word| line.starts_with(word));
        }
        let head = if held { line.split(['(', ':']).next().unwrap_or_default() } else { line };
        (outermost || !held || line.trim_start().starts_with("global ")) && has_word(head, name)
    })
}

fn has_word(line: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    line.match_indices(name).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + name.len()..]);
        let of_other = before.ends_with('.') && !before.ends_with("exports.") && !before.ends_with("globalThis.");
        !of_other && !before.ends_with(part) && !after.starts_with(part)
    })
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
    use super::super::Language;
    use super::{look, unfit};

    fn language(name: &str) -> Language {
        Language::of_runner(name).expect("a language")
    }

    fn world(name: &'static str, text: &str) -> (Option<String>, Vec<String>) {
        let script = look(language(name), text.as_bytes());
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
            (b"def plan\xff", "byte 8 is 0xff; save it as UTF-8"),
            (b"a\0b", "byte 1 is 0"),
            (b" \n", "is empty"),
        ] {
            let problems = look(Language::Python, bytes).problems;
            assert!(problems[0].contains(words), "{problems:?}");
        }
    }

    #[test]
    fn what_may_be_there_is_not_refused() {
        let both = "def plan(c, s): pass\n";
        for (of, text) in [
            ("python", "from mine import *\n".to_owned()),
            ("python", format!("from mine import (\n    analyze,\n)\n{both}")),
            ("python", format!("{both}if True:\n    def analyze(c, s, r): pass\n")),
            ("python", format!("{both}class A:\n    pass\na, analyze = 1, A()\n")),
            ("python", format!("{both}globals()['ana' + 'lyze'] = len\n")),
            ("python", format!("{both}def make():\n    global analyze\n    analyze = len\n")),
            ("javascript", "var a=1;function b(){}export{b as plan,a as analyze};".to_owned()),
            ("javascript", "function x() {}\nexport {\n  x as plan,\n  x as analyze\n};\n".to_owned()),
            ("javascript", "export * from \"./mine.js\";\n".to_owned()),
            ("javascript", "const u = 'http://x'; exports.plan = f; exports.analyze = g\n".to_owned()),
        ] {
            assert_eq!(unfit(language(of), text.as_bytes(), false), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_there_for_sure_is_refused() {
        let plan = "def plan(ctx, analyze):\n    results.analyze()\n    analyze = 1\n# analyze\n";
        for (of, text, operator, words) in [
            ("python", plan, false, "has no function `analyze`, and a campaign has one"),
            ("python", plan, true, "has no function `submit`, and an operator has one"),
            ("javascript", "export function plan(c, s) { s.analyze(); }\n// analyze\n", false, "no function `analyze`"),
            ("javascript", "export const submit = 1, reconcile = 2;\n", true, "no function `check_status`"),
            ("python", "", true, "is empty"),
        ] {
            let why = unfit(language(of), text.as_bytes(), operator);
            assert!(why.as_ref().is_some_and(|why| why.contains(words)), "{text}: {why:?}");
        }
    }
}
