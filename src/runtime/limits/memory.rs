//! What processes use.

use std::fs;

use rustix::process::Pid;

/// Memory of a process that lies in no file, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::runtime) struct Memory {
    /// Its own.
    pub(in crate::runtime) own: u64,
    /// Shared with others, or a file in memory.
    pub(in crate::runtime) shared: u64,
}

impl Memory {
    /// All of it.
    pub(in crate::runtime) fn all(self) -> u64 {
        self.own + self.shared
    }
}

/// What a process has resident, `proc_pid_status(5)`. What several share counts for
/// each of them.
pub(in crate::runtime) fn memory_of(pid: Pid) -> Memory {
    read_memory(pid, "status", ["RssAnon:", "RssShmem:"]).unwrap_or_default()
}

/// The same, where what is shared counts by parts: exact, and slow. Where that may not
/// be read, as [`memory_of`].
pub(in crate::runtime) fn exact_memory_of(pid: Pid) -> Memory {
    read_memory(pid, "smaps_rollup", ["Pss_Anon:", "Pss_Shmem:"]).unwrap_or_else(|| memory_of(pid))
}

fn read_memory(pid: Pid, file: &str, [own, shared]: [&str; 2]) -> Option<Memory> {
    let text = fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).ok()?;
    let bytes = |name: &str| kilobytes(&text, name).map(|count| count * 1024);
    Some(Memory { own: bytes(own)?, shared: bytes(shared).unwrap_or(0) })
}

pub(super) fn kilobytes(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// How a process calls itself, `proc_pid_comm(5)`.
pub(in crate::runtime) fn name_of(pid: Pid) -> Option<String> {
    let bytes = fs::read(format!("/proc/{}/comm", pid.as_raw_nonzero())).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end().to_owned()).filter(|name| !name.is_empty())
}

/// What all use together: files in memory are mapped as well, and count once.
pub(in crate::runtime) fn together(sizes: impl Iterator<Item = Memory>, scratch: u64) -> u64 {
    let sum = sizes.fold(Memory::default(), |sum, one| Memory {
        own: sum.own.saturating_add(one.own),
        shared: sum.shared.saturating_add(one.shared),
    });
    sum.own.saturating_add(sum.shared.max(scratch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_counts_once() {
        let own = Pid::from_raw(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(memory_of(own).all() > 1 << 16 && exact_memory_of(own).own > 1 << 16);
        assert!(name_of(own).is_some());
        let sizes = [Memory { own: 10, shared: 30 }, Memory { own: 5, shared: 30 }];
        assert_eq!((together(sizes.into_iter(), 100), together(sizes.into_iter(), 7)), (115, 75));
    }
}
