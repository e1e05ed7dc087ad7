//! The one typed error: a [`Fault`] anywhere in an `anyhow` chain decides the
//! exit code and carries the hint. Everything else in the chain is context.

use std::fmt;
use std::io::ErrorKind;

use serde::{Deserialize, Serialize};

use crate::secret;

/// What went wrong, as far as a script needs to know. Each kind has an exit
/// code of its own; the numbers are a contract (see `docs/reference/cli.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Anything without a kind of its own.
    Failure,
    /// The command line or a configuration file is wrong.
    Usage,
    /// A task, identity, image, commit or store does not exist.
    NotFound,
    /// After a reset something of the runtime is still there.
    Leak,
    /// Content does not match its size or digest, or a document is malformed.
    Integrity,
    /// A rule forbids it: an approval is missing, a secret was found.
    Policy,
    /// A store, registry or git remote does not answer.
    Unreachable,
}

impl Kind {
    /// The exit code of a verb that has no child process.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Failure => 1,
            Kind::Usage => 2,
            Kind::NotFound => 3,
            Kind::Leak => 4,
            Kind::Integrity => 5,
            Kind::Policy => 6,
            Kind::Unreachable => 7,
        }
    }
}

/// An error with a kind and, where there is one, the command that helps.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Decides the exit code.
    pub kind: Kind,
    /// What happened, to what.
    pub message: String,
    /// Everything that the message sums up, where that is several things.
    pub details: Vec<Detail>,
    /// The next thing to do; printed after the causes.
    pub hint: Option<String>,
}

/// One of the things that a fault is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Detail {
    /// For people: one line.
    pub text: String,
    /// For programs.
    pub data: serde_json::Value,
}

/// Characters of a message: what a parser says may quote all of a document.
const MAX_MESSAGE: usize = 4000;

/// Characters of a text that somebody else wrote.
const MAX_FOREIGN: usize = 200;

/// A text that somebody else wrote, for a message: its beginning.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_FOREIGN) {
        Some(_) => format!("{}\u{2026}", secret::beginning(text, MAX_FOREIGN)),
        None => text.to_owned(),
    }
}

impl Fault {
    /// A fault without a hint.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.char_indices().nth(MAX_MESSAGE).is_some() {
            message = secret::beginning(&message, MAX_MESSAGE);
            message.push('\u{2026}');
        }
        Fault { kind, message, details: Vec::new(), hint: None }
    }

    /// Adds the things that the message sums up.
    #[must_use]
    pub fn details(mut self, details: Vec<Detail>) -> Self {
        self.details = details;
        self
    }

    /// Adds the next thing to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(message: impl Into<String>) -> Fault {
            Fault::new(Kind::$kind, message)
        }
    )*};
}

constructors! {
    /// A [`Kind::Failure`] fault.
    failure => Failure;
    /// A [`Kind::Usage`] fault.
    usage => Usage;
    /// A [`Kind::NotFound`] fault.
    not_found => NotFound;
    /// A [`Kind::Integrity`] fault.
    integrity => Integrity;
    /// A [`Kind::Policy`] fault.
    policy => Policy;
    /// A [`Kind::Unreachable`] fault.
    unreachable => Unreachable;
}

/// What a thread made.
///
/// # Errors
/// When it died, with what it said then: `who` is "the thread that ...".
pub fn of_thread<T>(ended: std::thread::Result<T>, who: &str) -> Result<T, Fault> {
    ended.map_err(|panic| {
        let word = panic.downcast_ref::<&str>().copied();
        let words = word.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        failure(format!("{who} died: {}", words.unwrap_or("it did not say why")))
            .hint("this is a mistake in envctl: please report it with these words")
    })
}

/// The kind of the outermost [`Fault`] in the chain, [`Kind::Failure`] if none.
pub fn kind_of(error: &anyhow::Error) -> Kind {
    fault_of(error).map_or(Kind::Failure, |fault| fault.kind)
}

/// The things that the outermost [`Fault`] in the chain is about.
pub fn details_of(error: &anyhow::Error) -> &[Detail] {
    fault_of(error).map_or(&[], |fault| &fault.details)
}

/// The first hint in the chain, from the outside in.
pub fn hint_of(error: &anyhow::Error) -> Option<String> {
    let outer = fault_of(error).into_iter();
    let faults = outer.chain(error.chain().filter_map(|cause| cause.downcast_ref::<Fault>()));
    let named = faults.into_iter().find_map(|fault| fault.hint.clone());
    named.or_else(|| storage_hint(error)).or_else(|| memory_hint(error))
}

