//! Published ports: a process inside that holds listening sockets of the
//! host's network and carries each connection to a port of the runtime's own.
//!
//! Invariants: it lives in the runtime's process namespace, so its sockets are
//! closed when the runtime ends, however that happens; nobody inside can look
//! into it or reach its descriptors; it runs nothing else.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt::Timeout;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};
use rustix::process::Pid;

use super::process;
use super::process::Context;
use crate::runtime::ports::PublishedPort;
use crate::runtime::sys::Side;
use crate::runtime::{sys, wire};

/// Connections at a time; more wait in the kernel's queue.
const MOST: usize = 1000;
const CHUNK: usize = 64 << 10;

/// The forwarder, as pid 1 sees it.
#[derive(Debug)]
pub(crate) struct Forwarder {
    pub(crate) pid: Pid,
    control: OwnedFd,
}

/// How long pid 1 waits until it is ready, and until it takes more sockets.
const WAIT: Duration = Duration::from_secs(1);

impl Forwarder {
    /// Starts it in the name of the runtime's account.
    pub(crate) fn start(context: &Context, published: Vec<PublishedPort>) -> std::io::Result<Self> {
        let (control, theirs) = wire::pair()?;
        match sys::fork()? {
            Side::Parent(pid) => {
                // Others inside may stop it, and pid 1 waits for nobody.
                rustix::net::sockopt::set_socket_timeout(&control, Timeout::Send, Some(WAIT))?;
                rustix::net::sockopt::set_socket_timeout(&control, Timeout::Recv, Some(WAIT))?;
                drop(theirs);
                // Nothing of a task starts while it holds what pid 1 held. One
                // that is stopped or dead is found by pid 1 as ever.
                let _ = rustix::io::read(&control, &mut [0; 1]);
                Ok(Forwarder { pid, control })
            }
            Side::Child => {
                let mut keep = vec![theirs.as_raw_fd()];
                keep.extend(published.iter().flat_map(|one| &one.listeners).map(AsRawFd::as_raw_fd));
                // The original descriptors of pid 1 are gone with this.
                std::mem::forget(control);
                if sys::close_all_but(3, &keep).is_err() || process::become_harmless(context).is_err() {
                    sys::exit_now(1)
                }
                let _ = rustix::io::write(&theirs, &[1]);
                serve(theirs, published)
            }
        }
    }

    pub(crate) fn raw_fd(&self) -> std::os::fd::RawFd {
        self.control.as_raw_fd()
    }

    /// Hands it more sockets; none for a port that is published no longer.
    pub(crate) fn add(&self, published: &PublishedPort) -> std::io::Result<()> {
        let fds: Vec<BorrowedFd<'_>> = published.listeners.iter().map(AsFd::as_fd).collect();
        wire::send(&self.control, &published.port, &fds)
    }
}

fn serve(control: OwnedFd, mut published: Vec<PublishedPort>) -> ! {
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        let accepting = connections.len() < MOST;
        let mut fds = vec![PollFd::new(&control, PollFlags::IN)];
        let listeners: Vec<(usize, usize)> = published
            .iter()
            .enumerate()
            .flat_map(|(index, one)| (0..one.listeners.len()).map(move |listener| (index, listener)))
            .filter(|_| accepting)
            .collect();
        fds.extend(listeners.iter().map(|(index, at)| PollFd::new(&published[*index].listeners[*at], PollFlags::IN)));
        for connection in &connections {
            fds.push(PollFd::new(&connection.outside, connection.wants(0)));
            fds.push(PollFd::new(&connection.inside, connection.wants(1)));
        }
        if let Err(error) = poll(&mut fds, None)
            && error != Errno::INTR
        {
            sys::exit_now(1)
        }
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        let first = 1 + listeners.len();
        for (index, connection) in connections.iter_mut().enumerate() {
            connection.turn([ready[first + 2 * index], ready[first + 2 * index + 1]]);
        }
        connections.retain(|connection| !connection.done());
        for (at, (index, listener)) in listeners.iter().enumerate() {
            if !ready[1 + at].is_empty() {
                connections.extend(accept(&published[*index], *listener));
            }
        }
        if !ready[0].is_empty() {
            match wire::receive::<u16>(&control) {
                // Connections that are there go on.
                Ok(Some((port, listeners))) if listeners.is_empty() => published.retain(|one| one.port != port),
                Ok(Some((port, listeners))) => published.push(PublishedPort { port, listeners }),
                // Pid 1 is gone, and this process with it in a moment.
                _ => sys::exit_now(0),
            }
        }
    }
}

