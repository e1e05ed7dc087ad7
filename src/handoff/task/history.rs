//! From an identity to the one that it continues, and on.

use anyhow::{Context as _, Result};

use super::located::Located;
use super::resolve::from_store;
use crate::digest::Digest;
use crate::error::{Kind, kind_of};
use crate::handoff::app::App;
use crate::identity::{Identity, StoreRef, Target};
use crate::store::Store;

/// A walk from an identity to its parents.
pub(crate) struct History<'a> {
    app: &'a App,
    store: Option<&'a dyn Store>,
    name: &'a StoreRef,
    next: Option<Digest>,
    /// What was looked for in vain.
    gone: Option<Digest>,
}

impl<'a> History<'a> {
    pub(crate) fn from(app: &'a App, store: Option<&'a dyn Store>, name: &'a StoreRef, newest: Digest) -> Self {
        History { app, store, name, next: Some(newest), gone: None }
    }

    /// What was looked for in vain.
    pub(crate) fn gone(&self) -> Option<Digest> {
        self.gone
    }

    /// Whether the walk could go on.
    pub(crate) fn has_more(&self) -> bool {
        self.next.is_some()
    }

    fn look_up(&self, digest: Digest) -> Result<Option<Identity>> {
        // Exact bytes: where they are from does not matter.
        if let Some(identity) = self.app.pins().identity(&digest)? {
            return Ok(Some(identity));
        }
        let Some(store) = self.store else { return Ok(None) };
        let located = Located { store: self.name.clone(), target: Target::Identity(digest) };
        match from_store(store, &located) {
            Ok((_, _, identity)) => Ok(Some(identity)),
            Err(error) if kind_of(&error) == Kind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read the identity {digest}")),
        }
    }
}

impl Iterator for History<'_> {
    type Item = Result<(Digest, Identity)>;

    fn next(&mut self) -> Option<Self::Item> {
        let digest = self.next.take()?;
        match self.look_up(digest) {
            Ok(Some(identity)) => {
                self.next = identity.parent;
                Some(Ok((digest, identity)))
            }
            Ok(None) => {
                self.gone = Some(digest);
                None
            }
            Err(error) => Some(Err(error)),
        }
    }
}
