//! The runtime from inside and outside: what it promises, and that nothing of
//! it is left.

mod confined;
mod hostile;
mod inside;
mod lent;
mod limits;
mod network;
mod outcome;
mod planted;
mod replaced;
mod secrets;
mod streams;
mod unheard;
mod ways_out;

use crate::support::Lab;

/// The same for root and for the unprivileged account.
/// With the watch over the workspace, and without: then everything is seen at the end.
fn watched(lab: Lab) -> (Lab, bool) {
    (lab, true)
}

fn unwatched(lab: Lab) -> (Lab, bool) {
    (lab, false)
}
