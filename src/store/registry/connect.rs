//! Connections: addresses, certificates, proxies. A connection follows nothing
//! by itself: where it goes is decided in [`super::reach`].

use anyhow::{Context, Result};
use reqwest::{Certificate, Client, NoProxy, Proxy, Url, redirect};

use super::reach::Reach;
use crate::disk;
use crate::error::{failure, usage};
use crate::store::Network;

/// Upper bound for a file of certificates in bytes.
const MAX_CERTIFICATES: u64 = 4 << 20;

/// The gate of one registry, and the client that goes through it.
///
/// # Errors
/// When the user's settings cannot be used.
pub(super) fn client(network: &Network, host: &str, base: &Url) -> Result<(Client, Reach)> {
    let settings = network.host(host);
    let certificates = match &settings.ca {
        Some(path) => certificates(path)?,
        None => Vec::new(),
    };
    let proxies = [&network.proxies.https, &network.proxies.http].into_iter().flatten();
    let proxies =
        proxies.filter_map(|address| Url::parse(address).or_else(|_| Url::parse(&format!("http://{address}"))).ok());
    let realm = settings.realm.as_deref().and_then(|realm| Url::parse(realm).ok());
    let reach = Reach::new(base, realm, proxies);
    let mut builder = Client::builder()
        .user_agent(concat!("envctl/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(network.timeout)
        .referer(false)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .dns_resolver(reach.clone())
        .tls_certs_merge(certificates);
    for (address, proxy) in [
        (&network.proxies.https, Proxy::https as fn(String) -> reqwest::Result<Proxy>),
        (&network.proxies.http, Proxy::http),
    ] {
        if let Some(address) = address {
            // The address may carry a password; it is not repeated.
            let proxy = proxy(address.clone()).map_err(|_| usage("the address of the proxy is malformed"))?;
            let none = network.proxies.none.as_deref().and_then(NoProxy::from_string);
            builder = builder.proxy(proxy.no_proxy(none));
        }
    }
    let client = builder.build().with_context(|| format!("cannot prepare the connection to {host}"))?;
    Ok((client, reach))
}

/// The address of a registry. Without TLS only where the user says so, or on
/// loopback, where nobody listens on the way.
pub(super) fn base(network: &Network, host: &str) -> Result<Url> {
    let settings = network.host(host);
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let loopback = name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
    let plain = settings.plain_http.unwrap_or(loopback && settings.ca.is_none());
    // Docker's own registry has a name and an address.
    let address = if host == "docker.io" { "index.docker.io" } else { host };
    let scheme = if plain { "http" } else { "https" };
    Url::parse(&format!("{scheme}://{address}/")).map_err(|_| usage(format!("{host} is no registry")).into())
}

/// The certificates of a PEM file.
fn certificates(path: &std::path::Path) -> Result<Vec<Certificate>> {
    let missing = || failure(format!("the certificate authority {} does not exist", path.display()));
    let pem = disk::read_file(path, MAX_CERTIFICATES).context("cannot read the certificate authority")?;
    let pem = pem.ok_or_else(missing)?;
    let found = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if found.is_empty() {
        return Err(usage(format!("{} holds no certificate in PEM", path.display())).into());
    }
    Ok(found)
}
