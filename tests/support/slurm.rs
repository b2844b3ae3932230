//! A private Slurm cluster: controller and node daemons of one test, on free ports of this machine, started in about a
//! second without systemd. It stops exactly what it started.
use super::until;
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// What a test wants of its cluster.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) nodes: u16,
    pub(crate) cpus: u32,
    pub(crate) memory_mb: u32,
    /// What else the nodes have, such as `Feature=fast Gres=gpu:2`.
    pub(crate) node: &'static str,
    /// Messages are signed by a munged of the cluster's own.
    pub(crate) munge: bool,
    /// What stands before every program of the cluster, such as an `nsenter` into a network of its own.
    pub(crate) inside: Vec<String>,
    /// The site keeps accounts: a slurmdbd with a database server of its own. Needs munge.
    pub(crate) accounts: bool,
    /// Nodes hold jobs to their memory by control groups, if this machine lets them: see [`cannot_limit_memory`].
    pub(crate) memory_limits: bool,
    /// Lines of slurm.conf; they replace those of the same key.
    pub(crate) lines: Vec<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            nodes: 2,
            cpus: 8,
            memory_mb: 4000,
            node: "",
            munge: false,
            inside: Vec::new(),
            accounts: false,
            memory_limits: false,
            lines: Vec::new(),
        }
    }
}

impl Plan {
    pub(crate) fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }
}

/// Where the memory controller of control groups, version 1, is mounted, if it is.
const CONTROL_GROUPS: &str = "/sys/fs/cgroup/memory";

/// Why nodes on this machine cannot hold jobs to their memory, if they cannot: it takes the memory controller of
/// control groups, version 1, and the right to make groups there.
pub(crate) fn cannot_limit_memory() -> Option<String> {
    let probe = Path::new(CONTROL_GROUPS).join(format!("matterstack-test-{}", std::process::id()));
    if let Err(error) = fs::create_dir(&probe) {
        return Some(format!("no group can be made in {CONTROL_GROUPS}: {error}"));
    }
    let missing =
        ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"].iter().find(|name| !probe.join(name).exists());
    let _ = fs::remove_dir(&probe);
    missing.map(|name| format!("{CONTROL_GROUPS} has no {name}"))
}

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    directory: tempfile::TempDir,
    plan: Plan,
    daemons: BTreeMap<String, Child>,
}

