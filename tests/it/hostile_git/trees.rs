//! Names in trees that mean something else to some file system, or to git.

use super::Range;

const FILE: &str = "100644";
const LINK: &str = "120000";
const FOLDER: &str = "40000";

#[test]
fn case_42_spellings_of_git() {
    let range = Range::new();
    let names: [&[u8]; 14] = [
        b".git",
        b".GIT",
        b".Git",
        b"git~1",
        b"GIT~1",
        b".git.",
        b".git ",
        b".git. .",
        b".git::$INDEX_ALLOCATION",
        b".git\\x",
        ".g\u{200c}it".as_bytes(),
        ".git\u{feff}".as_bytes(),
        "\u{202e}.git".as_bytes(),
        ".gi\u{206a}t".as_bytes(),
    ];
    for name in names {
        range.refuses_tree(&["is refused", "read it as .git"], |objects| {
            let evil = objects.blob("evil");
            objects.tree(&[(FILE, name, &evil)])
        });
        // As a folder, below another one.
        range.refuses_tree(&["is refused", "read it as .git"], |objects| {
            let evil = objects.blob("#!/bin/sh\ntouch evil\n");
            let hooks = objects.tree(&[("100755", b"post-checkout", &evil)]);
            let git = objects.tree(&[(FOLDER, b"hooks", &hooks)]);
            let deep = objects.tree(&[(FOLDER, name, &git)]);
            objects.tree(&[(FOLDER, b"deep", &deep)])
        });
    }
}

#[test]
fn case_42_names_that_are_no_names() {
    let range = Range::new();
    for name in [b"" as &[u8], b".", b"..", b"a/b", b"../evil", b"/evil", b"a/../../evil"] {
        for mode in [FILE, LINK, FOLDER] {
            range.refuses_tree(&["error:"], |objects| {
                let evil = objects.blob("evil");
                let folder = objects.tree(&[(FILE, b"evil", &evil)]);
                objects.tree(&[(mode, name, if mode == FOLDER { &folder } else { &evil })])
            });
        }
    }
}

#[test]
fn case_42_links_where_git_expects_a_file() {
    let range = Range::new();
    for name in [".gitmodules", ".GITMODULES", "gitmod~1", "GITMOD~4", ".gitmodules.", ".gitmod\u{200d}ules"] {
        range.refuses_tree(&["is refused", "symbolic link"], |objects| {
            let target = objects.blob("../../evil");
            objects.tree(&[(LINK, name.as_bytes(), &target)])
        });
    }
}

/// As a file such a name is innocent.
#[test]
fn case_42_what_only_looks_alike_is_restored() {
    let range = Range::new();
    for name in [".gitmodules", ".github", "git", "a~1", ".gitattributes-not", "x.git"] {
        range.trip.lab.repo.write(name, "x");
    }
    range.trip.round(&range.trip.lab.repo);
}

#[test]
fn case_42_one_name_twice() {
    let range = Range::new();
    let outside = range.outside.folder();
    // A link, and a folder in its place: what is below would go elsewhere.
    for converting in [false, true] {
        for link_first in [true, false] {
            range.refuses_tree(&["two entries", "\"a\""], |objects| {
                let target = objects.blob(outside.as_str());
                let evil = objects.blob("evil");
                // Makes git itself write the files.
                let attributes = objects.blob("*.txt text eol=crlf\n");
                let folder = objects.tree(&[(FILE, b"evil", &evil)]);
                let mut entries: Vec<(&str, &[u8], &str)> = vec![(LINK, b"a", &target), (FOLDER, b"a", &folder)];
                if !link_first {
                    entries.reverse();
                }
                if converting {
                    entries.insert(0, (FILE, b".gitattributes", &attributes));
                }
                objects.tree(&entries)
            });
        }
    }
    range.refuses_tree(&["two entries", "\"a\""], |objects| {
        let (one, two) = (objects.blob("one"), objects.blob("two"));
        objects.tree(&[(FILE, b"a", &one), (FILE, b"a", &two)])
    });
}

#[test]
fn case_42_modes_that_are_no_files() {
    let range = Range::new();
    for mode in ["60644", "20644", "10644", "140755"] {
        range.refuses_tree(&["error:"], |objects| {
            let evil = objects.blob("evil");
            objects.tree(&[(mode, b"evil", &evil)])
        });
    }
}

#[test]
fn case_42_a_set_user_id_bit_is_not_restored() {
    let range = Range::new();
    let task = range.forge_tree(|objects| {
        let file = objects.blob("x");
        objects.tree(&[("104755", b"program", &file)])
    });
    // Git knows two modes of files.
    range.refuses(&task, 5, &["error:"]);
}

#[test]
fn case_10_a_tree_that_is_nested_without_end() {
    let range = Range::new();
    range.refuses_tree(&["error:"], |objects| {
        let file = objects.blob("x");
        let mut tree = objects.tree(&[(FILE, b"d", &file)]);
        for _ in 0..1100 {
            tree = objects.tree(&[(FOLDER, b"d", &tree)]);
        }
        tree
    });
}

#[test]
fn case_42_what_the_pack_does_not_have() {
    let range = Range::new();
    let nowhere = "0123456789abcdef0123456789abcdef01234567";
    range.refuses_tree(&["error:"], |objects| objects.tree(&[(FILE, b"a", nowhere)]));
    range.refuses_tree(&["error:"], |objects| objects.tree(&[(FOLDER, b"a", nowhere)]));
    range.refuses_edit(5, &[nowhere], |forged| forged.document["tree"] = nowhere.into());
    // A file that is said to be a folder, and the other way round.
    range.refuses_tree(&["error:"], |objects| {
        let file = objects.blob("x");
        objects.tree(&[(FOLDER, b"a", &file)])
    });
    range.refuses_tree(&["error:"], |objects| {
        let file = objects.blob("x");
        let folder = objects.tree(&[(FILE, b"x", &file)]);
        objects.tree(&[(FILE, b"a", &folder)])
    });
}
