//! Extended headers that two readers would understand differently.

use std::fs;

use super::Range;
use crate::support::{Entry, Layer, pax_record};

fn records(pairs: &[(&str, &str)]) -> Vec<u8> {
    pairs.iter().flat_map(|(key, value)| pax_record(key, value.as_bytes())).collect()
}

#[test]
fn case_09_conflicting_records() {
    let range = Range::new();
    let conflicts: [&[(&str, &str)]; 4] = [
        &[("path", "good"), ("path", "evil")],
        &[("size", "0"), ("size", "512")],
        &[("linkpath", "good"), ("linkpath", "evil")],
        &[("mtime", "1"), ("uid", "0"), ("uid", "1")],
    ];
    for conflict in conflicts {
        let header = Entry::extended(b'x', records(conflict));
        range.refuses_entries([header, Entry::file("good", "")], &["pax", conflict.last().unwrap().0]);
    }
    let twice = ["good", "evil"].map(|name| Entry::extended(b'x', records(&[("path", name)])));
    range.refuses_entries([twice.to_vec(), vec![Entry::file("x", "")]].concat(), &["pax"]);
    let long_name = Entry::extended(b'L', b"evil\0");
    range.refuses_entries([long_name, Entry::file("x", "").pax("path", "good")], &["path"]);
}

#[test]
fn case_09_global_records_that_change_entries() {
    let range = Range::new();
    for (key, value) in [("path", "evil"), ("linkpath", "evil"), ("size", "512"), ("SCHILY.xattr.user.evil", "x")] {
        let header = Entry::extended(b'g', records(&[(key, value)]));
        range.refuses_entries([header, Entry::file("good", "")], &["global", key]);
    }
}

#[test]
fn case_09_nul_bytes_in_names() {
    let range = Range::new();
    for key in ["path", "linkpath"] {
        let entry = Entry::symlink("good", "target").pax(key, b"evil\0/../../evil".to_vec());
        range.refuses_entries([entry], &[key, "NUL"]);
    }
}

#[test]
fn case_09_malformed_records() {
    let range = Range::new();
    let malformed: [&[u8]; 13] = [
        b"nonsense",
        b"\n",
        b"12 path=evil",
        b"12 path=evil\n",
        b"14 path=evil\n",
        b"999 path=evil\n",
        b"0 path=evil\n",
        b"-13 path=evil\n",
        b"+13 path=evil\n",
        b"1x path=evil\n",
        b"99999999999999999999 path=evil\n",
        b"10 pathxx\n",
        b"13 path=evil\nrest",
    ];
    for bytes in malformed {
        range.refuses_entries([Entry::extended(b'x', bytes), Entry::file("good", "")], &["pax"]);
    }
    range.refuses_entries([Entry::extended(b'x', records(&[("path", "evil")]))], &["header"]);
}

#[test]
fn case_09_sizes_that_are_none() {
    let range = Range::new();
    for size in ["abc", "-1", "+1", "1.5", "99999999999999999999", " 5", ""] {
        range.refuses_entries([Entry::file("evil", "hello").pax("size", size)], &["size"]);
    }
}

/// Who believes the header sees an entry that who believes PAX takes for
/// content (CVE-2025-62518).
#[test]
fn case_09_the_pax_size_counts_and_smuggles_nothing() {
    let range = Range::new();
    let smuggled = Layer::open_ended([Entry::file("evil", "smuggled")]).tar;
    let size = smuggled.len().to_string();
    let carrier = Entry { size: Some(0), ..Entry::file("carrier", smuggled.clone()) }.pax("size", size);
    let files = range.accepts_entries([carrier, Entry::file("after", "after")]);
    assert_eq!(fs::read(files.join("carrier")).unwrap(), smuggled);
    assert_eq!(fs::read(files.join("after")).unwrap(), b"after");
    assert!(!files.join("evil").exists());
}

#[test]
fn case_09_data_behind_entries_that_have_none() {
    let range = Range::new();
    let entries = [
        Entry::dir("evil/"),
        Entry::fifo("evil"),
        Entry::char_device("evil", 1, 3),
        Entry::block_device("evil", 8, 0),
        Entry::symlink("evil", "innocent"),
    ];
    for entry in entries {
        let after = Entry::file("after", "after");
        range.refuses_entries([Entry { body: vec![b'x'; 512], ..entry.clone() }], &["evil", "data follows"]);
        // What one reader takes for the end, another one may take for the data.
        let hidden = Entry { body: vec![0; 512], size: Some(0), ..entry.clone() }.pax("size", "512");
        range.refuses_entries([hidden, after], &["evil", "data follows"]);
    }
}

#[test]
fn case_09_what_real_archives_carry_is_accepted() {
    let range = Range::new();
    let layer = Layer::new([
        // `git archive` writes the commit into a global header.
        Entry::extended(b'g', records(&[("comment", "0123456789abcdef0123456789abcdef01234567")])),
        Entry::file("vendor", "a").pax("ACME.note", "x").pax("LIBARCHIVE.creationtime", "1700000000"),
        Entry::file("repeated", "b").pax("path", "said-twice").pax("path", "said-twice"),
        Entry::file("times", "c").pax("atime", "1.5").pax("ctime", "2.5").pax("mtime", "3.5"),
    ]);
    range.sees(layer, "cd /; cat vendor said-twice times; stat -c %Y times", "abc3\n");
}
