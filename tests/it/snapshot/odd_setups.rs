//! Checkouts that were set up in a way that few are: what git lists there travels,
//! and what changes how git sees it is named.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::equal::{named, pair};
use crate::support::{Call, Trip};

#[test]
fn attributes_of_the_developer_s_own_convert_nothing_on_the_way() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    trip.lab.agent.write(".config/git/attributes", "*.gq text eol=crlf\n");
    repo.write("x.gq", "a\r\n");
    repo.commit("in another form than it is stored");
    repo.push();
    repo.age();
    repo.git(&["status"]);
    repo.write("new.gq", "b\r\n");
    let workspace = trip.enter(&trip.publish(repo));
    assert_eq!(fs::read(workspace.path.join("x.gq")).unwrap(), b"a\r\n");
    assert_eq!(fs::read(workspace.path.join("new.gq")).unwrap(), b"b\r\n");
    // Nor do those of whoever enters.
    trip.lab.dev.write(".config/git/attributes", "*.gq text eol=lf\n*.txt text eol=crlf\n");
    repo.write(".gitattributes", "*.c text eol=crlf\n");
    repo.write("a.txt", "a\n");
    let workspace = trip.enter(&trip.publish(repo));
    assert_eq!(fs::read(workspace.path.join("a.txt")).unwrap(), b"a\n");
    assert_eq!(fs::read(workspace.path.join("x.gq")).unwrap(), b"a\r\n");
}

#[test]
fn settings_that_the_environment_gives_to_git_count() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let file = trip.lab.agent.path("windows");
    trip.lab.agent.write(&file, "[core]\n\tautocrlf\n[user]\n\tname = A\n\temail = a@example.org\n");
    let remote = format!("[includeIf \"hasconfig:remote.*.url:{}\"]\n\tpath = {}\n", repo.url(), file.display());
    type Road<'a> = &'a dyn Fn(Call) -> Call;
    let roads: [Road<'_>; 5] = [
        &|call| {
            call.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "core.autocrlf").env("GIT_CONFIG_VALUE_0", "true")
        },
        &|call| call.env("GIT_CONFIG_GLOBAL", &file),
        &|call| call.env("GIT_CONFIG_PARAMETERS", "'core.autocrlf'='yes'"),
        &|call| {
            let path = file.to_str().unwrap().to_owned();
            call.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "include.path").env("GIT_CONFIG_VALUE_0", path)
        },
        &|call| call,
    ];
    for (n, set) in roads.iter().enumerate() {
        if n == 4 {
            trip.lab.agent.write(".gitconfig", &remote);
        }
        repo.write("x", format!("a {n}\r\n"));
        set(repo.call(&["add", "x"])).ok();
        set(repo.call(&["commit", "--quiet", "--message", "with line ends of Windows"])).ok();
        repo.push();
        repo.age();
        set(repo.call(&["status"])).ok();
        let task = trip.lab.next_task();
        set(trip.publishing(repo, &task)).ok();
        let workspace = trip.enter(&trip.lab.store.reference(&task));
        assert_eq!(fs::read_to_string(workspace.path.join("x")).unwrap(), format!("a {n}\r\n"), "road {n}");
        assert_eq!(workspace.git(&["status", "--porcelain"]), "", "road {n}");
    }
}

#[test]
fn filters_and_settings_that_change_what_git_sees_are_named() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["config", "filter.up.clean", "tr a-z A-Z"]);
    repo.git(&["config", "filter.up.smudge", "tr A-Z a-z"]);
    repo.git(&["config", "core.symlinks", "false"]);
    repo.write(".gitattributes", "*.up filter=up\n*.gone filter=gone\n");
    repo.git(&["config", "core.hooksPath", ".husky"]);
    repo.write(".husky/pre-push", "exit 0\n");
    repo.write("f.up", "abc\n");
    repo.write("g.gone", "abc\n");
    repo.commit("filtered");
    repo.push();
    let (workspace, left) = named(&trip, repo);
    let hooks = pair("setting", "core.hooksPath=.husky");
    assert_eq!(left, [pair("setting", "core.symlinks=false"), hooks, pair("filter", "up")]);
    assert_eq!(trip.lab.report()["restored"]["hooks"], serde_json::json!([".husky"]));
    assert_eq!(fs::read(workspace.path.join("f.up")).unwrap(), b"abc\n");
}

