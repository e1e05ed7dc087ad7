//! Writing to a registry: a session for each blob, begun with a POST and ended
//! with one PUT, and a PUT for each manifest. A session goes on where the
//! registry says, as far as [`crate::web`] lets it.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Response, StatusCode, Url};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::auth::AuthScope;
use super::http::{Http, RequestNote, Unanswered};
use super::reply::{is_transient, may_pass};
use super::tries::Tries;
use crate::digest::{Digest, Verified};
use crate::error::{integrity, policy};
use crate::oci::{Descriptor, media, unwrap_io};
use crate::store::{Access, Content};
use crate::web::{Goal, read_capped};

/// Bytes of one piece of an upload.
const PIECE: usize = 256 << 10;

/// Pieces that wait for the connection.
const AHEAD: usize = 4;

/// A registry may take its time to hash what it was given.
const HASHING: Duration = Duration::from_secs(300);

/// Upper bound for what a registry says about an upload in bytes.
const MAX_ANSWER: u64 = 64 << 10;

type Piece = std::io::Result<Bytes>;

pub(super) struct Uploads {
    /// What envctl writes for itself (claims, lists) goes to the registry and
    /// nowhere else.
    home_only: bool,
    let_in: OnceLock<()>,
}

/// What came of one attempt.
enum Outcome {
    Done,
    /// The registry said so, with these words.
    Answered(u16, Vec<u8>),
    Unanswered(Unanswered),
}

/// Where a session goes on.
struct Session {
    place: Url,
    goal: Goal,
}

impl Uploads {
    pub(super) fn new(access: Access) -> Self {
        Uploads { home_only: access == Access::Read, let_in: OnceLock::new() }
    }

    async fn prepare(&self, http: &Http) -> Result<()> {
        if self.let_in.get().is_none() {
            http.open_for_push().await?;
            let _ = self.let_in.set(());
        }
        Ok(())
    }

    /// Uploads a blob; checked against its descriptor on the way.
    ///
    /// # Errors
    /// When the content differs, or the registry does not take it.
    pub(super) fn blob(&self, runtime: &Runtime, http: &Http, blob: &Descriptor, content: Content<'_>) -> Result<()> {
        runtime.block_on(self.prepare(http))?;
        let mut tries = Tries::default();
        loop {
            let session = runtime.block_on(self.begin(http))?;
            let (again, fault) = match attempt(runtime, http, session, blob, content)? {
                Outcome::Done => return Ok(()),
                Outcome::Answered(status, body) => (may_come(status, &body), http.explain(status, &body)),
                Outcome::Unanswered(Unanswered::Broken(error)) => (may_pass(&error), http.broken(&error)),
                Outcome::Unanswered(Unanswered::Refused(fault)) => (false, fault),
            };
            let wait = if again { tries.next(None) } else { None };
            let Some(wait) = wait else { return Err(fault.into()) };
            runtime.block_on(http.pause(wait));
        }
    }

    /// Takes a blob over from another repository of the registry. Registries that
    /// cannot, or do not let us, begin an upload instead: nobody goes on with it.
    pub(super) fn mount(&self, runtime: &Runtime, http: &Http, digest: &Digest, from: &str) -> Result<bool> {
        runtime.block_on(self.prepare(http))?;
        http.auth().note_source(from);
        let mut url = http.url("blobs/uploads/")?;
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        let mount = |client: &reqwest::Client| client.post(url.clone()).header(CONTENT_LENGTH, 0);
        let answer = runtime.block_on(http.send(AuthScope::Mount, mount));
        Ok(answer.is_ok_and(|response| response.status() == StatusCode::CREATED))
    }

    async fn begin(&self, http: &Http) -> Result<Session> {
        let url = http.url("blobs/uploads/")?;
        let begin = |client: &reqwest::Client| client.post(url.clone()).header(CONTENT_LENGTH, 0);
        let response = http.send(AuthScope::Push, begin).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(http.refusal(response).await.into());
        }
        let told = response.headers().get(LOCATION).and_then(|place| place.to_str().ok());
        let place = told.and_then(|place| response.url().join(place).ok());
        let place = place.ok_or_else(|| integrity(format!("{} does not say where an upload goes", http.host())))?;
        let goal = http.reach().write(&place).map_err(|why| http.astray(&why))?;
        if self.home_only && goal == Goal::Away {
            let why = "what is written without being asked for goes to the registry itself";
            return Err(policy(format!("{} leads a small upload elsewhere: {why}", http.host())).into());
        }
        Ok(Session { place, goal })
    }

    /// Stores a manifest under a tag or its digest.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub(super) fn manifest(
        &self,
        runtime: &Runtime,
        http: &Http,
        place: ManifestPlace<'_>,
        bytes: &[u8],
        media_type: &str,
    ) -> Result<()> {
        runtime.block_on(self.prepare(http))?;
        let reference = match place {
            ManifestPlace::Tag(tag) => tag.to_owned(),
            ManifestPlace::Digest(digest) => digest.to_string(),
        };
        let url = http.url(&format!("manifests/{reference}"))?;
        let body = Bytes::copy_from_slice(bytes);
        let mut tries = Tries::default();
        loop {
            let put =
                |client: &reqwest::Client| client.put(url.clone()).header(CONTENT_TYPE, media_type).body(body.clone());
            let sent = http.send_within(http.patience().max(HASHING), AuthScope::Push, put);
            let response = runtime.block_on(sent)?;
            if is_stored(response.status()) {
                return Ok(());
            }
            let (status, said) = runtime.block_on(words(http, response));
            let wait = if is_behind(&said) { tries.next(None) } else { None };
            let Some(wait) = wait else { return Err(http.explain(status, &said).into()) };
            runtime.block_on(http.pause(wait));
        }
    }
}

