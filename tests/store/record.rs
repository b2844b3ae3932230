//! What the store keeps of decisions: every try, what it was given, and the state it left.
use super::Place;
use matterstack::model::config::Journal;
use matterstack::model::contract::{Detail, GuestError, OpenTasksRead, ReadRefused, Reads};
use matterstack::model::evidence::{DecisionKind, DecisionOutcome};
use matterstack::store::{Came, FormerState, NewDecision, StoreError, Writer};
use serde_json::{Value, json};

/// What a campaign says of how far it has come.
const SUMMARY: &str = "{\"done\":1,\"text\":\"half of it\"}";
/// A byte of the digest of the file that each decision wrote.
const WRITTEN: &str = "12";

/// What a decision of these tests is told apart by.
struct Told<'a> {
    number: u64,
    former: Option<(u64, &'a str)>,
    reads: Reads,
}

fn add(writer: &Writer<'_>, told: &Told<'_>, came: Came<'_>) -> Result<(), StoreError> {
    let digest = "cd".repeat(32);
    writer.add_decision(
        &NewDecision {
            number: told.number,
            kind: DecisionKind::Plan,
            iteration: 1,
            now_ms: 5,
            plugin_sha256: &digest,
            engine: &matterstack::plugin::this_engine(),
            former: told.former.map(|(number, text)| FormerState { number, text }),
            asked: &["first".to_owned(), "resumed".to_owned()],
            open_tasks: 4,
            supplied: Some("{\"go\":1}"),
            finished: None,
            input_sha256: &digest,
            fuel: 3,
            reads: &told.reads,
            written: &[(WRITTEN.repeat(32), 7)],
        },
        came,
    )
}

fn answer<'a>(state: &'a str, digest: &'a str) -> Came<'a> {
    Came::Answer {
        state,
        rest: "{\"next\":\"wait\",\"reason\":\"so\"}",
        next: Some("wait"),
        reason: "so",
        summary: Some(SUMMARY),
        output_sha256: digest,
    }
}

#[test]
fn every_state_comes_back_though_most_are_kept_as_differences() {
    let place = Place::new(Journal::Wal);
    let digest = "ab".repeat(32);
    let mut seed = 7_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut table: Vec<u64> = (0..600).map(|_| random()).collect();
    let mut states: Vec<String> = Vec::new();
    for number in 1..=200_u64 {
        // a little changes each time, now and then everything does, and one goes back to an early state
        if number % 70 == 0 {
            table.iter_mut().for_each(|value| *value = random());
        }
        let at = (random() % 600) as usize;
        table[at] = random();
        states.push(json!({"round": number, "table": table}).to_string());
        let from = if number == 150 { 20 } else { number - 1 };
        let former = (from > 0).then(|| (from, states[from as usize - 1].clone()));
        let former = former.as_ref().map(|(number, text)| (*number, text.as_str()));
        let told = Told { number, former, reads: Reads::default() };
        place.write(|writer| add(writer, &told, answer(&states[number as usize - 1], &digest))).expect("a decision");
    }
    let store = place.open();
    for (position, state) in states.iter().enumerate() {
        assert_eq!(store.state_of(position as u64 + 1).expect("a state"), *state, "after decision {}", position + 1);
    }
    assert_eq!(store.campaign_state().expect("a state").expect("there is one").0, 200);
    assert_eq!(store.check_invariants().expect("a readable store"), Vec::<String>::new());
    let connection = rusqlite::Connection::open(place.path()).expect("the database");
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count");
    let (kept, whole) = (count("SELECT sum(length(bytes)) FROM states"), count("SELECT sum(size) FROM states"));
    assert!(kept * 15 < whole, "{kept} bytes are kept of {whole}");
    assert!(count("SELECT max(depth) FROM states") <= 64, "no state is far from a whole one");
    assert!(count("SELECT count(*) FROM states WHERE base IS NULL") < 10);
}

#[test]
fn every_try_is_kept_with_what_it_was_given() {
    let place = Place::new(Journal::Wal);
    let digest = "ab".repeat(32);
    let refused = ReadRefused { seq: 1, answer: GuestError::Denied(Detail::new("unknown-digest", "no such file")) };
    let open = [(None, 2, vec!["a".to_owned(), "b".to_owned()]), (Some("b".to_owned()), 2, vec![])];
    let open_tasks: Vec<_> = open.map(|(after, max, tasks)| OpenTasksRead { after, max, tasks }).into();
    let reads = Reads {
        digests: ["ef".repeat(32)].into(),
        refused: vec![refused.clone()],
        count: 2,
        open_tasks: open_tasks.clone(),
    };
    let told = Told { number: 1, former: None, reads };
    let trap = Came::Failure { outcome: DecisionOutcome::Trap, error: "it trapped", said: None };
    place.write(|writer| writer.supply(Some("{\"go\":1}"))).expect("an answer");
    for came in [trap, Came::Failure { outcome: DecisionOutcome::BadOutput, error: "odd", said: Some("{\"x\":0}") }] {
        place.write(|writer| add(writer, &told, came)).expect("a decision");
    }
    assert!(place.open().run().expect("the run").supplied.is_some(), "what failed uses nothing up");
    place.write(|writer| add(writer, &told, answer("{}", &digest))).expect("a decision");
    let twice = place.write(|writer| add(writer, &told, answer("{}", &digest)));
    assert!(twice.is_err(), "a number is answered once");
    let store = place.open();
    let row = store.run().expect("the run");
    assert_eq!((row.decisions, row.supplied.as_deref()), (1, None));
    let summary = row.summary().expect("a summary").expect("there");
    assert_eq!(json!(summary), json!({"done": 1.0, "text": "half of it"}));
    assert_eq!(row.summary_line().as_deref(), Some("half of it"));
    let tries: Vec<(u32, DecisionOutcome)> =
        store.decisions().expect("decisions").iter().map(|one| (one.attempt, one.outcome)).collect();
    assert_eq!(tries, [(1, DecisionOutcome::Trap), (2, DecisionOutcome::BadOutput), (3, DecisionOutcome::Answered)]);
    for place in 1..=3 {
        let input = store.decision_input(place).expect("a readable store").expect("a decision");
        assert_eq!(input.record.supplied, Some(json!({"go": 1})));
        assert_eq!(input.refusals, std::slice::from_ref(&refused));
        assert_eq!(input.config, "{}");
        assert_eq!(store.decision_reads(place).expect("reads"), ["ef".repeat(32)]);
        assert_eq!((input.record.asked.join(" "), input.record.open_tasks), ("first resumed".to_owned(), 4));
        assert_eq!(input.open_tasks, open_tasks);
        let writes: &[String] = if place == 3 { &[WRITTEN.repeat(32)] } else { &[] };
        assert_eq!(store.decision_writes(place).expect("writes"), writes, "what failed leaves no file");
        assert_eq!(input.answer.is_some(), place > 1);
    }
    assert_eq!(store.decision_input(4).expect("a readable store").map(|_| Value::Null), None);
}

#[test]
fn a_backup_is_whole_while_others_write() {
    let place = Place::new(Journal::Wal);
    let copy = place.path().with_file_name("copy.sqlite");
    let reader = place.open();
    place.write(|writer| writer.supply(Some("1"))).expect("a change");
    reader.back_up(&copy).expect("a backup");
    place.write(|writer| writer.supply(Some("2"))).expect("a change");
    assert!(super::everything_at(&copy).contains("Some(\"1\")"));
    assert!(!copy.with_file_name("copy.sqlite-wal").exists(), "the copy stands alone");
}
