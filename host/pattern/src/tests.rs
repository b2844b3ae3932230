use super::*;

fn parsed(text: &str) -> Pattern {
    Pattern::parse(text).unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

fn matched(pattern: &str, path: &str) -> bool {
    Patterns::new(vec![parsed(pattern)], Dots::Written).match_path(path)
}

#[test]
fn patterns_match_as_in_a_shell() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("*.json", &["a.json", "ä.json"], &["d/a.json", ".json", ".a.json", "a.jsonx"]),
        ("a?c", &["abc", "aäc"], &["ac", "a/c", "abbc"]),
        ("?x", &["ax"], &[".x", "x"]),
        ("*?x", &["abx", "ax"], &[".x", "x"]),
        ("[ab]c", &["ac", "bc"], &["cc", "c"]),
        ("[!ab]c", &["cc", "]c"], &["ac", ".c"]),
        ("[^a]x", &["bx"], &["ax"]),
        ("[]a]x", &["]x", "ax"], &["bx"]),
        ("[-a]x", &["-x", "ax"], &["bx"]),
        ("[a-c-]x", &["bx", "-x"], &["dx"]),
        ("[.]x", &[], &[".x"]),
        (".x*", &[".x", ".xy"], &["x"]),
        ("**", &["a", "a/b", "a/b/c"], &[".a", "a/.b", ".a/b"]),
        ("**/*.txt", &["x.txt", "d/e/x.txt"], &["d/.x.txt", ".d/x.txt"]),
        ("a/**", &["a/b", "a/b/c"], &["a", "b/a", "a/.b"]),
        ("a/**/b", &["a/b", "a/c/b", "a/c/d/b"], &["a/b/c", "b"]),
        ("**/.x", &[".x", "a/.x"], &["x"]),
        ("a**b", &["ab", "aXb"], &["a/b"]),
        ("{a,b}.x", &["a.x", "b.x"], &["c.x", "{a,b}.x"]),
        ("{a,{b,c}d}x", &["ax", "bdx", "cdx"], &["bx", "dx"]),
        ("x{,.gz}", &["x", "x.gz"], &["x."]),
        ("{*.json,out/*}", &["a.json", "out/a"], &["out/d/a"]),
        (r"\*\[\?\{", &["*[?{"], &["a"]),
        (r"[\]\\]", &["]", "\\"], &["a"]),
        ("./a//b/./c", &["a/b/c"], &["./a/b/c"]),
        ("a,b", &["a,b"], &["a"]),
        ("x.+()$|^", &["x.+()$|^"], &["x"]),
    ];
    for (pattern, yes, no) in cases {
        for path in *yes {
            assert!(matched(pattern, path), "`{pattern}` names `{path}`");
        }
        for path in *no {
            assert!(!matched(pattern, path), "`{pattern}` does not name `{path}`");
        }
    }
}

#[test]
fn what_can_never_match_is_refused_with_what_to_write_instead() {
    let nested = |depth: usize| format!("{}a{}", "{".repeat(depth), "}".repeat(depth));
    for (text, words) in [
        ("", "empty"),
        ("/scratch/x", "begins with a slash"),
        ("{a,/b}", "begins with a slash"),
        ("../x", "`..` leads out of the job's working directory"),
        ("a/../b", "`..`"),
        (r"\.\./x", "`..`"),
        ("results/", "for all in the folder write `results/**`"),
        ("./results/", "write `results/**`"),
        ("results/.", "write `results/**`"),
        (".", "write `**`"),
        ("{a,b/}", "ends with a slash"),
        ("[a", "`[` is not closed; for the character itself write `\\[`"),
        ("[]", "`[` is not closed"),
        ("{a", "`{` is not closed"),
        ("a}", "`}` closes nothing"),
        ("[z-a]", "the range `z-a` runs backwards"),
        ("[a/b]", "a slash cannot stand"),
        ("a\\", "backslash"),
        ("a\0b", "NUL"),
        (&"a".repeat(LENGTH_MAX + 1), "1025 bytes"),
        (&nested(NESTING_MAX + 1), "nested more than 8 deep"),
        (&nested(300), "nested"),
        (&"{a,b}".repeat(7), "more than 64 alternatives"),
        (&"{a,b}".repeat(100), "more than 64 alternatives"),
        (&format!("{{{}}}", "a,".repeat(100)), "more than 64 alternatives"),
        (&"a/".repeat(65), "ends with a slash"),
        (&format!("{}a", "a/".repeat(64)), "more than 64 components"),
    ] {
        let error = Pattern::parse(text).expect_err(text).to_string();
        assert!(error.contains(words), "`{text}`: {error}");
    }
    assert!(Pattern::parse(&nested(NESTING_MAX)).is_ok());
    assert!(Pattern::parse(&"?".repeat(LENGTH_MAX)).is_ok());
}

/// Numbers that look like chance and come back with the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn text(&mut self, alphabet: &[char], longest: usize) -> String {
        (0..self.below(longest + 1)).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }
}

