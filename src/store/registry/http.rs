//! Requests to a registry by the OCI distribution specification 1.1. What comes
//! back is hostile until it is checked: every body has a cap in bytes and time,
//! redirects go through [`crate::web`], and a registry that fails is asked
//! again a bounded number of times.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use reqwest::{Client, Method, Request, RequestBuilder, Response, StatusCode, Url};

use super::auth::{Auth, AuthScope};
use super::connect;
use super::reply::{MANIFESTS, complaint, is_transient, may_pass, media_type, retry_after};
use super::tries::Tries;
use crate::digest::Digest;
use crate::error::{Fault, failure, integrity, not_found, policy, unreachable};
use crate::oci::MAX_METADATA;
use crate::store::RegistryNetwork;
use crate::web::{Goal, Reach, is_closed, leads_to, read_capped, why};

/// Upper bound for the part of an error's body that is looked at, in bytes.
const MAX_COMPLAINT: u64 = 64 << 10;

/// Redirects that are followed for one request.
const MAX_REDIRECTS: usize = 5;

/// One repository of one registry.
#[derive(Clone)]
pub(super) struct Http(Arc<HttpState>);

struct HttpState {
    client: Client,
    reach: Reach,
    base: Url,
    host: String,
    repository: String,
    auth: Auth,
    /// How long it may be silent.
    patience: Duration,
    notice: Arc<dyn Fn(&str) + Send + Sync>,
}

/// A manifest or index as it came.
#[derive(Clone, Debug)]
pub(super) struct RegistryDocument {
    pub(super) bytes: Vec<u8>,
    pub(super) media_type: String,
    pub(super) digest: Digest,
}

impl Http {
    /// Prepares; nothing is asked yet.
    ///
    /// # Errors
    /// When the user's settings cannot be used.
    pub(super) fn new(network: &RegistryNetwork, host: &str, repository: &str) -> Result<Self> {
        let settings = network.host(host);
        let base = connect::base(network, host)?;
        let (client, reach) = connect::client(network, host, &base)?;
        let auth = Auth {
            host: host.to_owned(),
            repository: repository.to_owned(),
            files: network.auth.clone(),
            realm: settings.realm,
            grants: Default::default(),
            login: Default::default(),
            sources: Default::default(),
        };
        let notice = network.notice.clone();
        Ok(Http(Arc::new(HttpState {
            client,
            reach,
            base,
            host: host.to_owned(),
            repository: repository.to_owned(),
            auth,
            patience: network.timeout,
            notice,
        })))
    }

    pub(super) fn host(&self) -> &str {
        &self.0.host
    }

    pub(super) fn repository(&self) -> &str {
        &self.0.repository
    }

    pub(super) fn auth(&self) -> &Auth {
        &self.0.auth
    }

