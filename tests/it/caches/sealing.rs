//! Making an entry, and what a run sees of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::{deps, folders, found, ls, task, tree, workspace};
use crate::support::{Lab, until};

both!(the_first_enter_seals_and_the_second_hits);
fn the_first_enter_seals_and_the_second_hits(lab: Lab) {
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("mkdir -p deps/sub; cp lock deps/sub/x; ls > deps/seen; echo stray > stray"));
    assert_eq!(lab.sh(&task, "cat deps/sub/x; cat deps/seen"), "1README\ndeps\nenvctl.toml\nlock\n");
    assert_eq!(found(&lab), ["deps sealed task"]);
    // Only what lies at its place is kept.
    assert!(!workspace(&lab).path.join("stray").exists());
    assert_eq!(lab.sh(&task, "cat deps/sub/x; ls"), "1README\ndeps\nenvctl.toml\nlock\n");
    assert_eq!(found(&lab), ["deps hit task"]);
    // The place is gone with the runtime, so git and editors see nothing.
    assert!(!workspace(&lab).path.join("deps").exists());
    let rows = ls(&lab);
    assert_eq!((rows.len(), &rows[0]["hits"], &rows[0]["scope"]), (1, &2.into(), &"task".into()));
    until("the workspace is known to need it", || ls(&lab)[0]["kept"] == "workspace");
    lab.assert_baseline();
}

both!(what_a_run_changes_is_gone_and_counted);
fn what_a_run_changes_is_gone_and_counted(lab: Lab) {
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("mkdir deps/sub; echo one > deps/a; echo two > deps/sub/b"));
    lab.sh(&task, "true");
    lab.sh(&task, "echo poison > deps/a; rm -r deps/sub; mkdir deps/new; touch deps/new/x deps/new/y; chmod 700 deps");
    let receipt = &lab.report()["receipt"];
    assert_eq!(receipt["caches"], serde_json::json!([{"name": "deps", "entries": 4}]));
    assert_eq!((&receipt["baseline"], &receipt["scratch"]["left"]), (&true.into(), &0.into()));
    assert_eq!(lab.sh(&task, "cat deps/a deps/sub/b; ls deps; stat -c %a deps"), "one\ntwo\na\nsub\n755\n");
    assert_eq!(lab.report()["receipt"]["caches"][0]["entries"], 0);
    lab.dev.envctl(["cache", "verify"]).ok();
}

both!(a_read_only_one_is_changed_by_nobody);
fn a_read_only_one_is_changed_by_nobody(lab: Lab) {
    lab.repo.write("lock", "1");
    let task = task(&lab, &format!("{}read_only = true\n", deps("mkdir deps/d; echo made > deps/d/file")));
    let script = "cat deps/d/file; for try in 'echo x > deps/new' 'echo x >> deps/d/file' 'rm -r deps/d' \
                  'mount -o remount,rw deps' 'umount deps'; do sh -c \"$try\" 2>/dev/null && echo \"$try\"; done; \
                  grep -c ' /workspace/deps .*overlay' /proc/mounts; true";
    // In the run that seals it, and in one that finds it.
    for how in ["sealed", "hit"] {
        let run = lab.enter(&task, &["sh", "-c", script]).ok();
        assert_eq!(run.stdout, "made\n0\n", "{how}: {}", run.stderr);
        assert_eq!(lab.receipts().last().unwrap()["caches"][0]["entries"], 0);
    }
    // A copy for the host is not the cache.
    lab.dev.envctl(["enter", "--materialize", &task, "--", "true"]).ok();
    assert_eq!(lab.sh(&task, "cat deps/d/file; touch deps/new 2>/dev/null || echo refused"), "made\nrefused\n");
    lab.assert_baseline();
}

#[test]
fn a_setup_that_fails_leaves_no_entry_and_shows_why() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("echo half > deps/half; echo the reason >&2; exit 3"));
    let run = lab.enter(&task, &["sh", "-c", "ls deps 2>&1; echo went on"]).ok();
    assert!(run.stdout.contains("went on"), "{}", run.stdout);
    run.says(&["the setup of the cache deps failed (exit code 3)", "the reason", "all of it: "]);
    assert_eq!(found(&lab), ["deps missing"]);
    assert!(folders(&lab).is_empty());
    lab.assert_baseline();
    // Each enter tries again.
    lab.enter(&task, &["true"]).ok().says(&["exit code 3"]);
}

