//! A checkout whose own configuration names programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::{Call, Facts, Home, Repo, Trip};

const HOOKS: [&str; 14] = [
    "applypatch-msg",
    "fsmonitor-watchman",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "post-merge",
    "post-rewrite",
    "pre-auto-gc",
    "pre-commit",
    "pre-push",
    "prepare-commit-msg",
    "query-watchman",
    "reference-transaction",
    "sendemail-validate",
];

/// A program that leaves a line, and acts as a filter.
fn trap(trip: &Trip) -> (PathBuf, PathBuf) {
    let (program, markers) = (trip.lab.agent.path("trap"), trip.lab.agent.path("markers"));
    trip.lab.agent.mkdir(&markers);
    let text = format!("#!/bin/sh\necho \"$0 $*\" >> {}/ran\nexec cat\n", markers.display());
    trip.lab.agent.write(&program, text);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&markers, fs::Permissions::from_mode(0o777)).unwrap();
    (program, markers)
}

/// Traps in every setting of git that names a program, and in every hook.
fn set_traps(trip: &Trip, repo: &Repo) -> PathBuf {
    let (program, markers) = trap(trip);
    let trap = program.to_str().unwrap();
    let hooks = repo.path.join(".git/hooks");
    for name in HOOKS {
        let link = hooks.join(name);
        let _ = fs::remove_file(&link);
        repo.symlink(&link, &program);
    }
    let config = format!(
        "[core]\n fsmonitor = {trap}\n sshCommand = {trap}\n pager = {trap}\n editor = {trap}\n askPass = {trap}\n \
         gitProxy = {trap}\n alternateRefsCommand = {trap}\n\
         [filter \"evil\"]\n clean = {trap} clean\n smudge = {trap} smudge\n required = true\n\
         [filter \"long\"]\n process = {trap} process\n required = true\n\
         [diff]\n external = {trap}\n\
         [diff \"evil\"]\n command = {trap}\n textconv = {trap}\n\
         [merge \"evil\"]\n driver = {trap}\n\
         [credential]\n helper = !{trap}\n\
         [gpg]\n program = {trap}\n[gpg \"ssh\"]\n program = {trap}\n\
         [commit]\n gpgSign = true\n\
         [alias]\n add = !{trap}\n write-tree = !{trap}\n status = !{trap}\n pack-objects = !{trap}\n\
         [pager]\n status = {trap}\n diff-index = {trap}\n\
         [sequence]\n editor = {trap}\n\
         [uploadpack]\n packObjectsHook = {trap}\n\
         [protocol \"ext\"]\n allow = always\n\
         [trace2]\n normalTarget = {}/trace\n eventTarget = {}/trace\n",
        markers.display(),
        markers.display()
    );
    trip.lab.agent.write("included", config);
    let own = repo.path.join(".git/config");
    let text = fs::read_to_string(&own).unwrap();
    let remote =
        format!("[remote \"origin\"]\n uploadpack = {trap}\n receivepack = {trap}\n vcs = evil\n proxy = {trap}\n");
    let include = format!("[include]\n path = {}\n", trip.lab.agent.path("included").display());
    fs::write(own, format!("{text}{remote}{include}[extensions]\n worktreeConfig = true\n")).unwrap();
    repo.write(".git/config.worktree", format!("[core]\n hooksPath = {}\n fsmonitor = {trap}\n", hooks.display()));
    markers
}

fn count(folder: &PathBuf) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn arranged() -> (Trip, Repo) {
    let trip = Trip::new();
    let repo = trip.lab.repo.clone();
    repo.write(".gitattributes", "*.txt filter=evil diff=evil merge=evil\n*.long filter=long\n");
    for name in ["a.txt", "b.txt", "c.long"] {
        repo.write(name, "content\n");
    }
    repo.commit("with attributes");
    repo.push();
    repo.write("a.txt", "changed\n");
    repo.write("new.txt", "new\n");
    repo.write("new.long", "new\n");
    repo.git(&["add", "a.txt"]);
    repo.write("a.txt", "changed again\n");
    repo.commit("unpushed");
    repo.write("b.txt", "changed\n");
    (trip, repo)
}

#[test]
fn case_40_no_program_of_the_checkout_runs() {
    let (trip, repo) = arranged();
    let expected = Facts::of(&repo);
    let markers = set_traps(&trip, &repo);
    let task = trip.publish(&repo);
    assert_eq!(count(&markers), 0, "{:?}", fs::read_to_string(markers.join("ran")));
    let workspace = trip.enter(&task);
    // Neither at once, nor when the developer works with git there.
    expected.assert_same(&Facts::of(&workspace));
    workspace.git(&["add", "--all"]);
    workspace.commit("by the developer");
    assert_eq!(count(&markers), 0, "{:?}", fs::read_to_string(markers.join("ran")));
    let config = fs::read_to_string(workspace.path.join(".git/config")).unwrap();
    assert!(!config.contains("trap") && !config.contains("evil"), "{config}");
    // The traps were live all the time.
    repo.call(&["add", "new.txt"]).run();
    assert_ne!(count(&markers), 0);
}

