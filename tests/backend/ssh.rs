//! The ssh transport against a real sshd: what passes, what is told apart, and what a failing link leaves behind.
use crate::support::sshd::{HOST, Link, Sshd, Wire, keygen, program, signal};
use crate::support::until;
use matterstack::backend::transport::ssh::{Ssh, SshError};
use matterstack::backend::transport::{Exec, Finished};
use std::fs;
use std::process::Command;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn run(ssh: &Ssh, script: &str) -> Result<Finished, SshError> {
    ssh.run(Exec::of(script, LONG))
}

#[track_caller]
fn unreachable(answer: Result<Finished, SshError>) -> (&'static str, String, String) {
    match answer {
        Err(SshError::Unreachable(trouble)) => (trouble.code, trouble.what, trouble.remedy),
        other => panic!("not unreachable: {other:?}"),
    }
}

#[track_caller]
fn lost(answer: &Result<Finished, SshError>) {
    assert!(matches!(answer, Err(SshError::Lost(_))), "not lost: {answer:?}");
}

#[test]
fn scripts_end_with_their_code_and_both_outputs_over_one_login() {
    let sshd = Sshd::start();
    let ssh = sshd.client();
    for code in [0, 3, 255] {
        let done = run(&ssh, &format!("echo out; echo err >&2; exit {code}")).expect("an answer");
        assert_eq!(done, Finished { code, stdout: b"out\n".to_vec(), stderr: b"err\n".to_vec() });
    }
    assert_eq!(run(&ssh, "kill -9 $$; echo not reached").map_err(|_| ()), Err(()), "the shell itself was killed");
    assert_eq!(run(&ssh, "sh -c 'kill -9 $$'").expect("an answer").code, 137);
    assert_eq!(sshd.logins(), 1, "{}", sshd.log());
}

#[test]
fn large_streams_pass_both_ways_unchanged() {
    let sshd = Sshd::start();
    let ssh = sshd.client();
    let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut back = Vec::new();
    let mut source = data.as_slice();
    let call = Exec { script: "cat; exit 7", stdin: Some(&mut source), stdout: Some(&mut back), timeout: LONG };
    let done = ssh.run(call).expect("an answer");
    assert_eq!((done.code, back == data), (7, true));
}

#[test]
fn hostile_words_arrive_as_they_are() {
    let sshd = Sshd::start();
    let ssh = sshd.client();
    let hostile = [
        "",
        " ",
        "'",
        "\"",
        "it's",
        "a\nb\n",
        "$(touch owned)",
        "`id`",
        "${HOME}",
        "\\",
        "\\n",
        "!!",
        "*",
        "~",
        "#x",
        "-n",
        "ä→∑\u{1f600}",
        "a;b|c&d>e<f",
        "\t\r\u{1b}[31m",
        "%s%n",
        "'\\''",
        "x' ; exit 9 ; '",
    ];
    let words: Vec<String> = hostile.iter().map(|word| matterstack::ground::words::quoted(word)).collect();
    let done =
        run(&ssh, &format!("for word in {}; do printf '%s\\0' \"$word\"; done", words.join(" "))).expect("an answer");
    let back: Vec<&str> = std::str::from_utf8(&done.stdout).expect("UTF-8").split_terminator('\0').collect();
    assert_eq!(back, hostile);
}

#[test]
fn noise_of_the_login_is_no_part_of_the_answer() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let (banner, rc) = (scratch.path().join("banner"), scratch.path().join("rc"));
    fs::write(&banner, "AUTHORIZED USE ONLY\nPermission denied (publickey).\nConnection refused\n").expect("a banner");
    fs::write(&rc, "echo 'Welcome to the cluster'; echo 'disk quota: 97 %' >&2; printf 'no line end'\n")
        .expect("an rc file");
    let lines = format!("Banner {}\nSetEnv BASH_ENV={}", banner.display(), rc.display());
    let sshd = Sshd::with(None, &lines);
    let ssh = sshd.client();
    let expected = Finished { code: 255, stdout: b"out".to_vec(), stderr: b"err\n".to_vec() };
    for _ in 0..2 {
        assert_eq!(run(&ssh, "printf out; echo err >&2; exit 255").expect("an answer"), expected);
    }
}

