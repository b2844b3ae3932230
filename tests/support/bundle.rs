//! Bundles of evidence as strangers get them, and zips as nobody should make them.
use super::world::World;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

pub(crate) const MANIFEST: &str = "manifest-sha256.txt";

/// SHA-256, as 64 hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bundle of the run `r` of a world, in a folder of its own.
pub(crate) fn bundle(world: &World, out: &Path) -> PathBuf {
    world.run(&["evidence", "r", "--out", &out.display().to_string()]).code(0);
    out.to_owned()
}

/// What a command says of the bundle of the run `r` in this form, `--out` or `--archive`, while the workspaces are
/// gone.
#[track_caller]
fn alone(world: &World, form: &str, command: &[&str]) -> Value {
    let (there, place) = (World::with_tasks(&json!([])), tempfile::tempdir().expect("a folder"));
    let bundle = place.path().join("bundle").display().to_string();
    world.run(&["evidence", "r", form, &bundle]).code(0);
    let aside = world.root().with_file_name("aside");
    fs::rename(world.root(), &aside).expect("they are taken away");
    let done = there.run(&[command, &[&bundle, "--json"]].concat());
    fs::rename(aside, world.root()).expect("they are back");
    done.code(0).json()
}

/// What comes of the decisions of the run `r` where there is nothing but a zip of it, in which nothing may be wrong.
#[track_caller]
pub(crate) fn verified_alone(world: &World) -> Value {
    let found = alone(world, "--archive", &["evidence", "verify"]);
    assert_eq!((&found["wrong"], &found["replay"]["first"]), (&json!([]), &Value::Null), "{found}");
    found["replay"].clone()
}

/// What `replay` says of the run `r` where there is nothing but its bundle, which is the same of a folder and of a zip.
#[track_caller]
pub(crate) fn replayed_alone(world: &World) -> Value {
    let found = alone(world, "--out", &["replay"]);
    assert_eq!(verified_alone(world)["agreed"], found["agreed"]);
    found
}

/// Every file below a folder, by its path in it, sorted.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("a folder").flatten() {
            if entry.file_type().expect("a kind").is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(folder).expect("below").to_str().expect("UTF-8").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Writes the manifest of a folder anew, as whoever altered it could.
pub(crate) fn seal(folder: &Path) {
    let others = files(folder).into_iter().filter(|name| !name.starts_with(MANIFEST));
    let lines = others.map(|name| format!("{}  {name}\n", sha256(&fs::read(folder.join(&name)).expect("a file"))));
    fs::write(folder.join(MANIFEST), lines.collect::<String>()).expect("a manifest");
}

/// A zip in the making, which says of itself whatever it is told to.
#[derive(Default)]
pub(crate) struct Zip {
    bytes: Vec<u8>,
    list: Vec<u8>,
    count: u64,
}

/// What a zip says of a file, and what it has.
pub(crate) struct Packed<'a> {
    pub(crate) name: &'a str,
    pub(crate) packed: Vec<u8>,
    pub(crate) size: u32,
    pub(crate) crc: u32,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    /// The kind and the rights of a file, as Unix has them.
    pub(crate) mode: u32,
}

impl<'a> Packed<'a> {
    pub(crate) fn of(name: &'a str, bytes: &[u8]) -> Self {
        let mut crc = Crc::new();
        crc.update(bytes);
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("a vector");
        let packed = encoder.finish().expect("a vector");
        let (size, crc) = (bytes.len() as u32, crc.sum());
        Self { name, packed, size, crc, method: 8, flags: 0, mode: 0o100_644 }
    }
}

impl Zip {
    pub(crate) fn add(&mut self, file: &Packed<'_>) {
        let at = self.bytes.len() as u32;
        let shared = |to: &mut Vec<u8>| {
            for number in [20, file.flags, file.method, 0, 0x21] {
                to.extend(number.to_le_bytes());
            }
            for number in [file.crc, file.packed.len() as u32, file.size] {
                to.extend(number.to_le_bytes());
            }
            to.extend((file.name.len() as u16).to_le_bytes());
            to.extend(0_u16.to_le_bytes());
        };
        self.bytes.extend(0x0403_4b50_u32.to_le_bytes());
        shared(&mut self.bytes);
        self.bytes.extend(file.name.as_bytes());
        self.bytes.extend(&file.packed);
        self.again(file, at);
    }

    /// Names a file in the list of contents that lies at a place.
    pub(crate) fn again(&mut self, file: &Packed<'_>, at: u32) {
        self.list.extend(0x0201_4b50_u32.to_le_bytes());
        for number in [3 << 8 | 20, 20, file.flags, file.method, 0, 0x21] {
            self.list.extend(u16::to_le_bytes(number));
        }
        for number in [file.crc, file.packed.len() as u32, file.size] {
            self.list.extend(number.to_le_bytes());
        }
        self.list.extend((file.name.len() as u16).to_le_bytes());
        self.list.extend([0; 8]);
        self.list.extend((file.mode << 16).to_le_bytes());
        self.list.extend(at.to_le_bytes());
        self.list.extend(file.name.as_bytes());
        self.count += 1;
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let (begin, size) = (self.bytes.len() as u64, self.list.len() as u64);
        self.bytes.extend(&self.list);
        let wide = self.count >= u64::from(u16::MAX);
        if wide {
            let record = self.bytes.len() as u64;
            self.bytes.extend(0x0606_4b50_u32.to_le_bytes());
            self.bytes.extend(44_u64.to_le_bytes());
            self.bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            for number in [self.count, self.count, size, begin] {
                self.bytes.extend(number.to_le_bytes());
            }
            self.bytes.extend(0x0706_4b50_u32.to_le_bytes());
            self.bytes.extend(0_u32.to_le_bytes());
            self.bytes.extend(record.to_le_bytes());
            self.bytes.extend(1_u32.to_le_bytes());
        }
        let count = if wide { u16::MAX } else { self.count as u16 };
        self.bytes.extend(0x0605_4b50_u32.to_le_bytes());
        self.bytes.extend([0; 4]);
        for number in [count, count] {
            self.bytes.extend(number.to_le_bytes());
        }
        self.bytes.extend((size as u32).to_le_bytes());
        self.bytes.extend((begin as u32).to_le_bytes());
        self.bytes.extend(0_u16.to_le_bytes());
        self.bytes
    }
}

/// A zip of every file below a folder.
pub(crate) fn zipped(folder: &Path) -> Vec<u8> {
    let mut zip = Zip::default();
    for name in files(folder) {
        zip.add(&Packed::of(&name, &fs::read(folder.join(&name)).expect("a file")));
    }
    zip.finish()
}
