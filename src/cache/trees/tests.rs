//! The first one wins, and only what is whole counts.

use std::os::fd::BorrowedFd;

use super::*;

struct Own;

impl Ownership for Own {
    fn key(&self) -> String {
        "own".into()
    }
    fn own_ids(&self) -> (u32, u32) {
        (0, 0)
    }
    fn settle(&self, _: BorrowedFd<'_>, _: &[Owned]) -> Result<Vec<u32>> {
        Ok(Vec::new())
    }
    fn inside(&self, work: &dyn Fn() -> Result<()>) -> Result<()> {
        work()
    }
    fn remove(&self, tree: &Path) -> Result<()> {
        disk::remove::tree(tree).map(drop)
    }
}

fn trees(dir: &Path, boot: &str) -> Trees {
    Trees::new(dir.join("trees/own"), dir.to_owned(), boot.into())
}

fn components() -> Components {
    Components::new("npm", Digest::of(b"i"), "linux/amd64".into()).made("/w", "node_modules", "npm ci")
}

fn seal(trees: &Trees, content: &str) -> Result<Sealed> {
    let draft = trees.draft()?;
    fs::write(draft.tree().join("file"), content)?;
    let at = "2026-01-15T10:30:00Z".parse()?;
    trees.seal(draft, Trees::record(components(), Scope::Task("s:t".into()), at, EntryOrigin::Sealed), None, &Own)
}

#[test]
fn case_54_the_first_one_wins_and_another_result_is_kept_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let trees = trees(dir.path(), "b");
    let first = seal(&trees, "one").unwrap();
    assert!(matches!(first, Sealed::New(_)));
    assert!(matches!(seal(&trees, "one").unwrap(), Sealed::Same(_)));
    let differs = seal(&trees, "two").unwrap();
    assert!(matches!(differs, Sealed::Differs(_)));
    assert_eq!(differs.record(), first.record());
    assert_eq!(fs::read(trees.tree(first.record()).join("file")).unwrap(), b"one");
    assert_eq!(fs::read(trees.other(first.record()).join("file")).unwrap(), b"two");
    assert_eq!(trees.all().len(), 1);
}

#[test]
fn case_49_an_entry_that_was_never_flushed_does_not_outlive_the_boot() {
    let dir = tempfile::tempdir().unwrap();
    let record = seal(&trees(dir.path(), "b"), "one").unwrap().record().clone();
    assert_eq!(trees(dir.path(), "later").get(&record.key, &record.scope), None);
    trees(dir.path(), "b").flush(std::slice::from_ref(&record)).unwrap();
    assert!(trees(dir.path(), "later").get(&record.key, &record.scope).is_some());
}

#[test]
fn case_26_another_content_than_the_expected_is_no_entry() {
    let dir = tempfile::tempdir().unwrap();
    let trees = trees(dir.path(), "b");
    let draft = trees.draft().unwrap();
    let at = "2026-01-15T10:30:00Z".parse().unwrap();
    let record = Trees::record(components(), Scope::Project("s".into()), at, EntryOrigin::Fetched);
    assert!(trees.seal(draft, record, Some(&Digest::of(b"x")), &Own).is_err());
    assert!(trees.all().is_empty());
}

#[test]
fn case_24_what_one_task_sealed_is_not_another_s_until_it_is_promoted() {
    let dir = tempfile::tempdir().unwrap();
    let trees = trees(dir.path(), "b");
    let record = seal(&trees, "one").unwrap().record().clone();
    let (other, project) = (Scope::Task("s:u".into()), Scope::Project("s".into()));
    assert_eq!(trees.get(&record.key, &other), None);
    assert_eq!(trees.get(&record.key, &project), None);
    trees.note_use(&record);
    let promoted = trees.promote(&record, project.clone(), &Own).unwrap();
    assert_eq!(trees.get(&record.key, &project), Some(promoted.clone()));
    assert_eq!(trees.uses(&promoted).0, 1);
    assert_ne!(other.tag(&record.key), project.tag(&record.key));
}

#[test]
fn case_19_a_record_that_lies_about_its_key_is_no_entry() {
    let dir = tempfile::tempdir().unwrap();
    let trees = trees(dir.path(), "b");
    let mut record = seal(&trees, "one").unwrap().record().clone();
    let place = trees.place(&record.key, &record.scope);
    record.components.setup = "other".into();
    disk::write_json(&place.join(RECORD), &record, Durability::Cached).unwrap();
    assert_eq!(trees.get(&record.key, &record.scope), None);
    assert_eq!(trees.broken(), [place]);
    assert!(matches!(seal(&trees, "one").unwrap(), Sealed::New(_)), "it is made again");
}

#[test]
fn case_54_an_entry_that_went_while_it_was_flushed_stays_away() {
    let dir = tempfile::tempdir().unwrap();
    let trees = trees(dir.path(), "b");
    let record = seal(&trees, "one").unwrap().record().clone();
    let place = trees.place(&record.key, &record.scope);
    let inside = disk::FileInside::open(&place, RECORD).unwrap();
    trees.remove(&record, &Own).unwrap();
    // The folder is gone, and so is the way into it.
    assert!(disk::write_json(inside.path(), &record, Durability::Cached).is_err());
    assert!(!place.exists());
    trees.flush(std::slice::from_ref(&record)).unwrap();
    assert!(!place.exists() && trees.all().is_empty());
}

#[test]
fn case_54_an_entry_that_somebody_works_on_is_flushed_later() {
    let dir = tempfile::tempdir().unwrap();
    let trees = trees(dir.path(), "b");
    let record = seal(&trees, "one").unwrap().record().clone();
    let unflushed = || trees.get(&record.key, &record.scope).unwrap().boot_id.is_some();
    let lock = trees.lock(&record.key, || {}).unwrap();
    trees.flush(std::slice::from_ref(&record)).unwrap();
    assert!(unflushed());
    drop(lock);
    trees.flush(std::slice::from_ref(&record)).unwrap();
    assert!(!unflushed());
}

#[test]
fn case_56_a_record_without_its_tree_is_no_entry() {
    let dir = tempfile::tempdir().unwrap();
    let trees = trees(dir.path(), "b");
    let record = seal(&trees, "one").unwrap().record().clone();
    disk::remove::tree(&trees.tree(&record)).unwrap();
    assert_eq!(trees.get(&record.key, &record.scope), None);
    assert_eq!(trees.broken().len(), 1);
    assert!(matches!(seal(&trees, "one").unwrap(), Sealed::New(_)), "it is made again");
    assert_eq!(fs::read(trees.tree(&record).join("file")).unwrap(), b"one");
}

#[test]
fn what_lies_below_the_home_folder_says_nothing_of_the_tool_that_built_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let trees = trees(dir.path(), "b");
    let habits = |path: &str| {
        let draft = trees.draft().unwrap();
        for file in ["workspace/build/a.o", "home/.tool/crate/a.d", "home/.tool/crate/index.js"] {
            let file = draft.tree().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        draft.made_from(&crate::cache::Sources::default()).unwrap();
        let components = components().made("/w", path, "make");
        let record = Trees::record(components, Scope::Task("s:t".into()), Timestamp::UNIX_EPOCH, EntryOrigin::Sealed);
        let habits = trees.seal(draft, record, None, &Own).unwrap().record().habits;
        (habits.forgets_includes(), habits.has_scripts())
    };
    assert_eq!(habits("build, ~/.tool"), (true, false));
    assert_eq!(habits("build"), (false, true));
}