#[test]
fn a_site_that_prints_after_the_command_does_no_harm() {
    let sshd = Sshd::with(None, "ForceCommand echo hello; eval \"$SSH_ORIGINAL_COMMAND\"; echo bye");
    assert_eq!(run(&sshd.client(), "echo out; exit 4").expect("an answer").stdout, b"out\n");
    // a wrapper that stays around the command and speaks last
    let sshd = Sshd::with(None, "ForceCommand echo hello; sh -c \"$SSH_ORIGINAL_COMMAND\"; echo bye; exit 1");
    let done = run(&sshd.client(), "echo out; exit 4").expect("an answer");
    assert_eq!((done.code, done.stdout), (4, b"out\n".to_vec()));
}

#[test]
fn login_shells_that_are_not_posix_do_no_harm() {
    for shell in ["/bin/dash", "/bin/tcsh"] {
        assert!(fs::exists(shell).unwrap_or(false), "`{shell}` is missing; install dash and tcsh");
        let sshd = Sshd::with(None, &format!("ForceCommand {shell} -c \"$SSH_ORIGINAL_COMMAND\""));
        let done = run(&sshd.client(), "x='a b'\nprintf '%s\\n' \"$x!\" '$x' >&2; exit 5").expect("an answer");
        assert_eq!((done.code, done.stderr), (5, b"a b!\n$x\n".to_vec()), "{shell}");
    }
    let sshd = Sshd::with(None, "ForceCommand echo This account is not available; exit 1");
    let (code, what, _) = unreachable(run(&sshd.client(), "true"));
    assert!(code == "no-shell" && what.ends_with("This account is not available"), "{code}: {what}");
}

#[test]
fn a_late_script_is_lost_and_a_silent_host_is_unreachable() {
    let sshd = Sshd::start();
    let ssh = sshd.client();
    run(&ssh, "true").expect("an answer");
    lost(&ssh.run(Exec::of("sleep 20", Duration::from_secs(3))));
    run(&ssh, "true").expect("the connection is still of use");
    let other = sshd.client();
    signal(sshd.listener(), "STOP");
    let (code, ..) = unreachable(other.run(Exec::of("true", Duration::from_secs(2))));
    signal(sshd.listener(), "CONT");
    assert_eq!(code, "timed-out");
}

#[test]
fn a_connection_that_dies_under_a_script_is_lost_though_its_code_is_255_too() {
    let sshd = Sshd::start();
    let ssh = sshd.client();
    let ran = sshd.path().join("ran");
    lost(&run(&ssh, &format!("echo x >> {}; kill -9 $PPID; sleep 5", ran.display())));
    assert_eq!(fs::read_to_string(ran).expect("it ran"), "x\n");
    assert_eq!(run(&ssh, "exit 255").expect("a new connection").code, 255);
}

#[test]
fn a_script_that_arrives_in_part_does_not_start() {
    let sshd = Sshd::start();
    let wire = Wire::to(sshd.address(), Duration::ZERO);
    sshd.write_config("wired", "id", wire.address(), "");
    let ssh = sshd.client_of("wired");
    run(&ssh, "true").expect("an answer");
    let mark = sshd.path().join("started");
    let script = format!("touch {}\n{}", mark.display(), "# filling\n".repeat(100_000));
    wire.break_after(200_000);
    lost(&run(&ssh, &script));
    assert!(!mark.exists(), "half a script was run");
}

