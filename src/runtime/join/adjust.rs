//! Changing a runtime that is alive: its deadline, its ports. Pid 1 is told
//! first, then the lease says so.

use std::time::Duration;

use anyhow::Result;

use super::connection;
use crate::error::usage;
use crate::runtime::deadline::{monotonic_after, monotonic_now};
use crate::runtime::lease::{Lease, Runtimes};
use crate::runtime::ports;
use crate::runtime::ports::PortRequest;

/// Moves a runtime's deadline by `more`, from now on when it has passed.
///
/// # Errors
/// When the runtime has just ended.
pub fn extend(runtimes: &Runtimes, mut lease: Lease, more: Duration) -> Result<Lease> {
    let from = lease.deadline.unwrap_or_default().max(monotonic_now());
    let at = monotonic_after(more).saturating_add(from - monotonic_now());
    connection::move_deadline(runtimes, &lease, at)?;
    lease.deadline = Some(at);
    runtimes.write(&lease)?;
    Ok(lease)
}

/// Publishes ports of a runtime. One that is published already stays as it is.
///
/// # Errors
/// When a port of the host that must be had is taken, or the runtime has just
/// ended.
pub fn add_ports(runtimes: &Runtimes, mut lease: Lease, requests: &[PortRequest]) -> Result<Lease> {
    for request in requests {
        match lease.ports.iter().find(|port| port.inside == request.inside) {
            Some(port) if request.host.is_none_or(|host| host == port.host) => continue,
            Some(port) => {
                return Err(usage(format!("port {} is published already, as {}", port.inside, port.host)).into());
            }
            None => {}
        }
        let (mut port, published) = ports::publish(std::slice::from_ref(request), lease.network)?;
        if let (Some(port), Some(published)) = (port.first(), published.first()) {
            connection::forward(runtimes, &lease, port, &published.listeners)?;
        }
        lease.ports.append(&mut port);
        runtimes.write(&lease)?;
    }
    Ok(lease)
}

/// Publishes ports of a runtime no longer. Connections that are there go on.
///
/// # Errors
/// When one is not published, or the runtime has just ended.
pub fn remove_ports(runtimes: &Runtimes, mut lease: Lease, inside: &[u16]) -> Result<Lease> {
    for port in inside {
        if !lease.ports.iter().any(|known| known.inside == *port) {
            return Err(usage(format!("port {port} of {} is not published", lease.task))
                .hint(format!("envctl ports ls {} lists those that are", lease.task))
                .into());
        }
        connection::withdraw(runtimes, &lease, *port)?;
        lease.ports.retain(|known| known.inside != *port);
        runtimes.write(&lease)?;
    }
    Ok(lease)
}