impl Cluster {
    pub(crate) fn start(plan: Plan) -> Self {
        for (program, package) in
            [("slurmctld", "slurmctld"), ("slurmd", "slurmd"), ("sbatch", "slurm-client"), ("munged", "munge")]
        {
            let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|d| Path::new(d).join(program).exists());
            assert!(found, "no `{program}`: run `cargo xtask test`, or `apt-get install {package}`");
        }
        let directory = tempfile::Builder::new().prefix("slurm-").tempdir().expect("a scratch directory");
        let mut cluster = Self { directory, plan, daemons: BTreeMap::new() };
        for part in ["etc", "run", "log", "ctld", "spool"] {
            fs::create_dir(cluster.path(part)).expect("a directory");
        }
        // jobs of another user must reach what their daemons write
        set_mode(cluster.directory.path(), 0o755);
        if cluster.plan.munge {
            cluster.start_munged();
        }
        let database_port = free_ports(1);
        if cluster.plan.accounts {
            let pass = cluster.path("run/munge.sock").display().to_string();
            cluster.plan.lines.extend([
                "AccountingStorageType=accounting_storage/slurmdbd".to_owned(),
                "AccountingStorageHost=127.0.0.1".to_owned(),
                format!("AccountingStoragePort={database_port}"),
                format!("AccountingStoragePass={pass}"),
                "AccountingStorageEnforce=associations,limits,qos".to_owned(),
            ]);
        }
        if cluster.plan.memory_limits {
            cluster.plan.lines.push("TaskPlugin=task/cgroup".to_owned());
            let text = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainRAMSpace=yes\nConstrainSwapSpace=yes\n";
            fs::write(cluster.path("etc/cgroup.conf"), text).expect("a configuration");
        }
        fs::write(cluster.path("etc/slurm.conf"), cluster.configuration()).expect("a configuration");
        // what any machine has two of
        fs::write(cluster.path("etc/gres.conf"), "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
            .expect("a configuration");
        if cluster.plan.accounts {
            cluster.start_accounts(database_port);
        }
        cluster.start_controller();
        for node in 1..=cluster.plan.nodes {
            cluster.start_node(node);
        }
        cluster.wait_for_nodes();
        cluster
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The environment that Slurm's commands need.
    pub(crate) fn environment(&self) -> (&'static str, String) {
        ("SLURM_CONF", self.path("etc/slurm.conf").display().to_string())
    }

    fn configuration(&self) -> String {
        let directory = self.directory.path().display();
        let (port, host) = (free_ports(2 + self.plan.nodes), host_name());
        let user = user_name();
        let auth = if self.plan.munge { "munge" } else { "none" };
        let mut lines: Vec<String> = format!(
            "ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={port}\nSlurmdPort={}\n\
             CommunicationParameters=NoCtldInAddrAny,NoInAddrAny\nSlurmUser={user}\nSlurmdUser={user}\n\
             AuthType=auth/{auth}\nCredType=cred/{auth}\nStateSaveLocation={directory}/ctld\n\
             SlurmdSpoolDir={directory}/spool/%n\nSlurmctldPidFile={directory}/run/slurmctld.pid\n\
             SlurmdPidFile={directory}/run/slurmd-%n.pid\nSlurmctldLogFile={directory}/log/slurmctld.log\n\
             SlurmdLogFile={directory}/log/slurmd-%n.log\nSlurmctldDebug=info\nSlurmdDebug=info\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\n\
             MpiDefault=none\nSwitchType=switch/none\nSelectType=select/cons_tres\n\
             SelectTypeParameters=CR_Core_Memory\nSchedulerType=sched/backfill\n\
             SchedulerParameters=sched_min_interval=0,batch_sched_delay=0\nSlurmdParameters=config_overrides\n\
             ReturnToService=2\nSlurmctldTimeout=30\nSlurmdTimeout=15\nKillWait=2\nMinJobAge=300\n\
             MaxJobCount=50000\nMaxArraySize=1001\nMessageTimeout=10\nTmpFS=/tmp\nPropagateResourceLimits=NONE\n\
             DefMemPerCPU=50\nAccountingStorageType=accounting_storage/none\nJobCompType=jobcomp/none\n",
            port + 1
        )
        .lines()
        .map(str::to_owned)
        .collect();
        if self.plan.munge {
            lines.push(format!("AuthInfo=socket={directory}/run/munge.sock"));
        }
        // a key given twice makes every command print to its standard error
        let key = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
        let given: Vec<String> = self.plan.lines.iter().map(|line| key(line)).collect();
        lines.retain(|line| !given.contains(&key(line)));
        lines.extend(self.plan.lines.iter().cloned());
        let (cpus, memory) = (self.plan.cpus, self.plan.memory_mb);
        lines.extend((1..=self.plan.nodes).map(|node| {
            format!(
                "NodeName={} NodeHostname={host} NodeAddr=127.0.0.1 Port={} CPUs={cpus} RealMemory={memory} {}",
                self.node_name(node),
                port + 1 + node,
                self.plan.node
            )
        }));
        if !self.plan.lines.iter().any(|line| line.starts_with("PartitionName=main ")) {
            lines.push("PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=60 State=UP".to_owned());
        }
        lines.join("\n") + "\n"
    }

    fn spawn(&mut self, name: &str, program: &str, arguments: &[&str]) {
        let log = fs::File::options().create(true).append(true).open(self.path(&format!("log/{name}.out")));
        let log = log.expect("a log");
        // a test process that is killed takes its daemons along
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).args(&self.plan.inside).arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        let (name_, conf) = self.environment();
        command.env(name_, conf).env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        let child = command.spawn().expect("setpriv starts");
        self.daemons.insert(name.to_owned(), child);
    }

