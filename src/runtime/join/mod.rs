//! The terminal or the pipes at which somebody sits, connected to a runtime.
//!
//! [`client`] runs a [`session`] over a [`connection`] to pid 1 and [`attend`]s to it,
//! [`relay`], [`mod@source`] and [`streams`] move the bytes, [`transcript`] keeps what was printed, and
//! [`adjust`] changes ports and deadlines meanwhile.

mod adjust;
mod attend;
mod client;
mod connection;
mod relay;
mod session;
mod source;
mod streams;
mod transcript;

pub use adjust::{add_ports, extend, remove_ports};
pub(crate) use attend::{Beat, Done};
pub(crate) use client::run;
pub use client::{ends_when_asked_twice, hold_signals, join};
pub(crate) use connection::{ask, stop_services, wait_for_joined};
pub use connection::{ended, joined_now};
pub use session::{Later, Outcome, Session, StdoutFile, Warned};
pub use transcript::{Stream, Transcript};
