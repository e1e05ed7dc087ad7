//! Operations that stopped halfway: merge, cherry-pick, revert, rebase, bisect.
//!
//! What git keeps of them in its folder travels as data: files of a closed list
//! of names, each with a rule for what it may hold. The same rules hold for
//! capture and restore, so that nothing can arrive that could not have been
//! sent, and none lets a line through by which git would run a program.

mod quoted;
mod rules;
mod todo;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::disk::beneath::Beneath;
use crate::error::{Fault, integrity};
use crate::identity::Commit;
use crate::snapshot::wire::ByteText;
use rules::{OperationFile, RULES};

/// Larger files are no messages and no lists. In bytes.
const MAX_FILE: u64 = 4 << 20;

/// What git knows of the operations in progress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Files of the git folder.
    pub files: Vec<StateFile>,
    /// Refs that they rely on: the branch to return to, the marks of a bisect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<StateRef>,
}

/// One file of the git folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// Its path there: one of a closed list.
    pub name: String,
    /// Its content.
    pub content: ByteText,
}

/// One ref that an operation relies on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRef {
    /// The full name.
    pub name: String,
    /// Where it points.
    pub commit: Commit,
}

/// What is in progress in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InProgress {
    Nothing,
    Travels(Operation),
    /// It stays behind; files, index and commits do not.
    Stays(Staying),
}

/// An operation that cannot travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Staying {
    /// As in "a merge".
    pub(super) kind: &'static str,
    pub(super) why: String,
}

impl InProgress {
    /// What travels, and what stays behind.
    pub(super) fn parts(&self) -> (Option<Operation>, Option<&Staying>) {
        match self {
            InProgress::Nothing => (None, None),
            InProgress::Travels(operation) => (Some(operation.clone()), None),
            InProgress::Stays(staying) => (None, Some(staying)),
        }
    }
}

impl Operation {
    /// Reads what is in progress.
    ///
    /// # Errors
    /// When the git folder cannot be read.
    pub(super) fn capture(repo: &git2::Repository) -> Result<InProgress> {
        let git_dir = repo.path();
        if let Some(staying) = patches(git_dir).or_else(|| stranger(git_dir)) {
            return Ok(InProgress::Stays(staying));
        }
        let resolve = |text: &str| repo.revparse_single(text).ok()?.peel_to_commit().ok().map(|commit| commit.id());
        let folder = Beneath::open(git_dir)?;
        let comment = comment(repo)?.filter(|text| text != "auto").unwrap_or_else(|| "#".into());
        let mut files = Vec::new();
        for rule in RULES {
            let content = folder.read(Path::new(rule.name), MAX_FILE)?;
            let Some(content) = content.filter(|_| rule.applies(git_dir)) else { continue };
            let content = match rule.capture(&content, comment.as_bytes(), &resolve) {
                Ok(content) => content,
                Err(why) => {
                    let why = format!("{why} ({})", rule.name);
                    return Ok(InProgress::Stays(Staying { kind: kind_of(git_dir, rule), why }));
                }
            };
            // Git forgets it like any other name of no consequence.
            if rule.is_optional() && !rule.names(&content).iter().all(|id| known(repo, *id)) {
                continue;
            }
            files.push(StateFile { name: rule.name.to_owned(), content: ByteText(content) });
        }
        let mut operation = Operation { files, refs: Vec::new() };
        operation.refs = operation.find_refs(repo)?;
        operation.check()?;
        if let Some(id) = operation.names().into_iter().find(|id| !known(repo, *id)) {
            let kind = operation.kinds().first().copied().unwrap_or("merge");
            let why = format!("it names commit {id}, which is not here");
            return Ok(InProgress::Stays(Staying { kind, why }));
        }
        Ok(if operation.files.is_empty() { InProgress::Nothing } else { InProgress::Travels(operation) })
    }

    fn find_refs(&self, repo: &git2::Repository) -> Result<Vec<StateRef>> {
        let head = repo.find_reference("HEAD")?;
        let home = self.branch().map(|branch| format!("refs/heads/{branch}"));
        // HEAD's own travels anyway.
        let mut names: Vec<String> =
            home.into_iter().filter(|name| head.symbolic_target_bytes() != Some(name.as_bytes())).collect();
        if self.file("BISECT_LOG").is_some() {
            for name in repo.references_glob("refs/bisect/*")?.names() {
                names.push(name?.to_owned());
            }
        }
        let mut refs = Vec::new();
        for name in names {
            // A branch that was deleted meanwhile is missing there as well.
            if let Ok(commit) = repo.find_reference(&name).and_then(|reference| reference.peel_to_commit()) {
                refs.push(StateRef { name, commit: commit.id().to_string().parse()? });
            }
        }
        Ok(refs)
    }

    fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.iter().find(|file| file.name == name).map(|file| &*file.content.0)
    }

    /// The branch that HEAD returns to at the end.
    pub(super) fn branch(&self) -> Option<String> {
        let rebased = self.file("rebase-merge/head-name").and_then(rules::branch);
        rebased.or_else(|| self.file("BISECT_START").and_then(rules::start))
    }

    /// What is in progress, in git's words; empty for mere messages.
    pub fn kinds(&self) -> Vec<&'static str> {
        let signs = [
            ("rebase", "rebase-merge/git-rebase-todo"),
            ("merge", "MERGE_HEAD"),
            ("cherry-pick", "CHERRY_PICK_HEAD"),
            ("revert", "REVERT_HEAD"),
            ("bisect", "BISECT_LOG"),
        ];
        let mut kinds: Vec<_> =
            signs.iter().filter(|(_, sign)| self.file(sign).is_some()).map(|(kind, _)| *kind).collect();
        // Between two picks only the list is left.
        if let Some(todo) = self.file("sequencer/todo") {
            let kind = if todo.starts_with(b"revert") { "revert" } else { "cherry-pick" };
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    /// Every commit that it names.
    pub(super) fn names(&self) -> Vec<git2::Oid> {
        let named = self.files.iter().filter_map(|file| Some((OperationFile::of(&file.name)?, file)));
        let named = named.filter(|(rule, _)| !rule.is_tree()).flat_map(|(rule, file)| rule.names(&file.content.0));
        let refs = self.refs.iter().filter_map(|reference| git2::Oid::from_str(reference.commit.as_str()).ok());
        let mut names: Vec<git2::Oid> = named.chain(refs).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The tree of the last automatic merge.
    pub(super) fn tree(&self) -> Option<git2::Oid> {
        let file = self.files.iter().find(|file| OperationFile::of(&file.name).is_some_and(OperationFile::is_tree))?;
        OperationFile::of(&file.name)?.names(&file.content.0).first().copied()
    }

    /// Without the tree of the last automatic merge: git keeps it after the
    /// last conflict is resolved, when nothing needs it, and what it holds may
    /// be what was resolved away. `None` when nothing is left.
    pub(super) fn without_tree(mut self) -> Option<Self> {
        self.files.retain(|file| !OperationFile::of(&file.name).is_some_and(OperationFile::is_tree));
        Some(self).filter(|operation| !operation.files.is_empty())
    }

    /// Refuses whatever is not on the list, before anything is made of it.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] with the name and the reason.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let refuse = |name: &str, why: &str| Err(integrity(format!("the snapshot's {name:?} is refused: {why}")));
        for (n, file) in self.files.iter().enumerate() {
            let Some(rule) = OperationFile::of(&file.name) else {
                return refuse(&file.name, "it is no state of an operation");
            };
            if self.files[..n].iter().any(|other| other.name == file.name) {
                return refuse(&file.name, "it is there twice");
            }
            if let Err(why) = rule.check(&file.content.0) {
                return refuse(&file.name, &why);
            }
        }
        let home = self.branch().map(|branch| format!("refs/heads/{branch}"));
        for reference in &self.refs {
            let mark = reference.name.strip_prefix("refs/bisect/").is_some_and(|mark| !mark.contains('/'));
            let wanted = mark && self.file("BISECT_LOG").is_some() || home.as_deref() == Some(&*reference.name);
            if !wanted || !git2::Reference::is_valid_name(&reference.name) {
                return refuse(&reference.name, "no operation relies on it");
            }
        }
        Ok(())
    }

    /// Puts it into a git folder in which nothing is in progress.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] when a commit that it names is missing.
    pub(super) fn restore(&self, repo: &git2::Repository) -> Result<()> {
        self.check()?;
        for id in self.names() {
            // What is merged may be named by a tag.
            let commit = repo.find_object(id, None).and_then(|object| object.peel_to_commit());
            commit.map_err(|_| integrity(format!("the snapshot lacks commit {id}")))?;
        }
        if let Some(tree) = self.tree() {
            repo.find_tree(tree).map_err(|_| integrity(format!("the snapshot lacks tree {tree}")))?;
        }
        for reference in &self.refs {
            let id = git2::Oid::from_str(reference.commit.as_str())?;
            repo.reference(&reference.name, id, true, "envctl: restored")?;
        }
        for file in &self.files {
            // The name on the list, not the document's.
            let Some(rule) = OperationFile::of(&file.name) else { continue };
            let path = repo.path().join(rule.name);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&path, &file.content.0).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// How comments in lists and messages begin here; `None` where it is as usual.
///
/// # Errors
/// When the configuration cannot be read.
pub(super) fn comment(repo: &git2::Repository) -> Result<Option<String>> {
    let config = repo.config()?.snapshot()?;
    let of = |key: &str| config.get_str(key).ok().filter(|text| is_comment(text)).map(str::to_owned);
    Ok(of("core.commentstring").or_else(|| of("core.commentchar")))
}

/// What may stand before a comment.
pub(super) fn is_comment(text: &str) -> bool {
    (1..=16).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

fn known(repo: &git2::Repository, id: git2::Oid) -> bool {
    repo.odb().is_ok_and(|odb| odb.exists(id))
}

fn kind_of(git_dir: &Path, rule: &OperationFile) -> &'static str {
    if rule.name.starts_with("rebase-merge") {
        "rebase"
    } else if rule.name.starts_with("BISECT") {
        "bisect"
    } else if git_dir.join("REVERT_HEAD").exists() {
        "revert"
    } else if git_dir.join("MERGE_HEAD").exists() {
        "merge"
    } else {
        "cherry-pick"
    }
}

/// `git am`, and a rebase in its manner: their steps are patches in files, not
/// commits.
fn patches(git_dir: &Path) -> Option<Staying> {
    let is_rebase = git_dir.join("rebase-apply/rebasing").exists();
    let kind = if is_rebase { "rebase" } else { "am" };
    let why = "its steps are patches in files and no commits".to_owned();
    git_dir.join("rebase-apply").exists().then_some(Staying { kind, why })
}

/// A file that no rule knows: it may decide how the operation goes on.
fn stranger(git_dir: &Path) -> Option<Staying> {
    for (folder, kind) in [("rebase-merge", "rebase"), ("sequencer", "cherry-pick")] {
        let Ok(entries) = fs::read_dir(git_dir.join(folder)) else { continue };
        for entry in entries.flatten() {
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if OperationFile::of(&name).is_none() && !rules::LEFT.contains(&&*name) {
                let why = match &*name {
                    "rebase-merge/update-refs" => "it moves other branches as well",
                    "rebase-merge/refs-to-delete" => "it makes merges anew",
                    _ => "envctl does not know all of its state",
                };
                return Some(Staying { kind, why: format!("{why} ({name})") });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(files: &[(&str, &str)]) -> Operation {
        let file = |(name, content): &(&str, &str)| StateFile {
            name: (*name).to_owned(),
            content: ByteText(content.as_bytes().to_vec()),
        };
        Operation { files: files.iter().map(file).collect(), refs: Vec::new() }
    }

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn case_40_only_what_is_on_the_list_is_restored() {
        for name in ["config", "hooks/post-commit", "../x", "/etc/passwd", "HEAD", "index", "rebase-merge/../config"] {
            assert!(operation(&[(name, "")]).check().is_err(), "{name}");
        }
        assert!(operation(&[("MERGE_MSG", "a"), ("MERGE_MSG", "b")]).check().is_err());
        assert!(operation(&[("MERGE_HEAD", &format!("{ID}\n")), ("MERGE_MSG", "text\n")]).check().is_ok());
    }

    #[test]
    fn case_42_refs_beyond_those_that_it_relies_on_are_refused() {
        let with = |mut operation: Operation, name: &str| {
            operation.refs.push(StateRef { name: name.into(), commit: ID.parse().unwrap() });
            operation.check().is_ok()
        };
        let rebase = || operation(&[("rebase-merge/head-name", "refs/heads/topic\n")]);
        assert!(with(rebase(), "refs/heads/topic"));
        for bad in ["refs/heads/main", "refs/bisect/bad", "HEAD", "refs/heads/../x", "refs/remotes/origin/main"] {
            assert!(!with(rebase(), bad), "{bad}");
        }
        let bisect = || operation(&[("BISECT_LOG", "git bisect start\n"), ("BISECT_START", "topic\n")]);
        assert!(with(bisect(), "refs/bisect/bad") && with(bisect(), "refs/heads/topic"));
        assert!(!with(bisect(), "refs/bisect/a/b") && !with(bisect(), "refs/bisect/a b"));
    }

    #[test]
    fn kinds_are_git_s_words() {
        assert_eq!(operation(&[("MERGE_HEAD", ID)]).kinds(), ["merge"]);
        assert_eq!(operation(&[("sequencer/todo", &format!("revert {ID} x\n"))]).kinds(), ["revert"]);
        assert!(operation(&[("MERGE_MSG", "x")]).kinds().is_empty());
    }
}
