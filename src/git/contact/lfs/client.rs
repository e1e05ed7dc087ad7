//! Requests for large files. Each address goes through the gate; the developer's
//! login goes to the sites that were approved alone, and what a server gave for
//! one place to no other.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode, Url};
use tokio::runtime::Runtime;

use super::super::login::Login;
use super::super::way::Contact;
use super::server::Server;
use crate::error::{Fault, policy, unreachable};
use crate::identity::Site;
use crate::web::{Reach, Road, is_closed, leads_to, read_capped, slowest, too_slow, why};

/// Redirects that are followed for one request.
const MAX_REDIRECTS: usize = 5;

/// Bytes in a second below which a content drips, once it was waited for.
const DRIP: u64 = 4 << 10;

/// One conversation with a server and with whom it leads to.
pub(super) struct Client<'a> {
    contact: &'a Contact<'a>,
    runtime: Runtime,
    web: reqwest::Client,
    reach: Reach,
    patience: Duration,
    /// The developer's headers of git's configuration, and below which address.
    extra: (Url, HeaderMap),
    /// Logins by site, once they were asked for.
    logins: Mutex<BTreeMap<Site, Option<Login>>>,
}

impl<'a> Client<'a> {
    /// Prepares; nothing is asked yet.
    ///
    /// # Errors
    /// When the developer's settings cannot be used.
    pub(super) fn new(contact: &'a Contact<'a>, server: &Server) -> Result<Self> {
        let patience = Duration::from_millis(contact.order.patience_ms);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("cannot start the network threads")?;
        let settings = contact.web_settings(&server.url)?;
        let named = contact.order.beside.iter().filter_map(|site| Url::parse(site).ok()).collect();
        let road = Road {
            base: &server.base,
            named,
            proxies: &settings.proxies,
            timeout: patience,
            ca: settings.ca.as_deref(),
        };
        let (web, reach) = road.client()?;
        let mut extra = HeaderMap::new();
        for (name, value) in &settings.headers {
            if let (Ok(name), Ok(mut value)) =
                (reqwest::header::HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
            {
                value.set_sensitive(true);
                extra.append(name, value);
            }
        }
        Ok(Client {
            contact,
            runtime,
            web,
            reach,
            patience,
            extra: (server.url.clone(), extra),
            logins: Mutex::default(),
        })
    }

    /// Sends a request, and follows what may be followed. `given` are headers that
    /// a server named for this place.
    ///
    /// # Errors
    /// When it may not be sent, or is not answered.
    pub(super) fn send(&self, mut request: Request, given: &HeaderMap, mut secure: bool) -> Result<Response> {
        let first = request.url().origin();
        for _ in 0..=MAX_REDIRECTS {
            secure |= request.url().scheme() == "https";
            // A question is not repeated to another port without TLS, as a download may be.
            let judged = match *request.method() == Method::GET {
                true => self.reach.read(request.url(), secure),
                false => self.reach.write(request.url()),
            };
            judged.map_err(|why| self.astray(&why))?;
            let given = (request.url().origin() == first).then_some(given);
            let response = self.answered(&request, given)?;
            match leads_to(&response) {
                Some(to) => *request.url_mut() = to,
                None if response.status() == StatusCode::OK => return Ok(response),
                None => return Err(self.refusal(&response).into()),
            }
        }
        Err(self.astray("too many redirects").into())
    }

    /// An answer, with a login where one is wanted and may be given.
    fn answered(&self, request: &Request, given: Option<&HeaderMap>) -> Result<Response> {
        let site = site(request.url());
        let ours = site.as_ref().filter(|site| self.contact.order.covers(site));
        let mut headers = given.cloned().unwrap_or_default();
        let (below, extra) = &self.extra;
        if ours.is_some() && request.url().as_str().starts_with(&format!("{}/", below.as_str().trim_end_matches('/'))) {
            headers.extend(extra.clone());
        }
        let known = ours.and_then(|site| self.logins.lock().ok()?.get(site).cloned().flatten());
        let response = self.once(request, &headers, known.as_ref())?;
        let (Some(site), StatusCode::UNAUTHORIZED) = (ours, response.status()) else { return Ok(response) };
        if known.is_some() || headers.contains_key(AUTHORIZATION) {
            return Ok(response);
        }
        let Some(login) = self.login(site)? else { return Ok(response) };
        let response = self.once(request, &headers, Some(&login))?;
        let good = response.status() != StatusCode::UNAUTHORIZED;
        self.contact.tell_helper(site, &login, good);
        if !good && let Ok(mut logins) = self.logins.lock() {
            logins.insert(site.clone(), None);
        }
        Ok(response)
    }

    /// The login for a site; asked for once, whoever else wants it.
    fn login(&self, site: &Site) -> Result<Option<Login>> {
        let Ok(mut logins) = self.logins.lock() else { return Ok(None) };
        if let Some(known) = logins.get(site) {
            return Ok(known.clone());
        }
        let login = self.contact.login(site)?;
        logins.insert(site.clone(), login.clone());
        Ok(login)
    }

    fn once(&self, request: &Request, headers: &HeaderMap, login: Option<&Login>) -> Result<Response> {
        let mut request = request.try_clone().context("a request cannot be sent again")?;
        request.headers_mut().extend(headers.clone());
        if let (Some(login), false) = (login, headers.contains_key(AUTHORIZATION)) {
            let mut value = HeaderValue::from_str(&login.header()).context("a login is no header")?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let sent =
            self.runtime.block_on(async { tokio::time::timeout(self.patience, self.web.execute(request)).await });
        match sent {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if is_closed(&error) => Err(self.astray(&why(&error)).into()),
            Ok(Err(error)) => Err(unreachable(format!("{host} does not answer: {}", why(&error))).into()),
            Err(_) => Err(too_slow(&format!("the answer of {host}")).into()),
        }
    }

    fn astray(&self, why: &str) -> Fault {
        policy(format!("large files are where envctl does not go: {why}"))
    }

    fn refusal(&self, response: &Response) -> Fault {
        let host = response.url().host_str().unwrap_or_default();
        unreachable(format!("{host} answers {} for a large file", response.status().as_u16()))
    }

    /// All of a small answer.
    ///
    /// # Errors
    /// When it is longer, or drips.
    pub(super) fn small(&self, response: Response, most: u64) -> Result<Vec<u8>> {
        self.runtime.block_on(read_capped(response, most, "the answer about large files", self.patience))
    }

    /// A content as it comes.
    pub(super) fn body(&'a self, response: Response) -> LfsBody<'a> {
        LfsBody { client: self, response, piece: Bytes::new(), done: 0, waited: Duration::ZERO }
    }
}

/// Reads a content; what drips is an error.
pub(super) struct LfsBody<'a> {
    client: &'a Client<'a>,
    response: Response,
    piece: Bytes,
    done: u64,
    /// The server's time; what the disk takes is not counted.
    waited: Duration,
}

impl Read for LfsBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let (began, patience) = (Instant::now(), self.client.patience);
            let next =
                self.client.runtime.block_on(async { tokio::time::timeout(patience, self.response.chunk()).await });
            self.waited += began.elapsed();
            if next.is_err() || self.waited > patience * 2 + slowest(self.done, DRIP) {
                return Err(io::Error::other(too_slow("a large file")));
            }
            match next {
                Ok(Ok(Some(piece))) => self.piece = piece,
                Ok(Ok(None)) => return Ok(0),
                Ok(Err(error)) => {
                    return Err(io::Error::other(unreachable(format!("it was cut short: {}", why(&error)))));
                }
                Err(_) => {}
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        self.done += count as u64;
        Ok(count)
    }
}

/// The site of an address, where it is one.
fn site(url: &Url) -> Option<Site> {
    Site::parse(&url.origin().ascii_serialization())
}
