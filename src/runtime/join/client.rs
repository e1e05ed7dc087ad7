//! Running one process inside: the same for the owner's first command and for
//! those who join later.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::relay::{Pump, RawMode, swallow, window_size};
use super::streams::Streams;
use super::transcript::Transcript;
use crate::crash;
use crate::error::{Fault, failure, not_found};
use crate::runtime::deadline::{monotonic_now, until};
use crate::runtime::lease::{Lease, Runtimes, address};
use crate::runtime::limits::OutOfMemory;
use crate::runtime::ports::Port;
use crate::runtime::wire::{Ended, EndedService, Hello, Reply, Request, Run, Soon, Tell, Written};
use crate::runtime::{TIMED_OUT, sys, wire};

/// Signals that are passed on to the process inside.
const FORWARDED: [i32; 6] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// Those that end an unattended run as a whole.
const CANCELLING: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// Milliseconds that pid 1 may take to end a runtime that is cancelled, longer
/// than it takes by its own rules.
const PATIENCE: u64 = 8_000;

/// Lets signals wait until a command runs to which they can be passed on. They
/// wait in threads that are made after this, too.
///
/// # Errors
/// Never, as far as the kernel says.
pub fn hold_signals() -> Result<()> {
    sys::signal_fd(&FORWARDED)?;
    Ok(())
}

/// Milliseconds between two signs of life.
const BEAT: u64 = 30_000;

/// Between two looks at who is still there.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// A look at many runtimes waits no longer for one of them.
const AT_ONCE: Duration = Duration::from_millis(300);

/// What is typed for so long after an end that nobody asked for goes nowhere.
const SWALLOWED: Duration = Duration::from_millis(700);

/// What is to run.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Program and arguments; empty for the login shell.
    pub command: Vec<OsString>,
    /// Variables of this session only.
    pub env: Vec<(String, String)>,
    /// Where everything that it prints goes, instead of this process's streams;
    /// it reads nothing then.
    pub output: Option<Arc<File>>,
    /// Where its standard output alone goes, and nowhere else.
    pub stdout: Option<Arc<File>>,
    /// What it prints goes to a log that stays: values of secrets do not.
    pub hides: bool,
    /// Nothing more will be asked of the runtime: when nothing else is left in
    /// it, it ends together with this.
    pub last: bool,
    /// The shell that is opened without a command, instead of the account's.
    pub shell: Option<String>,
    /// Who is told that the runtime ends soon.
    pub warned: Option<Warned>,
    /// What is looked at after a while.
    pub later: Option<Later>,
}

/// What is done once, when a session has lasted so long.
#[derive(Clone)]
pub struct Later {
    /// How long.
    pub after: Duration,
    /// What is done then. It may print.
    pub look: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Later({:?})", self.after)
    }
}

/// What is done when a runtime ends soon.
#[derive(Clone)]
pub struct Warned(pub Arc<dyn Fn(Soon) + Send + Sync>);

impl fmt::Debug for Warned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Warned")
    }
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
    /// The runtime ended because nothing was done in it.
    Idle,
    /// This signal ended the unattended run as a whole.
    Cancelled(i32),
    /// The runtime ended under it.
    Lost,
}

impl Outcome {
    /// Why the runtime ends after it, as receipts say it.
    pub fn reason(&self) -> &'static str {
        match self {
            Outcome::Exited(_) | Outcome::NotStarted { .. } => "exit",
            Outcome::TimedOut => "deadline",
            Outcome::Idle => "idle",
            Outcome::Cancelled(_) => "cancelled",
            Outcome::Lost => "reset",
        }
    }

    /// The exit code by the convention of shells.
    pub fn exit_code(&self) -> u8 {
        match self {
            Outcome::Exited(code) => *code,
            Outcome::NotStarted { errno: libc::ENOENT, .. } => 127,
            Outcome::NotStarted { .. } => 126,
            Outcome::TimedOut | Outcome::Idle => TIMED_OUT as u8,
            Outcome::Cancelled(signal) => 128_u8.wrapping_add(*signal as u8),
            Outcome::Lost => 128 + libc::SIGKILL as u8,
        }
    }
}

/// Runs a process in the runtime of `lease`, which another process owns. `None`
/// when the runtime ended before it heard of it: nothing was run.
///
/// # Errors
/// When the process cannot be run, or its streams cannot be carried.
pub fn join(runtimes: &Runtimes, lease: &Lease, session: &Session) -> Result<Option<Outcome>> {
    let Some(socket) = reach(runtimes, lease)? else { return Ok(None) };
    crash::point("exec.joined");
    let done = run(socket.as_fd(), session, None, None)?;
    Ok(done.heard.then_some(done.outcome))
}

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

fn connect(runtimes: &Runtimes, lease: &Lease) -> Result<OwnedFd> {
    Ok(reach(runtimes, lease)?.ok_or_else(|| ended(lease))?)
}