/// The task's attributes name a filter that the developer has.
#[test]
fn case_40_no_filter_of_the_developer_runs() {
    let (trip, repo) = arranged();
    repo.write("d.txt", "a line\r\n");
    repo.write(".gitattributes", "*.txt filter=evil text eol=crlf\n*.long filter=long\n");
    let (program, markers) = trap(&trip);
    let trap = program.to_str().unwrap();
    let filters = format!(
        "[filter \"evil\"]\n clean = {trap}\n smudge = {trap}\n required = true\n[filter \"long\"]\n process = {trap}\n"
    );
    let configured = |home: &Home, call: Call| {
        home.write("home/.gitconfig", &filters);
        call.env("GIT_CONFIG_GLOBAL", home.path("home/.gitconfig"))
    };
    let task = trip.lab.next_task();
    configured(&trip.lab.agent, trip.publishing(&repo, &task)).ok();
    let task = trip.lab.store.reference(&task);
    let workspace = configured(&trip.lab.dev, trip.entering(&task)).ok().stdout;
    assert_eq!(count(&markers), 0, "{:?}", fs::read_to_string(markers.join("ran")));
    assert_eq!(fs::read_to_string(PathBuf::from(workspace.trim()).join("d.txt")).unwrap(), "a line\r\n");
    configured(&trip.lab.agent, repo.call(&["add", "d.txt"])).run();
    assert_ne!(count(&markers), 0, "no trap");
}

#[test]
fn case_40_each_trap_is_live_on_its_own() {
    let (trip, repo) = arranged();
    let (program, markers) = trap(&trip);
    let trap = program.to_str().unwrap();
    for (key, args) in [
        ("core.fsmonitor", ["status", "--porcelain"]),
        ("filter.evil.clean", ["add", "b.txt"]),
        ("diff.external", ["diff", "HEAD"]),
    ] {
        repo.git(&["config", key, trap]);
        let task = trip.publish(&repo);
        trip.lab.dev.envctl(["enter", &task, "--no-runtime"]).ok();
        assert_eq!(count(&markers), 0, "{key} ran");
        repo.call(&args).run();
        assert_ne!(count(&markers), 0, "{key} is no trap");
        fs::remove_file(markers.join("ran")).unwrap();
        repo.git(&["config", "--unset", key]);
    }
}

/// Filters that the checkout configures for Git LFS, on files that changed.
#[test]
fn case_40_no_filter_of_lfs_runs() {
    let trip = Trip::new();
    let repo = trip.lab.repo.clone();
    repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    repo.write("a.bin", "a\0\n".repeat(1000));
    repo.write("same.bin", "a\0\n".repeat(1000));
    repo.commit("attributes");
    repo.push();
    let (program, markers) = trap(&trip);
    let trap = program.to_str().unwrap();
    for key in ["clean", "smudge", "process", "required"] {
        repo.git(&["config", &format!("filter.lfs.{key}"), if key == "required" { "true" } else { trap }]);
    }
    for key in ["lfs.standalonetransferagent", "lfs.customtransfer.evil.path", "lfs.extension.evil.clean"] {
        repo.git(&["config", key, trap]);
    }
    repo.write("a.bin", "changed\0\n".repeat(1000));
    repo.write("new.bin", "new\0\n".repeat(1000));
    // As long as before: git has to look into it.
    repo.write("same.bin", "b\0\n".repeat(1000));
    let task = trip.publish(&repo);
    let workspace = trip.enter(&task);
    assert_eq!(count(&markers), 0, "{:?}", fs::read_to_string(markers.join("ran")));
    assert_eq!(fs::read_to_string(workspace.path.join("a.bin")).unwrap(), "changed\0\n".repeat(1000));
    repo.call(&["add", "a.bin"]).run();
    assert_ne!(count(&markers), 0, "the trap is live");
}

/// A project names the server of its LFS files; who enters has not agreed to
/// talk to that one.
#[test]
fn case_22_a_project_does_not_choose_the_lfs_server() {
    let trip = Trip::new();
    let repo = trip.lab.repo.clone();
    repo.git(&["lfs", "install", "--local"]);
    repo.git(&["lfs", "track", "*.bin"]);
    repo.write("a.bin", "a\0\n".repeat(1000));
    let elsewhere = trip.lab.agent.path("elsewhere.git");
    repo.git(&["init", "--quiet", "--bare", elsewhere.to_str().unwrap()]);
    repo.commit("with an LFS file");
    repo.push();
    fs::rename(repo.remote.join("lfs"), elsewhere.join("lfs")).unwrap();
    repo.write(".lfsconfig", format!("[lfs]\n\turl = file://{}\n", elsewhere.display()));
    repo.commit("and a server for it");
    repo.git(&["push", "--quiet", "--no-verify", "origin", "HEAD"]);
    let task = trip.publish(&repo);
    trip.entering(&task).ok().says(&["1 files are pointers here: a.bin"]);
    // Nor does git on the host, before the developer says that they trust it.
    let workspace = trip.enter(&task);
    workspace.git(&["lfs", "install", "--local"]);
    assert_ne!(workspace.call(&["lfs", "pull"]).run().code, 0);
    let server = format!("file://{}", elsewhere.display());
    workspace.git(&["config", "lfs.url", &server]);
    workspace.git(&["lfs", "pull"]);
    assert_eq!(fs::read_to_string(workspace.path.join("a.bin")).unwrap(), "a\0\n".repeat(1000));
}

