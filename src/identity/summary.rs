//! What a list of tasks shows of each: a few fields of the identity, copied
//! beside the tag when it is published, so that a list needs no document of
//! any task.
//!
//! A summary is a hint: whoever may write a store may write one. It is used
//! only for the manifest and the task that it names itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::Identity;
use super::names::TaskId;
use super::status::Status;
use crate::digest::Digest;

/// The annotation of a task's entry in a layout that holds its summary.
pub const SUMMARY: &str = "vnd.envctl.task.v1";

/// Characters of a message, and of an agent's name, that a summary holds.
const MAX_TEXT: usize = 200;

/// One task of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its ID.
    pub task: TaskId,
    /// The manifest that the task's tag pointed at.
    pub manifest: Digest,
    /// The identity in it.
    pub identity: Digest,
    /// When that was published.
    pub created_at: Timestamp,
    /// The state of the work.
    pub status: Status,
    /// By whom.
    pub agent: Option<String>,
    /// In the publisher's words, 200 characters at most.
    pub message: Option<String>,
    /// When whoever works on it is over at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}

impl Summary {
    /// Sums an identity up.
    pub fn of(identity: &Identity, digest: Digest, manifest: Digest) -> Self {
        Summary {
            task: identity.task_id.clone(),
            manifest,
            identity: digest,
            created_at: identity.created_at,
            status: identity.handoff.status,
            agent: identity.agent_identity.as_deref().map(shortened),
            message: identity.handoff.message.as_deref().map(shortened),
            ends_at: identity.handoff.ends_at,
        }
    }

    /// The text of the annotation.
    ///
    /// # Errors
    /// Never for a value of this type; the signature is serde's.
    pub fn to_text(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Reads an annotation; `None` when it is malformed or about another task
    /// or manifest, such as one that was copied along by another tool.
    pub fn from_text(text: &str, task: &TaskId, manifest: &Digest) -> Option<Self> {
        let summary: Summary = serde_json::from_str(text).ok()?;
        (summary.task == *task && summary.manifest == *manifest).then(|| summary.capped())
    }

    /// The same with its texts cut to what a summary may hold.
    #[must_use]
    pub fn capped(mut self) -> Self {
        self.agent = self.agent.as_deref().map(shortened);
        self.message = self.message.as_deref().map(shortened);
        self
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= MAX_TEXT {
        return text.to_owned();
    }
    text.chars().take(MAX_TEXT - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::document::sample;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn summaries_round_trip(message in proptest::option::of(any::<String>()), agent in any::<String>()) {
            let mut identity = sample();
            identity.handoff.message = message;
            identity.agent_identity = Some(agent);
            let summary = Summary::of(&identity, Digest::of(b"identity"), Digest::of(b"manifest"));
            let text = summary.to_text().unwrap();
            prop_assert_eq!(Summary::from_text(&text, &summary.task, &summary.manifest), Some(summary.clone()));
            // Neither for another manifest nor for another task.
            prop_assert_eq!(Summary::from_text(&text, &summary.task, &Digest::of(b"other")), None);
            prop_assert_eq!(Summary::from_text(&text, &"other".parse().unwrap(), &summary.manifest), None);
        }

        #[test]
        fn reading_never_panics(text in any::<String>()) {
            let _ = Summary::from_text(&text, &"t".parse().unwrap(), &Digest::of(b""));
        }
    }

    #[test]
    fn long_texts_are_cut_by_the_reader_too() {
        let mut identity = sample();
        identity.handoff.message = Some("ä".repeat(5000));
        let mut summary = Summary::of(&identity, Digest::of(b"i"), Digest::of(b"m"));
        assert_eq!(summary.message.as_ref().unwrap().chars().count(), MAX_TEXT);
        assert!(summary.message.as_ref().unwrap().ends_with('…'));
        summary.message = Some("x".repeat(5000));
        let back = Summary::from_text(&summary.to_text().unwrap(), &summary.task, &summary.manifest).unwrap();
        assert_eq!(back.message.unwrap().chars().count(), MAX_TEXT);
    }
}