#[test]
fn everything_that_a_file_system_can_hold_survives() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let setup = "cd deps; mkdir private; chmod 700 private; echo s > private/secret; chmod 600 private/secret; \
                 echo x > run; chmod 755 run; ln -s run link; ln -s /nowhere dangling; ln run hard; mkfifo pipe; \
                 mkdir empty; touch -d '2001-02-03 04:05:06' run; chmod 4755 private/secret || chmod 755 private/secret; touch -d '1999-01-01 00:00:00' private; \
                 printf x > \"$(printf 'new\\nline')\"; touch '.wh.file' ";
    let task = task(&lab, &deps(setup));
    lab.sh(&task, "true");
    let tree = tree(&lab);
    let meta = |name: &str| fs::symlink_metadata(tree.join(name)).unwrap();
    let mode = |name: &str| meta(name).permissions().mode() & 0o7777;
    assert_eq!((mode("private"), mode("run")), (0o700, 0o755));
    assert_eq!(mode("private/secret"), 0o755, "set-id bits mean nothing in a cache");
    assert_eq!(fs::read_link(tree.join("dangling")).unwrap().to_str(), Some("/nowhere"));
    assert_eq!((meta("run").ino(), meta("run").nlink()), (meta("hard").ino(), 2));
    assert_eq!(meta("private").mtime(), 915_148_800);
    assert!(tree.join("new\nline").exists() && tree.join(".wh.file").exists() && tree.join("empty").is_dir());
    let shown =
        lab.sh(&task, "cd deps; stat -c '%a %Y' private run; cat private/secret link; test -p pipe; readlink link");
    assert_eq!(shown, "700 915148800\n755 981173106\ns\nx\nrun\n");
}

#[test]
fn the_setup_is_clean() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    lab.dev.write("config/envctl/config.toml", "[secrets]\nTOKEN = \"env:TOKEN\"\n");
    let project = format!(
        "[runtime]\nsecrets = [\"TOKEN\"]\nenv = {{ MODE = \"x\" }}\n{}",
        deps("env > deps/env; ls /run/secrets > deps/secrets 2>&1; ip link > deps/net")
    );
    let task = task(&lab, &project);
    let digest = lab.enter(&task, &["true"]).env("TOKEN", "hunter2-value").code(125).stderr;
    let digest = digest.split("--digest ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(folders(&lab).is_empty(), "nothing runs before it is approved");
    lab.dev.envctl(["approve", "--digest", &digest]).ok();
    lab.enter(&task, &["true"]).env("TOKEN", "hunter2-value").ok();
    let read = |name: &str| fs::read_to_string(tree(&lab).join(name)).unwrap();
    assert!(!read("env").contains("hunter2") && read("env").contains("MODE=x"), "{}", read("env"));
    assert!(read("secrets").contains("No such file"), "{}", read("secrets"));
    assert!(!read("net").contains("eth0"), "{}", read("net"));
}

#[test]
fn a_network_for_a_setup_is_approved_first() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let project = |command: &str| format!("{}network = \"private\"\n", deps(command));
    let first = task(&lab, &project("true"));
    lab.enter(&first, &["true"])
        .code(125)
        .says(&["not approved", "a private network for the setup of the cache deps, which fills deps: true"]);
    let other = task(&lab, &project("echo other"));
    lab.enter(&other, &["true"])
        .code(125)
        .says(&["a private network for the setup of the cache deps, which fills deps: echo other"]);
    assert!(folders(&lab).is_empty());
}

