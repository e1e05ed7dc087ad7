//! Running a program to its end, with a deadline and both streams kept.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use serde_json::Value;

/// No test needs as long; a hang becomes a failure that shows what was printed.
const DEADLINE: Timespec = Timespec { tv_sec: 120, tv_nsec: 0 };

/// After the end of a program, somebody who still holds its output is a leak.
const DRAIN: Duration = Duration::from_secs(30);

/// A command line that is about to run.
pub struct Call {
    command: Command,
    stdin: Option<Vec<u8>>,
}

impl Call {
    pub fn new(command: Command) -> Self {
        Call { command, stdin: None }
    }

    pub fn cwd(mut self, path: impl AsRef<Path>) -> Self {
        self.command.current_dir(path);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Starts it with all three streams piped; the caller talks to it.
    pub fn spawn(mut self) -> Child {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command.spawn().unwrap_or_else(|error| panic!("cannot start {:?}: {error}", self.command))
    }

    /// Starts it with this terminal as all three streams.
    pub fn spawn_on(mut self, terminal: &OwnedFd) -> Child {
        let stream = || Stdio::from(terminal.try_clone().unwrap());
        self.command.stdin(stream()).stdout(stream()).stderr(stream());
        self.command.spawn().unwrap_or_else(|error| panic!("cannot start {:?}: {error}", self.command))
    }

    pub fn run(mut self) -> Run {
        self.command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let words = [self.command.get_program()].into_iter().chain(self.command.get_args());
        let shown = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
        if let (Some(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // A program that ends without reading closes the pipe: not our concern.
            thread::spawn(move || pipe.write_all(&bytes));
        }
        let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
        let ended = wait(&child);
        if !ended {
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        let drained = |stream: Receiver<Vec<u8>>, name| {
            stream.recv_timeout(DRAIN).unwrap_or_else(|_| panic!("{shown} ended, but something still holds its {name}"))
        };
        let (stdout, stderr) = (drained(stdout, "stdout"), drained(stderr, "stderr"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = status.code().unwrap_or(-1);
        let run = Run { code, stdout: text(&stdout), stderr: text(&stderr), raw: stdout, shown };
        assert!(ended, "still running after {} s: {run:?}", DEADLINE.tv_sec);
        run
    }

    pub fn ok(self) -> Run {
        self.run().ok()
    }

    pub fn code(self, expected: i32) -> Run {
        self.run().code(expected)
    }
}

/// What a command line did. `code` is -1 when a signal ended it.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub raw: Vec<u8>,
    shown: String,
}

impl Run {
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        let Run { code, stdout, stderr, shown, .. } = &self;
        assert_eq!(*code, expected, "exit code of {shown}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        self
    }

    /// Standard output as the one JSON object that it must be.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.raw)
            .unwrap_or_else(|error| panic!("stdout of {} is not JSON: {error}\n{}", self.shown, self.stdout))
    }

    /// Every text is in standard error, whatever its case.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        let stderr = self.stderr.to_lowercase();
        for text in texts {
            assert!(stderr.contains(&text.to_lowercase()), "{} does not say {text:?}:\n{}", self.shown, self.stderr);
        }
        self
    }
}

/// Waits for a condition that another process brings about.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(90), "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What has to come before a time that the test itself sets, such as a deadline: tried with
/// one second, and with more on a machine that is too busy for that. `attempt` says
/// whether it came in time.
#[track_caller]
pub fn in_time<T>(attempt: impl FnMut(u64) -> Option<T>) -> T {
    [1, 5, 25].into_iter().find_map(attempt).expect("it comes within 25 seconds")
}

/// Waits until a process takes a signal itself, instead of dying of it.
#[track_caller]
pub fn until_it_heeds(child: &Child, signal: Signal) {
    let bit = 1_u64 << (signal.as_raw() - 1);
    until("it heeds the signal", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        u64::from_str_radix(blocked.trim(), 16).unwrap() & bit != 0
    });
}

fn collect(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    let mut stream = stream.unwrap();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        // Nobody listens after a failed assertion.
        let _ = sender.send(bytes);
    });
    receiver
}

fn wait(child: &Child) -> bool {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&DEADLINE)).unwrap() > 0
}