/// Where a manifest goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum ManifestPlace<'a> {
    Tag(&'a str),
    Digest(&'a Digest),
}

/// The end of one session; the outer error is the content's.
fn attempt(
    runtime: &Runtime,
    http: &Http,
    session: Session,
    blob: &Descriptor,
    content: Content<'_>,
) -> Result<Outcome> {
    let mut content = Verified::new(content()?, blob.size, blob.digest);
    let (sender, receiver) = channel::<Piece>(AHEAD);
    let (http, digest, size) = (http.clone(), blob.digest, blob.size);
    let sent = runtime.spawn(async move { send(&http, session, receiver, &digest, size).await });
    let wrong = pump(&mut content, &sender);
    drop(sender);
    let outcome = runtime.block_on(sent).context("the upload was cut short")?;
    match wrong {
        Some(error) => Err(error),
        None => outcome,
    }
}

/// Hands the content over, piece by piece; what was wrong with it.
fn pump(content: &mut impl Read, sender: &Sender<Piece>) -> Option<anyhow::Error> {
    let mut buffer = vec![0; PIECE];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) => {
                // The other end is gone when the registry refuses.
                if sender.blocking_send(Ok(Bytes::copy_from_slice(&buffer[..count]))).is_err() {
                    return None;
                }
            }
            Err(error) => {
                let cut = std::io::Error::other("the content is not what it should be");
                let _ = sender.blocking_send(Err(cut));
                return Some(unwrap_io(error));
            }
        }
    }
}

async fn send(
    http: &Http,
    Session { mut place, goal }: Session,
    receiver: Receiver<Piece>,
    digest: &Digest,
    size: u64,
) -> Result<Outcome> {
    place.query_pairs_mut().append_pair("digest", &digest.to_string());
    let taken = Arc::new(AtomicU64::new(0));
    let count = taken.clone();
    let stream = futures_util::stream::unfold((receiver, count), |(mut receiver, count)| async {
        let piece = receiver.recv().await?;
        count.fetch_add(1, Ordering::Relaxed);
        Some((piece, (receiver, count)))
    });
    let mut request = http
        .client()
        .put(place)
        .header(CONTENT_TYPE, media::OCTETS)
        .header(CONTENT_LENGTH, size)
        .body(Body::wrap_stream(stream));
    if let Some(grant) = http.auth().grant(AuthScope::Push).filter(|_| goal == Goal::Home) {
        request = request.header(AUTHORIZATION, grant.header());
    }
    let request = request.build().context("a request cannot be written")?;
    let note = RequestNote::of(&request);
    let mut answer = std::pin::pin!(http.client().execute(request));
    let response = loop {
        let before = taken.load(Ordering::Relaxed);
        match tokio::time::timeout(http.patience().max(HASHING), &mut answer).await {
            Ok(Ok(response)) => break response,
            Ok(Err(error)) => return Ok(Outcome::Unanswered(error.into())),
            // It is still taking pieces.
            Err(_) if taken.load(Ordering::Relaxed) > before => {}
            Err(_) => return Ok(Outcome::Unanswered(http.late().into())),
        }
    };
    note.answered(Some(response.status()));
    if is_stored(response.status()) {
        return Ok(Outcome::Done);
    }
    let (status, said) = words(http, response).await;
    Ok(Outcome::Answered(status, said))
}

fn is_stored(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED | StatusCode::NO_CONTENT)
}

async fn words(http: &Http, response: Response) -> (u16, Vec<u8>) {
    let status = response.status().as_u16();
    (status, read_capped(response, MAX_ANSWER, "the answer", http.patience()).await.unwrap_or_default())
}

/// Whether another attempt may succeed.
fn may_come(status: u16, body: &[u8]) -> bool {
    StatusCode::from_u16(status).is_ok_and(is_transient) || is_behind(body)
}

/// Whether a registry denies what is known here: the content has been hashed on
/// its way, and what a manifest names was put before it. Registries on plain
/// folders say so while another client writes the same content.
fn is_behind(body: &[u8]) -> bool {
    let said = String::from_utf8_lossy(body);
    ["\"DIGEST_INVALID\"", "\"MANIFEST_BLOB_UNKNOWN\""].iter().any(|code| said.contains(code))
}
