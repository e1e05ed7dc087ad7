//! What the remote of a checkout holds of its history, and what only the checkout has.

pub(super) mod history;
pub(super) mod left_out;
pub(super) mod remote;
