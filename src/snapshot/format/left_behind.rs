//! A thing that stays behind, and the kinds of such things.

use serde::{Deserialize, Serialize};

use crate::snapshot::operation::Staying;

/// One thing that stays behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What it is.
    pub kind: LeftKind,
    /// Which one.
    pub name: String,
    /// More about it, for people; only where it was published from.
    #[serde(default)]
    pub detail: Option<String>,
}

/// Kinds of things that stay behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftKind {
    /// An entry of the stash.
    Stash,
    /// Another local branch with commits that no remote holds.
    Branch,
    /// A socket, a pipe or a device.
    SpecialFile,
    /// A submodule whose commit is on no branch of its remote.
    SubmoduleCommit,
    /// Content of an LFS file that is not on this machine.
    LfsContent,
    /// A tag with commits that no remote holds.
    Tag,
    /// A linked checkout on a commit that no remote holds.
    Worktree,
    /// Notes that no remote holds.
    Notes,
    /// Another ref with commits that no remote holds.
    Ref,
    /// What git shows in the place of other commits: replace refs and grafts.
    Replacement,
    /// A file that rules of this checkout alone ignore.
    Ignored,
    /// Variables of the project, such as `.env`, which git ignores.
    EnvFile,
    /// What the branch follows: nothing that a clone has.
    Upstream,
    /// What HEAD is on: a ref that is no branch.
    Head,
    /// A repository that git does not track.
    Repository,
    /// A file that is too large.
    TooLarge,
    /// A file or a folder that may not be read.
    Unreadable,
    /// An operation of git in progress, which no snapshot carries.
    Operation,
    /// Attributes that the configuration of this repository names.
    Attributes,
    /// A conflict that was resolved, and that git could bring back.
    Resolved,
    /// A program that git runs over files when it reads and writes them.
    Filter,
    /// A setting that changes what git sees in the files.
    Setting,
    /// That git counts a file as changed although it would store what the index has.
    CountedAsChanged,
    /// Something that a newer envctl named.
    #[serde(other)]
    Other,
}

impl LeftKind {
    /// The same for people.
    pub fn words(self) -> &'static str {
        match self {
            LeftKind::Stash => "stash entries",
            LeftKind::Branch => "branches with commits that no remote has",
            LeftKind::SpecialFile => "what is neither file nor link",
            LeftKind::SubmoduleCommit => "commits of submodules that no branch of their remote has",
            LeftKind::LfsContent => "LFS content that the checkout lacks",
            LeftKind::Tag => "tags with commits that no remote has",
            LeftKind::Worktree => "linked checkouts on commits that no remote has",
            LeftKind::Notes => "notes that no remote has",
            LeftKind::Ref => "refs with commits that no remote has",
            LeftKind::Replacement => "what git shows in place of other commits",
            LeftKind::Ignored => "files that core.excludesFile of this repository ignores",
            LeftKind::EnvFile => "ignored files of variables",
            LeftKind::Upstream => "what the branch follows",
            LeftKind::Head => "what HEAD is on, which no task can say",
            LeftKind::Repository => "repositories inside that git does not track",
            LeftKind::TooLarge => "files that are too large to travel",
            LeftKind::Unreadable => "what you may not read",
            LeftKind::Operation => "what git has in progress, and cannot go on elsewhere",
            LeftKind::Attributes => "attributes that core.attributesFile of this repository names",
            LeftKind::Resolved => "conflicts that are resolved, as git checkout -m would bring them back",
            LeftKind::Filter => {
                "filters, without which git takes their files for changed, and would commit them as they are"
            }
            LeftKind::Setting => "settings of git",
            LeftKind::CountedAsChanged => {
                "files that git counts as changed here although it would store the same; there they are unchanged"
            }
            LeftKind::Other => "what a newer envctl knows of",
        }
    }
}

impl LeftOut {
    pub(in crate::snapshot) fn special(path: &[u8], kind: &str) -> Self {
        LeftOut { kind: LeftKind::SpecialFile, name: lossy(path), detail: Some(kind.into()) }
    }

    pub(in crate::snapshot) fn operation(staying: &Staying) -> Self {
        let article = if staying.kind.starts_with('a') { "an" } else { "a" };
        LeftOut {
            kind: LeftKind::Operation,
            name: format!("{article} {}", staying.kind),
            detail: Some(staying.why.clone()),
        }
    }

    /// A `.git` that is no repository.
    pub(in crate::snapshot) fn stray(path: &[u8]) -> Self {
        LeftOut { kind: LeftKind::Repository, name: lossy(path), detail: Some("it leads nowhere".into()) }
    }

    /// Something of which the name says it all.
    pub(in crate::snapshot) fn plain(kind: LeftKind, name: &[u8]) -> Self {
        LeftOut { kind, name: lossy(name), detail: None }
    }
}

pub(in crate::snapshot) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