/// Git looks into a submodule with the submodule's own configuration; envctl
/// does not let it.
#[test]
fn case_40_no_program_of_a_submodule_runs() {
    let trip = Trip::new();
    let repo = trip.lab.repo.clone();
    let sub = repo.clone_to("checkout/sub", &[]);
    sub.write(".gitattributes", "*.txt filter=evil diff=evil\n");
    sub.write("a.txt", "content\n");
    sub.commit("with attributes");
    sub.git(&["push", "--quiet", "origin", "HEAD:refs/heads/sub"]);
    repo.git(&["-c", "advice.addEmbeddedRepo=false", "add", "sub"]);
    repo.commit("with a nested repository");
    let markers = set_traps(&trip, &sub);
    repo.write("changed", "x");
    let task = trip.publish(&repo);
    trip.enter(&task);
    assert_eq!(count(&markers), 0, "{:?}", fs::read_to_string(markers.join("ran")));
    sub.write("a.txt", "changed\n");
    trip.publishing(&repo, "t").code(6).says(&["the submodule sub has changes", "a.txt is changed"]);
    assert_eq!(count(&markers), 0, "{:?}", fs::read_to_string(markers.join("ran")));
    repo.call(&["status"]).run();
    assert_ne!(count(&markers), 0, "the traps are live");
}

#[test]
fn case_40_a_remote_with_hooks_and_configuration() {
    let trip = Trip::new();
    let (program, markers) = trap(&trip);
    let remote = trip.lab.repo.seen_by(&trip.lab.agent, &trip.lab.repo.remote);
    for name in HOOKS.iter().chain(&["post-update", "update", "pre-receive", "post-receive", "proc-receive"]) {
        let link = remote.path.join("hooks").join(name);
        let _ = fs::remove_file(&link);
        remote.symlink(&link, &program);
    }
    let trap = program.to_str().unwrap();
    for key in ["core.fsmonitor", "uploadpack.packObjectsHook", "core.alternateRefsCommand", "alias.upload-pack"] {
        remote.git(&["config", key, trap]);
    }
    trip.lab.repo.write("new", "x");
    let task = trip.publish(&trip.lab.repo);
    trip.enter(&task);
    assert_eq!(count(&markers), 0, "{:?}", fs::read_to_string(markers.join("ran")));
}

/// Rewriting rules of the checkout do not decide what is published.
#[test]
fn case_40_the_address_is_the_configured_one() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let url = repo.url();
    repo.git(&["config", "url.ext::sh -c touch% evil #.insteadOf", "file://"]);
    let args = ["publish", "t", "--store", &trip.lab.store.name(), "--image", &trip.image];
    trip.lab.agent.envctl(args).cwd(&repo.path).ok();
    let task = trip.lab.store.reference("t");
    let shown = trip.lab.dev.envctl(["show", &task, "--json"]).ok().json();
    assert_eq!(shown["identity"]["repo"]["url"], url.as_str());
    trip.enter(&task);
}

#[test]
fn case_45_addresses_that_do_more_than_name_a_repository() {
    for url in
        ["ext::sh -c 'touch evil'", "file://relative", "ftp://example.org/x", "https://a\tb/x", "-uevil", "rel/ative"]
    {
        let trip = Trip::new();
        trip.lab.repo.git(&["config", "remote.origin.url", url]);
        trip.refuses_url(url);
    }
}

impl Trip {
    #[track_caller]
    fn refuses_url(&self, url: &str) {
        let run = self.publishing(&self.lab.repo, "t").run();
        assert!(run.code == 2 || run.code == 1, "{url:?}: {run:?}");
        // Without a scheme it would be a folder, which is looked for.
        let why = ["repository URL", "beside this checkout, which is not there"];
        assert!(why.iter().any(|why| run.stderr.contains(why)), "{url:?}: {run:?}");
        assert!(self.lab.store.tags().iter().all(|tag| tag != "t"));
    }
}

/// Passwords in an address stay where they are.
#[test]
fn case_46_credentials_in_the_address() {
    let trip = Trip::new();
    trip.lab.repo.git(&[
        "config",
        "remote.origin.url",
        "https://user:hunter2secret@git.example/a/b.git?token=hunter3secret",
    ]);
    let run = trip.publishing(&trip.lab.repo, "t").ok();
    assert!(!run.stderr.contains("hunter") && !run.stdout.contains("hunter"), "{run:?}");
    for entry in fs::read_dir(trip.lab.store.path.join("blobs/sha256")).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("hunter"));
    }
    let shown = trip.lab.dev.envctl(["show", &trip.lab.store.reference("t"), "--json"]).ok().json();
    assert_eq!(shown["identity"]["repo"]["url"], "https://git.example/a/b.git");
}