/// What git packs is no less than what lies in a file of its own.
#[test]
fn refs_that_git_packed_are_named_as_before() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("README", "tagged");
    repo.commit("only the tag and others hold it");
    repo.git(&["tag", "keep"]);
    repo.git(&["update-ref", "refs/agent/wip", "HEAD"]);
    repo.git(&["reset", "--quiet", "--hard", "origin/main"]);
    repo.sh("GIT_COMMITTER_DATE='2001-01-01T00:00:00Z' git commit -q --allow-empty -m old && git tag old && git reset -q --hard HEAD~").ok();
    repo.write("later", "x");
    repo.sh("GIT_COMMITTER_DATE='2037-01-01T00:00:00Z' git add . && GIT_COMMITTER_DATE='2037-01-01T00:00:00Z' git commit -qm later").ok();
    let kept = [pair("tag", "keep"), pair("tag", "old"), pair("ref", "refs/agent/wip")];
    assert_eq!(named(&trip, repo).1, kept);
    repo.git(&["pack-refs", "--all"]);
    assert_eq!(named(&trip, repo).1, kept);
    // One that the remote has is nothing to name.
    repo.git(&["push", "--quiet", "origin", "refs/agent/wip:refs/heads/wip"]);
    repo.git(&["fetch", "--quiet"]);
    assert_eq!(named(&trip, repo).1, [pair("tag", "old")]);
}

/// Files travel wherever git lists them, whatever `.git` lies beside them.
#[test]
fn git_folders_beside_files_that_git_lists() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.mkdir("foo/.git");
    repo.write("foo/a.txt", "a");
    repo.write("bar/.git", "gitdir: /nowhere\n");
    repo.write("bar/b", "b");
    repo.write("baz/.git", "garbage");
    repo.write("baz/b", "b");
    repo.write("pkg/a", "a");
    repo.symlink("pkg/.git", "/nowhere");
    let (workspace, left) = named(&trip, repo);
    assert_eq!(left, ["bar", "baz", "foo", "pkg"].map(|folder| pair("repository", &format!("{folder}/.git"))));
    let listed = repo.git(&["status", "--porcelain", "--untracked-files=all"]);
    assert!(listed.contains("bar/b") && listed.contains("pkg/a"), "{listed}");
    assert_eq!(workspace.git(&["status", "--porcelain", "--untracked-files=all"]), listed);
    repo.sh("rm -r foo bar baz pkg").ok();
    // A repository around tracked files stays; they do not.
    repo.write("docs/n", "n");
    repo.commit("tracked");
    repo.push();
    repo.sh("cd docs && git init -q . && git add n && git commit -qm inner").ok();
    repo.write("docs/n", "more");
    repo.write("docs/new", "new");
    let (workspace, left) = named(&trip, repo);
    assert_eq!(left, [pair("repository", "docs/.git")]);
    assert_eq!(workspace.git(&["status", "--porcelain"]), repo.git(&["status", "--porcelain"]));
    assert_eq!(fs::read(workspace.path.join("docs/n")).unwrap(), b"more");
}

#[test]
fn what_a_branch_follows_and_no_ref_stands_for_is_named() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["config", "branch.main.merge", "refs/pull/7/head"]);
    assert_eq!(named(&trip, repo).1, [pair("upstream", "refs/pull/7/head of origin")]);
    repo.git(&["config", "branch.main.remote", "https://somebody:secret@example.org/x.git"]);
    assert_eq!(named(&trip, repo).1, [pair("upstream", "refs/pull/7/head")]);
}

/// A file that cannot travel stays behind, whether git tracks it or not.
#[test]
fn a_tracked_file_that_became_too_large_stays_behind_by_name() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("tracked", "k");
    repo.commit("small");
    repo.push();
    repo.write("staged", "s");
    repo.git(&["add", "staged"]);
    for name in ["tracked", "staged"] {
        fs::OpenOptions::new().write(true).open(repo.path.join(name)).unwrap().set_len(10 << 40).unwrap();
    }
    let (workspace, left) = named(&trip, repo);
    assert_eq!(left, [pair("too-large", "staged"), pair("too-large", "tracked")]);
    assert_eq!(fs::read(workspace.path.join("tracked")).unwrap(), b"k");
    assert_eq!(fs::read(workspace.path.join("staged")).unwrap(), b"s");
}

/// The data of a database that a container made, say.
#[test]
fn what_the_account_may_not_read_stays_behind_by_name() {
    let trip = Trip::unprivileged();
    let repo = &trip.lab.repo;
    repo.write("tracked", "t");
    repo.commit("plain");
    repo.push();
    repo.write("tracked", "changed");
    for path in ["closed/x", "listed/x", "below/closed/x", "below/open", "secret"] {
        repo.write(path, path);
    }
    let closed = [("closed", 0), ("listed", 0o444), ("below/closed", 0), ("secret", 0), ("tracked", 0)];
    for (path, mode) in closed {
        fs::set_permissions(repo.path.join(path), PermissionsExt::from_mode(mode)).unwrap();
    }
    let (workspace, left) = named(&trip, repo);
    let expected = ["below/closed/", "closed/", "listed/", "secret", "tracked"];
    assert_eq!(left, expected.map(|path| pair("unreadable", path)));
    assert_eq!(fs::read(workspace.path.join("tracked")).unwrap(), b"t");
    assert_eq!(fs::read(workspace.path.join("below/open")).unwrap(), b"below/open");
}

