//! The framing that language servers speak, over a program's pipes.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. Sending never waits for an answer.
pub struct Framed {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<Value>,
    complaints: Receiver<String>,
    requests: u32,
}

impl Framed {
    pub fn new(mut child: Child) -> Self {
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (sender, answers) = channel();
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            while let Some(frame) = read_frame(&mut stdout) {
                if sender.send(frame).is_err() {
                    break;
                }
            }
        });
        let (sender, complaints) = channel();
        thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            let _ = sender.send(text);
        });
        let stdin = child.stdin.take();
        Framed { child, stdin, answers, complaints, requests: 0 }
    }

    pub fn send(&mut self, message: &Value) {
        let body = message.to_string();
        let frame = format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(frame.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    #[track_caller]
    pub fn receive(&self) -> Value {
        self.answers.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    pub fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// The result; what the server says in between is skipped.
    #[track_caller]
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        self.requests += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": self.requests, "method": method, "params": params }));
        loop {
            let mut answer = self.receive();
            if answer["id"] == self.requests {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }

    /// Closes the input; the exit code and everything on standard error.
    #[track_caller]
    pub fn end(mut self) -> (i32, String) {
        drop(self.stdin.take());
        let complaints = self.complaints.recv_timeout(PATIENCE).expect("the server does not end");
        // What a language server notices late is no answer.
        while let Ok(message) = self.answers.recv_timeout(PATIENCE) {
            assert!(message.get("id").is_none(), "an answer that nobody asked for: {message}");
        }
        (self.child.wait().unwrap().code().unwrap_or(-1), complaints)
    }
}

impl Drop for Framed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_frame(stream: &mut impl BufRead) -> Option<Value> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some(("Content-Length", value)) => length = Some(value.parse().unwrap()),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length.unwrap()];
    stream.read_exact(&mut body).unwrap();
    Some(serde_json::from_slice(&body).unwrap())
}
