//! What this machine has, and where this process is in its cgroups.

use std::fs;
use std::path::PathBuf;

use super::memory::kilobytes;

/// Where this process is in the hierarchy of version 2, `cgroups(7)`.
pub(super) fn own_cgroup() -> Option<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = table.lines().find_map(|line| {
        let (fields, rest) = line.split_once(" - ")?;
        rest.starts_with("cgroup2 ").then(|| fields.split(' ').nth(4).map(PathBuf::from))?
    })?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(mount.join(path))
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
pub(super) fn processes_here() -> Option<u64> {
    let most = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse().ok()
    };
    [most("threads-max"), most("pid_max")].into_iter().flatten().min()
}
