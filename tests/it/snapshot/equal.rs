//! What was once lost or changed without a word: it arrives, or is named at both
//! ends.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use serde_json::Value;

use crate::support::{Facts, Repo, Trip};

/// Publishes and enters; what each side names as left behind, by kind.
#[track_caller]
pub(super) fn named(trip: &Trip, repo: &Repo) -> (Repo, Vec<(String, String)>) {
    let task = trip.lab.next_task();
    let published = trip.publishing(repo, &task).arg("--json").ok().json();
    let report = trip.lab.dev.path("report.json");
    let reference = trip.lab.store.reference(&task);
    let run = trip.entering(&reference).args(["--report", report.to_str().unwrap()]).ok();
    let entered: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let pairs = |list: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(|left| (text(&left["kind"]), text(&left["name"]))).collect()
    };
    let left = pairs(&published["left_out"]);
    assert_eq!(pairs(&entered["restored"]["left_behind"]), left);
    for (_, name) in left.iter().take(1) {
        assert!(run.stderr.contains("Left behind") && run.stderr.contains(name), "{}", run.stderr);
    }
    (repo.seen_by(&trip.lab.dev, run.stdout.trim_end()), left)
}

pub(super) fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

both!(attributes_that_ask_for_an_encoding_which_settled_files_do_not_have, Trip::of);
/// 01: what git does not look at is not converted, whatever attributes say now.
fn attributes_that_ask_for_an_encoding_which_settled_files_do_not_have(trip: Trip) {
    let repo = &trip.lab.repo;
    repo.write("odd.txt", "odd\n\n");
    repo.write("even.txt", "abcd");
    repo.write("raw.txt", b"\xff\xfe\xfd");
    repo.commit("texts");
    repo.push();
    repo.age();
    repo.write(".gitattributes", "*.txt text working-tree-encoding=UTF-16LE\n");
    let workspace = trip.round(repo);
    for name in ["odd.txt", "even.txt", "raw.txt"] {
        assert_eq!(fs::read(workspace.path.join(name)).unwrap(), fs::read(repo.path.join(name)).unwrap());
    }
    // And back.
    let args = ["publish", "back", "--store", &trip.lab.store.name(), "--image", &trip.image];
    trip.lab.dev.envctl(args).cwd(&workspace.path).ok();
    Facts::of(repo).assert_same(&Facts::of(&trip.enter(&trip.lab.store.reference("back"))));
}

both!(files_that_were_converted_by_what_holds_no_more, Trip::of);
/// Git does not look at them again as long as their times are those of the index.
fn files_that_were_converted_by_what_holds_no_more(trip: Trip) {
    let repo = &trip.lab.repo;
    repo.write("lines.txt", "one\ntwo\n");
    repo.write("more.txt", "three\n");
    repo.write("keyword.c", "/* $Id$ */\n");
    repo.commit("texts");
    repo.push();
    let again = |words: &[&str], names: &[&str]| {
        names.iter().for_each(|name| fs::remove_file(repo.path.join(name)).unwrap());
        let whole: Vec<&str> = words.iter().chain(&["checkout", "--quiet", "--"]).chain(names).copied().collect();
        repo.git(&whole);
    };
    again(&["-c", "core.autocrlf=true"], &["lines.txt"]);
    repo.write(".git/info/attributes", "more.txt text eol=crlf\n*.c ident\n");
    again(&[], &["more.txt", "keyword.c"]);
    fs::remove_file(repo.path.join(".git/info/attributes")).unwrap();
    repo.age();
    assert_eq!(fs::read(repo.path.join("lines.txt")).unwrap(), b"one\r\ntwo\r\n");
    assert_eq!(fs::read(repo.path.join("more.txt")).unwrap(), b"three\r\n");
    let workspace = trip.round(repo);
    for name in ["lines.txt", "more.txt", "keyword.c"] {
        assert_eq!(fs::read(workspace.path.join(name)).unwrap(), fs::read(repo.path.join(name)).unwrap(), "{name}");
    }
}

