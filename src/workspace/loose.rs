//! What git keeps in a workspace besides the checked-out state, and what would
//! be lost with it: stashes, operations in progress, commits and tags that
//! nobody else has, linked checkouts.
//!
//! The workspace's own configuration is envctl's. Other repositories among the files
//! came with the task or were made by what ran: they are opened only where they are
//! harmless, and lists of ignored files are read only where they are plain files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::openable;
use crate::disk;
use crate::git::{create_bare, odd_lists};

/// So many entries of each reflog are looked at: it goes back for months.
const MAX_LOGGED: usize = 2000;

/// No list of ignored files is larger, in bytes.
const MAX_LIST: u64 = 1 << 20;

/// A commit or the text of a tag is no larger, in bytes.
const MAX_OBJECT: usize = 64 << 20;

/// Submodules of submodules, and names with slashes, go no deeper.
const MAX_DEPTH: usize = 12;

/// What is known of a workspace's commits and operations.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownCommits<'a> {
    /// Commits that are elsewhere, with all that they build on.
    pub saved: &'a [String],
    /// Commits that the remote has now, where it was asked; what the workspace
    /// remembers of it counts otherwise.
    pub remote: Option<&'a [String]>,
    /// What is in progress is elsewhere, too.
    pub operations: bool,
    /// What only a reflog knows does not count: somebody rewrote it, and goes on.
    pub rewritten: bool,
}

/// What is in the workspace alone, in words. The repositories of submodules count
/// as well, by what they remember of their remotes. Reads refs and objects, runs
/// nothing.
///
/// # Errors
/// When the repository cannot be read.
pub fn loose_ends(root: &Path, known: KnownCommits<'_>) -> Result<Vec<String>> {
    if let Some(path) = openable::too_large(&root.join(".git")) {
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        return Ok(vec![format!("what the repository holds, which is not read: {name} is too large")]);
    }
    let repo = git2::Repository::open(root).with_context(|| format!("cannot open the workspace {}", root.display()))?;
    let mut found = of(&repo, known)?;
    let odd = odd_lists(root).with_context(|| format!("cannot look through {}", root.display()))?;
    found.extend(behind_own_list(&repo, root, odd.first())?);
    if entries(&repo.path().join("hooks"))?.flatten().any(|hook| !is_sample(&hook.path())) {
        found.push("hooks".into());
    }
    let modules = repo.path().join("modules");
    for folder in repositories(&modules, MAX_DEPTH)? {
        let name = folder.strip_prefix(&modules).unwrap_or(&folder).display().to_string();
        if let Some(why) = openable::why_not(root, folder.strip_prefix(root).unwrap_or(&folder)) {
            found.push(format!("what the submodule {name} holds, which is not opened ({why})"));
            continue;
        }
        let own = git2::Repository::open(&folder).with_context(|| format!("cannot open the submodule {name}"))?;
        found.extend(
            of(&own, KnownCommits::default())?.into_iter().map(|what| format!("{what} of the submodule {name}")),
        );
    }
    for folder in nested(root)? {
        let path = folder.strip_prefix(root).unwrap_or(&folder);
        let name = path.display().to_string();
        let dotted = path.join(".git");
        let kind = fs::symlink_metadata(root.join(&dotted)).map(|meta| meta.is_dir());
        let git_folder = if kind.is_ok() { &dotted } else { path };
        // A `.git` in it that is no folder leads to what was not judged here.
        let leads = matches!(kind, Ok(false)).then_some("its .git is no folder");
        if let Some(why) = leads.map(str::to_owned).or_else(|| openable::why_not(root, git_folder)) {
            found.push(format!("the repository {name}, which is not opened ({why})"));
            continue;
        }
        let own = git2::Repository::open(&folder).with_context(|| format!("cannot open the repository in {name}"))?;
        let mut loose = of(&own, KnownCommits::default())?;
        if odd.iter().any(|odd| odd.starts_with(&folder)) || is_changed(&own)? {
            loose.push("changes".into());
        }
        found.extend(loose.into_iter().map(|what| format!("{what} in the repository {name}")));
    }
    Ok(found)
}

