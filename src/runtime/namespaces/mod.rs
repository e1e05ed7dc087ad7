//! The owner's side of a runtime in Linux namespaces: [`sandbox`] makes and ends it,
//! [`detached`] is an owner of its own, and [`mod@reset`] takes away what is left, by what
//! [`inspect`] sees from outside. [`exposed`] looks for values of secrets that a run left
//! in the workspace.

mod detached;
mod exposed;
mod inspect;
mod reset;
mod sandbox;

pub use detached::detach;
pub use inspect::heard_ports;
pub use reset::{Receipt, Tally, reap, stop};
pub use sandbox::{Sandbox, Spec};
