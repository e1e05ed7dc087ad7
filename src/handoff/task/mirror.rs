//! Where the mirror of a task's repository is.

use super::resolve::Resolved;
use crate::handoff::app::Context;
use crate::identity::Identity;
use crate::workspace::Mirror;

/// Where the mirror of a task's repository is.
pub(crate) fn mirror(ctx: &Context, resolved: &Resolved) -> Mirror {
    mirror_of(ctx, &resolved.identity)
}

/// The same, of an identity.
pub(crate) fn mirror_of(ctx: &Context, identity: &Identity) -> Mirror {
    let key = identity.repo.url.key();
    Mirror::new(ctx.paths.mirror(&key), ctx.paths.data_lock(&format!("repo-{key}")))
}
