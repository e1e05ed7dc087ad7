//! What this process does, step by step, for whoever asks for it by `ENVCTL_LOG`.
//!
//! Invariant: an event is one line and one write, so that all lines before a crash are
//! whole. No line holds a value that is known to be secret. The events of libraries are
//! not told: theirs quote headers and bodies.
//!
//! Nothing is set up unless somebody asks: an event then costs the look at one number.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::{Pid, getpid};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::uptime;
use tracing_subscriber::layer::SubscriberExt as _;

use super::escape;
use super::escape::cut;
use crate::error::{Fault, usage};

/// Characters of an event: what a program says may be long.
const LONG_EVENT: usize = 4000;

/// Tells every event of this process from now on, `to` standard error or to the end of a
/// file, which nobody else may read if it is made here.
///
/// # Errors
/// When `to` is neither `stderr` nor an absolute path, or the file cannot be opened. The
/// command can go on.
pub fn begin(to: &OsStr) -> Result<(), Fault> {
    let place = match Path::new(to) {
        path if path.is_absolute() => TraceTarget::File(open(path)?),
        path if path == Path::new("stderr") => TraceTarget::Stderr,
        path => {
            return Err(usage(format!("ENVCTL_LOG is {}, and nothing is logged", path.display()))
                .hint("ENVCTL_LOG=stderr, or the absolute path of a file"));
        }
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_timer(uptime())
        .with_writer(EventWriter { place, process: getpid() });
    let own = Targets::new().with_target("envctl", LevelFilter::TRACE);
    let told = tracing_subscriber::registry().with(own).with(lines);
    if tracing::subscriber::set_global_default(told).is_ok() {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            tracing::error!("{panic}");
            usual(panic);
        }));
    }
    Ok(())
}

fn open(path: &Path) -> Result<File, Fault> {
    // A link may have been laid by somebody else, where many may write.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path).map_err(|error| {
        usage(format!("cannot write the log {}, and nothing is logged: {error}", path.display()))
            .hint("ENVCTL_LOG=stderr, or the absolute path of a file")
    })
}

enum TraceTarget {
    Stderr,
    File(File),
}

/// Writes events for one process. A fork of it, such as pid 1 of a runtime, closes the
/// descriptors that it inherits, and their numbers may mean something else to it.
struct EventWriter {
    place: TraceTarget,
    process: Pid,
}

impl<'a> MakeWriter<'a> for EventWriter {
    type Writer = &'a EventWriter;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl io::Write for &EventWriter {
    /// Takes one event.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if getpid() == self.process {
            let line = line(&String::from_utf8_lossy(event));
            match &self.place {
                TraceTarget::Stderr => io::stderr().write_all(line.as_bytes())?,
                TraceTarget::File(file) => (&mut &*file).write_all(line.as_bytes())?,
            }
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An event as it is shown.
fn line(event: &str) -> String {
    let mut line = cut(&escape(event.trim_end_matches('\n')), LONG_EVENT).into_owned();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn an_event_is_a_line_without_secrets_and_without_controls() {
        let secret = Secret::new("correct-horse-battery".into());
        let event = format!("  0.1s DEBUG token {} \x1b[2J\nnext\n", secret.expose());
        assert_eq!(line(&event), "  0.1s DEBUG token [secret] \\u{1b}[2J\\nnext\n");
        assert!(line(&"x".repeat(10_000)).len() < 5000);
    }

    #[test]
    fn a_file_is_the_owners_and_grows_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for _ in 0..2 {
            let writer = EventWriter { place: TraceTarget::File(open(&path).unwrap()), process: getpid() };
            (&mut &writer).write_all(b"one event\n").unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one event\none event\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
        assert!(open(&dir.path().join("link")).is_err());
        assert!(begin(OsStr::new("debug")).unwrap_err().message.contains("ENVCTL_LOG is debug"));
    }

    #[test]
    fn a_fork_says_nothing() {
        let mut dir = tempfile::tempfile().unwrap();
        let other = EventWriter { place: TraceTarget::File(dir.try_clone().unwrap()), process: Pid::INIT };
        (&mut &other).write_all(b"an event\n").unwrap();
        assert_eq!(std::io::Read::read_to_end(&mut dir, &mut Vec::new()).unwrap(), 0);
    }
}
