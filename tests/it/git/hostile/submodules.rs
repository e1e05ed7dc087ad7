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
    assert!(!config.contains("[submodule \"") && !config.contains("evil"), "{config}");
}

/// A tree with a submodule `sub` and this text in `.gitmodules`.
fn with_modules(range: &Range, text: &str, path: &str) -> String {
    // Nowhere: git would have to fetch it.
    let commit = "0123456789abcdef0123456789abcdef01234567";
    range.forge_tree(|objects| {
        let modules = objects.blob(text);
        objects.tree(&[(FILE, b".gitmodules", &modules), ("160000", path.as_bytes(), commit)])
    })
}

#[test]
fn case_41_names_of_submodules() {
    let range = Range::new();
    for name in ["../../evil", "..", ".git/modules/x", "a/../../evil", "/evil", "-evil", "hooks/../.git"] {
        let text = format!("[submodule \"{name}\"]\n\tpath = sub\n\turl = ./evil\n");
        range.refuses(&with_modules(&range, &text, "sub"), 5, &["is refused for its name"]);
    }
    let nested = "[submodule \"a\"]\n\tpath = sub\n\turl = ./x\n[submodule \"a/hooks\"]\n\tpath = y\n\turl = ./x\n";
    range.refuses(&with_modules(&range, nested, "sub"), 5, &["git folder would lie in another's"]);
    for path in ["-u./evil", "../evil", ".git/hooks", "\"sub\\r\""] {
        let text = format!("[submodule \"x\"]\n\tpath = {path}\n\turl = ./evil\n");
        // Git reads no carriage return there; whoever writes one means harm.
        let written = text.replace("\\r", "\r");
        range.refuses(&with_modules(&range, &written, "sub"), 5, &["is refused for its path"]);
    }
}

#[test]
fn case_43_commands_for_submodules() {
    let range = Range::new();
    for line in [
        "update = !touch evil",
        "update = evil",
        "update = checkout\n\tupdate = !touch evil",
        "url = ext::sh -c 'touch% evil'",
        "url = -u./evil",
        "url = --upload-pack=evil",
        "url = ssh://-oProxyCommand=evil/x",
        "branch = -evil",
    ] {
        let text = format!("[submodule \"sub\"]\n\tpath = sub\n\turl = ./lib\n\t{line}\n");
        range.refuses(&with_modules(&range, &text, "sub"), 5, &["the submodule \"sub\" in .gitmodules is refused"]);
        // A part of it in a section of its own, in another case.
        let text = format!("[submodule \"sub\"]\n\tpath = sub\n[SubModule \"sub\"]\n\t{line}\n");
        range.refuses(&with_modules(&range, &text, "sub"), 5, &["is refused"]);
    }
}

/// CVE-2020-5260 and its successors, by way of a submodule.
#[test]
fn case_45_addresses_of_submodules() {
    let range = Range::new();
    for url in ["\"https://host\\nevil/x\"", "https://host%0aevil/x", "https:///x", "https://host%0D/x", "\"./x\r\""] {
        let text = format!("[submodule \"sub\"]\n\tpath = sub\n\turl = {url}\n");
        range.refuses(&with_modules(&range, &text, "sub"), 5, &["is refused for its url"]);
    }
}

/// An honest one becomes an empty folder, and nothing is fetched.
#[test]
fn case_41_nothing_is_initialised() {
    let range = Range::new();
    let text = "[submodule \"sub\"]\n\tpath = sub\n\turl = ./evil\n\tupdate = none\n";
    for path in ["..", ".git", "a/b", "git~1", ""] {
        range.refuses(&with_modules(&range, text, path), 5, &["error:"]);
    }
    // The same in the index alone.
    range.refuses_edit(5, &["is refused"], |forged| {
        let entry = |path: &str| serde_json::json!({ "path": path, "mode": "160000", "object": "7".repeat(40) });
        forged.document["index"]["entries"] = serde_json::json!([entry("../evil")]);
    });
    let workspace = range.trip.enter(&range.forge_tree(|objects| {
        let modules = objects.blob(text);
        objects.tree(&[(FILE, b".gitmodules", &modules), ("160000", b"sub", &"7".repeat(40))])
    }));
    assert_eq!(fs::read_dir(workspace.path.join("sub")).unwrap().count(), 0);
    assert_no_hooks(&workspace);
}

/// What nobody would restore must not be published.
#[test]
fn case_43_hostile_submodules_are_not_published() {
    let range = Range::new();
    let repo = &range.trip.lab.repo;
    repo.clone_to("checkout/sub", &[]);
    repo.git(&["-c", "advice.addEmbeddedRepo=false", "add", "sub"]);
    let text = "[submodule \"sub\"]\n\tpath = sub\n\turl = ./x\n\tupdate = !touch evil\n";
    repo.write(".gitmodules", text);
    range.trip.refuses(repo, 6, &[".gitmodules is refused for its update", "mend .gitmodules"]);
    // It counts wherever git might take it from.
    repo.git(&["add", ".gitmodules"]);
    repo.remove(".gitmodules");
    range.trip.refuses(repo, 6, &[".gitmodules is refused for its update"]);
    range.outside.assert_no_trace_of("evil");
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
