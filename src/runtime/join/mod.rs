//! The terminal or the pipes at which somebody sits, connected to a runtime.
//!
//! [`client`] speaks to pid 1, [`relay`] and [`streams`] move the bytes, [`transcript`]
//! keeps what was printed, and [`adjust`] changes ports and deadlines meanwhile.

mod adjust;
mod client;
mod relay;
mod streams;
mod transcript;

pub use adjust::{add_ports, extend};
pub(crate) use client::{Beat, Done, ask, run, stop_services, wait_for_joined};
pub use client::{Later, Outcome, Session, Warned, ended, hold_signals, join, joined_now};
pub use transcript::{Stream, Transcript};
