//! The branches of a remote, asked for without fetching anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::mirror::MirrorRemote;
use crate::error::unreachable;
use crate::git::Git;
use crate::identity::Commit;

/// What a remote says about its branches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branches {
    /// Its default branch.
    pub head: Option<String>,
    /// Where that stands.
    pub default: Option<Commit>,
    /// Where each branch stands, by its name.
    pub tips: BTreeMap<String, Commit>,
    /// The commits that its tags name.
    pub tags: BTreeSet<Commit>,
}

impl Branches {
    /// Asks a remote. `repo` is any repository of ours.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unreachable`] when it does not answer, or nothing
    /// may be asked.
    pub fn ask(git: &Git, repo: &Path, remote: MirrorRemote<'_>) -> Result<Self> {
        if remote.offline {
            return Err(unreachable("--offline forbids to ask").into());
        }
        let answer = remote.reach(git, repo, &|contact| {
            let args =
                ["ls-remote", "--quiet", "--symref", "--", contact.target(), "HEAD", "refs/heads/*", "refs/tags/*"];
            contact.list(repo, &args)
        })?;
        if !answer.ok {
            return Err(unreachable(answer.complaint).into());
        }
        Ok(parse(&String::from_utf8_lossy(&answer.stdout)))
    }
}

/// Lines of a commit, a tab and a ref, or of what `HEAD` is. What is no commit
/// is no branch.
fn parse(text: &str) -> Branches {
    let mut branches = Branches::default();
    for (id, name) in text.lines().filter_map(|line| line.split_once('\t')) {
        if let (Some(branch), "HEAD") = (id.strip_prefix("ref: refs/heads/"), name) {
            branches.head = Some(branch.to_owned());
        }
        let Ok(commit) = id.parse::<Commit>() else { continue };
        if name.starts_with("refs/tags/") {
            // What an annotated one is itself, and the commit that it names.
            branches.tags.insert(commit);
            continue;
        }
        match name.strip_prefix("refs/heads/") {
            Some(branch) => {
                branches.tips.insert(branch.to_owned(), commit);
            }
            None if name == "HEAD" => branches.default = Some(commit),
            None => {}
        }
    }
    branches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        let branches = parse(&format!(
            "ref: refs/heads/main\tHEAD\n{one}\tHEAD\n{one}\trefs/heads/main\n{two}\trefs/heads/a/b\nx\trefs/heads/c\n\
             {two}\trefs/tags/v1\n{one}\trefs/tags/v1^{{}}\n"
        ));
        assert_eq!((branches.head.as_deref(), branches.default.unwrap().as_str()), (Some("main"), one.as_str()));
        assert_eq!(branches.tips.keys().collect::<Vec<_>>(), ["a/b", "main"]);
        assert_eq!(branches.tags.len(), 2);
        assert_eq!(parse("warning: nonsense\n"), Branches::default());
    }
}