/// 03: a list of ignored files in the repository's own configuration.
#[test]
fn what_the_repository_s_own_list_ignores_stays_and_is_named() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    trip.lab.agent.write("rules", "*.private\n/diary/\n");
    repo.git(&["config", "core.excludesFile", trip.lab.agent.path("rules").to_str().unwrap()]);
    repo.write("me.private", "x");
    repo.write("diary/today", "x");
    repo.write("new", "x");
    // In a folder that git does not know otherwise.
    repo.write("fresh/deep/your.private", "x");
    let (workspace, left) = named(&trip, repo);
    let ignored = ["diary", "fresh/deep/your.private", "me.private"].map(|name| pair("ignored", name));
    assert_eq!(left, ignored);
    assert!(!workspace.path.join("me.private").exists() && !workspace.path.join("diary").exists());
    assert!(workspace.path.join("new").exists());
    // A list that is not there is none, and not that of whoever works here.
    repo.git(&["config", "core.excludesFile", "nowhere"]);
    trip.round(repo);
}

/// Programs that merge files, and what git makes of messages.
#[test]
fn settings_by_which_an_operation_goes_on_are_named() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["config", "merge.take.driver", "cp %B %A"]);
    repo.git(&["config", "commit.cleanup", "scissors"]);
    let (_, left) = named(&trip, repo);
    assert_eq!(left, [pair("setting", "merge.take.driver"), pair("setting", "commit.cleanup=scissors")]);
}

/// 04: a branch that follows another local one, and one that is found by another
/// refspec.
#[test]
fn upstreams_that_are_no_branch_of_origin_s_folder() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("own", "x");
    repo.commit("only here");
    repo.git(&["checkout", "--quiet", "-b", "feat", "--track", "main"]);
    repo.write("more", "x");
    repo.commit("ahead");
    let workspace = trip.round(repo);
    assert_eq!(workspace.git(&["rev-parse", "--abbrev-ref", "@{upstream}"]), "main");
    assert_eq!(workspace.git(&["rev-parse", "main"]), repo.git(&["rev-parse", "main"]));
    // What it brought along is saved.
    let task = trip.publish(repo);
    trip.enter(&task);
    let gone = trip.lab.dev.envctl(["workspace", "rm", &task, "--yes", "--json"]).ok().json();
    assert_eq!(gone["salvage"], Value::Null);
    repo.git(&["branch", "--quiet", "-D", "main"]);
    trip.round(repo);
    // The remote's branches elsewhere: the upstream is theirs, by the usual name.
    let other = trip.lab.repo.clone_to("other", &[]);
    other.git(&["config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/theirs/all/*"]);
    other.git(&["update-ref", "-d", "refs/remotes/origin/main"]);
    other.git(&["symbolic-ref", "--delete", "refs/remotes/origin/HEAD"]);
    other.git(&["fetch", "--quiet"]);
    other.write("mine", "x");
    other.commit("one ahead");
    assert_eq!(other.git(&["rev-parse", "--abbrev-ref", "@{upstream}"]), "theirs/all/main");
    let workspace = trip.enter(&trip.publish(&other));
    assert_eq!(workspace.git(&["rev-parse", "--abbrev-ref", "@{upstream}"]), "origin/main");
    assert_eq!(workspace.git(&["rev-list", "--count", "@{upstream}..HEAD"]), "1");
}

/// 05: a bisect that checks nothing out.
#[test]
fn a_bisect_without_a_checkout() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    for n in 0..8 {
        repo.commit(&n.to_string());
    }
    repo.git(&["bisect", "start", "--no-checkout", "HEAD", "HEAD~8"]);
    let workspace = trip.round(repo);
    assert_eq!(workspace.git(&["rev-parse", "BISECT_HEAD"]), repo.git(&["rev-parse", "BISECT_HEAD"]));
    let [here, there] = [repo, &workspace].map(|side| side.git(&["bisect", "bad"]));
    assert_eq!(here, there);
}

