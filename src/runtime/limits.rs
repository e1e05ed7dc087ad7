//! What a runtime may use: memory, processes, processors' time.
//!
//! Where the machine delegates a cgroup (version 2) to the developer the
//! kernel enforces all of it. Elsewhere what can be enforced without one is,
//! and what cannot is said: see [`Enforced`].
//!
//! What nobody limits is limited to a share of the machine, by pid 1 and by
//! `RLIMIT_NPROC` alone: a cgroup takes its time to make, and is for who asks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::error::{Fault, policy};

/// Name of a runtime's cgroup: this and the lease.
const PREFIX: &str = "envctl-";

/// Microseconds of the period over which processors' time is counted.
const PERIOD: u64 = 100_000;

/// Of the machine's memory, what one runtime may use when nobody says: three of so many
/// parts.
const PARTS: u64 = 4;

/// Upper limits; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory of all processes together.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u32>,
    /// Processors' worth of time.
    pub cpus: Option<f64>,
    /// Which of them nobody asked for.
    #[serde(default)]
    pub assumed: Assumed,
    /// One that is asked for and cannot be kept stops the runtime from being made.
    #[serde(default)]
    pub required: bool,
}

/// Limits that nobody asked for: shares of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assumed {
    /// `memory`
    pub memory: bool,
    /// `processes`
    pub processes: bool,
}

/// That programs were ended because all of them together used too much memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfMemory {
    /// Bytes that all of them may use.
    pub limit: u64,
    /// Nobody asked for that limit.
    pub assumed: bool,
    /// How many were ended.
    pub ended: u64,
    /// The largest of them, as it calls itself; `None` where the kernel chose.
    pub program: Option<String>,
    /// Bytes that it had.
    pub program_bytes: Option<u64>,
    /// Bytes of files in `/tmp`, `/dev/shm`, `/run` and elsewhere outside of the
    /// workspace.
    pub scratch_bytes: Option<u64>,
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
    /// With a share of this machine where nothing is asked for. Processors' time is
    /// shared by the kernel anyway.
    #[must_use]
    pub fn or_share(self) -> Self {
        self.or_share_of(memory_here(), processes_here())
    }

    fn or_share_of(mut self, memory: Option<u64>, processes: Option<u64>) -> Self {
        if self.memory.is_none() {
            self.memory = memory.map(|bytes| bytes / PARTS * (PARTS - 1));
            self.assumed.memory = true;
        }
        if self.processes.is_none() {
            self.processes = processes.and_then(|count| u32::try_from(count / 2).ok());
            self.assumed.processes = true;
        }
        self
    }

    /// Bytes that may be written outside of the workspace, into memory: half of what
    /// was asked for, so that files alone end no program.
    pub(super) fn scratch(&self) -> Option<u64> {
        self.memory.filter(|_| !self.assumed.memory).map(|bytes| bytes / 2)
    }

    /// Whether nobody asks for any.
    fn is_empty(&self) -> bool {
        let (memory, processes) = (self.memory.is_none(), self.processes.is_none());
        (memory || self.assumed.memory) && (processes || self.assumed.processes) && self.cpus.is_none()
    }

    /// Makes sure that what is asked for and required is kept.
    ///
    /// # Errors
    /// [`crate::error::Kind::Policy`] with what is not.
    pub(super) fn must_be_kept(&self, enforced: &Enforced) -> Result<(), Fault> {
        let lost = |name: &'static str, means: Option<Means>, assumed: bool| {
            (means == Some(Means::None) && !assumed).then_some(name)
        };
        let lost = [
            lost("memory", enforced.memory, self.assumed.memory),
            lost("processes", enforced.processes, self.assumed.processes),
            lost("cpus", enforced.cpus, false),
        ];
        let lost: Vec<&str> = lost.into_iter().flatten().collect();
        if !self.required || lost.is_empty() {
            return Ok(());
        }
        Err(policy(format!("the limit of {} cannot be kept here, and it is required", lost.join(" and of ")))
            .hint("this machine delegates no cgroup to this user: envctl doctor looks; or leave out what requires it"))
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

/// Programs that the kernel ended for the memory of a cgroup.
pub(super) fn ended_for_memory(cgroup: &Path) -> u64 {
    let events = fs::read_to_string(cgroup.join("memory.events")).unwrap_or_default();
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

/// Bytes of memory that processes may use on this machine: all of it, or what the
/// cgroup of this one may have.
pub fn memory_here() -> Option<u64> {
    let whole = kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:").map(|count| count * 1024);
    let own = own_cgroup()?;
    let most = own.ancestors().take_while(|path| path.join("cgroup.controllers").exists());
    let most = most.filter_map(|path| fs::read_to_string(path.join("memory.max")).ok()?.trim().parse().ok()).min();
    match (whole, most) {
        (Some(whole), Some(most)) => Some(whole.min(most)),
        (whole, most) => whole.or(most),
    }
}

/// Processes and threads that this machine can have.
fn processes_here() -> Option<u64> {
    let most = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse().ok()
    };
    [most("threads-max"), most("pid_max")].into_iter().flatten().min()
}

