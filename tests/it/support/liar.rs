//! A small registry that serves a layout, and lies where a test wants it to.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::layer::sha256;
use super::layout::Layout;

/// The name of the only repository.
pub const NAME: &str = "acme/tasks";

#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub way: Way,
}

/// How a body is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Whole,
    /// Only so many bytes of it, then the connection closes.
    Cut(usize),
    /// Again and again, without a length.
    Endless,
    /// Not at all: the connection stays open and silent.
    Silent,
    /// A byte at a time, five a second.
    Drip,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Answer { status, headers: Vec::new(), body: body.into(), way: Way::Whole }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn way(mut self, way: Way) -> Self {
        self.way = way;
        self
    }
}

type Handler = dyn Fn(&Asked, Answer) -> Answer + Send + Sync;

pub struct Liar {
    /// `127.0.0.1:PORT`.
    pub host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Liar {
    /// Serves a layout; `lie` sees every request with the honest answer.
    pub fn over(layout: &Layout, lie: impl Fn(&Asked, Answer) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (layout, lie, log) = (layout.clone(), Arc::new(lie) as Arc<Handler>, asked.clone());
        let root = Arc::new(layout.path);
        // They end with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, lie, log) = (root.clone(), lie.clone(), log.clone());
                thread::spawn(move || {
                    // Whoever hangs up on a liar is right.
                    let _ = converse(stream, |asked| {
                        log.lock().unwrap().push(asked.clone());
                        lie(asked, honest(&root, asked))
                    });
                });
            }
        });
        Liar { host, asked }
    }

    pub fn honest(layout: &Layout) -> Self {
        Self::over(layout, |_, answer| answer)
    }

    /// The store, as `--store` takes it.
    pub fn store(&self) -> String {
        format!("{}/{NAME}", self.host)
    }

    pub fn task(&self, task: &str) -> String {
        format!("{}:{task}", self.store())
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

pub(super) fn converse(stream: TcpStream, answer: impl Fn(&Asked) -> Answer) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    lines.read_line(&mut first)?;
    let mut words = first.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    lines.read_exact(&mut body)?;
    let asked = Asked { method, path, headers, body };
    let answer = answer(&asked);
    let mut stream = stream;
    if answer.way == Way::Silent {
        thread::sleep(std::time::Duration::from_secs(60));
        return Ok(());
    }
    let mut head = format!("HTTP/1.1 {} x\r\nConnection: close\r\n", answer.status);
    if answer.way != Way::Endless {
        head += &format!("Content-Length: {}\r\n", answer.body.len());
    }
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    if asked.method == "HEAD" {
        return Ok(());
    }
    match answer.way {
        Way::Cut(count) => stream.write_all(&answer.body[..count.min(answer.body.len())]),
        Way::Endless => loop {
            stream.write_all(&answer.body)?;
        },
        Way::Drip => answer.body.iter().try_for_each(|byte| {
            thread::sleep(std::time::Duration::from_millis(200));
            stream.write_all(&[*byte])
        }),
        _ => stream.write_all(&answer.body),
    }
}

/// What a registry would say that holds what the layout holds.
fn honest(root: &std::path::Path, asked: &Asked) -> Answer {
    let missing = || Answer::new(404, r#"{"errors":[{"code":"NOT_FOUND","message":"not here"}]}"#);
    let path = asked.path.split('?').next().unwrap();
    if path == "/v2/" {
        return Answer::new(200, "{}");
    }
    let Some((_, rest)) = path.split_once(&format!("/v2/{NAME}/")) else { return missing() };
    let index: serde_json::Value = serde_json::from_slice(&fs::read(root.join("index.json")).unwrap()).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let tag = |entry: &serde_json::Value| entry["annotations"]["org.opencontainers.image.ref.name"].clone();
    if rest == "tags/list" {
        let tags: Vec<_> = entries.iter().map(tag).collect();
        return Answer::new(200, serde_json::json!({ "name": NAME, "tags": tags }).to_string());
    }
    let Some((kind @ ("manifests" | "blobs"), name)) = rest.split_once('/') else { return missing() };
    let named = entries.iter().find(|entry| tag(entry) == name);
    let digest = named.map_or(name.to_owned(), |entry| entry["digest"].as_str().unwrap().to_owned());
    let Ok(bytes) = fs::read(root.join("blobs").join(digest.replacen(':', "/", 1))) else { return missing() };
    if kind == "manifests" {
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let media_type = value["mediaType"].as_str().unwrap_or_default().to_owned();
        let digest = sha256(&bytes);
        return Answer::new(200, bytes).header("Content-Type", media_type).header("Docker-Content-Digest", digest);
    }
    let range = asked.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    match range.map(|start| start.parse::<usize>().unwrap()) {
        Some(start) if start < bytes.len() => {
            let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
            Answer::new(206, &bytes[start..]).header("Content-Range", range)
        }
        _ => Answer::new(200, bytes),
    }
}
