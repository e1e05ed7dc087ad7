//! Carrying bytes between this process's terminal and a process inside.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios};

use super::source::HostSource;
use super::transcript::{Stream, Transcript};
use crate::secret;

const CHUNK: usize = 64 << 10;

/// `PIPE_BUF` of Linux.
const PIPE_BUF: usize = 4096;

/// Seconds that whoever reads may take for the last of it.
const LAST: i64 = 10;

/// Size of this process's terminal: rows and columns.
pub(crate) fn window_size() -> (u16, u16) {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
    size.ok().filter(|size| size.ws_row > 0 && size.ws_col > 0).map_or((24, 80), |size| (size.ws_row, size.ws_col))
}

/// The terminal passes every byte on while this lives.
pub(crate) struct RawMode(Termios);

impl RawMode {
    /// `None` when the terminal has gone away meanwhile.
    pub(crate) fn enter() -> Result<Option<Self>> {
        let stdin = rustix::stdio::stdin();
        let Ok(before) = rustix::termios::tcgetattr(stdin) else { return Ok(None) };
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(stdin, OptionalActions::Now, &raw).context("cannot change the terminal's mode")?;
        Ok(Some(RawMode(before)))
    }

    /// Does something for which the terminal has its own mode, on a line of its own.
    pub(crate) fn apart(&self, print: impl FnOnce()) {
        let stdin = rustix::stdio::stdin();
        let raw = rustix::termios::tcgetattr(stdin);
        let _ = rustix::termios::tcsetattr(stdin, OptionalActions::Now, &self.0);
        let _ = rustix::io::write(rustix::stdio::stderr(), b"\n");
        print();
        if let Ok(raw) = raw {
            let _ = rustix::termios::tcsetattr(stdin, OptionalActions::Now, &raw);
        }
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// Reads what is typed for a while, and forgets it.
pub(crate) fn swallow(long: Duration) {
    let (stdin, end) = (rustix::stdio::stdin(), Instant::now() + long);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if !matches!(rustix::io::read(stdin, &mut [0; CHUNK]), Ok(1..) | Err(Errno::INTR)) {
            return;
        }
    }
}

/// One direction. The side inside never blocks this process; the side outside
/// is never switched to non-blocking, because others share it.
pub(crate) struct Pump<'a> {
    inside: Option<OwnedFd>,
    outside: BorrowedFd<'a>,
    /// How it is read, where the program inside is the one who reads.
    source: Option<HostSource>,
    /// The side outside is a file, which takes everything at once.
    whole: bool,
    /// Read outside, not yet written inside.
    pending: Vec<u8>,
    ended: bool,
    /// Where what is carried out is kept as well.
    kept: Option<(&'a Transcript, Stream)>,
    /// Values of secrets are not carried out; what may be the beginning of one waits here.
    held: Option<Vec<u8>>,
    /// The side outside is a log, which stays [`short`](shorten).
    is_log: bool,
    /// So many bytes more may be written outside.
    left: u64,
    /// Why nothing more could be written outside.
    failed: Option<Errno>,
}

impl<'a> Pump<'a> {
    /// From a stream of this process to the process inside.
    pub(crate) fn input(from: BorrowedFd<'a>, to: OwnedFd) -> Result<Self> {
        let source = HostSource::of(from, to.as_fd())?;
        Ok(Pump { source: Some(source), ..Self::new(to, from)? })
    }

    /// From the process inside to a stream of this process.
    pub(crate) fn output(from: OwnedFd, to: BorrowedFd<'a>) -> Result<Self> {
        Self::new(from, to)
    }

    fn new(inside: OwnedFd, outside: BorrowedFd<'a>) -> Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&inside)?;
        rustix::fs::fcntl_setfl(&inside, flags | OFlags::NONBLOCK)?;
        let whole = FileType::from_raw_mode(rustix::fs::fstat(outside)?.st_mode) == FileType::RegularFile;
        Ok(Pump {
            inside: Some(inside),
            outside,
            source: None,
            whole,
            pending: Vec::new(),
            ended: false,
            kept: None,
            held: None,
            is_log: false,
            left: u64::MAX,
            failed: None,
        })
    }

    /// The same, and what it carries out is kept.
    pub(crate) fn kept_in(self, kept: Option<(&'a Transcript, Stream)>) -> Self {
        Pump { kept, ..self }
    }

    /// The same, and it writes no more bytes outside.
    pub(crate) fn at_most(self, left: u64) -> Self {
        Pump { left, ..self }
    }

    /// From now on it carries no value of a secret out.
    pub(crate) fn hide(&mut self) {
        self.held = Some(Vec::new()).filter(|_| self.source.is_none());
    }

    /// The same, and its file is a log that nobody waits to be whole.
    pub(crate) fn into_log(mut self) -> Self {
        self.keep_short();
        self
    }

    /// From now on what is written outside is kept short.
    pub(crate) fn keep_short(&mut self) {
        self.is_log = self.whole && self.source.is_none();
    }

    pub(crate) fn from(&self) -> BorrowedFd<'_> {
        if self.source.is_some() { self.outside } else { self.inside() }
    }