/// 06: commits that no branch holds are named like those of branches.
#[test]
fn commits_that_only_a_tag_notes_a_linked_checkout_or_a_submodule_hold() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let library = trip.lab.agent.path("library.git");
    repo.git(&["clone", "--quiet", "--bare", &repo.url(), library.to_str().unwrap()]);
    let address = format!("file://{}", library.display());
    repo.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &address, "lib"]);
    repo.commit("a submodule");
    repo.push();
    // Everybody has these.
    repo.git(&["tag", "everybody"]);
    repo.git(&["branch", "same"]);
    let inner = repo.within("lib");
    inner.git(&["checkout", "--quiet", "-b", "fix"]);
    inner.git(&["commit", "--quiet", "--allow-empty", "-m", "only here"]);
    inner.git(&["checkout", "--quiet", "main"]);
    repo.git(&["checkout", "--quiet", "--detach"]);
    repo.git(&["commit", "--quiet", "--allow-empty", "-m", "only a tag has this"]);
    repo.git(&["tag", "--annotate", "--message", "my words", "keep"]);
    repo.git(&["update-ref", "refs/own/keep", "HEAD"]);
    repo.git(&["checkout", "--quiet", "main"]);
    let linked = trip.lab.agent.path("linked");
    repo.git(&["worktree", "add", "--quiet", "--detach", linked.to_str().unwrap()]);
    let linked = repo.seen_by(&trip.lab.agent, &linked);
    linked.git(&["commit", "--quiet", "--allow-empty", "-m", "only a linked checkout has this"]);
    repo.git(&["notes", "add", "--message", "my note"]);
    let (_, left) = named(&trip, repo);
    let expected = [
        pair("tag", "keep"),
        pair("worktree", "linked"),
        pair("notes", "commits"),
        pair("ref", "refs/own/keep"),
        pair("submodule-commit", "lib (fix)"),
    ];
    assert_eq!(left, expected);
    // The other way round: what is linked names the main one's.
    repo.git(&["checkout", "--quiet", "--detach", "keep"]);
    let (_, left) = named(&trip, &linked);
    assert!(left.contains(&pair("worktree", "the main checkout")), "{left:?}");
}

/// The commits of a branch travel with HEAD, its name does not.
#[test]
fn branches_and_tags_below_head_are_named() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["branch", "pushed"]);
    repo.git(&["checkout", "--quiet", "-b", "first"]);
    repo.git(&["commit", "--quiet", "--allow-empty", "-m", "first"]);
    repo.git(&["tag", "--annotate", "--message", "my words", "keep"]);
    repo.git(&["checkout", "--quiet", "-b", "second"]);
    repo.git(&["commit", "--quiet", "--allow-empty", "-m", "second"]);
    repo.git(&["branch", "third"]);
    let (_, left) = named(&trip, repo);
    assert_eq!(left, [pair("branch", "first"), pair("branch", "third"), pair("tag", "keep")]);
}

/// 08: patterns are bytes.
#[test]
fn sparse_patterns_that_are_no_text() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let odd = OsStr::from_bytes(b"d\xff");
    repo.write(std::path::Path::new(odd).join("x"), "x");
    repo.write("keep/k", "k");
    repo.commit("folders");
    let words: [&OsStr; 5] = [
        "sparse-checkout".as_ref(),
        "set".as_ref(),
        "--no-cone".as_ref(),
        "/*".as_ref(),
        OsStr::from_bytes(b"!/d\xff/"),
    ];
    repo.call(&words).ok();
    repo.write("new", "x");
    let workspace = trip.round(repo);
    let patterns = |side: &Repo| fs::read(side.path.join(".git/info/sparse-checkout")).unwrap();
    assert_eq!(patterns(&workspace), patterns(repo));
    workspace.git(&["add", "new"]);
    workspace.git(&["sparse-checkout", "reapply"]);
    assert!(workspace.path.join("keep/k").exists());
}

