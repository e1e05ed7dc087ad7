//! What is to run inside, and how it went.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use crate::runtime::TIMED_OUT;
use crate::runtime::wire::Soon;

/// A file into which standard output goes, and so many bytes of it at `most`: then
/// nothing is read any more.
#[derive(Clone, Debug)]
pub struct StdoutFile {
    /// The file.
    pub file: Arc<File>,
    /// How much it takes, in bytes.
    pub most: u64,
}

/// What is to run.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Program and arguments; empty for the login shell.
    pub command: Vec<OsString>,
    /// Variables of this session only.
    pub env: Vec<(String, String)>,
    /// Where everything that it prints goes, instead of this process's streams;
    /// it reads nothing then.
    pub output: Option<Arc<File>>,
    /// Where its standard output alone goes, and nowhere else.
    pub stdout: Option<StdoutFile>,
    /// What it prints goes to a log that stays: values of secrets do not.
    pub hides: bool,
    /// Nothing more will be asked of the runtime: when nothing else is left in
    /// it, it ends together with this.
    pub last: bool,
    /// The shell that is opened without a command, instead of the account's.
    pub shell: Option<String>,
    /// Who is told that the runtime ends soon.
    pub warned: Option<Warned>,
    /// What is looked at after a while.
    pub later: Option<Later>,
}

/// What is done once, when a session has lasted so long.
#[derive(Clone)]
pub struct Later {
    /// How long.
    pub after: Duration,
    /// What is done then. It may print.
    pub look: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Later({:?})", self.after)
    }
}

/// What is done when a runtime ends soon.
#[derive(Clone)]
pub struct Warned(pub Arc<dyn Fn(Soon) + Send + Sync>);

impl fmt::Debug for Warned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Warned")
    }
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ended by itself: its exit code, or 128 and the signal's number.
    Exited(u8),
    /// It could not be started.
    NotStarted {
        /// What was to be run.
        program: String,
        /// `errno(3)`.
        errno: i32,
    },
    /// The runtime's deadline ended it.
    TimedOut,
    /// The runtime ended because nothing was done in it.
    Idle,
    /// This signal ended the unattended run as a whole.
    Cancelled(i32),
    /// The runtime ended under it.
    Lost,
}

impl Outcome {
    /// Why the runtime ends after it, as receipts say it.
    pub fn reason(&self) -> &'static str {
        match self {
            Outcome::Exited(_) | Outcome::NotStarted { .. } => "exit",
            Outcome::TimedOut => "deadline",
            Outcome::Idle => "idle",
            Outcome::Cancelled(_) => "cancelled",
            Outcome::Lost => "reset",
        }
    }

    /// The exit code by the convention of shells.
    pub fn exit_code(&self) -> u8 {
        match self {
            Outcome::Exited(code) => *code,
            Outcome::NotStarted { errno: libc::ENOENT, .. } => 127,
            Outcome::NotStarted { .. } => 126,
            Outcome::TimedOut | Outcome::Idle => TIMED_OUT as u8,
            Outcome::Cancelled(signal) => 128_u8.wrapping_add(*signal as u8),
            Outcome::Lost => 128 + libc::SIGKILL as u8,
        }
    }
}
