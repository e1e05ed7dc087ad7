//! The developer's ssh agent, for one account at one host. Who asks is not trusted.
//!
//! Nothing but three things is answered. A program says to which server it speaks, by
//! the server's own signature over the session (`session-bind@openssh.com`, which ssh
//! does since 8.9): that key has to be one that the developer knows for the host. After
//! that it may list the keys, and have a login to this very session signed for the
//! approved account (`PROTOCOL.agent` of OpenSSH, RFC 4252). A signature is good for
//! the session alone that the host signed, so that it opens no other server, whoever
//! stands between. This is what `ssh-add -h` has an agent do; here it holds with any.

mod host_key;
mod known;
mod packet;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use packet::Parts;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

pub use known::NoAgent;

const FAILURE: u8 = 5;
const SUCCESS: u8 = 6;
const LIST: u8 = 11;
const LISTED: u8 = 12;
const SIGN: u8 = 13;
const SIGNED: u8 = 14;
const EXTENSION: u8 = 27;

/// What ssh says when it knows its server.
const BIND: &[u8] = b"session-bind@openssh.com";

/// `SSH_MSG_USERAUTH_REQUEST`.
const LOGIN: u8 = 50;

/// So long an agent, or a program inside, may take for more of what it has begun.
const PATIENCE: Duration = Duration::from_secs(20);

/// So long an agent may let somebody wait at its door.
const CONNECTING: Duration = Duration::from_secs(3);

/// Waits for more of a connection; `false` when it is over.
type Wait<'a> = &'a dyn Fn(BorrowedFd<'_>) -> bool;

/// An agent, and for whom.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Where it listens.
    pub socket: PathBuf,
    /// Which logins it may sign.
    pub hosts: Vec<AgentHost>,
}

/// One account at one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentHost {
    /// The host and its port, as a file of known hosts writes them.
    pub name: String,
    /// The account there.
    pub account: String,
    /// The host's keys that the developer knows.
    pub keys: Vec<Vec<u8>>,
    /// The developer's own that are offered there, where their configuration says it.
    pub only: Option<Vec<Vec<u8>>>,
}

/// A connection that has said where it leads.
struct Bound<'a> {
    /// Each account of the host that has this key.
    hosts: Vec<&'a AgentHost>,
    key: Vec<u8>,
    session: Vec<u8>,
    agent: UnixStream,
}

impl Agent {
    /// Serves one program until it goes or `wait` says that it is over. `note` is told
    /// of each signature (`true`), and of each thing that was refused. The agent is asked
    /// for no signature, and told of no server, unless it `may_ask`: it may ask the
    /// developer, each time.
    pub fn serve(
        &self,
        stream: &UnixStream,
        wait: &dyn Fn(BorrowedFd<'_>) -> bool,
        may_ask: &dyn Fn() -> bool,
        note: &dyn Fn(bool),
    ) {
        let mut bound = None;
        if bounded(stream).is_err() {
            return;
        }
        while wait(stream.as_fd()) {
            let Ok(message) = packet::receive(stream) else { return };
            let answer = self.answer(&message, &mut bound, (wait, may_ask));
            match answer.as_deref() {
                Some([SIGNED, ..]) => note(true),
                Some(_) => {}
                None => note(false),
            }
            if packet::send(stream, answer.as_deref().unwrap_or(&[FAILURE])).is_err() {
                return;
            }
        }
    }

    /// `None` for what is refused.
    fn answer<'a>(
        &'a self,
        message: &[u8],
        bound: &mut Option<Bound<'a>>,
        (wait, may_ask): (Wait<'_>, &dyn Fn() -> bool),
    ) -> Option<Vec<u8>> {
        let mut parts = Parts(message);
        match (parts.byte()?, bound.as_ref()) {
            (EXTENSION, None) => {
                *bound = Some(self.bind(parts).filter(|_| may_ask())?);
                let bound = bound.as_ref()?;
                // It may have keys that are for some hosts only.
                let _ = bound.ask(message, wait);
                Some(vec![SUCCESS])
            }
            // An old ssh, which says nothing of its server, finds no keys.
            (LIST, None) => Some([&[LISTED][..], &0_u32.to_be_bytes()].concat()),
            (LIST, Some(bound)) => {
                parts.end()?;
                let keys = bound.keys(wait).ok()?;
                let mut listed = [&[LISTED][..], &u32::try_from(keys.len()).ok()?.to_be_bytes()].concat();
                for key in &keys {
                    packet::add(&mut listed, key);
                    // What the developer calls it is theirs.
                    packet::add(&mut listed, b"");
                }
                Some(listed)
            }
            (SIGN, Some(bound)) => {
                let (key, data, flags) = (parts.string()?, parts.string()?, parts.number()?);
                parts.end()?;
                bound.allows(key, data).filter(|()| may_ask())?;
                let mut asked = vec![SIGN];
                packet::add(&mut asked, key);
                packet::add(&mut asked, data);
                asked.extend(flags.to_be_bytes());
                // Whatever else it says stays outside.
                bound.ask(&asked, wait).ok().filter(|answer| answer.first() == Some(&SIGNED))
            }
            _ => None,
        }
    }

    /// Takes a connection for that of the host that signed its session.
    fn bind(&self, mut parts: Parts<'_>) -> Option<Bound<'_>> {
        let name = parts.string()?;
        let (key, session, signed) = (parts.string()?, parts.string()?, parts.string()?);
        let forwarded = parts.byte()?;
        parts.end()?;
        // A forwarded one would serve whoever is at the other side.
        (name == BIND && forwarded == 0 && !session.is_empty()).then_some(())?;
        let hosts: Vec<_> = self.hosts.iter().filter(|host| host.keys.iter().any(|known| known == key)).collect();
        (!hosts.is_empty() && host_key::has_signed(key, signed, session)).then_some(())?;
        let agent = connected(&self.socket, CONNECTING).ok()?;
        Some(Bound { hosts, key: key.to_owned(), session: session.to_owned(), agent })
    }
}

impl AgentHost {
    /// Whether a key is offered there.
    fn offers(&self, key: &[u8]) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|one| one == key))
    }
}