#[test]
fn no_text_panics_and_walking_agrees_with_whole_paths() {
    let alphabet: Vec<char> = "ab.*?[]{},/\\!^-ä\n\u{1F600}\u{7f}".chars().collect();
    let names: Vec<char> = "ab.*?[-ä".chars().collect();
    let mut chance = Chance(42);
    let mut read = 0;
    for round in 0..60_000 {
        let text = chance.text(&alphabet, 24);
        let Ok(pattern) = Pattern::parse(&text) else { continue };
        read += 1;
        let one = Patterns::new(vec![pattern.clone()], Dots::Written);
        for _ in 0..8 {
            let path: Vec<String> = (0..=chance.below(3)).map(|_| chance.text(&names, 4)).collect();
            let whole = path.join("/");
            // a folder is entered if something in it is named
            if one.match_path(&whole) {
                let mut place = one.root();
                for folder in &path[..path.len() - 1] {
                    place =
                        one.enter(&place, folder).unwrap_or_else(|| panic!("seed 42, round {round}: `{text}` {whole}"));
                }
            }
            for kind in [Kind::File, Kind::Folder, Kind::Link] {
                let _ = misses(&pattern, &[Seen { path: whole.clone(), kind }]);
            }
        }
    }
    assert!(read > 10_000, "{read} texts were patterns");
}

#[test]
fn the_dearest_patterns_cost_little() {
    let stars = parsed(&"*a".repeat(512));
    let name = "a".repeat(255) + "b";
    let many: Vec<Pattern> = (0..PATTERNS_MAX).map(|_| stars.clone()).collect();
    let many = Patterns::new(many, Dots::Written);
    assert!(!many.match_path(&name));
    // the lengths of name and pattern, multiplied
    assert!(many.steps() < 256 * 1025 * PATTERNS_MAX as u64, "{}", many.steps());
    let deep = parsed(&format!("{}x", "**/a/".repeat(31)));
    let path = vec!["a"; 500].join("/");
    assert!(!Patterns::new(vec![deep; 64], Dots::Written).match_path(&path));
}

#[test]
fn only_folders_that_can_hold_a_match_are_entered() {
    let patterns = Patterns::new(["result.csv", "out/*/x", "deep/**/y"].map(parsed).into(), Dots::Written);
    let root = patterns.root();
    assert!(patterns.enter(&root, "p").is_none() && patterns.enter(&root, "result.csv").is_none());
    let out = patterns.enter(&root, "out").expect("out");
    assert!(patterns.enter(&out, "1").is_some() && patterns.enter(&out, ".git").is_none());
    let inner = patterns.enter(&out, "1").expect("out/1");
    assert!(patterns.enter(&inner, "x").is_none());
    let mut deep = patterns.enter(&root, "deep").expect("deep");
    for _ in 0..5 {
        deep = patterns.enter(&deep, "more").expect("below");
    }
    assert_eq!(patterns.named(&deep, "y").collect::<Vec<_>>(), [2]);
}

#[test]
fn a_pattern_that_named_nothing_says_what_was_there() {
    let seen = |all: &[(&str, Kind)]| -> Vec<Seen> {
        all.iter().map(|(path, kind)| Seen { path: (*path).to_owned(), kind: *kind }).collect()
    };
    for (pattern, there, words) in [
        ("latest.chk", &[("latest.chk", Kind::Link)][..], "`latest.chk` is a link"),
        ("*.chk", &[("chk.42", Kind::File), ("latest.chk", Kind::Link)], "`latest.chk` is a link"),
        ("out/x", &[("out", Kind::Link)], "`out` is a link"),
        ("results", &[("results", Kind::Folder)], "write `results/**`"),
        ("results/x", &[("results", Kind::File)], "`results` is a file and no folder"),
        ("pipe", &[("pipe", Kind::Special)], "neither a file nor a folder"),
        ("*.in", &[("geometry.in", Kind::Staged)], "`geometry.in` was staged"),
        ("r[1].txt", &[("r[1].txt", Kind::File)], r"write `r\[1\].txt`"),
        ("*.cfg", &[(".x.cfg", Kind::File)], "a leading dot must be written"),
        ("result.txt", &[("Result.TXT", Kind::File)], "upper and lower case differ"),
        ("Results/x", &[("results", Kind::Folder)], "`results` is there: upper and lower case"),
        ("*.TXT", &[("a.txt", Kind::File)], "`a.txt` is there: upper"),
        ("relaxd.data", &[("other", Kind::File), ("relaxed.data", Kind::File)], "did you mean `relaxed.data`?"),
    ] {
        let miss = misses(&parsed(pattern), &seen(there)).map(|miss| miss.to_string()).unwrap_or_default();
        assert!(miss.contains(words), "`{pattern}`: {miss}");
    }
    assert_eq!(misses(&parsed("energy.dat"), &seen(&[("stdout.log", Kind::File), ("d", Kind::Folder)])), None);
}
