//! The documents of the batch interface of Git LFS, with basic transfers alone.

use std::collections::BTreeMap;

use anyhow::Result;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::super::super::lfs::Pointer;
use crate::error::{cut, failure, integrity, not_found};

/// What both documents are.
pub(super) const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";

/// So many contents are asked for at once.
pub(super) const AT_ONCE: usize = 100;

/// Headers of one request that a server may name, and their bytes together.
const MAX_HEADERS: usize = 32;
const MAX_HEADER_BYTES: usize = 16 << 10;

/// Headers that belong to the connection, not to who names places.
const OURS: [&str; 11] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "range",
    "cookie",
    "proxy-authorization",
    "proxy-connection",
];

/// Headers by their names, as servers write them.
pub(super) type Headers = BTreeMap<String, String>;

#[derive(Serialize)]
struct Question<'a> {
    operation: &'a str,
    transfers: [&'a str; 1],
    objects: Vec<WantedObject>,
    hash_algo: &'a str,
}

#[derive(Serialize)]
struct WantedObject {
    oid: String,
    size: u64,
}

#[derive(Deserialize)]
struct BatchAnswer {
    transfer: Option<String>,
    #[serde(default)]
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    #[serde(default)]
    actions: Option<Actions>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Actions {
    download: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: Headers,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
}

/// Where one content is.
#[derive(Debug)]
pub(super) struct LfsPlace {
    pub(super) url: Url,
    /// What the server gave for it.
    pub(super) headers: HeaderMap,
}

/// The question for these contents.
///
/// # Errors
/// When it cannot be written.
pub(super) fn question(wanted: &[&Pointer]) -> Result<Vec<u8>> {
    let objects = wanted.iter().map(|pointer| WantedObject { oid: pointer.oid.hex(), size: pointer.size }).collect();
    let question = Question { operation: "download", transfers: ["basic"], objects, hash_algo: "sha256" };
    Ok(serde_json::to_vec(&question)?)
}

/// The answer, in the order of the question; what was not asked for is passed over.
///
/// # Errors
/// When it is none, or wants another way of transfer.
pub(super) fn read(answer: &[u8], wanted: &[&Pointer]) -> Result<Vec<Result<LfsPlace>>> {
    let answer: BatchAnswer = serde_json::from_slice(answer)
        .map_err(|_| integrity("the answer is not what the batch interface of Git LFS says"))?;
    if let Some(other) = answer.transfer.filter(|transfer| transfer != "basic") {
        return Err(failure(format!("the server wants the transfer {}, and envctl knows only basic", cut(&other)))
            .hint("fetch them with your own programs: git lfs pull, in the workspace")
            .into());
    }
    let mut found: BTreeMap<String, Object> =
        answer.objects.into_iter().map(|object| (object.oid.to_ascii_lowercase(), object)).collect();
    Ok(wanted.iter().map(|pointer| place(found.remove(&pointer.oid.hex()))).collect())
}

fn place(object: Option<Object>) -> Result<LfsPlace> {
    let object = object.ok_or_else(|| not_found("the server does not say where it is"))?;
    if let Some(refusal) = object.error {
        return Err(not_found(format!("the server says: {}", cut(&refusal.message))).into());
    }
    let action = object.actions.and_then(|actions| actions.download);
    let action = action.ok_or_else(|| not_found("the server does not say where it is"))?;
    let url = Url::parse(&action.href).map_err(|_| integrity("the server names a place that is no address"))?;
    Ok(LfsPlace { url, headers: headers(&action.header)? })
}

/// Headers that a server names for a request, as far as they are its business.
///
/// # Errors
/// When there are too many, or one is none.
pub(super) fn headers(named: &Headers) -> Result<HeaderMap> {
    let bytes: usize = named.iter().map(|(name, value)| name.len() + value.len()).sum();
    if named.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(integrity("the server names too many headers").into());
    }
    let malformed = |_| integrity("the server names a header that is none");
    let mut map = HeaderMap::new();
    for (name, value) in named {
        if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
            continue;
        }
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed(()))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| malformed(()))?;
        value.set_sensitive(true);
        map.insert(name, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_has_a_place() {
        let pointer = Pointer::to(&mut &b"content"[..]).unwrap();
        let places = |answer: &str| {
            let answer = answer.replace("OID", &pointer.oid.hex());
            read(answer.as_bytes(), &[&pointer]).map(|mut places| places.remove(0).map(|place| place.url.to_string()))
        };
        let fine = r#"{"objects":[{"oid":"OID","actions":{"download":{"href":"https://a.example/x"}}}]}"#;
        assert_eq!(places(fine).unwrap().unwrap(), "https://a.example/x");
        for lacking in [
            r#"{"objects":[]}"#,
            r#"{}"#,
            r#"{"objects":[{"oid":"../x","actions":{"download":{"href":"https://a/x"}}}]}"#,
            r#"{"objects":[{"oid":"OID"}]}"#,
            r#"{"objects":[{"oid":"OID","actions":{}}]}"#,
            r#"{"objects":[{"oid":"OID","error":{"code":404,"message":"gone"}}]}"#,
            r#"{"objects":[{"oid":"OID","actions":{"download":{"href":"x"}}}]}"#,
            r#"{"objects":[{"oid":"OID","actions":{"download":{"href":"https://a/x","header":{"a b":"c"}}}}]}"#,
            r#"{"objects":[{"oid":"OID","actions":{"download":{"href":"https://a/x","header":{"a":"c\r\nd: e"}}}}]}"#,
        ] {
            assert!(places(lacking).unwrap().is_err(), "{lacking}");
        }
        for bad in ["", "[]", r#"{"objects":{}}"#, &fine.replacen('{', r#"{"transfer":"tus","#, 1)] {
            assert!(places(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_of_the_connection_are_not_the_servers_business() {
        let named = |names: &[&str]| {
            let named = names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
            headers(&named).map(|map| map.len())
        };
        assert_eq!(named(&["Authorization", "X-Token"]).unwrap(), 2);
        assert_eq!(named(&OURS).unwrap(), 0);
        assert_eq!(named(&["HOST", "Proxy-Authorization"]).unwrap(), 0);
        let many: Vec<String> = (0..=MAX_HEADERS).map(|n| format!("x-{n}")).collect();
        assert!(named(&many.iter().map(String::as_str).collect::<Vec<_>>()).is_err());
    }
}
