//! What a command costs: wall time until it returns, and the CPU seconds and peak memory of everything it started, also
//! of what outlives it for a while, such as the supervisor of local jobs.
use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::wait::wait;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The first argument that makes this program measure a command instead.
pub(crate) const MEASURE: &str = "__measure";

/// What one command cost.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Seconds until the command returned.
    pub(crate) wall_s: f64,
    /// User and system seconds of it and of all its descendants.
    pub(crate) cpu_s: f64,
    /// The largest resident set among them, in MiB.
    pub(crate) peak_mb: f64,
}

impl Cost {
    /// What two commands cost that are given one after the other.
    pub(crate) fn and(self, next: Self) -> Self {
        Self {
            wall_s: self.wall_s + next.wall_s,
            cpu_s: self.cpu_s + next.cpu_s,
            peak_mb: self.peak_mb.max(next.peak_mb),
        }
    }
}

/// Runs a shell line in a directory, in a process of its own that adopts whatever the line leaves behind.
pub(crate) fn cost(directory: &Path, line: &str) -> Result<Cost> {
    let output = Command::new(std::env::current_exe()?)
        .args([MEASURE, line])
        .current_dir(directory)
        .stderr(Stdio::piped())
        .output()
        .context("measuring")?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "`{line}` failed: {errors}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The median of several runs, by CPU seconds.
pub(crate) fn median(mut costs: Vec<Cost>) -> Result<Cost> {
    costs.sort_by(|a, b| a.cpu_s.total_cmp(&b.cpu_s));
    let middle = costs.len() / 2;
    costs.get(middle).copied().context("nothing was measured")
}

/// The other side of [`cost`]: runs the line, waits for every descendant, prints the cost as JSON.
pub(crate) fn measure(line: &str) -> Result<()> {
    nix::sys::prctl::set_child_subreaper(true)?;
    let start = Instant::now();
    let mut command = Command::new("/bin/sh").args(["-c", line]).stdout(Stdio::null()).spawn()?;
    let first = Pid::from_raw(i32::try_from(command.id())?);
    let status = command.wait()?;
    let wall_s = start.elapsed().as_secs_f64();
    ensure!(status.success(), "{first}: {status}");
    while wait().is_ok() {}
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let cost = Cost {
        wall_s,
        cpu_s: seconds(usage.user_time()) + seconds(usage.system_time()),
        peak_mb: usage.max_rss() as f64 / 1024.0,
    };
    #[expect(clippy::print_stdout, reason = "the measuring process answers on its standard output")]
    {
        println!("{}", serde_json::to_string(&cost)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cpu_s: f64, peak_mb: f64) -> Cost {
        Cost { wall_s: cpu_s, cpu_s, peak_mb }
    }

    #[test]
    fn costs_add_up_and_peaks_do_not() {
        let both = of(1.0, 30.0).and(of(2.0, 20.0));
        assert_eq!((both.wall_s, both.cpu_s, both.peak_mb), (3.0, 3.0, 30.0));
    }

    #[test]
    fn the_median_is_by_cpu_seconds() {
        assert_eq!(median(vec![of(9.0, 1.0), of(1.0, 2.0), of(2.0, 3.0)]).expect("a median").peak_mb, 3.0);
        assert!(median(Vec::new()).is_err());
    }
}
