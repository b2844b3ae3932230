//! The simulators as programs: what they answer, that it repeats, and what they refuse.
use super::super::workspace;
use super::{Oracle, SLUG};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SIMULATIONS: [(&str, &str, f64, f64); 2] = [
    ("sim_friction.py", "friction_coefficient", 0.01, 0.5),
    ("sim_dissolution.py", "dissolution_rate_nm_h", 0.1, 10.0),
];

struct Bench {
    scratch: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { scratch: tempfile::tempdir().expect("a scratch directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Runs `python3 SCRIPT input.json -o results.json` with this input.
    fn simulate(&self, script: &str, input: &str) -> Output {
        std::fs::write(self.path("input.json"), input).expect("an input");
        let script = workspace(SLUG).join("scripts").join(script);
        self.python(&script, &["input.json", "-o", "results.json"])
    }

    fn python(&self, script: &Path, arguments: &[&str]) -> Output {
        let mut python = Command::new("python3");
        python.arg("-B").arg(std::fs::canonicalize(script).expect("the script")).args(arguments);
        python.current_dir(self.scratch.path()).output().expect("python3")
    }

    fn results(&self) -> Value {
        let text = std::fs::read_to_string(self.path("results.json")).expect("results.json");
        serde_json::from_str(&text).expect("JSON")
    }
}

fn input(candidate: &str, parts: [u32; 5]) -> Value {
    let fraction = |n: usize| f64::from(parts[n]) / 1000.0;
    let composition =
        json!({"Co": fraction(0), "Cr": fraction(1), "Fe": fraction(2), "Mo": fraction(3), "Ni": fraction(4)});
    json!({"candidate": candidate, "composition": composition})
}

/// Thirty compositions all over the simplex, corners included.
fn inputs() -> impl Iterator<Item = Value> {
    (0..30_u32).map(|n| {
        let mut left = 1000;
        let parts = [0, 1, 2, 3].map(|element| {
            let part = (n * 7919 + element * 104_729 + 13) % (left + 1);
            left -= part;
            part
        });
        let mut all = [parts[0], parts[1], parts[2], parts[3], left];
        all.rotate_left(n as usize % 5);
        input(&format!("c{n:03}"), all)
    })
}

#[test]
fn results_repeat_stay_in_range_and_are_what_the_oracle_of_the_tests_says() {
    let bench = Bench::new();
    let mut oracle = Oracle::start();
    for (n, input) in inputs().enumerate() {
        let answers = oracle.ask(&input);
        for (index, (script, key, least, most)) in SIMULATIONS.into_iter().enumerate() {
            let done = bench.simulate(script, &input.to_string());
            assert!(done.status.success(), "{done:?}");
            let results = bench.results();
            assert_eq!((&results["candidate"], &results["composition"]), (&input["candidate"], &input["composition"]));
            assert_eq!(results[key], answers[index], "{input}");
            let value = results[key].as_f64().expect("a number");
            assert!((least..=most).contains(&value), "{value}");
            if n == 0 {
                bench.simulate(script, &input.to_string());
                assert_eq!(bench.results(), results, "the same input gives the same result");
            }
        }
    }
}

#[test]
fn noise_is_small_and_depends_on_the_candidate() {
    let mut oracle = Oracle::start();
    for index in 0..2 {
        let mut values: Vec<f64> = (0..50)
            .map(|n| {
                oracle.ask(&input(&format!("c{n:03}"), [220, 140, 60, 480, 100]))[index].as_f64().expect("a number")
            })
            .collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        assert!(values.len() > 40, "{values:?}");
        assert!(values[values.len() - 1] < 1.4 * values[0], "{values:?}");
    }
}

#[test]
fn bad_input_ends_with_code_2_and_says_why() {
    let bench = Bench::new();
    let fifths = json!({"Co": 0.2, "Cr": 0.2, "Fe": 0.2, "Mo": 0.2, "Ni": 0.2});
    let with = |element: &str, value: Value| {
        let mut composition = fifths.clone();
        composition[element] = value;
        json!({"candidate": "c001", "composition": composition}).to_string()
    };
    let cases = [
        ("{", "`input.json` is not JSON"),
        ("[]", "`input.json` must hold an object"),
        (r#"{"composition": {}}"#, "`input.json` has no `candidate`"),
        (r#"{"candidate": "c001"}"#, "`input.json` has no `composition`"),
        (r#"{"candidate": 7, "composition": {}}"#, "`candidate` must be a text"),
        (r#"{"candidate": "c001", "composition": {"Co": 1}}"#, "`composition` has no `Cr`, `Fe`, `Mo`, `Ni`"),
        (&with("Co", json!(0.3)), "the fractions of `composition` sum to 1.1, not to 1"),
        (&with("Co", json!("much")), "`composition.Co` is \"much\", not a fraction from 0 to 1"),
        (&with("Mo", json!(-0.2)), "`composition.Mo` is -0.2, not a fraction"),
        (&with("Fe", json!(true)), "`composition.Fe` is true, not a fraction"),
        (&with("W", json!(0)), "`composition` has `W`, which is none of Co, Cr, Fe, Mo, Ni"),
        (
            r#"{"candidate": "c001", "composition": {"Co": NaN, "Cr": 0, "Fe": 0, "Mo": 0, "Ni": 1}}"#,
            "`composition.Co` is NaN",
        ),
    ];
    for (script, ..) in SIMULATIONS {
        for (input, words) in &cases {
            let done = bench.simulate(script, input);
            let said = String::from_utf8_lossy(&done.stderr);
            assert_eq!(done.status.code(), Some(2), "{input}: {said}");
            assert!(said.starts_with("error: ") && said.contains(words), "{input}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(!bench.path("results.json").exists(), "{input} leaves no result");
        }
        let path = workspace(SLUG).join("scripts").join(script);
        let missing = bench.python(&path, &["nothing.json", "-o", "results.json"]);
        assert_eq!(missing.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&missing.stderr).contains("`nothing.json` cannot be read"), "{missing:?}");
        assert_eq!(bench.python(&path, &["input.json"]).status.code(), Some(2), "no -o");
    }
}
