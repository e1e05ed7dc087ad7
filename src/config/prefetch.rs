//! `[[prefetch]]` of a user: which tasks `prefetch --watch` brings. Pure.

use glob::{MatchOptions, Pattern};
use serde::Deserialize;

use crate::error::{Fault, usage};
use crate::identity::Status;

/// Tasks that are brought ahead: those to which all of it applies.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Signal {
    /// The state of the work.
    pub status: Option<Status>,
    /// Who published: a pattern.
    pub agent: Option<String>,
    /// In the publisher's words: a pattern, in small or capital letters.
    pub message: Option<String>,
    /// The branch: a pattern.
    pub branch: Option<String>,
    /// The address of the repository: a pattern.
    pub repository: Option<String>,
}

impl Signal {
    /// What is brought when nothing else is said.
    pub fn usual() -> Self {
        Signal { status: Some(Status::NeedsHuman), ..Signal::default() }
    }

    /// That its patterns are some.
    pub(super) fn check(&self, name: &str) -> Result<(), Fault> {
        let patterns = [
            ("agent", &self.agent),
            ("message", &self.message),
            ("branch", &self.branch),
            ("repository", &self.repository),
        ];
        for (key, pattern) in patterns {
            if let Some(pattern) = pattern {
                Pattern::new(pattern).map_err(|why| {
                    usage(format!("{name}: prefetch[].{key}: {pattern:?} is not a pattern: {}", why.msg))
                })?;
            }
        }
        Ok(())
    }

    /// Whether a task may be one of them by what a list says of it.
    pub fn may_take(&self, needs_human: bool, status: Status, agent: Option<&str>, message: Option<&str>) -> bool {
        let is = |wanted: Status| if wanted == Status::NeedsHuman { needs_human } else { wanted == status };
        // What is closed waits for nobody, unless it is asked for by name.
        self.status.map_or(status != Status::Closed, is)
            && fits(self.agent.as_deref(), agent, true)
            && fits(self.message.as_deref(), message, false)
    }

    /// Whether only the identity can tell.
    pub fn asks_for_identity(&self) -> bool {
        self.branch.is_some() || self.repository.is_some()
    }

    /// Whether a task that may be one of them is one by branch and repository.
    pub fn takes(&self, branch: Option<&str>, repository: &str) -> bool {
        fits(self.branch.as_deref(), branch, true) && fits(self.repository.as_deref(), Some(repository), true)
    }
}

fn fits(pattern: Option<&str>, text: Option<&str>, case_sensitive: bool) -> bool {
    let Some(pattern) = pattern else { return true };
    let options = MatchOptions { case_sensitive, ..MatchOptions::default() };
    Pattern::new(pattern).is_ok_and(|pattern| text.is_some_and(|text| pattern.matches_with(text, options)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(text: &str) -> Signal {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn all_of_a_signal_has_to_apply() {
        let usual = Signal::usual();
        assert!(usual.may_take(true, Status::Working, None, None));
        assert!(!usual.may_take(false, Status::HandedBack, None, None));
        let any = signal("");
        assert!(any.may_take(false, Status::Working, None, None) && !any.may_take(true, Status::Closed, None, None));
        let review = signal("message = \"*review*\"\nagent = \"ci-*\"");
        assert!(review.may_take(false, Status::HandedBack, Some("ci-1"), Some("Please REVIEW it")));
        assert!(!review.may_take(false, Status::HandedBack, Some("ci-1"), None));
        assert!(!review.may_take(false, Status::HandedBack, Some("CI-1"), Some("review")));
        assert!(signal("status = \"closed\"").may_take(false, Status::Closed, None, None));
        assert!(!review.asks_for_identity() && signal("branch = \"main\"").asks_for_identity());
    }

    #[test]
    fn branch_and_repository_are_patterns() {
        let url = "https://github.com/acme/shop.git";
        let ours = signal("repository = \"*github.com/acme/*\"\nbranch = \"release/*\"");
        assert!(ours.takes(Some("release/1.2"), url));
        assert!(!ours.takes(None, url) && !ours.takes(Some("main"), url));
        assert!(!ours.takes(Some("release/1.2"), "https://github.com/other/shop.git"));
        assert!(signal("branch = \"[\"").check("config.toml").is_err());
    }
}
