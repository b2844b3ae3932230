//! A private sshd on loopback, or at the far end of a link that can be cut; it takes one key and needs no account of
//! its own. Everything that was started is stopped when it is dropped, and nothing else.
use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// The host's name in the client configurations written here.
pub(crate) const HOST: &str = "cluster";
const PATIENCE: Duration = Duration::from_secs(60);

/// A running sshd with a client configuration that reaches it.
pub(crate) struct Sshd {
    directory: tempfile::TempDir,
    listener: Child,
    address: SocketAddr,
}

impl Sshd {
    pub(crate) fn start() -> Self {
        Self::with(None, "")
    }

    /// An sshd with further lines in its configuration, at the far end of a link if one is given.
    pub(crate) fn with(link: Option<&Link>, lines: &str) -> Self {
        let directory = tempfile::tempdir().expect("a scratch directory");
        for name in ["host", "id", "other"] {
            keygen(&directory.path().join(name), "");
        }
        if is_root() {
            // where sshd shuts itself in before a login
            let _ = fs::DirBuilder::new().mode(0o755).create("/run/sshd");
        }
        let place = directory.path().display();
        fs::copy(directory.path().join("id.pub"), directory.path().join("authorized")).expect("authorized keys");
        let ip = link.map_or(Ipv4Addr::LOCALHOST, Link::far);
        for _ in 0..20 {
            let port = free_port();
            let text = format!(
                "Port {port}\nListenAddress {ip}\nHostKey {place}/host\nPidFile none\nAuthorizedKeysFile {place}/authorized\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nUseDNS no\n\
                 PermitRootLogin yes\nMaxSessions 64\nMaxStartups 100:30:200\nLogLevel VERBOSE\n{lines}\n"
            );
            fs::write(directory.path().join("sshd_config"), text).expect("a configuration");
            let mut command = link.map_or_else(|| Command::new("/usr/sbin/sshd"), |link| link.inside("/usr/sbin/sshd"));
            command.args(["-D", "-f"]).arg(directory.path().join("sshd_config"));
            command.arg("-E").arg(directory.path().join("sshd.log"));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut listener = command.spawn().expect("`/usr/sbin/sshd` starts; install openssh-server");
            let address = SocketAddr::from((ip, port));
            if answers(address, &mut listener) {
                let sshd = Self { directory, listener, address };
                sshd.write_config("config", "id", address, "");
                return sshd;
            }
            let _ = listener.kill();
            let _ = listener.wait();
        }
        let log = fs::read_to_string(directory.path().join("sshd.log")).unwrap_or_default();
        panic!("sshd does not start: {log}");
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process that takes connections.
    pub(crate) fn listener(&self) -> u32 {
        self.listener.id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path().join("sshd.log")).unwrap_or_default()
    }

    /// How many logins there have been.
    pub(crate) fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }

    /// Writes a client configuration that logs in with this key at this address, and returns its path. The host key
    /// is known.
    pub(crate) fn write_config(&self, name: &str, key: &str, address: SocketAddr, lines: &str) -> PathBuf {
        let key_line = fs::read_to_string(self.path().join("host.pub")).expect("a host key");
        let known = self.path().join(format!("{name}.known"));
        fs::write(&known, format!("{HOST} {key_line}")).expect("known hosts");
        let path = self.path().join(name);
        let text = format!(
            "Host {HOST}\n  {lines}\n  HostName {}\n  Port {}\n  HostKeyAlias {HOST}\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
             IdentityAgent none\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  ConnectTimeout 5\n",
            address.ip(),
            address.port(),
            self.path().join(key).display(),
            known.display(),
        );
        fs::write(&path, text).expect("a client configuration");
        path
    }
}

impl Sshd {
    /// Ends all sessions, and with them the shared connections of clients.
    pub(crate) fn end_sessions(&self) {
        descendants(self.listener.id()).into_iter().for_each(|pid| signal(pid, "KILL"));
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // sessions are children of the listener and outlive it
        let sessions = descendants(self.listener.id());
        let _ = self.listener.kill();
        let _ = self.listener.wait();
        for pid in sessions {
            signal(pid, "KILL");
        }
    }
}

/// Makes a key pair with this passphrase.
pub(crate) fn keygen(path: &Path, passphrase: &str) {
    let done = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", passphrase, "-f"]).arg(path).output();
    let done = done.expect("`ssh-keygen` runs; install openssh-client");
    assert!(done.status.success(), "{done:?}");
}

pub(crate) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args(["-s", name, &pid.to_string()]).stderr(Stdio::null()).status();
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn answers(address: SocketAddr, listener: &mut Child) -> bool {
    let started = Instant::now();
    while started.elapsed() < PATIENCE && listener.try_wait().ok().flatten().is_none() {
        if let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
            let mut greeting = [0_u8; 4];
            if stream.read_exact(&mut greeting).is_ok() {
                return &greeting == b"SSH-";
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn descendants(root: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let parents: Vec<(u32, u32)> = entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, other)| *other == parent).map(|(pid, _)| pid));
        next += 1;
    }
    found.split_off(1)
}

/// A network namespace behind a virtual cable that can be cut. Needs root.
pub(crate) struct Link {
    name: String,
    near: String,
    net: [u8; 2],
}

impl Link {
    pub(crate) fn new() -> Self {
        assert!(is_root(), "a network namespace needs root; run the suite as root in a container");
        for _ in 0..20 {
            let random = getrandom_u16();
            // 10.77.0.0/16 in pieces of four addresses
            let net = [(random >> 6) as u8, ((random & 63) << 2) as u8];
            let link = Self { name: format!("ms{random:04x}"), near: format!("ms{random:04x}n"), net };
            if link.make() {
                return link;
            }
            drop(link);
        }
        panic!("no network namespace can be made; it needs root and `ip` (install iproute2)");
    }

