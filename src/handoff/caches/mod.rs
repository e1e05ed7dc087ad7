//! Caches on the way into a runtime: which entries a workspace needs ([`mod@wanted`],
//! by their [`inputs`]), which are here, in the store ([`travel`]), or have to be made
//! ([`mod@seal`], if the developer agrees to the [`setups`]), and where they appear
//! ([`place`]). What sets two entries apart, and which one is nearest, is told by
//! [`differing`]. What has changed in the workspace must look newer than what is
//! [`built`] from it. [`pipeline`] is the order of that, over one [`state`].
//! [`mod@tend`] keeps them at their size, [`mod@verify`] hashes them again, and
//! [`verbs`] is what `envctl cache` does.
//!
//! The locks of a cache have their places in the order in `docs/architecture.md`.

mod built;
mod differing;
mod inputs;
mod pipeline;
mod place;
mod seal;
mod setups;
mod state;
mod tend;
mod travel;
mod verbs;
mod verify;
mod wanted;

pub use differing::{Reason, cache_reasons};
pub(crate) use inputs::{given_fixtures, require_fixtures, require_inputs};
pub(crate) use pipeline::parts;
pub(crate) use place::forget_materialized;
pub(crate) use setups::ask;
pub(crate) use state::{Caches, EarlyTree, flush, given, keep, note_given, tell_gone, trees};
pub use tend::Tended;
pub(crate) use tend::{Rules, configured, make_room, tend};
pub(crate) use travel::{Carried, GIVEN, PublishedCaches, describe, described, early, identity_caches, layer, push};
pub use verbs::{
    CacheRow, Compared, Explained, KeyRow, Promoted, PruneOptions, cache_diff, cache_key, cache_retry, cache_why,
    caches, promote, prune,
};
pub use verify::{VerifiedEntry, verify_caches};
pub(crate) use wanted::Basis;
