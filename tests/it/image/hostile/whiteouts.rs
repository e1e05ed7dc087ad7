//! Markers that take things away.

use super::Range;
use crate::support::{Entry, ImageBuilder, Layer};

#[test]
fn case_13_whiteouts_that_name_nothing() {
    let range = Range::new();
    for name in [".wh.", ".wh..", ".wh..."] {
        range.refuses_entries([Entry::file(name, "")], &[name, "whiteout"]);
        let below = format!("d/{name}");
        range.refuses_entries([Entry::dir("d/"), Entry::file(below.as_str(), "")], &[&below, "whiteout"]);
    }
}

#[test]
fn case_13_whiteouts_through_a_symlink() {
    let range = Range::new();
    let link = || Entry::symlink("d", range.outside.folder());
    range.refuses_entries([link(), Entry::file("d/.wh.sentinel", "")], &["d/.wh.sentinel"]);
    range.refuses_entries([link(), Entry::file("d/.wh..wh..opq", "")], &["d/.wh..wh..opq"]);
}

#[test]
fn case_13_only_regular_files_are_markers() {
    let range = Range::new();
    let below = Layer::new([Entry::file("a", ""), Entry::file("b", ""), Entry::dir("d/"), Entry::file("d/kept", "")]);
    let above = Layer::new([
        Entry::symlink(".wh.a", "b"),
        Entry::dir(".wh.b/"),
        Entry::dir("d/"),
        Entry::symlink("d/.wh..wh..opq", "kept"),
    ]);
    let task = range.lab.publish(&ImageBuilder::busybox().layer(below).layer(above));
    assert_eq!(range.lab.sh(&task, "cd /; echo a* b d/*"), "a b d/kept\n");
}

#[test]
fn case_13_an_opaque_marker_after_content_keeps_the_layers_own_content() {
    let range = Range::new();
    let below = Layer::new([Entry::dir("d/"), Entry::file("d/old", ""), Entry::file("d/both", "old")]);
    let above = Layer::new([
        Entry::dir("d/"),
        Entry::file("d/new", ""),
        Entry::file("d/both", "new"),
        Entry::file("d/.wh..wh..opq", ""),
        Entry::file("d/after", ""),
    ]);
    let task = range.lab.publish(&ImageBuilder::busybox().layer(below).layer(above));
    assert_eq!(range.lab.sh(&task, "cd /d; echo *; cat both"), "after both new\nnew");
}

#[test]
fn case_13_a_whiteout_takes_nothing_from_its_own_layer() {
    let range = Range::new();
    let layer = Layer::new([
        Entry::file("own", "own"),
        Entry::file(".wh.own", ""),
        Entry::dir("d/"),
        Entry::file("d/own", "too"),
        Entry::file(".wh.d", ""),
        Entry::symlink("link", "own"),
        Entry::file(".wh.link", ""),
    ]);
    range.sees(layer, "cat /own /d/own /link", "owntooown");
}
