//! What is taken from a stream of this process: no more than a program inside has read,
//! where the kernel can tell. Whoever reads on after envctl finds the rest, such as a
//! shell that takes its commands from the same pipe or file.
//!
//! A pipe or a file is shown inside a piece at a time. The pipe that leads inside has room
//! for one piece, so it can be written again (`poll(2)`) when that was read; only then is
//! the piece taken. What waits in a pipe outside is shown by `tee(2)`.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice, tee};

/// A stream that is read for a program inside.
pub(super) enum HostSource {
    /// A pipe: so many bytes of it are in the pipe inside, too.
    Pipe { shown: usize, nothing: OwnedFd },
    /// A file that has been read beyond what was read inside, by so many bytes.
    File { shown: usize },
    /// What was read of it is gone.
    Other,
}

impl HostSource {
    /// What kind of stream this is. `inside` is where it leads.
    pub(super) fn of(outside: BorrowedFd<'_>, inside: BorrowedFd<'_>) -> Result<Self, Errno> {
        let kind = |fd| rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
        if kind(inside)? != FileType::Fifo {
            return Ok(HostSource::Other);
        }
        let source = match kind(outside)? {
            FileType::Fifo => {
                let nothing = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
                HostSource::Pipe { shown: 0, nothing }
            }
            FileType::RegularFile => HostSource::File { shown: 0 },
            _ => return Ok(HostSource::Other),
        };
        narrow(inside)?;
        Ok(source)
    }

    /// Whether it is shown a piece at a time.
    pub(super) fn is_in_pieces(&self) -> bool {
        !matches!(self, HostSource::Other)
    }

    /// Whether a piece is still to be read.
    pub(super) fn is_shown(&self) -> bool {
        matches!(self, HostSource::Pipe { shown: 1.., .. } | HostSource::File { shown: 1.. })
    }

    /// Shows the next piece inside; 0 bytes are the end.
    pub(super) fn show(&mut self, outside: BorrowedFd<'_>, inside: BorrowedFd<'_>) -> Result<usize, Errno> {
        match self {
            HostSource::Pipe { shown, .. } => {
                *shown = tee(outside, inside, MOST, SpliceFlags::NONBLOCK)?;
                Ok(*shown)
            }
            HostSource::File { shown } => {
                let mut piece = vec![0; rustix::param::page_size()];
                let count = rustix::io::read(outside, &mut piece)?;
                let written = if count == 0 { Ok(0) } else { rustix::io::write(inside, &piece[..count]) };
                *shown = *written.as_ref().unwrap_or(&0);
                put_back(outside, count - *shown);
                written
            }
            HostSource::Other => Err(Errno::INVAL),
        }
    }

    /// Takes what was read inside.
    pub(super) fn take(&mut self, outside: BorrowedFd<'_>, inside: BorrowedFd<'_>) {
        let unread = rustix::io::ioctl_fionread(inside).ok().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        match self {
            HostSource::Pipe { shown, nothing } => {
                while *shown > unread {
                    // Somebody else may have read it meanwhile.
                    match splice(outside, None, &*nothing, None, *shown - unread, SpliceFlags::NONBLOCK) {
                        Ok(count @ 1..) => *shown = shown.saturating_sub(count),
                        Err(Errno::INTR) => {}
                        Ok(0) | Err(_) => *shown = unread,
                    }
                }
            }
            HostSource::File { shown } => *shown = unread.min(*shown),
            HostSource::Other => {}
        }
        if self.is_shown() {
            // A program may have made more room for itself.
            let _ = narrow(inside);
        }
    }

    /// At the end: what nobody inside has read is read by whoever comes next.
    pub(super) fn leave(&mut self, outside: BorrowedFd<'_>, inside: BorrowedFd<'_>) {
        self.take(outside, inside);
        if let HostSource::File { shown } = self {
            put_back(outside, *shown);
        }
    }
}

/// Sets the position of a file back by so many bytes.
fn put_back(file: BorrowedFd<'_>, count: usize) {
    if let Ok(count @ 1..) = i64::try_from(count) {
        let _ = rustix::fs::seek(file, SeekFrom::Current(-count));
    }
}

/// More than a piece has.
const MOST: usize = 1 << 20;

/// Leaves room for one piece (`F_SETPIPE_SZ`, `fcntl(2)`).
fn narrow(pipe: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::pipe::fcntl_setpipe_size(pipe, rustix::param::page_size()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::fd::AsFd as _;

    use super::super::relay::Pump;
    use super::*;

    fn pipe() -> (OwnedFd, OwnedFd) {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
    }

    fn read(from: &OwnedFd, most: usize) -> Vec<u8> {
        let mut buffer = vec![0; most];
        let count = rustix::io::read(from, &mut buffer).unwrap();
        buffer.truncate(count);
        buffer
    }

    #[test]
    fn of_a_pipe_no_more_is_taken_than_was_read() {
        let ((source, feed), (theirs, ours)) = (pipe(), pipe());
        let mut pump = Pump::input(source.as_fd(), ours).unwrap();
        rustix::io::write(&feed, b"one\ntwo\n").unwrap();
        pump.turn(true, false);
        assert_eq!(pump.wants(), (false, true));
        assert_eq!(read(&theirs, 4), b"one\n");
        pump.drain();
        assert_eq!(read(&source, 100), b"two\n");
    }

    #[test]
    fn a_pipe_arrives_whole_however_it_is_read() {
        let ((source, feed), (theirs, ours)) = (pipe(), pipe());
        let all: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let sent = all.clone();
        let writer = std::thread::spawn(move || std::fs::File::from(feed).write_all(&sent).unwrap());
        let reader = std::thread::spawn(move || {
            // A program may give itself more room.
            let _ = rustix::pipe::fcntl_setpipe_size(&theirs, 1 << 20);
            let (mut file, mut got) = (std::fs::File::from(theirs), Vec::new());
            while (&mut file).take(1 + got.len() as u64 % 7000).read_to_end(&mut got).unwrap() > 0 {}
            got
        });
        let mut pump = Pump::input(source.as_fd(), ours).unwrap();
        while !pump.is_done() {
            let (reads, writes) = pump.wants();
            let wait = |fd: BorrowedFd<'_>, flags| {
                let mut fds = [rustix::event::PollFd::from_borrowed_fd(fd, flags)];
                rustix::event::poll(&mut fds, None).unwrap();
            };
            if reads {
                wait(pump.from(), rustix::event::PollFlags::IN);
            } else {
                wait(pump.to(), rustix::event::PollFlags::OUT);
            }
            pump.turn(reads, writes);
        }
        writer.join().unwrap();
        assert!(reader.join().unwrap() == all);
    }

    #[test]
    fn a_file_goes_on_where_the_program_inside_stopped() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![b'x'; 300_000]).unwrap();
        file.rewind().unwrap();
        let (theirs, ours) = pipe();
        let mut pump = Pump::input(file.as_fd(), ours).unwrap();
        pump.turn(true, false);
        assert_eq!(read(&theirs, 100).len(), 100);
        pump.drain();
        assert_eq!(file.stream_position().unwrap(), 100);
    }
}
