//! Whether a workspace may publish over a task: only where the task still is
//! what the workspace was made from, or what it published itself.

use anyhow::Result;

use crate::clock::age;
use crate::digest::Digest;
use crate::error::{failure, integrity, policy, usage};
use crate::handoff::app::App;
use crate::handoff::task::{Located, Pin, read_at};
use crate::identity::{Identity, Status, StoreRef, Target, TaskId};
use crate::oci::{Descriptor, MAX_METADATA, Manifest, media};
use crate::store::Store;

/// A publish that is about to happen.
pub(crate) struct Intent<'a> {
    pub(crate) app: &'a App,
    pub(crate) store: &'a dyn Store,
    pub(crate) name: &'a StoreRef,
    /// The task that is to be moved.
    pub(crate) task: &'a TaskId,
    /// What its tag points at.
    pub(crate) before: Option<&'a Descriptor>,
    /// The workspace that is published, where it is one.
    pub(crate) origin: Option<&'a Pin>,
    /// Otherwise what the checkout published last as this task, as far as this
    /// machine knows; and what it was about to, where that was cut short.
    pub(crate) remembered: &'a [Digest],
    /// The task that a fork leaves alone.
    pub(crate) forked: Option<&'a TaskId>,
}

impl Intent<'_> {
    /// What the new identity continues.
    ///
    /// # Errors
    /// [`crate::error::Kind::Policy`] when the task has moved since.
    pub(crate) fn parent(&self) -> Result<Option<Digest>> {
        let origin = self.origin.filter(|pin| pin.store == self.name.to_string());
        if let Some(forked) = self.forked {
            if self.before.is_some() {
                return Err(usage(format!("there is a task {} in {} already", self.task, self.name))
                    .hint("name a task that does not exist yet: --fork NEW-TASK")
                    .into());
            }
            let current = || self.store.resolve(forked.as_str());
            return match origin {
                Some(pin) => Ok(Some(pin.latest())),
                None => match current()? {
                    Some(descriptor) => Ok(Some(self.read(forked, &descriptor)?.0)),
                    None => Err(usage(format!("there is no task {forked} in {} to fork", self.name)).into()),
                },
            };
        }
        let own = origin.and_then(|pin| pin.continues(self.task.as_str()).map(|ours| (pin, ours)));
        // One that was removed meanwhile goes on; one that is new begins.
        let Some(before) = self.before else { return Ok(own.map(|(_, ours)| ours)) };
        let (current, theirs) = self.read(self.task, before)?;
        match (own, self.remembered) {
            (Some((pin, ours)), _) if ours != current => Err(self.moved(Some(pin), ours, current, &theirs)),
            // An agent publishes early and often, from wherever it is; what a
            // human gave back in between it must not bury.
            (None, [ours, ..])
                if theirs.handoff.status == Status::HandedBack && !self.remembered.contains(&current) =>
            {
                Err(self.moved(None, *ours, current, &theirs))
            }
            _ => Ok(Some(current)),
        }
    }

    fn read(&self, task: &TaskId, descriptor: &Descriptor) -> Result<(Digest, Identity)> {
        let manifest = Manifest::parse(&self.store.read_small(descriptor, MAX_METADATA)?)?;
        if manifest.artifact_type.as_deref() != Some(media::IDENTITY) {
            return Err(integrity(format!("the tag {task} of this store is in use by something else"))
                .hint("choose another task ID")
                .into());
        }
        let located = Located { store: self.name.clone(), target: Target::Task(task.clone()) };
        let (artifact, identity) = read_at(self.store, &located, descriptor)?;
        Ok((Digest::of(&artifact.identity), identity))
    }

    fn moved(&self, pin: Option<&Pin>, ours: Digest, current: Digest, theirs: &Identity) -> anyhow::Error {
        let own = self.app.pins().identity(&ours).ok().flatten();
        let here = match &own {
            Some(identity) => self.side(ours, identity),
            None => ours.to_string(),
        };
        let reference = format!("{}:{}", self.name, self.task);
        let (since, theirs_way) = match pin {
            Some(_) => ("this workspace was made from it", "take theirs, which sets this workspace aside"),
            None => ("this checkout published it", "go on from theirs, in a workspace"),
        };
        let fault = policy(format!("{} has moved since {since}; nothing was published", self.task)).hint(format!(
            "publish beside it: envctl publish --fork NEW-TASK; or look at both: envctl diff {}@{ours} {reference}; \
                 or {theirs_way}: envctl enter {reference} --refresh",
            self.name
        ));
        let here = match pin {
            Some(pin) => format!("this workspace: entered {}, {here}", age(pin.pinned_at, self.app.clock.now())),
            None => format!("this checkout: {here}"),
        };
        anyhow::Error::new(failure(format!("the task now: {}", self.side(current, theirs))))
            .context(here)
            .context(fault)
    }

    fn side(&self, digest: Digest, identity: &Identity) -> String {
        let who = identity.agent_identity.as_deref().unwrap_or("somebody");
        let when = age(identity.created_at, self.app.clock.now());
        let (status, commit) = (identity.handoff.status, identity.repo.commit.short());
        let message = identity.handoff.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
        format!("published by {who} {when}, {status}, commit {commit}, {digest}{message}")
    }
}
