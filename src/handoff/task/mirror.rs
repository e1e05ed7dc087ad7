//! Where the mirror of a task's repository is.

use super::resolve::Resolved;
use crate::handoff::app::App;
use crate::identity::Identity;
use crate::workspace::Mirror;

/// Where the mirror of a task's repository is.
pub(crate) fn mirror(app: &App, resolved: &Resolved) -> Mirror {
    mirror_of(app, &resolved.identity)
}

/// The same, of an identity.
pub(crate) fn mirror_of(app: &App, identity: &Identity) -> Mirror {
    let key = identity.repo.url.key();
    Mirror::new(app.paths.mirror(&key), app.paths.data_lock(&format!("repo-{key}")), &identity.repo.url)
}