/// `None` where nobody listens inside: the connection is refused by closing it.
fn accept(published: &PublishedPort, listener: usize) -> Option<Connection> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let outside = rustix::net::accept_with(&published.listeners[listener], flags).ok()?;
    let inside = connect(published.port)?;
    Some(Connection { outside, inside, ways: [Direction::default(), Direction::default()] })
}

/// Connects to a port of this network namespace, by either family.
fn connect(port: u16) -> Option<OwnedFd> {
    let socket = |family| rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).ok();
    let nonblocking = |fd: OwnedFd| rustix::io::ioctl_fionbio(&fd, true).is_ok().then_some(fd);
    // On loopback it is settled at once.
    let four = socket(AddressFamily::INET)?;
    if rustix::net::connect(&four, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).is_ok() {
        return nonblocking(four);
    }
    let six = socket(AddressFamily::INET6)?;
    rustix::net::connect(&six, &SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0)).ok()?;
    nonblocking(six)
}

/// One direction of a connection.
#[derive(Default)]
struct Direction {
    pending: Vec<u8>,
    /// Nothing more will be read.
    ended: bool,
    /// The end was passed on.
    closed: bool,
}

struct Connection {
    outside: OwnedFd,
    inside: OwnedFd,
    /// From outside to inside, and back.
    ways: [Direction; 2],
}

impl Connection {
    fn end(&self, side: usize) -> BorrowedFd<'_> {
        if side == 0 { self.outside.as_fd() } else { self.inside.as_fd() }
    }

    /// What side `side` is waited for. Way `n` reads from side `n`.
    fn wants(&self, side: usize) -> PollFlags {
        let mut flags = PollFlags::empty();
        if !self.ways[side].ended && self.ways[side].pending.len() < CHUNK {
            flags |= PollFlags::IN;
        }
        if !self.ways[1 - side].pending.is_empty() {
            flags |= PollFlags::OUT;
        }
        flags
    }

    fn turn(&mut self, ready: [PollFlags; 2]) {
        for (side, ready) in ready.into_iter().enumerate() {
            if ready.contains(PollFlags::ERR) {
                return self.break_off();
            }
            if !ready.is_empty() && !self.ways[side].ended {
                self.fill(side);
            }
        }
        for side in 0..2 {
            self.flush(side);
        }
    }

    fn fill(&mut self, side: usize) {
        let mut buffer = [0; CHUNK];
        match rustix::io::read(self.end(side), &mut buffer) {
            Ok(0) => self.ways[side].ended = true,
            Ok(count) => self.ways[side].pending.extend_from_slice(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.break_off(),
        }
    }

    /// Writes what way `way` holds to the other side.
    fn flush(&mut self, way: usize) {
        while !self.ways[way].pending.is_empty() {
            let sent = rustix::net::send(self.end(1 - way), &self.ways[way].pending, rustix::net::SendFlags::NOSIGNAL);
            match sent {
                Ok(count) => {
                    self.ways[way].pending.drain(..count);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => return self.break_off(),
            }
        }
        if self.ways[way].ended && !self.ways[way].closed {
            let _ = rustix::net::shutdown(self.end(1 - way), Shutdown::Write);
            self.ways[way].closed = true;
        }
    }

    /// A connection that broke is over in both directions.
    fn break_off(&mut self) {
        self.ways = [(); 2].map(|()| Direction { pending: Vec::new(), ended: true, closed: true });
    }

    fn done(&self) -> bool {
        self.ways.iter().all(|way| way.closed)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn pair() -> (TcpStream, OwnedFd) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        (client, server.into())
    }

    /// Turns until both ends have been closed.
    fn relay(mut connection: Connection) {
        while !connection.done() {
            let mut fds = [
                PollFd::new(&connection.outside, connection.wants(0)),
                PollFd::new(&connection.inside, connection.wants(1)),
            ];
            poll(&mut fds, None).unwrap();
            let ready = [fds[0].revents(), fds[1].revents()];
            connection.turn(ready);
        }
    }

    #[test]
    fn each_direction_ends_by_itself() {
        let ((mut client, outside), (mut server, inside)) = (pair(), pair());
        let connection = Connection { outside, inside, ways: [Direction::default(), Direction::default()] };
        let relaying = std::thread::spawn(|| relay(connection));
        let sent = vec![7; 3 << 20];
        let copy = sent.clone();
        let (mut feed, mut back) = (client.try_clone().unwrap(), Vec::new());
        let feeding = std::thread::spawn(move || {
            feed.write_all(&copy).unwrap();
            feed.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        server.read_to_end(&mut got).unwrap();
        assert_eq!(got, sent, "all of it, then the end");
        server.write_all(b"an answer after the end of the question").unwrap();
        drop(server);
        client.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"an answer after the end of the question");
        feeding.join().unwrap();
        relaying.join().unwrap();
    }
}
