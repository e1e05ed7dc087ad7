//! What is said of a checkout that git itself could not read.

use std::path::Path;

use sha1::{Digest as _, Sha1};

use crate::disk::beneath::Beneath;
use crate::error::{Fault, Kind, failure, hint_of, kind_of};
use crate::git::MAX_INDEX;

const SUM: usize = 20;

/// The error of a capture. One that names no way out comes from git or its library:
/// then git says more.
pub fn explained(error: anyhow::Error, repo: &git2::Repository) -> anyhow::Error {
    if hint_of(&error).is_some() {
        return error;
    }
    match kind_of(&error) {
        _ if has_damaged_index(repo.path()) => error.context(damaged_index()),
        Kind::Failure => error.context(unreadable()),
        _ => error,
    }
}

fn damaged_index() -> Fault {
    failure("the index of this checkout is damaged")
        .hint("what git says of it: git status; a new one, without what was staged: rm .git/index && git reset")
}

fn unreadable() -> Fault {
    failure("git cannot read all of this checkout").hint("what git says of it: git status; git fsck --full")
}

/// Whether the index does not have the checksum that stands at its end.
fn has_damaged_index(git_folder: &Path) -> bool {
    let read = Beneath::open(git_folder).and_then(|folder| folder.read(Path::new("index"), MAX_INDEX));
    let Ok(Some(bytes)) = read else { return false };
    let Some((content, sum)) = bytes.split_last_chunk::<SUM>() else { return true };
    // `index.skipHash` leaves it out.
    *sum != [0; SUM] && sum[..] != Sha1::digest(content)[..]
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::error::policy;

    #[test]
    fn an_index_counts_by_its_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init(folder.path()).unwrap();
        assert!(!has_damaged_index(repo.path()));
        repo.index().unwrap().write().unwrap();
        assert!(!has_damaged_index(repo.path()));
        let place = repo.path().join("index");
        let mut bytes = std::fs::read(&place).unwrap();
        bytes[9] ^= 1;
        std::fs::write(&place, &bytes).unwrap();
        assert!(has_damaged_index(repo.path()));
        let explained = explained(anyhow!("no such mode"), &repo);
        assert!(explained.to_string().contains("index") && hint_of(&explained).unwrap().contains("git status"));
        let end = bytes.len() - SUM;
        bytes[end..].fill(0);
        std::fs::write(&place, &bytes).unwrap();
        assert!(!has_damaged_index(repo.path()));
        std::fs::write(&place, "").unwrap();
        assert!(has_damaged_index(repo.path()));
    }

    #[test]
    fn an_error_that_has_a_way_out_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init(folder.path()).unwrap();
        let shown = |error| format!("{:#}", explained(error, &repo));
        assert_eq!(shown(policy("no").into()), "no");
        assert_eq!(shown(failure("no").hint("do").into()), "no");
        assert!(shown(anyhow!("class=Tree (14)")).starts_with("git cannot read all of this checkout"));
    }
}