/// 09: what git takes for no sparse checkout is none.
#[test]
fn a_sparse_checkout_without_a_file_of_patterns() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("src/a", "a\n");
    repo.commit("a folder");
    repo.git(&["config", "core.sparseCheckout", "true"]);
    repo.write("src/a", "changed\n");
    let workspace = trip.round(repo);
    assert!(!workspace.path.join(".git/info/sparse-checkout").exists());
    for side in [repo, &workspace] {
        side.git(&["add", "--all"]);
        side.git(&["commit", "--quiet", "-m", "changed"]);
        side.git(&["checkout", "--quiet", "HEAD~2"]);
        side.git(&["checkout", "--quiet", "main"]);
    }
    Facts::of(repo).assert_same(&Facts::of(&workspace));
}

/// 10: what is ignored here, and travels nevertheless, is ignored there.
#[test]
fn attributes_and_included_files_that_info_exclude_ignores() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("src/a.txt", "a\n");
    repo.write("envctl.toml", "[snapshot]\ninclude = [\"kept/*\", \"built.log\"]\n");
    repo.write(".gitignore", "*.log\n");
    repo.commit("a folder");
    repo.write("src/.gitattributes", "*.txt eol=crlf\n");
    repo.write("kept/we ird[1]*", "x");
    repo.write("built.log", "x");
    repo.write(".git/info/exclude", ".gitattributes\n/kept/\n");
    let workspace = trip.round(repo);
    assert_eq!(workspace.git(&["status", "--porcelain"]), "");
    assert_eq!(fs::read_to_string(workspace.path.join("kept/we ird[1]*")).unwrap(), "x");
    assert!(workspace.path.join("built.log").exists());
    let rules = fs::read_to_string(workspace.path.join(".git/info/exclude")).unwrap();
    assert!(!rules.contains("built.log"), "the project says that itself: {rules}");
}

/// 12: what git shows in place of other commits stays, and is named.
#[test]
fn replace_refs_and_grafts() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let tree = repo.git(&["rev-parse", "HEAD^{tree}"]);
    let other = repo.call(&["mktree"]).stdin("").ok().stdout;
    repo.git(&["replace", &tree, other.trim()]);
    let (_, left) = named(&trip, repo);
    assert_eq!(left, [pair("replacement", &tree)]);
    repo.write(".git/info/grafts", format!("{}\n", repo.head()));
    let (workspace, left) = named(&trip, repo);
    assert_eq!(left, [pair("replacement", &tree), pair("replacement", "info/grafts")]);
    assert_eq!(workspace.git(&["show", "--format=%T", "--name-only", "HEAD"]), format!("{tree}\n\nREADME"));
}

/// HEAD may be on a ref that is no branch.
#[test]
fn a_head_that_is_on_no_branch() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["update-ref", "refs/odd/one", "HEAD"]);
    repo.git(&["symbolic-ref", "HEAD", "refs/odd/one"]);
    repo.write("new", "x");
    let (workspace, left) = named(&trip, repo);
    assert_eq!(left, [pair("head", "refs/odd/one")]);
    assert_eq!(workspace.head(), repo.head());
    assert_eq!(workspace.git(&["branch", "--show-current"]), "");
    assert_eq!(workspace.git(&["status", "--porcelain"]), "?? new");
}

/// Resolved is resolved: what git could still take back of it stays.
#[test]
fn conflicts_that_were_resolved_are_named() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("d/file", "base\n");
    repo.commit("base");
    repo.git(&["checkout", "--quiet", "-b", "side"]);
    repo.write("d/file", "side\n");
    repo.write("README", "side\n");
    repo.commit("side");
    repo.git(&["checkout", "--quiet", "main"]);
    repo.write("d/file", "main\n");
    repo.write("README", "main\n");
    repo.commit("main");
    repo.call(&["merge", "--quiet", "side"]).run();
    repo.git(&["add", "--all"]);
    let (workspace, left) = named(&trip, repo);
    assert_eq!(left, [pair("branch", "side"), pair("resolved", "README"), pair("resolved", "d/file")]);
    assert_eq!(workspace.git(&["status", "--porcelain"]), repo.git(&["status", "--porcelain"]));
    // And gone, when git has forgotten them.
    repo.git(&["commit", "--quiet", "-m", "merged"]);
    repo.git(&["checkout", "--quiet", "HEAD~1"]);
    assert!(named(&trip, repo).1.iter().all(|left| left.0 != "resolved"));
}
