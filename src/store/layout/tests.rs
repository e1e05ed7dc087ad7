use super::*;

fn layout() -> (tempfile::TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path().join("store")).unwrap();
    (dir, layout)
}

#[test]
fn one_that_went_away_while_it_was_written_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (here, gone) = (dir.path().join("store"), dir.path().join("gone"));
    let store = Layout::create(here.clone()).unwrap();
    let index = store.index().unwrap();
    fs::rename(&here, &gone).unwrap();
    let blob = Descriptor::of(media::INDEX, b"hello");
    assert!(store.write_index(&index).is_err());
    assert!(store.put(&blob, &|| Ok(Box::new(&b"hello"[..]))).is_err());
    assert!(!here.exists());
    fs::rename(&gone, &here).unwrap();
    store.write_index(&index).unwrap();
}

#[test]
fn nothing_is_read_or_written_through_a_link_that_somebody_laid() {
    let blob = Descriptor::of("text/plain", b"hello");
    let put = |store: &Layout| store.put(&blob, &|| Ok(Box::new(&b"hello"[..])));
    for place in ["blobs", "blobs/sha256"] {
        let (dir, store) = layout();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::create_dir(outside.join("sha256")).unwrap();
        fs::write(outside.join(blob.digest.hex()), b"hello").unwrap();
        fs::write(outside.join("sha256").join(blob.digest.hex()), b"hello").unwrap();
        let root = store.root.join(place);
        fs::rename(&root, dir.path().join("aside")).unwrap();
        std::os::unix::fs::symlink(&outside, &root).unwrap();
        assert!(put(&store).is_err() && !store.contains(&blob).unwrap(), "{place}");
        assert!(Blobs::open(&store, &blob).is_err() && store.find(&blob.digest).is_err(), "{place}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 2, "{place}");
        fs::remove_file(store.root.join("oci-layout")).unwrap();
        assert!(Layout::create(store.root.clone()).is_err(), "{place}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 2, "{place}");
    }
    for name in ["index.json", "oci-layout"] {
        let (dir, store) = layout();
        fs::rename(store.root.join(name), dir.path().join(name)).unwrap();
        std::os::unix::fs::symlink(dir.path().join(name), store.root.join(name)).unwrap();
        let outcome = Layout::open(store.root.clone()).and_then(|store| store.tags());
        assert!(outcome.unwrap_err().to_string().contains("is a link"), "{name}");
    }
    let (_dir, store) = layout();
    let place = store.root.join(Layout::blob_path(&blob.digest));
    std::os::unix::fs::symlink("/etc/hostname", &place).unwrap();
    assert!(Blobs::open(&store, &blob).is_err());
    // A link in the place of a blob makes room.
    put(&store).unwrap();
    assert!(fs::symlink_metadata(&place).unwrap().is_file());
}

#[test]
fn blobs_are_checked_on_the_way_in() {
    let (_dir, store) = layout();
    let descriptor = Descriptor::of("text/plain", b"hello");
    assert!(store.put(&descriptor, &|| Ok(Box::new(&b"hellO"[..]))).is_err());
    assert!(store.put(&descriptor, &|| Ok(Box::new(&b"hello, world"[..]))).is_err());
    assert!(!store.contains(&descriptor).unwrap());
    assert_eq!(fs::read_dir(&store.root).unwrap().count(), 3, "no temporary file stays");
    store.put(&descriptor, &|| Ok(Box::new(&b"hello"[..]))).unwrap();
    assert_eq!(store.read_small(&descriptor, 10).unwrap(), b"hello");
}

#[test]
fn tags_move_only_from_where_they_were_seen() {
    let (_dir, store) = layout();
    let (a, b) = (Descriptor::of(media::MANIFEST, b"a"), Descriptor::of(media::MANIFEST, b"b"));
    assert!(store.tag("t", &a, Some(None)).unwrap());
    assert!(!store.tag("t", &b, Some(None)).unwrap(), "somebody else was first");
    assert!(store.tag("t", &b, Some(Some(&a.digest))).unwrap());
    assert_eq!(store.resolve("t").unwrap().unwrap().digest, b.digest);
    assert_eq!(store.tags().unwrap().len(), 1);
}

#[test]
fn a_store_that_another_one_is_making_is_nothing_else() {
    for _ in 0..200 {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        std::thread::scope(|scope| {
            let maker = scope.spawn(|| Layout::create(root.clone()).unwrap());
            while !maker.is_finished() {
                assert!(!holds_something_else(&root));
            }
        });
    }
}

#[test]
fn two_writers_lose_nothing() {
    let (dir, _) = layout();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let root = dir.path().join("store");
            scope.spawn(move || {
                let store = Layout::create(root).unwrap();
                for n in 0..10 {
                    let bytes = format!("{writer}-{n}");
                    let descriptor = Descriptor::of(media::MANIFEST, bytes.as_bytes());
                    store.put(&descriptor, &|| Ok(Box::new(bytes.as_bytes()))).unwrap();
                    assert!(store.tag(&format!("t-{bytes}"), &descriptor, None).unwrap());
                }
            });
        }
    });
    assert_eq!(Layout::open(dir.path().join("store")).unwrap().tags().unwrap().len(), 40);
}