/// Repositories with a git folder of their own among the files, and bare ones,
/// ignored ones too, as somebody made or cloned them there. What a submodule has is below the
/// workspace's own git folder.
fn nested(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in entries(&folder)? {
            let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            if entry.file_name() != ".git" {
                let is_bare = ["HEAD", "objects", "refs"].iter().all(|name| path.join(name).exists());
                if is_bare { found.push(path) } else { pending.push(path) }
            } else if folder != root && path.join("HEAD").exists() {
                found.push(folder.clone());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a workspace's files are those of its commit, apart from ignored ones.
///
/// # Errors
/// When it cannot be looked at.
pub fn is_clean(root: &Path) -> Result<bool> {
    if !odd_lists(root)?.is_empty() {
        return Ok(false);
    }
    is_changed(&git2::Repository::open(root)?).map(|changed| !changed)
}

/// Whether a repository has files that its commit has not; ignored ones do not
/// count.
#[expect(clippy::disallowed_methods, reason = "whoever calls has looked at the lists")]
fn is_changed(repo: &git2::Repository) -> Result<bool> {
    if repo.is_bare() {
        return Ok(false);
    }
    let mut options = git2::StatusOptions::new();
    options.include_untracked(true).recurse_untracked_dirs(false).include_ignored(false);
    options.exclude_submodules(true).update_index(false);
    Ok(!repo.statuses(Some(&mut options))?.is_empty())
}

/// Repositories below a folder, at most so deep.
fn repositories(folder: &Path, depth: usize) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in entries(folder)? {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        let path = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        ensure!(depth > 0, "{} lies too deep", path.display());
        if path.join("HEAD").exists() {
            found.extend(repositories(&path.join("modules"), depth - 1)?);
            found.push(path);
        } else {
            found.extend(repositories(&path, depth - 1)?);
        }
    }
    Ok(found)
}

/// What is in a folder that need not exist.
fn entries(folder: &Path) -> Result<impl Iterator<Item = std::io::Result<fs::DirEntry>>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        other => Some(other.with_context(|| format!("cannot read {}", folder.display()))?),
    };
    Ok(entries.into_iter().flatten())
}

fn of(repo: &git2::Repository, known: KnownCommits<'_>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if let Some(operation) = operation(repo.state()).filter(|_| !known.operations) {
        found.push(format!("a {operation} in progress"));
    }
    let stashes = match repo.find_reference("refs/stash") {
        Ok(_) => repo.reflog("refs/stash").map_or(1, |log| log.len().max(1)),
        Err(_) => 0,
    };
    if stashes > 0 {
        found.push(count(stashes, "stash", "stashes"));
    }
    let linked = entries(&repo.path().join("worktrees"))?.count();
    if linked > 0 {
        found.push(count(linked, "linked checkout", "linked checkouts"));
    }
    found.extend(commits(repo, known)?);
    Ok(found)
}

/// The objects that a repository borrows: those of a mirror, which has what the
/// remote has.
fn borrowed(repo: &git2::Repository) -> Result<git2::Odb<'static>> {
    let all = git2::Odb::new()?;
    let listed = fs::read_to_string(repo.path().join("objects/info/alternates")).unwrap_or_default();
    for objects in listed.lines().filter(|line| line.starts_with('/')) {
        all.add_disk_alternate(objects)?;
    }
    Ok(all)
}

/// Refs with commits that neither a remote-tracking ref nor a saved commit has,
/// and with what is no commit: the text of a tag, a file, a tree.
fn commits(repo: &git2::Repository, known: KnownCommits<'_>) -> Result<Vec<String>> {
    let elsewhere = known.saved.iter().chain(known.remote.into_iter().flatten());
    let mut held: Vec<git2::Oid> = elsewhere.filter_map(|id| git2::Oid::from_str(id).ok()).collect();
    held.retain(|id| repo.find_commit(*id).is_ok());
    let (mut own, mut remembered, mut found) = (Vec::new(), Vec::new(), Vec::new());
    let (borrowed, odb) = (borrowed(repo)?, repo.odb()?);
    for reference in repo.references()? {
        let reference = reference?;
        let name = String::from_utf8_lossy(reference.name_bytes()).into_owned();
        let short = name.strip_prefix("refs/tags/").unwrap_or(&name);
        // A clone packs the tags that it gets; one's own are files of their own.
        let is_own = |id| !borrowed.exists(id) && (borrows(repo) || repo.path().join(&name).exists());
        // An object that says that it is huge would be held whole.
        if reference.target().and_then(|id| odb.read_header(id).ok()).is_some_and(|(size, _)| size > MAX_OBJECT) {
            found.push(format!("what {short} names"));
            continue;
        }
        let kind = reference.target().and_then(|id| Some((id, repo.find_object(id, None).ok()?.kind()?)));
        let commit = reference.peel_to_commit().ok();
        match (kind, &commit) {
            (Some((id, git2::ObjectType::Tag)), _) if is_own(id) => found.push(format!("the tag {short}")),
            (Some((id, _)), None) if is_own(id) => found.push(format!("what {short} names")),
            _ => {}
        }
        let Some(commit) = commit else { continue };
        match name.as_str() {
            "refs/stash" => {}
            _ if name.starts_with("refs/remotes/") => remembered.push((name, commit.id())),
            _ => own.push((name, commit.id())),
        }
    }
    if known.remote.is_none() {
        held.extend(remembered.drain(..).map(|(_, tip)| tip));
    }
    for (name, tip) in &own {
        let ahead = walk(repo, &[*tip], &held)?.count();
        if ahead > 0 {
            let short = name.strip_prefix("refs/heads/").unwrap_or(name);
            found.push(format!("{} on {short}", count(ahead, "commit", "commits")));
        }
    }
    held.extend(own.into_iter().map(|(_, tip)| tip));
    // The remote had them once.
    for (name, tip) in remembered {
        let gone = walk(repo, &[tip], &held)?.count();
        if gone > 0 {
            let short = name.trim_start_matches("refs/remotes/");
            found.push(format!("{} that {short} no longer has", count(gone, "commit", "commits")));
            held.push(tip);
        }
    }
    let forgotten = if known.rewritten { 0 } else { walk(repo, &logged(repo), &held)?.count() };
    if forgotten > 0 {
        found.push(format!("{} that only the reflog knows", count(forgotten, "commit", "commits")));
    }
    Ok(found)
}