    pub(crate) fn to(&self) -> BorrowedFd<'_> {
        if self.source.is_some() { self.inside() } else { self.outside }
    }

    fn inside(&self) -> BorrowedFd<'_> {
        self.inside.as_ref().map_or(self.outside, AsFd::as_fd)
    }

    /// Whether it waits to read, and to write.
    pub(crate) fn wants(&self) -> (bool, bool) {
        if self.inside.is_none() {
            return (false, false);
        }
        match &self.source {
            Some(source) if source.is_shown() => (false, true),
            Some(_) => (!self.ended && self.pending.len() < CHUNK, !self.pending.is_empty()),
            None => (!self.ended && self.pending.is_empty(), !self.pending.is_empty()),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.inside.is_none()
    }

    /// Moves what can be moved.
    pub(crate) fn turn(&mut self, readable: bool, writable: bool) {
        if self.source.as_ref().is_some_and(HostSource::is_in_pieces) {
            self.show(readable, writable);
        } else if self.source.is_some() {
            if readable {
                self.fill();
            }
            if writable || readable {
                self.flush();
            }
        } else {
            if readable {
                self.carry_out();
            }
            if writable || readable {
                self.write_out();
            }
        }
    }

    /// Why nothing more can be written outside, where somebody still wants to
    /// read it: a full disk, not a reader that has gone.
    pub(crate) fn failure(&self) -> Option<Errno> {
        self.failed.filter(|error| *error != Errno::PIPE && self.kept.is_none())
    }

    /// Carries out what is in the buffers, without waiting for more. Whoever
    /// reads nothing for long loses it. What was not read inside stays outside.
    pub(crate) fn drain(&mut self) {
        if self.source.is_some() {
            self.leave();
            return;
        }
        loop {
            self.write_out();
            if !self.pending.is_empty() {
                let timeout = Timespec { tv_sec: LAST, tv_nsec: 0 };
                let mut fds = [PollFd::from_borrowed_fd(self.outside, PollFlags::OUT)];
                if !matches!(poll(&mut fds, Some(&timeout)), Ok(1) | Err(Errno::INTR)) {
                    return;
                }
            } else if !self.carry_out() && !self.release() {
                return;
            }
        }
    }

    /// Shows the next piece, when the last one was read.
    fn show(&mut self, readable: bool, writable: bool) {
        let (Some(inside), Some(source)) = (&self.inside, &mut self.source) else { return };
        if writable {
            source.take(self.outside, inside.as_fd());
        }
        if !readable || source.is_shown() {
            return;
        }
        match source.show(self.outside, inside.as_fd()) {
            Ok(1..) | Err(Errno::AGAIN | Errno::INTR) => {}
            // The end, or nobody reads it any more.
            Ok(0) | Err(_) => self.inside = None,
        }
    }

    /// Nothing more is read inside.
    pub(crate) fn leave(&mut self) {
        if let (Some(inside), Some(source)) = (self.inside.take(), &mut self.source) {
            source.leave(self.outside, inside.as_fd());
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
                Ok(count) => {
                    self.pending.drain(..count);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => return self.leave(),
            }
        }
        if self.ended {
            // The end of input is passed on by closing.
            self.inside = None;
        }
    }

    /// Takes what the process inside wrote; whether there was something.
    fn carry_out(&mut self) -> bool {
        let Some(inside) = &self.inside else { return false };
        if !self.pending.is_empty() {
            return false;
        }
        let mut buffer = [0; CHUNK];
        match rustix::io::read(inside, &mut buffer) {
            Ok(count) if count > 0 => {
                if let Some((transcript, stream)) = self.kept {
                    transcript.add(stream, &buffer[..count]);
                }
                // A run whose output nobody reads any more is kept all the same.
                if self.failed.is_none() {
                    self.take(&buffer[..count]);
                }
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            // The end; a terminal without a process says EIO.
            _ => {
                self.ended = true;
                self.release();
                self.close_when_done();
                false
            }
        }
    }

    /// Takes bytes that are to be written outside.
    fn take(&mut self, bytes: &[u8]) {
        match &mut self.held {
            None => self.pending.extend_from_slice(bytes),
            Some(held) => {
                held.extend_from_slice(bytes);
                let (clean, rest) = secret::hide_in(std::mem::take(held));
                *held = rest;
                self.pending.extend(clean);
            }
        }
    }

    /// What could have become the value of a secret did not; whether there was something.
    fn release(&mut self) -> bool {
        let rest = self.held.as_mut().map(std::mem::take).unwrap_or_default();
        self.pending.extend_from_slice(&rest);
        !rest.is_empty()
    }

    /// Writes outside as much as can be written without waiting: a reader that
    /// reads nothing must not hold up signals and deadlines.
    fn write_out(&mut self) {
        while !self.pending.is_empty() && can_write(self.outside) {
            // So much a pipe takes that is ready, pipe(7).
            let part = if self.whole { self.pending.len() } else { self.pending.len().min(PIPE_BUF) };
            let part = part.min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let written =
                if part == 0 { Err(Errno::FBIG) } else { rustix::io::write(self.outside, &self.pending[..part]) };
            match written {
                Ok(count) => {
                    self.left -= count as u64;
                    self.pending.drain(..count);
                    if self.is_log {
                        // What cannot be shortened ends where the disk does.
                        let _ = shorten(self.outside, LOG_HEAD, LOG_TAIL);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(error) => {
                    self.failed = Some(error);
                    self.pending.clear();
                    if self.kept.is_none() {
                        self.inside = None;
                    }
                }
            }
        }
        self.close_when_done();
    }

    fn close_when_done(&mut self) {
        if self.ended && self.pending.is_empty() {
            self.inside = None;
        }
    }
}

/// Of a long log, so much of its beginning and of its end is kept, in bytes; it may have
/// twice as many in between.
const LOG_HEAD: u64 = 1 << 20;
const LOG_TAIL: u64 = 15 << 20;

/// Takes the middle out of a log that has got too long, and says so there. Whoever writes
/// to it goes on at its end.
fn shorten(log: BorrowedFd<'_>, head: u64, tail: u64) -> std::io::Result<()> {
    let size = u64::try_from(rustix::fs::fstat(log)?.st_size).unwrap_or_default();
    if size <= 2 * (head + tail) {
        return Ok(());
    }
    // It may be open for writing only.
    let file = File::options().read(true).write(true).open(format!("/proc/self/fd/{}", log.as_raw_fd()))?;
    let mut end = vec![0; tail as usize];
    file.read_exact_at(&mut end, size - tail)?;
    let words = format!("\n[{} bytes are left out here]\n", size - head - tail);
    file.write_all_at(words.as_bytes(), head)?;
    file.write_all_at(&end, head + words.len() as u64)?;
    file.set_len(head + words.len() as u64 + tail)?;
    rustix::fs::seek(log, rustix::fs::SeekFrom::End(0))?;
    Ok(())
}

fn can_write(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    #[test]
    fn a_long_log_keeps_its_beginning_and_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        // As that of a detached runtime.
        let mut log = File::options().write(true).create(true).truncate(true).open(&path).unwrap();
        for n in 0..1000 {
            std::io::Write::write_all(&mut log, format!("line {n:4}\n").as_bytes()).unwrap();
            shorten(log.as_fd(), 100, 300).unwrap();
            assert!(log.metadata().unwrap().len() <= 900, "{n}");
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("line    0\nline    1\n") && text.ends_with("line  998\nline  999\n"), "{text}");
        assert!(text.contains("bytes are left out here]\n") && !text.contains('\0'), "{text}");
    }

    #[test]
    fn no_more_is_written_than_may_be_and_the_program_inside_learns_it() {
        let (from, feed) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (mine, to) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut pump = Pump::output(from, to.as_fd()).unwrap().at_most(5);
        rustix::io::write(&feed, b"12345678").unwrap();
        pump.turn(true, true);
        assert_eq!((pump.is_done(), pump.failure()), (true, Some(Errno::FBIG)));
        let mut buffer = [0; 10];
        assert_eq!(rustix::io::read(&mine, &mut buffer).unwrap(), 5);
        assert_eq!(rustix::io::write(&feed, b"x"), Err(Errno::PIPE));
    }

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

    #[test]
    fn values_of_secrets_are_not_carried_into_a_log() {
        let secret = secret::Secret::new("battery-staple-of-tests".into());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = std::fs::File::create(&path).unwrap();
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut pump = Pump::output(read, log.as_fd()).unwrap();
        pump.hide();
        for byte in format!("before {} after battery-sta", secret.expose()).bytes() {
            rustix::io::write(&write, &[byte]).unwrap();
            pump.turn(true, true);
            assert!(!std::fs::read_to_string(&path).unwrap().contains("battery"));
        }
        // Whoever ends it reads the last of it, also where somebody could still write.
        pump.drain();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before [secret] after battery-sta");
        rustix::io::write(&write, b" battery-").unwrap();
        drop(write);
        while !pump.is_done() {
            pump.turn(true, true);
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before [secret] after battery-sta battery-");
    }
}
