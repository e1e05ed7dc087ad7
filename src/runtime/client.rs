//! Running one process inside: the same for the owner's first command and for
//! those who join later.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FileType;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::{PipeFlags, pipe_with};

use super::lease::Lease;
use super::ports::Port;
use super::relay::{Pump, RawMode, window_size};
use super::wire::{self, Ended, Reply, Request, Run, Tell};
use super::{TIMED_OUT, sandbox, sys};
use crate::crash;
use crate::error::{Fault, failure, not_found, usage};

/// Signals that are passed on to the process inside.
const FORWARDED: [i32; 6] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// What is to run.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Program and arguments; empty for the login shell.
    pub command: Vec<String>,
    /// Variables of this session only.
    pub env: Vec<(String, String)>,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ended by itself: its exit code, or 128 and the signal's number.
    Exited(u8),
    /// It could not be started.
    NotStarted {
        /// What was to be run.
        program: String,
        /// `errno(3)`.
        errno: i32,
    },
    /// The runtime's deadline ended it.
    TimedOut,
    /// The runtime ended under it.
    Lost,
}

impl Outcome {
    /// The exit code by the convention of shells.
    pub fn exit_code(&self) -> u8 {
        match self {
            Outcome::Exited(code) => *code,
            Outcome::NotStarted { errno: libc::ENOENT, .. } => 127,
            Outcome::NotStarted { .. } => 126,
            Outcome::TimedOut => TIMED_OUT as u8,
            Outcome::Lost => 128 + libc::SIGKILL as u8,
        }
    }
}

/// Runs a process in the runtime of `lease`, which another process owns.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when the runtime has just ended.
pub fn join(lease: &Lease, session: &Session) -> Result<Outcome> {
    let socket = connect(lease)?;
    crash::point("exec.joined");
    Ok(run(socket.as_fd(), session)?.0)
}

/// Moves the deadline of a runtime; `at` is an instant of the monotonic clock.
///
/// # Errors
/// As [`join`].
pub(super) fn move_deadline(lease: &Lease, at: u64) -> Result<()> {
    ask(connect(lease)?.as_fd(), &Request::Deadline(at), &[])
}

/// Carries connections from listening sockets of the host to a port inside.
///
/// # Errors
/// As [`join`].
pub(super) fn forward(lease: &Lease, port: &Port, listeners: &[OwnedFd]) -> Result<()> {
    let fds: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
    ask(connect(lease)?.as_fd(), &Request::Forward { port: port.inside, host: port.host }, &fds)
}

fn connect(lease: &Lease) -> Result<OwnedFd> {
    let gone = || {
        not_found(format!("the runtime of {} has just ended", lease.task)).hint(format!("envctl enter {}", lease.task))
    };
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &sandbox::address(&lease.id)?).map_err(|_| gone())?;
    // Anybody may bind an abstract address that is free.
    if sys::peer(&socket)?.1 != rustix::process::geteuid().as_raw() {
        return Err(gone().into());
    }
    Ok(socket)
}

