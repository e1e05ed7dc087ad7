use std::fs;

use super::*;

pub(super) fn nested(root: &Path, path: &str) -> PathBuf {
    let options = git2::RepositoryInitOptions::new();
    let repo = git2::Repository::init_opts(root.join(path), &options).unwrap();
    repo.path().to_owned()
}

fn run<'a>(since: Since) -> AuditedRun<'a> {
    AuditedRun { since, kept: &[], inside: None }
}

/// Where the workspace is inside.
pub(super) const INSIDE: &str = "/a-path-of-the-inside";

pub(super) fn found(root: &Path) -> Vec<String> {
    let found = audit(root, AuditedRun { inside: Some(Path::new(INSIDE)), ..AuditedRun::default() }).unwrap();
    assert_eq!(found.unseen, []);
    found.renamed.into_iter().map(|one| one.path.display().to_string()).collect()
}

#[test]
fn plain_nested_repositories_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    nested(dir.path(), ".");
    let git = nested(dir.path(), "vendor/lib");
    fs::write(git.join("hooks").join("pre-commit.sample"), "#!/bin/sh\n").unwrap();
    let repo = git2::Repository::open(dir.path().join("vendor/lib")).unwrap();
    repo.remote("origin", "https://git.example/a.git").unwrap();
    repo.config().unwrap().set_str("branch.main.remote", "origin").unwrap();
    assert_eq!(found(dir.path()), Vec::<String>::new());
}

#[test]
fn case_40_what_names_a_program_is_renamed() {
    let dir = tempfile::tempdir().unwrap();
    let own = nested(dir.path(), ".");
    fs::write(own.join("hooks/post-checkout"), "who wrote it nobody can tell").unwrap();
    let set = |git: &Path, key: &str, value: &str| {
        git2::Config::open(&git.join("config")).unwrap().set_str(key, value).unwrap();
    };
    for (at, key) in [
        ("a", "core.fsmonitor"),
        ("b", "core.hooksPath"),
        ("c", "filter.x.clean"),
        ("d", "alias.st"),
        ("e", "include.path"),
        ("f", "diff.x.textconv"),
        ("g", "core.sshCommand"),
        ("h", "remote.origin.uploadpack"),
        ("i", "submodule.x.update"),
    ] {
        set(&nested(dir.path(), at), key, "/tmp/evil");
    }
    let hook = nested(dir.path(), "hook");
    fs::write(hook.join("hooks/post-checkout"), "#!/bin/sh\n").unwrap();
    let linked = nested(dir.path(), "linked");
    fs::remove_file(linked.join("config")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", linked.join("config")).unwrap();
    let bare = dir.path().join("deep/er/bare");
    git2::Repository::init_bare(&bare).unwrap();
    set(&bare, "core.fsmonitor", "evil");
    let common = nested(dir.path(), "common");
    fs::write(common.join("commondir"), "../../deep/er/bare\n").unwrap();
    let mut expected: Vec<String> = ('a'..='i').map(|name| format!("{name}/.git/config")).collect();
    expected.extend(
        [
            ".git/hooks/post-checkout",
            "common/.git/commondir",
            "deep/er/bare/config",
            "hook/.git/hooks",
            "linked/.git/config",
        ]
        .map(str::to_owned),
    );
    expected.sort();
    assert_eq!(found(dir.path()), expected);
    assert!(dir.path().join("a/.git/config.envctl-quarantine").exists());
    assert_eq!(found(dir.path()), Vec::<String>::new(), "once is enough");
}

#[test]
fn what_was_there_before_is_the_developers() {
    let dir = tempfile::tempdir().unwrap();
    let git = nested(dir.path(), "mine");
    fs::write(git.join("hooks/pre-push"), "x").unwrap();
    let later = fs::metadata(&git).unwrap();
    let later = std::os::unix::fs::MetadataExt::ctime(&later) + 10;
    let later = Since { seconds: later, nanos: 0 };
    assert_eq!(audit(dir.path(), run(later)).unwrap(), Audited::default());
}

#[test]
fn a_worktree_of_the_workspace_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let own = nested(dir.path(), ".");
    let git = own.join("worktrees/w");
    fs::create_dir_all(&git).unwrap();
    fs::write(git.join("HEAD"), "ref: refs/heads/w\n").unwrap();
    fs::write(git.join("commondir"), "../..\n").unwrap();
    assert_eq!(found(dir.path()), Vec::<String>::new());
}

fn evil(git: &Path) {
    git2::Config::open(&git.join("config")).unwrap().set_str("core.fsmonitor", "evil").unwrap();
}

