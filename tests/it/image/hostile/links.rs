//! Links, and what comes after them in the same archive.

use std::fs;

use super::{Range, mode};
use crate::support::{Entry, ImageBuilder, Layer};

#[test]
fn case_02_writing_through_a_symlink() {
    let range = Range::new();
    through_symlinks(&range);
}

#[test]
fn case_02_writing_through_a_symlink_as_a_user() {
    let range = Range::unprivileged();
    through_symlinks(&range);
}

fn through_symlinks(range: &Range) {
    let outside = range.outside.folder();
    let climbing = format!("{}{}", "../".repeat(30), outside.trim_start_matches('/'));
    let ways: [(&str, Vec<Entry>); 7] = [
        ("link/evil", vec![Entry::symlink("link", outside.as_str())]),
        ("link/evil", vec![Entry::symlink("link", climbing.as_str())]),
        ("one/evil", vec![Entry::symlink("two", outside.as_str()), Entry::symlink("one", "two")]),
        ("one/evil", vec![Entry::symlink("one", "two"), Entry::symlink("two", outside.as_str())]),
        (
            // Each link stays inside on its own; together they would not.
            "d/out/evil",
            vec![Entry::dir("d/"), Entry::symlink("d/up", ".."), Entry::symlink("d/out", format!("up/{climbing}"))],
        ),
        ("link/evil/deep/file", vec![Entry::symlink("link", outside.as_str())]),
        ("link/evil", vec![Entry::symlink("link", "/proc/self/cwd")]),
    ];
    for (name, links) in ways {
        range.refuses_entries([links, vec![Entry::file(name, "evil")]].concat(), &[name]);
    }
}

#[test]
fn case_02_every_kind_of_entry_through_a_symlink() {
    let range = Range::new();
    let entries = [
        Entry::dir("link/evil/").mode(0o777),
        Entry::symlink("link/evil", "a"),
        Entry::hardlink("link/evil", "innocent"),
        Entry::fifo("link/evil"),
        Entry::file("link/sentinel", "overwritten"),
    ];
    for entry in entries {
        let link = Entry::symlink("link", range.outside.folder());
        range.refuses_entries([link, entry], &["link/"]);
    }
}

#[test]
fn case_02_a_file_replaces_a_symlink_and_is_not_written_through_it() {
    let range = Range::new();
    let files = range.accepts_entries([
        Entry::symlink("config", range.outside.sentinel()),
        Entry::file("config", "new").mode(0o600),
    ]);
    assert_eq!(fs::read(files.join("config")).unwrap(), b"new");
    assert!(files.join("config").symlink_metadata().unwrap().is_file());
}

#[test]
fn case_02_a_symlink_of_a_layer_below_is_not_followed() {
    let range = Range::new();
    let below = Layer::new([Entry::symlink("link", range.outside.folder())]);
    let above = Layer::new([Entry::dir("link/"), Entry::file("link/evil", "inside")]);
    let task = range.lab.publish(&ImageBuilder::busybox().layer(below).layer(above));
    assert_eq!(range.lab.sh(&task, "cat /link/evil"), "inside");
    range.outside.assert_untouched();
}

#[test]
fn case_04_hardlinks_to_what_is_not_in_the_layer() {
    let range = Range::new();
    hostile_hardlinks(&range);
}

#[test]
fn case_04_hardlinks_to_what_is_not_in_the_layer_as_a_user() {
    let range = Range::unprivileged();
    hostile_hardlinks(&range);
}

fn hostile_hardlinks(range: &Range) {
    let (outside, sentinel) = (range.outside.folder(), range.outside.sentinel());
    let climbing = format!("{}{}", "../".repeat(30), sentinel.trim_start_matches('/'));
    let evil = |target: &str| Entry::hardlink("evil", target);
    range.refuses_entries([evil(&sentinel)], &[&sentinel]);
    range.refuses_entries([evil(&climbing)], &[&climbing[..60]]);
    range.refuses_entries([evil("../innocent")], &["../innocent"]);
    range.refuses_entries([evil("missing")], &["missing"]);
    range.refuses_entries([evil(".")], &["evil"]);
    range.refuses_entries([Entry::dir("d/"), evil("d")], &["evil"]);
    range.refuses_entries([Entry::file("x", "").pax("linkpath", "x"), evil("x/y")], &["x/y"]);
    range.refuses_entries([Entry::symlink("link", outside.as_str()), evil("link/sentinel")], &["link/sentinel"]);
    range.refuses_entries(
        [Entry::symlink("two", outside.as_str()), Entry::symlink("one", "two"), evil("one/sentinel")],
        &["one/sentinel"],
    );
    range.refuses_entries([Entry::hardlink("evil", "innocent").pax("linkpath", sentinel.as_str())], &[&sentinel]);
}

#[test]
fn case_04_a_hardlink_to_a_symlink_is_a_symlink() {
    let range = Range::new();
    let files = range.accepts_entries([
        Entry::symlink("link", range.outside.sentinel()),
        // Mode, owner and time of the entry must not reach the link's target.
        Entry::hardlink("second", "link").mode(0o777).mtime(1),
        Entry::hardlink("third", "link"),
        Entry::file("third", "new"),
    ]);
    assert!(files.join("second").symlink_metadata().unwrap().is_symlink());
    assert_eq!(fs::read(files.join("third")).unwrap(), b"new");
}

#[test]
fn case_04_a_file_replaces_a_hardlink_and_leaves_the_other_name_alone() {
    let range = Range::new();
    let layer = Layer::new([
        Entry::file("a", "first"),
        Entry::hardlink("b", "a"),
        Entry::hardlink("b", "./a"),
        Entry::file("b", "second"),
    ]);
    range.sees(layer, "cat /a /b", "firstsecond");
}

#[test]
fn case_05_hardlinks_do_not_depend_on_the_working_directory() {
    let range = Range::new();
    assert!(range.outside.cwd().join("sentinel").exists());
    range.refuses_entries([Entry::hardlink("evil", "sentinel")], &["sentinel"]);
    range.refuses_entries([Entry::hardlink("evil", "./sentinel")], &["sentinel"]);
    range.refuses_entries([Entry::dir("d/"), Entry::hardlink("d/evil", "../sentinel")], &["../sentinel"]);
}

#[test]
fn case_06_settings_of_a_folder_do_not_land_on_a_symlinks_target() {
    let range = Range::new();
    let outside = range.outside.folder();
    let link = || Entry::symlink("d", outside.as_str());
    let files = range.accepts_entries([link(), Entry::dir("d/").mode(0o700).mtime(1), Entry::file("d/own", "")]);
    assert_eq!(mode(files.join("d")), 0o700);
    assert!(files.join("d/own").is_file());

    // The other way round: settings of folders are applied late.
    let files = range.accepts_entries([Entry::dir("d/").mode(0o700).mtime(1), link()]);
    assert!(files.join("d").symlink_metadata().unwrap().is_symlink());

    // Nor on a folder of the same layer.
    let inside = Entry::symlink("d", "other");
    let files = range.accepts_entries([Entry::dir("d/").mode(0o700), Entry::dir("other/").mode(0o755), inside]);
    assert_eq!(mode(files.join("other")), 0o755);

    let sub = [Entry::dir("d/"), Entry::dir("d/outside/").mode(0o777).mtime(1)];
    let parent = Entry::symlink("d", range.lab.dev.path("").to_str().unwrap());
    range.accepts_entries([&sub[..], &[parent]].concat());
}
