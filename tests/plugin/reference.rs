//! The page on the contract says what the WIT package says, word for word. `UPDATE_GOLDEN=1` writes it anew.
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const BEFORE: &str = "# The plugin contract

Written from the files in [`wit/`](../../wit) by the test that compares them. Documents (`document`) are JSON under published schemas:
`matterstack config schema NAME` prints `context`, `decision`, `tasks`, `results`, `summary`, `job`, `exit`, `usage`, `data`, `manifest`.
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// One thing that the package declares: an interface, a world, or an item of one.
struct Item {
    /// How deep it stands: 0 for interfaces and worlds.
    depth: usize,
    docs: Vec<String>,
    code: String,
}

/// The items of a file in their order. What a record, a variant or an enum holds are items too.
fn items(wit: &str) -> Vec<Item> {
    let (mut items, mut docs, mut depth, mut code) = (Vec::new(), Vec::new(), 0_usize, String::new());
    for line in wit.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            docs.push(doc.trim().to_owned());
        } else if line == "}" {
            depth -= 1;
        } else if !line.is_empty() {
            code = if code.is_empty() { line.to_owned() } else { format!("{code} {line}") };
            let ends = code.ends_with(['{', ';']) || (depth == 2 && code.ends_with(','));
            if ends {
                items.push(Item { depth, docs: std::mem::take(&mut docs), code: std::mem::take(&mut code) });
                depth += usize::from(items.last().is_some_and(|item| item.code.ends_with('{')));
            }
        }
    }
    items
}

/// The text of docs in one line, as a cell of a table takes it.
fn cell(docs: &[String]) -> String {
    docs.join(" ").replace('|', "\\|")
}

fn page() -> String {
    let mut page = BEFORE.to_owned();
    for file in ["types", "campaign", "operator", "host", "world"] {
        let path = root().join("wit").join(file).with_extension("wit");
        let mut in_table = false;
        for item in items(&std::fs::read_to_string(path).expect("a file of the package")) {
            let name = item.code.trim_end_matches(['{', ';', ',']).trim();
            let docs = item.docs.join("\n");
            if item.depth < 2 {
                in_table = false;
            }
            let _ = match (item.depth, name.split_once(' ')) {
                (0, Some(("package", package))) => write!(page, "\nPackage `{package}`. {docs}\n"),
                (0, Some(("world", name))) => write!(page, "\n## world `{name}`\n\n{docs}\n\n"),
                (0, Some((kind, name))) => write!(page, "\n## {kind} `{name}`\n\n{docs}\n"),
                (1, Some(("use", _))) => Ok(()),
                (1, Some((kind @ ("import" | "export" | "include"), name))) => writeln!(page, "- {kind} `{name}`"),
                (1, Some((kind @ ("record" | "variant" | "enum" | "type"), name))) => {
                    write!(page, "\n### {kind} `{name}`\n\n{docs}\n")
                }
                (1, _) => {
                    let short = name.split_once(':').map_or(name, |(short, _)| short);
                    write!(page, "\n### `{short}`\n\n```wit\n{name}\n```\n\n{docs}\n")
                }
                (_, _) => {
                    if !std::mem::replace(&mut in_table, true) {
                        page += "\n| what | meaning |\n|---|---|\n";
                    }
                    writeln!(page, "| `{name}` | {} |", cell(&item.docs))
                }
            };
        }
    }
    page.trim_end().to_owned() + "\n"
}

#[test]
fn the_page_on_the_contract_is_what_the_package_says() {
    let path = root().join("docs/authors/contract.md");
    let page = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).expect("a page");
    }
    assert!(page.contains("### record `context`") && page.contains("| `decision: u64` | The number of this decision"));
    assert_eq!(page, std::fs::read_to_string(&path).unwrap_or_default(), "UPDATE_GOLDEN=1 writes the page anew");
}
