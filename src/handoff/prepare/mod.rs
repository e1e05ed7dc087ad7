//! Everything that a runtime needs, made or found, for `enter`, `run` and `reset`.
//!
//! [`mod@plan`] says what is missing and how long it will take, by what this machine has
//! measured ([`rates`]). [`mod@gather`] brings image, snapshot and commits at the same time;
//! commits come from clones that the developer has, as far as these have them ([`nearby`]).
//! What is in the way of the workspace makes way ([`make_way`]); [`hydrate`] makes it, and
//! [`restored`] tells what there is to know about it. [`mod@ready`] is the one way from
//! there to a runtime: caches, and what runs beside the command ([`mod@services`]).

mod gather;
mod hydrate;
mod make_way;
mod nearby;
mod plan;
mod rates;
mod ready;
mod restored;
mod services;

pub(crate) use gather::{afterwards, flush, is_first, make_workspace, unless_renewed};
pub(crate) use hydrate::{Renew, fetch_from, fetch_repo, settle_repo};
pub use plan::Plan;
pub(crate) use plan::plan;
pub(crate) use rates::{is_news, learn};
pub(crate) use ready::{Ingredients, KeptCaches, Prepared, Ready, Wishes, prepare, ready};
