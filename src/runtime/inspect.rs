//! What exists of a runtime, seen from outside through `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{CWD, Mode, OFlags};

use super::lease::Namespaces;

/// Inode number of one of a process's namespaces.
pub(super) fn namespace(pid: i32, kind: &str) -> Option<u64> {
    parse_link(fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()?.as_os_str().as_bytes())
}

/// `pid:[4026531836]`
fn parse_link(link: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(link).ok()?;
    text.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

/// Processes in a runtime's namespaces, by their IDs outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    /// Those in its process ID namespace.
    pub(super) processes: Vec<i32>,
    /// Those that only keep its mounts alive.
    pub(super) holders: Vec<i32>,
}

/// Looks for processes in these namespaces.
///
/// # Errors
/// When `/proc` cannot be read.
pub(super) fn members(namespaces: &Namespaces) -> Result<Members> {
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
    for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        match namespace(pid, "pid") {
            None => {}
            Some(inode) if inode == namespaces.pid => found.processes.push(pid),
            Some(_) if namespace(pid, "mnt") == Some(namespaces.mnt) => found.holders.push(pid),
            Some(_) => {}
        }
    }
    Ok(found)
}

/// Mount points at or below a folder, in this process's namespace.
///
/// # Errors
/// When the table cannot be read.
pub(super) fn mounts_below(folder: &Path) -> Result<u32> {
    let table = fs::read("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
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

/// Inode numbers of the listening TCP sockets that a process can see.
fn listening(pid: &str) -> BTreeSet<u64> {
    let table = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
    let inodes = |table: String| -> Vec<u64> {
        let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row.get(3) == Some(&"0A")).filter_map(|row| row.get(9)?.parse().ok()).collect()
    };
    ["tcp", "tcp6"].into_iter().flat_map(|name| inodes(table(name))).collect()
}

/// Listening TCP sockets that these processes hold, by inode number.
pub(super) fn listeners(pids: &[i32]) -> BTreeSet<u64> {
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
pub(super) fn still_listening(inodes: &BTreeSet<u64>) -> u32 {
    if inodes.is_empty() { 0 } else { listening("self").intersection(inodes).count() as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_in_its_own_namespace() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let inode = |kind| namespace(own, kind).unwrap();
        let mut namespaces = Namespaces { pid: inode("pid"), mnt: inode("mnt"), net: inode("net") };
        assert!(members(&namespaces).unwrap().processes.contains(&own));
        namespaces.pid += 1_000_000;
        let others = members(&namespaces).unwrap();
        assert!(others.processes.is_empty() && others.holders.contains(&own));
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
