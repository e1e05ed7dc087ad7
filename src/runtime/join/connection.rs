//! A connection to pid 1 of a runtime, and the questions that it answers at once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::error::{Fault, failure, not_found};
use crate::runtime::lease::{Lease, Runtimes, address};
use crate::runtime::ports::Port;
use crate::runtime::wire::{Hello, Reply, Request};
use crate::runtime::{sys, wire};

/// Those that end an unattended run as a whole.
pub(super) const CANCELLING: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// Between two looks at who is still there.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// A look at many runtimes waits no longer for one of them.
const AT_ONCE: Duration = Duration::from_millis(300);

/// That the runtime of a lease has just ended.
pub fn ended(lease: &Lease) -> Fault {
    not_found(format!("the runtime of {} has just ended", lease.task)).hint(format!("envctl enter {}", lease.task))
}

/// Moves the deadline of a runtime; `at` is an instant of the monotonic clock.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when the runtime has just ended.
pub(crate) fn move_deadline(runtimes: &Runtimes, lease: &Lease, at: u64) -> Result<()> {
    ask(connect(runtimes, lease)?.as_fd(), &Request::Deadline(at), &[])
}

/// Ends the services of a runtime that this process owns.
///
/// # Errors
/// As [`move_deadline`].
pub(crate) fn stop_services(runtimes: &Runtimes, lease: &Lease) -> Result<()> {
    ask(connect(runtimes, lease)?.as_fd(), &Request::StopServices, &[])
}

/// How many of those who joined a runtime run something; none when it has ended.
///
/// # Errors
/// When it gives no answer.
fn joined(runtimes: &Runtimes, lease: &Lease) -> Result<u32> {
    let Some(socket) = reach(runtimes, lease)? else { return Ok(0) };
    if !send(socket.as_fd(), &Request::Joined, &[])? {
        return Ok(0);
    }
    match wire::receive::<Reply>(socket.as_fd())? {
        Some((Reply::Joined(count), _)) => Ok(count),
        Some(_) => Err(failure("the runtime gave an unexpected answer").into()),
        None => Ok(0),
    }
}

/// How many of those who joined a runtime run something now; nothing where it gives no
/// answer at once, as one whose services are still starting.
pub fn joined_now(runtimes: &Runtimes, lease: &Lease) -> Option<u32> {
    let socket = reach(runtimes, lease).ok()??;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(AT_ONCE)).ok()?;
    send(socket.as_fd(), &Request::Joined, &[]).ok()?;
    match wire::receive::<Reply>(socket.as_fd()).ok()? {
        Some((Reply::Joined(count), _)) => Some(count),
        _ => None,
    }
}

/// Waits until nobody who joined runs anything, the runtime has ended (`pidfd`), or a
/// signal asks to end it.
///
/// # Errors
/// When the runtime gives no answer.
pub(crate) fn wait_for_joined(runtimes: &Runtimes, lease: &Lease, pidfd: BorrowedFd<'_>) -> Result<()> {
    let signals = sys::signal_fd(&CANCELLING)?;
    // The Ctrl-C with which somebody answered that they wait is no second answer.
    if std::iter::from_fn(|| sys::read_signal(signals.as_fd())).any(|signal| signal != libc::SIGINT) {
        return Ok(());
    }
    while joined(runtimes, lease)? > 0 {
        let mut fds = [PollFd::new(&signals, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut fds, Some(&LOOK)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Carries connections from listening sockets of the host to a port inside.
///
/// # Errors
/// As [`move_deadline`].
pub(crate) fn forward(runtimes: &Runtimes, lease: &Lease, port: &Port, listeners: &[OwnedFd]) -> Result<()> {
    let fds: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
    ask(connect(runtimes, lease)?.as_fd(), &Request::Forward { port: port.inside, host: port.host }, &fds)
}

/// Carries no more connections to a port inside.
///
/// # Errors
/// As [`move_deadline`].
pub(crate) fn withdraw(runtimes: &Runtimes, lease: &Lease, inside: u16) -> Result<()> {
    ask(connect(runtimes, lease)?.as_fd(), &Request::Withdraw(inside), &[])
}

fn connect(runtimes: &Runtimes, lease: &Lease) -> Result<OwnedFd> {
    Ok(reach(runtimes, lease)?.ok_or_else(|| ended(lease))?)
}

/// A connection to pid 1; `None` when it is gone.
pub(super) fn reach(runtimes: &Runtimes, lease: &Lease) -> Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match rustix::fs::open(runtimes.paths().runtime(&lease.id), flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error).context("cannot open the runtime's folder"),
    };
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    if rustix::net::connect(&socket, &address(&folder)?).is_err() {
        return Ok(None);
    }
    let hello = Hello { token: lease.token };
    match wire::send(&socket, &hello, &[]) {
        Ok(()) => Ok(Some(socket)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)) => Ok(None),
        Err(error) => Err(error).context("cannot reach the runtime"),
    }
}

/// Sends a request; `false` when pid 1 ended before it: its last message says
/// why, if there is one.
pub(super) fn send(socket: BorrowedFd<'_>, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<bool> {
    match wire::send(socket, request, fds) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)) => Ok(false),
        Err(error) => Err(error).context("cannot reach the runtime"),
    }
}

/// A question that pid 1 answers at once.
pub(crate) fn ask(socket: BorrowedFd<'_>, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<()> {
    send(socket, request, fds)?;
    match wire::receive::<Reply>(socket)? {
        Some((Reply::Done, _)) => Ok(()),
        Some((Reply::Failed(failure), _)) => Err(failure.rebuild()),
        Some((Reply::Refused { program, errno }, _)) => {
            Err(std::io::Error::from_raw_os_error(errno)).with_context(|| format!("cannot start {program}"))
        }
        Some(_) => Err(failure("the runtime gave an unexpected answer").into()),
        None => Err(failure("the runtime has just ended").into()),
    }
}
