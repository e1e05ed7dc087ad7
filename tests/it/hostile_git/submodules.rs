//! Submodules and nested git folders: the oldest way to run a program at
//! checkout.

use std::fs;

use super::Range;
use crate::support::Repo;

const FILE: &str = "100644";
const PROGRAM: &str = "100755";
const LINK: &str = "120000";
const FOLDER: &str = "40000";

/// No program of the snapshot is where git would run it.
#[track_caller]
fn assert_no_hooks(workspace: &Repo) {
    let hooks = fs::read_dir(workspace.path.join(".git/hooks")).unwrap().map(|hook| hook.unwrap().file_name());
    assert!(hooks.into_iter().all(|name| name == "README.sample"));
    assert!(!workspace.path.join(".git/modules").exists());
    let config = fs::read_to_string(workspace.path.join(".git/config")).unwrap();
    assert!(!config.contains("submodule") && !config.contains("evil"), "{config}");
}

#[test]
fn case_41_a_submodule_in_the_tree() {
    let range = Range::new();
    for name in ["../../evil", "sub", "..", ".git/modules/x"] {
        // A commit that is there: otherwise the pack is refused already.
        let commit = range.trip.lab.repo.head();
        range.refuses_tree(&["unsupported mode 160000", "sub"], |objects| {
            let text = format!("[submodule \"{name}\"]\n\tpath = sub\n\turl = ./evil\n\tupdate = !touch evil\n");
            let modules = objects.blob(text);
            objects.tree(&[(FILE, b".gitmodules", &modules), ("160000", b"sub", &commit)])
        });
    }
}

/// Without the submodule itself it is a file like any other.
#[test]
fn case_43_commands_in_gitmodules() {
    let range = Range::new();
    let markers = range.trip.lab.dev.path("markers");
    range.trip.lab.dev.mkdir(&markers);
    let touch = format!("!touch {}/ran", markers.display());
    let modules = format!("[submodule \"../../evil\"]\n\tpath = -u./evil\n\turl = -u./evil\n\tupdate = {touch}\n");
    range.trip.lab.repo.write(".gitmodules", modules);
    let workspace = range.trip.round(&range.trip.lab.repo);
    assert_no_hooks(&workspace);
    workspace.git(&["status"]);
    assert_eq!(fs::read_dir(&markers).unwrap().count(), 0);
}

#[test]
fn case_41_a_nested_git_folder() {
    let range = Range::new();
    for place in [".git", ".GIT", "git~1"] {
        range.refuses_tree(&["read it as .git"], |objects| {
            let config = objects.blob("[core]\n\tfsmonitor = touch evil\n");
            let hook = objects.blob("#!/bin/sh\ntouch evil\n");
            let hooks = objects.tree(&[(PROGRAM, b"post-checkout", &hook)]);
            let head = objects.blob("ref: refs/heads/main\n");
            let nested =
                objects.tree(&[(FILE, b"HEAD", &head), (FILE, b"config", &config), (FOLDER, b"hooks", &hooks)]);
            let sub = objects.tree(&[(FOLDER, place.as_bytes(), &nested)]);
            objects.tree(&[(FOLDER, b"sub", &sub)])
        });
        // The file that says where the git folder is.
        range.refuses_tree(&["read it as .git"], |objects| {
            let file = objects.blob("gitdir: ../evil\n");
            let sub = objects.tree(&[(FILE, place.as_bytes(), &file)]);
            objects.tree(&[(FOLDER, b"sub", &sub)])
        });
    }
}

/// A bare repository needs no forbidden name (CVE-2024-32465 and before): git
/// finds it when it is run inside of it. envctl never does.
#[test]
fn case_41_an_embedded_bare_repository() {
    let range = Range::new();
    let markers = range.trip.lab.dev.path("markers");
    range.trip.lab.dev.mkdir(&markers);
    let repo = &range.trip.lab.repo;
    let bare = repo.path.join("fixtures/bare");
    repo.mkdir("fixtures");
    repo.git(&["init", "--quiet", "--bare", bare.to_str().unwrap()]);
    let trap = format!("touch {}/ran; false", markers.display());
    repo.git(&["--git-dir", bare.to_str().unwrap(), "config", "core.fsmonitor", &trap]);
    let task = range.trip.publish(repo);
    range.trip.enter(&task);
    range.trip.entering(&task).ok();
    assert_eq!(fs::read_dir(&markers).unwrap().count(), 0);
}

/// CVE-2025-48384: git wrote `path = "sub\r"` and read `sub`.
#[test]
fn case_41_a_trailing_carriage_return_and_a_link_to_the_hooks() {
    let range = Range::new();
    let task = range.forge_tree(|objects| {
        let modules = objects.blob("[submodule \"x\"]\n\tpath = \"sub\r\"\n\turl = ./evil\n");
        let target = objects.blob(".git/hooks");
        let hook = objects.blob("#!/bin/sh\ntouch evil\n");
        let folder = objects.tree(&[(PROGRAM, b"post-checkout", &hook)]);
        objects.tree(&[(FILE, b".gitmodules", &modules), (LINK, b"sub", &target), (FOLDER, b"sub\r", &folder)])
    });
    let workspace = range.trip.enter(&task);
    assert_no_hooks(&workspace);
    assert!(workspace.path.join("sub\r/post-checkout").exists());
    range.outside.assert_untouched();
}

/// On a file system that folds case they are one name.
#[test]
fn case_41_a_link_to_the_hooks_in_another_case() {
    let range = Range::new();
    let task = range.forge_tree(|objects| {
        let target = objects.blob(".git/hooks");
        let hook = objects.blob("#!/bin/sh\ntouch evil\n");
        let folder = objects.tree(&[(PROGRAM, b"post-checkout", &hook)]);
        objects.tree(&[(LINK, b"A", &target), (FOLDER, b"a", &folder)])
    });
    let workspace = range.trip.enter(&task);
    assert_no_hooks(&workspace);
}
