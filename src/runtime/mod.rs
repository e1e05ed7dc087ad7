//! L3: the disposable sandbox in which commands run, and the way back from it.
//!
//! A runtime is one process tree in namespaces of its own. Its pid 1 is our
//! own code ([`guest`]); it starts processes on request and dies with its owner,
//! the `envctl enter` that made it ([`namespaces`]). Other terminals join through
//! the same requests ([`mod@join`]). Whether the kernel allows all that, `envctl doctor`
//! asks here ([`mod@doctor`]); how it is said is the command's own.
//!
//! Invariants: everything that a run writes outside the workspace lies in a
//! mount that exists inside only; when pid 1 dies everything in it dies; a
//! runtime's folder is locked by owner and pid 1, so a lock that can be taken
//! means that both are dead. A reset checks from outside.
//!
//! The lock of a runtime's folder has its place in the order of locks in
//! `docs/architecture.md`. A reset, which has it, tries for that of the places in a
//! workspace and gives up soon.

mod background;
mod deadline;
mod doctor;
mod guest;
mod ids;
mod join;
mod lease;
mod lending;
mod limits;
mod mapping;
mod namespaces;
mod ports;
mod probe;
mod sys;
mod token;
mod usage;
mod watch;
mod wire;

pub use background::in_background;
pub use deadline::{monotonic_after, monotonic_now, until};
pub use doctor::{delegates_cgroup, has_subordinate_ids, kernel, private_network, user_namespace};
pub use guest::{
    ARTIFACTS, ChangedTree, InnerPlace, OwnImage, ReadyCheck, RootfsSpec, ServiceSpec, TreeAccess, TreeMount, hides,
};
pub use join::{
    Later, Outcome, Session, StdoutFile, Stream, Transcript, Warned, add_ports, ended, ends_when_asked_twice, extend,
    hold_signals, join, joined_now, remove_ports,
};
pub use lease::{DeadLook, Lease, Process, Runtimes};
pub use lending::{LENT, Lending, Lent, LentSocket, Visit};
pub use limits::{Assumed, Enforced, Limits, Means, OutOfMemory, memory_here};
pub use mapping::Mapping;
pub use namespaces::{Receipt, Sandbox, Spec, Tally, detach, heard_ports, reap, stop};
pub use ports::{Port, PortRequest};
pub use usage::{PeakOf, Usage};
pub use wire::{EndedService, Soon, Written};

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// Exit code of what a deadline ended, as `timeout(1)` has it.
const TIMED_OUT: i32 = 124;

/// Exit code of pid 1 where nothing was done for too long; what was run has
/// [`TIMED_OUT`].
const IDLE: i32 = 123;

/// A secret on its way into a runtime.
#[derive(Clone, Debug)]
pub struct Injected {
    /// Its name: of the variable, and of the file below `/run/secrets`.
    pub name: String,
    /// Its value.
    pub value: Secret,
    /// Whether it becomes a variable of every process.
    pub variable: bool,
    /// Whether it becomes a file of mode 0400.
    pub file: bool,
}

/// What a runtime can reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// A loopback of its own and nothing else.
    #[default]
    Isolated,
    /// An outside, through pasta, but nothing of the host's own loopback.
    Private,
    /// The host's network, as if there were no sandbox.
    Host,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Network::Isolated => "isolated",
            Network::Private => "private",
            Network::Host => "host",
        })
    }
}

/// In whose name processes run inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// Home folder inside.
    pub home: String,
    /// Login shell; the first of bash and sh that exists when there is none.
    pub shell: Option<String>,
}
