//! Where git may go for a task: what of it is the developer's own word, what
//! they have approved, and what they are asked about.

use anyhow::Result;

use super::resolve::Resolved;
use crate::config::Reachable;
use crate::git::{Judge, Manner, Way};
use crate::handoff::allowance::allowance;
use crate::handoff::app::App;
use crate::handoff::trust::{Checkout, Origin, approvals, require_host};
use crate::identity::{Identity, RepoUrl, Site, StoreRef};
use crate::workspace::{MirrorRemote, RemotePlace};

/// Judges each way to the repository of one task, at the moment at which git
/// would go there.
pub(crate) struct Door<'a> {
    app: &'a App,
    reachable: Reachable,
    /// The developer's own checkout: where its remote is, they said.
    local: bool,
    /// The task comes from where anybody may name folders of this machine.
    stranger: bool,
    /// The developer sits in front of it.
    interactive: bool,
}

impl<'a> Door<'a> {
    /// The way to a task's repository.
    ///
    /// # Errors
    /// When a rule of the user's makes something of it that is no address.
    pub(crate) fn of(app: &'a App, resolved: &Resolved) -> Result<Self> {
        let url = &resolved.identity.repo.url;
        // A workspace holds what its store gave, whatever is run in it.
        let stranger = match &resolved.local {
            None => app.is_strange(&resolved.task.store)?,
            // It may be its own remote.
            Some(checkout) if checkout.folder.parse::<RepoUrl>().is_ok_and(|own| own == *url) => false,
            Some(Checkout { planted: true, .. }) => true,
            Some(Checkout { origin: Origin::Store(store), .. }) => app.is_strange(&store.parse()?)?,
            Some(Checkout { origin: Origin::Folder(_), .. }) => false,
        };
        Ok(Door {
            app,
            reachable: app.user.rewrite(url)?,
            local: resolved.local.as_ref().is_some_and(Checkout::is_own),
            stranger,
            interactive: app.options.interactive,
        })
    }

    /// The same where nobody is asked; the store of what is pinned, if anything is.
    ///
    /// # Errors
    /// As [`Door::of`].
    pub(crate) fn quiet(app: &'a App, identity: &Identity, store: Option<&StoreRef>) -> Result<Self> {
        let reachable = app.user.rewrite(&identity.repo.url)?;
        let stranger = store.map(|store| app.is_strange(store)).transpose()?.unwrap_or(false);
        Ok(Door { app, reachable, local: false, stranger, interactive: false })
    }

    /// Makes sure that what is here of a repository may be seen inside, whoever had it
    /// brought here.
    ///
    /// # Errors
    /// [`crate::error::Kind::Policy`] where a stranger names it, and the developer did
    /// not agree to it.
    pub(crate) fn settle_known(&self) -> Result<()> {
        let url = self.url();
        if !self.stranger || self.is_own() || self.is_approved(url)? {
            return Ok(());
        }
        let name = url.site().map_or_else(|| url.to_string(), |site| site.to_string());
        require_host(self.app, &name, self.interactive)
    }

    /// Where the repository is reachable from here.
    pub(crate) fn url(&self) -> &RepoUrl {
        &self.reachable.url
    }

    /// How it is asked.
    pub(crate) fn remote(&self) -> MirrorRemote<'_> {
        MirrorRemote {
            place: RemotePlace::Address(&self.reachable.url, self),
            offline: self.app.options.offline,
            manner: manner(self.app, self.interactive),
        }
    }

    /// Whether an address is the developer's own word.
    fn is_own(&self) -> bool {
        self.local || self.reachable.named
    }

    fn is_approved(&self, url: &RepoUrl) -> Result<bool> {
        let known = approvals(self.app)?.host;
        Ok(known.iter().any(|host| match url.site() {
            Some(site) => site.is_named(&host.name),
            None => host.name == url.to_string() || url.to_string() == format!("file://{}", host.name),
        }))
    }
}

/// How a remote is spoken with: no more comes than the developer allows, and than
/// there is room for.
pub(crate) fn manner(app: &App, interactive: bool) -> Manner {
    let most = allowance(app, app.paths.data());
    Manner { interactive, patience: app.options.net_timeout, most, needed: true }
}

impl Judge for Door<'_> {
    fn allow(&self, way: &Way) -> Result<()> {
        // What a rule of git's makes of an address is the developer's word as
        // far as the rule says where it leads.
        let straight = way.real == way.asked || way.settled;
        if !way.redirected && straight && self.is_own() {
            return Ok(());
        }
        // Whoever can write to a registry, or to a store that is laid into a
        // checkout, could name any repository of this machine, and everything in it would be readable inside.
        if way.real.is_file() && way.real == way.asked && !self.stranger {
            return Ok(());
        }
        if self.is_approved(&way.real)? || (way.settled && self.is_approved(&way.asked)?) {
            return Ok(());
        }
        let name = way.real.site().map_or_else(|| way.real.to_string(), |site| site.to_string());
        require_host(self.app, &name, self.interactive && way.needed)
    }

    fn knows(&self, site: &Site) -> bool {
        let known = || approvals(self.app).is_ok_and(|all| all.host.iter().any(|host| site.is_named(&host.name)));
        self.is_own() || known()
    }
}
