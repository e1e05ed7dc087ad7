//! Starting a process inside: its session, its terminal, its ids and its
//! capabilities, and nothing else of ours.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use rustix::thread::{CapabilitySet, CapabilitySets, ThreadNameSpaceType};

use super::inside::{Inside, Program};
use super::rootfs::ServiceRoot;
use super::{rootfs, seccomp};
use crate::runtime::sys::Side;
use crate::runtime::{Account, sys, wire};

/// What root of an image may do inside: as container engines have it, but for
/// capabilities of files, which would serve the other accounts of the machine
/// where the developer is root.
const ROOT_CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT);

/// What all processes of a runtime have in common.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) account: Account,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) workdir: String,
    /// Whether supplementary groups can be dropped (not in a single-id map).
    pub(crate) groups: bool,
    /// Processes that the user may have, where the kernel keeps that limit.
    pub(crate) processes: Option<u32>,
    /// The file mode mask of the developer.
    pub(crate) umask: u32,
}

/// A process that runs.
pub(crate) struct Started {
    pub(crate) pid: Pid,
    /// The master side of its terminal.
    pub(crate) terminal: Option<OwnedFd>,
    /// Where it asks, and all that come from it ([`super::places`]).
    pub(crate) asks: Option<OwnedFd>,
}

/// Not an error, but the descriptor at which a process asks.
const ASKS: i32 = 0;

/// How long a child may take to become its program.
const START: Duration = Duration::from_secs(5);

/// Nanoseconds after which one that has not is told to go on.
const NUDGE: i64 = 100_000_000;

/// Why a process does not run.
pub(crate) struct NotStarted {
    pub(crate) program: String,
    pub(crate) errno: i32,
}

/// Starts what a client asked for. Its streams are `stdio`, or a
/// pseudo-terminal where the client has a terminal; of `stdio` only stderr
/// counts then, and only where it was passed. A program that is `asking` waits
/// for pid 1 wherever it makes, moves or removes folders.
pub(crate) fn start(
    context: &Context,
    inside: &Inside,
    request: &wire::Run,
    stdio: Vec<OwnedFd>,
    asking: bool,
) -> Result<Started, NotStarted> {
    let words = command_line(context, inside, request);
    let terminal = match request.terminal {
        Some(size) => Some(open_terminal(inside, size).map_err(|error| failed(&words, error.raw_os_error()))?),
        None => None,
    };
    let becomes = |tell: BorrowedFd<'_>, stdio: &[OwnedFd]| {
        become_it(&Launch { context, inside, request, words: &words, tell, asking }, terminal.as_ref(), stdio)
    };
    let (pid, asks) = launch(&words, stdio, sys::fork, becomes)?;
    Ok(Started { pid, terminal: terminal.map(|(master, _)| master), asks })
}

/// Starts a program as the first process of namespaces of its own, with the files of
/// another image and nothing else. Gives the descriptor of the process as well.
pub(crate) fn start_beside(
    context: &Context,
    files: &ServiceRoot,
    request: &wire::Run,
    stdio: Vec<OwnedFd>,
) -> Result<(Pid, OwnedFd), NotStarted> {
    let namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;
    let born = || sys::clone_into(namespaces, None);
    launch_in(context, request, stdio, born, || rootfs::enter_beside(files))
}

/// Starts a program beside the first process of such namespaces, in all of them.
pub(crate) fn start_with(
    context: &Context,
    first: BorrowedFd<'_>,
    request: &wire::Run,
    stdio: Vec<OwnedFd>,
) -> Result<Pid, NotStarted> {
    let born = || {
        // A child of this process is born there; this process stays here.
        let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
        let process_ids = ThreadNameSpaceType::PROCESS_ID;
        rustix::thread::move_into_thread_name_spaces(first, process_ids)?;
        let born = sys::fork();
        if !matches!(born, Ok(Side::Child)) {
            let back = rustix::thread::move_into_thread_name_spaces(own.as_fd(), process_ids);
            if back.is_err() {
                // Nothing may be started in the wrong place.
                sys::exit_now(1)
            }
        }
        born
    };
    let enter = || -> anyhow::Result<Inside> {
        let kinds = ThreadNameSpaceType::MOUNT | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION;
        rustix::thread::move_into_thread_name_spaces(first, kinds)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &str| rustix::fs::open(path, flags, Mode::empty());
        Ok(Inside { root: open("/")?, run: open("/")?, terminals: open("/")? })
    };
    launch_in(context, request, stdio, born, enter)
}

/// A process that was just made.
trait Child {
    fn pid(&self) -> Pid;
}

impl Child for Pid {
    fn pid(&self) -> Pid {
        *self
    }
}

/// With the descriptor of the process.
impl Child for (Pid, OwnedFd) {
    fn pid(&self) -> Pid {
        self.0
    }
}

