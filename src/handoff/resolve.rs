//! From a name to an identity: the pin where there is one, the store
//! otherwise.

use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::asks::{Checkout, Origin};
use super::context::{Context, Located};
use super::pin::Pin;
use super::publish::quote;
use super::source::Source;
use crate::digest::Digest;
use crate::error::{Kind, hint_of, integrity, kind_of, not_found, unreachable};
use crate::identity::{Identity, Target};
use crate::oci::Descriptor;
use crate::store::{self, Access, Artifact, Store};

/// A task that is settled.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) task: Located,
    pub(super) digest: Digest,
    pub(super) identity: Identity,
    pub(super) pin: Option<Pin>,
    /// When the identity was resolved.
    pub(super) pinned_at: Timestamp,
    /// A checkout of this machine, which no store knows.
    pub(super) local: Option<Checkout>,
}

impl Resolved {
    /// Who chooses what is in it.
    pub(super) fn origin(&self) -> Origin {
        self.local.as_ref().map_or_else(|| Origin::store(&self.task.store), |checkout| checkout.origin.clone())
    }

    /// The same once more.
    pub(super) fn again(&self) -> Self {
        Resolved {
            task: self.task.clone(),
            digest: self.digest,
            identity: self.identity.clone(),
            pin: self.pin.clone(),
            pinned_at: self.pinned_at,
            local: self.local.clone(),
        }
    }
}

/// What a task's tag points at, with the manifest's descriptor.
pub(super) fn from_store(store: &dyn Store, task: &Located) -> Result<(Descriptor, Artifact, Identity)> {
    let tag = match &task.target {
        Target::Task(task) => task.to_string(),
        Target::Identity(digest) => store::identity_tag(digest),
    };
    let descriptor = store.resolve(&tag)?.ok_or_else(|| {
        not_found(format!("there is no task {} in {}", task.target, task.store))
            .hint(format!("see what is there: envctl tasks --store {}", quote(&task.store.to_string())))
    })?;
    let (artifact, identity) = read_at(store, task, &descriptor)?;
    Ok((descriptor, artifact, identity))
}

/// What is in a manifest that a task's tag points at.
pub(super) fn read_at(store: &dyn Store, task: &Located, descriptor: &Descriptor) -> Result<(Artifact, Identity)> {
    let artifact = store::read(store, descriptor).with_context(|| format!("cannot read {}", task.reference()))?;
    let identity = Identity::parse(&artifact.identity)?;
    match &task.target {
        Target::Task(named) if *named != identity.task_id => Err(integrity(format!(
            "the tag {named} of {} points at an identity of task {}",
            task.store, identity.task_id
        ))
        .into()),
        Target::Identity(digest) if *digest != Digest::of(&artifact.identity) => {
            Err(integrity(format!("the store gave another identity for {digest}")).into())
        }
        _ => Ok((artifact, identity)),
    }
}

/// Opens a store, or says what helps.
pub(super) fn open_store(ctx: &Context, task: &Located, access: Access) -> Result<Box<dyn Store>> {
    ctx.open(&task.store, access).map_err(|error| {
        if kind_of(&error) != Kind::NotFound || hint_of(&error).is_some() {
            return error;
        }
        let hint = if ctx.options.offline { "run the command once without --offline" } else { "check --store" };
        error.context(unreachable(format!("cannot open the store {}", task.store)).hint(hint))
    })
}

/// Settles a task: by its pin, or by the store when there is none or
/// `refresh` asks for it.
///
/// # Errors
/// [`Kind::NotFound`] for a task or store that does not exist.
pub(super) fn resolve(source: &Source<'_>, into: Option<&Path>, refresh: bool) -> Result<Resolved> {
    let (ctx, task) = (source.ctx, source.task.clone());
    let pins = ctx.pins();
    let pin = pins.read(&task, into)?;
    if let Some(pin) = &pin
        && !refresh
        && let Some(identity) = pins.identity(&pin.identity)?
    {
        let (digest, pinned_at) = (pin.identity, pin.pinned_at);
        return Ok(Resolved { task, digest, identity, pin: Some(pin.clone()), pinned_at, local: None });
    }
    let (_, artifact, identity) = from_store(source.store()?, &task)?;
    ctx.open_roots()?;
    let digest = pins.keep(&artifact.identity)?;
    crate::crash::point("cold.resolved");
    Ok(Resolved { task, digest, identity, pin, pinned_at: ctx.clock.now(), local: None })
}
