//! The host's side of published ports: which port of the host stands for which
//! one inside, and the sockets that listen on it. Loopback only.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use serde::{Deserialize, Serialize};

use super::Network;
use crate::error::failure;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;
/// Free ports that are tried until one is free in both address families.
const ATTEMPTS: u32 = 16;

/// A port that is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRequest {
    /// The port inside.
    pub inside: u16,
    /// The port of the host that it must be; any free one otherwise.
    pub host: Option<u16>,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The port inside.
    pub inside: u16,
    /// The port of the host, on 127.0.0.1 and ::1.
    pub host: u16,
    /// Inode numbers of the sockets that listen on the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<u64>,
}

/// The first port that any account may have, `ip(7)`.
const FIRST: u16 = 1024;

/// Sockets that listen on the host for one port inside.
#[derive(Debug)]
pub(crate) struct PublishedPort {
    pub(crate) port: u16,
    pub(crate) listeners: Vec<OwnedFd>,
}

/// The variable inside that tells the host's port.
pub(super) fn port_variable(inside: u16) -> String {
    format!("ENVCTL_PORT_{inside}")
}

/// Listens on the host for each port. On the host's network there is nothing
/// to forward: a port inside is a port of the host.
///
/// # Errors
/// When a port that must be had is taken.
pub(super) fn publish(requests: &[PortRequest], network: Network) -> Result<(Vec<Port>, Vec<PublishedPort>)> {
    let (mut ports, mut published) = (Vec::new(), Vec::new());
    for request in requests {
        if network == Network::Host {
            if request.host.is_some_and(|host| host != request.inside) {
                return Err(failure(format!("port {} cannot be moved on the host's network", request.inside))
                    .hint("leave the host's port out, or use another network")
                    .into());
            }
            ports.push(Port { inside: request.inside, host: request.inside, sockets: Vec::new() });
            continue;
        }
        let (port, listeners) = listen(*request)?;
        ports.push(port);
        published.push(PublishedPort { port: request.inside, listeners });
    }
    Ok((ports, published))
}

/// Listens on a port of the host for one inside: the one that is asked for,
/// the same number where it is free, or any other.
pub(super) fn listen(request: PortRequest) -> Result<(Port, Vec<OwnedFd>)> {
    let (host, listeners) = match request.host {
        Some(host) => match both(host) {
            Ok(listeners) => (host, listeners),
            Err(Errno::ADDRINUSE) => {
                return Err(failure(format!("port {host} of this machine is in use"))
                    .hint(format!("free it, or publish {} without a fixed port of the host", request.inside))
                    .into());
            }
            Err(error) => return Err(error).with_context(|| format!("cannot listen on port {host} of this machine")),
        },
        // Those below are services of the machine's own: nobody gets one without its number.
        None if request.inside < FIRST => any()?,
        None => match both(request.inside) {
            Ok(listeners) => (request.inside, listeners),
            Err(_) => any()?,
        },
    };
    let sockets = listeners.iter().filter_map(|fd| rustix::fs::fstat(fd).ok()).map(|stat| stat.st_ino).collect();
    Ok((Port { inside: request.inside, host, sockets }, listeners))
}

/// A port that is free in both families.
fn any() -> Result<(u16, Vec<OwnedFd>)> {
    for _ in 0..ATTEMPTS {
        let four = four(0).context("cannot listen on a port of this machine")?;
        let address = rustix::net::getsockname(&four)?;
        let port = SocketAddrV4::try_from(address).context("a socket has no address")?.port();
        match six(port) {
            Ok(six) => return Ok((port, [Some(four), six].into_iter().flatten().collect())),
            Err(Errno::ADDRINUSE) => {}
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::bail!("no port of this machine is free")
}

fn both(port: u16) -> Result<Vec<OwnedFd>, Errno> {
    let four = four(port)?;
    Ok([Some(four), six(port)?].into_iter().flatten().collect())
}

fn four(port: u16) -> Result<OwnedFd, Errno> {
    let socket = socket(AddressFamily::INET)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// `None` on a machine without IPv6.
fn six(port: u16) -> Result<Option<OwnedFd>, Errno> {
    let listening = (|| {
        let socket = socket(AddressFamily::INET6)?;
        sockopt::set_ipv6_v6only(&socket, true)?;
        rustix::net::bind(&socket, &SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0))?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(socket)
    })();
    match listening {
        Ok(socket) => Ok(Some(socket)),
        Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => Ok(None),
        Err(error) => Err(error),
    }
}

fn socket(family: AddressFamily) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A port that was let go a moment ago is free.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_that_want_the_same_port_get_two() {
        let free = any().unwrap().0;
        let wanted = PortRequest { inside: free, host: None };
        let (first, _sockets) = listen(wanted).unwrap();
        assert_eq!(first.host, free);
        let (second, _more) = listen(wanted).unwrap();
        assert_ne!(second.host, free);
        let error = listen(PortRequest { inside: 1, host: Some(free) }).unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
    }
}
