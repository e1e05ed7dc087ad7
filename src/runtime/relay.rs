//! Carrying bytes between this process's terminal and a process inside.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios};

use super::transcript::{Stream, Transcript};

const CHUNK: usize = 64 << 10;

/// Size of this process's terminal: rows and columns.
pub(super) fn window_size() -> (u16, u16) {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
    size.ok().filter(|size| size.ws_row > 0 && size.ws_col > 0).map_or((24, 80), |size| (size.ws_row, size.ws_col))
}

/// The terminal passes every byte on while this lives.
pub(super) struct RawMode(Termios);

impl RawMode {
    /// `None` when the terminal has gone away meanwhile.
    pub(super) fn enter() -> Result<Option<Self>> {
        let stdin = rustix::stdio::stdin();
        let Ok(before) = rustix::termios::tcgetattr(stdin) else { return Ok(None) };
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(stdin, OptionalActions::Now, &raw).context("cannot change the terminal's mode")?;
        Ok(Some(RawMode(before)))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// One direction. The side inside never blocks this process; the side outside
/// is never switched to non-blocking, because others share it.
pub(super) struct Pump<'a> {
    inside: Option<OwnedFd>,
    outside: BorrowedFd<'a>,
    inward: bool,
    /// Read outside, not yet written inside.
    pending: Vec<u8>,
    ended: bool,
    /// Where what is carried out is kept as well.
    kept: Option<(&'a Transcript, Stream)>,
    /// Why nothing more could be written outside.
    failed: Option<Errno>,
}

impl<'a> Pump<'a> {
    /// From a stream of this process to the process inside.
    pub(super) fn input(from: BorrowedFd<'a>, to: OwnedFd) -> Result<Self> {
        Self::new(to, from, true)
    }

    /// From the process inside to a stream of this process.
    pub(super) fn output(from: OwnedFd, to: BorrowedFd<'a>) -> Result<Self> {
        Self::new(from, to, false)
    }

    fn new(inside: OwnedFd, outside: BorrowedFd<'a>, inward: bool) -> Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&inside)?;
        rustix::fs::fcntl_setfl(&inside, flags | OFlags::NONBLOCK)?;
        Ok(Pump { inside: Some(inside), outside, inward, pending: Vec::new(), ended: false, kept: None, failed: None })
    }

    /// The same, and what it carries out is kept.
    pub(super) fn kept_in(self, kept: Option<(&'a Transcript, Stream)>) -> Self {
        Pump { kept, ..self }
    }

    pub(super) fn from(&self) -> BorrowedFd<'_> {
        if self.inward { self.outside } else { self.inside() }
    }

    pub(super) fn to(&self) -> BorrowedFd<'_> {
        if self.inward { self.inside() } else { self.outside }
    }

    fn inside(&self) -> BorrowedFd<'_> {
        self.inside.as_ref().map_or(self.outside, AsFd::as_fd)
    }

    /// Whether it waits to read, and to write.
    pub(super) fn wants(&self) -> (bool, bool) {
        if self.inside.is_none() {
            return (false, false);
        }
        (!self.ended && self.pending.len() < CHUNK, !self.pending.is_empty())
    }

    pub(super) fn is_done(&self) -> bool {
        self.inside.is_none()
    }

    /// Moves what can be moved.
    pub(super) fn turn(&mut self, readable: bool, writable: bool) {
        if self.inward {
            if readable {
                self.fill();
            }
            if writable || readable {
                self.flush();
            }
        } else if readable {
            self.carry_out();
        }
    }

    /// Why nothing more can be written outside, where somebody still wants to
    /// read it: a full disk, not a reader that has gone.
    pub(super) fn failure(&self) -> Option<Errno> {
        self.failed.filter(|error| *error != Errno::PIPE)
    }

    /// Carries out what is in the buffers, without waiting for more.
    pub(super) fn drain(&mut self) {
        if !self.inward {
            while self.inside.is_some() && self.carry_out() {}
        }
    }

    fn fill(&mut self) {
        let mut buffer = [0; CHUNK];
        match rustix::io::read(self.outside, &mut buffer) {
            Ok(0) => self.ended = true,
            Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.ended = true,
        }
    }

    fn flush(&mut self) {
        let Some(inside) = &self.inside else { return };
        while !self.pending.is_empty() {
            match rustix::io::write(inside, &self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.inside = None;
                    return;
                }
            }
        }
        if self.ended {
            // The end of input is passed on by closing.
            self.inside = None;
        }
    }

    /// Returns whether something was moved.
    fn carry_out(&mut self) -> bool {
        let Some(inside) = &self.inside else { return false };
        let mut buffer = [0; CHUNK];
        match rustix::io::read(inside, &mut buffer) {
            Ok(count) if count > 0 => {
                if let Some((transcript, stream)) = self.kept {
                    transcript.add(stream, &buffer[..count]);
                }
                // A run whose output nobody reads any more is kept all the same.
                if let Err(error) = write_all(self.outside, &buffer[..count])
                    && self.kept.is_none()
                {
                    self.failed = Some(error);
                    self.inside = None;
                }
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            // The end; a terminal without a process says EIO.
            _ => {
                self.inside = None;
                false
            }
        }
    }
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // Somebody else made the shared terminal non-blocking.
                let mut fds = [rustix::event::PollFd::from_borrowed_fd(fd, rustix::event::PollFlags::OUT)];
                rustix::event::poll(&mut fds, None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    #[test]
    fn a_reader_that_does_not_read_blocks_nothing() {
        let (source, feed) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let source: &'static OwnedFd = Box::leak(Box::new(source));
        let mut pump = Pump::input(source.as_fd(), ours).unwrap();
        let mut fed = 0;
        while pump.wants().0 && fed < 1 << 20 {
            fed += rustix::io::write(&feed, &[7; 4096]).unwrap();
            pump.turn(true, true);
        }
        assert!(pump.wants().1, "it waits for the reader, with bounded memory");
        drop(feed);
        let mut got = 0;
        let mut buffer = [0; 4096];
        while got < fed {
            got += rustix::io::read(&theirs, &mut buffer).unwrap();
            pump.turn(pump.wants().0, true);
        }
        assert_eq!(got, fed);
        while !pump.is_done() {
            pump.turn(pump.wants().0, true);
        }
        assert_eq!(rustix::io::read(&theirs, &mut buffer).unwrap(), 0, "the end is passed on");
    }
}
