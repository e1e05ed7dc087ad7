//! What a runtime may use: memory, processes, processors' time.
//!
//! Where the machine delegates a cgroup (version 2) to the developer the
//! kernel enforces all of it. Elsewhere what can be enforced without one is,
//! and what cannot is said: see [`Enforced`].

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

/// Name of a runtime's cgroup: this and the lease.
const PREFIX: &str = "envctl-";

/// Microseconds of the period over which processors' time is counted.
const PERIOD: u64 = 100_000;

/// Upper limits; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory of all processes together.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u32>,
    /// Processors' worth of time.
    pub cpus: Option<f64>,
}

/// How a limit is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Means {
    /// The kernel keeps it, for all processes together.
    Cgroup,
    /// The kernel keeps it, for the processes of one user (`RLIMIT_NPROC`).
    Rlimit,
    /// Pid 1 looks several times a second, and kills what is too large.
    Watched,
    /// It is not kept.
    None,
}

/// How each limit that was asked for is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    /// Of `memory`.
    #[serde(default)]
    pub memory: Option<Means>,
    /// Of `processes`.
    #[serde(default)]
    pub processes: Option<Means>,
    /// Of `cpus`.
    #[serde(default)]
    pub cpus: Option<Means>,
}

impl Limits {
    fn is_empty(&self) -> bool {
        self.memory.is_none() && self.processes.is_none() && self.cpus.is_none()
    }

    /// The controllers that these need.
    fn controllers(&self) -> Vec<&'static str> {
        let wanted =
            [("memory", self.memory.is_some()), ("pids", self.processes.is_some()), ("cpu", self.cpus.is_some())];
        wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name).collect()
    }
}

/// A cgroup of a runtime's own.
#[derive(Clone, Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
    controllers: Vec<String>,
}

impl Cgroup {
    /// Makes one with these limits, as far as there are controllers for them;
    /// `None` where nothing is asked for, or nothing is delegated.
    pub(super) fn make(lease: &str, limits: &Limits) -> Option<Self> {
        if limits.is_empty() {
            return None;
        }
        let own = own_cgroup()?;
        // One's own has processes in it, and may have no children with
        // controllers: a place beside or above it is needed.
        let places = own.ancestors().skip(1).take_while(|path| path.join("cgroup.controllers").exists());
        places.into_iter().find_map(|place| Self::make_in(place, lease, limits))
    }

