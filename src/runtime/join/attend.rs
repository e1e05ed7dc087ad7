//! What goes on while a session lasts: bytes are moved, signals are passed on, and
//! what pid 1 tells is kept.

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
pub(super) struct Beside<'a> {
    pub(super) warn: &'a dyn Fn(Soon),
    /// When, and what.
    pub(super) look: Option<(u64, &'a dyn Fn())>,
    pub(super) beat: Option<Beat<'a>>,
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

pub(super) fn relay(
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
        let mut beside = Beside { warn: &|_| (), look: Some((monotonic_now() + 3_600_000, &look)), beat: None };
        assert!(beside.next().is_some_and(|at| at > monotonic_now()) && looks.get() == 0);
        beside.look = Some((monotonic_now(), &look));
        assert_eq!((beside.next(), beside.next(), looks.get()), (None, None, 1));
    }
}