/// Memory of a process that lies in no file, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Its own.
    pub(super) own: u64,
    /// Shared with others, or a file in memory.
    pub(super) shared: u64,
}

impl Memory {
    /// All of it.
    pub(super) fn all(self) -> u64 {
        self.own + self.shared
    }
}

/// What a process has resident, `proc_pid_status(5)`. What several share counts for
/// each of them.
pub(super) fn memory_of(pid: Pid) -> Memory {
    read_memory(pid, "status", ["RssAnon:", "RssShmem:"]).unwrap_or_default()
}

/// The same, where what is shared counts by parts: exact, and slow. Where that may not
/// be read, as [`memory_of`].
pub(super) fn exact_memory_of(pid: Pid) -> Memory {
    read_memory(pid, "smaps_rollup", ["Pss_Anon:", "Pss_Shmem:"]).unwrap_or_else(|| memory_of(pid))
}

fn read_memory(pid: Pid, file: &str, [own, shared]: [&str; 2]) -> Option<Memory> {
    let text = fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).ok()?;
    let bytes = |name: &str| kilobytes(&text, name).map(|count| count * 1024);
    Some(Memory { own: bytes(own)?, shared: bytes(shared).unwrap_or(0) })
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// How a process calls itself, `proc_pid_comm(5)`.
pub(super) fn name_of(pid: Pid) -> Option<String> {
    let bytes = fs::read(format!("/proc/{}/comm", pid.as_raw_nonzero())).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end().to_owned()).filter(|name| !name.is_empty())
}

/// What all use together: files in memory are mapped as well, and count once.
pub(super) fn together(sizes: impl Iterator<Item = Memory>, scratch: u64) -> u64 {
    let sum = sizes.fold(Memory::default(), |sum, one| Memory {
        own: sum.own.saturating_add(one.own),
        shared: sum.shared.saturating_add(one.shared),
    });
    sum.own.saturating_add(sum.shared.max(scratch))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        memory: Some(1 << 30),
        processes: Some(100),
        cpus: Some(1.5),
        assumed: Assumed { memory: false, processes: false },
        required: false,
    };

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
    fn what_nobody_limits_is_a_share_of_the_machine() {
        let share = Limits::default().or_share_of(Some(8 << 30), Some(1000));
        assert_eq!((share.memory, share.processes, share.cpus), (Some(6 << 30), Some(500), None));
        assert_eq!(share.assumed, Assumed { memory: true, processes: true });
        // It makes no cgroup, takes no scratch space, and is required of nobody.
        assert!(share.is_empty() && share.scratch().is_none());
        let none = Enforced { memory: Some(Means::None), processes: Some(Means::None), cpus: None };
        assert!(Limits { required: true, ..share }.must_be_kept(&none).is_ok());
        // What is asked for stays.
        assert_eq!(LIMITS.or_share_of(Some(8 << 30), Some(1000)), LIMITS);
        assert_eq!(LIMITS.scratch(), Some(1 << 29));
        assert!(memory_here().is_some_and(|bytes| bytes > 1 << 20) && processes_here().is_some());
    }

    #[test]
    fn a_limit_that_cannot_be_kept_can_be_refused() {
        let enforced = enforced(&LIMITS, None);
        assert!(LIMITS.must_be_kept(&enforced).is_ok());
        let refused = Limits { required: true, ..LIMITS }.must_be_kept(&enforced).unwrap_err().to_string();
        assert!(refused.contains("cpus"), "{refused}");
        let kept = Enforced { memory: Some(Means::Watched), processes: Some(Means::Rlimit), cpus: None };
        assert!(Limits { required: true, ..LIMITS }.must_be_kept(&kept).is_ok());
    }

    #[test]
    fn what_is_shared_counts_once() {
        let own = Pid::from_raw(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(memory_of(own).all() > 1 << 16 && exact_memory_of(own).own > 1 << 16);
        assert!(name_of(own).is_some());
        let sizes = [Memory { own: 10, shared: 30 }, Memory { own: 5, shared: 30 }];
        assert_eq!((together(sizes.into_iter(), 100), together(sizes.into_iter(), 7)), (115, 75));
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
