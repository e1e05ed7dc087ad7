//! How long a workspace lives, and what a project wishes about it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a workspace belongs to, which decides where it lies and what deletes
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// One task.
    #[default]
    PerTask,
    /// All tasks of one branch, one after the other.
    PerBranch,
    /// All tasks of one repository, one after the other.
    PerProject,
    /// The developer: it lies in a folder that they name.
    PerDeveloper,
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lifetime::PerTask => "per-task",
            Lifetime::PerBranch => "per-branch",
            Lifetime::PerProject => "per-project",
            Lifetime::PerDeveloper => "per-developer",
        })
    }
}

/// What the project of a task wishes; the developer's own word wins. It names
/// kinds and durations, never a place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// A [`Lifetime`], or one of a later version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<String>,
    /// How long an unused workspace stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// Fields of other versions, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Wish {
    /// The lifetime that is wished for. What only the developer can choose, and
    /// what this version does not know, is no wish.
    pub fn lifetime(&self) -> Option<Lifetime> {
        match self.lifetime.as_deref()? {
            "per-task" => Some(Lifetime::PerTask),
            "per-branch" => Some(Lifetime::PerBranch),
            "per-project" => Some(Lifetime::PerProject),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_26_a_wish_names_kinds_and_no_places() {
        let wish = |text: &str| Wish { lifetime: Some(text.into()), ..Wish::default() }.lifetime();
        for lifetime in [Lifetime::PerTask, Lifetime::PerBranch, Lifetime::PerProject] {
            assert_eq!(wish(&lifetime.to_string()), Some(lifetime));
            assert_eq!(serde_json::to_value(lifetime).unwrap(), lifetime.to_string());
        }
        for other in ["per-developer", "../../home", "", "per-century"] {
            assert_eq!(wish(other), None, "{other}");
        }
    }
}