/// Git would not add them, and nobody has asked it to.
#[test]
fn texts_that_are_not_in_their_encoding_travel_as_they_are() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("w", b"\xff\xfea\0");
    repo.write(".gitattributes", "w text working-tree-encoding=UTF-16\nu text working-tree-encoding=NOSUCH\n");
    repo.commit("in its encoding");
    repo.push();
    repo.write("w", "no byte order mark");
    repo.write("u", "in no encoding");
    repo.write("plain", "x");
    let workspace = trip.enter(&trip.publish(repo));
    for name in ["w", "u", "plain"] {
        assert_eq!(fs::read(workspace.path.join(name)).unwrap(), fs::read(repo.path.join(name)).unwrap(), "{name}");
    }
    assert_eq!(workspace.git(&["status", "--porcelain"]), repo.git(&["status", "--porcelain"]));
}

#[test]
fn remotes_of_other_names_and_refspecs() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["tag", "v1"]);
    repo.git(&["push", "--quiet", "origin", "v1"]);
    // A clone of one tag, as CI makes it.
    let tagged = repo.clone_to("tagged", &["--depth=1", "--branch=v1"]);
    tagged.write("new", "x");
    trip.enter(&trip.publish(&tagged));
    // Branches in a place of their own.
    let other = repo.clone_to("other", &[]);
    other.sh("git config remote.origin.fetch '+refs/heads/*:refs/up/*' && git fetch -q && git for-each-ref --format='delete %(refname)' refs/remotes | git update-ref --stdin --no-deref").ok();
    other.write("new", "x");
    let workspace = trip.enter(&trip.publish(&other));
    assert_eq!(workspace.git(&["rev-parse", "--abbrev-ref", "@{upstream}"]), "origin/main");
    // Several remotes, none of them origin; and an origin that has nothing.
    let several = repo.clone_to("several", &["--origin=upstream"]);
    several.sh("git init -q --bare ../empty.git && git remote add fork ../empty.git && git checkout -q --detach").ok();
    // Of two addresses git fetches from the first.
    several.git(&["remote", "set-url", "--add", "upstream", "https://elsewhere.example/second.git"]);
    let workspace = trip.enter(&trip.publish(&several));
    assert_eq!(workspace.git(&["config", "remote.upstream.url"]), repo.url());
    several.sh("git remote rename fork origin && git checkout -q --no-track -b own").ok();
    let workspace = trip.enter(&trip.publish(&several));
    assert_eq!(workspace.git(&["remote"]), "upstream");
}

/// What tests may miss is said, and does not travel.
#[test]
fn files_of_variables_that_git_ignores_are_named() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write(".gitignore", ".env\n.env.*\n!.env.example\n/cache\n");
    repo.write("web/index", "x");
    repo.write(".env.example", "KEY=");
    repo.commit("ignoring");
    repo.push();
    for name in [".env", "web/.env.local", "cache/.env"] {
        repo.write(name, "KEY=of-mine\n");
    }
    let (workspace, left) = named(&trip, repo);
    assert_eq!(left, [pair("env-file", ".env"), pair("env-file", "web/.env.local")]);
    assert!(!workspace.path.join(".env").exists() && workspace.path.join(".env.example").exists());
    // One that the project takes along travels.
    repo.write("envctl.toml", "[snapshot]\ninclude = [\".env\"]\n");
    assert_eq!(named(&trip, repo).1, [pair("env-file", "web/.env.local")]);
}

/// Names are bytes: what a task cannot say is named, and stops nobody.
#[test]
fn names_of_upstreams_and_remotes_that_are_no_utf_8() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.sh("b=$(printf 'f\\351\\377') && git push -q origin HEAD:\"refs/heads/$b\" && git fetch -q && git branch -q -u \"origin/$b\"").ok();
    assert_eq!(named(&trip, repo).1, [pair("upstream", "refs/remotes/origin/f\u{fffd}\u{fffd}")]);
    // Only that branch holds the base.
    repo.sh("git for-each-ref --format='%(refname)' refs/remotes/origin/main refs/remotes/origin/HEAD | xargs -n1 git update-ref --no-deref -d").ok();
    assert_eq!(named(&trip, repo).1, [pair("upstream", "refs/remotes/origin/f\u{fffd}\u{fffd}")]);
    // A remote of such a name is one like others.
    repo.sh("git fetch -q && git branch -q -u origin/main && git remote rename origin \"$(printf 'r\\351')\"").ok();
    repo.write("new", "x");
    let (workspace, left) = named(&trip, repo);
    assert_eq!(left, []);
    assert_eq!(workspace.git(&["config", "remote.origin.url"]), repo.url());
    assert_eq!(workspace.git(&["rev-parse", "--abbrev-ref", "@{upstream}"]), "origin/main");
}