/// Makes a child that becomes a program where `enter` leads. Nobody answers what it asks.
fn launch_in<T: Child>(
    context: &Context,
    request: &wire::Run,
    stdio: Vec<OwnedFd>,
    born: impl FnOnce() -> io::Result<Side<T>>,
    enter: impl FnOnce() -> anyhow::Result<Inside>,
) -> Result<T, NotStarted> {
    let words: Vec<OsString> = request.command.iter().map(|word| word.0.clone()).collect();
    let becomes = |tell: BorrowedFd<'_>, stdio: &[OwnedFd]| {
        let inside = enter().map_err(into_io)?;
        become_it(&Launch { context, inside: &inside, request, words: &words, tell, asking: false }, None, stdio)
    };
    launch(&words, stdio, born, becomes).map(|(child, _)| child)
}

/// Makes a child that `becomes` a program, or says why not; and where that asks.
fn launch<T: Child>(
    words: &[OsString],
    stdio: Vec<OwnedFd>,
    born: impl FnOnce() -> io::Result<Side<T>>,
    becomes: impl FnOnce(BorrowedFd<'_>, &[OwnedFd]) -> io::Result<io::Error>,
) -> Result<(T, Option<OwnedFd>), NotStarted> {
    let plain = |error: io::Error| failed(words, error.raw_os_error().unwrap_or(libc::EIO));
    let (answer, tell) = wire::pair().map_err(plain)?;
    match born().map_err(plain)? {
        Side::Child => {
            let error = becomes(tell.as_fd(), &stdio).unwrap_or_else(|error| error);
            let _ = wire::send(&tell, &error.raw_os_error().unwrap_or(libc::EIO), &[]);
            sys::exit_now(127)
        }
        Side::Parent(child) => {
            drop((tell, stdio));
            let asks = outcome(&answer, child.pid(), START).map_err(|errno| failed(words, errno))?;
            Ok((child, asks))
        }
    }
}

fn failed(words: &[OsString], errno: i32) -> NotStarted {
    let program = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    NotStarted { program, errno }
}

fn into_io(error: anyhow::Error) -> io::Error {
    match (error.downcast_ref::<Errno>(), error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error)) {
        (Some(errno), _) => (*errno).into(),
        (None, Some(errno)) => io::Error::from_raw_os_error(errno),
        (None, None) => io::Error::other(error),
    }
}

/// Waits until a child has become its program: the descriptor at which that asks,
/// or the error number. Others inside may stop it before, again and again: it is
/// told to go on, and killed where it still has not after `limit`.
fn outcome(answer: &OwnedFd, pid: Pid, limit: Duration) -> Result<Option<OwnedFd>, i32> {
    let mut asks = None;
    let until = Instant::now() + limit;
    loop {
        let mut fds = [PollFd::new(answer, PollFlags::IN)];
        let found = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: NUDGE }));
        if fds[0].revents().is_empty() {
            if Instant::now() >= until {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
                return Err(libc::ETIMEDOUT);
            }
            if found == Ok(0) {
                let _ = rustix::process::kill_process(pid, Signal::CONT);
            }
            continue;
        }
        match wire::receive(answer) {
            Ok(Some((ASKS, mut fds))) => asks = fds.pop(),
            Ok(Some((errno, _))) => return Err(errno),
            // Closed by the successful execution.
            _ => return Ok(asks),
        }
    }
}

fn command_line(context: &Context, inside: &Inside, request: &wire::Run) -> Vec<OsString> {
    if !request.command.is_empty() {
        return request.command.iter().map(|word| word.0.clone()).collect();
    }
    let usable = |path: &&str| inside.is_program(Path::new(path));
    if let Some(shell) = &request.shell {
        return vec![shell.into()];
    }
    let candidates = context.account.shell.as_deref().into_iter().chain(["/bin/bash", "/bin/sh"]);
    vec![candidates.into_iter().find(usable).unwrap_or("/bin/sh").into()]
}

fn open_terminal(inside: &Inside, (rows, columns): (u16, u16)) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = rustix::fs::openat(&inside.terminals, "ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&master)?;
    let slave =
        rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&slave, size)?;
    Ok((master, slave))
}

/// What a forked child becomes.
struct Launch<'a> {
    context: &'a Context,
    inside: &'a Inside,
    request: &'a wire::Run,
    words: &'a [OsString],
    /// Where a failure is told.
    tell: BorrowedFd<'a>,
    /// It asks pid 1.
    asking: bool,
}

