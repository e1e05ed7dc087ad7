//! Writing to a registry, through `oci-client`: its upload sessions are what
//! registries were tested with. It is given the credentials that [`super::auth`]
//! found, so that it never follows a challenge by itself.

use std::io::Read;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::token_cache::{RegistryToken, RegistryTokenType};
use oci_client::{Client, Reference, RegistryOperation};
use tokio::runtime::Runtime;

use super::auth::{Grant, Scope};
use super::connect;
use super::http::Http;
use super::tries::Tries;
use crate::digest::{Digest, Verified};
use crate::error::{Fault, failure, unreachable};
use crate::oci::{Descriptor, unwrap_io};
use crate::store::{Content, Network};

/// Bytes of one piece of an upload.
const PIECE: usize = 256 << 10;

/// How long a token of the registry is used; it is fetched anew after that.
const TOKEN_SECONDS: usize = 3600;

pub(super) struct Uploads {
    client: Client,
}

impl Uploads {
    pub(super) fn new(network: &Network, host: &str) -> Result<Self> {
        let settings = network.host(host);
        let plain = connect::base(network, host)?.scheme() == "http";
        let extra_root_certificates = match &settings.ca {
            Some(path) => {
                connect::certificates(path)?;
                vec![Certificate { encoding: CertificateEncoding::Pem, data: std::fs::read(path)? }]
            }
            None => Vec::new(),
        };
        let config = ClientConfig {
            protocol: if plain { ClientProtocol::HttpsExcept(vec![host.to_owned()]) } else { ClientProtocol::Https },
            use_monolithic_push: true,
            extra_root_certificates,
            default_token_expiration_secs: TOKEN_SECONDS,
            // A registry may take its time to hash what it was given.
            read_timeout: Some(network.timeout.max(Duration::from_secs(300))),
            connect_timeout: Some(network.timeout),
            user_agent: concat!("envctl/", env!("CARGO_PKG_VERSION")),
            https_proxy: network.proxies.https.clone(),
            http_proxy: network.proxies.http.clone(),
            no_proxy: network.proxies.none.clone(),
            ..ClientConfig::default()
        };
        // Not `new`, which falls back to its defaults without a word.
        let client = Client::try_from(config).with_context(|| format!("cannot prepare the connection to {host}"))?;
        Ok(Uploads { client })
    }

    /// Hands the credentials over.
    async fn prepare(&self, http: &Http) -> Result<Reference> {
        http.open_for_push().await?;
        let reference = Reference::with_tag(http.host().to_owned(), http.repository().to_owned(), "x".to_owned());
        self.client.store_auth_if_needed(reference.resolve_registry(), &RegistryAuth::Anonymous).await;
        if let Some(grant) = http.auth().grant(Scope::Push) {
            for operation in [RegistryOperation::Push, RegistryOperation::Pull] {
                let token = match grant.clone() {
                    Grant::Basic(user, password) => RegistryTokenType::Basic(user, password),
                    Grant::Bearer(token) => RegistryTokenType::Bearer(RegistryToken::Token { token }),
                };
                self.client.tokens.insert(&reference, operation, token).await;
            }
        }
        Ok(reference)
    }