    fn make_in(place: &Path, lease: &str, limits: &Limits) -> Option<Self> {
        let words = |name: &str| -> Vec<String> {
            let text = fs::read_to_string(place.join(name)).unwrap_or_default();
            text.split_whitespace().map(str::to_owned).collect()
        };
        let available = words("cgroup.controllers");
        let wanted = limits.controllers();
        for controller in wanted.iter().filter(|name| available.iter().any(|known| known == **name)) {
            // Refused where it is on already, or not ours to switch.
            let _ = fs::write(place.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        let controllers: Vec<String> =
            words("cgroup.subtree_control").into_iter().filter(|name| wanted.contains(&name.as_str())).collect();
        if controllers.is_empty() {
            return None;
        }
        let path = place.join(format!("{PREFIX}{lease}"));
        fs::create_dir(&path).ok()?;
        let cgroup = Cgroup { path, controllers };
        if cgroup.limit(limits).is_err() {
            let _ = fs::remove_dir(&cgroup.path);
            return None;
        }
        Some(cgroup)
    }

    fn limit(&self, limits: &Limits) -> std::io::Result<()> {
        let has = |name: &str| self.controllers.iter().any(|known| known == name);
        let set = |name: &str, value: String| fs::write(self.path.join(name), value);
        if let (true, Some(bytes)) = (has("memory"), limits.memory) {
            set("memory.max", bytes.to_string())?;
            // Absent where the machine has no swap.
            let _ = set("memory.swap.max", "0".into());
        }
        if let (true, Some(count)) = (has("pids"), limits.processes) {
            // Pid 1 and the forwarder are ours.
            set("pids.max", (u64::from(count) + 2).to_string())?;
        }
        if let (true, Some(cpus)) = (has("cpu"), limits.cpus) {
            set("cpu.max", format!("{} {PERIOD}", (cpus * PERIOD as f64) as u64))?;
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a process into it, with all that will come from it.
    pub(super) fn admit(&self, pid: Pid) -> Result<()> {
        let place = self.path.join("cgroup.procs");
        fs::write(&place, pid.as_raw_nonzero().to_string()).with_context(|| format!("cannot write {}", place.display()))
    }

    fn keeps(&self, controller: &str) -> bool {
        self.controllers.iter().any(|known| known == controller)
    }
}

/// How limits are kept, given the cgroup that could be had.
pub(super) fn enforced(limits: &Limits, cgroup: Option<&Cgroup>) -> Enforced {
    let by_cgroup = |controller| cgroup.is_some_and(|cgroup| cgroup.keeps(controller));
    let means = |controller, otherwise| if by_cgroup(controller) { Means::Cgroup } else { otherwise };
    // The kernel exempts its root from RLIMIT_NPROC, whatever the user is inside.
    let processes = if rustix::process::getuid().is_root() { Means::None } else { Means::Rlimit };
    Enforced {
        memory: limits.memory.map(|_| means("memory", Means::Watched)),
        processes: limits.processes.map(|_| means("pids", processes)),
        cpus: limits.cpus.map(|_| means("cpu", Means::None)),
    }
}

/// Where this process is in the hierarchy of version 2, `cgroups(7)`.
fn own_cgroup() -> Option<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = table.lines().find_map(|line| {
        let (fields, rest) = line.split_once(" - ")?;
        rest.starts_with("cgroup2 ").then(|| fields.split(' ').nth(4).map(PathBuf::from))?
    })?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(mount.join(path))
}

/// Takes the cgroup of a runtime away whose processes are gone; whether it is
/// gone.
pub(super) fn remove(cgroup: &Path) -> bool {
    let ours = cgroup.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    if !ours || !cgroup.exists() {
        return !cgroup.exists();
    }
    let _ = fs::write(cgroup.join("cgroup.kill"), "1");
    for _ in 0..100 {
        // Busy until the last dead process has been noticed.
        if fs::remove_dir(cgroup).is_ok() || !cgroup.exists() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// The most memory that a cgroup's processes had together, in bytes; `None`
/// where the kernel does not say (before 5.19, or without the controller).
pub(super) fn peak(cgroup: &Path) -> Option<u64> {
    fs::read_to_string(cgroup.join("memory.peak")).ok()?.trim().parse().ok()
}

/// Resident memory of a process that it shares with no file, in bytes,
/// `proc_pid_status(5)`.
pub(super) fn memory_of(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    (kilobytes("RssAnon:").unwrap_or(0) + kilobytes("RssShmem:").unwrap_or(0)) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { memory: Some(1 << 30), processes: Some(100), cpus: Some(1.5) };

    #[test]
    fn a_cgroup_gets_the_limits() {
        let dir = tempfile::tempdir().unwrap();
        let controllers = ["memory", "pids", "cpu"].map(str::to_owned).to_vec();
        let cgroup = Cgroup { path: dir.path().to_owned(), controllers };
        cgroup.limit(&LIMITS).unwrap();
        let read = |name: &str| fs::read_to_string(cgroup.path.join(name)).unwrap();
        assert_eq!((read("memory.max"), read("pids.max")), ("1073741824".into(), "102".into()));
        assert_eq!(read("cpu.max"), "150000 100000");
        let all = Enforced { memory: Some(Means::Cgroup), processes: Some(Means::Cgroup), cpus: Some(Means::Cgroup) };
        assert_eq!(enforced(&LIMITS, Some(&cgroup)), all);
    }

    #[test]
    fn what_nobody_keeps_is_said() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("cgroup.controllers"), "hugetlb").unwrap();
        assert!(Cgroup::make_in(place.path(), "abc", &LIMITS).is_none());
        let without = enforced(&LIMITS, None);
        assert_eq!((without.memory, without.cpus), (Some(Means::Watched), Some(Means::None)));
        assert_eq!(enforced(&Limits::default(), None), Enforced::default());
        assert!(Cgroup::make("abc", &Limits::default()).is_none());
    }

    #[test]
    fn only_cgroups_of_ours_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = dir.path().join("user.slice");
        fs::create_dir(&foreign).unwrap();
        assert!(!remove(&foreign));
        assert!(foreign.exists());
        let own = dir.path().join("envctl-abc");
        fs::create_dir(&own).unwrap();
        assert!(!own.join("cgroup.kill").exists());
        assert!(remove(&dir.path().join("envctl-never-there")));
    }
}
