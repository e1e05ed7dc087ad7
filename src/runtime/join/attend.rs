//! What goes on while a session lasts: bytes are moved, signals are passed on, and
//! what pid 1 tells is kept.

use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::connection::CANCELLING;
use super::relay::Pump;
use super::session::Outcome;
use super::streams::Streams;
use crate::runtime::deadline::{monotonic_now, until};
use crate::runtime::limits::OutOfMemory;
use crate::runtime::wire::{Ended, EndedService, Reply, Soon, Tell, Written};
use crate::runtime::{sys, wire};

/// Milliseconds that pid 1 may take to end a runtime that is cancelled, longer
/// than it takes by its own rules.
const PATIENCE: u64 = 8_000;

/// Milliseconds between two signs of life.
const BEAT: u64 = 30_000;

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
    pub(super) fn of(outcome: Outcome, ended: Option<Ended>) -> Self {
        Done { outcome, ended, written: None, exhausted: None, services: Vec::new(), heard: true }
    }
}

/// What is done while a session lasts.
pub(super) struct Meanwhile<'a> {
    pub(super) warn: &'a dyn Fn(Soon),
    /// When, and what.
    pub(super) look: Option<(u64, &'a dyn Fn())>,
    pub(super) beat: Option<Beat<'a>>,
}

impl Meanwhile<'_> {
    /// Does what is due, and says when the next is.
    fn next(&mut self) -> Option<u64> {
        if let Some((_, look)) = self.look.take_if(|(at, _)| *at <= monotonic_now()) {
            look();
        }
        self.look.map(|(at, _)| at).into_iter().chain(self.beat.as_mut().map(Beat::next)).min()
    }
}

/// Moves bytes, passes signals on and does what is due beside it, until the session is
/// over.
pub(super) fn relay(
    socket: BorrowedFd<'_>,
    signals: &OwnedFd,
    streams: &mut Streams<'_>,
    unattended: bool,
    beside: Meanwhile<'_>,
) -> Result<Done> {
    let done = Done::of(Outcome::Lost, None);
    let mut attended = Attended { socket, signals, streams, unattended, beside, cancelled: None, lost: None, done };
    loop {
        let (answered, signalled) = attended.turn()?;
        if signalled {
            attended.pass_signals_on();
        }
        if let Some((signal, at)) = attended.cancelled
            && at <= monotonic_now()
        {
            // Pid 1 does not answer; whoever resets kills it.
            attended.streams.leave();
            return Ok(Done { outcome: Outcome::Cancelled(signal), ..attended.done });
        }
        if answered && let ControlFlow::Break(ended) = attended.hear()? {
            return attended.end(ended);
        }
    }
}

/// A session that goes on.
struct Attended<'a, 's> {
    socket: BorrowedFd<'a>,
    signals: &'a OwnedFd,
    streams: &'a mut Streams<'s>,
    unattended: bool,
    beside: Meanwhile<'a>,
    /// The signal that ends it all, and when pid 1 has had time enough.
    cancelled: Option<(i32, u64)>,
    /// Why what the command printed cannot be written.
    lost: Option<Errno>,
    /// What was told so far.
    done: Done,
}

impl Attended<'_, '_> {
    /// Waits until there is something to do, and moves what can be moved. Whether pid 1
    /// has something to say, and whether there is a signal.
    fn turn(&mut self) -> Result<(bool, bool)> {
        let mut fds = vec![PollFd::new(&self.socket, PollFlags::IN), PollFd::new(self.signals, PollFlags::IN)];
        let wanted: Vec<_> = self.streams.pumps.iter().map(Pump::wants).collect();
        for (pump, wants) in self.streams.pumps.iter().zip(&wanted) {
            if wants.0 {
                fds.push(PollFd::from_borrowed_fd(pump.from(), PollFlags::IN));
            }
            if wants.1 {
                fds.push(PollFd::from_borrowed_fd(pump.to(), PollFlags::OUT));
            }
        }
        let end = self.cancelled.map(|(_, at)| at);
        let timeout = end.into_iter().chain(self.beside.next()).min().map(|at| {
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
        for (pump, wants) in self.streams.pumps.iter_mut().zip(&wanted) {
            let mut due = |wanted: bool| {
                let due = wanted && ready[next];
                next += usize::from(wanted);
                due
            };
            let (read, write) = (due(wants.0), due(wants.1));
            pump.turn(read, write);
        }
        self.lost = self.lost.or_else(|| self.streams.pumps.iter().find_map(Pump::failure));
        self.streams.pumps.retain(|pump| !pump.is_done());
        Ok((ready[0], ready[1]))
    }

    fn pass_signals_on(&mut self) {
        while let Some(signal) = sys::read_signal(self.signals.as_fd()) {
            if signal == libc::SIGWINCH {
                self.streams.resize();
                continue;
            }
            let _ = wire::send(self.socket, &Tell::Signal(signal), &[]);
            if self.unattended && CANCELLING.contains(&signal) {
                let _ = wire::send(self.socket, &Tell::End, &[]);
                self.cancelled = self.cancelled.or(Some((signal, monotonic_now() + PATIENCE)));
            }
        }
    }

    /// One message of pid 1: keeps it, or says that this was the end, and what it tells of it.
    fn hear(&mut self) -> Result<ControlFlow<Option<Ended>>> {
        match wire::receive::<Reply>(self.socket)?.map(|(reply, _)| reply) {
            Some(Reply::Ended(ended)) => return Ok(ControlFlow::Break(Some(ended))),
            None => return Ok(ControlFlow::Break(None)),
            Some(Reply::Written(list)) => self.done.written = Some(list),
            Some(Reply::Service(service)) => self.done.services.push(service),
            Some(Reply::Soon(soon)) => (self.beside.warn)(soon),
            Some(Reply::OutOfMemory(end)) => self.done.exhausted = Some(end),
            Some(_) => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end(mut self, ended: Option<Ended>) -> Result<Done> {
        // What it wrote before it ended is in the buffers by now.
        self.streams.pumps.iter_mut().for_each(Pump::drain);
        if let Some(error) = self.lost.or_else(|| self.streams.pumps.iter().find_map(Pump::failure)) {
            return Err(error).context("what the command printed cannot be written");
        }
        let outcome = match self.cancelled {
            Some((signal, _)) => Outcome::Cancelled(signal),
            None => ended.map_or(Outcome::Lost, outcome),
        };
        self.done = Done { outcome, ended, ..self.done };
        Ok(self.done)
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

pub(super) fn outcome(ended: Ended) -> Outcome {
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
        let mut beside = Meanwhile { warn: &|_| (), look: Some((monotonic_now() + 3_600_000, &look)), beat: None };
        assert!(beside.next().is_some_and(|at| at > monotonic_now()) && looks.get() == 0);
        beside.look = Some((monotonic_now(), &look));
        assert_eq!((beside.next(), beside.next(), looks.get()), (None, None, 1));
    }
}
