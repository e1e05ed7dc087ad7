//! Where git goes for a task, with whose word, and how it ends: against servers
//! and programs in the place of ssh that note what they are asked.

mod addresses;
mod ends;
mod hosts;
mod large;
mod passwords;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::support::{Call, Home, Lab, Trip, forge};

/// A task of a repository at another address, and the developer who enters it.
struct Far {
    trip: Trip,
}

fn far(lab: Lab) -> Far {
    Far::new(Trip::of(lab))
}

impl Far {
    fn new(trip: Trip) -> Self {
        Far { trip }
    }

    fn dev(&self) -> &Home {
        &self.trip.lab.dev
    }

    /// A task whose repository has this address.
    fn task(&self, url: &str) -> String {
        forge(&self.trip, |forged| forged.identity["repo"]["url"] = url.into())
    }

    /// The same with a commit beside the base that nobody has.
    fn task_with_another_ref(&self, url: &str) -> String {
        forge(&self.trip, |forged| {
            forged.identity["repo"]["url"] = url.into();
            let more = serde_json::json!({ "name": "more", "commit": "1".repeat(40) });
            forged.document["remote"]["refs"].as_array_mut().unwrap().push(more);
        })
    }

    fn approve(&self, host: &str) {
        self.dev().envctl(["approve", "--host", host]).ok();
    }

    /// A program of the developer's; where it is.
    fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.dev().path("bin").join(name);
        self.dev().write(&path, format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Enters with a program in the place of ssh that notes its words and does this.
    fn entering(&self, task: &str, then: &str) -> Call {
        let log = self.dev().path("home/ssh.log");
        let ssh = self.program("ssh", &format!("echo \"$*\" >>{}\necho $$ >>{0}.pids\n{then}", log.display()));
        self.trip.entering(task).arg("--no-input").env("GIT_SSH_COMMAND", ssh)
    }

    /// As that program: serves the repository.
    fn serve(&self) -> String {
        format!("exec git -c 'safe.directory=*' upload-pack {}", self.trip.lab.repo.remote.display())
    }

    /// What ssh was started with.
    fn calls(&self) -> Vec<String> {
        lines(&self.dev().path("home/ssh.log"))
    }
}

fn lines(path: &Path) -> Vec<String> {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).lines().map(str::to_owned).collect()
}

/// A path, and the `Authorization` with it.
type Asked = (String, Option<String>);

/// A server that notes requests and their `Authorization`. Its answer is a status
/// with headers, and a body.
struct Server {
    host: String,
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    fn new(answer: impl Fn(&str, bool) -> (String, Vec<u8>) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let header = |name: &str| {
                    let mut found = head.lines().filter_map(|line| line.split_once(": "));
                    found.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
                };
                let length = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
                let _ = stream.read_exact(&mut vec![0; length]);
                let authorization = header("authorization");
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let (status, body) = answer(&path, authorization.is_some());
                noted.lock().unwrap().push((path, authorization));
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            }
        });
        Server { host: format!("127.0.0.1:{port}"), port, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn passwords(&self) -> usize {
        self.asked().iter().filter(|(_, authorization)| authorization.is_some()).count()
    }
}

/// The files of a repository, as git reads them from any server, below a folder.
fn files(remote: &Path, below: &'static str) -> impl Fn(&str) -> (String, Vec<u8>) + use<> {
    let remote = remote.to_owned();
    move |path| {
        let path = path.split('?').next().unwrap_or_default();
        match path.strip_prefix(below).map(|file| fs::read(remote.join(file))) {
            Some(Ok(bytes)) => ("200 OK".into(), bytes),
            _ => ("404 Not Found".into(), Vec::new()),
        }
    }
}

fn wants_a_password() -> (String, Vec<u8>) {
    ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"".into(), Vec::new())
}
