//! What of the developer's is lent to programs inside: sockets in the tree inside,
//! at which something outside answers.
//!
//! Pid 1 makes the sockets in its own tree and hands them to the owner, so that
//! nothing inside ever holds a descriptor of the host. The owner answers in threads of
//! its own, each of which ends when pid 1 does: its connection is shut then, because
//! a program may leave its own end where nobody closes it. What a program sends besides
//! bytes (descriptors) nobody takes.

use std::fmt;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketFlags;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::{Injected, sys, wire};
use crate::error::of_thread;
use crate::secret::{self, Secret};

/// The folder of the sockets inside.
pub const LENT: &str = "/run/envctl/lent";

/// So often somebody outside is asked for one runtime.
const MOST_ASKED: u64 = 1000;

/// Nanoseconds between two looks while as many are served as may be, or no more can be.
const FULL: i64 = 20_000_000;

/// What is lent to a runtime.
#[derive(Clone, Debug, Default)]
pub struct Lending {
    /// For what, in words; each is in the lease and in the receipt.
    pub names: Vec<String>,
    /// Where programs inside ask: at most three.
    pub sockets: Vec<LentSocket>,
    /// Files beside them: a name and what it holds.
    pub files: Vec<(String, Vec<u8>)>,
}

/// A socket inside.
#[derive(Clone)]
pub struct LentSocket {
    /// Its name in [`LENT`].
    pub name: String,
    /// So many are served at a time; the others wait.
    pub most: usize,
    /// Serves one connection.
    pub serve: Arc<Serving>,
}

type Serving = dyn Fn(&UnixStream, &Visit<'_>) + Send + Sync;

impl fmt::Debug for LentSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LentSocket({})", self.name)
    }
}

/// What was lent, in a receipt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lent {
    /// For what.
    pub names: Vec<String>,
    /// How often a program inside was given a login or a signature; `None` where
    /// nobody was left who had counted.
    pub given: Option<u64>,
    /// How often one asked for something else.
    pub refused: Option<u64>,
}

/// What was given so far.
#[derive(Debug, Default)]
struct Book {
    given: AtomicU64,
    refused: AtomicU64,
    asked: AtomicU64,
    values: Mutex<Vec<Secret>>,
}

/// One connection, as who serves it sees the rest.
pub struct Visit<'a> {
    init: Pid,
    over: BorrowedFd<'a>,
    book: &'a Book,
}

