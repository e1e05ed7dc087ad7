//! The last step of a publish: the task's tag, or one beside it, points at what was
//! published.

use anyhow::Result;

use super::beside::{self, Beside};
use super::context::{Context, Located};
use super::moved::Course;
use super::resolve::from_store;
use crate::digest::Digest;
use crate::error::{Kind, kind_of};
use crate::identity::{StoreRef, Summary, Target, TaskId};
use crate::oci::Descriptor;
use crate::store::{self, Store};

/// The task in its store.
pub(super) struct Tag<'a> {
    pub(super) ctx: &'a Context,
    pub(super) store: &'a dyn Store,
    pub(super) name: &'a StoreRef,
    pub(super) task: &'a TaskId,
    /// What is published.
    pub(super) identity: Digest,
}

impl Tag<'_> {
    /// Points the task's tag at what was published, or one beside it; then what the
    /// task points at.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(super) fn place(
        &self,
        course: Course,
        before: Option<&Descriptor>,
        descriptor: &Descriptor,
    ) -> Result<Option<Beside>> {
        let expected = before.map(|descriptor| &descriptor.digest);
        let (line, theirs) = match course {
            Course::Over { line, .. } => {
                if self.store.tag(self.task.as_str(), descriptor, Some(expected))? {
                    line.iter().for_each(|line| beside::forget(self.ctx, self.store, line));
                    return Ok(None);
                }
                (None, "another publish moved it at the same time".to_owned())
            }
            Course::Beside { line, theirs, .. } => (line, theirs),
        };
        self.aside(line.as_deref(), &theirs, descriptor)
    }

    /// Beside the task; over it where there is none any more.
    fn aside(&self, line: Option<&beside::Line>, theirs: &str, descriptor: &Descriptor) -> Result<Option<Beside>> {
        let located = Located { store: self.name.clone(), target: Target::Task(self.task.clone()) };
        beside::place(self.ctx, self.store, &located, line, (&self.identity, descriptor))?;
        let (_, artifact, identity) = match from_store(self.store, &located) {
            Err(error)
                if kind_of(&error) == Kind::NotFound
                    && self.store.tag(self.task.as_str(), descriptor, Some(None))? =>
            {
                return Ok(None);
            }
            found => found?,
        };
        self.ctx.ui.status("Beside", &format!("{}, which this checkout has not seen: {theirs}", located.reference()));
        Ok(Some(Beside::of(self.name, Digest::of(&artifact.identity), &identity)))
    }

    /// Notes the task in the list of a registry, and looks once more whether it
    /// is there: a registry lets one publish go over another that it did not see.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) fn note(
        &self,
        summary: &Summary,
        descriptor: &Descriptor,
        beside: Option<Beside>,
    ) -> Result<Option<Beside>> {
        let StoreRef::Registry(_) = self.name else { return Ok(beside) };
        if beside.is_some() {
            return Ok(beside);
        }
        if let Err(error) = store::note_task(self.store, summary) {
            self.ctx.ui.detail(&format!("the list of tasks stays as it is: {error:#}"));
        }
        let located = Located { store: self.name.clone(), target: Target::Task(self.task.clone()) };
        let (now, artifact, identity) = match from_store(self.store, &located) {
            Ok(found) => found,
            // Removed meanwhile.
            Err(error) if kind_of(&error) == Kind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_ours = now.digest == descriptor.digest || identity.parent == Some(summary.identity);
        if is_ours || beside::reaches(self.ctx, self.store, &located, Digest::of(&artifact.identity), summary.identity)
        {
            return Ok(None);
        }
        self.aside(None, "another publish moved it at the same time", descriptor)
    }
}
