//! `evidence sign`, and who is believed to have signed: by us, and by `ssh-keygen` itself.
use super::ended;
use super::verified::stranger;
use crate::support::bundle::{MANIFEST, Packed, Zip, seal, zipped};
use crate::support::disk::Disk;
use crate::support::world::{Done, World};
use serde_json::{Value, json};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NAMESPACE: &str = "evidence@matterstack";

/// Makes a key, and a file that says whose it is.
fn key(place: &Path, name: &str, kind: &[&str]) -> PathBuf {
    let path = place.join(name);
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-N", "", "-C", name, "-f"]).arg(&path).args(kind);
    assert!(keygen.status().expect("ssh-keygen").success());
    let public = fs::read_to_string(path.with_extension("pub")).expect("a public key");
    let mut signers = fs::read_to_string(place.join("signers")).unwrap_or_default();
    signers += &format!("{name}@lab.example {public}");
    fs::write(place.join("signers"), signers).expect("a file");
    path
}

/// Whether `ssh-keygen` takes the signature of a bundle for that of somebody.
fn taken_by_ssh(bundle: &Path, signers: &Path, who: &str) -> bool {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-Y", "verify", "-n", NAMESPACE, "-I", who, "-f"]).arg(signers).arg("-s");
    keygen.arg(bundle.join("manifest-sha256.txt.sig")).stdin(File::open(bundle.join(MANIFEST)).expect("a manifest"));
    keygen.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("ssh-keygen").success()
}

fn sign(world: &World, key: &Path) -> Done {
    world.run(&["evidence", "sign", "bundle", "--key", key.to_str().expect("UTF-8"), "--json"])
}

#[track_caller]
fn verify(world: &World, bundle: &str, code: i32) -> Value {
    world.run(&["evidence", "verify", bundle, "--signers", "keys/signers", "--json"]).code(code).json()
}

fn keys(world: &World) -> PathBuf {
    let place = world.root().with_file_name("keys");
    fs::create_dir(&place).expect("a folder");
    place
}

