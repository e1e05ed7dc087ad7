//! The streams of a process inside, as this process gives them to it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::relay::{Pump, window_size};
use super::session::StdoutFile;
use super::transcript;
use super::transcript::Transcript;
use crate::error::{Fault, usage};

/// How this process's streams reach the one inside: each through a pipe of its own. None is
/// passed on, not even `/dev/null`, whose mode belongs to the host: a program that holds a
/// terminal could type into it (CVE-2017-5226), and one that holds a file or a pipe could
/// open it once more through `/proc/self/fd`, to write what it was given to read, to read
/// what others write, or to change its mode.
pub(crate) struct Streams<'a> {
    /// Descriptors that travel with the request, made for it.
    pub(crate) theirs: Vec<OwnedFd>,
    plan: [Stream; 3],
    pub(crate) terminal: bool,
    pub(crate) pumps: Vec<Pump<'a>>,
    master: Option<OwnedFd>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    /// Part of the pseudo-terminal.
    Terminal,
    /// Where standard output goes.
    WithOutput,
    /// One of `theirs`.
    Pipe(usize),
}

impl<'a> Streams<'a> {
    /// With a transcript both outputs are pipes, and there is no terminal; nor is there
    /// one where standard output goes into a file, which no transcript has.
    pub(crate) fn new(transcript: Option<&'a Transcript>, stdout: Option<&'a StdoutFile>) -> Result<Self> {
        let own = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        for (fd, name) in own.iter().zip(["stdin", "stdout", "stderr"]) {
            check(*fd, name)?;
        }
        let is_terminal = own.map(rustix::termios::isatty);
        let terminal = is_terminal[0] && is_terminal[1] && transcript.is_none() && stdout.is_none();
        let mut streams =
            Streams { theirs: Vec::new(), plan: [Stream::Terminal; 3], terminal, pumps: Vec::new(), master: None };
        // Both into one file stay in order only in one pipe.
        let together = transcript.is_none() && stdout.is_none() && is_same(own[1], own[2])?;
        for index in 0..3 {
            if let (1, Some(StdoutFile { file, most })) = (index, stdout) {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                streams.plan[index] = Stream::Pipe(streams.theirs.len());
                streams.theirs.push(write);
                streams.pumps.push(Pump::output(read, file.as_fd())?.at_most(*most));
                continue;
            }
            if is_terminal[index] && terminal {
                continue;
            }
            if index == 2 && together && matches!(streams.plan[1], Stream::Pipe(_)) {
                streams.plan[2] = Stream::WithOutput;
                continue;
            }
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            streams.plan[index] = Stream::Pipe(streams.theirs.len());
            if index == 0 {
                streams.theirs.push(read);
                streams.pumps.push(Pump::input(own[0], write)?);
            } else {
                streams.theirs.push(write);
                let stream = if index == 1 { transcript::Stream::Out } else { transcript::Stream::Err };
                streams.pumps.push(Pump::output(read, own[index])?.kept_in(transcript.map(|kept| (kept, stream))));
            }
        }
        Ok(streams)
    }

    /// From nothing, into a file.
    pub(crate) fn into(file: &'a File) -> Result<Self> {
        let (nothing, _) = pipe_with(PipeFlags::CLOEXEC)?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Streams {
            theirs: vec![nothing, write],
            plan: [Stream::Pipe(0), Stream::Pipe(1), Stream::WithOutput],
            terminal: false,
            pumps: vec![Pump::output(read, file.as_fd())?.into_log()],
            master: None,
        })
    }

    pub(crate) fn passed(&self) -> Vec<BorrowedFd<'_>> {
        let pass = |stream: Stream| match stream {
            Stream::Terminal | Stream::WithOutput => None,
            Stream::Pipe(at) => Some(self.theirs[at].as_fd()),
        };
        let plan = self.plan.map(|stream| if stream == Stream::WithOutput { self.plan[1] } else { stream });
        plan.into_iter().filter_map(pass).collect()
    }

    pub(crate) fn started(&mut self, fds: Vec<OwnedFd>) -> Result<()> {
        if self.terminal {
            let master = fds.into_iter().next().context("the runtime sent no terminal")?;
            self.pumps.push(Pump::input(rustix::stdio::stdin(), master.try_clone()?)?);
            self.pumps.push(Pump::output(master.try_clone()?, rustix::stdio::stdout())?);
            self.master = Some(master);
        }
        Ok(())
    }

    /// What nobody inside has read is left to whoever reads next.
    pub(crate) fn leave(&mut self) {
        self.pumps.iter_mut().for_each(Pump::leave);
    }

    pub(crate) fn resize(&self) {
        if let Some(master) = &self.master {
            let (ws_row, ws_col) = window_size();
            let size = rustix::termios::Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = rustix::termios::tcsetwinsize(master, size);
        }
    }
}

/// Whether both lead to the same file, by its inode.
fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<bool, Errno> {
    let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
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
