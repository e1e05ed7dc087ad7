//! Telling colleagues apart: who entered a task lately, as they left word
//! beside it. Nothing waits for it and nothing fails by it.

use anyhow::Result;

use super::resolve::Resolved;
use super::source::Source;
use crate::clock::age;
use crate::handoff::app::App;
use crate::identity::{Claim, Claims};
use crate::store::{Access, add_claim, read_claims};

/// Who this is, to others: the name that their git has, and the machine's.
fn own_name() -> (String, String) {
    let config = git2::Config::open_default();
    let who = config.and_then(|config| config.get_string("user.name")).ok().filter(|name| !name.is_empty());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    (who.unwrap_or_else(|| "an unnamed user".into()), host)
}

/// Others who entered a task lately, newest first; nobody, where this one does
/// not take part.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn others(source: &Source<'_>, resolved: &Resolved) -> Result<Vec<Claim>> {
    if !source.app.user.claims {
        return Ok(Vec::new());
    }
    let (who, host) = own_name();
    let claims: Claims = read_claims(source.store()?, &resolved.identity.task_id)?;
    Ok(claims.of_others(&who, &host, source.app.clock.now()).cloned().collect())
}

/// Says who entered a task before this one does.
pub(crate) fn tell(source: &Source<'_>, resolved: &Resolved) {
    let app = source.app;
    match others(source, resolved) {
        Ok(claims) => claims.iter().for_each(|claim| app.ui.status("Entered", &line(app, claim, resolved))),
        Err(error) => app.ui.detail(&format!("who else entered is not known: {error:#}")),
    }
}

/// One claim, for people.
pub(crate) fn line(app: &App, claim: &Claim, resolved: &Resolved) -> String {
    let state = if claim.identity == resolved.digest { "" } else { ", another state of it" };
    format!("by {} on {}, {}{state}", claim.who, claim.host, age(claim.at, app.clock.now()))
}

/// Leaves word that this one entered, where the store takes it.
///
/// # Errors
/// When it does not.
pub(crate) fn leave(app: &App, resolved: &Resolved) -> Result<()> {
    if !app.user.claims || app.options.offline {
        return Ok(());
    }
    let (who, host) = own_name();
    let store = app.open(&resolved.task.store, Access::Read)?;
    let claim = Claim::new(&who, &host, app.clock.now(), resolved.digest);
    add_claim(&*store, &resolved.identity.task_id, &claim)
}
