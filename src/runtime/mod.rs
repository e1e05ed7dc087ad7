//! L3: the disposable sandbox in which commands run, and the way back from it.
//!
//! A runtime is one process tree in namespaces of its own. Its pid 1 is our
//! own code ([`init`]); it starts processes on request ([`process`]) and dies
//! with its owner, the `envctl enter` that made it ([`sandbox`]). Other
//! terminals join through the same requests ([`client`]).
//!
//! Invariants: everything that a run writes outside the workspace lies in a
//! mount that exists inside only; when pid 1 dies everything in it dies; a
//! runtime's folder is locked by owner and pid 1, so a lock that can be taken
//! means that both are dead. A reset checks from outside ([`reset`]).
//!
//! The lock of a runtime's folder has its place in the order of locks in
//! `docs/architecture.md`. A reset, which has it, tries for that of the places in a
//! workspace and gives up soon.

#[path = "join/adjust.rs"]
mod adjust;
mod background;
#[path = "join/client.rs"]
mod client;
mod deadline;
#[path = "namespaces/detached.rs"]
mod detached;
mod doctor;
#[path = "namespaces/exposed.rs"]
mod exposed;
#[path = "guest/forward.rs"]
mod forward;
#[path = "guest/init.rs"]
mod init;
#[path = "guest/inside.rs"]
mod inside;
#[path = "namespaces/inspect.rs"]
mod inspect;
mod lease;
mod limits;
mod mapping;
#[path = "guest/own_program.rs"]
mod own_program;
#[path = "guest/pasta.rs"]
mod pasta;
mod ports;
mod probe;
#[path = "guest/process.rs"]
mod process;
#[path = "join/relay.rs"]
mod relay;
#[path = "namespaces/reset.rs"]
mod reset;
#[path = "guest/rootfs/mod.rs"]
mod rootfs;
#[path = "namespaces/sandbox.rs"]
mod sandbox;
#[path = "guest/seccomp.rs"]
mod seccomp;
#[path = "guest/serve.rs"]
mod serve;
#[path = "guest/services.rs"]
mod services;
#[path = "join/streams.rs"]
mod streams;
mod sys;
mod token;
#[path = "join/transcript.rs"]
mod transcript;
mod usage;
mod wire;
#[path = "guest/written.rs"]
mod written;

pub use adjust::{add_ports, extend};
pub use background::in_background;
pub use client::{Outcome, Session, ended, hold_signals, join};
pub use deadline::{monotonic_after, monotonic_now, until};
pub use detached::detach;
pub use doctor::{delegates_cgroup, has_subordinate_ids, kernel, private_network, user_namespace};
pub use lease::{Lease, Look, Process, Runtimes};
pub use limits::{Enforced, Limits, Means};
pub use mapping::Mapping;
pub use ports::{Port, PortRequest};
pub use reset::{Receipt, Tally, reap, stop};
pub use rootfs::{ARTIFACTS, Access, Changed, Place, RootfsSpec, TreeMount, hides};
pub use sandbox::{Sandbox, Spec};
pub use services::{Ready, ServiceSpec};
pub use transcript::{Stream, Transcript};
pub use usage::{PeakOf, Usage};
pub use written::Written;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// Exit code of what a deadline ended, as `timeout(1)` has it.
const TIMED_OUT: i32 = 124;

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
