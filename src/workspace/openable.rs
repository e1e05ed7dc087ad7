//! Which repositories among a task's files git's library may open on this machine.
//! It obeys what their configuration says: where the files are, what else to read.
//! So only what the audit finds harmless is opened, however old it is, and only where
//! nothing in the git folder is a link or a pipe.

use std::path::{Path, PathBuf};

use super::audit;
use crate::git::{large_file, large_ref};

/// Git makes no deeper folders than branches with many slashes.
const DEEPEST: usize = 64;
/// More files than this are not looked at.
const MOST: usize = 1_000_000;

/// Why a repository is not opened, in words; `None` where it may be. Its git folder
/// is named from the workspace's root.
pub(super) fn why_not(root: &Path, git_folder: &Path) -> Option<String> {
    // Hooks are for the git program.
    let obeyed = audit::obeyed(root, &[git_folder.to_owned()]);
    if let Some(planted) = obeyed.into_iter().find(|planted| !planted.path.ends_with("hooks")) {
        return Some(format!("{}: {}", planted.path.display(), planted.why));
    }
    let full = root.join(git_folder);
    let borrows = ["objects/info/alternates", "objects/info/http-alternates"];
    if let Some(name) = borrows.iter().find(|name| full.join(name).symlink_metadata().is_ok()) {
        return Some(format!("{name} leads to objects elsewhere"));
    }
    if let Some(path) = too_large(&full) {
        return Some(format!("{} is too large", path.strip_prefix(&full).unwrap_or(&path).display()));
    }
    let odd = odd_entry(&full)?;
    let shown = odd.strip_prefix(&full).unwrap_or(&odd).display();
    Some(format!("{shown} is neither a plain file nor a folder"))
}

/// The first file of a git folder that git's library would read whole, and that is
/// larger than any that git makes.
pub(super) fn too_large(git_folder: &Path) -> Option<PathBuf> {
    large_file(git_folder).or_else(|| large_ref(git_folder))
}

/// The first entry that git does not make, or that is too much to be looked at.
fn odd_entry(git_folder: &Path) -> Option<PathBuf> {
    let (mut pending, mut seen) = (vec![(git_folder.to_owned(), 0)], 0);
    while let Some((folder, depth)) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { return Some(folder) };
        for entry in entries {
            let Ok(entry) = entry else { return Some(folder) };
            seen += 1;
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < DEEPEST => pending.push((entry.path(), depth + 1)),
                Ok(kind) if kind.is_file() && seen <= MOST => {}
                _ => return Some(entry.path()),
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_leads_elsewhere_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let nested = Path::new("n/.git");
        let said = || why_not(root, nested).unwrap_or_default();
        let repo = git2::Repository::init(root.join("n")).unwrap();
        repo.remote("origin", "https://example.org/x").unwrap();
        fs::create_dir_all(root.join("n/.git/hooks")).unwrap();
        fs::write(root.join("n/.git/hooks/pre-commit"), "").unwrap();
        assert_eq!(said(), "");
        let config = root.join("n/.git/config");
        let plain = fs::read_to_string(&config).unwrap();
        for more in ["[include]\npath=/home/dev/.netrc\n", "[core]\nworktree=/\n", "[includeIf \"gitdir:/\"]\npath=x\n"]
        {
            fs::write(&config, format!("{plain}{more}")).unwrap();
            assert!(said().starts_with("n/.git/config: "), "{more}: {}", said());
        }
        fs::write(&config, &plain).unwrap();
        let borrowed = root.join("n/.git/objects/info/alternates");
        fs::write(&borrowed, "../../../q\n").unwrap();
        assert!(said().contains("leads to objects elsewhere"));
        fs::remove_file(&borrowed).unwrap();
        let refs = root.join("n/.git/refs/heads");
        fs::File::create(refs.join("bomb")).unwrap().set_len(1 << 40).unwrap();
        assert!(said().contains("refs/heads/bomb is too large"));
        fs::remove_file(refs.join("bomb")).unwrap();
        symlink("/dev/zero", root.join("n/.git/refs/heads/main")).unwrap();
        assert!(said().contains("refs/heads/main is neither"));
        fs::remove_file(root.join("n/.git/refs/heads/main")).unwrap();
        assert_eq!(said(), "");
    }

    #[test]
    fn a_bare_repository_is_not_opened_by_what_lies_in_it() {
        let dir = tempfile::tempdir().unwrap();
        git2::Repository::init(dir.path()).unwrap();
        git2::Repository::init_bare(dir.path().join("b")).unwrap();
        let loose = || super::super::loose::loose_ends(dir.path(), Default::default()).unwrap();
        assert_eq!(loose(), Vec::<String>::new());
        fs::write(dir.path().join("b/.git"), "gitdir: ../../elsewhere\n").unwrap();
        assert_eq!(loose(), ["the repository b, which is not opened (its .git is no folder)"]);
    }
}
