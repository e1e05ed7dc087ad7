//! What refers to a manifest of a registry: asked of the referrers API where
//! there is one, otherwise kept as a list under a tag.
//!
//! A tag has no compare-and-swap. Whoever writes a list reads it, puts it with
//! their own entries added, waits for longer than that took, and looks again:
//! another writer who had read before must have put by then, and the one whose
//! entries are gone adds them again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, LINK};

use super::Registry;
use super::auth::AuthScope;
use super::http::Http;
use super::upload::ManifestPlace;
use crate::digest::Digest;
use crate::error::{failure, integrity};
use crate::oci::{Blobs as _, Descriptor, MAX_METADATA, media};
use crate::store::Store as _;
use crate::store::referrers::{List, Referrers, referrers_tag};
use crate::web::read_capped;

/// How often a list is put before it is said that others are in the way.
const MOST_ROUNDS: u32 = 12;

/// The least pause before a list is looked at again.
const PAUSE: Duration = Duration::from_millis(50);

/// Pages of the referrers API that are read.
const MOST_PAGES: usize = 100;

/// Bytes of all pages together.
const MAX_PAGES: u64 = 16 << 20;

/// Entries of all pages together: far more than are looked at.
const MOST_ENTRIES: usize = 10_000;

/// How long all pages together may take.
const LONGEST: Duration = Duration::from_secs(300);

impl Http {
    /// The answers of the referrers API; `None` where there is none.
    async fn referrers(&self, subject: &Digest) -> Result<Option<Referrers>> {
        let mut url = self.url(&format!("referrers/{subject}"))?;
        let mut all = Referrers::default();
        let (mut bytes, began) = (0, Instant::now());
        for _ in 0..MOST_PAGES {
            let response =
                self.send(AuthScope::Pull, |client| client.get(url.clone()).header(ACCEPT, media::INDEX)).await?;
            match response.status() {
                StatusCode::OK => {}
                // What registries say that know nothing of it.
                StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED => return Ok(None),
                _ => return Err(self.refusal(response).await.into()),
            }
            let link = response.headers().get(LINK).and_then(|link| link.to_str().ok()).and_then(next);
            let next = link.map(|link| url.join(&link)).transpose().ok().flatten();
            let page = read_capped(response, MAX_METADATA, "the list of referrers", self.patience()).await?;
            bytes += page.len() as u64;
            let more = all.add(List::parse(&page)?.read(), MOST_ENTRIES);
            match next {
                // Not to another host: the next request carries credentials.
                Some(next) if next.origin() == url.origin() && next != url => url = next,
                Some(_) => return Err(integrity(format!("{} continues its list elsewhere", self.host())).into()),
                None if more => break,
                None => return Ok(Some(all)),
            }
            if more || bytes > MAX_PAGES || began.elapsed() > LONGEST {
                break;
            }
        }
        // Whoever may push makes it as long as they like: what is there is told.
        all.cut = true;
        Ok(Some(all))
    }
}

/// The address of the next page in a `Link` header, RFC 8288.
fn next(header: &str) -> Option<String> {
    let (address, parameters) = header.trim().strip_prefix('<')?.split_once('>')?;
    parameters.replace(['"', ' '], "").split(';').any(|part| part == "rel=next").then(|| address.to_owned())
}

/// Manifests that refer to `subject`.
///
/// # Errors
/// When the registry cannot be read.
pub(super) fn referrers(registry: &Registry, subject: &Digest) -> Result<Referrers> {
    if registry.referrers_api.get() != Some(&false) {
        let found = registry.runtime.block_on(registry.http.referrers(subject))?;
        let _ = registry.referrers_api.set(found.is_some());
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Ok(tagged(registry, &referrers_tag(subject))?.map(List::read).unwrap_or_default())
}

fn tagged(registry: &Registry, tag: &str) -> Result<Option<List>> {
    let Some(descriptor) = registry.resolve(tag)? else { return Ok(None) };
    let list = List::parse(&registry.read_small(&descriptor, MAX_METADATA)?);
    Ok(Some(list.with_context(|| format!("the tag {tag} of {} is in use by something else", registry.name()))?))
}

/// Lists manifests that are there as referrers of `subject`. A registry with
/// the referrers API has done so when they were put.
///
/// # Errors
/// When the registry cannot be written, or too many others do at once.
pub(super) fn attach(registry: &Registry, subject: &Digest, manifests: &[Descriptor]) -> Result<()> {
    if registry.referrers_api.get().is_none() {
        referrers(registry, subject)?;
    }
    if registry.referrers_api.get() == Some(&true) {
        return Ok(());
    }
    let tag = referrers_tag(subject);
    for _ in 0..MOST_ROUNDS {
        let began = Instant::now();
        let mut list = tagged(registry, &tag)?.unwrap_or_default();
        if !list.add(manifests)? {
            return Ok(());
        }
        let bytes = list.to_bytes()?;
        registry.uploads.manifest(&registry.runtime, &registry.http, ManifestPlace::Tag(&tag), &bytes, media::INDEX)?;
        let pause = PAUSE + began.elapsed() * 2;
        registry.runtime.block_on(registry.http.pause(pause + pause.mul_f64(super::tries::fraction())));
    }
    Err(failure(format!("too many others write {tag} in {} at the same time", registry.name()))
        .hint("run the command again")
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_next_page() {
        assert_eq!(next("</v2/a/referrers/x?n=1>; rel=\"next\"").as_deref(), Some("/v2/a/referrers/x?n=1"));
        assert_eq!(next("<https://r.example/x>;rel=next").as_deref(), Some("https://r.example/x"));
        for bad in ["", "<x", "x; rel=next", "<x>; rel=\"prev\""] {
            assert_eq!(next(bad), None, "{bad:?}");
        }
    }
}
