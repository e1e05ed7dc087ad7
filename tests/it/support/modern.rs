//! A small registry by version 1.1 of the distribution specification: what the
//! packaged one lacks. It has the referrers API, lists in pages, and deletes by
//! tag or not at all.

use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::layer::sha256;
use super::liar::{Answer, Asked, NAME, converse};

/// What it does and does not.
#[derive(Clone, Copy)]
pub struct Habits {
    /// Whether the referrers API is there.
    pub referrers: bool,
    pub deletes: bool,
    /// Tags and referrers that it lists at once.
    pub page: usize,
    /// How often it denies whatever it is given: the digest, or what it has
    /// been given before.
    pub denies: usize,
}

impl Default for Habits {
    fn default() -> Self {
        Habits { referrers: true, deletes: true, page: 3, denies: 0 }
    }
}

#[derive(Default)]
struct State {
    blobs: HashMap<String, Vec<u8>>,
    /// Media type and content.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    tags: BTreeMap<String, String>,
    denied: BTreeMap<String, usize>,
    asked: Vec<String>,
}

pub struct Modern {
    pub host: String,
    state: Arc<Mutex<State>>,
}

impl Modern {
    pub fn start(habits: Habits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        // They end with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || {
                    let _ = converse(stream, |asked| {
                        let mut state = state.lock().unwrap();
                        state.asked.push(format!("{} {}", asked.method, asked.path));
                        state.answer(habits, asked)
                    });
                });
            }
        });
        Modern { host, state }
    }

    /// The store, as `--store` takes it.
    pub fn store(&self) -> String {
        format!("{}/{NAME}", self.host)
    }

    pub fn tags(&self) -> Vec<String> {
        self.state.lock().unwrap().tags.keys().cloned().collect()
    }

    /// Puts a manifest in, whatever it says.
    pub fn put(&self, tag: &str, media_type: &str, document: &Value) {
        let bytes = serde_json::to_vec(document).unwrap();
        let mut state = self.state.lock().unwrap();
        state.tags.insert(tag.to_owned(), sha256(&bytes));
        state.manifests.insert(sha256(&bytes), (media_type.to_owned(), bytes));
    }

    /// The document that a tag points at.
    pub fn document(&self, tag: &str) -> Value {
        let state = self.state.lock().unwrap();
        serde_json::from_slice(&state.manifests[&state.tags[tag]].1).unwrap()
    }

    /// What was asked since the last look, as `METHOD PATH`.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

impl State {
    fn answer(&mut self, habits: Habits, asked: &Asked) -> Answer {
        let missing = || Answer::new(404, r#"{"errors":[{"code":"NOT_FOUND","message":"not here"}]}"#);
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let parameter = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.replace("%3A", ":"))
        };
        if path == "/v2/" {
            return Answer::new(200, "{}");
        }
        let Some(rest) = path.strip_prefix(&format!("/v2/{NAME}/")) else { return missing() };
        if asked.method == "PUT" {
            let denied = self.denied.entry(sha256(&asked.body)).or_default();
            if *denied < habits.denies {
                *denied += 1;
                let code = if rest.starts_with("manifests") { "MANIFEST_BLOB_UNKNOWN" } else { "DIGEST_INVALID" };
                return Answer::new(
                    400,
                    json!({ "errors": [{ "code": code, "message": "no such thing" }] }).to_string(),
                );
            }
        }
        match (asked.method.as_str(), rest.split_once('/').unwrap_or((rest, ""))) {
            ("POST", ("blobs", "uploads/")) => {
                Answer::new(202, "").header("Location", format!("/v2/{NAME}/blobs/uploads/1"))
            }
            ("PUT", ("blobs", _)) => {
                let digest = parameter("digest").unwrap();
                assert_eq!(sha256(&asked.body), digest);
                self.blobs.insert(digest.clone(), asked.body.clone());
                Answer::new(201, "").header("Location", format!("/v2/{NAME}/blobs/{digest}"))
            }
            ("GET" | "HEAD", ("blobs", digest)) => match self.blobs.get(digest) {
                Some(bytes) => Answer::new(200, bytes.clone()),
                None => missing(),
            },
            ("PUT", ("manifests", reference)) => {
                let digest = sha256(&asked.body);
                let media_type = asked.headers["content-type"].clone();
                self.manifests.insert(digest.clone(), (media_type, asked.body.clone()));
                if !reference.starts_with("sha256:") {
                    self.tags.insert(reference.to_owned(), digest.clone());
                }
                Answer::new(201, "").header("Location", format!("/v2/{NAME}/manifests/{digest}"))
            }
            ("DELETE", ("manifests", _)) if !habits.deletes => {
                Answer::new(405, r#"{"errors":[{"code":"UNSUPPORTED","message":"nothing is deleted here"}]}"#)
            }
            ("DELETE", ("manifests", reference)) if reference.starts_with("sha256:") => {
                self.tags.retain(|_, digest| digest != reference);
                if self.manifests.remove(reference).is_some() { Answer::new(202, "") } else { missing() }
            }
            ("DELETE", ("manifests", reference)) => {
                if self.tags.remove(reference).is_some() {
                    Answer::new(202, "")
                } else {
                    missing()
                }
            }
            ("GET" | "HEAD", ("manifests", reference)) => {
                let digest = self.tags.get(reference).map_or(reference, String::as_str);
                match self.manifests.get(digest) {
                    Some((media_type, bytes)) => {
                        let answer = Answer::new(200, bytes.clone()).header("Content-Type", media_type.clone());
                        answer.header("Docker-Content-Digest", digest)
                    }
                    None => missing(),
                }
            }
            ("GET", ("tags", "list")) => {
                let last = parameter("last").unwrap_or_default();
                let tags: Vec<&String> = self.tags.keys().filter(|tag| **tag > last).take(habits.page + 1).collect();
                let page = &tags[..tags.len().min(habits.page)];
                let answer = Answer::new(200, json!({ "name": NAME, "tags": page }).to_string());
                match tags.get(habits.page) {
                    Some(_) => answer
                        .header("Link", format!("</v2/{NAME}/tags/list?last={}>; rel=\"next\"", page[page.len() - 1])),
                    None => answer,
                }
            }
            ("GET", ("referrers", subject)) if habits.referrers => {
                let from: usize = parameter("from").map_or(0, |from| from.parse().unwrap());
                let all: Vec<Value> = self
                    .manifests
                    .iter()
                    .filter_map(|(digest, (media_type, bytes))| {
                        let document: Value = serde_json::from_slice(bytes).ok()?;
                        (document["subject"]["digest"] == subject).then(|| {
                            json!({
                                "mediaType": media_type, "digest": digest, "size": bytes.len(),
                                "artifactType": document["artifactType"],
                            })
                        })
                    })
                    .collect();
                let page: Vec<&Value> = all.iter().skip(from).take(habits.page).collect();
                let kind = "application/vnd.oci.image.index.v1+json";
                let body = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": page });
                let answer = Answer::new(200, body.to_string()).header("Content-Type", kind);
                let next = from + habits.page;
                if next >= all.len() {
                    return answer;
                }
                answer.header("Link", format!("</v2/{NAME}/referrers/{subject}?from={next}>; rel=\"next\""))
            }
            _ => missing(),
        }
    }
}