#[test]
fn referrers_are_listed_and_nobody_s_are_lost() {
    let (dir, store) = layout();
    let subject = Descriptor::of(media::MANIFEST, b"subject");
    assert!(store.referrers(&subject.digest).unwrap().found.is_empty());
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (root, subject) = (dir.path().join("store"), &subject);
            scope.spawn(move || {
                let store = Layout::open(root).unwrap();
                for n in 0..10 {
                    let bytes = format!("{writer}-{n}");
                    let manifest = Descriptor::of(media::MANIFEST, bytes.as_bytes());
                    store.attach(&subject.digest, std::slice::from_ref(&manifest)).unwrap();
                    store.attach(&subject.digest, &[manifest]).unwrap();
                }
            });
        }
    });
    assert_eq!(store.referrers(&subject.digest).unwrap().found.len(), 40);
    assert_eq!(store.tags().unwrap().len(), 1, "one tag, however many refer");
}

#[test]
fn a_tag_is_taken_away_from_where_it_was_seen() {
    let (_dir, store) = layout();
    let (a, b) = (Descriptor::of(media::MANIFEST, b"a"), Descriptor::of(media::MANIFEST, b"b"));
    for tag in ["t", "id"] {
        store.tag(tag, &a, None).unwrap();
    }
    store.attach(&a.digest, std::slice::from_ref(&b)).unwrap();
    assert!(!store.untag("t", &b.digest).unwrap(), "it points elsewhere");
    assert!(!store.untag("x", &a.digest).unwrap(), "there is none");
    assert!(store.untag("t", &a.digest).unwrap());
    assert_eq!(store.resolve("id").unwrap().unwrap().digest, a.digest, "the other tag stays");
    store.forget(&a.digest).unwrap();
    assert!(store.tags().unwrap().is_empty(), "with the list of what refers to it");
    store.forget(&a.digest).unwrap();
}

#[test]
fn a_store_that_is_gone_is_not_made_again() {
    let (dir, store) = layout();
    fs::rename(dir.path().join("store"), dir.path().join("moved")).unwrap();
    let descriptor = Descriptor::of("text/plain", b"hello");
    assert!(store.put(&descriptor, &|| Ok(Box::new(&b"hello"[..]))).is_err());
    assert!(!dir.path().join("store").exists());
}

#[test]
fn a_creation_that_was_cut_short_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
    fs::write(dir.path().join(".tmp-x"), "{").unwrap();
    // Another publisher is about to make it, too.
    fs::create_dir(dir.path().join(format!("{}x", super::PROBE))).unwrap();
    let store = Layout::create(dir.path().into()).unwrap();
    assert!(store.tags().unwrap().is_empty());
    fs::remove_file(dir.path().join("oci-layout")).unwrap();
    Layout::create(dir.path().into()).unwrap();
}

#[test]
fn a_folder_that_is_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    assert!(Layout::create(dir.path().into()).is_err());
    assert!(Layout::open(dir.path().into()).unwrap_err().to_string().contains("not an OCI image layout"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
