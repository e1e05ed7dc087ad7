//! What is published and what it goes on from, and where that went.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::options::PublishOptions;
use crate::digest::Digest;
use crate::git::Git;
use crate::handoff::app::App;
use crate::handoff::task::{Pin, State};
use crate::handoff::workspaces::Locks;
use crate::identity::{Identity, Status, StoreRef, TaskId};
use crate::snapshot;

/// What is published, and what it goes on from.
#[derive(Clone, Debug)]
pub(crate) struct PublishedFrom {
    /// The root of the checkout.
    pub(crate) root: PathBuf,
    /// The workspace that the files go on from, where it is one.
    pub(crate) origin: Option<Pin>,
    /// The checkout whose runs have sealed caches, where it is another folder.
    pub(crate) sealed_in: Option<PathBuf>,
}

impl PublishedFrom {
    /// The checkout that holds a folder.
    pub(crate) fn of(app: &App, folder: &Path) -> Result<Self> {
        let repo = snapshot::open(folder)?;
        let root = repo.workdir().context("a bare repository has nothing to publish")?.to_owned();
        let origin = app.pins().of_workspace(&root)?;
        Ok(PublishedFrom { root, origin, sealed_in: None })
    }

    /// Who publishes: the agent, as it says; of who hands a workspace back, the name that
    /// their commits have, unless they leave no word of themselves (`claims`).
    pub(crate) fn publisher(&self, app: &App, options: &PublishOptions) -> Option<String> {
        let is_named = self.origin.is_some() && options.handoff.status == Status::HandedBack && app.user.claims;
        let developer = || {
            let git = Git::find(&app.env).ok().filter(|_| is_named)?;
            git.author_at_hand(&self.root.join(".git"), app.env.named("EMAIL")).name
        };
        options.agent.clone().or_else(|| app.env.agent.clone()).or_else(developer)
    }

    /// The identity that the workspace was made from.
    pub(crate) fn parent(&self, app: &App) -> Result<Option<Identity>> {
        Ok(self.origin.as_ref().map(|pin| app.pins().identity(&pin.identity)).transpose()?.flatten())
    }

    /// Lets the workspace know what was published from it.
    pub(crate) fn note(&self, app: &App, place: &PublishedTo) {
        let noted = |pin: &Pin| {
            // As a workspace that is being made or flushed.
            let _locks = Locks::wait(app, &place.store, &pin.slug, &pin.workspace)?;
            app.pins().note_published(pin, place.task.as_str(), place.identity, place.state.clone())
        };
        if let Some(pin) = self.origin.as_ref().filter(|pin| pin.store == place.store.to_string())
            && let Err(error) = noted(pin)
        {
            app.ui.warn(&format!("this workspace does not know that it was published: {error:#}"));
        }
    }
}

/// Where something was published.
pub(crate) struct PublishedTo {
    pub(crate) store: StoreRef,
    pub(crate) task: TaskId,
    pub(crate) identity: Digest,
    /// What the checkout was when it was captured.
    pub(crate) state: State,
}