/// Turns this forked child into the program; returns only the failure.
fn become_it(launch: &Launch<'_>, terminal: Option<&(OwnedFd, OwnedFd)>, stdio: &[OwnedFd]) -> io::Result<io::Error> {
    let Launch { context, inside, .. } = *launch;
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
    // While the kernel looks for the program a link can still lead through a
    // descriptor that only closes once it is found (CVE-2024-21626): but for
    // the tree inside, and the pipe that tells of a failure, there is none.
    sys::close_all_but(3, &[launch.tell.as_raw_fd(), inside.root.as_raw_fd()])?;
    if let Some(count) = context.processes {
        // It may have been lowered for the developer before: nobody may raise that.
        let most = rustix::process::getrlimit(Resource::Nproc).maximum;
        let limit = Some(most.map_or(u64::from(count), |most| most.min(count.into())));
        rustix::process::setrlimit(Resource::Nproc, Rlimit { current: limit, maximum: limit })?;
    }
    drop_privileges(context, if context.account.uid == 0 { ROOT_CAPABILITIES } else { CapabilitySet::empty() })?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(context.umask));
    let workdir = inside.open(Path::new(&context.workdir), OFlags::PATH | OFlags::DIRECTORY)?;
    rustix::process::fchdir(&workdir)?;
    drop(workdir);
    sys::unblock_signals()?;
    // As `std::process::Command` has it: what comes later wins.
    let all = context.env.iter().chain(&launch.request.env);
    let env: BTreeMap<&str, &str> = all.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let path = env.get("PATH").copied();
    let mut failure = Errno::NOENT;
    let mut programs = Vec::new();
    for candidate in candidates(&context.workdir, &launch.words[0], path) {
        match inside.program(&candidate.path) {
            Ok(program) => programs.push((candidate, program)),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => failure = error,
        }
    }
    // The filter knows no openat2.
    if let Some(asks) = seccomp::apply(launch.asking)? {
        wire::send(launch.tell, &ASKS, &[asks.as_fd()])?;
    }
    execute(launch, programs, &env).map(|error| error.unwrap_or(failure.into()))
}

/// Executes the first of these that can be, as `execvp(3)` would; the failure
/// that counts, if there is one.
fn execute(
    launch: &Launch<'_>,
    programs: Vec<(Candidate, Program)>,
    env: &BTreeMap<&str, &str>,
) -> io::Result<Option<io::Error>> {
    let mut last = None;
    for (candidate, program) in programs {
        let error = execute_file(launch, &candidate, program, env)?;
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            // It may be another one farther on.
            Some(libc::EACCES) => last = Some(error),
            _ => return Ok(Some(error)),
        }
    }
    Ok(last)
}

/// Where a program may be: as it is to be shown to it, and from the root.
struct Candidate {
    shown: OsString,
    path: PathBuf,
}

fn candidates(workdir: &str, word: &OsStr, path: Option<&str>) -> Vec<Candidate> {
    let at = |shown: OsString| Candidate { path: Path::new(workdir).join(&shown), shown };
    if word.as_bytes().contains(&b'/') {
        return vec![at(word.to_owned())];
    }
    // The default of execvp(3).
    let folders = path.unwrap_or("/bin:/usr/bin").split(':');
    let below = |folder: &str| {
        [OsStr::new(if folder.is_empty() { "." } else { folder }), OsStr::new("/"), word].into_iter().collect()
    };
    folders.map(|folder| at(below(folder))).collect()
}

/// Executes a file through the descriptor of its folder. Scripts need a path:
/// for them the kernel starts their interpreter, which opens it once more. They
/// are looked for from a process that holds nothing of the host.
fn execute_file(
    launch: &Launch<'_>,
    candidate: &Candidate,
    program: Program,
    env: &BTreeMap<&str, &str>,
) -> io::Result<io::Error> {
    let words = launch.words.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    let texts = env.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    let error = sys::program::execute(&program.folder, &program.name, &words, &texts);
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOEXEC) => {
            drop(program);
            let mut command = Command::new(&candidate.shown);
            Ok(command.arg0(&launch.words[0]).args(&launch.words[1..]).env_clear().envs(env).exec())
        }
        _ => Ok(error),
    }
}

/// Turns a forked child of pid 1 that goes on in our own code into one that
/// may do nothing special, and into which nobody inside may look.
pub(crate) fn become_harmless(context: &Context) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_inside_keeps_pid_1_waiting_for_a_child_that_starts() {
        let (answer, tell) = wire::pair().unwrap();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        // It is stopped, and holds the socket as long as it has not become its program.
        rustix::process::kill_process(pid, Signal::STOP).unwrap();
        assert_eq!(outcome(&answer, pid, Duration::from_millis(1)).err(), Some(libc::ETIMEDOUT));
        assert!(!child.wait().unwrap().success());
        wire::send(&tell, &libc::ENOENT, &[]).unwrap();
        assert_eq!(outcome(&answer, pid, START).err(), Some(libc::ENOENT));
        drop(tell);
        assert!(outcome(&answer, pid, START).unwrap().is_none());
    }
}
