//! Names in trees that mean something else to some file system, or to git.

use super::Range;
use crate::support::forge;

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

/// Ten trees that each hold the one before ten times: a few hundred bytes.
#[test]
fn case_42_trees_that_unfold_without_end() {
    let range = Range::new();
    for with_file in [true, false] {
        range.refuses_tree(&["a tree has more than 1000000 entries"], |objects| {
            let file = objects.blob("x");
            let mut tree = if with_file { objects.tree(&[(FILE, b"f", &file)]) } else { objects.tree(&[]) };
            for _ in 0..10 {
                let names: Vec<String> = (0..10).map(|n| format!("d{n}")).collect();
                let entries: Vec<_> = names.iter().map(|name| (FOLDER, name.as_bytes(), &*tree)).collect();
                tree = objects.tree(&entries);
            }
            tree
        });
    }
    range.refuses_tree(&["a tree has more than", "128 MB of paths"], |objects| {
        let file = objects.blob("x");
        let names: Vec<String> = (0..1000).map(|n| format!("{n:0200}")).collect();
        let files: Vec<_> = names.iter().map(|name| (FILE, name.as_bytes(), &*file)).collect();
        let tree = objects.tree(&files);
        let folders: Vec<_> = names.iter().map(|name| (FOLDER, name.as_bytes(), &*tree)).collect();
        objects.tree(&folders)
    });
}

/// A delta of a few bytes that makes a gigabyte of a megabyte.
#[test]
fn case_42_a_delta_that_unfolds_without_end() {
    let range = Range::new();
    let task = forge(&range.trip, |forged| {
        let mut delta = vec![0x80, 0x80, 0x40, 0x80, 0x80, 0x80, 0x80, 0x04];
        // Copies of the whole base: offset 0, 1 << 20 bytes.
        delta.extend([0xc0, 0x10].repeat(1024));
        let mut pack = b"PACK\0\0\0\x02\0\0\0\x02".to_vec();
        let mut object = |kind: u8, size: usize, base: &[u8], data: &[u8]| {
            let start = pack.len();
            let mut rest = size >> 4;
            let mut byte = kind << 4 | (size & 15) as u8;
            while rest > 0 {
                pack.push(byte | 0x80);
                (byte, rest) = ((rest & 0x7f) as u8, rest >> 7);
            }
            pack.push(byte);
            pack.extend(base);
            let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
            std::io::Write::write_all(&mut packed, data).unwrap();
            pack.extend(packed.finish().unwrap());
            pack.len() - start
        };
        let length = object(3, 1 << 20, b"", &vec![0; 1 << 20]);
        let back = length - 128;
        object(6, delta.len(), &[0x80 | (back >> 7) as u8, (back & 0x7f) as u8], &delta);
        let sum: Vec<u8> = <sha1::Sha1 as sha1::Digest>::digest(&pack).to_vec();
        pack.extend(sum);
        forged.pack = Some(pack);
    });
    range.refuses(&task, 5, &["a delta would unfold to more"]);
}

/// Larger than what is kept in memory.
#[test]
fn a_large_file_arrives() {
    let range = Range::new();
    let repo = &range.trip.lab.repo;
    let mut large = Vec::with_capacity(72_000_000);
    (0..9_000_000u64).for_each(|n| large.extend_from_slice(&n.to_le_bytes()));
    repo.write("large", &large);
    repo.write("executable", &large);
    let own = repo.path.join("executable");
    std::fs::set_permissions(own, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    range.trip.round(repo);
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