#[test]
fn a_network_that_does_not_come_up_costs_the_cache_alone() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &format!("{}network = \"private\"\n", deps("echo 1; echo 2 > deps/file\necho 3")));
    let refused = lab.enter(&task, &["true"]).code(125).stderr;
    let digest = refused.split("--digest ").nth(1).unwrap().split_whitespace().next().unwrap();
    lab.dev.envctl(["approve", "--digest", digest]).ok();
    lab.dev.envctl(["enter", "--no-runtime", &task]).ok();
    let binary = lab.dev.binary().to_str().unwrap();
    // Without pasta, which is found there.
    let without =
        lab.dev.call("env", ["PATH=/nowhere", binary, "enter", "--fresh", &task, "--", "echo", "inside"]).ok();
    assert_eq!(without.stdout, "inside\n");
    without.says(&["the setup of the cache deps could not be started", "pasta", "goes without it"]);
    lab.enter(&task, &["cat", "deps/file"]).ok().says(&["Sealing the cache deps: ", "…"]);
    lab.assert_baseline();
}

#[test]
fn several_entries_and_entries_under_home() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let more = "[[cache]]\nname = \"home\"\npath = \"~/.cache/tool\"\nsetup = 'echo h > ~/.cache/tool/f'\n\
                [[cache]]\nname = \"absolute\"\npath = \"/opt/data\"\nsetup = 'echo a > /opt/data/f'\n";
    let task = task(&lab, &format!("{}{more}", deps("echo d > deps/f")));
    let script = "cat deps/f ~/.cache/tool/f /opt/data/f; touch ~/.cache/other ~/.cache/tool/new /opt/data/new";
    assert_eq!(lab.sh(&task, script), "d\nh\na\n");
    assert_eq!(lab.sh(&task, "ls ~/.cache/tool; ls /opt/data"), "f\nf\n");
    assert_eq!(found(&lab), ["deps hit task", "home hit task", "absolute hit task"]);
}

#[test]
fn detached_runtimes_have_them_too() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("echo d > deps/f"));
    lab.dev.envctl(["enter", "--detach", &task]).ok();
    assert_eq!(lab.dev.envctl(["exec", &task, "--", "cat", "deps/f"]).ok().stdout, "d\n");
    let rows = ls(&lab);
    assert_eq!(rows[0]["kept"], "lease");
    lab.dev.envctl(["exec", &task, "--", "sh", "-c", "echo x > deps/new"]).ok();
    let receipt = lab.dev.envctl(["reset", &task, "--json"]).ok().json();
    assert_eq!(receipt["receipts"][0]["caches"][0]["entries"], 1, "{receipt}");
    lab.assert_baseline();
}

#[test]
fn copies_for_programs_of_the_host() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("echo one > deps/f; mkdir deps/d; chmod 700 deps/d; ln -s f deps/l"));
    lab.dev
        .envctl([
            "enter",
            "--materialize",
            "--report",
            lab.dev.path("report.json").to_str().unwrap(),
            &task,
            "--",
            "true",
        ])
        .ok();
    let copy = workspace(&lab).path.join("deps");
    assert_eq!(fs::read_to_string(copy.join("l")).unwrap(), "one\n");
    assert_eq!(fs::metadata(copy.join("d")).unwrap().permissions().mode() & 0o777, 0o700);
    // The run still has its own.
    assert_eq!(lab.sh(&task, "echo two > deps/f; cat deps/f"), "two\n");
    assert_eq!(fs::read_to_string(copy.join("f")).unwrap(), "one\n");
    // It is nobody's work.
    let workspace = workspace(&lab);
    fs::remove_file(workspace.path.join(".gitignore")).unwrap();
    workspace.git(&["checkout", "-q", "--", "."]);
    let image = lab.images.reference("task-1");
    let published = lab
        .dev
        .envctl(["publish", "back", "--store", &lab.store.name(), "--image", &image, "--json"])
        .cwd(&workspace.path)
        .ok()
        .json();
    assert_eq!(published["changed_files"], 2, "{published}");
    // What is changed in it is not lost when another one takes its place.
    fs::write(copy.join("f"), "mine").unwrap();
    workspace.write("lock", "2");
    lab.dev.envctl(["enter", "--materialize", &task, "--", "true"]).ok().says(&["was changed here, and is kept as"]);
    assert_eq!(fs::read_to_string(copy.join("f")).unwrap(), "one\n");
    let kept = fs::read_dir(&workspace.path).unwrap().map(|entry| entry.unwrap().path());
    let kept = kept.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("deps.changed-"));
    assert_eq!(kept.map(|path| fs::read_to_string(path.join("f")).unwrap()).collect::<Vec<_>>(), ["mine"]);
}
