//! What comes back from a registry, before it is believed.

use std::time::Duration;

use anyhow::Result;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::error::{cut, integrity};
use crate::oci::media;
use crate::secret;

/// What a manifest may be.
pub(super) const MANIFESTS: [&str; 4] = [media::MANIFEST, media::INDEX, media::DOCKER_MANIFEST, media::DOCKER_INDEX];

pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// Whether the same request may work a moment later.
pub(super) fn may_pass(error: &reqwest::Error) -> bool {
    let text = format!("{error:?}");
    // What TLS refuses it will refuse again.
    let settled = error.is_redirect() || error.is_builder() || error.is_timeout() || text.contains("ertificate");
    !settled && (error.is_connect() || error.is_request() || error.is_body())
}

/// `Retry-After` in seconds or as a date, RFC 9110 section 10.2.3.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(&value.replace("GMT", "+0000")).ok()?;
    let wait = date.timestamp().duration_since(crate::clock::Clock::System.now());
    Some(Duration::try_from(wait).unwrap_or_default())
}

/// What a document says it is must be what the registry says it is: otherwise
/// two readers could take it for two things (CVE-2021-41190).
pub(super) fn media_type(bytes: &[u8], declared: Option<&str>, reference: &str) -> Result<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Own {
        media_type: Option<String>,
    }
    let own = serde_json::from_slice::<Own>(bytes)
        .map_err(|error| integrity(format!("the manifest {reference} is not valid JSON: {}", cut(&error.to_string()))))?
        .media_type;
    let declared = declared.map(|declared| declared.split(';').next().unwrap_or_default().trim().to_owned());
    let declared = declared.filter(|declared| MANIFESTS.contains(&declared.as_str()));
    match (own, declared) {
        (Some(own), Some(declared)) if own != declared => {
            let own = cut(&own);
            Err(integrity(format!("the manifest {reference} is ambiguous: it is {own}, and is served as {declared}"))
                .into())
        }
        (Some(own), _) => Ok(own),
        (None, Some(declared)) => Ok(declared),
        (None, None) => Ok(media::MANIFEST.into()),
    }
}

/// The first message of an OCI error body.
pub(super) fn complaint(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Body {
        errors: Vec<One>,
    }
    #[derive(serde::Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let first = body.errors.into_iter().next()?;
    let text = if first.message.is_empty() { first.code } else { first.message };
    Some(secret::beginning(&secret::hide_issued(&text), 200))
}