/// The commits that lead to these, without those that lead to what is held.
fn walk<'a>(repo: &'a git2::Repository, from: &[git2::Oid], held: &[git2::Oid]) -> Result<git2::Revwalk<'a>> {
    let mut walk = repo.revwalk()?;
    from.iter().try_for_each(|id| walk.push(*id))?;
    held.iter().try_for_each(|id| walk.hide(*id))?;
    Ok(walk)
}

/// The commits that HEAD and the branches were on lately, as far as they are here.
/// What remotes had is theirs.
fn logged(repo: &git2::Repository) -> Vec<git2::Oid> {
    let branches = repo.references_glob("refs/heads/*").into_iter().flatten().flatten();
    let names = branches.filter_map(|branch| branch.name().ok().map(str::to_owned)).chain(["HEAD".to_owned()]);
    let logs: Vec<git2::Reflog> = names.filter_map(|name| repo.reflog(&name).ok()).collect();
    let mut seen: Vec<git2::Oid> = logs
        .iter()
        .flat_map(|log| log.iter().take(MAX_LOGGED).flat_map(|entry| [entry.id_new(), entry.id_old()]))
        .chain(repo.head().ok().and_then(|head| head.target()))
        .collect();
    seen.sort();
    seen.dedup();
    seen.retain(|id| repo.find_commit(*id).is_ok());
    seen
}

/// Files that a list of this checkout alone ignores: nobody else has the list, so
/// nobody says that they can be made again.
#[expect(clippy::disallowed_methods, reason = "the lists are plain")]
fn behind_own_list(repo: &git2::Repository, root: &Path, odd: Option<&PathBuf>) -> Result<Option<String>> {
    // A program inside may have laid a pipe there.
    let Ok(list) = disk::read_file(&repo.path().join("info/exclude"), MAX_LIST) else {
        return Ok(Some("what an odd .git/info/exclude may ignore".into()));
    };
    let list = list.unwrap_or_default();
    if own_rules(&String::from_utf8_lossy(&list)).next().is_none() {
        return Ok(None);
    }
    if let Some(odd) = odd {
        let shown = odd.strip_prefix(root).unwrap_or(odd).display();
        return Ok(Some(format!("what .git/info/exclude ignores beside an odd {shown}")));
    }
    // The same files without that list.
    let place = tempfile::tempdir().context("cannot make a folder for a look at what is ignored")?;
    create_bare(place.path(), &[])?;
    let plain = git2::Repository::open_bare(place.path())?;
    plain.set_workdir(root, false)?;
    let mut options = git2::StatusOptions::new();
    options.include_ignored(true).include_untracked(false).recurse_ignored_dirs(false);
    options.exclude_submodules(true).update_index(false);
    let came = came_along(&String::from_utf8_lossy(&list));
    let statuses = repo.statuses(Some(&mut options))?;
    let ignored = statuses.iter().filter(|entry| entry.status().is_ignored());
    let paths = ignored.filter_map(|entry| entry.path().ok().map(str::to_owned));
    let own = paths.filter(|path| !came.contains(path) && !plain.is_path_ignored(path).unwrap_or(true)).count();
    Ok((own > 0).then(|| format!("{} that .git/info/exclude ignores", count(own, "file", "files"))))
}

