//! What exists of a runtime, seen from outside through `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{CWD, Mode, OFlags};

use crate::disk;
use crate::runtime::lease::{Lease, Namespaces, is_dead};

/// Inode number of one of a process's namespaces.
pub(crate) fn namespace(pid: i32, kind: &str) -> Option<u64> {
    parse_link(fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()?.as_os_str().as_bytes())
}

/// `pid:[4026531836]`
fn parse_link(link: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(link).ok()?;
    text.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

/// Processes in a runtime's namespaces, by their IDs outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// Those in its process ID namespace.
    pub(crate) processes: Vec<i32>,
    /// Those that only keep its mounts alive.
    pub(crate) holders: Vec<i32>,
}

/// Source of the root mount of a runtime: shows in the mount table of every
/// process inside.
pub(crate) fn mark(lease: &str) -> String {
    format!("{MARK}{lease}")
}

const MARK: &str = "envctl/";

/// Processes of this runtime that are alive.
///
/// Once a namespace is gone the kernel gives its inode number to the next one.
/// So what bears the number is looked at more closely.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn members(lease: &Lease) -> Result<Members> {
    let mut found = bearers(&lease.namespaces)?;
    if found.processes.is_empty() && found.holders.is_empty() {
        return Ok(found);
    }
    let mark = mark(&lease.id);
    found.holders.retain(|pid| root_source(*pid).as_deref() == Some(&mark));
    let foreign_init = found.processes.iter().any(|pid| *pid != lease.init.pid && is_first(*pid));
    found.processes.retain(|pid| match root_source(*pid) {
        Some(source) if source == mark => true,
        Some(source) if source.starts_with(MARK) => false,
        // It sees other mounts: whose namespace is it, then?
        _ => !foreign_init,
    });
    Ok(found)
}

/// What is mounted at the root of a process.
fn root_source(pid: i32) -> Option<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
    let root = table.lines().rfind(|line| line.split(' ').nth(4) == Some("/"))?;
    Some(root.rsplit_once(" - ")?.1.split(' ').nth(1)?.to_owned())
}

/// Whether a process is the first of its namespace, `proc_pid_status(5)`.
fn is_first(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_whitespace().next_back() == Some("1"))
}

/// Processes in namespaces with these inode numbers.
fn bearers(namespaces: &Namespaces) -> Result<Members> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::openat(CWD, "/proc", flags, Mode::empty()).context("cannot open /proc")?;
    let mut found = Members::default();
    let mut buffer = Vec::with_capacity(64);
    let mut namespace = |pid: i32, kind: &str| {
        // Those of others cannot be read, and are not in a namespace of ours.
        let link = rustix::fs::readlinkat(&proc, format!("{pid}/ns/{kind}"), std::mem::take(&mut buffer)).ok()?;
        let inode = parse_link(link.as_bytes());
        buffer = link.into_bytes();
        inode
    };
    let kernel = kernel_threads();
    for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if kernel.contains(&pid) {
            continue;
        }
        match namespace(pid, "pid") {
            None => {}
            // Of a dead process only the exit code is left, for its parent.
            Some(inode) if inode == namespaces.pid && !is_dead(pid) => found.processes.push(pid),
            Some(inode) if inode == namespaces.pid => {}
            Some(_) if namespace(pid, "mnt") == Some(namespaces.mnt) => found.holders.push(pid),
            Some(_) => {}
        }
    }
    Ok(found)
}

/// Threads of the kernel's own. They never change their namespaces, and on a
/// large machine they are most of what there is to look at. Empty where the
/// kernel does not say, or where process 2 is an ordinary one.
fn kernel_threads() -> BTreeSet<i32> {
    // PF_KTHREAD of the field `flags`, `proc_pid_stat(5)`.
    const OF_THE_KERNEL: u32 = 0x0020_0000;
    let stat = fs::read_to_string("/proc/2/stat").unwrap_or_default();
    let flags = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(6)?.parse::<u32>().ok());
    if flags.is_none_or(|flags| flags & OF_THE_KERNEL == 0) {
        return BTreeSet::new();
    }
    let children = fs::read_to_string("/proc/2/task/2/children").unwrap_or_default();
    children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Mount points at or below a folder, in this process's namespace.
