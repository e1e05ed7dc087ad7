//! The `private` network: an outside through pasta, but nothing of the host's
//! own loopback.
//!
//! Pasta runs in the runtime's process namespace and in the host's network:
//! pid 1 forks it before it takes a network of its own. So pasta, its sockets
//! and its ports end when pid 1 does, however that happens, and nothing has to
//! be found and killed. It shuts itself into an empty folder before anything
//! else runs inside.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::process::{Pid, WaitOptions};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::own_program;
use crate::error::{Fault, failure};
use crate::runtime::deadline::{monotonic_after, monotonic_now};
use crate::runtime::sys::Side;
use crate::runtime::{sys, wire};

/// How long the network may take to come up.
const PATIENCE: Duration = Duration::from_secs(5);

/// An address inside that stands for a resolver on the host's own loopback.
const RESOLVER: &str = "169.254.53.53";

/// What pasta needs to enter the network namespace and to set it up.
const CAPABILITIES: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::SYS_ADMIN);

/// Finds pasta, and makes sure that it could work: where it may not open its
/// device it would wait forever.
///
/// # Errors
/// With what is missing and what helps.
pub(crate) fn find(path: Option<&OsStr>) -> Result<PathBuf, Fault> {
    let program = crate::disk::find_program(path, "pasta").ok_or_else(|| {
        failure("the private network needs the program pasta, which is not on the PATH")
            .hint("install it (Debian and Fedora: the package passt), or use --network isolated or host")
    })?;
    match rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(_) => Ok(program),
        Err(error) => Err(failure(format!("the private network needs /dev/net/tun, which cannot be opened: {error}"))
            .hint("as root: modprobe tun && chmod 0666 /dev/net/tun; or use --network isolated or host")),
    }
}

/// The resolver's configuration inside, and the address that pasta has to
/// stand in for where the host's resolver is on its loopback.
pub(crate) fn resolver() -> (Vec<u8>, Option<&'static str>) {
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let is_local = |line: &str| {
        line.split_whitespace().nth(1).is_some_and(|address| address.starts_with("127.") || address == "::1")
    };
    let servers: Vec<&str> = host.lines().filter(|line| line.starts_with("nameserver")).collect();
    if servers.is_empty() || !servers.iter().all(|line| is_local(line)) {
        let lines = host.lines().filter(|line| !(line.starts_with("nameserver") && is_local(line)));
        return (lines.map(|line| format!("{line}\n")).collect::<String>().into_bytes(), None);
    }
    let rest = host.lines().filter(|line| !line.starts_with("nameserver")).map(|line| format!("{line}\n"));
    let text = format!("nameserver {RESOLVER}\n{}", rest.collect::<String>());
    (text.into_bytes(), Some(RESOLVER))
}

/// Pasta while it is being started.
pub(crate) struct Starting {
    pid: Pid,
    socket: OwnedFd,
    words: File,
}

impl Starting {
    /// Forks the process that becomes pasta, and then leaves the host's
    /// network: the order matters.
    pub(crate) fn fork(program: &Path, uid: u32) -> Result<Self> {
        let (socket, theirs) = wire::pair()?;
        let words = rustix::fs::memfd_create("pasta", MemfdFlags::CLOEXEC)?;
        match sys::fork().context("cannot start pasta")? {
            Side::Child => {
                let keep = [theirs.as_raw_fd(), words.as_raw_fd()];
                std::mem::forget(socket);
                let _ = sys::close_all_but(3, &keep)
                    .map_err(anyhow::Error::from)
                    .and_then(|()| become_pasta(program, uid, &theirs, &words));
                sys::exit_now(127)
            }
            Side::Parent(pid) => {
                sys::unshare_network().context("cannot make a network of its own")?;
                Ok(Starting { pid, socket, words: words.into() })
            }
        }
    }

    /// Lets pasta join this process's network, and returns once it no longer
    /// depends on the file system that is about to change.
    pub(crate) fn join(&self) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let network = rustix::fs::open("/proc/thread-self/ns/net", flags, Mode::empty())?;
        wire::send(&self.socket, &(), &[network.as_fd()])?;
        wire::receive::<()>(&self.socket)?.context("pasta could not be prepared")?;
        Ok(())
    }

    /// Waits until there is a way out.
    pub(crate) fn finish(mut self) -> Result<Pid> {
        let end = monotonic_after(PATIENCE);
        while !has_route() {
            let ended = rustix::process::waitpid(Some(self.pid), WaitOptions::NOHANG).ok().flatten().is_some();
            if ended || monotonic_now() >= end {
                let mut words = String::new();
                self.words.rewind()?;
                let _ = (&mut self.words).take(4096).read_to_string(&mut words);
                let last = words.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.contains("syslog"));
                return Err(failure(format!(
                    "the private network does not come up: pasta {}",
                    last.unwrap_or("gives no reason")
                ))
                .hint("use --network isolated or host")
                .into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(self.pid)
    }
}

/// Whether this network namespace has a route, `/proc/net/route`.
fn has_route() -> bool {
    let routes = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    let four = routes("route").lines().count() > 1;
    four || routes("ipv6_route").lines().any(|line| !line.ends_with(" lo"))
}

fn become_pasta(program: &Path, uid: u32, socket: &OwnedFd, words: &OwnedFd) -> Result<()> {
    let (_, mut fds) = wire::receive::<()>(socket)?.context("pid 1 is gone")?;
    let network = fds.pop().context("no network came")?;
    sys::unshare_mounts()?;
    wire::send(socket, &(), &[])?;
    rustix::process::setsid()?;
    rustix::io::fcntl_setfd(&network, rustix::io::FdFlags::empty())?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(words)?;
    let sets = CapabilitySets { effective: CAPABILITIES, permitted: CAPABILITIES, inheritable: CAPABILITIES };
    rustix::thread::set_capabilities(None, sets)?;
    for capability in CAPABILITIES.iter() {
        rustix::thread::configure_capability_in_ambient_set(capability, true)?;
    }
    sys::unblock_signals()?;
    // Through a mount of its own: what runs in the runtime's process namespace
    // must be no file of the host that somebody inside could change.
    let file = own_program::mounted(program)?;
    let mut command = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()));
    command.arg0(program);
    command.env_clear().args(["--foreground", "--stderr", "--quiet", "--config-net", "--netns-only", "--no-map-gw"]);
    // Ports are ours to publish.
    command.args(["-t", "none", "-u", "none", "-T", "none", "-U", "none"]);
    if uid == 0 {
        // It takes itself for the host's root otherwise.
        command.args(["--runas", "0:0"]);
    }
    if let (_, Some(address)) = resolver() {
        command.args(["--dns-forward", address]);
    }
    command.arg("--netns").arg(format!("/proc/self/fd/{}", network.as_raw_fd()));
    Err(command.exec().into())
}
