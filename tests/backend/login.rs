//! Logging in is the ssh client's business: what a person has arranged for `ssh` works here as well, through the
//! binary.
use crate::support::slurm::{Cluster, Plan};
use crate::support::sshd::{HOST, Sshd, keygen, program};
use crate::support::world::{Done, World};
use serde_json::json;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A workspace with a backend `cluster` behind an sshd, and a Slurm there.
struct Ground {
    world: World,
    sshd: Sshd,
    _cluster: Cluster,
}

impl Ground {
    fn new() -> Self {
        let cluster = Cluster::start(Plan::default());
        let (name, conf) = cluster.environment();
        let sshd = Sshd::with(None, &format!("SetEnv {name}={conf}"));
        let place = sshd.path();
        let world = World::new(&json!({
            "campaign": {"plugin": "builtin:workflow", "params": {"tasks": []}},
            "operators": {},
            "backends": {"cluster": {"kind": "slurm", "ssh": {"host": HOST, "config": place.join("config")},
                "remote_root": place.join("scratch")}},
        }));
        Self { world, sshd, _cluster: cluster }
    }

    fn check(&self, environment: &[(&str, &str)]) -> Done {
        let sockets = self.sshd.path().display().to_string();
        let mut all = vec![("XDG_RUNTIME_DIR", sockets.as_str())];
        all.extend(environment);
        self.world.run_with(&["backend", "check", "cluster", "--workspace", "demo"], &all)
    }
}

/// An ssh agent that ends with the test.
struct Agent {
    child: Child,
    socket: String,
}

impl Agent {
    fn start(place: &Path) -> Self {
        let socket = place.join("agent").display().to_string();
        let child = Command::new("ssh-agent").args(["-D", "-a", &socket]).stdout(Stdio::null()).spawn();
        let agent = Self { child: child.expect("`ssh-agent` runs; install openssh-client"), socket };
        crate::support::until("the agent listens", || Path::new(&agent.socket).exists());
        agent
    }

    /// Loads a key whose passphrase this program types.
    fn add(&self, key: &Path, askpass: &Path) {
        let mut add = Command::new("ssh-add");
        add.arg(key).env("SSH_AUTH_SOCK", &self.socket).env("SSH_ASKPASS", askpass).env("SSH_ASKPASS_REQUIRE", "force");
        assert!(add.stderr(Stdio::null()).status().expect("ssh-add runs").success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_host_behind_a_jump_host_is_reached_through_it() {
    let ground = Ground::new();
    let jump = Sshd::start();
    let lines = format!(
        "ProxyJump jump\n\nHost jump\n  HostName {}\n  Port {}\n  HostKeyAlias jump\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
         IdentityAgent none\n  UserKnownHostsFile {}\n  ProxyJump none\n\nHost {HOST}",
        jump.address().ip(),
        jump.address().port(),
        jump.path().join("id").display(),
        jump.path().join("known").display(),
    );
    let key = std::fs::read_to_string(jump.path().join("host.pub")).expect("a host key");
    std::fs::write(jump.path().join("known"), format!("jump {key}")).expect("known hosts");
    ground.sshd.write_config("config", "id", ground.sshd.address(), &lines);
    ground.check(&[]).code(0);
    assert_eq!((jump.logins(), ground.sshd.logins()), (1, 1), "{}", jump.log());

    // the jump host's own key is checked, and so is its login
    let other = std::fs::read_to_string(jump.path().join("other.pub")).expect("a key");
    std::fs::write(jump.path().join("known"), format!("jump {other}")).expect("known hosts");
    // the connection to the jump host is shared as well
    ground.sshd.end_sessions();
    jump.end_sessions();
    let done = ground.check(&[]).code(74);
    assert!(done.stdout.starts_with("TROUBLE  login") && done.stdout.contains("has changed"), "{done:?}");
    std::fs::write(jump.path().join("known"), format!("jump {key}")).expect("known hosts");
    std::fs::copy(jump.path().join("other.pub"), jump.path().join("authorized")).expect("authorized keys");
    let done = ground.check(&[]).code(74);
    assert!(done.stdout.contains("refused the login") && done.stdout.contains("ControlPersist=yes -fN"), "{done:?}");
    assert_eq!((jump.logins(), ground.sshd.logins()), (1, 1), "{}", jump.log());
}

#[test]
fn a_key_with_a_passphrase_needs_the_agent_or_an_open_connection() {
    let ground = Ground::new();
    let place = ground.sshd.path();
    keygen(&place.join("locked"), "secret");
    std::fs::copy(place.join("locked.pub"), place.join("authorized")).expect("authorized keys");
    let askpass = place.join("askpass");
    program(&askpass, "echo secret");
    ground.sshd.write_config("config", "locked", ground.sshd.address(), "IdentityAgent SSH_AUTH_SOCK");

    // nobody is asked for the passphrase, not even by a window
    let done = ground.check(&[("SSH_ASKPASS", askpass.to_str().expect("UTF-8")), ("DISPLAY", ":0")]).code(74);
    assert!(done.stdout.starts_with("TROUBLE  login") && done.stdout.contains("`ssh-add`"), "{done:?}");
    let command = done.stdout.split("open the connection first: ").nth(1).and_then(|rest| rest.split(';').next());
    let command = command.expect("the command that opens the connection").to_owned();
    assert_eq!(ground.sshd.logins(), 0);

    // the key is in the agent, and nowhere else
    let agent = Agent::start(place);
    agent.add(&place.join("locked"), &askpass);
    std::fs::rename(place.join("locked"), place.join("put-away")).expect("moved");
    ground.check(&[("SSH_AUTH_SOCK", &agent.socket)]).code(0);
    ground.sshd.end_sessions();
    drop(agent);
    ground.check(&[]).code(74);

    // the command that the remedy names, typed by a person who then answers
    std::fs::rename(place.join("put-away"), place.join("locked")).expect("moved");
    let mut person = Command::new("sh");
    person.args(["-c", &command]).env("SSH_ASKPASS", &askpass).env("SSH_ASKPASS_REQUIRE", "force");
    assert!(person.status().expect("ssh runs").success());
    ground.check(&[]).code(0);
    assert_eq!(ground.sshd.logins(), 2, "{}", ground.sshd.log());
}
