//! A cgroup of a runtime's own, `cgroups(7)`.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::asked::{Enforced, Limits, Means};
use super::machine::own_cgroup;

/// Name of a runtime's cgroup: this and the lease.
const PREFIX: &str = "envctl-";

/// Microseconds of the period over which processors' time is counted.
const PERIOD: u64 = 100_000;

/// A cgroup of a runtime's own.
#[derive(Clone, Debug)]
pub(in crate::runtime) struct Cgroup {
    path: PathBuf,
    controllers: Vec<String>,
}

impl Cgroup {
    /// Makes one with these limits, as far as there are controllers for them;
    /// `None` where nothing is asked for, or nothing is delegated.
    pub(in crate::runtime) fn make(lease: &str, limits: &Limits) -> Option<Self> {
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
        // Only who may write this has a process in another cgroup below than their own.
        if rustix::fs::access(place.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_err() {
            return None;
        }
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

    pub(in crate::runtime) fn path(&self) -> &Path {
        &self.path
    }

    fn keeps(&self, controller: &str) -> bool {
        self.controllers.iter().any(|known| known == controller)
    }
}

/// The first process of a runtime, what it was born into, and how limits are kept.
pub(in crate::runtime) struct Born<T> {
    pub(in crate::runtime) process: T,
    pub(in crate::runtime) cgroup: Option<Cgroup>,
    pub(in crate::runtime) enforced: Enforced,
}

/// Has the first process of a runtime born in the cgroup that was made for it; without
/// one where the kernel lets nobody in, as it does where the part of the hierarchy that is
/// the user's does not hold this process. `clone` is given the folder of the cgroup.
///
/// # Errors
/// When it is not born; when a limit that is required is not kept.
pub(in crate::runtime) fn born<T>(
    limits: &Limits,
    cgroup: Option<Cgroup>,
    mut clone: impl FnMut(Option<BorrowedFd<'_>>) -> Result<T>,
) -> Result<Born<T>> {
    if let Some(cgroup) = cgroup {
        let enforced = enforced(limits, Some(&cgroup));
        if let Err(refused) = limits.must_be_kept(&enforced) {
            remove(&cgroup.path);
            return Err(refused.into());
        }
        let folder = File::open(&cgroup.path).map_err(Into::into);
        if let Ok(process) = folder.and_then(|folder| clone(Some(folder.as_fd()))) {
            return Ok(Born { process, cgroup: Some(cgroup), enforced });
        }
        remove(&cgroup.path);
    }
    let enforced = enforced(limits, None);
    limits.must_be_kept(&enforced)?;
    Ok(Born { process: clone(None)?, cgroup: None, enforced })
}

/// How limits are kept, given the cgroup that could be had.
fn enforced(limits: &Limits, cgroup: Option<&Cgroup>) -> Enforced {
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

/// Takes the cgroup of a runtime away whose processes are gone; whether it is
/// gone.
pub(in crate::runtime) fn remove(cgroup: &Path) -> bool {
    let ours = cgroup.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    if !ours || !cgroup.exists() {
        return !cgroup.exists();
    }
    let _ = OpenOptions::new().write(true).open(cgroup.join("cgroup.kill")).and_then(|mut kill| kill.write_all(b"1"));
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
pub(in crate::runtime) fn peak(cgroup: &Path) -> Option<u64> {
    fs::read_to_string(cgroup.join("memory.peak")).ok()?.trim().parse().ok()
}

/// Programs that the kernel ended for the memory of a cgroup.
pub(in crate::runtime) fn ended_for_memory(cgroup: &Path) -> u64 {
    let events = fs::read_to_string(cgroup.join("memory.events")).unwrap_or_default();
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::LIMITS;
    use super::*;

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

    /// A folder that stands for a part of the hierarchy in which controllers are on.
    fn delegated() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("cgroup.controllers"), "").unwrap();
        fs::write(place.path().join("cgroup.subtree_control"), "memory pids").unwrap();
        place
    }

    #[test]
    fn where_processes_may_not_be_moved_there_is_no_cgroup() {
        let place = delegated();
        assert!(Cgroup::make_in(place.path(), "abc", &LIMITS).is_none());
        assert!(!place.path().join("envctl-abc").exists());
        fs::write(place.path().join("cgroup.procs"), "").unwrap();
        let made = Cgroup::make_in(place.path(), "abc", &LIMITS).unwrap();
        assert!(made.keeps("memory") && made.keeps("pids") && !made.keeps("cpu"));
    }

    #[test]
    fn where_the_kernel_lets_nobody_in_limits_are_kept_without() {
        let place = delegated();
        let made = || {
            let path = place.path().join("envctl-abc");
            fs::create_dir(&path).unwrap();
            Some(Cgroup { path, controllers: vec!["memory".into(), "pids".into()] })
        };
        let limits = Limits { cpus: None, ..LIMITS };
        // A folder is no cgroup: the kernel itself refuses.
        let tried = |folder: Option<BorrowedFd<'_>>| match folder {
            Some(folder) => Ok(crate::runtime::sys::clone_into(0, Some(folder)).map(|_| "inside")?),
            None => Ok("without"),
        };
        let born = born(&limits, made(), tried).unwrap();
        assert_eq!((born.process, born.cgroup.is_none()), ("without", true));
        assert_eq!(born.enforced.memory, Some(Means::Watched));
        assert!(!place.path().join("envctl-abc").exists(), "it is left");
        // Where it lets somebody in.
        let born = super::born(&limits, made(), |folder| Ok(folder.is_some())).unwrap();
        assert!(born.process && born.cgroup.is_some() && born.enforced.memory == Some(Means::Cgroup));
        fs::remove_dir(place.path().join("envctl-abc")).unwrap();
        // What is required and kept by nobody stops before anything is born.
        let required = Limits { required: true, ..LIMITS };
        let refused = super::born(&required, made(), |_| -> Result<()> { panic!("it is born") }).err().unwrap();
        assert!(refused.to_string().contains("the limit of cpus"), "{refused:#}");
        assert!(!place.path().join("envctl-abc").exists(), "it is left");
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
