//! What a task's tag points at after a publish, and the tags beside it.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::conflict::Course;
use crate::digest::Digest;
use crate::error::{Kind, kind_of};
use crate::handoff::app::App;
use crate::handoff::report::Beside;
use crate::handoff::task::{self, Located, from_store};
use crate::identity::{Identity, StoreRef, Summary, Target, TaskId};
use crate::oci::Descriptor;
use crate::store::{self, Store};

/// The task in its store.
pub(super) struct Tagged<'a> {
    pub(super) app: &'a App,
    pub(super) store: &'a dyn Store,
    pub(super) name: &'a StoreRef,
    pub(super) task: &'a TaskId,
    /// What was published.
    pub(super) digest: Digest,
    /// What it says.
    pub(super) identity: &'a Identity,
    /// Whether evidence is attached to it, which another identity has not.
    pub(super) has_evidence: bool,
}

/// The longest wait for publishes of the same task that began at once.
const MOST_WAIT: Duration = Duration::from_secs(1);

/// Where a publish ended up.
pub(super) enum Placed {
    /// The task is what was published.
    Over,
    /// The task was exactly that already: the bytes of its identity.
    Same(Vec<u8>),
    /// It stands beside this.
    Beside(Beside),
}

impl Tagged<'_> {
    /// Points the task's tag at what was published, or one beside it.
    pub(super) fn place(&self, course: Course, before: Option<&Descriptor>, descriptor: &Descriptor) -> Result<Placed> {
        let expected = before.map(|descriptor| &descriptor.digest);
        let (line, theirs) = match course {
            Course::Over { line, .. } => {
                if self.store.tag(self.task.as_str(), descriptor, Some(expected))? {
                    line.iter().for_each(|line| task::forget_line(self.app, self.store, line));
                    return Ok(Placed::Over);
                }
                (None, "another publish moved it at the same time".to_owned())
            }
            Course::Beside { line, theirs, .. } => (line, theirs),
        };
        self.aside(line.as_deref(), &theirs, descriptor)
    }

    /// Beside the task; over it where there is none any more.
    fn aside(&self, line: Option<&task::Line>, theirs: &str, descriptor: &Descriptor) -> Result<Placed> {
        let located = Located { store: self.name.clone(), target: Target::Task(self.task.clone()) };
        if let Some(same) = self.same(&located)? {
            return Ok(Placed::Same(same));
        }
        task::place_line(self.app, self.store, &located, line, (&self.digest, descriptor))?;
        let (_, artifact, identity) = match from_store(self.store, &located) {
            Err(error)
                if kind_of(&error) == Kind::NotFound
                    && self.store.tag(self.task.as_str(), descriptor, Some(None))? =>
            {
                return Ok(Placed::Over);
            }
            found => found?,
        };
        self.app.ui.status("Beside", &format!("{}, which this checkout has not seen: {theirs}", located.reference()));
        Ok(Placed::Beside(Beside::of(self.name, Digest::of(&artifact.identity), &identity)))
    }

    /// The task's identity, where it says the same: an equal publish was faster.
    fn same(&self, located: &Located) -> Result<Option<Vec<u8>>> {
        if self.has_evidence {
            return Ok(None);
        }
        match from_store(self.store, located) {
            Ok((_, artifact, identity)) => Ok(identity.says_the_same_as(self.identity).then_some(artifact.identity)),
            Err(error) if kind_of(&error) == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Notes the task in the list of a registry, and looks once more whether it
    /// is there: a registry lets one publish go over another that it did not see.
    /// `took` is how long the look and the move took.
    pub(super) fn note(
        &self,
        summary: &Summary,
        descriptor: &Descriptor,
        placed: Placed,
        took: Duration,
    ) -> Result<Placed> {
        let (StoreRef::Registry(_), Placed::Over) = (self.name, &placed) else { return Ok(placed) };
        let moved = Instant::now();
        if let Err(error) = store::note_task(self.store, summary) {
            self.app.ui.detail(&format!("the list of tasks stays as it is: {error:#}"));
        }
        if self.identity.parent.is_none() {
            // Others may have looked before this one moved the tag, and move it now: they
            // need no longer than this one did, as long as the registry is as busy.
            std::thread::sleep(took.min(MOST_WAIT).saturating_sub(moved.elapsed()));
        }
        let located = Located { store: self.name.clone(), target: Target::Task(self.task.clone()) };
        let (now, artifact, identity) = match from_store(self.store, &located) {
            Ok(found) => found,
            // Removed meanwhile.
            Err(error) if kind_of(&error) == Kind::NotFound => return Ok(placed),
            Err(error) => return Err(error),
        };
        let is_ours = now.digest == descriptor.digest || identity.parent == Some(self.digest);
        if is_ours || task::reaches(self.app, self.store, &located, Digest::of(&artifact.identity), self.digest) {
            return Ok(placed);
        }
        self.aside(None, "another publish moved it at the same time", descriptor)
    }
}
