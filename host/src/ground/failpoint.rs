//! Places where a test can make the host die, named by `MATTERSTACK_FAILPOINT=NAME:N` (the N-th passage aborts).
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

struct Armed {
    name: String,
    left: AtomicU64,
    trace: Option<std::path::PathBuf>,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

fn armed() -> Option<&'static Armed> {
    ARMED
        .get_or_init(|| {
            let trace = std::env::var_os("MATTERSTACK_FAILPOINT_TRACE").map(Into::into);
            let text = std::env::var("MATTERSTACK_FAILPOINT").unwrap_or_default();
            let (name, count) = text.rsplit_once(':').unwrap_or((&text, "1"));
            let left = count.parse().unwrap_or(1);
            (!name.is_empty() || trace.is_some()).then(|| Armed {
                name: name.to_owned(),
                left: AtomicU64::new(left),
                trace,
            })
        })
        .as_ref()
}

/// Whether a test has named this: what stands under the name then counts as missing.
pub fn is_named(name: &str) -> bool {
    armed().is_some_and(|point| point.name == name)
}

/// Dies here, as by `kill -9`, if a test asked for it. With `MATTERSTACK_FAILPOINT_TRACE=FILE` every passage is
/// appended to FILE as well, so that a test can list them.
pub fn hit(name: &str) {
    let Some(point) = armed() else { return };
    if let Some(path) = &point.trace {
        use std::io::Write;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        if let Ok(mut file) = file {
            let _ = writeln!(file, "{name}");
        }
    }
    if point.name == name && point.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        std::process::abort();
    }
}