pub(super) fn bare(root: &Path, path: &str) -> PathBuf {
    git2::Repository::init_bare(root.join(path)).unwrap();
    root.join(path)
}

/// What has changed up to now is old.
pub(super) fn from_now(root: &Path) -> Since {
    use std::os::unix::fs::MetadataExt;
    std::thread::sleep(std::time::Duration::from_millis(20));
    let probe = root.join("probe");
    fs::write(&probe, "").unwrap();
    let meta = fs::metadata(&probe).unwrap();
    fs::remove_file(probe).unwrap();
    Since { seconds: meta.ctime(), nanos: meta.ctime_nsec() as u32 }
}

pub(super) fn found_since(root: &Path, since: Since) -> Vec<String> {
    audit(root, run(since)).unwrap().renamed.into_iter().map(|one| one.path.display().to_string()).collect()
}

#[test]
fn case_40_no_repository_hides_in_a_git_folder() {
    let dir = tempfile::tempdir().unwrap();
    nested(dir.path(), ".");
    nested(dir.path(), "other");
    let places = [".git/evil", ".git/objects/evil", ".git/objects/ab", ".git/objects/pack", ".git/objects/ab/deep"];
    let others =
        ["other/.git/objects/evil", "other/.git/objects/cd/e", "other/.git/objects/info", "other/.git/hooks/x"];
    for place in places.into_iter().chain(others) {
        evil(&bare(dir.path(), place));
    }
    let harmless = bare(dir.path(), ".git/lost");
    let first = found(dir.path());
    for place in places.into_iter().chain(others).filter(|place| !place.ends_with(['p', 'e', 'x'])) {
        assert!(first.contains(&format!("{place}/config")), "{place}: {first:?}");
    }
    for moved in [".git/objects/ab/deep", "other/.git/objects/cd/e", "other/.git/hooks.envctl-quarantine/x/config"] {
        assert!(first.contains(&moved.into()), "{moved}: {first:?}");
    }
    assert!(!harmless.join("config").exists(), "there is no place for it, whatever it sets");
    assert_eq!(found(dir.path()), Vec::<String>::new());
    for entry in fs::read_dir(dir.path().join(".git/objects/ab")).unwrap() {
        assert!(!entry.unwrap().file_type().unwrap().is_dir(), "nothing is below what is not looked at");
    }
    git2::Repository::open(dir.path()).unwrap();
}

/// What was put among old loose objects is watched where it went.
#[test]
fn case_40_what_is_old_is_not_trusted_where_its_place_is_new() {
    let dir = tempfile::tempdir().unwrap();
    nested(dir.path(), ".");
    let tracked = dir.path().join("docs/x");
    for folder in ["objects", "refs", "hooks"] {
        fs::create_dir_all(tracked.join(folder)).unwrap();
    }
    fs::write(tracked.join("config"), "[core]\nfsmonitor = evil\n").unwrap();
    fs::write(tracked.join("hooks/post-checkout"), "evil").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", tracked.join("COMMIT_EDITMSG")).unwrap();
    let since = from_now(dir.path());
    assert_eq!(found_since(dir.path(), since), Vec::<String>::new(), "it is no repository");
    fs::create_dir(dir.path().join("A")).unwrap();
    fs::rename(&tracked, dir.path().join("A/.git")).unwrap();
    fs::write(dir.path().join("A/.git/HEAD"), "ref: refs/heads/main\n").unwrap();
    assert_eq!(found_since(dir.path(), since), ["A/.git/COMMIT_EDITMSG", "A/.git/config", "A/.git/hooks"]);
}

#[test]
fn what_came_with_the_workspace_stays() {
    let dir = tempfile::tempdir().unwrap();
    nested(dir.path(), ".");
    evil(&bare(dir.path(), "docs/x"));
    let deep = bare(dir.path(), "docs/x/objects/ab/deep");
    let since = from_now(dir.path());
    fs::write(dir.path().join("docs/new"), "").unwrap();
    assert_eq!(found_since(dir.path(), since), Vec::<String>::new());
    let told = obeyed(dir.path(), &["docs/x".into(), "absent".into()]);
    assert_eq!((told.len(), told[0].path.as_path()), (1, Path::new("docs/x/config")));
    // In place, or with anything beside it.
    fs::write(dir.path().join("docs/x/config"), "[core]\nfsmonitor = other\n").unwrap();
    fs::write(deep.join("config"), "[core]\nfsmonitor = other\n").unwrap();
    assert_eq!(found_since(dir.path(), since), ["docs/x/config", "docs/x/objects/ab/deep/config"]);
}