#[test]
fn every_kind_of_key_signs_and_is_known_again() {
    let (there, place) = stranger(&ended());
    let keys = keys(&there);
    for (name, kind) in [
        ("ed25519", &["-t", "ed25519"][..]),
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
        ("p521", &["-t", "ecdsa", "-b", "521"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
    ] {
        let key = key(&keys, name, kind);
        let told = sign(&there, &key).code(0).json();
        let found = verify(&there, "bundle", 0);
        let who = format!("{name}@lab.example");
        assert_eq!((&found["signed"]["signer"], &found["wrong"]), (&json!(who), &json!([])), "{found}");
        assert_eq!(found["signed"]["fingerprint"], told["fingerprint"]);
        assert!(taken_by_ssh(&place, &keys.join("signers"), &who), "{name}");
    }
    // the line that is printed for who trusts no program of ours does what it says
    let done = there.run(&["evidence", "verify", "bundle", "--signers", "keys/signers"]).code(0);
    assert!(done.stdout.contains("signed by rsa@lab.example, with the key SHA256:"), "{done:?}");
    let (_, line) = done.stderr.split_once("without this program: ").expect("a line");
    let shell = Command::new("sh").arg("-c").arg(line).current_dir(there.root().with_file_name("")).output();
    assert!(shell.expect("a shell").status.success(), "{line}");
    // in a zip the signature is the same
    fs::write(place.with_extension("zip"), zipped(&place)).expect("a zip");
    assert_eq!(verify(&there, "bundle.zip", 0)["signed"]["signer"], "rsa@lab.example");
    // without a file of signers a key is a key
    let done = there.run(&["evidence", "verify", "bundle"]).code(0);
    assert!(
        done.stdout.contains("signed by nobody that is named") && done.stderr.contains("--signers FILE"),
        "{done:?}"
    );
}

#[test]
fn an_agent_signs_with_a_key_that_lies_nowhere() {
    let (there, place) = stranger(&ended());
    let keys = keys(&there);
    let key = key(&keys, "ada", &["-t", "ed25519"]);
    let socket = keys.join("agent");
    let mut agent =
        Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().expect("an agent");
    crate::support::until("the agent is there", || socket.exists());
    let added = Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket).status();
    assert!(added.expect("ssh-add").success());
    fs::remove_file(&key).expect("the private key");
    let public = keys.join("ada.pub");
    let arguments = ["evidence", "sign", "bundle", "--key", public.to_str().expect("UTF-8")];
    let done = there.run_with(&arguments, &[("SSH_AUTH_SOCK", socket.to_str().expect("UTF-8"))]);
    agent.kill().expect("the agent");
    agent.wait().expect("the agent");
    assert_eq!(done.code(0).stdout, "bundle/manifest-sha256.txt.sig\n");
    assert!(taken_by_ssh(&place, &keys.join("signers"), "ada@lab.example"));
    assert_eq!(verify(&there, "bundle", 0)["signed"]["signer"], "ada@lab.example");
    let done = sign(&there, &public).code(2);
    assert!(done.stderr.contains("made no signature with"), "{done:?}");
}

#[test]
fn a_signature_that_does_not_count_is_told() {
    let (there, place) = stranger(&ended());
    let keys = keys(&there);
    let ada = key(&keys, "ada", &["-t", "ed25519"]);
    let signers = fs::read_to_string(keys.join("signers")).expect("a file");
    let mallory = key(&keys, "mallory", &["-t", "ed25519"]);
    fs::write(keys.join("signers"), signers).expect("a file");
    let signature = place.join("manifest-sha256.txt.sig");
    let told = |why: &str| {
        let found = verify(&there, "bundle", 1);
        let wrong = &found["wrong"][0];
        assert_eq!(
            (&wrong["what"], found["wrong"].as_array().map(Vec::len)),
            (&json!("signature"), Some(1)),
            "{found}"
        );
        assert!(wrong["detail"].as_str().expect("why").contains(why), "{found}");
        assert!(!taken_by_ssh(&place, &keys.join("signers"), "ada@lab.example"), "{why}");
        found
    };
    told("is missing");
    sign(&there, &mallory).code(0);
    let found = told("nobody has in the file of signers");
    assert!(found["signed"]["fingerprint"].is_string() && found["signed"]["signer"].is_null(), "{found}");
    // an older manifest
    sign(&there, &ada).code(0);
    assert_eq!(verify(&there, "bundle", 0)["signed"]["signer"], "ada@lab.example");
    let (readme, before) = (place.join("README.md"), fs::read(place.join("README.md")).expect("a file"));
    fs::write(&readme, "another report\n").expect("a file");
    seal(&place);
    told("is not of this manifest");
    // what is not as its manifest says is signed by nobody
    fs::write(&readme, before).expect("a file");
    let done = sign(&there, &ada).code(2);
    assert!(done.stderr.contains("is not signed: `README.md` is altered"), "{done:?}");
    seal(&place);
    assert_eq!(verify(&there, "bundle", 0)["signed"]["signer"], "ada@lab.example");
    // one for another purpose
    let mut keygen = Command::new("ssh-keygen");
    keygen
        .args(["-q", "-Y", "sign", "-n", "file", "-f"])
        .arg(&ada)
        .stdin(File::open(place.join(MANIFEST)).expect("a file"));
    let other = keygen.stderr(Stdio::null()).output().expect("ssh-keygen").stdout;
    fs::write(&signature, other).expect("a signature");
    told("was made for `file`");
    fs::write(&signature, "no signature").expect("a signature");
    told("is not a signature as");
}

/// Unpacks a zip as somebody does who has none of our programs.
fn unpacked(zip: &Path) -> PathBuf {
    let folder = zip.with_extension("unpacked");
    let status = Command::new("python3").args(["-m", "zipfile", "-e"]).arg(zip).arg(&folder).status();
    assert!(status.expect("python3").success());
    folder
}

#[test]
fn a_zip_is_signed_as_it_is() {
    let world = ended();
    let (there, place) = stranger(&world);
    let keys = keys(&there);
    let ada = key(&keys, "ada", &["-t", "ed25519"]);
    let (zip, key) = (place.with_file_name("sent.zip"), ada.to_str().expect("UTF-8"));
    let (sent, linked) = (zip.to_str().expect("UTF-8"), place.with_file_name("link.zip"));
    let pack = || world.run(&["evidence", "r", "--archive", sent]).code(0);
    let sign = |name: &str| there.run(&["evidence", "sign", name, "--key", key, "--json"]);
    assert!(!pack().stderr.contains("signed"));
    let before = fs::read(&zip).expect("a zip");
    // a kill in the middle leaves it as it was, and a link where it lies
    std::os::unix::fs::symlink(&zip, &linked).expect("a link");
    fs::set_permissions(&zip, Permissions::from_mode(0o640)).expect("rights");
    let arguments = ["evidence", "sign", "link.zip", "--key", key];
    let done = there.run_with(&arguments, &[("MATTERSTACK_FAILPOINT", "evidence.written")]);
    assert!(done.code.is_none() && fs::read(&zip).expect("a zip") == before, "{done:?}");
    let told = sign("link.zip").code(0).json();
    assert!(told["path"] == "link.zip" && linked.is_symlink(), "{told}");
    assert_eq!(fs::metadata(&zip).expect("a zip").permissions().mode() & 0o777, 0o640);
    // it is the zip of the signed folder, byte for byte, and stays signed while the run is the same
    let signed = fs::read(&zip).expect("a zip");
    assert!(before != signed && !pack().stderr.contains("signed"));
    assert!(fs::read(&zip).expect("a zip") == signed, "another zip than of the signed folder");
    assert_eq!(verify(&there, "sent.zip", 0)["signed"]["signer"], "ada@lab.example");
    let folder = unpacked(&zip);
    assert_eq!(verify(&there, folder.to_str().expect("UTF-8"), 0)["signed"]["fingerprint"], told["fingerprint"]);
    assert!(taken_by_ssh(&folder, &keys.join("signers"), "ada@lab.example"));
    // one that was packed by others, and a second signature, which takes the place of the first
    fs::write(folder.join("manifest-sha256.txt.sig"), "another").expect("a file");
    let mut python = Command::new("python3");
    python.args(["-m", "zipfile", "-c", "../others.zip"]).args(entries(&folder)).current_dir(&folder);
    assert!(python.status().expect("python3").success());
    assert_eq!(verify(&there, "others.zip", 1)["wrong"][0]["what"], "signature");
    for _ in 0..2 {
        sign("others.zip").code(0);
        assert_eq!(verify(&there, "others.zip", 0)["signed"]["signer"], "ada@lab.example");
    }
    // what is not as its manifest says is not signed, and nothing is left beside it
    fs::write(folder.join("README.md"), "another report").expect("a file");
    fs::write(place.with_file_name("others.zip"), zipped(&folder)).expect("a zip");
    let done = sign("others.zip").code(2);
    assert!(done.stderr.contains("is not signed: `README.md` is altered"), "{done:?}");
    let left = |entry: &String| entry.contains("evidence-");
    assert!(
        !entries(place.parent().expect("a folder")).iter().any(left),
        "{:?}",
        entries(place.parent().expect("one"))
    );
    let done = there.run_with(&["evidence", "sign", "sent.zip", "--key", key], &[("PATH", "/nonexistent")]).code(2);
    assert!(done.stderr.contains("the program `ssh-keygen` is not in PATH"), "{done:?}");
    // a zip in a zip, and one of a folder
    let mut nested = Zip::default();
    nested.add(&Packed::of("mail/sent.zip", &fs::read(&zip).expect("a zip")));
    let mut inner = Zip::default();
    inner.add(&Packed::of(&format!("mail/{MANIFEST}"), b""));
    for (file, why) in [(nested, "it holds `mail/sent.zip`: unpack it"), (inner, "it has one in `mail`: unpack it")] {
        fs::write(place.with_file_name("nested.zip"), file.finish()).expect("a zip");
        for command in [&["evidence", "verify", "nested.zip"][..], &["evidence", "sign", "nested.zip", "--key", key]] {
            let done = there.run(command).code(2);
            assert!(done.stderr.contains(why), "{done:?}");
        }
    }
    // without room beside it nothing is lost
    let disk = Disk::new(4);
    let on_disk = disk.root().join("sent.zip");
    fs::copy(&zip, &on_disk).expect("a copy");
    for n in 0..3 {
        let _ = fs::write(disk.root().join(format!("full-{n}")), vec![7; 1 << (22 - 4 * n)]);
    }
    let done = there.run(&["evidence", "sign", on_disk.to_str().expect("UTF-8"), "--key", key]).code(74);
    assert!(done.stderr.contains("make room there"), "{done:?}");
    assert!(fs::read(&on_disk).expect("a zip") == fs::read(&zip).expect("a zip"));
    let done = there.run(&["evidence", "bundle", "--archive", "new.zip"]).code(2);
    assert!(done.stderr.contains("any program packs its files into a zip"), "{done:?}");
    // a run that went on is another, and it is said that nobody has signed that
    world.run(&["amend", "r", "config", "evidence.license=CC0-1.0"]).code(0);
    for is_first in [true, false] {
        let done = pack();
        assert_eq!(done.stderr.contains("warning: the one that was there was signed"), is_first, "{done:?}");
    }
}

/// The names in a folder.
fn entries(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .expect("a folder")
        .flatten()
        .map(|one| one.file_name().to_string_lossy().into_owned())
        .collect()
}