/// Git and its library get a share of the memory only, and read most things whole.
fn memory_hint(error: &anyhow::Error) -> Option<String> {
    let is_short = |cause: &(dyn std::error::Error + 'static)| {
        let class = cause.downcast_ref::<git2::Error>().map(git2::Error::class);
        let text = || cause.to_string();
        class == Some(git2::ErrorClass::NoMemory) || class.is_none() && text().contains("ut of memory, ")
    };
    let hint = "something in the repository says that it is larger than git may hold in memory; git fsck names what is damaged";
    error.chain().any(is_short).then(|| hint.into())
}

fn fault_of(error: &anyhow::Error) -> Option<&Fault> {
    // Only anyhow's own look finds a fault that was added as context.
    error.downcast_ref::<Fault>().or_else(|| error.chain().find_map(|cause| cause.downcast_ref::<Fault>()))
}

/// Full and read-only disks surface as plain I/O errors from many places;
/// the advice is the same everywhere.
fn storage_hint(error: &anyhow::Error) -> Option<String> {
    match error.chain().find_map(storage_trouble)? {
        ErrorKind::StorageFull => {
            Some("the disk is full (bytes or inodes): free some space, then run the same command again; nothing half-written was kept".into())
        }
        ErrorKind::ReadOnlyFilesystem => Some("the file system is read-only: point XDG_CACHE_HOME, XDG_DATA_HOME and XDG_STATE_HOME at a writable one".into()),
        _ => Some("check who owns the path above, and its mode".into()),
    }
}

/// What one cause says about the disk, whichever library or program says it.
fn storage_trouble(cause: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    let errno = cause.downcast_ref::<rustix::io::Errno>().map(|errno| std::io::Error::from(*errno).kind());
    let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind).or(errno);
    match kind.or_else(|| passed_on(&cause.to_string()))? {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(ErrorKind::StorageFull),
        kind @ (ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => Some(kind),
        _ => None,
    }
}

/// What went wrong with a disk below git and libgit2: of an error's number they pass on
/// nothing but the words that the C library has for it (strerror(3)).
fn passed_on(text: &str) -> Option<ErrorKind> {
    let errors = [libc::ENOSPC, libc::EDQUOT, libc::EROFS].map(std::io::Error::from_raw_os_error);
    let found = errors.iter().find(|error| {
        let words = error.to_string();
        // Rust puts the number behind them.
        words.split_once(" (os error").is_some_and(|(words, _)| text.contains(words))
    });
    found.map(std::io::Error::kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn kind_and_hint_survive_context() {
        let error = Err::<(), _>(not_found("no such task").hint("envctl tasks")).context("cannot enter").unwrap_err();
        assert_eq!(kind_of(&error), Kind::NotFound);
        assert_eq!(hint_of(&error).as_deref(), Some("envctl tasks"));
    }

    #[test]
    fn a_fault_that_is_context_counts() {
        let full = std::io::Error::from_raw_os_error(libc::ENOSPC);
        let error =
            anyhow::Error::new(full).context(unreachable("no answer").hint("git ls-remote")).context("cannot enter");
        assert_eq!(kind_of(&error), Kind::Unreachable);
        assert_eq!(hint_of(&error).as_deref(), Some("git ls-remote"));
        let error = anyhow::Error::new(not_found("x").hint("inner")).context(unreachable("y")).context("z");
        assert_eq!((kind_of(&error), hint_of(&error).as_deref()), (Kind::Unreachable, Some("inner")));
    }

    #[test]
    fn a_thread_that_died_keeps_its_words() {
        let words = |ended: std::thread::Result<()>| of_thread(ended, "the thread that looks").unwrap_err().message;
        let ended = std::thread::spawn(|| panic!("no {}", "luck")).join();
        assert_eq!(words(ended), "the thread that looks died: no luck");
        assert_eq!(words(Err(Box::new("as it is"))), "the thread that looks died: as it is");
        assert_eq!(words(Err(Box::new(1))), "the thread that looks died: it did not say why");
        assert_eq!(of_thread(Ok(7), "the thread that looks").unwrap(), 7);
    }

    #[test]
    fn plain_io_errors_get_advice_on_a_full_disk() {
        let error = anyhow::Error::from(std::io::Error::from_raw_os_error(libc::ENOSPC)).context("cannot write");
        assert_eq!(kind_of(&error), Kind::Failure);
        assert!(hint_of(&error).unwrap().contains("disk is full"));
        for (errno, kind) in
            [(libc::ENOSPC, "disk is full"), (libc::EDQUOT, "disk is full"), (libc::EROFS, "read-only")]
        {
            let words = std::io::Error::from_raw_os_error(errno).to_string();
            let words = words.split(" (os error").next().unwrap();
            let error = anyhow::anyhow!("fatal: cannot write objects/pack: {words}");
            assert!(hint_of(&error).unwrap().contains(kind), "{words}");
        }
        assert_eq!(hint_of(&anyhow::anyhow!("fatal: bad object")), None);
    }
}
