//! Bits and nodes that a layer must not bring along.

use std::fs;
use std::os::unix::fs::FileTypeExt;

use super::{Range, mode, record};
use crate::support::{Entry, Layer};

#[test]
fn case_11_setuid_and_setgid_bits_are_stripped_from_files() {
    let range = Range::new();
    let files = range.accepts_entries([
        Entry::program("setuid", "").mode(0o4755),
        Entry::program("setgid", "").mode(0o2711),
        Entry::program("both", "").mode(0o6555),
        Entry::hardlink("linked", "both").mode(0o6555),
        Entry::dir("folder/").mode(0o4755),
        Entry::dir("sticky/").mode(0o1777),
    ]);
    let expected = [
        ("setuid", 0o755),
        ("setgid", 0o711),
        ("both", 0o555),
        ("linked", 0o555),
        ("folder", 0o755),
        ("sticky", 0o1777),
    ];
    for (name, bits) in expected {
        assert_eq!(mode(files.join(name)), bits, "{name}");
    }
    assert_eq!(record(&files)["setid"], 3);
}

#[test]
fn case_11_file_capabilities_are_dropped() {
    let range = Range::new();
    let capability = [1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let entry = Entry::program("ping", "").pax("SCHILY.xattr.security.capability", capability);
    let files = range.accepts_entries([entry]);
    let mut value = [0_u8; 64];
    let found = rustix::fs::lgetxattr(files.join("ping"), "security.capability", &mut value);
    assert_eq!(found, Err(rustix::io::Errno::NODATA));
    assert_eq!(record(&files)["xattrs"], 1);
}

#[test]
fn case_11_device_nodes_are_skipped_and_counted_and_fifos_are_kept() {
    let range = Range::new();
    let files = range.accepts_entries([
        Entry::dir("dev/"),
        Entry::char_device("dev/null", 1, 3),
        Entry::char_device("dev/kmsg", 1, 11).mode(0o666),
        Entry::block_device("dev/disk", 8, 0).mode(0o666),
        Entry::fifo("dev/fifo").mode(0o600),
    ]);
    let names: Vec<_> = fs::read_dir(files.join("dev")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["fifo"]);
    assert!(files.join("dev/fifo").symlink_metadata().unwrap().file_type().is_fifo());
    assert_eq!(record(&files)["devices"], 3);
}

/// Files of an image may be writable or secret: nobody else on the machine
/// gets to them (CVE-2021-41103).
#[test]
fn case_11_other_people_cannot_reach_the_files() {
    let range = Range::new();
    let files = range.accepts_entries([Entry::file("open", "").mode(0o666), Entry::dir("all/").mode(0o777)]);
    let entry = files.parent().unwrap();
    assert_eq!(mode(entry.into()) & 0o077, 0, "{entry:?}");
    assert_eq!(mode(range.lab.dev.cache()) & 0o077, 0);
}

#[test]
fn case_14_raw_overlay_whiteouts_are_refused() {
    let range = Range::new();
    let entry = Entry::char_device("evil", 0, 0);
    range.refuses_entries([entry.clone()], &["evil", "overlay"]);
    range.refuses_entries([entry.clone().mode(0o000)], &["evil", "overlay"]);
    range.refuses_entries([Entry::dir("d/"), Entry { name: b"d/evil".to_vec(), ..entry }], &["d/evil", "overlay"]);
}

#[test]
fn case_14_raw_overlay_attributes_are_refused() {
    let range = Range::new();
    for space in ["trusted", "user"] {
        for name in ["opaque", "whiteout", "redirect", "metacopy", "data", "overlay.opaque"] {
            let attribute = format!("{space}.overlay.{name}");
            let key = format!("SCHILY.xattr.{attribute}");
            range.refuses_entries([Entry::dir("evil/").pax(&key, "y")], &["evil", &attribute]);
        }
        let key = format!("SCHILY.xattr.{space}.overlay.metacopy");
        range.refuses_entries([Entry::file("evil", "").pax(&key, "")], &["evil", &key[13..]]);
        range.refuses_entries([Entry::symlink("evil", "x").pax(&key, "")], &["evil", &key[13..]]);
    }
}

#[test]
fn case_14_attributes_of_other_kinds_do_no_harm() {
    let range = Range::new();
    let layer = Layer::new([
        Entry::file("file", "content").pax("SCHILY.xattr.trusted.note", "x").pax("SCHILY.xattr.user.note", "x"),
        Entry::dir("d/").pax("SCHILY.xattr.system.posix_acl_access", "x"),
    ]);
    range.sees(layer, "cat /file; test -d /d", "content");
}

/// What says that a layer is complete lies beside its files, never among them.
#[test]
fn case_08_a_layer_that_brings_the_record_along() {
    let range = Range::new();
    let record =
        r#"{"diff_id":"sha256:0000000000000000000000000000000000000000000000000000000000000000","boot_id":null}"#;
    let files = range.accepts_entries([
        Entry::file("layer.json", record),
        Entry::symlink("fs", "/etc"),
        Entry::file(".envctl-scratch", ""),
    ]);
    assert_eq!(fs::read_to_string(files.join("layer.json")).unwrap(), record);
    let own = fs::read_to_string(files.with_file_name("layer.json")).unwrap();
    assert!(!own.contains("0000000000000000000000000000000000000000000000000000000000000000"), "{own}");
    // Cut short, it is not there although it says so itself.
    let mut cut = Layer::new([Entry::file("layer.json", record), Entry::file("more", vec![b'x'; 100_000])]);
    cut.blob.truncate(cut.blob.len() / 2);
    range.refuses(cut.clone(), &["error:"]);
    assert!(range.lab.layer_folders(&cut).is_empty());
}

/// The bits are the image's, for the image's own users; nobody else on this
/// machine gets to the files.
#[test]
fn case_12_wide_modes_reach_nobody() {
    let range = Range::new();
    let files = range.accepts_entries([Entry::dir("open/").mode(0o777), Entry::file("open/file", "x").mode(0o666)]);
    assert_eq!(mode(files.join("open/file")), 0o666);
    let other = crate::support::Home::unprivileged();
    let run = other.call("cat", [files.join("open/file")]).run();
    assert_ne!(run.code, 0);
    assert!(run.stderr.contains("Permission denied"), "{}", run.stderr);
    for folder in [range.lab.dev.cache(), range.lab.dev.data(), range.lab.dev.state()] {
        assert_eq!(mode(folder.clone()), 0o700, "{}", folder.display());
    }
}
