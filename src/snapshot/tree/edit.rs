//! Changing a few paths of a tree: only the folders that lead to them are read
//! and written, whatever the tree's size.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// What becomes of a path: a file with this mode and content, or nothing.
pub(in crate::snapshot) type Edit = Option<(u32, git2::Oid)>;

/// Files and links of `after` that `before` has not in this form, in the order
/// of their paths. Folders that both have alike are not looked into.
///
/// # Errors
/// When a tree that differs is missing.
pub(in crate::snapshot) fn new_files(
    repo: &git2::Repository,
    before: Option<git2::Oid>,
    after: git2::Oid,
) -> Result<Vec<(Vec<u8>, git2::Oid)>> {
    let mut files = Vec::new();
    let mut pending = vec![(Vec::new(), before, after)];
    while let Some((folder, before, after)) = pending.pop() {
        if before == Some(after) {
            continue;
        }
        let tree = |id: git2::Oid| repo.find_tree(id).with_context(|| format!("the tree {id} is missing"));
        let (before, after) = (before.map(tree).transpose()?, tree(after)?);
        for entry in after.iter() {
            let (mode, id) = (entry.filemode_raw(), entry.id());
            let known = before.as_ref().and_then(|tree| tree.get_name_bytes(entry.name_bytes()));
            if known.as_ref().is_some_and(|known| (known.filemode_raw(), known.id()) == (mode, id)) {
                continue;
            }
            let path = [&folder, entry.name_bytes()].concat();
            match mode as u32 & 0o170_000 {
                0o040_000 => {
                    let known = known.filter(|known| known.filemode_raw() == mode).map(|known| known.id());
                    pending.push(([&path[..], b"/"].concat(), known, id));
                }
                0o160_000 => {}
                _ => files.push((path, id)),
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The changes below one folder.
#[derive(Default)]
struct Node {
    edit: Option<Edit>,
    below: BTreeMap<Vec<u8>, Node>,
}

/// The tree after the edits. Folders that become empty are gone; where a file
/// is to stand in the place of a folder, or the other way round, what is new
/// wins.
///
/// # Errors
/// When a tree that leads to a change is missing.
pub(in crate::snapshot) fn edit(
    repo: &git2::Repository,
    tree: git2::Oid,
    edits: &BTreeMap<Vec<u8>, Edit>,
) -> Result<git2::Oid> {
    if edits.is_empty() {
        return Ok(tree);
    }
    let mut root = Node::default();
    for (path, edit) in edits {
        let mut node = &mut root;
        for name in path.split(|byte| *byte == b'/') {
            node = node.below.entry(name.to_vec()).or_default();
        }
        node.edit = Some(*edit);
    }
    let base = repo.find_tree(tree).with_context(|| format!("the tree {tree} is missing"))?;
    match apply(repo, Some(&base), &root)? {
        Some(tree) => Ok(tree),
        None => Ok(repo.treebuilder(None)?.write()?),
    }
}

/// `None` for a folder without entries.
fn apply(repo: &git2::Repository, base: Option<&git2::Tree<'_>>, node: &Node) -> Result<Option<git2::Oid>> {
    let mut builder = repo.treebuilder(base)?;
    for (name, change) in &node.below {
        let before = base.and_then(|tree| tree.get_name_bytes(name));
        let folder = before.as_ref().filter(|entry| entry.filemode() == 0o040_000).map(git2::TreeEntry::id);
        let mut after: Edit = match (&folder, &before) {
            (Some(id), _) => Some((0o040_000, *id)),
            (None, Some(entry)) => Some((entry.filemode() as u32, entry.id())),
            (None, None) => None,
        };
        if !change.below.is_empty() {
            let inner = folder.map(|id| repo.find_tree(id)).transpose().context("a tree is missing")?;
            let made = apply(repo, inner.as_ref(), change)?.map(|id| (0o040_000, id));
            // A file whose place only gets removals stays what it is.
            if folder.is_some() || made.is_some() {
                after = made;
            }
        }
        match change.edit {
            Some(Some(file)) => after = Some(file),
            Some(None) if change.below.is_empty() || after.is_none_or(|(mode, _)| mode != 0o040_000) => after = None,
            _ => {}
        }
        match after {
            Some((mode, id)) => {
                builder.insert(&name[..], id, mode as i32)?;
            }
            None if before.is_some() => builder.remove(&name[..])?,
            None => {}
        }
    }
    if builder.is_empty() { Ok(None) } else { Ok(Some(builder.write()?)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATHS: [&str; 8] = ["a", "b", "d", "d/a", "d/e", "d/e/f", "x/y/z", "x.txt"];

    /// Files that could stand together: none below another.
    fn consistent(files: &BTreeMap<Vec<u8>, u8>) -> bool {
        let below = |path: &[u8]| [path, b"/"].concat();
        files.keys().all(|file| !files.keys().any(|other| other.starts_with(&below(file))))
    }

    fn written(repo: &git2::Repository, files: &BTreeMap<Vec<u8>, u8>) -> git2::Oid {
        let empty = repo.treebuilder(None).unwrap().write().unwrap();
        let edits = files.iter().map(|(path, n)| (path.clone(), Some((0o100_644, repo.blob(&[*n]).unwrap()))));
        edit(repo, empty, &edits.collect()).unwrap()
    }

    fn read(repo: &git2::Repository, tree: git2::Oid) -> BTreeMap<Vec<u8>, u8> {
        let files = crate::snapshot::tree::files::flatten(repo, tree).unwrap();
        files.into_iter().map(|file| (file.path, repo.find_blob(file.object).unwrap().content()[0])).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_difference_can_be_made(before in any::<[Option<u8>; 8]>(), after in any::<[Option<u8>; 8]>()) {
            let dir = tempfile::tempdir().unwrap();
            let repo = git2::Repository::init_bare(dir.path()).unwrap();
            let files = |wanted: [Option<u8>; 8]| -> BTreeMap<Vec<u8>, u8> {
                let mut files = BTreeMap::new();
                for (path, n) in PATHS.iter().zip(wanted) {
                    if let Some(n) = n {
                        let mut with = files.clone();
                        with.insert(path.as_bytes().to_vec(), n);
                        if consistent(&with) {
                            files = with;
                        }
                    }
                }
                files
            };
            let (before, after) = (files(before), files(after));
            let tree = written(&repo, &before);
            prop_assert_eq!(&read(&repo, tree), &before);
            let mut edits: BTreeMap<Vec<u8>, Edit> =
                before.keys().filter(|path| !after.contains_key(*path)).map(|path| (path.clone(), None)).collect();
            edits.extend(after.iter().map(|(path, n)| (path.clone(), Some((0o100_644, repo.blob(&[*n]).unwrap())))));
            let changed = edit(&repo, tree, &edits).unwrap();
            prop_assert_eq!(&read(&repo, changed), &after);
            prop_assert_eq!(changed, written(&repo, &after), "one tree for one content");
            let id = |n: &u8| git2::Oid::hash_object(git2::ObjectType::Blob, &[*n]).unwrap();
            let new = after.iter().filter(|(path, n)| before.get(*path) != Some(*n));
            let new: BTreeMap<Vec<u8>, git2::Oid> = new.map(|(path, n)| (path.clone(), id(n))).collect();
            prop_assert_eq!(new_files(&repo, Some(tree), changed).unwrap().into_iter().collect::<BTreeMap<_, _>>(), new);
            let all: BTreeMap<Vec<u8>, git2::Oid> = after.iter().map(|(path, n)| (path.clone(), id(n))).collect();
            prop_assert_eq!(new_files(&repo, None, changed).unwrap().into_iter().collect::<BTreeMap<_, _>>(), all);
        }
    }
}
