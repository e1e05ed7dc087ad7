//! Connections to registries: their addresses, and the user's settings for them.
//! Where a connection goes is decided in [`crate::web`].

use anyhow::Result;
use reqwest::{Client, Url};

use crate::error::usage;
use crate::store::RegistryNetwork;
use crate::web::{Reach, Road};

/// The gate of one registry, and the client that goes through it.
///
/// # Errors
/// When the user's settings cannot be used.
pub(super) fn client(network: &RegistryNetwork, host: &str, base: &Url) -> Result<(Client, Reach)> {
    let settings = network.host(host);
    let realm = settings.realm.as_deref().and_then(|realm| Url::parse(realm).ok());
    Road {
        base,
        named: realm.into_iter().collect(),
        proxies: &network.proxies,
        timeout: network.timeout,
        ca: settings.ca.as_deref(),
    }
    .client()
}

/// The address of a registry. Without TLS only where the user says so, or on
/// loopback, where nobody listens on the way.
pub(super) fn base(network: &RegistryNetwork, host: &str) -> Result<Url> {
    let settings = network.host(host);
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let loopback = name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
    let plain = settings.plain_http.unwrap_or(loopback && settings.ca.is_none());
    // Docker's own registry has a name and an address.
    let address = if host == "docker.io" { "index.docker.io" } else { host };
    let scheme = if plain { "http" } else { "https" };
    Url::parse(&format!("{scheme}://{address}/")).map_err(|_| usage(format!("{host} is no registry")).into())
}