impl Visit<'_> {
    /// Pid 1 of the runtime, seen from outside: what is done for it ends with that.
    pub fn until(&self) -> u32 {
        self.init.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits until one of these has something to be read, or its other side is gone;
    /// `false` when the time or the runtime is over.
    pub fn wait(&self, fds: &[BorrowedFd<'_>], patience: Option<Duration>) -> bool {
        let mut all = vec![PollFd::from_borrowed_fd(self.over, PollFlags::IN)];
        all.extend(fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        let ready = rustix::io::retry_on_intr(|| poll(&mut all, patience.as_ref()));
        ready.is_ok_and(|count| count > 0) && all[0].revents().is_empty()
    }

    /// Whether somebody outside may be asked once more: each answer may take processes,
    /// a window of the developer's, and the memory for one more value that is hidden.
    pub fn may_ask(&self) -> bool {
        self.book.asked.fetch_add(1, Ordering::Relaxed) < MOST_ASKED
    }

    /// Notes that something was given, and the value of it where it has one.
    pub fn given(&self, value: Option<Secret>) {
        self.book.given.fetch_add(1, Ordering::Relaxed);
        let Some(value) = value else { return };
        secret::lend(&value);
        let mut values = self.book.values.lock().unwrap_or_else(PoisonError::into_inner);
        if !values.contains(&value) {
            values.push(value);
        }
    }

    /// Notes that something else was asked for.
    pub fn refused(&self) {
        self.book.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// The owner's side while a runtime lives.
#[derive(Debug)]
pub(super) struct Lender {
    names: Vec<String>,
    book: Arc<Book>,
    thread: std::thread::JoinHandle<()>,
}

impl Lender {
    /// Serves what pid 1 hands over at `door`, until `over`, its pidfd, says that it
    /// has ended.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(lending: &Lending, door: OwnedFd, init: Pid, over: OwnedFd) -> Result<Self> {
        let book = Arc::new(Book::default());
        let (sockets, noted) = (lending.sockets.clone(), Arc::clone(&book));
        let thread = std::thread::Builder::new().name("lender".into()).spawn(move || {
            // Signals are for the thread that carries them inside.
            let _ = sys::signal_fd(&(1..32).collect::<Vec<_>>());
            // Pid 1 may die before it says anything.
            if let Ok(Some(((), listeners))) = wire::receive::<()>(&door) {
                serve(&sockets, listeners, init, over.as_fd(), &noted);
            }
        })?;
        sys::WATCHING.fetch_add(1, Ordering::Relaxed);
        Ok(Lender { names: lending.names.clone(), book, thread })
    }

    /// Ends it, after pid 1: what was lent, and the values that were given.
    pub(super) fn end(self) -> (Lent, Vec<Injected>) {
        sys::WATCHING.fetch_sub(1, Ordering::Relaxed);
        // One that panicked has served nobody since.
        if let Err(fault) = of_thread(self.thread.join(), "the thread that lends credentials") {
            tracing::error!("{}", fault.message);
        }
        let count = |count: &AtomicU64| Some(count.load(Ordering::Relaxed));
        let lent = Lent { names: self.names, given: count(&self.book.given), refused: count(&self.book.refused) };
        let values = self.book.values.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let injected = |value| Injected { name: String::new(), value, variable: false, file: false };
        (lent, values.into_iter().map(injected).collect())
    }
}

/// Accepts, each connection in a thread of its own, until the runtime has ended.
fn serve(sockets: &[LentSocket], listeners: Vec<OwnedFd>, init: Pid, over: BorrowedFd<'_>, book: &Book) {
    let serving: Vec<AtomicUsize> = sockets.iter().map(|_| AtomicUsize::new(0)).collect();
    let live: Mutex<Vec<Arc<UnixStream>>> = Mutex::default();
    let live = || live.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        let (mut is_over, mut pause) = (false, false);
        while !is_over {
            let free = |n: &usize| !pause && serving[*n].load(Ordering::Relaxed) < sockets[*n].most;
            let free: Vec<usize> = (0..sockets.len().min(listeners.len())).filter(free).collect();
            let mut fds = vec![PollFd::from_borrowed_fd(over, PollFlags::IN)];
            fds.extend(free.iter().map(|n| PollFd::new(&listeners[*n], PollFlags::IN)));
            let soon = (free.len() < sockets.len()).then_some(Timespec { tv_sec: 0, tv_nsec: FULL });
            let ready = rustix::io::retry_on_intr(|| poll(&mut fds, soon.as_ref()));
            is_over = ready.is_err() || !fds[0].revents().is_empty();
            pause = false;
            for (fd, n) in fds[1..].iter().zip(&free).filter(|(fd, _)| !is_over && !fd.revents().is_empty()) {
                let accepted = rustix::net::accept_with(fd, SocketFlags::CLOEXEC);
                // Whoever waits is still there at once, and so is what is in the way.
                let Ok(stream) = accepted.map(|fd| Arc::new(UnixStream::from(fd))) else {
                    pause = true;
                    continue;
                };
                let (socket, count, live) = (&sockets[*n], &serving[*n], &live);
                count.fetch_add(1, Ordering::Relaxed);
                live().push(Arc::clone(&stream));
                let begun = std::thread::Builder::new().spawn_scoped(scope, move || {
                    (socket.serve)(&stream, &Visit { init, over, book });
                    live().retain(|other| !Arc::ptr_eq(other, &stream));
                    count.fetch_sub(1, Ordering::Relaxed);
                });
                if begun.is_err() {
                    pause = true;
                    live().pop();
                    count.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
        // The other end of a connection may lie in the queue of a listener, where no
        // program is left to close it.
        drop(listeners);
        live().iter().for_each(|stream| {
            let _ = stream.shutdown(Shutdown::Both);
        });
    });
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read as _, Write as _};
    use std::mem::MaybeUninit;
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

    use super::*;

    /// Serves these in a thread: what ends it, and what says that it has ended.
    fn begun(sockets: Vec<LentSocket>, listeners: Vec<OwnedFd>) -> (OwnedFd, mpsc::Receiver<Duration>) {
        let (over, until) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            serve(&sockets, listeners, rustix::process::getpid(), over.as_fd(), &Book::default());
            let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            let _ = tell.send(used.try_into().unwrap_or_default());
        });
        (until, told)
    }

    #[test]
    fn connections_whose_other_ends_lie_in_the_queue_end_with_the_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        // One that waits for the rest of a message, and one that waits until it may answer.
        let serve = |stream: &UnixStream, _: &Visit<'_>| {
            let mut first = [0];
            let _ = (&mut &*stream).read_exact(&mut first);
            let _ = match first {
                [b'r'] => (&mut &*stream).read_exact(&mut [0; 4]),
                _ => (&mut &*stream).write_all(&vec![0; 4 << 20]),
            };
        };
        let socket = LentSocket { name: "x".into(), most: 2, serve: Arc::new(serve) };
        let (until, told) = begun(vec![socket], vec![listener.into()]);
        let all = [b"rr", b"ww", b"xx"].map(|words| {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(words).unwrap();
            stream
        });
        let fds = [all[0].as_fd(), all[1].as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut with = SendAncillaryBuffer::new(&mut space);
        assert!(with.push(SendAncillaryMessage::ScmRights(&fds)));
        rustix::net::sendmsg(&all[2], &[IoSlice::new(b"x")], &mut with, SendFlags::empty()).unwrap();
        drop(all);
        drop(until);
        told.recv_timeout(Duration::from_secs(60)).expect("it ends");
    }

    #[test]
    fn one_who_cannot_be_accepted_takes_no_processor() {
        let listener = rustix::net::socket_with(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        );
        let socket = LentSocket { name: "x".into(), most: 2, serve: Arc::new(|_, _| {}) };
        let (until, told) = begun(vec![socket], vec![listener.unwrap()]);
        std::thread::sleep(Duration::from_millis(500));
        drop(until);
        let used = told.recv_timeout(Duration::from_secs(60)).expect("it ends");
        assert!(used < Duration::from_millis(100), "{used:?}");
    }

    #[test]
    fn nobody_is_asked_without_end() {
        let book = Book::default();
        let over = std::io::stdin();
        let visit = Visit { init: rustix::process::getpid(), over: over.as_fd(), book: &book };
        let asked = (0..MOST_ASKED + 5).filter(|_| visit.may_ask()).count();
        assert_eq!(asked as u64, MOST_ASKED);
    }
}