/// Commits of one second, or of clocks that went back, are no less the remote's.
#[test]
fn tags_that_the_remote_has_are_not_named_whatever_their_times() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    for (first, second) in
        [("2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z"), ("2031-01-01T00:00:00Z", "2030-01-01T00:00:00Z")]
    {
        repo.sh(&format!(
            "git checkout -q --orphan other && git rm -rqf . 2>/dev/null; echo x >f && git add f
             GIT_COMMITTER_DATE={first} git commit -qm first && git tag -f pushed >/dev/null
             GIT_COMMITTER_DATE={second} git commit -q --allow-empty -m second
             git branch -M other main && git push -qf origin main pushed && git fetch -q"
        ))
        .ok();
        assert_eq!(named(&trip, repo).1, [], "{first} {second}");
    }
}

#[test]
fn a_clone_of_a_bundle_is_refused_before_anybody_needs_its_base() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["bundle", "create", "--quiet", "../all.bundle", "HEAD", "main"]);
    for url in ["../all.bundle".to_owned(), repo.path.parent().unwrap().join("all.bundle").display().to_string()] {
        repo.git(&["remote", "set-url", "origin", &url]);
        trip.refuses(repo, 1, &["is the bundle", "git remote set-url origin URL"]);
    }
}

#[test]
fn a_branch_that_stands_for_another_is_named() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.sh("git checkout -q -b real && git symbolic-ref refs/heads/alias refs/heads/real && git symbolic-ref HEAD refs/heads/alias").ok();
    assert_eq!(named(&trip, repo).1, [pair("head", "alias, which stands for refs/heads/real")]);
}

/// The commits travel with the operation, and the names by which they are found again
/// do not.
#[test]
fn names_of_what_is_merged_are_named() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.sh("git checkout -q -b topic && echo t >f && git add f && git commit -qm t && git tag release && git checkout -q main
        echo m >f && git add f && git commit -qm m; git merge -q topic; true").ok();
    let (workspace, left) = named(&trip, repo);
    assert_eq!(left, [pair("branch", "topic"), pair("tag", "release")]);
    assert_eq!(workspace.git(&["rev-parse", "MERGE_HEAD"]), repo.git(&["rev-parse", "topic"]));
}

#[test]
fn refs_of_files_and_a_merge_of_notes_are_named() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.sh("git tag kept $(echo only here | git hash-object -w --stdin)").ok();
    assert_eq!(named(&trip, repo).1, [pair("tag", "kept")]);
    repo.sh("git tag -d kept >/dev/null && git notes add -m a && git update-ref refs/notes/other refs/notes/commits
        git notes add -f -m b 2>/dev/null; git notes --ref=other add -f -m c 2>/dev/null; git notes merge other >/dev/null 2>&1; true").ok();
    let kept = [pair("notes", "commits"), pair("notes", "other"), pair("operation", "a merge of notes")];
    assert_eq!(named(&trip, repo).1, kept);
}

#[test]
fn branches_that_look_like_options_arrive_detached() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["update-ref", "refs/heads/-dash", "main"]);
    repo.git(&["symbolic-ref", "HEAD", "refs/heads/-dash"]);
    assert_eq!(named(&trip, repo).1, [pair("head", "refs/heads/-dash")]);
}

#[test]
fn a_commit_that_git_would_not_write_is_refused_with_a_way_to_find_it() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.sh("tree=$(git rev-parse HEAD^{tree}) parent=$(git rev-parse HEAD)
        printf 'tree %s\\nparent %s\\nauthor no email 1 +0000\\ncommitter c <c> 1 +0000\\n\\nodd\\n' $tree $parent >../odd
        git reset -q --soft $(git hash-object -t commit -w --literally ../odd) && git commit -q --allow-empty -m top")
        .ok();
    trip.refuses(repo, 1, &["is not as git writes commits", "git fsck"]);
}

#[test]
fn a_checkout_that_git_cannot_read_is_refused_with_a_way_to_find_out_why() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("staged", "staged\n");
    repo.sh("git add staged && id=$(git rev-parse :staged) && rm -f .git/objects/${id%${id#??}}/${id#??}").ok();
    // What is staged is nowhere else.
    repo.write("staged", "changed since\n");
    trip.refuses(repo, 1, &["git cannot read all of this checkout", "hint: what git says of it: git status"]);
    for damage in ["printf XXXX | dd of=.git/index bs=1 seek=24 conv=notrunc", ": >.git/index"] {
        repo.sh(damage).ok();
        let run = trip.publishing(repo, "damaged").run();
        assert!([1, 5].contains(&run.code), "{}", run.stderr);
        run.says(&["the index of this checkout is damaged", "hint: what git says of it: git status"]);
    }
}