/// Neither side of a connection waits for the other without end.
fn bounded(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

/// A connection to an agent, which may have no time for anybody.
fn connected(socket: &Path, patience: Duration) -> io::Result<UnixStream> {
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&fd, Timeout::Send, Some(patience))?;
    rustix::net::connect(&fd, &SocketAddrUnix::new(socket)?)?;
    let stream = UnixStream::from(fd);
    bounded(&stream)?;
    Ok(stream)
}

impl Bound<'_> {
    /// Asks the agent.
    fn ask(&self, message: &[u8], wait: &dyn Fn(BorrowedFd<'_>) -> bool) -> io::Result<Vec<u8>> {
        packet::send(&self.agent, message)?;
        // It may ask the developer first.
        if !wait(self.agent.as_fd()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        packet::receive(&self.agent)
    }

    /// The keys that are offered at this host.
    fn keys(&self, wait: &dyn Fn(BorrowedFd<'_>) -> bool) -> io::Result<Vec<Vec<u8>>> {
        let answer = self.ask(&[LIST], wait)?;
        let mut parts = Parts(&answer);
        let mut keys = Vec::new();
        if parts.byte() == Some(LISTED) {
            parts.number();
            while let (Some(key), Some(_comment)) = (parts.string(), parts.string()) {
                keys.push(key.to_owned());
            }
        }
        keys.retain(|key| self.hosts.iter().any(|host| host.offers(key)));
        Ok(keys)
    }

    /// Whether this is a login to this session, for an account to which this key is
    /// offered.
    fn allows(&self, key: &[u8], data: &[u8]) -> Option<()> {
        let mut parts = Parts(data);
        let is_session = parts.string()? == self.session && parts.byte()? == LOGIN;
        let account = parts.string()?;
        let is_account = self.hosts.iter().any(|host| host.account.as_bytes() == account && host.offers(key));
        let is_ours = is_session && is_account && parts.string()? == b"ssh-connection";
        let method = parts.string()?;
        let is_login = parts.byte()? == 1;
        let (_algorithm, named) = (parts.string()?, parts.string()?);
        let is_here = match method {
            b"publickey" => true,
            b"publickey-hostbound-v00@openssh.com" => parts.string()? == self.key,
            _ => false,
        };
        parts.end()?;
        (is_ours && is_login && named == key && is_here).then_some(())
    }
}

#[cfg(test)]
mod tests;
