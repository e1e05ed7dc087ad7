//! The runtime from inside and outside: what it promises, and that nothing of
//! it is left.

mod confined;
mod detached;
mod given;
mod hostile;
mod inside;
mod joined;
mod lent;
mod limits;
mod network;
mod outcome;
mod planted;
mod ports;
mod replaced;
mod reset;
mod secrets;
mod terminal;
mod unheard;
mod ways_out;

use crate::support::Lab;

/// The same for root and for the unprivileged account.
fn both() -> [Lab; 2] {
    [Lab::new(), Lab::unprivileged()]
}
