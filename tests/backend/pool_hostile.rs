//! The pool of the machine, where somebody or something is in its way: entries of nobody, a damaged ledger, a place
//! that is another's, a full disk. Jobs start all the same.
use super::local::{code, until};
use super::pool::{Machine, SLOT, ends, touch, until_there, waits_for_room};
use crate::support::disk::Disk;
use crate::support::pool::program_on;
use matterstack::ground::machine;
use matterstack::model::contract::Status;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

impl Machine {
    /// Writes a ledger that holds these documents.
    fn write_ledger(&self, records: &[Value]) {
        let directory = self.place.join("matterstack-pool");
        fs::create_dir_all(&directory).expect("a directory");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).expect("permissions");
        let header = json!({"matterstack-pool": 1, "begun": 7, "edits": 0, "ticket": 90});
        let slots = [&[header], records].concat();
        let bytes: Vec<u8> = slots
            .iter()
            .flat_map(|document| {
                let mut slot = document.to_string().into_bytes();
                slot.resize(SLOT - 1, b' ');
                slot.push(b'\n');
                slot
            })
            .collect();
        fs::write(self.ledger(), bytes).expect("a ledger");
    }
}

/// What is done to a ledger.
type Damage<'a> = &'a dyn Fn(&mut fs::File) -> std::io::Result<()>;
/// What is put at the place of the pool.
type Make<'a> = &'a dyn Fn(&Path);