    pub(super) fn base(&self) -> &Url {
        &self.0.base
    }

    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }

    pub(super) fn reach(&self) -> &Reach {
        &self.0.reach
    }

    pub(super) fn patience(&self) -> Duration {
        self.0.patience
    }

    pub(super) fn url(&self, path: &str) -> Result<Url> {
        let text = format!("v2/{}/{path}", self.0.repository);
        self.0.base.join(&text).with_context(|| format!("{text} is no address"))
    }

    /// Sends a request until it is answered, with what it takes to be let in.
    /// The answer may still be a refusal.
    pub(super) async fn send(&self, scope: AuthScope, request: impl Fn(&Client) -> RequestBuilder) -> Result<Response> {
        self.send_within(self.0.patience, scope, request).await
    }

    /// The same, with as much time for the answer.
    pub(super) async fn send_within(
        &self,
        patience: Duration,
        scope: AuthScope,
        request: impl Fn(&Client) -> RequestBuilder,
    ) -> Result<Response> {
        let inner = &*self.0;
        let mut tries = Tries::default();
        let mut challenged = false;
        loop {
            let mut next = request(&inner.client);
            if let Some(grant) = inner.auth.grant(scope) {
                next = next.header(AUTHORIZATION, grant.header());
            }
            let next = next.build().context("a request cannot be written")?;
            let wait = match self.follow(next, patience).await {
                // What somebody else asks for is not answered.
                Ok(response)
                    if response.status() == StatusCode::UNAUTHORIZED
                        && !challenged
                        && response.url().origin() == inner.base.origin() =>
                {
                    challenged = true;
                    inner.auth.answer(self, response.headers(), scope).await?;
                    continue;
                }
                Ok(response) if is_transient(response.status()) => {
                    let after = retry_after(response.headers());
                    match tries.next(after) {
                        Some(wait) => wait,
                        None => return Err(self.refusal(response).await.into()),
                    }
                }
                Ok(response) => return Ok(response),
                Err(Unanswered::Refused(fault)) => return Err(fault.into()),
                Err(Unanswered::Broken(error)) => {
                    let fault = self.broken(&error);
                    let wait = if may_pass(&error) { tries.next(None) } else { None };
                    wait.ok_or(fault)?
                }
            };
            self.pause(wait).await;
        }
    }

    /// Sends a request, and follows what may be followed: readings alone.
    async fn follow(&self, mut request: Request, patience: Duration) -> Result<Response, Unanswered> {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let mut secure = request.url().scheme() == "https";
        for _ in 0..=MAX_REDIRECTS {
            let again = if reads { request.try_clone() } else { None };
            let response = self.once(request, patience).await?;
            let (Some(mut next), Some(to)) = (again, leads_to(&response)) else { return Ok(response) };
            let goal = self.0.reach.read(&to, secure).map_err(|why| self.astray(&why))?;
            if goal == Goal::Away {
                // It does not come back either, once it was away.
                next.headers_mut().remove(AUTHORIZATION);
            }
            secure |= to.scheme() == "https";
            *next.url_mut() = to;
            request = next;
        }
        Err(self.astray("too many redirects").into())
    }

    /// Sends a request; follows nothing.
    pub(super) async fn once(&self, request: Request, patience: Duration) -> Result<Response, Unanswered> {
        let note = RequestNote::of(&request);
        let answer = match tokio::time::timeout(patience, self.0.client.execute(request)).await {
            Ok(answer) => answer.map_err(Unanswered::from),
            Err(_) => Err(self.late().into()),
        };
        note.answered(answer.as_ref().ok().map(Response::status));
        answer
    }

    /// Why it is not gone where the registry leads.
    pub(super) fn astray(&self, why: &str) -> Fault {
        policy(format!("{} redirects to where envctl does not go: {why}", self.0.host))
    }

    pub(super) fn late(&self) -> Fault {
        unreachable(format!("{} does not answer in time", self.0.host))
            .hint("check the network, or give it more time: --net-timeout SECONDS")
    }

    /// Waits before another attempt, and says so when it takes long.
    pub(super) async fn pause(&self, wait: Duration) {
        if wait >= Duration::from_secs(2) {
            (self.0.notice)(&format!("{} did not take the request: asking again in {} s", self.0.host, wait.as_secs()));
        }
        tokio::time::sleep(wait).await;
    }

    /// What the registry said instead of doing what was asked.
    pub(super) async fn refusal(&self, response: Response) -> Fault {
        let status = response.status();
        let body = read_capped(response, MAX_COMPLAINT, "the complaint", self.0.patience).await.unwrap_or_default();
        self.explain(status.as_u16(), &body)
    }

    /// The same from a status and a body.
    pub(super) fn explain(&self, status: u16, body: &[u8]) -> Fault {
        let host = &self.0.host;
        let said = complaint(body).map_or_else(String::new, |said| format!(": {said}"));
        match status {
            401 | 403 => self.0.auth.denied(&format!("it answers {status}{said}")),
            404 => not_found(format!("{host} does not have what {} should hold{said}", self.0.repository)),
            300..=399 => policy(format!("{host} redirects to where envctl does not go ({status})")),
            429 | 500..=599 => {
                unreachable(format!("{host} cannot answer now ({status}{said})")).hint("try again later")
            }
            _ => failure(format!("{host} answers {status}{said}")),
        }
    }

    /// Why no answer came at all.
    pub(super) fn broken(&self, error: &reqwest::Error) -> Fault {
        let host = &self.0.host;
        let why = why(error);
        if is_closed(error) {
            return self.astray(&why);
        }
        if error.is_timeout() {
            return self.late();
        }
        if why.contains("certificate") {
            return unreachable(format!("{host} cannot prove who it is: {why}")).hint(format!(
                "name its certificate authority: [registries.\"{host}\"] ca = \"/path/to/ca.pem\" in config.toml"
            ));
        }
        if why.contains("InvalidContentType") || why.contains("corrupt message") {
            return unreachable(format!("{host} does not speak TLS"))
                .hint(format!("if you want that: [registries.\"{host}\"] plain_http = true in config.toml"));
        }
        unreachable(format!("{host} does not answer: {why}")).hint("check the address and the network")
    }

    /// The manifest or index with this tag or digest; `None` where there is none.
    pub(super) async fn manifest(&self, reference: &str) -> Result<Option<RegistryDocument>> {
        let url = self.url(&format!("manifests/{reference}"))?;
        let accept = MANIFESTS.join(", ");
        let response = self.send(AuthScope::Pull, |client| client.get(url.clone()).header(ACCEPT, &accept)).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.refusal(response).await.into()),
        }
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let declared = header(CONTENT_TYPE.as_str());
        let announced = header("docker-content-digest");
        let what = format!("the manifest {reference}");
        let bytes = read_capped(response, MAX_METADATA, &what, self.0.patience).await?;
        let digest = Digest::of(&bytes);
        let expected = reference.parse::<Digest>().ok();
        if expected.is_some_and(|expected| expected != digest) {
            return Err(
                integrity(format!("{} gave another manifest for {reference}: it has {digest}", self.0.host)).into()
            );
        }
        if announced.is_some_and(|announced| announced.starts_with("sha256:") && announced != digest.to_string()) {
            return Err(integrity(format!(
                "{} announces another digest than that of the manifest it gave for {reference}",
                self.0.host
            ))
            .into());
        }
        let media_type = media_type(&bytes, declared.as_deref(), reference)?;
        Ok(Some(RegistryDocument { bytes, media_type, digest }))
    }

    /// The digest of the manifest with this tag, as far as the registry says it without
    /// the manifest.
    pub(super) async fn look(&self, tag: &str) -> Result<Option<String>> {
        let url = self.url(&format!("manifests/{tag}"))?;
        let accept = MANIFESTS.join(", ");
        let response = self.send(AuthScope::Pull, |client| client.head(url.clone()).header(ACCEPT, &accept)).await?;
        match response.status() {
            StatusCode::OK => {
                let digest = response.headers().get("docker-content-digest").and_then(|said| said.to_str().ok());
                Ok(digest.filter(|digest| digest.parse::<Digest>().is_ok()).map(str::to_owned))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refusal(response).await.into()),
        }
    }

    /// Whether there is a manifest (`manifests`) or blob (`blobs`).
    pub(super) async fn exists(&self, kind: &str, digest: &Digest) -> Result<bool> {
        let url = self.url(&format!("{kind}/{digest}"))?;
        let accept = MANIFESTS.join(", ");
        let response = self.send(AuthScope::Pull, |client| client.head(url.clone()).header(ACCEPT, &accept)).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refusal(response).await.into()),
        }
    }

    /// A blob from `offset` on; the second value is where the body begins.
    pub(super) async fn blob(&self, digest: &Digest, offset: u64) -> Result<(Response, u64)> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let response = self
            .send(AuthScope::Pull, |client| {
                let request = client.get(url.clone());
                if offset == 0 { request } else { request.header(RANGE, format!("bytes={offset}-")) }
            })
            .await?;
        match response.status() {
            StatusCode::OK => Ok((response, 0)),
            StatusCode::PARTIAL_CONTENT if offset > 0 => {
                let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
                let start =
                    range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
                if start != Some(offset) {
                    return Err(integrity(format!("{} gave another range than the one asked for", self.0.host)).into());
                }
                Ok((response, offset))
            }
            StatusCode::NOT_FOUND => {
                Err(not_found(format!("{digest} is not in {}/{}", self.0.host, self.0.repository))
                    .hint("the store is incomplete: publish the task again, or copy the missing blob into it")
                    .into())
            }
            _ => Err(self.refusal(response).await.into()),
        }
    }

    /// Makes sure that uploads will be let in.
    pub(super) async fn open_for_push(&self) -> Result<()> {
        if self.0.auth.grant(AuthScope::Push).is_some() {
            return Ok(());
        }
        let url = self.0.base.join("v2/").context("v2/ is no address")?;
        let response = self.send(AuthScope::Push, |client| client.get(url.clone())).await?;
        if response.status() == StatusCode::OK { Ok(()) } else { Err(self.refusal(response).await.into()) }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The connection did not come about, or broke.
    Broken(reqwest::Error),
    /// It is not asked, or not waited for any longer.
    Refused(Fault),
}

/// A request, for whoever asks what envctl does. A query may let somebody in, and headers do.
pub(super) struct RequestNote {
    words: Option<String>,
    begun: Instant,
}

impl RequestNote {
    pub(super) fn of(request: &Request) -> Self {
        let url = request.url();
        let words = || format!("{} {}{}", request.method(), url.origin().ascii_serialization(), url.path());
        RequestNote { words: tracing::enabled!(tracing::Level::DEBUG).then(words), begun: Instant::now() }
    }

    /// Tells how it ended; without an answer there is no status.
    pub(super) fn answered(self, status: Option<StatusCode>) {
        if let Some(words) = self.words {
            let status = status.map(|status| status.as_u16());
            tracing::debug!(ms = self.begun.elapsed().as_millis() as u64, status, "{words}");
        }
    }
}

impl From<reqwest::Error> for Unanswered {
    fn from(error: reqwest::Error) -> Self {
        Unanswered::Broken(error)
    }
}

impl From<Fault> for Unanswered {
    fn from(fault: Fault) -> Self {
        Unanswered::Refused(fault)
    }
}
