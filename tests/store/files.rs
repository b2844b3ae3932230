//! Files that are no store of ours are refused and left as they are; the journal is the one that is safe where the file
//! lies.
use super::{Place, busy, everything, everything_at};
use matterstack::model::config::Journal;
use matterstack::store::{Durability, Store, StoreError};
use std::path::Path;

/// Asserts that a file is refused both ways, and not touched.
#[track_caller]
fn refused(path: &Path, expected: impl Fn(&StoreError) -> bool) {
    let before = std::fs::read(path).expect("bytes");
    for result in [Store::open(path, (Journal::Auto, false), |_| true), Store::read(path)] {
        let error = result.expect_err("it is no store of ours");
        assert!(expected(&error), "{error:?}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error} names the file");
    }
    assert!(std::fs::read(path).expect("bytes") == before, "it is as it was");
}

#[test]
fn a_newer_store_is_refused_and_left_alone() {
    for mode in ["wal", "delete"] {
        let place = busy();
        let connection = rusqlite::Connection::open(place.path()).expect("the database");
        let known: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a version");
        connection.pragma_update(None, "user_version", known + 1).expect("a version");
        connection
            .execute_batch("ALTER TABLE run ADD COLUMN later TEXT; PRAGMA wal_checkpoint(TRUNCATE)")
            .expect("it is changed");
        connection.pragma_update(None, "journal_mode", mode).expect("a journal");
        drop(connection);
        let too_new = |error: &StoreError| matches!(error, StoreError::TooNew(_, found, max) if *found == known + 1 && *max == known);
        refused(&place.path(), too_new);
        let names = std::fs::read_dir(place.directory.path()).expect("files").flatten();
        let names: Vec<_> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        assert!(names.iter().all(|name| !name.contains(".v")), "no backup of it is made: {names:?}");
    }
}

#[test]
fn a_store_of_before_the_record_is_refused_by_name() {
    let place = busy();
    let connection = rusqlite::Connection::open(place.path()).expect("the database");
    connection
        .execute_batch("PRAGMA application_id = 0; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = delete")
        .expect("as it was once");
    drop(connection);
    refused(&place.path(), |error| {
        matches!(error, StoreError::Before(_)) && error.to_string().contains("from before the record")
    });
    let connection = rusqlite::Connection::open(place.path()).expect("the database");
    connection.pragma_update(None, "application_id", 7).expect("somebody else's");
    drop(connection);
    refused(&place.path(), |error| matches!(error, StoreError::Corrupt(..)));
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let path = directory.path().join("state.sqlite");
    let mut scrambled = b"SQLite format 3\0".to_vec();
    scrambled.resize(8192, 0xa5);
    for bytes in [&b""[..], b"x", b"SQLite format 3", b"this is a text and no database at all", &scrambled] {
        std::fs::write(&path, bytes).expect("a file");
        refused(&path, |error| matches!(error, StoreError::Corrupt(..)));
    }
    std::fs::remove_file(&path).expect("a file");
    for result in [Store::open(&path, (Journal::Auto, false), |_| true), Store::read(&path)] {
        assert!(matches!(result.expect_err("there is nothing"), StoreError::Missing(_)));
    }
    assert!(!path.exists(), "looking for it does not make it");
    // Somebody else's database: SQLite, and no schema of ours.
    let connection = rusqlite::Connection::open(&path).expect("a database");
    connection.execute_batch("CREATE TABLE notes (text TEXT)").expect("a table");
    drop(connection);
    refused(&path, |error| matches!(error, StoreError::Corrupt(..)));
    std::fs::remove_file(&path).expect("a file");
    std::fs::create_dir(&path).expect("a directory");
    assert!(Store::read(&path).is_err());
}

#[test]
fn a_truncated_store_is_refused_or_named() {
    let place = busy();
    drop(
        rusqlite::Connection::open(place.path())
            .expect("the database")
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"),
    );
    let whole = std::fs::read(place.path()).expect("bytes");
    for part in [1, 2, 3, 5, 7, 9] {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let path = directory.path().join("state.sqlite");
        let cut = &whole[..whole.len() * part / 10];
        std::fs::write(&path, cut).expect("a file");
        let found = Store::open(&path, (Journal::Wal, false), |_| true).and_then(|store| store.check_invariants());
        assert!(!matches!(&found, Ok(broken) if broken.is_empty()), "{part}/10 of a store is taken for whole");
        assert!(std::fs::read(&path).expect("bytes") == cut, "{part}/10: it is as it was");
    }
}

fn journal_of(path: &Path) -> String {
    let connection = rusqlite::Connection::open(path).expect("the database");
    connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).expect("a mode")
}

#[test]
fn the_journal_follows_the_setting_and_the_file_system() {
    for (journal, network, mode) in [
        (Journal::Auto, false, "wal"),
        (Journal::Auto, true, "delete"),
        (Journal::Wal, true, "wal"),
        (Journal::Rollback, false, "delete"),
    ] {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let path = directory.path().join("state.sqlite");
        drop(Store::create(&path, journal, network).expect("a new store"));
        assert_eq!(journal_of(&path), mode, "{journal:?}, network: {network}");
    }
}

#[test]
fn a_store_that_comes_to_a_network_file_system_changes_its_journal() {
    let place = Place::new(Journal::Auto);
    let before = everything_at(&place.path());
    for (network, mode) in [(true, "delete"), (false, "wal"), (true, "delete")] {
        let mut store = Store::open(&place.path(), (Journal::Auto, network), |_| true).expect("it opens");
        assert_eq!(everything(&store), before);
        for durability in [Durability::Lazy, Durability::Full] {
            store.transaction(durability, |writer| writer.set_cursor("local", mode)).expect("a commit");
        }
        let log = place.path().with_file_name("state.sqlite-wal").exists();
        assert_eq!(log, mode == "wal", "only a write-ahead log has a log beside it");
        store.transaction(Durability::Full, |writer| writer.forget_cursors()).expect("a commit");
        drop(store);
        assert_eq!(journal_of(&place.path()), mode);
    }
}

#[test]
fn a_store_is_never_made_over_another() {
    let place = Place::new(Journal::Wal);
    let before = everything_at(&place.path());
    let refused = Store::create(&place.path(), Journal::Wal, false);
    assert!(matches!(refused, Err(StoreError::Exists(_))), "{refused:?}");
    assert_eq!(everything_at(&place.path()), before);
}

#[test]
fn a_look_in_the_same_process_takes_no_lock_away() {
    let world = crate::support::world::World::with_tasks(&serde_json::json!([]));
    world.init();
    let path = world.run_dir("r").join("state.sqlite");
    let mut store = Store::open(&path, (Journal::Wal, false), |_| true).expect("it opens");
    drop(Store::read(&path).expect("a look"));
    store.transaction(Durability::Full, |writer| writer.set_cursor("local", "kept")).expect("a commit");
    // The last to close a database takes its log away: another process must see that it is not the last.
    world.run(&["status", "r"]).code(0);
    assert!(path.with_file_name("state.sqlite-wal").exists(), "the log of an open database is there");
    drop(store);
    let kept = Store::read(&path).and_then(|store| store.cursors()).expect("cursors");
    assert_eq!(kept["local"], "kept");
}