#[test]
fn entries_of_the_dead_and_of_strangers_count_for_nothing() {
    let machine = Machine::new(&json!({"cores": 2}));
    let boot = machine::boot_id().expect("a boot");
    let own = std::process::id() as i32;
    let start = machine::process_start_time(own).expect("it runs");
    let entry = |boot: &str, user: u32, pid: i32, start: u64| {
        json!({"boot": boot, "user": user, "run": "/elsewhere", "at": [1, 1],
               "supervisor": {"pid": pid, "start": start}, "needs": {"cores": 2}})
    };
    let user = machine::user_id();
    let with = |mut entry: Value, key: &str, value: Value| {
        entry[key] = value;
        entry
    };
    let ticket = json!({"number": 1, "since_ms": 0, "passed": 9999});
    let gone = json!({"pid": own, "start": start + 1});
    machine.write_ledger(&[
        entry(&boot, user, i32::MAX, 5),
        entry(&boot, user, own, start + 1),
        entry("another", user, own, start),
        entry(&boot, user + 1, own, start),
        with(entry(&boot, user, own, start), "job", gone),
        with(entry(&boot, user, i32::MAX, 5), "ticket", ticket),
        with(entry(&boot, user, -1, 0), "session", json!(true)),
        json!({"half": "an entry"}),
    ]);
    let run = machine.run(2);
    let handle = run.submit("e1", r#"{"command":["true"],"resources":{"cores":2}}"#);
    run.go();
    assert_eq!(ends(&run, "e1", &handle), Status::Succeeded);
    // and one of somebody who lives does
    machine.write_ledger(&[entry(&boot, user, own, start)]);
    let second = run.submit("e2", r#"{"command":["true"]}"#);
    run.go();
    assert!(waits_for_room(&run, "e2", &second).contains("run `/elsewhere` holds 2 cores"));
    machine.write_ledger(&[]);
    assert_eq!(ends(&run, "e2", &second), Status::Succeeded);
}

#[test]
fn a_damaged_ledger_loses_nothing_and_stops_nothing() {
    let huge = |file: &mut fs::File| file.set_len(1 << 40);
    let damages: [(&str, Damage<'_>); 4] = [
        ("garbage", &|file| file.write_all(&[0xff; 9000])),
        ("half a line", &|file| file.write_all(b"{\"matterstack-pool\":1,\"beg\n")),
        ("huge", &huge),
        ("another format", &|file| file.write_all(b"{\"matterstack-pool\":9,\"begun\":1,\"edits\":1,\"ticket\":1}\n")),
    ];
    for (name, damage) in damages {
        let machine = Machine::new(&json!({"cores": 2}));
        let (holder, other, gate) = (machine.run(2), machine.run(2), machine.path("gate"));
        let held = holder.submit("h1", &until_there(&gate, 1));
        holder.go();
        until(|| code(&holder.status("h1", &held)) == "running");
        let mut file = fs::File::options().write(true).truncate(true).open(machine.ledger()).expect("the ledger");
        damage(&mut file).expect(name);
        let wide = other.submit("o1", r#"{"command":["true"],"resources":{"cores":2}}"#);
        let small = other.submit("o2", r#"{"command":["true"]}"#);
        other.go();
        assert_eq!(ends(&other, "o2", &small), Status::Succeeded, "{name}");
        let told = waits_for_room(&other, "o1", &wide);
        assert!(told.contains("holds 1 core") || told.contains("damaged"), "{name}: {told}");
        touch(&gate);
        assert_eq!(ends(&other, "o1", &wide), Status::Succeeded, "{name}");
        assert_eq!(ends(&holder, "h1", &held), Status::Succeeded, "{name}");
    }
}

#[test]
fn a_place_that_cannot_be_trusted_is_not_used_and_stops_nothing() {
    let makes: [(&str, Make<'_>); 4] = [
        ("is a link", &|place| symlink("/tmp", place).expect("a link")),
        ("is no directory", &|place| touch(place)),
        ("may be written by others", &|place| {
            fs::create_dir(place).expect("a directory");
            fs::set_permissions(place, fs::Permissions::from_mode(0o777)).expect("permissions");
        }),
        ("belongs to", &|place| {
            fs::create_dir(place).expect("a directory");
            std::os::unix::fs::chown(place, Some(4321), None).expect("another user");
        }),
    ];
    let superuser = machine::user_id() == 0;
    for (why, make) in makes.into_iter().filter(|(why, _)| superuser || *why != "belongs to") {
        let machine = Machine::new(&json!({"cores": 2}));
        make(&machine.place.join("matterstack-pool"));
        let (run, log) = (machine.run(4), machine.path("log"));
        let line = format!("echo + >> {0}; sleep 0.05; echo - >> {0}", log.display());
        let attempts: Vec<String> = (0..6).map(|number| format!("t{number}")).collect();
        let job = json!({"command": line}).to_string();
        let handles: Vec<_> = attempts.iter().map(|attempt| run.submit(attempt, &job)).collect();
        run.go();
        for (attempt, handle) in attempts.iter().zip(&handles) {
            assert_eq!(ends(&run, attempt, handle), Status::Succeeded, "{why}");
        }
        // the run keeps to what there is by itself
        let (mut busy, mut most) = (0_i32, 0);
        for line in fs::read_to_string(log).expect("a log").lines() {
            busy += if line == "+" { 1 } else { -1 };
            most = most.max(busy);
        }
        assert_eq!(most, 2, "{why}");
        let mut doctor = std::process::Command::new(program_on(&machine.place));
        let told = doctor.args(["doctor", "--json"]).env("HOME", machine.directory.path()).output().expect("doctor");
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(told.contains("there is no ledger") && told.contains(why), "{why}: {told}");
    }
}

#[test]
fn a_full_disk_under_the_ledger_stops_nothing() {
    let disk = Disk::new(16);
    let machine = Machine::new(&json!({"cores": 2}));
    on_disk(&machine, &disk);
    let filled = fs::write(disk.root().join("filler"), vec![1_u8; 32 << 20]);
    assert!(filled.is_err(), "there is room left");
    let run = machine.run(2);
    let attempts: Vec<String> = (0..6).map(|number| format!("f{number}")).collect();
    let handles: Vec<_> = attempts.iter().map(|attempt| run.submit(attempt, r#"{"command":["true"]}"#)).collect();
    run.go();
    for (attempt, handle) in attempts.iter().zip(&handles) {
        assert_eq!(ends(&run, attempt, handle), Status::Succeeded, "{attempt}");
    }
}

/// Lets the place of the pool, and nothing else of the machine, lie on a disk.
fn on_disk(machine: &Machine, disk: &Disk) {
    let there = disk.root().join("machine");
    fs::create_dir_all(there.join("matterstack-pool")).expect("a directory");
    fs::set_permissions(there.join("matterstack-pool"), fs::Permissions::from_mode(0o700)).expect("permissions");
    let settings = machine.place.join("config.json");
    fs::remove_file(machine.place.join("matterstack")).ok();
    symlink(&settings, there.join("config.json")).expect("a link");
    program_on(&machine.place);
    let script = fs::read_to_string(machine.place.join("matterstack")).expect("a script");
    let script = script.replace(&machine.place.display().to_string(), &there.display().to_string());
    fs::write(machine.place.join("matterstack"), script).expect("a script");
}
