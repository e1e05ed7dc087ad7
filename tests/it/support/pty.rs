//! A terminal with a person in front of it.

use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use super::home::Home;

/// What a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(90);

pub struct Terminal {
    screen: OwnedFd,
    line: OwnedFd,
    child: Child,
    seen: String,
}

impl Terminal {
    /// Starts envctl with a terminal of its own.
    pub fn open(home: &Home, args: &[&str], size: (u16, u16)) -> Self {
        let binary = home.binary().to_str().unwrap();
        Self::of(home, &[&[binary], args].concat(), size)
    }

    /// Starts a shell script with a terminal of its own; `$0` is `word`.
    pub fn shell(home: &Home, script: &str, word: &str) -> Self {
        Self::of(home, &["sh", "-c", script, word], (24, 80))
    }

    /// Starts any program with a terminal of its own.
    pub fn of(home: &Home, words: &[&str], size: (u16, u16)) -> Self {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let name = ptsname(&screen, Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let line = rustix::fs::open(&*name, flags, rustix::fs::Mode::empty()).unwrap();
        tcsetwinsize(&line, winsize(size)).unwrap();
        let call = home.call("setsid", ["--ctty"]).args(words).env("TERM", "xterm");
        let child = call.spawn_on(&line);
        Terminal { screen, line, child, seen: String::new() }
    }

    pub fn types(&self, text: &str) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(&self.screen, rest).unwrap()..];
        }
    }

    /// Waits until the screen shows a text, and forgets what came before.
    #[track_caller]
    pub fn sees(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            assert!(Instant::now() < deadline, "no {text:?} on the screen:\n{}", self.seen);
            self.read(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 });
        }
    }

    fn read(&mut self, timeout: &Timespec) {
        let ready = poll(&mut [PollFd::new(&self.screen, PollFlags::IN)], Some(timeout)).unwrap();
        let mut bytes = [0; 4096];
        if ready > 0
            && let Ok(count) = rustix::io::read(&self.screen, &mut bytes)
        {
            self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }

    pub fn resize(&self, size: (u16, u16)) {
        tcsetwinsize(&self.screen, winsize(size)).unwrap();
    }

    pub fn modes(&self) -> Termios {
        tcgetattr(&self.line).unwrap()
    }

    /// The terminal is closed, as when its window is.
    pub fn close(self) -> Child {
        self.child
    }

    /// What the screen has shown since.
    pub fn rest(&mut self) -> &str {
        self.read(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 });
        &self.seen
    }

    /// Waits for the end; the exit code.
    #[track_caller]
    pub fn ends(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.seen);
            self.read(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 });
        }
    }
}

fn winsize((rows, columns): (u16, u16)) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