/// A question that pid 1 answers at once.
pub(super) fn ask(socket: BorrowedFd<'_>, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<()> {
    match wire::send(socket, request, fds) {
        Ok(()) => {}
        // It ended before it was asked: its last message says why.
        Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
        Err(error) => return Err(error).context("cannot reach the runtime"),
    }
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

/// Runs a session over a connection to pid 1.
pub(super) fn run(socket: BorrowedFd<'_>, session: &Session) -> Result<(Outcome, Option<Ended>)> {
    let signals = sys::signal_fd(&[&FORWARDED[..], &[libc::SIGWINCH]].concat())?;
    let mut streams = Streams::new()?;
    let request = Request::Run(Run {
        command: session.command.clone(),
        env: session.env.clone(),
        terminal: streams.terminal.then(window_size),
    });
    let sent = wire::send(socket, &request, &streams.passed());
    streams.theirs.clear();
    match sent {
        Ok(()) => {}
        // It ended before it was asked: its last message says why.
        Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
        Err(error) => return Err(error).context("cannot reach the runtime"),
    }
    match wire::receive::<Reply>(socket)? {
        Some((Reply::Started, fds)) => {
            crash::point("exec.started");
            streams.started(fds)?;
        }
        Some((Reply::Refused { program, errno }, _)) => return Ok((Outcome::NotStarted { program, errno }, None)),
        Some((Reply::Failed(failure), _)) => return Err(failure.rebuild()),
        Some((Reply::Ended(ended), _)) => return Ok((outcome(ended), Some(ended))),
        Some((Reply::Done, _)) => return Err(failure("the runtime gave an unexpected answer").into()),
        None => return Ok((Outcome::Lost, None)),
    }
    let _raw = if streams.terminal { RawMode::enter()? } else { None };
    relay(socket, &signals, &mut streams)
}

fn relay(socket: BorrowedFd<'_>, signals: &OwnedFd, streams: &mut Streams) -> Result<(Outcome, Option<Ended>)> {
    loop {
        let mut fds = vec![PollFd::new(&socket, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        let wanted: Vec<_> = streams.pumps.iter().map(Pump::wants).collect();
        for (pump, wants) in streams.pumps.iter().zip(&wanted) {
            if wants.0 {
                fds.push(PollFd::from_borrowed_fd(pump.from(), PollFlags::IN));
            }
            if wants.1 {
                fds.push(PollFd::from_borrowed_fd(pump.to(), PollFlags::OUT));
            }
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut next = 2;
        for (pump, wants) in streams.pumps.iter_mut().zip(&wanted) {
            let mut due = |wanted: bool| {
                let due = wanted && ready[next];
                next += usize::from(wanted);
                due
            };
            let (read, write) = (due(wants.0), due(wants.1));
            pump.turn(read, write);
        }
        streams.pumps.retain(|pump| !pump.is_done());
        if ready[1] {
            while let Some(signal) = sys::read_signal(signals.as_fd()) {
                if signal == libc::SIGWINCH {
                    streams.resize();
                } else {
                    let _ = wire::send(socket, &Tell::Signal(signal), &[]);
                }
            }
        }
        if ready[0] {
            let ended = match wire::receive::<Reply>(socket)? {
                Some((Reply::Ended(ended), _)) => Some(ended),
                Some(_) => continue,
                None => None,
            };
            // What it wrote before it ended is in the buffers by now.
            streams.pumps.iter_mut().for_each(Pump::drain);
            return Ok((ended.map_or(Outcome::Lost, outcome), ended));
        }
    }
}

fn outcome(ended: Ended) -> Outcome {
    if ended.timed_out { Outcome::TimedOut } else { Outcome::Exited(ended.code) }
}

/// How this process's streams reach the one inside. What is no terminal is
/// passed on as it is. A terminal never is: a program that holds one could
/// type into it (CVE-2017-5226).
struct Streams {
    /// Descriptors that travel with the request, made for it.
    theirs: Vec<OwnedFd>,
    plan: [Stream; 3],
    terminal: bool,
    pumps: Vec<Pump>,
    master: Option<OwnedFd>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    /// Part of the pseudo-terminal.
    Terminal,
    /// Passed on.
    Itself,
    /// One of `theirs`.
    Pipe(usize),
}

impl Streams {
    fn new() -> Result<Self> {
        let own = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        for (fd, name) in own.iter().zip(["stdin", "stdout", "stderr"]) {
            check(*fd, name)?;
        }
        let is_terminal = own.map(rustix::termios::isatty);
        let terminal = is_terminal[0] && is_terminal[1];
        let mut streams =
            Streams { theirs: Vec::new(), plan: [Stream::Itself; 3], terminal, pumps: Vec::new(), master: None };
        for index in 0..3 {
            if !is_terminal[index] {
                continue;
            }
            if terminal {
                streams.plan[index] = Stream::Terminal;
                continue;
            }
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            streams.plan[index] = Stream::Pipe(streams.theirs.len());
            if index == 0 {
                streams.theirs.push(read);
                streams.pumps.push(Pump::input(own[0], write)?);
            } else {
                streams.theirs.push(write);
                streams.pumps.push(Pump::output(read, own[index])?);
            }
        }
        Ok(streams)
    }

    fn passed(&self) -> Vec<BorrowedFd<'_>> {
        let own = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        let pass = |(index, stream): (usize, &Stream)| match stream {
            Stream::Terminal => None,
            Stream::Itself => Some(own[index]),
            Stream::Pipe(at) => Some(self.theirs[*at].as_fd()),
        };
        self.plan.iter().enumerate().filter_map(pass).collect()
    }

    fn started(&mut self, fds: Vec<OwnedFd>) -> Result<()> {
        if self.terminal {
            let master = fds.into_iter().next().context("the runtime sent no terminal")?;
            self.pumps.push(Pump::input(rustix::stdio::stdin(), master.try_clone()?)?);
            self.pumps.push(Pump::output(master.try_clone()?, rustix::stdio::stdout())?);
            self.master = Some(master);
        }
        Ok(())
    }

    fn resize(&self) {
        if let Some(master) = &self.master {
            let (ws_row, ws_col) = window_size();
            let size = rustix::termios::Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = rustix::termios::tcsetwinsize(master, size);
        }
    }
}

/// A folder as a stream would be a way out of the sandbox.
fn check(fd: BorrowedFd<'_>, name: &str) -> Result<(), Fault> {
    match rustix::fs::fstat(fd) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            Err(usage(format!("{name} is a folder")).hint("redirect it from or to a file, a pipe or /dev/null"))
        }
        Ok(_) => Ok(()),
        Err(_) => Err(usage(format!("{name} is closed")).hint("redirect it from or to /dev/null")),
    }
}
