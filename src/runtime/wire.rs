//! Messages between envctl outside and pid 1 inside: JSON in datagrams of a
//! `SOCK_SEQPACKET` unix socket, descriptors beside them.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::token::Token;
use crate::error::{Fault, Kind, hint_of, kind_of};

/// Largest message in bytes.
const MAX: usize = 160 << 10;

/// What a client that joins says first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    /// What the lease says.
    pub(super) token: Token,
}

/// What a client asks of pid 1. A client that runs nothing may ask again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Start a process; its streams travel beside this.
    Run(Run),
    /// Say when the runtime is set up.
    Ready,
    /// Say how many of those who joined run something.
    Joined,
    /// End the services, last first.
    StopServices,
    /// Move the deadline: milliseconds of the monotonic clock.
    Deadline(u64),
    /// Carry connections to this port inside; listening sockets of the host
    /// travel beside this.
    Forward {
        /// The port inside.
        port: u16,
        /// The port of the host.
        host: u16,
    },
    /// Close the listening sockets for this port inside.
    Withdraw(u16),
}

/// A process to start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Run {
    /// Program and arguments; empty for the login shell.
    pub(super) command: Vec<Word>,
    /// Variables beyond those of the runtime.
    pub(super) env: Vec<(String, String)>,
    /// A pseudo-terminal of this size is wanted: rows and columns.
    pub(super) terminal: Option<(u16, u16)>,
    /// Nothing follows: pid 1 may end with it.
    #[serde(default)]
    pub(super) last: bool,
    /// The shell to open without a command, instead of the account's.
    #[serde(default)]
    pub(super) shell: Option<String>,
}

/// A word of a command line. One that is no UTF-8 travels as a list of its bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Spelled", into = "Spelled")]
pub(super) struct Word(pub(super) OsString);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Spelled {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<Spelled> for Word {
    fn from(spelled: Spelled) -> Self {
        Word(match spelled {
            Spelled::Text(text) => text.into(),
            Spelled::Bytes(bytes) => OsString::from_vec(bytes),
        })
    }
}

impl From<Word> for Spelled {
    fn from(word: Word) -> Self {
        word.0.into_string().map_or_else(|word| Spelled::Bytes(word.into_vec()), Spelled::Text)
    }
}

/// What a client tells later.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Tell {
    /// Pass this signal on to the process group.
    Signal(i32),
    /// From the owner: everything has to end, as at a deadline; at once when it
    /// was said before.
    End,
}

/// What pid 1 answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The process runs; a terminal's master side travels beside this.
    Started,
    /// The runtime cannot be set up.
    Failed(Failure),
    /// The process could not be started: the error number of its execution.
    Refused {
        /// What was to be run.
        program: String,
        /// `errno(3)`.
        errno: i32,
    },
    /// What was written outside the workspace; the end follows.
    Written(super::Written),
    /// The runtime ends soon by itself.
    Soon(super::Soon),
    /// Programs were ended for their memory; the end follows.
    OutOfMemory(super::OutOfMemory),
    /// A service ended while the owner's command ran; the end of that follows.
    Service(EndedService),
    /// It ended.
    Ended(Ended),
    /// So many of those who joined run something.
    Joined(u32),
    /// What was asked is done.
    Done,
}

/// An error on its way to the process that can tell it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    /// The chain, outermost first.
    messages: Vec<String>,
    /// The hint, where one was given.
    hint: Option<String>,
    /// What decides the exit code.
    kind: Kind,
}

impl Failure {
    pub(super) fn of(error: &anyhow::Error) -> Self {
        Failure {
            messages: error.chain().map(ToString::to_string).collect(),
            hint: hint_of(error),
            kind: kind_of(error),
        }
    }

    /// The error as it was, but for its types.
    pub(super) fn rebuild(self) -> anyhow::Error {
        let mut messages = self.messages.into_iter();
        let first = messages.next().unwrap_or_else(|| "the runtime could not be set up".into());
        let mut fault = Fault::new(self.kind, first);
        fault.hint = self.hint;
        let cause = messages.rev().fold(None::<anyhow::Error>, |cause, message| {
            Some(match cause {
                Some(cause) => cause.context(message),
                None => anyhow::anyhow!(message),
            })
        });
        match cause {
            Some(cause) => cause.context(fault),
            None => fault.into(),
        }
    }
}

/// A service that ended before the runtime did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedService {
    /// Its name.
    pub name: String,
    /// Its exit code, or 128 and the number of the signal.
    pub code: u8,
    /// The end of what it printed.
    pub said: String,
}

/// The end of a process, and what else was alive at that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    /// Exit code, or 128 and the number of the signal.
    pub(super) code: u8,
    /// Other processes that still ran inside.
    pub(super) others: u32,
    /// Those of them that somebody who joined is attached to.
    #[serde(default)]
    pub(super) joined: u32,
    /// Nothing is left inside but pid 1, which ends as it says so.
    #[serde(default)]
    pub(super) alone: bool,
    /// Mounts inside.
    pub(super) mounts: u32,
    /// Bytes in the scratch space.
    pub(super) scratch_bytes: u64,
    /// The runtime's deadline ended it.
    pub(super) timed_out: bool,
    /// Nothing was done in it for too long.
    #[serde(default)]
    pub(super) idle: bool,
}

/// That a runtime ends soon, which the developer may want to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Soon {
    /// Milliseconds until then.
    pub left: u64,
    /// Because nothing is done in it; otherwise by its deadline.
    pub idle: bool,
}

/// A connected pair.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message with up to three descriptors.
pub(super) fn send<T: Serialize>(socket: impl AsFd, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message).map_err(io::Error::other)?;
    if bytes.len() > MAX {
        return Err(io::Error::other("the command line is too long"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(&socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

/// Receives one message; `None` when the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MAX + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut next = || {
        rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
        })
    };
    // A side that ends without having read everything resets the connection.
    // The reset is told once, and before what that side had sent.
    let received = match next() {
        Err(rustix::io::Errno::CONNRESET) => next(),
        other => other,
    };
    let count = match received {
        Ok(message) => message.bytes,
        Err(rustix::io::Errno::CONNRESET) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if count == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(&bytes[..count]).map_err(io::Error::other)?;
    Ok(Some((message, fds)))
}

/// Files outside the workspace that a run made, changed or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// How many were made or changed.
    pub files: u64,
    /// How many of the image's files and folders were removed.
    pub removed: u64,
    /// Bytes of those that were made or changed.
    pub bytes: u64,
    /// The first of them as they are named inside, in order of folders; a
    /// removed one has a `-` and a space before it.
    pub paths: Vec<String>,
    /// There are more than were named or counted.
    pub cut: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_side_that_did_not_listen_arrive() {
        for sends_first in [true, false] {
            let (ours, theirs) = pair().unwrap();
            if sends_first {
                send(&ours, &Tell::Signal(1), &[]).unwrap();
            }
            let refused = Reply::Refused { program: "x".into(), errno: 2 };
            send(&theirs, &refused, &[]).unwrap();
            drop(theirs);
            if !sends_first {
                assert_eq!(send(&ours, &Tell::Signal(1), &[]).unwrap_err().raw_os_error(), Some(libc::EPIPE));
            }
            let (reply, _) = receive::<Reply>(&ours).unwrap().unwrap();
            assert!(matches!(reply, Reply::Refused { errno: 2, .. }), "{reply:?}");
            assert!(receive::<Reply>(&ours).unwrap().is_none());
        }
    }
}
