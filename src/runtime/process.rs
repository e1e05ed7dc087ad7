//! Starting a process inside: its session, its terminal, its ids and its
//! capabilities, and nothing else of ours.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::sys::{self, Side};
use super::{Account, seccomp, wire};

/// What root of an image may do inside, as container engines have it.
const ROOT_CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::SETFCAP);

/// What all processes of a runtime have in common.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) account: Account,
    pub(super) env: Vec<(String, String)>,
    pub(super) workdir: String,
    /// Whether supplementary groups can be dropped (not in a single-id map).
    pub(super) groups: bool,
    /// Processes that the user may have, where the kernel keeps that limit.
    pub(super) processes: Option<u32>,
    /// The file mode mask of the developer.
    pub(super) umask: u32,
}

/// A process that runs.
pub(super) struct Started {
    pub(super) pid: Pid,
    /// The master side of its terminal.
    pub(super) terminal: Option<OwnedFd>,
}

/// Why a process does not run.
pub(super) struct NotStarted {
    pub(super) program: String,
    pub(super) errno: i32,
}

/// Starts what a client asked for. Its streams are `stdio`, or a
/// pseudo-terminal where the client has a terminal; of `stdio` only stderr
/// counts then, and only where it was passed.
pub(super) fn start(context: &Context, request: &wire::Run, stdio: Vec<OwnedFd>) -> Result<Started, NotStarted> {
    let words = command_line(context, request);
    let program = words[0].clone();
    let failed = |errno: i32| NotStarted { program: program.clone(), errno };
    let plain = |error: io::Error| failed(error.raw_os_error().unwrap_or(libc::EIO));
    let terminal = match request.terminal {
        Some(size) => Some(open_terminal(size).map_err(|error| failed(error.raw_os_error()))?),
        None => None,
    };
    let (answer, tell) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|error| plain(error.into()))?;
    match sys::fork().map_err(plain)? {
        Side::Child => {
            let error = match become_it(context, request, &words, terminal.as_ref(), &stdio) {
                Ok(never) => never,
                Err(error) => error,
            };
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            let _ = File::from(tell).write_all(&errno.to_ne_bytes());
            sys::exit_now(127)
        }
        Side::Parent(pid) => {
            drop((tell, stdio));
            // Closed by the successful execution.
            let mut errno = [0; 4];
            match File::from(answer).read_exact(&mut errno) {
                Ok(()) => Err(failed(i32::from_ne_bytes(errno))),
                Err(_) => Ok(Started { pid, terminal: terminal.map(|(master, _)| master) }),
            }
        }
    }
}

fn command_line(context: &Context, request: &wire::Run) -> Vec<String> {
    if !request.command.is_empty() {
        return request.command.clone();
    }
    let usable = |path: &&str| rustix::fs::access(*path, rustix::fs::Access::EXEC_OK).is_ok();
    let candidates = context.account.shell.as_deref().into_iter().chain(["/bin/bash", "/bin/sh"]);
    vec![candidates.into_iter().find(usable).unwrap_or("/bin/sh").to_owned()]
}

fn open_terminal((rows, columns): (u16, u16)) -> Result<(OwnedFd, OwnedFd), Errno> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::unlockpt(&master)?;
    let slave =
        rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&slave, size)?;
    Ok((master, slave))
}

/// Turns this forked child into the program; returns only the failure.
fn become_it(
    context: &Context,
    request: &wire::Run,
    words: &[String],
    terminal: Option<&(OwnedFd, OwnedFd)>,
    stdio: &[OwnedFd],
) -> io::Result<io::Error> {
    rustix::process::setsid()?;
    let pass = |fds: [BorrowedFd<'_>; 3]| -> io::Result<()> {
        rustix::stdio::dup2_stdin(fds[0])?;
        rustix::stdio::dup2_stdout(fds[1])?;
        rustix::stdio::dup2_stderr(fds[2])?;
        Ok(())
    };
    match (terminal, stdio) {
        (Some((_, slave)), rest) => {
            rustix::process::ioctl_tiocsctty(slave)?;
            let stderr = rest.first().map_or(slave.as_fd(), AsFd::as_fd);
            pass([slave.as_fd(), slave.as_fd(), stderr])?;
        }
        (None, [stdin, stdout, stderr]) => pass([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?,
        (None, _) => return Err(Errno::BADF.into()),
    }
    // The pipe that tells of a failure closes by itself; all else of ours
    // must not reach the program (CVE-2024-21626).
    sys::cloexec_from(3)?;
    if let Some(count) = context.processes {
        let limit = Some(u64::from(count));
        rustix::process::setrlimit(Resource::Nproc, Rlimit { current: limit, maximum: limit })?;
    }
    drop_privileges(context, if context.account.uid == 0 { ROOT_CAPABILITIES } else { CapabilitySet::empty() })?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(context.umask));
    rustix::process::chdir(context.workdir.as_str())?;
    let here = rustix::process::getcwd(Vec::new())?;
    if !here.as_bytes().starts_with(b"/") {
        // "(unreachable)": a folder outside the root.
        return Err(Errno::XDEV.into());
    }
    sys::unblock_signals()?;
    seccomp::apply()?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_clear();
    command.envs(context.env.iter().map(|(name, value)| (name, value)));
    command.envs(request.env.iter().map(|(name, value)| (name, value)));
    Ok(command.exec())
}

/// Turns a forked child of pid 1 that goes on in our own code into one that
/// may do nothing special, and into which nobody inside may look.
pub(super) fn become_harmless(context: &Context) -> io::Result<()> {
    rustix::process::setsid()?;
    // What ends everything else inside must not take it away first.
    sys::signal_fd(&[libc::SIGTERM, libc::SIGHUP, libc::SIGINT])?;
    drop_privileges(context, CapabilitySet::empty())?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

fn drop_privileges(context: &Context, kept: CapabilitySet) -> io::Result<()> {
    let Account { uid, gid, .. } = context.account;
    if context.groups {
        rustix::thread::set_thread_groups(&[])?;
    }
    for capability in CapabilitySet::all().difference(kept).iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // This kernel does not know it yet.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let (uid, gid) = (rustix::process::Uid::from_raw(uid), rustix::process::Gid::from_raw(gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}
