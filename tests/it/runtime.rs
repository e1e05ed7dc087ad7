//! The runtime from inside and outside: what it promises, and that nothing of
//! it is left.

mod hostile;
mod inside;
mod outcome;
mod reset;
mod terminal;

use crate::support::Lab;

/// The same for root and for the unprivileged account.
fn both() -> [Lab; 2] {
    [Lab::new(), Lab::unprivileged()]
}