    pub(crate) fn start_munged(&mut self) {
        let key = self.path("etc/munge.key");
        if !key.exists() {
            let mut bytes = vec![0_u8; 128];
            use std::io::Read;
            fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes)).expect("random bytes");
            fs::write(&key, bytes).expect("a key");
            set_mode(&key, 0o600);
        }
        let option = |name: &str, path: &str| format!("--{name}={}", self.path(path).display());
        let options = [
            option("socket", "run/munge.sock"),
            option("key-file", "etc/munge.key"),
            option("pid-file", "run/munged.pid"),
            option("log-file", "log/munged.log"),
            option("seed-file", "run/munge.seed"),
        ];
        let mut arguments = vec!["--foreground", "--force"];
        arguments.extend(options.iter().map(String::as_str));
        self.spawn("munged", "munged", &arguments);
        let socket = self.path("run/munge.sock");
        until("munged listens", || socket.exists());
    }

    fn start_accounts(&mut self, port: u16) {
        let directory = self.directory.path().display().to_string();
        let user = user_name();
        let installed = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .args([format!("--user={user}"), format!("--datadir={directory}/db")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("no `mariadb-install-db`: run `cargo xtask test --slow`, or `apt-get install mariadb-server`");
        assert!(installed.success(), "the database cannot be made");
        let options = [
            "--no-defaults".to_owned(),
            format!("--user={user}"),
            format!("--datadir={directory}/db"),
            format!("--socket={directory}/run/mysql.sock"),
            "--skip-networking".to_owned(),
            "--innodb-buffer-pool-size=64M".to_owned(),
            "--innodb-lock-wait-timeout=900".to_owned(),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        self.spawn("mariadbd", "mariadbd", &options);
        until("the database answers", || {
            let ask = ["--no-defaults", "-uroot", "-e", "select 1", "-S"];
            let done = Command::new("mariadb").args(ask).arg(self.path("run/mysql.sock")).output();
            done.is_ok_and(|done| done.status.success())
        });
        let text = format!(
            "AuthType=auth/munge\nAuthInfo=socket={directory}/run/munge.sock\nDbdHost=localhost\nDbdAddr=127.0.0.1\n\
             DbdPort={port}\nSlurmUser={user}\nStorageType=accounting_storage/mysql\nStorageHost=localhost\n\
             StorageUser=root\nStorageLoc=slurm_acct\nLogFile={directory}/log/slurmdbd.log\n\
             PidFile={directory}/run/slurmdbd.pid\nDebugLevel=info\nCommitDelay=1\n"
        );
        let path = self.path("etc/slurmdbd.conf");
        fs::write(&path, text).expect("a configuration");
        set_mode(&path, 0o600);
        self.start_slurmdbd();
        self.ask("sacctmgr", &["-Qi", "add", "cluster", "test"]);
        self.ask("sacctmgr", &["-Qi", "add", "account", "acct", "cluster=test"]);
        self.ask("sacctmgr", &["-Qi", "add", "user", &user, "account=acct"]);
    }

    pub(crate) fn start_slurmdbd(&mut self) {
        // the plugin reads the database's socket from nowhere else
        let socket = format!("MYSQL_UNIX_PORT={}", self.path("run/mysql.sock").display());
        self.spawn("slurmdbd", "env", &[&socket, "slurmdbd", "-D"]);
        until("slurmdbd answers", || self.command("sacctmgr", &["-n", "-i", "list", "cluster"]).status.success());
    }

    pub(crate) fn start_controller(&mut self) {
        self.spawn("slurmctld", "slurmctld", &["-D"]);
        until("the controller answers", || self.command("scontrol", &["ping"]).stdout.ends_with(b"is UP\n"));
    }

    pub(crate) fn start_node(&mut self, node: u16) {
        let name = self.node_name(node);
        self.spawn(&format!("slurmd-n{node}"), "slurmd", &["-D", "-N", &name]);
    }

    /// Control groups are named after nodes, and all clusters of the machine share them.
    fn node_name(&self, node: u16) -> String {
        if self.plan.memory_limits { format!("n{node}x{}", std::process::id()) } else { format!("n{node}") }
    }

    fn remove_control_groups(&self) {
        for node in 1..=self.plan.nodes {
            let group = Path::new(CONTROL_GROUPS).join(format!("slurm_{}", self.node_name(node)));
            let _ = Command::new("find")
                .arg(group)
                .args(["-depth", "-type", "d", "-delete"])
                .stderr(Stdio::null())
                .status();
        }
    }

    pub(crate) fn wait_for_nodes(&self) {
        until("all nodes are usable", || {
            let done = self.command("sinfo", &["-h", "-N", "-o", "%N %t"]);
            let text = String::from_utf8_lossy(&done.stdout).into_owned();
            // a node shows once for each of its partitions
            let usable = text.lines().filter_map(|line| {
                let (node, state) = line.split_once(' ')?;
                ["idle", "mix", "alloc"].contains(&state.trim_end_matches('*')).then_some(node)
            });
            usable.collect::<std::collections::BTreeSet<_>>().len() == usize::from(self.plan.nodes)
        });
    }

    /// The process of a daemon, such as `slurmctld` or `slurmd-n1`.
    pub(crate) fn pid(&self, daemon: &str) -> u32 {
        self.daemons.get(daemon).expect("a daemon of this cluster").id()
    }

    /// Sends a signal, such as `STOP`, to a daemon.
    pub(crate) fn signal(&self, daemon: &str, signal: &str) {
        signal_process(self.pid(daemon), signal);
    }

    /// Kills a daemon as a crash would.
    pub(crate) fn kill(&mut self, daemon: &str) {
        let mut child = self.daemons.remove(daemon).expect("a daemon of this cluster");
        child.kill().expect("ours to kill");
        child.wait().expect("it ends");
    }

    /// Runs one of Slurm's commands to its end.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Output {
        let (name, conf) = self.environment();
        Command::new("timeout")
            .arg("30")
            .args(&self.plan.inside)
            .arg(program)
            .args(arguments)
            .env(name, conf)
            .stdin(Stdio::null())
            .output()
            .expect("timeout starts")
    }

    /// The standard output of a command that must succeed.
    pub(crate) fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let done = self.command(program, arguments);
        assert!(done.status.success(), "{program} {arguments:?}: {done:?}");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// The jobs in the queue, one a line, in this format of `squeue`.
    pub(crate) fn jobs(&self, format: &str) -> Vec<String> {
        self.ask("squeue", &["-h", "-r", "-t", "all", "-o", format]).lines().map(str::to_owned).collect()
    }

    /// Kills what runs jobs: step daemons and the processes of jobs, which carry this cluster's configuration.
    pub(crate) fn kill_steps(&self) {
        let (name, conf) = self.environment();
        let ours = format!("{name}={conf}");
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("processes").flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
            let has = |wanted: &dyn Fn(&[u8]) -> bool| environment.split(|byte| *byte == 0).any(wanted);
            let command = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let job = command.starts_with("slurmstepd") || has(&|line| line.starts_with(b"SLURM_JOB_ID="));
            if job && has(&|line| line == ours.as_bytes()) {
                found.push(pid);
            }
        }
        // all at once, or a wrapper records that its command was killed
        for signal in ["STOP", "KILL"] {
            found.iter().for_each(|pid| signal_process(*pid, signal));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (_, child) in self.daemons.iter_mut().filter(|(name, _)| *name != "munged") {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.kill_steps();
        if self.plan.memory_limits {
            self.remove_control_groups();
        }
        if let Some(munged) = self.daemons.get_mut("munged") {
            let _ = munged.kill();
            let _ = munged.wait();
        }
        if std::thread::panicking() {
            for entry in fs::read_dir(self.path("log")).into_iter().flatten().flatten() {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                let lines: Vec<&str> = text.lines().rev().take(8).collect();
                eprintln!("{}:", entry.path().display());
                lines.iter().rev().for_each(|line| eprintln!("    {line}"));
            }
        }
    }
}

fn signal_process(pid: u32, signal: &str) {
    let _ = Command::new("kill").args([&format!("-{signal}"), "--", &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Finds a run of free ports; tests of one process take turns, those of others are seen by trying.
fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = (std::process::id() % 900) as u16 * 24;
    for _ in 0..2000 {
        let base = 20_000 + (spread + NEXT.fetch_add(count + 1, Ordering::Relaxed)) % 12_000;
        if (base..base + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
    panic!("no {count} free ports in a row");
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .expect("a name")
        .trim()
        .split('.')
        .next()
        .unwrap_or("localhost")
        .into()
}

fn user_name() -> String {
    let done = Command::new("id").arg("-un").output().expect("id starts");
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours to change");
}
