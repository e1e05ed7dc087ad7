//! What every connection by HTTP has in common, whether to a registry or to a
//! store of large files: it follows nothing by itself, goes through one gate
//! (`reach`), and what it reads has an end (`body`).

mod body;
mod reach;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::header::LOCATION;
use reqwest::{Certificate, Client, NoProxy, Proxy, Response, Url, redirect};

use crate::disk;
use crate::error::{failure, usage};

pub(crate) use body::{read_capped, slowest, too_slow};
pub(crate) use reach::{Closed, Goal, Reach, name};

/// Upper bound for a file of certificates in bytes.
const MAX_CERTIFICATES: u64 = 4 << 20;

/// Proxies, as addresses.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For https.
    pub https: Option<String>,
    /// For http.
    pub http: Option<String>,
    /// Hosts that are reached directly.
    pub none: Option<String>,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Their addresses may carry a password.
        f.debug_struct("Proxies").field("https", &self.https.is_some()).field("http", &self.http.is_some()).finish()
    }
}

/// How a server is reached.
#[derive(Debug)]
pub(crate) struct Road<'a> {
    /// The server, as the developer named or approved it.
    pub(crate) base: &'a Url,
    /// Other servers that the developer named.
    pub(crate) named: Vec<Url>,
    pub(crate) proxies: &'a Proxies,
    /// How long a connection may take to come about.
    pub(crate) timeout: Duration,
    /// Certificates in PEM that are trusted besides the system's.
    pub(crate) ca: Option<&'a Path>,
}

impl Road<'_> {
    /// The gate of the server, and the client that goes through it.
    ///
    /// # Errors
    /// When the certificates or the proxies cannot be used.
    pub(crate) fn client(&self) -> Result<(Client, Reach)> {
        // Once per process; who comes second finds it done.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificates = self.ca.map(certificates).transpose()?.unwrap_or_default();
        let proxies = [&self.proxies.https, &self.proxies.http].into_iter().flatten();
        let proxies = proxies
            .filter_map(|address| Url::parse(address).or_else(|_| Url::parse(&format!("http://{address}"))).ok());
        let reach = Reach::new(self.base, self.named.clone(), proxies);
        let mut builder = Client::builder()
            .user_agent(concat!("envctl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.timeout)
            .referer(false)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .dns_resolver(reach.clone())
            .tls_certs_merge(certificates);
        for (address, proxy) in [
            (&self.proxies.https, Proxy::https as fn(String) -> reqwest::Result<Proxy>),
            (&self.proxies.http, Proxy::http),
        ] {
            if let Some(address) = address {
                // The address may carry a password; it is not repeated.
                let proxy = proxy(address.clone()).map_err(|_| usage("the address of the proxy is malformed"))?;
                let none = self.proxies.none.as_deref().and_then(NoProxy::from_string);
                builder = builder.proxy(proxy.no_proxy(none));
            }
        }
        let host = self.base.host_str().unwrap_or_default();
        let client = builder.build().with_context(|| format!("cannot prepare the connection to {host}"))?;
        Ok((client, reach))
    }
}

/// A client of a program on this machine, whatever host its addresses name.
///
/// # Errors
/// When the connection cannot be prepared.
pub(crate) fn on_socket(socket: &Path) -> Result<Client> {
    // Once per process; who comes second finds it done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().unix_socket(socket).no_proxy().redirect(redirect::Policy::none());
    builder.build().with_context(|| format!("cannot prepare the connection to {}", socket.display()))
}

/// Where a response leads, if it leads on.
pub(crate) fn leads_to(response: &Response) -> Option<Url> {
    let leads = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let to = response.headers().get(LOCATION).filter(|_| leads)?.to_str().ok()?;
    response.url().join(to).ok()
}

/// Whether the gate is why there is no connection.
pub(crate) fn is_closed(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| cause.is::<Closed>())
}

/// The last cause of an error, which names no address.
pub(crate) fn why(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| "no reason is known".into(), ToString::to_string)
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

/// The certificates of a PEM file.
fn certificates(path: &Path) -> Result<Vec<Certificate>> {
    let missing = || failure(format!("the certificate authority {} does not exist", path.display()));
    let pem = disk::read_file(path, MAX_CERTIFICATES).context("cannot read the certificate authority")?;
    let pem = pem.ok_or_else(missing)?;
    let found = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if found.is_empty() {
        return Err(usage(format!("{} holds no certificate in PEM", path.display())).into());
    }
    Ok(found)
}
