//! The names of all tags of a repository. Whoever serves them, or may push,
//! decides how many there are and how they come: all of it has a bound, over
//! all pages together.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::StatusCode;
use reqwest::header::LINK;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

use super::auth::AuthScope;
use super::http::Http;
use crate::error::{Fault, cut, integrity, not_found};
use crate::web::read_capped;

/// What is read of a list.
struct Bounds {
    tags: usize,
    pages: usize,
    /// Some registries give all tags at once, however few were asked for.
    bytes: u64,
    time: Duration,
}

/// Room for 200,000 tasks, with a tag for each of their identities.
const BOUNDS: Bounds = Bounds { tags: 500_000, pages: 1000, bytes: 64 << 20, time: Duration::from_secs(300) };

/// Bytes of a tag, by the specification.
const MAX_TAG: usize = 128;

impl Http {
    /// All tags.
    pub(super) async fn tags(&self) -> Result<Vec<String>> {
        let mut tags: Vec<String> = Vec::new();
        let (mut left, began) = (BOUNDS.bytes, Instant::now());
        for _ in 0..BOUNDS.pages {
            let mut url = self.url("tags/list")?;
            url.query_pairs_mut().append_pair("n", "1000");
            if let Some(last) = tags.last() {
                url.query_pairs_mut().append_pair("last", last);
            }
            let response = self.send(AuthScope::Pull, |client| client.get(url.clone())).await?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => {
                    return Err(not_found(format!("there is no repository {} on {}", self.repository(), self.host()))
                        .hint("check the name, or publish a task to create it")
                        .into());
                }
                _ => return Err(self.refusal(response).await.into()),
            }
            let more = response.headers().contains_key(LINK);
            let bytes = read_capped(response, left, "the list of tags", self.patience()).await?;
            left = left.saturating_sub(bytes.len() as u64);
            let Page { tags: page } = serde_json::from_slice(&bytes).map_err(|error| {
                let why = cut(&error.to_string());
                integrity(format!("the list of tags of {} is malformed: {why}", self.host()))
            })?;
            let ends = page.is_empty() || page.last() == tags.last();
            tags.extend(page);
            if tags.len() > BOUNDS.tags {
                return Err(self.endless(&format!("has more than {} tags", BOUNDS.tags)).into());
            }
            if ends || !more {
                // Who lists one twice has it once.
                let mut seen = HashSet::new();
                tags.retain(|tag| seen.insert(tag.clone()));
                return Ok(tags);
            }
            if began.elapsed() > BOUNDS.time {
                return Err(self.endless(&format!("takes more than {} s", BOUNDS.time.as_secs())).into());
            }
        }
        Err(self.endless(&format!("goes on after {} pages", BOUNDS.pages)).into())
    }

    fn endless(&self, how: &str) -> Fault {
        integrity(format!("the list of tags of {}/{} {how}: it is not read to its end", self.host(), self.repository()))
            .hint("name a task to enter it without the list, or take tags away that nobody needs")
    }
}

/// One page, with no more tags than are read at all.
#[derive(serde::Deserialize)]
struct Page {
    #[serde(default, deserialize_with = "bounded")]
    tags: Vec<String>,
}

fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Tags;

    impl<'de> Visitor<'de> for Tags {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of tags")
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut tags = Vec::new();
            while let Some(tag) = list.next_element::<Tag>()? {
                if tags.len() > BOUNDS.tags {
                    // Enough to be refused; the rest is passed over.
                    while list.next_element::<IgnoredAny>()?.is_some() {}
                    break;
                }
                tags.extend(tag.0);
            }
            Ok(tags)
        }
    }

    deserializer.deserialize_any(Tags)
}

/// A tag; what is too long to be one is left out.
struct Tag(Option<String>);

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Ok(Tag((text.len() <= MAX_TAG).then(|| text.into_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_no_more_than_is_read() {
        let read = |text: &str| serde_json::from_str::<Page>(text).map(|page| page.tags);
        assert_eq!(read(r#"{"name": "x", "tags": ["a", "b"]}"#).unwrap(), ["a", "b"]);
        assert!(read(r#"{"tags": null}"#).unwrap().is_empty() && read("{}").unwrap().is_empty());
        assert!(read(r#"{"tags": {"a": 1}}"#).is_err() && read(r#"{"tags": [1]}"#).is_err());
        assert_eq!(read(&format!(r#"{{"tags": ["{}", "a"]}}"#, "x".repeat(129))).unwrap(), ["a"]);
        let many = format!(r#"{{"tags": ["a"{}]}}"#, r#","a""#.repeat(BOUNDS.tags + 10));
        assert_eq!(read(&many).unwrap().len(), BOUNDS.tags + 1);
    }
}