    /// Uploads a blob; checked against its descriptor on the way.
    ///
    /// # Errors
    /// When the content differs, or the registry does not take it.
    pub(super) fn blob(&self, runtime: &Runtime, http: &Http, blob: &Descriptor, content: Content<'_>) -> Result<()> {
        let reference = runtime.block_on(self.prepare(http))?;
        let mut tries = Tries::default();
        loop {
            let error = match self.attempt(runtime, &reference, blob, content)? {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let wait = if may_pass(&error) { tries.next(None) } else { None };
            let Some(wait) = wait else {
                return Err(explain(http, &error).into());
            };
            runtime.block_on(http.pause(wait));
        }
    }

    /// One upload session; the outer error is the content's.
    fn attempt(
        &self,
        runtime: &Runtime,
        reference: &Reference,
        blob: &Descriptor,
        content: Content<'_>,
    ) -> Result<Result<(), OciDistributionError>> {
        let mut content = Verified::new(content()?, blob.size, blob.digest);
        let (sender, receiver) = tokio::sync::mpsc::channel::<oci_client::errors::Result<Bytes>>(4);
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
            let piece = receiver.recv().await?;
            Some((piece, receiver))
        });
        let (client, reference) = (self.client.clone(), reference.clone());
        let (digest, size) = (blob.digest.to_string(), blob.size);
        let (done, outcome) = mpsc::channel();
        runtime.spawn(async move {
            let _ = done.send(client.push_blob_stream(&reference, stream, &digest, Some(size)).await);
        });
        let mut wrong = None;
        let mut buffer = vec![0; PIECE];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    // The other end is gone when the registry refuses.
                    if sender.blocking_send(Ok(Bytes::copy_from_slice(&buffer[..count]))).is_err() {
                        break;
                    }
                }
                Err(error) => {
                    let cut = std::io::Error::other("the content is not what it should be");
                    let _ = sender.blocking_send(Err(OciDistributionError::IoError(cut)));
                    wrong = Some(unwrap_io(error));
                    break;
                }
            }
        }
        drop(sender);
        let outcome = outcome.recv().context("the upload was cut short")?;
        match wrong {
            Some(error) => Err(error),
            None => Ok(outcome.map(drop)),
        }
    }

    /// Stores a manifest under a tag or its digest.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub(super) fn manifest(
        &self,
        runtime: &Runtime,
        http: &Http,
        place: Place<'_>,
        bytes: &[u8],
        media_type: &str,
    ) -> Result<()> {
        let reference = runtime.block_on(self.prepare(http))?;
        let reference = match place {
            Place::Tag(tag) => {
                Reference::with_tag(reference.registry().to_owned(), reference.repository().to_owned(), tag.to_owned())
            }
            Place::Digest(digest) => reference.clone_with_digest(digest.to_string()),
        };
        let kind = reqwest::header::HeaderValue::from_str(media_type).context("a media type is no header")?;
        let mut tries = Tries::default();
        loop {
            let attempt = self.client.push_manifest_raw(&reference, bytes.to_vec(), kind.clone());
            match runtime.block_on(attempt) {
                // Some registries leave the place out of their answer.
                Ok(_) | Err(OciDistributionError::RegistryNoLocationError) => return Ok(()),
                Err(error) => {
                    let wait = if may_pass(&error) { tries.next(None) } else { None };
                    let Some(wait) = wait else { return Err(explain(http, &error).into()) };
                    runtime.block_on(http.pause(wait));
                }
            }
        }
    }
}

/// Where a manifest goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    Tag(&'a str),
    Digest(&'a Digest),
}

/// Whether another attempt may succeed.
fn may_pass(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::ServerError { code, message, .. } => {
            matches!(code, 408 | 429 | 500 | 502..=504) || is_behind(message)
        }
        OciDistributionError::RequestError(error) => error.is_connect() || error.is_timeout() || error.is_request(),
        _ => false,
    }
}

/// Whether a registry denies what is known here: the content has been hashed on
/// its way, and what a manifest names was put before it. Registries on plain
/// folders say so while another client writes the same content.
fn is_behind(message: &str) -> bool {
    ["\"DIGEST_INVALID\"", "\"MANIFEST_BLOB_UNKNOWN\""].iter().any(|code| message.contains(code))
}

fn explain(http: &Http, error: &OciDistributionError) -> Fault {
    match error {
        OciDistributionError::RequestError(error) => http.broken(error),
        OciDistributionError::ServerError { code, message, .. } => http.explain(*code, message.as_bytes()),
        OciDistributionError::UnauthorizedError { .. } => http.auth().denied("it does not let this user write"),
        OciDistributionError::RegistryError { envelope, .. } => {
            let said: Vec<String> =
                envelope.errors.iter().map(|error| error.message.chars().take(200).collect()).collect();
            failure(format!("{} refuses: {}", http.host(), said.join("; ")))
        }
        other => unreachable(format!("{} did not take the upload: {other}", http.host())),
    }
}
