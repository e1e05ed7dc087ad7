//! Running one process inside: the same for the owner's first command and for
//! those who join later.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt;

use super::attend::{Beat, Done, Meanwhile, outcome, relay};
use super::connection::{CANCELLING, reach, send};
use super::relay::{RawMode, swallow, window_size};
use super::session::{Outcome, Session};
use super::streams::Streams;
use super::transcript::Transcript;
use crate::crash;
use crate::error::failure;
use crate::runtime::deadline::monotonic_now;
use crate::runtime::lease::{Lease, Runtimes};
use crate::runtime::wire::{Reply, Request, Run, Soon};
use crate::runtime::{sys, wire};

/// Signals that are passed on to the process inside.
const FORWARDED: [i32; 6] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// Lets signals wait until a command runs to which they can be passed on. They
/// wait in threads that are made after this, too.
///
/// # Errors
/// Never, as far as the kernel says.
pub fn hold_signals() -> Result<()> {
    sys::signal_fd(&FORWARDED)?;
    Ok(())
}

/// Does what follows the last runtime. Signals have waited since [`hold_signals`]: the first
/// that comes now is `told`, and the next one ends this process at once, whatever it waits
/// for.
///
/// # Errors
/// Never, as far as the kernel says.
pub fn ends_when_asked_twice<T>(work: impl FnOnce() -> T, told: &(dyn Fn() + Sync)) -> Result<T> {
    let signals = sys::signal_fd(&FORWARDED)?;
    let (over, done) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok(std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut was_told = false;
            loop {
                let mut fds = [PollFd::new(&signals, PollFlags::IN), PollFd::new(&over, PollFlags::IN)];
                let polled = poll(&mut fds, None);
                let is_over = !fds[1].revents().is_empty();
                match sys::read_signal(signals.as_fd()) {
                    Some(signal) if was_told => sys::exit_now(128 + signal),
                    Some(_) => {
                        was_told = true;
                        told();
                    }
                    None if is_over || matches!(polled, Err(error) if error != Errno::INTR) => return,
                    None => {}
                }
            }
        });
        let made = work();
        drop(done);
        made
    }))
}

/// What is typed for so long after an end that nobody asked for goes nowhere.
const SWALLOWED: Duration = Duration::from_millis(700);

/// Runs a process in the runtime of `lease`, which another process owns. `None`
/// when the runtime ended before it heard of it: nothing was run.
///
/// # Errors
/// When the process cannot be run, or its streams cannot be carried.
pub fn join(runtimes: &Runtimes, lease: &Lease, session: &Session) -> Result<Option<Outcome>> {
    let Some(socket) = reach(runtimes, lease)? else { return Ok(None) };
    crash::point("exec.joined");
    let done = run(socket.as_fd(), session, None, (None, &|| ()))?;
    Ok(done.heard.then_some(done.outcome))
}

/// Runs a session over a connection to pid 1; with a transcript it is
/// unattended.
///
/// What is `alive` is touched every now and then meanwhile: its time says until when
/// this was seen to go on. `begun` is called once the command runs.
pub(crate) fn run(
    socket: BorrowedFd<'_>,
    session: &Session,
    transcript: Option<&Transcript>,
    (alive, begun): (Option<BorrowedFd<'_>>, &dyn Fn()),
) -> Result<Done> {
    let signals = sys::signal_fd(&[&FORWARDED[..], &[libc::SIGWINCH]].concat())?;
    let mut streams = match &session.output {
        None => Streams::new(transcript, session.stdout.as_ref())?,
        Some(output) => Streams::into(output)?,
    };
    if session.hides {
        streams.pumps.iter_mut().for_each(|pump| {
            pump.hide();
            pump.keep_short();
        });
    }
    let sent = send(socket, &request(session, &streams), &streams.passed());
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
    match started(socket, &mut streams)? {
        ControlFlow::Continue(()) => {
            begun();
            attend(socket, &signals, streams, session, (transcript.is_some(), alive))
        }
        ControlFlow::Break(Some(done)) => Ok(done),
        ControlFlow::Break(None) => Ok(Done { heard: sent && read, ..Done::of(Outcome::Lost, None) }),
    }
}

fn request(session: &Session, streams: &Streams<'_>) -> Request {
    Request::Run(Run {
        command: session.command.iter().cloned().map(wire::Word).collect(),
        env: session.env.clone(),
        terminal: streams.terminal.then(window_size),
        last: session.last,
        shell: session.shell.clone(),
    })
}

/// Hears whether the command was started. Where it was not, how it went; nothing where
/// the runtime has ended.
fn started(socket: BorrowedFd<'_>, streams: &mut Streams<'_>) -> Result<ControlFlow<Option<Done>>> {
    match wire::receive::<Reply>(socket)? {
        Some((Reply::Started, fds)) => {
            crash::point("exec.started");
            streams.started(fds)?;
            Ok(ControlFlow::Continue(()))
        }
        Some((Reply::Refused { program, errno }, _)) => {
            Ok(ControlFlow::Break(Some(Done::of(Outcome::NotStarted { program, errno }, None))))
        }
        Some((Reply::Failed(failure), _)) => Err(failure.rebuild()),
        Some((Reply::Ended(ended), _)) => Ok(ControlFlow::Break(Some(Done::of(outcome(ended), Some(ended))))),
        Some((
            Reply::Done
            | Reply::Soon(_)
            | Reply::Written(_)
            | Reply::OutOfMemory(_)
            | Reply::Service(_)
            | Reply::Joined(_),
            _,
        )) => Err(failure("the runtime gave an unexpected answer").into()),
        None => Ok(ControlFlow::Break(None)),
    }
}

/// Carries a session that was started to its end.
fn attend(
    socket: BorrowedFd<'_>,
    signals: &OwnedFd,
    mut streams: Streams<'_>,
    session: &Session,
    (unattended, alive): (bool, Option<BorrowedFd<'_>>),
) -> Result<Done> {
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
    let beside = Meanwhile {
        warn: &warn,
        look: session
            .later
            .as_ref()
            .map(|later| (monotonic_now() + later.after.as_millis() as u64, &look as &dyn Fn())),
        beat: alive.map(Beat::of),
    };
    let done = relay(socket, signals, &mut streams, unattended, beside)?;
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
