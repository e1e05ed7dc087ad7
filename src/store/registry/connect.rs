//! Connections: addresses, certificates, proxies and redirects.

use anyhow::{Context, Result};
use reqwest::{Certificate, Client, NoProxy, Proxy, Url, redirect};

use crate::error::usage;
use crate::store::Network;

/// Redirects that are followed for one request.
const MAX_REDIRECTS: usize = 5;

/// A client for one registry.
///
/// # Errors
/// When the user's settings cannot be used.
pub(super) fn client(network: &Network, host: &str) -> Result<Client> {
    let certificates = match &network.host(host).ca {
        Some(path) => certificates(path)?,
        None => Vec::new(),
    };
    let mut builder = Client::builder()
        .user_agent(concat!("envctl/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(network.timeout)
        .read_timeout(network.timeout)
        .referer(false)
        .no_proxy()
        .redirect(redirect::Policy::custom(follow))
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
    builder.build().with_context(|| format!("cannot prepare the connection to {host}"))
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
pub(super) fn certificates(path: &std::path::Path) -> Result<Vec<Certificate>> {
    let pem =
        std::fs::read(path).with_context(|| format!("cannot read the certificate authority {}", path.display()))?;
    let found = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if found.is_empty() {
        return Err(usage(format!("{} holds no certificate in PEM", path.display())).into());
    }
    Ok(found)
}

fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("too many redirects");
    }
    if !may_follow(attempt.previous(), attempt.url()) {
        return attempt.error("the new address is not reached by https");
    }
    attempt.follow()
}

/// Never out of TLS once it was used, and to nothing but the web.
fn may_follow(previous: &[Url], next: &Url) -> bool {
    match next.scheme() {
        "https" => true,
        "http" => previous.iter().all(|url| url.scheme() != "https"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_21_a_redirect_never_leaves_tls() {
        let urls = |texts: &[&str]| -> Vec<Url> { texts.iter().map(|text| Url::parse(text).unwrap()).collect() };
        let may = |previous: &[&str], next: &str| may_follow(&urls(previous), &Url::parse(next).unwrap());
        assert!(may(&["https://a/x"], "https://b/y") && may(&["http://a/x"], "https://b/y"));
        assert!(may(&["http://a/x", "http://b/y"], "http://c/z"));
        for previous in [&["https://a/x"] as &[&str], &["http://a/x", "https://b/y"], &["https://a/x", "http://b/y"]] {
            assert!(!may(previous, "http://c/z"), "{previous:?}");
        }
        for elsewhere in ["ftp://a/x", "file:///etc/passwd", "data:,x"] {
            assert!(!may(&["http://a/x"], elsewhere), "{elsewhere}");
        }
    }
}