/// The rules of a list, without those that came with the task.
fn own_rules(list: &str) -> impl Iterator<Item = &str> {
    let came = came_along(list);
    let plain = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    plain.filter(move |line| !came.contains(&line.trim_start_matches('/').replace('\\', "")))
}

/// The files whose rules came with the task, as the snapshot wrote them.
fn came_along(list: &str) -> Vec<String> {
    let mut lines = list.lines().skip_while(|line| *line != crate::git::CAME_ALONG).skip(1);
    let came = lines.by_ref().take_while(|line| *line != crate::git::CAME_ALONG_END);
    came.map(|line| line.trim_start_matches('/').replace('\\', "")).collect()
}

fn is_sample(hook: &Path) -> bool {
    hook.extension().is_some_and(|end| end == "sample")
}

/// A workspace borrows from its mirror; a submodule has all of its own.
fn borrows(repo: &git2::Repository) -> bool {
    repo.path().join("objects/info/alternates").exists()
}

fn count(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("a {one}") } else { format!("{count} {many}") }
}

fn operation(state: git2::RepositoryState) -> Option<&'static str> {
    use git2::RepositoryState as State;
    Some(match state {
        State::Clean => return None,
        State::Merge => "merge",
        State::Revert | State::RevertSequence => "revert",
        State::CherryPick | State::CherryPickSequence => "cherry-pick",
        State::Bisect => "bisect",
        State::Rebase | State::RebaseInteractive | State::RebaseMerge => "rebase",
        State::ApplyMailbox | State::ApplyMailboxOrRebase => "patch series",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(repo: &git2::Repository, reference: &str, parents: &[git2::Oid]) -> git2::Oid {
        let who = git2::Signature::new("A", "a@example.org", &git2::Time::new(parents.len() as i64, 0)).unwrap();
        let tree = repo.find_tree(repo.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let parents: Vec<_> = parents.iter().map(|id| repo.find_commit(*id).unwrap()).collect();
        let parents: Vec<_> = parents.iter().collect();
        let own = repo.commit(None, &who, &who, reference, &tree, &parents).unwrap();
        repo.reference(reference, own, true, "").unwrap();
        own
    }

    #[test]
    fn only_what_nobody_else_has_is_loose() {
        let dir = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init(dir.path()).unwrap();
        let base = commit(&repo, "refs/remotes/origin/main", &[]);
        let pushed = commit(&repo, "refs/heads/pushed", &[base]);
        assert_eq!(loose_ends(dir.path(), KnownCommits::default()).unwrap(), ["a commit on pushed"]);
        assert!(
            loose_ends(dir.path(), KnownCommits { saved: &[pushed.to_string()], ..KnownCommits::default() })
                .unwrap()
                .is_empty()
        );
        commit(&repo, "refs/heads/mine", &[pushed, base]);
        assert_eq!(
            loose_ends(dir.path(), KnownCommits { saved: &[pushed.to_string()], ..KnownCommits::default() }).unwrap(),
            ["a commit on mine"]
        );
        commit(&repo, "refs/notes/commits", &[]);
        let found =
            loose_ends(dir.path(), KnownCommits { saved: &["nonsense".into()], ..KnownCommits::default() }).unwrap();
        assert!(found.contains(&"2 commits on mine".into()), "{found:?}");
        fs::write(repo.path().join("MERGE_HEAD"), format!("{base}\n")).unwrap();
        assert!(loose_ends(dir.path(), KnownCommits::default()).unwrap().contains(&"a merge in progress".into()));
        assert!(
            !loose_ends(dir.path(), KnownCommits { operations: true, ..KnownCommits::default() })
                .unwrap()
                .contains(&"a merge in progress".into())
        );
        fs::create_dir_all(repo.path().join("worktrees/x")).unwrap();
        assert!(loose_ends(dir.path(), KnownCommits::default()).unwrap().contains(&"a linked checkout".into()));
    }

    #[test]
    fn what_is_no_commit_is_loose_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let mirror = git2::Repository::init_bare(dir.path().join("mirror")).unwrap();
        let repo = git2::Repository::init(dir.path().join("workspace")).unwrap();
        let base = commit(&mirror, "refs/heads/main", &[]);
        let who = git2::Signature::new("A", "a@example.org", &git2::Time::new(0, 0)).unwrap();
        let theirs = mirror.tag("v1", &mirror.find_object(base, None).unwrap(), &who, "theirs", false).unwrap();
        let alternates = format!("{}\n", mirror.path().join("objects").display());
        fs::write(repo.path().join("objects/info/alternates"), alternates).unwrap();
        let repo = git2::Repository::open(repo.path()).unwrap();
        repo.reference("refs/remotes/origin/main", base, true, "").unwrap();
        repo.reference("refs/tags/v1", theirs, true, "").unwrap();
        assert!(loose_ends(repo.workdir().unwrap(), KnownCommits::default()).unwrap().is_empty());
        repo.tag("mine", &repo.find_object(base, None).unwrap(), &who, "my words", false).unwrap();
        let blob = repo.blob(b"precious").unwrap();
        repo.reference("refs/keep/blob", blob, true, "").unwrap();
        repo.reference("refs/tags/plain", base, true, "").unwrap();
        let found = loose_ends(repo.workdir().unwrap(), KnownCommits::default()).unwrap();
        assert_eq!(found, ["what refs/keep/blob names", "the tag mine"]);
        fs::write(repo.path().join("modules"), "no folder").unwrap();
        loose_ends(repo.workdir().unwrap(), KnownCommits::default()).unwrap_err();
    }

    /// What the workspace remembers of a remote is not what the remote has.
    #[test]
    fn a_remote_that_was_asked_is_believed_alone() {
        let dir = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init(dir.path()).unwrap();
        let base = commit(&repo, "refs/remotes/origin/main", &[]);
        let side = commit(&repo, "refs/remotes/origin/side", &[base]);
        repo.reference("refs/heads/side", side, true, "").unwrap();
        assert!(loose_ends(dir.path(), KnownCommits::default()).unwrap().is_empty());
        let now = [base.to_string()];
        let asked = KnownCommits { remote: Some(&now), ..KnownCommits::default() };
        assert_eq!(loose_ends(dir.path(), asked).unwrap(), ["a commit on side"]);
    }

    #[test]
    fn what_only_a_log_or_a_list_of_its_own_knows() {
        let dir = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init(dir.path()).unwrap();
        let base = commit(&repo, "refs/remotes/origin/main", &[]);
        repo.config().unwrap().set_str("user.name", "A").unwrap();
        repo.config().unwrap().set_str("user.email", "a@example.org").unwrap();
        repo.reference("refs/heads/master", base, true, "").unwrap();
        let find = || loose_ends(dir.path(), KnownCommits::default()).unwrap();
        let amended = commit(&repo, "refs/heads/master", &[base]);
        repo.reference("refs/heads/master", base, true, "reset").unwrap();
        assert!(repo.find_commit(amended).is_ok());
        assert_eq!(find(), ["a commit that only the reflog knows"]);
        crate::disk::remove::tree(&repo.path().join("logs")).unwrap();
        assert!(find().is_empty());
        fs::write(dir.path().join(".gitignore"), "built\n").unwrap();
        fs::write(dir.path().join("built"), "x").unwrap();
        fs::write(dir.path().join("came along"), "x").unwrap();
        let came = format!("{}\n/came\\ along\n{}\n", crate::git::CAME_ALONG, crate::git::CAME_ALONG_END);
        fs::write(repo.path().join("info/exclude"), &came).unwrap();
        assert!(find().is_empty());
        fs::write(repo.path().join("info/exclude"), format!("# mine\n{came}notes\nbuilt\n")).unwrap();
        assert!(find().is_empty());
        fs::write(dir.path().join("notes"), "precious").unwrap();
        assert_eq!(find(), ["a file that .git/info/exclude ignores"]);
        fs::create_dir_all(repo.path().join("hooks")).unwrap();
        fs::write(repo.path().join("hooks/pre-push.sample"), "").unwrap();
        assert_eq!(find().len(), 1);
        fs::write(repo.path().join("hooks/pre-push"), "").unwrap();
        assert_eq!(find().len(), 2);
    }

    #[test]
    fn submodules_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init(dir.path()).unwrap();
        let module = git2::Repository::init_bare(repo.path().join("modules/lib/deep")).unwrap();
        let base = commit(&module, "refs/remotes/origin/main", &[]);
        module.reference("refs/heads/main", base, true, "").unwrap();
        assert!(loose_ends(dir.path(), KnownCommits::default()).unwrap().is_empty());
        commit(&module, "refs/heads/mine", &[base]);
        assert_eq!(
            loose_ends(dir.path(), KnownCommits::default()).unwrap(),
            ["a commit on mine of the submodule lib/deep"]
        );
    }
}