    fn make(&self) -> bool {
        let (name, near) = (self.name.as_str(), self.near.as_str());
        let (ours, theirs) = (format!("{}/30", self.address(1)), format!("{}/30", self.address(2)));
        ip(&["netns", "add", name])
            && ip(&["link", "add", near, "type", "veth", "peer", "name", "far", "netns", name])
            && ip(&["addr", "add", &ours, "dev", near])
            && ip(&["link", "set", near, "up"])
            && self.run(&["ip", "link", "set", "lo", "up"])
            && self.run(&["ip", "addr", "add", &theirs, "dev", "far"])
            && self.run(&["ip", "link", "set", "far", "up"])
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.net[0], self.net[1] + last)
    }

    /// The address at the far end.
    pub(crate) fn far(&self) -> Ipv4Addr {
        self.address(2)
    }

    /// A program at the far end. Entered with `nsenter`, because `ip netns exec` hides the control groups from Slurm.
    pub(crate) fn inside(&self, program: &str) -> Command {
        let [enter, net] = self.entry();
        let mut command = Command::new(enter);
        command.arg(net).arg(program);
        command
    }

    /// The words that stand before a program at the far end.
    pub(crate) fn entry(&self) -> [String; 2] {
        ["nsenter".to_owned(), format!("--net=/run/netns/{}", self.name)]
    }

    fn run(&self, words: &[&str]) -> bool {
        self.inside(words[0]).args(&words[1..]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    pub(crate) fn cut(&self) {
        assert!(ip(&["link", "set", &self.near, "down"]), "the link is cut");
    }

    pub(crate) fn mend(&self) {
        assert!(ip(&["link", "set", &self.near, "up"]), "the link is mended");
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        ip(&["link", "del", &self.near]);
        ip(&["netns", "del", &self.name]);
    }
}

fn ip(words: &[&str]) -> bool {
    Command::new("ip").args(words).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn getrandom_u16() -> u16 {
    let mut bytes = [0_u8; 2];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("random bytes");
    u16::from_le_bytes(bytes)
}

/// A wire with a delay, that counts what passes and can be made to break after so many bytes towards the server.
pub(crate) struct Wire {
    address: SocketAddr,
    state: Arc<WireState>,
}

#[derive(Default)]
struct WireState {
    sent: AtomicU64,
    received: AtomicU64,
    /// Breaks once this many bytes were sent, or received; zero: never.
    break_at: [AtomicU64; 2],
}

impl Wire {
    pub(crate) fn to(server: SocketAddr, delay: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(WireState::default());
        let shared = state.clone();
        // ends with the test's process; a connection ends with either side
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else { continue };
                let pairs =
                    [(client.try_clone(), server.try_clone(), true), (server.try_clone(), client.try_clone(), false)];
                for (from, to, up) in pairs {
                    if let (Ok(from), Ok(to)) = (from, to) {
                        carry(from, to, delay, shared.clone(), up);
                    }
                }
            }
        });
        Self { address, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that passed so far, both ways.
    pub(crate) fn bytes(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst) + self.state.received.load(Ordering::SeqCst)
    }

    /// Breaks the connection after so many more bytes towards the server; zero: never again.
    pub(crate) fn break_after(&self, bytes: u64) {
        Self::limit(&self.state.break_at[0], &self.state.sent, bytes);
    }

    /// Breaks the connection after so many more bytes from the server; zero: never again.
    pub(crate) fn break_after_answer(&self, bytes: u64) {
        Self::limit(&self.state.break_at[1], &self.state.received, bytes);
    }

    fn limit(limit: &AtomicU64, passed: &AtomicU64, bytes: u64) {
        limit.store(if bytes == 0 { 0 } else { passed.load(Ordering::SeqCst) + bytes }, Ordering::SeqCst);
    }
}

type Queue = Arc<(Mutex<VecDeque<(Instant, Vec<u8>)>>, Condvar)>;

fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration, state: Arc<WireState>, up: bool) {
    let queue: Queue = Queue::default();
    let filled = queue.clone();
    std::thread::spawn(move || {
        let mut buffer = vec![0_u8; 16 * 1024];
        loop {
            let count = from.read(&mut buffer).unwrap_or(0);
            let (counter, limit) =
                if up { (&state.sent, &state.break_at[0]) } else { (&state.received, &state.break_at[1]) };
            let passed = counter.fetch_add(count as u64, Ordering::SeqCst) + count as u64;
            let limit = limit.load(Ordering::SeqCst);
            let broken = limit > 0 && passed > limit;
            let piece = if broken { Vec::new() } else { buffer[..count].to_vec() };
            let done = piece.is_empty();
            filled.0.lock().expect("the queue").push_back((Instant::now() + delay, piece));
            filled.1.notify_one();
            if done {
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
        }
    });
    std::thread::spawn(move || {
        loop {
            let mut waiting = queue.0.lock().expect("the queue");
            while waiting.is_empty() {
                waiting = queue.1.wait(waiting).expect("the queue");
            }
            let (at, piece) = waiting.pop_front().expect("not empty");
            drop(waiting);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if piece.is_empty() || to.write_all(&piece).is_err() {
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    });
}

/// Writes a program for `/bin/sh`.
pub(crate) fn program(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("a program");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("an executable");
}