#[test]
fn case_40_git_writes_through_no_link_and_waits_for_no_pipe() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let own = nested(dir.path(), ".");
    let other = nested(dir.path(), "other");
    fs::create_dir_all(own.join("modules/m/objects")).unwrap();
    fs::create_dir_all(own.join("logs/refs")).unwrap();
    fs::create_dir_all(own.join("objects/ab")).unwrap();
    for git in [own.clone(), other] {
        symlink("/etc/hostname", git.join("COMMIT_EDITMSG")).unwrap();
    }
    for link in ["logs/HEAD", "refs/heads/x", "modules/m/COMMIT_EDITMSG", "modules/m/objects/ab", "objects/ab/link"] {
        symlink("/etc/hostname", own.join(link)).unwrap();
    }
    fs::remove_file(own.join("HEAD")).unwrap();
    symlink("refs/heads/main", own.join("HEAD")).unwrap();
    symlink("../../tools/hook", own.join("hooks/pre-commit")).unwrap();
    rustix::fs::mknodat(CWD, own.join("index.lock"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let expected = [
        ".git/COMMIT_EDITMSG",
        ".git/hooks/pre-commit",
        ".git/index.lock",
        ".git/logs/HEAD",
        ".git/modules/m/COMMIT_EDITMSG",
        ".git/modules/m/objects/ab",
        ".git/objects/ab/link",
        ".git/refs/heads/x",
        "other/.git/COMMIT_EDITMSG",
    ];
    assert_eq!(found(dir.path()), expected);
    assert_eq!(fs::read(own.join("COMMIT_EDITMSG.envctl-quarantine")).unwrap(), b"link to /etc/hostname\n");
    assert_eq!(found(dir.path()), Vec::<String>::new());
    symlink("../config", own.join("HEAD2")).unwrap();
    fs::rename(own.join("HEAD2"), own.join("HEAD")).unwrap();
    assert_eq!(found(dir.path()), [".git/HEAD"]);
}

#[test]
fn case_40_a_pointer_does_not_lead_out() {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("workspace");
    let own = nested(&root, ".");
    evil(&bare(outer.path(), "image/evil"));
    std::os::unix::fs::symlink(outer.path(), root.join("way-out")).unwrap();
    let outside = outer.path().display();
    let pointers = [
        ("a", format!("gitdir: {outside}/image/evil"), true),
        ("b", format!("gitdir: {outside}/image/not-yet"), true),
        ("c", "gitdir: ../../image/evil\n".into(), true),
        ("d", "gitdir: ../way-out/image/evil\n".into(), true),
        ("e", "gitdir: ../.git/modules/lib\n".into(), false),
        ("f", "gitdir: /a-path-of-the-inside/.git/worktrees/f\n".into(), false),
        ("g", "nothing".into(), false),
    ];
    for (folder, text, _) in &pointers {
        fs::create_dir(root.join(folder)).unwrap();
        fs::write(root.join(folder).join(".git"), text).unwrap();
    }
    fs::write(bare(&root, "i").join(".git"), format!("gitdir: {outside}/image/evil")).unwrap();
    fs::write(own.join(".git"), format!("gitdir: {outside}/image/evil")).unwrap();
    fs::create_dir(root.join("h")).unwrap();
    std::os::unix::fs::symlink(outer.path().join("image/evil"), root.join("h/.git")).unwrap();
    let leading = pointers.iter().filter(|(_, _, out)| *out).map(|(folder, ..)| format!("{folder}/.git"));
    let leading = [".git/.git".to_owned()].into_iter().chain(leading).chain(["h/.git".into(), "i/.git".into()]);
    assert_eq!(found(&root), leading.collect::<Vec<_>>());
    assert!(own.exists());
}

#[test]
fn a_submodule_that_was_made_inside_stays_whole() {
    let dir = tempfile::tempdir().unwrap();
    let own = nested(dir.path(), ".");
    let module = bare(dir.path(), ".git/modules/deep/lib");
    let set = |value: &str| {
        git2::Config::open(&module.join("config")).unwrap().set_str("core.worktree", value).unwrap();
    };
    set("../../../../not/there");
    assert_eq!(found(dir.path()), Vec::<String>::new());
    set("../../../../deep/lib");
    fs::create_dir_all(dir.path().join("deep/lib")).unwrap();
    fs::write(dir.path().join("deep/lib/.git"), "gitdir: ../../.git/modules/deep/lib\n").unwrap();
    assert_eq!(found(dir.path()), Vec::<String>::new());
    // Within the workspace by its letters, and out of it by a link.
    std::os::unix::fs::symlink("/etc", dir.path().join("way")).unwrap();
    fs::create_dir(dir.path().join("real")).unwrap();
    std::os::unix::fs::symlink("../../etc", dir.path().join("real/out")).unwrap();
    for out in ["../../../../way", "../../../../real/out", "../../../../way/none"] {
        set(out);
        assert_eq!(found(dir.path()), [".git/modules/deep/lib/config"], "{out:?}");
    }
    for out in ["../../../../..", "/", "../../../../../x", "../..", "\"../../../../x\"", ""] {
        set(out);
        assert_eq!(found(dir.path()), [".git/modules/deep/lib/config"], "{out:?}");
    }
    // A checkout would write what git obeys there.
    bare(dir.path(), "b");
    set("../../../../b");
    assert_eq!(found(dir.path()), [".git/modules/deep/lib/config"]);
    assert!(own.join("config").exists());
}

#[test]
fn where_the_files_are_is_judged_however_old_its_setting_is() {
    let dir = tempfile::tempdir().unwrap();
    nested(dir.path(), ".");
    let module = bare(dir.path(), ".git/modules/lib");
    git2::Config::open(&module.join("config")).unwrap().set_str("core.worktree", "../../../lib").unwrap();
    fs::create_dir(dir.path().join("lib")).unwrap();
    let later = Since { seconds: i64::MAX, nanos: 0 };
    assert_eq!(audit(dir.path(), run(later)).unwrap().renamed, []);
    fs::remove_dir(dir.path().join("lib")).unwrap();
    std::os::unix::fs::symlink("/etc", dir.path().join("lib")).unwrap();
    let renamed = audit(dir.path(), run(later)).unwrap().renamed;
    assert_eq!(renamed.iter().map(|one| one.path.to_str().unwrap()).collect::<Vec<_>>(), [".git/modules/lib/config"]);
}

#[test]
fn case_40_borrowed_objects_are_in_the_workspace() {
    let dir = tempfile::tempdir().unwrap();
    nested(dir.path(), ".");
    let (git, lender) = (nested(dir.path(), "a"), nested(dir.path(), "b"));
    fs::create_dir_all(git.join("objects/info")).unwrap();
    fs::write(git.join("objects/info/alternates"), format!("{}/objects\n", lender.display())).unwrap();
    assert_eq!(found(dir.path()), Vec::<String>::new());
    fs::write(git.join("objects/info/alternates"), "../../../b/.git/objects\n/usr\n").unwrap();
    assert_eq!(found(dir.path()), ["a/.git/objects/info/alternates"]);
}

#[test]
fn case_40_a_worktree_setting_of_its_own_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let own = nested(dir.path(), ".");
    fs::write(own.join("config.worktree"), "[core]\nsparseCheckout = true\n").unwrap();
    assert_eq!(found(dir.path()), Vec::<String>::new());
    fs::write(own.join("config.worktree"), "[core]\nhooksPath = x\n").unwrap();
    assert_eq!(found(dir.path()), [".git/config.worktree"]);
    rustix::fs::mknodat(CWD, own.join("config.worktree"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert_eq!(found(dir.path()), [".git/config.worktree"]);
}

fn turn(link: &Path, target: &str) {
    let _ = fs::remove_file(link);
    std::os::unix::fs::symlink(target, link).unwrap();
}

/// Git folders whose files are old, and lead elsewhere by now.
#[test]
fn case_40_what_says_where_something_lies_is_judged_however_old_it_is() {
    let dir = tempfile::tempdir().unwrap();
    nested(dir.path(), ".");
    let none = Vec::<String>::new();
    // By a link that leads to the workspace's own for now.
    turn(&dir.path().join("link"), ".git");
    for (n, text) in ["../../link\n", "../link/../../.git", "../../.git\0/../../.git", "../../.git "].iter().enumerate()
    {
        let git = nested(dir.path(), &format!("n{n}"));
        fs::write(git.join("commondir"), text).unwrap();
        let quarantined = vec![format!("n{n}/.git/commondir")];
        assert_eq!(found_since(dir.path(), from_now(dir.path())), quarantined, "{text:?}");
    }
    // Objects are borrowed by what is missing so far, or by a name in quotes.
    let git = nested(dir.path(), "a");
    fs::create_dir_all(git.join("objects/info")).unwrap();
    let alternates = git.join("objects/info/alternates");
    for line in ["\"/usr\"", "../../../later", "../../../a/../link/objects", "../../../a\0/objects"] {
        fs::write(&alternates, format!("{line}\n")).unwrap();
        assert_eq!(found(dir.path()), ["a/.git/objects/info/alternates"], "{line}");
        let _ = fs::remove_file(git.join("objects/info/alternates.envctl-quarantine"));
    }
    fs::create_dir_all(dir.path().join("later/.git/objects")).unwrap();
    fs::create_dir_all(dir.path().join("plain/objects")).unwrap();
    fs::write(&alternates, "../../../plain/objects\n").unwrap();
    assert_eq!(found(dir.path()), ["a/.git/objects/info/alternates"], "nobody judges what is in there");
    fs::remove_file(git.join("objects/info/alternates.envctl-quarantine")).unwrap();
    fs::write(&alternates, "../../../later/.git/objects\n").unwrap();
    assert_eq!(found(dir.path()), none);
    let old = from_now(dir.path());
    fs::rename(dir.path().join("later"), dir.path().join("gone")).unwrap();
    assert_eq!(found_since(dir.path(), old), none);
    turn(&dir.path().join("later"), "/usr");
    assert_eq!(found_since(dir.path(), old), ["a/.git/objects/info/alternates"]);
    // One that the developer made stays: no run could have written it.
    let _ = fs::remove_file(git.join("objects/info/alternates.envctl-quarantine"));
    fs::write(&alternates, "/usr\n").unwrap();
    assert_eq!(found_since(dir.path(), from_now(dir.path())), none);
}

#[test]
fn case_40_a_repository_without_a_head_is_one_to_its_worktrees() {
    let dir = tempfile::tempdir().unwrap();
    nested(dir.path(), ".");
    let git = nested(dir.path(), "a");
    fs::create_dir_all(git.join("worktrees/w")).unwrap();
    fs::write(git.join("worktrees/w/HEAD"), "ref: refs/heads/w\n").unwrap();
    fs::write(git.join("worktrees/w/commondir"), "../..\n").unwrap();
    let old = from_now(dir.path());
    assert_eq!(found_since(dir.path(), old), Vec::<String>::new(), "as git made it");
    fs::remove_file(git.join("HEAD")).unwrap();
    evil(&git);
    assert_eq!(found_since(dir.path(), old), ["a/.git/config"]);
}

#[test]
fn case_40_git_reads_no_file_and_asks_no_address_that_a_run_left() {
    let dir = tempfile::tempdir().unwrap();
    let (own, git) = (nested(dir.path(), "."), nested(dir.path(), "a"));
    let old = from_now(dir.path());
    fs::write(git.join("MERGE_RR"), "1111\t/etc/hostname\0").unwrap();
    for at in [&own, &git] {
        fs::create_dir_all(at.join("remotes")).unwrap();
        fs::write(at.join("remotes/origin"), "URL: ssh://evil.example/x\n").unwrap();
    }
    assert_eq!(found_since(dir.path(), old), [".git/remotes", "a/.git/MERGE_RR", "a/.git/remotes"]);
}

/// A chain of what each would pass by itself.
#[test]
fn case_40_no_way_leads_out_in_two_steps() {
    let dir = tempfile::tempdir().unwrap();
    nested(dir.path(), ".");
    let git = nested(dir.path(), "n");
    // Objects that are borrowed by who lends.
    fs::create_dir_all(git.join("objects/info")).unwrap();
    fs::create_dir_all(dir.path().join("x/info")).unwrap();
    fs::write(dir.path().join("x/info/alternates"), "/usr\n").unwrap();
    fs::write(git.join("objects/info/alternates"), "../../../x\n").unwrap();
    assert_eq!(found(dir.path()), ["n/.git/objects/info/alternates"]);
    // A folder among loose objects, in which something is made later.
    let old = from_now(dir.path());
    fs::create_dir_all(git.join("objects/ab/commit-graphs")).unwrap();
    assert_eq!(found_since(dir.path(), old), ["n/.git/objects/ab/commit-graphs"]);
}

#[test]
fn case_40_a_new_pointer_to_an_old_repository_goes() {
    let dir = tempfile::tempdir().unwrap();
    nested(dir.path(), ".");
    // As it came with the task: nobody works in it.
    let store = bare(dir.path(), "e.git");
    evil(&store);
    fs::create_dir(dir.path().join("s")).unwrap();
    let old = from_now(dir.path());
    assert_eq!(found_since(dir.path(), old), Vec::<String>::new());
    fs::write(dir.path().join("s/.git"), "gitdir: ../e.git\n").unwrap();
    assert_eq!(live::look_at(dir.path(), Path::new("s"), run(old)).renamed.len(), 1);
    assert_eq!(found_since(dir.path(), old), Vec::<String>::new());
}
