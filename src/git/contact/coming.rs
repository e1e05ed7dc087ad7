//! How far a fetch has come, by git's own words: `Receiving objects:  42% (42/100)`.

use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How often whoever waits is told that nothing was said.
const BEAT: Duration = Duration::from_millis(250);

/// Bytes of one piece of news.
const LONGEST: usize = 200;

/// News of a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coming {
    /// What git, or the other side, is doing.
    pub what: String,
    /// Objects so far.
    pub done: u64,
    /// Of so many.
    pub total: u64,
    /// Bytes so far, where it says so.
    pub bytes: Option<u64>,
    /// And in a second.
    pub rate: Option<u64>,
}

/// Told how far it has come; nothing when time passes.
pub type Heard<'a> = &'a dyn Fn(Option<&Coming>);

impl Coming {
    fn read(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.trim();
        let (what, rest) = line.split_once(':')?;
        // The other side speaks through git.
        let (what, rest) = if what == "remote" { rest.split_once(':')? } else { (what, rest) };
        let counts = rest.split_once('(')?.1;
        let (counts, more) = counts.split_once(')')?;
        let (done, total) = counts.split_once('/')?;
        let (done, total) = (done.parse().ok()?, total.parse().ok()?);
        let mut sizes = more.strip_prefix(", ").unwrap_or_default().split('|');
        let bytes = sizes.next().and_then(read_bytes);
        let rate = sizes.next().and_then(|rate| read_bytes(rate.trim_end().trim_end_matches("/s")));
        Some(Coming { what: what.trim().to_lowercase(), done, total, bytes, rate })
    }
}

/// `12.34 MiB`, as git has it.
fn read_bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let factor: u64 = match unit.trim() {
        "bytes" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    (number >= 0.0).then_some((number * factor as f64) as u64)
}

/// What a program says, apart from its news; so much of it as `most` bytes.
#[derive(Debug, Default)]
pub(super) struct PrintedWords {
    pub(super) kept: Vec<u8>,
    half: Vec<u8>,
}

impl PrintedWords {
    /// Takes what came, and hands on what is news.
    pub(super) fn take(&mut self, bytes: &[u8], most: u64, news: &mut dyn FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')) {
            let room = (LONGEST + 1).saturating_sub(self.half.len());
            if piece.ends_with(b"\r") && piece.len() <= room {
                self.half.extend(piece);
                news(&self.half);
                self.half.clear();
                continue;
            }
            self.half.extend(piece);
            // It may still become news.
            if piece.ends_with(b"\n") || piece.ends_with(b"\r") || self.half.len() > LONGEST {
                self.keep(most);
            }
        }
    }

    /// What came last may have no end.
    pub(super) fn keep(&mut self, most: u64) {
        let room = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(self.kept.len());
        self.kept.extend(&self.half[..self.half.len().min(room)]);
        self.half.clear();
    }
}

/// Reads what a program says to its end; what is no news of it.
pub(super) fn listen(mut pipe: impl Read + AsFd, most: u64, heard: Heard<'_>) -> Vec<u8> {
    let (mut words, mut buffer) = (PrintedWords::default(), vec![0; 64 << 10]);
    let beat = Timespec { tv_sec: 0, tv_nsec: BEAT.as_nanos().try_into().unwrap_or(0) };
    loop {
        let said = poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&beat));
        if said == Ok(0) {
            heard(None);
            continue;
        }
        match pipe.read(&mut buffer) {
            Ok(count @ 1..) => words.take(&buffer[..count], most, &mut |line| {
                if let Some(coming) = Coming::read(line) {
                    heard(Some(&coming));
                }
            }),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    words.keep(most);
    words.kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_read_and_nothing_else_is() {
        let coming = |what: &str, done, total, bytes: Option<u64>| {
            let rate = bytes.filter(|bytes| *bytes > 1000).map(|bytes| bytes * 2);
            Some(Coming { what: what.into(), done, total, bytes, rate })
        };
        for (line, expected) in [
            ("Receiving objects:  42% (42/100)\r", coming("receiving objects", 42, 100, None)),
            (
                "Receiving objects:  42% (42/100), 1.50 MiB | 3.00 MiB/s\r",
                coming("receiving objects", 42, 100, Some(3 << 19)),
            ),
            ("remote: Compressing objects:   5% (1/20)\x1b[K\r", coming("compressing objects", 1, 20, None)),
            ("Resolving deltas: 100% (7/7), 900 bytes\r", coming("resolving deltas", 7, 7, Some(900))),
            ("fatal: x (y)", None),
            ("Receiving objects: (a/b)", None),
            ("Receiving objects: 1% (1/2), many MiB |", coming("receiving objects", 1, 2, None)),
            ("", None),
        ] {
            assert_eq!(Coming::read(line.as_bytes()), expected, "{line}");
        }
        assert_eq!(Coming::read(b"\xff: (1/2)"), None);
    }

    #[test]
    fn words_are_kept_apart_from_news_and_have_an_end() {
        let (mut words, mut news) = (PrintedWords::default(), Vec::new());
        let mut hear = |line: &[u8]| news.push(String::from_utf8_lossy(line).into_owned());
        for piece in ["war", "ning: x\nA: 1% ", "(1/2)\rA: 2%\r", "fatal: y"] {
            words.take(piece.as_bytes(), 100, &mut hear);
        }
        words.take(b"\n", 100, &mut hear);
        words.take("z".repeat(1000).as_bytes(), 100, &mut hear);
        words.take("no news\r".repeat(2).as_bytes(), 100, &mut |_| {});
        assert_eq!(news, ["A: 1% (1/2)\r", "A: 2%\r"]);
        assert!(words.kept.starts_with(b"warning: x\nfatal: y\nzzz") && words.kept.len() == 100);
    }

    #[test]
    fn who_waits_is_told_and_hears_the_end() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let heard = std::cell::RefCell::new(Vec::new());
        let kept = std::thread::scope(|scope| {
            scope.spawn(move || {
                use std::io::Write as _;
                writer.write_all(b"A: 50% (1/2)\rerror: z\n").unwrap();
            });
            listen(reader, 100, &|coming| heard.borrow_mut().extend(coming.map(|coming| coming.done)))
        });
        assert_eq!((kept.as_slice(), heard.into_inner()), (&b"error: z\n"[..], vec![1]));
    }
}
