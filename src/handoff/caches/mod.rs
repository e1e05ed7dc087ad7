//! Caches on the way into a runtime: which entries a workspace needs ([`mod@wanted`]),
//! which are here, in the store ([`travel`]), or have to be made ([`mod@seal`]), and
//! where they appear ([`place`]); [`pipeline`] is the order of that, over one [`state`].
//! Nobody waits for what comes [`afterwards`]. [`mod@tend`] keeps them at their size,
//! [`mod@verify`] hashes them again, and [`verbs`] is what `envctl cache` does.
//!
//! The locks of a cache have their places in the order in `docs/architecture.md`.

mod afterwards;
mod parts;
mod pipeline;
mod place;
mod seal;
mod state;
mod tend;
mod tended;
mod travel;
mod verbs;
mod verify;
mod wanted;

pub(crate) use afterwards::{flush, given, note_given};
pub(crate) use pipeline::parts;
pub(crate) use place::forget_materialized;
pub(crate) use state::{Caches, EarlyTree, keep};
pub(crate) use tend::{Rules, configured, make_room, tend};
pub use tended::Tended;
pub(crate) use travel::{early, identity_caches, push};
pub use verbs::{
    CacheRow, Compared, Explained, KeyRow, Promoted, PruneOptions, cache_diff, cache_key, cache_why, caches, promote,
    prune,
};
pub use verify::{Verified, verify_caches};
pub(crate) use wanted::Basis;
