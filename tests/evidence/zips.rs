//! Zips that are made to harm whoever opens them: each is refused with one error, before anything of it is unpacked.
use super::ended;
use super::verified::stranger;
use crate::record::histories::compiler;
use crate::support::bundle::{MANIFEST, Packed, Zip, files};
use crate::support::disk::Disk;
use crate::support::random::Random;
use crate::support::world::World;
use matterstack::evidence::read::{Opened, verify};
use matterstack::failure::FailureKind;
use std::fs;
use std::path::Path;

/// What is said of a zip, by `verify` and by `replay` alike.
#[track_caller]
fn refused(world: &World, zip: Vec<u8>, why: &str) {
    let path = world.root().with_file_name("evil.zip");
    fs::write(&path, zip).expect("a zip");
    for command in [&["evidence", "verify", "evil.zip"][..], &["replay", "evil.zip"]] {
        let done = world.run(command).code(2);
        assert!(done.stderr.contains("`evil.zip`") && done.stderr.contains(why), "{why}: {done:?}");
        assert_eq!(done.stderr.matches("error").count(), 1, "{done:?}");
    }
}

fn sound(place: &Path) -> Zip {
    let mut zip = Zip::default();
    for name in files(place) {
        zip.add(&Packed::of(&name, &fs::read(place.join(&name)).expect("a file")));
    }
    zip
}

#[test]
fn what_would_leave_its_folder_is_refused() {
    let (world, place) = stranger(&ended());
    for (name, why) in [
        ("../evil", "climbs out"),
        ("files/../../evil", "climbs out"),
        ("/etc/evil", "is no path below"),
        ("files//evil", "climbs out"),
        ("./evil", "climbs out"),
        ("..", "climbs out"),
        ("", "is no name"),
        ("a\0b", "is no path below"),
        ("state.sqlite", "is there twice"),
        ("state.sqlite/x", "is a file and a folder"),
        (&"x".repeat(2000), "a name has more than"),
    ] {
        let mut zip = sound(&place);
        zip.add(&Packed::of(name, b"evil"));
        refused(&world, zip.finish(), why);
    }
    for (mode, why) in [(0o120_777, "is a link"), (0o010_644, "no regular file"), (0o020_644, "no regular file")] {
        let mut zip = sound(&place);
        zip.add(&Packed { mode, ..Packed::of("evil", b"/etc/passwd") });
        refused(&world, zip.finish(), why);
    }
    assert!(!place.with_file_name("evil").exists());
    // folders have names of their own in many zips, and mean no harm
    let mut zip = sound(&place);
    zip.add(&Packed { mode: 0o040_755, method: 0, packed: Vec::new(), ..Packed::of("files/", b"") });
    fs::write(world.root().with_file_name("good.zip"), zip.finish()).expect("a zip");
    world.run(&["evidence", "verify", "good.zip"]).code(0);
}

#[test]
fn what_cannot_be_read_in_one_way_alone_is_refused() {
    let (world, place) = stranger(&ended());
    let with = |file: &Packed<'_>| {
        let mut zip = sound(&place);
        zip.add(file);
        zip.finish()
    };
    let packed = || Packed::of("more", b"some text of some length");
    refused(&world, with(&Packed { flags: 1, ..packed() }), "is encrypted");
    refused(&world, with(&Packed { method: 12, ..packed() }), "(method 12)");
    refused(&world, with(&Packed { method: 0, ..packed() }), "cannot have the");
    // the same bytes under two names, as the small bombs have it
    let mut zip = sound(&place);
    zip.again(&Packed::of("twin", &fs::read(place.join(&files(&place)[0])).expect("a file")), 0);
    refused(&world, zip.finish(), "reaches into another file");
    let mut folder = Zip::default();
    folder.add(&Packed::of(&format!("evidence/{MANIFEST}"), b""));
    refused(&world, folder.finish(), "it has no manifest-sha256.txt");
}

#[test]
fn a_zip_that_would_fill_the_disk_is_refused() {
    let (world, place) = stranger(&ended());
    // it says little and holds much
    let mut zip = sound(&place);
    zip.add(&Packed { size: 1025, ..Packed::of("inputs/more", &vec![0; 1 << 20]) });
    fs::write(world.root().with_file_name("evil.zip"), zip.finish()).expect("a zip");
    let done = world.run(&["replay", "evil.zip"]).code(2);
    assert!(done.stderr.contains("it unpacks to more than the 1025 bytes"), "{done:?}");
    // it says more than its bytes can hold
    let mut zip = sound(&place);
    zip.add(&Packed { size: u32::MAX - 1, ..Packed::of("inputs/more", b"little") });
    refused(&world, zip.finish(), "cannot have the 4294967294 bytes");
    // it says what it holds, and that is too much of nothing
    let much = Packed::of("", &vec![0; 16 << 20]);
    let mut zip = sound(&place);
    for number in 0..80 {
        let name = format!("inputs/{number}");
        let (packed, size, crc) = (much.packed.clone(), much.size, much.crc);
        zip.add(&Packed { name: &name, packed, size, crc, ..Packed::of("", b"") });
    }
    refused(&world, zip.finish(), "which no bundle does");
}

#[test]
fn a_million_files_are_refused_within_bounds() {
    let (world, _) = stranger(&ended());
    let mut zip = Zip::default();
    for number in 0..1_000_001_u32 {
        let name = format!("{number:07}");
        zip.again(
            &Packed { name: &name, packed: Vec::new(), size: 0, crc: 0, method: 0, flags: 0, mode: 0o100_644 },
            0,
        );
    }
    let bytes = zip.finish();
    // the number that stands at the end is looked at before anything else is read
    refused(&world, bytes, "it has 1000001 files");
}

#[test]
fn a_machine_without_room_is_told_so_before_anything_is_written() {
    let (world, place) = stranger(&ended());
    let zip = world.root().with_file_name("evil.zip");
    fs::write(&zip, sound(&place).finish()).expect("a zip");
    let disk = Disk::new(8);
    let done = world.run_with(&["replay", "evil.zip"], &[("TMPDIR", disk.root().to_str().expect("UTF-8"))]).code(2);
    assert!(done.stderr.contains("unpacking `evil.zip` takes") && done.stderr.contains("TMPDIR"), "{done:?}");
}

#[test]
fn no_changed_byte_of_a_zip_makes_it_another_bundle() {
    let (_there, place) = stranger(&ended());
    let (zip, path) = (sound(&place).finish(), place.with_extension("zip"));
    let mut random = Random::of(11);
    let (mut refused, mut found, mut meaningless) = (0, 0, 0);
    // headers lie at the ends; in between, a byte in so many
    let ends = (0..60).chain(zip.len() - 1500..zip.len()).step_by(7);
    let between: Vec<usize> = (0..60).map(|_| random.below(zip.len() as u64) as usize).collect();
    for at in ends.chain(between) {
        let mut other = zip.clone();
        other[at] ^= 1 << random.below(8);
        fs::write(&path, &other).expect("a zip");
        let verified = Opened::open(&path).and_then(|mut opened| verify(&mut opened, None, &compiler));
        match verified {
            Err(failure) => {
                assert_eq!(failure.kind, FailureKind::Input, "byte {at}: {failure}");
                refused += 1;
            }
            Ok(verification) if verification.wrong.is_empty() => meaningless += 1,
            Ok(_) => found += 1,
        }
    }
    // times and versions, of which nothing is believed
    assert!(refused > 50 && found > 50 && meaningless < refused + found, "{refused} {found} {meaningless}");
}