/// A connection to pid 1; `None` when it is gone.
fn reach(runtimes: &Runtimes, lease: &Lease) -> Result<Option<OwnedFd>> {
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
fn send(socket: BorrowedFd<'_>, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<bool> {
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

/// How a session went, as far as it is known.
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    pub(crate) ended: Option<Ended>,
    pub(crate) written: Option<Written>,
    /// What was ended for its memory.
    pub(crate) exhausted: Option<OutOfMemory>,
    /// Services that ended meanwhile.
    pub(crate) services: Vec<EndedService>,
    /// Pid 1 got the request.
    pub(crate) heard: bool,
}

impl Done {
    fn of(outcome: Outcome, ended: Option<Ended>) -> Self {
        Done { outcome, ended, written: None, exhausted: None, services: Vec::new(), heard: true }
    }
}

/// Runs a session over a connection to pid 1; with a transcript it is
/// unattended.
///
/// What is `alive` is touched every now and then meanwhile: its time says until when
/// this was seen to go on.
pub(crate) fn run(
    socket: BorrowedFd<'_>,
    session: &Session,
    transcript: Option<&Transcript>,
    alive: Option<BorrowedFd<'_>>,
) -> Result<Done> {
    let signals = sys::signal_fd(&[&FORWARDED[..], &[libc::SIGWINCH]].concat())?;
    let mut streams = match &session.output {
        None => Streams::new(transcript, session.stdout.as_deref())?,
        Some(output) => Streams::into(output)?,
    };
    if session.hides {
        streams.pumps.iter_mut().for_each(Pump::hide);
    }
    let request = Request::Run(Run {
        command: session.command.iter().cloned().map(wire::Word).collect(),
        env: session.env.clone(),
        terminal: streams.terminal.then(window_size),
        last: session.last,
        shell: session.shell.clone(),
    });
    let sent = send(socket, &request, &streams.passed());
    streams.theirs.clear();
    let sent = sent?;
    if let Some(signal) = wait_for_answer(socket, &signals)? {
        return match transcript {
            Some(_) => Ok(Done::of(Outcome::Cancelled(signal), None)),
            None => Err(failure("interrupted before the command was started").into()),
        };
    }
    // What it never read resets the connection.
    let read = sockopt::socket_error(socket)? != Err(Errno::CONNRESET);
    match wire::receive::<Reply>(socket)? {
        Some((Reply::Started, fds)) => {
            crash::point("exec.started");
            streams.started(fds)?;
        }
        Some((Reply::Refused { program, errno }, _)) => {
            return Ok(Done::of(Outcome::NotStarted { program, errno }, None));
        }
        Some((Reply::Failed(failure), _)) => return Err(failure.rebuild()),
        Some((Reply::Ended(ended), _)) => return Ok(Done::of(outcome(ended), Some(ended))),
        Some((
            Reply::Done
            | Reply::Soon(_)
            | Reply::Written(_)
            | Reply::OutOfMemory(_)
            | Reply::Service(_)
            | Reply::Joined(_),
            _,
        )) => {
            return Err(failure("the runtime gave an unexpected answer").into());
        }
        None => return Ok(Done { heard: sent && read, ..Done::of(Outcome::Lost, None) }),
    }
    let raw = if streams.terminal { RawMode::enter()? } else { None };
    let apart = |tell: &dyn Fn()| match &raw {
        Some(raw) => raw.apart(tell),
        None => tell(),
    };
    let warn = |soon: Soon| {
        if let Some(warned) = &session.warned {
            apart(&|| (warned.0)(soon));
        }
    };
    let look = || {
        if let Some(later) = &session.later {
            apart(&*later.look);
        }
    };
    let beside = Beside {
        warn: &warn,
        look: session
            .later
            .as_ref()
            .map(|later| (monotonic_now() + later.after.as_millis() as u64, &look as &dyn Fn())),
        beat: alive.map(Beat::of),
    };
    let done = relay(socket, &signals, &mut streams, transcript.is_some(), beside)?;
    if raw.is_some() && matches!(done.outcome, Outcome::Lost | Outcome::TimedOut | Outcome::Idle) {
        // Nobody asked for this end: what they type on is not for the host's shell.
        swallow(SWALLOWED);
    }
    Ok(done)
}

/// Waits until pid 1 answers: services may take their time. A signal meanwhile
/// ends the wait, and with it the runtime: that signal.
fn wait_for_answer(socket: BorrowedFd<'_>, signals: &OwnedFd) -> Result<Option<i32>> {
    loop {
        let mut fds = [PollFd::new(&socket, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !fds[0].revents().is_empty() {
            return Ok(None);
        }
        while let Some(signal) = sys::read_signal(signals.as_fd()) {
            if CANCELLING.contains(&signal) {
                return Ok(Some(signal));
            }
        }
    }
}

/// What is done while a session lasts.
struct Beside<'a> {
    warn: &'a dyn Fn(Soon),
    /// When, and what.
    look: Option<(u64, &'a dyn Fn())>,
    beat: Option<Beat<'a>>,
}

impl Beside<'_> {
    /// Does what is due, and says when the next is.
    fn next(&mut self) -> Option<u64> {
        if let Some((_, look)) = self.look.take_if(|(at, _)| *at <= monotonic_now()) {
            look();
        }
        self.look.map(|(at, _)| at).into_iter().chain(self.beat.as_mut().map(Beat::next)).min()
    }
}

fn relay(
    socket: BorrowedFd<'_>,
    signals: &OwnedFd,
    streams: &mut Streams<'_>,
    unattended: bool,
    mut beside: Beside<'_>,
) -> Result<Done> {
    // The signal that ends it all, and when pid 1 has had time enough.
    let mut cancelled: Option<(i32, u64)> = None;
    let (mut written, mut exhausted, mut lost, mut services) = (None, None, None, Vec::new());
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
        let end = cancelled.map(|(_, at)| at);
        let timeout = end.into_iter().chain(beside.next()).min().map(|at| {
            let left = until(at);
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
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
        lost = lost.or_else(|| streams.pumps.iter().find_map(Pump::failure));
        streams.pumps.retain(|pump| !pump.is_done());
        if ready[1] {
            while let Some(signal) = sys::read_signal(signals.as_fd()) {
                if signal == libc::SIGWINCH {
                    streams.resize();
                    continue;
                }
                let _ = wire::send(socket, &Tell::Signal(signal), &[]);
                if unattended && CANCELLING.contains(&signal) {
                    let _ = wire::send(socket, &Tell::End, &[]);
                    cancelled = cancelled.or(Some((signal, monotonic_now() + PATIENCE)));
                }
            }
        }
        if let Some((signal, at)) = cancelled
            && at <= monotonic_now()
        {
            // Pid 1 does not answer; whoever resets kills it.
            return Ok(Done { written, exhausted, services, ..Done::of(Outcome::Cancelled(signal), None) });
        }
        if ready[0] {
            let ended = match wire::receive::<Reply>(socket)? {
                Some((Reply::Ended(ended), _)) => Some(ended),
                Some((Reply::Written(list), _)) => {
                    written = Some(list);
                    continue;
                }
                Some((Reply::Service(service), _)) => {
                    services.push(service);
                    continue;
                }
                Some((Reply::Soon(soon), _)) => {
                    (beside.warn)(soon);
                    continue;
                }
                Some((Reply::OutOfMemory(end), _)) => {
                    exhausted = Some(end);
                    continue;
                }
                Some(_) => continue,
                None => None,
            };
            // What it wrote before it ended is in the buffers by now.
            streams.pumps.iter_mut().for_each(Pump::drain);
            lost = lost.or_else(|| streams.pumps.iter().find_map(Pump::failure));
            if let Some(error) = lost {
                return Err(error).context("what the command printed cannot be written");
            }
            let outcome = match cancelled {
                Some((signal, _)) => Outcome::Cancelled(signal),
                None => ended.map_or(Outcome::Lost, outcome),
            };
            return Ok(Done { written, exhausted, services, ..Done::of(outcome, ended) });
        }
    }
}

/// Lets a folder show by its time that somebody lives.
pub(crate) struct Beat<'a> {
    folder: BorrowedFd<'a>,
    at: u64,
}

impl<'a> Beat<'a> {
    pub(crate) fn of(folder: BorrowedFd<'a>) -> Self {
        Beat { folder, at: monotonic_now() + BEAT }
    }

    /// When it is due next; done when it is due now.
    pub(crate) fn next(&mut self) -> u64 {
        if self.at <= monotonic_now() {
            let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
            // What is not noted is not charged, no more.
            let _ =
                rustix::fs::futimens(self.folder, &rustix::fs::Timestamps { last_access: now, last_modification: now });
            self.at = monotonic_now() + BEAT;
        }
        self.at
    }
}

fn outcome(ended: Ended) -> Outcome {
    match (ended.timed_out, ended.idle) {
        (true, _) => Outcome::TimedOut,
        (_, true) => Outcome::Idle,
        _ => Outcome::Exited(ended.code),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_is_looked_at_later_is_looked_at_once() {
        let looks = Cell::new(0);
        let look = || looks.set(looks.get() + 1);
        let mut beside = Beside { warn: &|_| (), look: Some((monotonic_now() + 3_600_000, &look)), beat: None };
        assert!(beside.next().is_some_and(|at| at > monotonic_now()) && looks.get() == 0);
        beside.look = Some((monotonic_now(), &look));
        assert_eq!((beside.next(), beside.next(), looks.get()), (None, None, 1));
    }
}