#[test]
fn failed_logins_are_told_apart_with_what_would_help() {
    let sshd = Sshd::start();
    sshd.write_config("stranger", "other", sshd.address(), "");
    let (code, _, remedy) = unreachable(run(&sshd.client_of("stranger"), "true"));
    assert!(code == "permission-denied" && remedy.contains("ControlPersist=yes -fN"), "{code}: {remedy}");

    let wide = sshd.path().join("wide");
    keygen(&wide, "");
    // the client reads the file only once the host has said that it wants this key
    let own = sshd.path().join("authorized");
    let before = fs::read(&own).expect("authorized keys");
    fs::copy(sshd.path().join("wide.pub"), &own).expect("authorized keys");
    fs::set_permissions(&wide, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("a mode");
    for (name, word) in [("wide", "bad permissions"), ("missing", "no such identity")] {
        sshd.write_config("careless", name, sshd.address(), "");
        let (_, what, remedy) = unreachable(run(&sshd.client_of("careless"), "true"));
        assert!(what.contains(word) && what.contains(name) && remedy.contains("chmod 600"), "{what}: {remedy}");
    }
    fs::write(&own, before).expect("authorized keys");

    let closed = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    sshd.write_config("closed", "id", closed, "");
    assert_eq!(unreachable(run(&sshd.client_of("closed"), "true")).0, "connection-refused");

    let mut text = fs::read_to_string(sshd.path().join("config")).expect("a configuration");
    text = text.replace("HostName 127.0.0.1", "HostName no..such..host");
    fs::write(sshd.path().join("nowhere"), text).expect("a configuration");
    assert_eq!(unreachable(run(&sshd.client_of("nowhere"), "true")).0, "unknown-host");

    sshd.write_config("odd", "id", sshd.address(), "NoSuchOption yes");
    assert_eq!(unreachable(run(&sshd.client_of("odd"), "true")).0, "ssh-config");
}

#[test]
fn host_keys_are_checked() {
    let sshd = Sshd::start();
    let client = |name: &str, known: &str| {
        sshd.write_config(name, "id", sshd.address(), "");
        fs::write(sshd.path().join(format!("{name}.known")), known).expect("known hosts");
        sshd.client_of(name)
    };
    let (code, _, remedy) = unreachable(run(&client("unknown", ""), "true"));
    assert!(code == "host-key-unknown" && remedy.contains("fingerprint"), "{code}: {remedy}");
    assert_eq!(fs::read_to_string(sshd.path().join("unknown.known")).expect("a file"), "", "it was accepted silently");

    let other = fs::read_to_string(sshd.path().join("other.pub")).expect("a key");
    let (code, what, remedy) = unreachable(run(&client("changed", &format!("{HOST} {other}")), "true"));
    assert!(code == "host-key-changed" && remedy.contains("ssh-keygen -R"), "{code}: {what}; {remedy}");
    assert_eq!(sshd.logins(), 0, "{}", sshd.log());
}

#[test]
fn a_login_that_asks_works_once_the_person_has_opened_the_connection() {
    let sshd = Sshd::start();
    let locked = sshd.path().join("locked");
    keygen(&locked, "secret");
    fs::copy(sshd.path().join("locked.pub"), sshd.path().join("authorized")).expect("authorized keys");
    sshd.write_config("asks", "locked", sshd.address(), "");
    let ssh = sshd.client_of("asks");
    let (code, _, remedy) = unreachable(run(&ssh, "true"));
    assert_eq!(code, "permission-denied");
    // the person's side: the very command of the remedy, with a program that types the answer
    let command = ssh.opening_command();
    assert!(remedy.contains(&command), "{remedy}");
    let askpass = sshd.path().join("askpass");
    program(&askpass, "echo secret");
    let mut person = Command::new("sh");
    person.args(["-c", &command]).env("SSH_ASKPASS", &askpass).env("SSH_ASKPASS_REQUIRE", "force");
    assert!(person.status().expect("ssh runs").success());
    for _ in 0..3 {
        assert_eq!(run(&ssh, "exit 6").expect("an answer").code, 6);
    }
    assert_eq!(sshd.logins(), 1, "{}", sshd.log());
}

#[test]
fn a_connection_of_the_persons_own_configuration_is_used() {
    let sshd = Sshd::start();
    let socket = sshd.path().join("own");
    let lines = format!("ControlPath {}\n  ControlMaster auto\n  ControlPersist 60", socket.display());
    let config = sshd.write_config("mine", "id", sshd.address(), &lines);
    let opened = Command::new("ssh").arg("-F").arg(config).args(["-fN", HOST]).status();
    assert!(opened.expect("ssh runs").success() && socket.exists());
    let ssh = sshd.client_of("mine");
    assert_eq!(run(&ssh, "exit 6").expect("an answer").code, 6);
    assert_eq!(sshd.logins(), 1, "{}", sshd.log());
}

#[test]
fn a_slow_link_costs_few_round_trips() {
    let sshd = Sshd::start();
    let wire = Wire::to(sshd.address(), Duration::from_millis(100));
    sshd.write_config("slow", "id", wire.address(), "");
    let ssh = sshd.client_of("slow");
    run(&ssh, "true").expect("an answer");
    let started = std::time::Instant::now();
    let data = vec![b'x'; 300_000];
    let call = Exec { script: "wc -c", stdin: Some(&mut data.as_slice()), stdout: None, timeout: LONG };
    assert_eq!(ssh.run(call).expect("an answer").stdout, b"300000\n");
    // opening a session, being told that a shell is there, sending, hearing the end: the machine may be busy, the wire
    // is slower
    let trips = started.elapsed().as_millis() / 200;
    assert!(trips < 10, "{trips} round trips");
    assert_eq!(sshd.logins(), 1, "{}", sshd.log());
}

#[test]
fn a_cut_link_starts_nothing_twice_and_is_mended_by_itself() {
    let link = Link::new();
    let sshd = Sshd::with(Some(&link), "ClientAliveInterval 2\nClientAliveCountMax 2");
    let ssh = sshd.client();
    let (before, middle) = (sshd.path().join("before"), sshd.path().join("middle"));

    // cut before: nothing starts, over the shared connection that looks alive and over none
    run(&ssh, "true").expect("an answer");
    link.cut();
    let script = format!("echo x >> {}", before.display());
    unreachable(ssh.run(Exec::of(&script, Duration::from_secs(3))));
    unreachable(sshd.client().run(Exec::of(&script, Duration::from_secs(3))));
    link.mend();
    until("the link works again", || run(&ssh, "true").is_ok());
    assert!(!before.exists(), "what was reported as not started was started");

    // cut in the middle: it goes on over there, and the answer is lost, not wrong
    let script = format!("echo started >> {0}; sleep 6; echo ended >> {0}", middle.display());
    let answer = std::thread::scope(|scope| {
        let answer = scope.spawn(|| run(&ssh, &script));
        until("the script has started", || middle.exists());
        link.cut();
        answer.join().expect("the thread")
    });
    lost(&answer);
    link.mend();
    until("the link works again", || run(&ssh, "true").is_ok());
    until("the script has ended", || fs::read_to_string(&middle).is_ok_and(|text| text.ends_with("ended\n")));
    assert_eq!(fs::read_to_string(&middle).expect("it ran"), "started\nended\n");

    // a short cut loses nothing
    let answer = std::thread::scope(|scope| {
        let answer = scope.spawn(|| run(&ssh, &format!("touch {0}/short; sleep 3; exit 8", sshd.path().display())));
        until("the script has started", || sshd.path().join("short").exists());
        link.cut();
        std::thread::sleep(Duration::from_secs(1));
        link.mend();
        answer.join().expect("the thread")
    });
    assert_eq!(answer.map(|done| done.code), Ok(8));
}

#[test]
fn a_login_that_prints_without_end_is_given_up() {
    let sshd = Sshd::with(None, "ForceCommand yes");
    let (code, what, _) = unreachable(run(&sshd.client(), "true"));
    assert!(code == "timed-out" && what.contains("bytes of its own"), "{code}: {what}");
    let sshd = Sshd::with(None, "ForceCommand sh -c \"$SSH_ORIGINAL_COMMAND\"; yes");
    assert_eq!(run(&sshd.client(), "echo out").expect("an answer").stdout, b"out\n");
}