///
/// # Errors
/// When the table cannot be read.
pub(crate) fn mounts_below(folder: &Path) -> Result<u32> {
    let table = disk::read_file(Path::new("/proc/self/mountinfo"), 64 << 20)?.context("/proc is not mounted")?;
    let folder = escape_mountinfo(folder.as_os_str().as_bytes());
    let below =
        |point: &[u8]| point.strip_prefix(&*folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
    let points = table.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    Ok(points.filter(|point| below(point)).count() as u32)
}

/// As `proc_pid_mountinfo(5)` writes paths.
fn escape_mountinfo(path: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
        other => vec![*other],
    };
    path.iter().flat_map(escape).collect()
}

/// The rows of listening TCP sockets that a process can see, and something of each;
/// `None` when its tables cannot be read.
fn of_listening<T: Ord>(pid: &str, take: impl Fn(&[&str]) -> Option<T>) -> Option<BTreeSet<T>> {
    let mut found = BTreeSet::new();
    let tables = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/{pid}/net/{name}")).ok());
    if tables.iter().all(Option::is_none) {
        return None;
    }
    for table in tables.iter().flatten() {
        let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        found.extend(rows.filter(|row| row.get(3) == Some(&"0A")).filter_map(|row| take(&row)));
    }
    Some(found)
}

/// Inode numbers of the listening TCP sockets that a process can see.
fn listening(pid: &str) -> BTreeSet<u64> {
    of_listening(pid, |row| row.get(9)?.parse().ok()).unwrap_or_default()
}

/// Ports on which something listens inside a runtime; `None` when that cannot be seen.
pub fn heard_ports(lease: &Lease) -> Option<BTreeSet<u16>> {
    let port = |row: &[&str]| u16::from_str_radix(row.get(1)?.rsplit(':').next()?, 16).ok();
    of_listening(&lease.init.pid.to_string(), port)
}

/// Listening TCP sockets that these processes hold, by inode number.
pub(crate) fn listeners(pids: &[i32]) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    for pid in pids {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let held: BTreeSet<u64> = descriptors
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
            .collect();
        if !held.is_empty() {
            found.extend(listening(&pid.to_string()).intersection(&held));
        }
    }
    found
}

/// How many of these sockets still listen in this network namespace.
pub(crate) fn still_listening(inodes: &BTreeSet<u64>) -> u32 {
    if inodes.is_empty() { 0 } else { listening("self").intersection(inodes).count() as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_in_its_own_namespace() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let inode = |kind| namespace(own, kind).unwrap();
        let mut namespaces = Namespaces { pid: inode("pid"), mnt: inode("mnt") };
        assert!(bearers(&namespaces).unwrap().processes.contains(&own));
        namespaces.pid += 1_000_000;
        let others = bearers(&namespaces).unwrap();
        assert!(others.processes.is_empty() && others.holders.contains(&own));
    }

    #[test]
    fn only_threads_of_the_kernel_are_passed_over() {
        let kernel = kernel_threads();
        assert!(!kernel.contains(&rustix::process::getpid().as_raw_nonzero().get()));
        for pid in kernel {
            // They have no program. One that has ended meanwhile says nothing.
            assert!(fs::read_link(format!("/proc/{pid}/exe")).is_err(), "{pid}");
        }
    }

    #[test]
    fn a_listening_socket_is_found_until_it_is_closed() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = rustix::fs::fstat(&socket).unwrap().st_ino;
        let found = listeners(&[own]);
        assert!(found.contains(&inode));
        let only: BTreeSet<u64> = [inode].into();
        assert_eq!(still_listening(&only), 1);
        drop(socket);
        assert_eq!(still_listening(&only), 0);
    }

    #[test]
    fn mount_points_are_compared_as_the_kernel_writes_them() {
        assert_eq!(escape_mountinfo(b"/a b\\c"), b"/a\\040b\\134c");
        assert!(mounts_below(Path::new("/proc")).unwrap() >= 1);
        assert_eq!(mounts_below(Path::new("/pro")).unwrap(), 0);
    }
}
