//! Names that lead out of the layer.

use std::fs;

use super::Range;
use crate::support::{Entry, ImageBuilder, Layer};

#[test]
fn case_01_escaping_names() {
    let range = Range::new();
    let absolute = format!("{}/evil", range.outside.folder());
    let climbing = format!("{}{}", "../".repeat(30), absolute.trim_start_matches('/'));
    let names = [
        "../evil",
        "../../evil",
        "../../../evil",
        "../../../../evil",
        "a/../../evil",
        "./../evil",
        "/../evil",
        &climbing,
        "..",
        "a/..",
    ];
    for name in names {
        // A long one is shown in part.
        let shown = name.get(..60).unwrap_or(name);
        range.refuses_entries([Entry::dir("a/"), Entry::file(name, "evil")], &[shown]);
    }
}

/// Every other unpacker takes them for names below the root, and so do we.
#[test]
fn case_01_absolute_names_are_names_below_the_root() {
    let range = Range::new();
    let absolute = format!("{}/file", range.outside.folder());
    let files = range.accepts_entries([
        Entry::dir("/"),
        Entry::file("/one", "one"),
        Entry::file("//two", "two"),
        Entry::file(absolute.as_str(), "three"),
        Entry::hardlink("four", absolute.as_str()),
    ]);
    for (name, text) in [("one", "one"), ("two", "two"), (absolute.trim_start_matches('/'), "three"), ("four", "three")]
    {
        assert_eq!(fs::read_to_string(files.join(name)).unwrap(), text);
    }
}

#[test]
fn case_01_escaping_names_of_every_kind_of_entry() {
    let range = Range::new();
    let entries = [
        Entry::dir("../evil/").mode(0o777),
        Entry::symlink("../evil", "a"),
        Entry::hardlink("../evil", "innocent"),
        Entry::fifo("../evil"),
        Entry::char_device("../evil", 1, 3),
        Entry::file("../.wh.evil", ""),
    ];
    for entry in entries {
        range.refuses_entries([entry], &["../", "evil"]);
    }
    let opaque = Entry::file("../.wh..wh..opq", "");
    range.refuses_entries([opaque], &["../.wh..wh..opq"]);
}

#[test]
fn case_01_escaping_names_by_every_way_to_write_a_name() {
    let range = Range::new();
    let long_name = Entry { name: b"././@LongLink".to_vec(), ..Entry::extended(b'L', b"../evil\0") };
    range.refuses_entries([Entry::file("harmless", "").pax("path", "../evil")], &["../evil"]);
    range.refuses_entries([Entry { prefix: b"..".to_vec(), ..Entry::file("evil", "") }], &["../evil"]);
    range.refuses_entries([long_name, Entry::file("harmless", "")], &["../evil"]);
}

#[test]
fn case_01_a_leading_dot_is_no_escape() {
    let range = Range::new();
    let layer = Layer::new([
        Entry::dir("./"),
        Entry::dir("./a/"),
        Entry::file("./a/file", "one "),
        Entry::file("a//./other", "two"),
        Entry::file("..a/b..", ""),
        Entry::file("./.wh.usr", ""),
    ]);
    range.sees(layer, "cat /a/file /a/other /..a/b..; test ! -e /usr", "one two");
}

#[test]
fn case_03_the_root_is_a_folder_and_stays_one() {
    let range = Range::new();
    let outside = range.outside.folder();
    for name in [".", "./", "./."] {
        let entries = [
            Entry::symlink(name, outside.as_str()),
            Entry { kind: b'0', ..Entry::file(name, "") },
            Entry::fifo(name),
            Entry::hardlink(name, "innocent"),
        ];
        for entry in entries {
            // A later entry, and a later layer, would go where the root points.
            if entry.kind == b'0' && name == "./" {
                continue;
            }
            range.refuses_entries([entry, Entry::file("evil", "")], &["root"]);
        }
    }
    let image = ImageBuilder::new()
        .layer(Layer::new([Entry::file("evil", "")]))
        .layer(Layer::new([Entry::symlink(".", outside.as_str())]));
    let task = range.lab.publish(&image);
    range.lab.enter(&task, &["true"]).code(125).says(&["error:", "root"]);
    range.outside.assert_untouched();
}

#[test]
fn case_07_links_cannot_poison_the_layer_next_door() {
    let mut range = Range::new();
    let sibling = Layer::new([Entry::file("file", "sibling"), Entry::dir("d/")]);
    let files = range.accepts(sibling.clone());
    range.outside.watch(files.parent().unwrap());
    let name = sibling.diff_id().replace("sha256:", "");
    let record = files.with_file_name("layer.json");

    for depth in 1..=5 {
        let target = format!("{}{name}/fs", "../".repeat(depth));
        range.refuses_entries([Entry::symlink("up", target.as_str()), Entry::file("up/evil", "")], &["up/evil"]);
        range.refuses_entries([Entry::symlink("up", target.as_str()), Entry::file("up/.wh.file", "")], &["up/"]);
        range.refuses_entries([Entry::hardlink("evil", format!("{target}/file"))], &["file"]);
    }
    range.refuses_entries([Entry::symlink("up", files.to_str().unwrap()), Entry::file("up/evil", "")], &["up/evil"]);
    // What climbs above the root ends at the root, as it does in the sandbox.
    for entry in [Entry::symlink("up", ".."), Entry::symlink("up", "../../..")] {
        let unpacked = range.accepts_entries([entry, Entry::file("up/layer.json", "poison")]);
        assert_eq!(fs::read(unpacked.join("layer.json")).unwrap(), b"poison");
        assert_ne!(fs::read(unpacked.with_file_name("layer.json")).unwrap(), b"poison");
    }
    assert_ne!(fs::read(record).unwrap(), b"poison");
    range.sees(sibling, "cat /file", "sibling");
}
