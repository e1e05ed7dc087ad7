//! Runs of a checkout that was not published.

use std::fs;

use crate::support::{Call, ImageBuilder, Lab, Outside, prepared, until};

fn run(lab: &Lab, options: &[&str], script: &str) -> Call {
    let image = lab.images.add("here", &ImageBuilder::busybox()).reference;
    let words = [&["run", "--image", &image], options, &["--", "sh", "-c", script]].concat();
    lab.agent.envctl(words).cwd(&lab.repo.path)
}

fn workspaces(lab: &Lab) -> Vec<String> {
    let status = lab.agent.envctl(["status", "--json"]).ok().json();
    status["workspaces"].as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect()
}

both!(it_runs_in_a_copy_and_the_checkout_stays);
fn it_runs_in_a_copy_and_the_checkout_stays(lab: Lab) {
    lab.repo.write("unpushed", "1");
    lab.repo.commit("never pushed");
    lab.repo.write("staged", "2");
    lab.repo.git(&["add", "staged"]);
    lab.repo.write(".gitignore", "build/\n");
    lab.repo.write("untracked", "3");
    let mut outside = Outside::of(&lab.agent);
    outside.watch(&lab.repo.path);
    // The remote is not needed: the checkout has the commits.
    fs::rename(&lab.repo.remote, lab.agent.path("away")).unwrap();
    let ran = run(&lab, &[], "cat unpushed staged untracked; mkdir build; echo x >build/out; exit 4");
    let ran = ran.code(4);
    assert_eq!(ran.stdout, "123");
    outside.assert_untouched();
    assert_eq!(workspaces(&lab), Vec::<String>::new(), "nothing but ignored files was made");
    assert!(!lab.agent.data().join("pins").read_dir().is_ok_and(|mut pins| pins.next().is_some()));
    assert!(lab.store.tags().is_empty(), "nothing is published");
}

/// Nobody else has to fetch anything of it.
#[test]
fn a_checkout_needs_no_remote() {
    let lab = Lab::new();
    lab.repo.git(&["remote", "remove", "origin"]);
    lab.repo.write("committed", "1");
    lab.repo.commit("nowhere else");
    lab.repo.write("untracked", "2");
    assert_eq!(run(&lab, &[], "cat committed untracked; exit 4").code(4).stdout, "12");
    assert_eq!(workspaces(&lab), Vec::<String>::new());
    let store = lab.store.name();
    let publish = ["--publish", "--as", "mine", "--store", &store];
    run(&lab, &publish, "true").code(125).says(&["no remote"]);
    assert!(lab.store.tags().is_empty());
}

/// Nothing was run, so nothing of it is kept.
#[test]
fn a_run_that_is_refused_leaves_no_copy() {
    let lab = Lab::new();
    let cache = "[[cache]]\nname = \"c\"\npath = \"c\"\nsetup = \"true\"\nnetwork = \"host\"\n";
    lab.repo.write("envctl.toml", cache);
    run(&lab, &["--no-input"], "true").code(125).says(&["approve"]);
    assert_eq!(workspaces(&lab), Vec::<String>::new());
    for folder in ["identities", "pins"] {
        let left = fs::read_dir(lab.agent.data().join(folder)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{folder}");
    }
}

#[test]
fn what_the_run_changed_is_kept() {
    let lab = Lab::new();
    let ran = run(&lab, &[], "echo changed >README").ok();
    let kept = workspaces(&lab);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(ran.stderr.contains(&kept[0]), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(format!("{}/README", kept[0])).unwrap(), "changed\n");
    assert_eq!(fs::read_to_string(lab.repo.path.join("README")).unwrap(), "shop\n");
    // What is listed can be typed.
    let listed = lab.agent.envctl(["workspace", "ls"]).ok().stdout;
    let name = listed.lines().next().unwrap();
    assert_eq!(lab.agent.envctl(["workspace", "path", name]).ok().stdout.trim(), kept[0]);
    lab.agent.envctl(["enter", name, "--", "grep", "changed", "README"]).ok();
    lab.agent.envctl(["workspace", "rm", "--yes", name]).ok();
    assert_eq!(workspaces(&lab), Vec::<String>::new());
}

#[test]
fn what_no_snapshot_has_is_kept() {
    let ignored = "[snapshot]\nexclude = [\"*.mp4\"]\n";
    // One developer, for whom the image is unpacked once.
    let lab = Lab::new();
    for (n, (project, script, kept)) in [
        (
            "",
            "git checkout -qb work && echo x >p && git add p && git commit -qm p && git checkout -q main",
            "refs/heads/work",
        ),
        ("", "echo x >>README && git stash -q", "refs/stash"),
        (ignored, "echo x >out.mp4", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("t{n}");
        let script = format!("git config --global user.name A; git config --global user.email a@example.org; {script}");
        if !project.is_empty() {
            lab.repo.write("envctl.toml", project);
        }
        // One that has git.
        let image = format!("oci:{}:debian", prepared().join("image").display());
        for options in [&[][..], &["--publish", "--as", &name, "--store", &lab.store.name()]] {
            let words = [&["run", "--image", &image], options, &["--", "sh", "-c", &script]].concat();
            let ran = lab.agent.envctl(words).cwd(&lab.repo.path).ok();
            let path = workspaces(&lab).into_iter().find(|path| ran.stderr.contains(&**path));
            let path = path.unwrap_or_else(|| panic!("{script}: {}", ran.stderr));
            let workspace = lab.repo.seen_by(&lab.agent, &path);
            if kept.is_empty() {
                assert_eq!(fs::read_to_string(workspace.path.join("out.mp4")).unwrap(), "x\n");
            } else {
                workspace.git(&["rev-parse", "--verify", "--quiet", kept]);
            }
        }
    }
}

#[test]
fn a_shallow_checkout_asks_its_remote() {
    let lab = Lab::new();
    lab.repo.write("more", "x");
    lab.repo.commit("second");
    lab.repo.push();
    let shallow = lab.repo.clone_to("shallow", &["--depth=1"]);
    let ran = run(&lab, &[], "cat more").cwd(&shallow.path).ok();
    assert_eq!(ran.stdout, "x");
}

#[test]
fn it_is_collected_where_the_caller_wants_it() {
    let lab = Lab::new();
    lab.repo.write("envctl.toml", "[artifacts]\ncollect = [{ path = \"build/**/*.xml\", type = \"test-results\" }]\n");
    lab.repo.write(".gitignore", "build/\n");
    let output = lab.agent.path("out");
    let script = "mkdir -p build/unit; echo '<x/>' >build/unit/a.xml; echo printed; touch /home/dev/outside";
    run(&lab, &["--output", output.to_str().unwrap()], script).ok();
    assert_eq!(fs::read_to_string(output.join("build/unit/a.xml")).unwrap(), "<x/>\n");
    assert_eq!(fs::read_to_string(output.join("run.log")).unwrap(), "printed\n");
    assert_eq!(fs::read_to_string(output.join("outside-workspace.txt")).unwrap(), "/home/dev/outside\n");
    let costs = fs::read_to_string(output.join("costs.jsonl")).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&costs).unwrap()["wall_ms"].as_u64().is_some(), "{costs}");
    run(&lab, &["--output", output.to_str().unwrap()], "true").code(125).says(&["is not an empty folder"]);
}

#[test]
fn it_is_published_only_under_a_name() {
    let lab = Lab::new();
    let store = lab.store.name();
    run(&lab, &["--publish", "--store", &store], "true").code(125).says(&["--as TASK-ID"]);
    assert!(lab.store.tags().is_empty());
    let ran = run(&lab, &["--publish", "--as", "t", "--store", &store], "echo made >made; exit 1").code(1);
    assert!(ran.stderr.contains("Published"), "{}", ran.stderr);
    let task = lab.store.reference("t");
    assert_eq!(super::show(&lab, &task)["identity"]["handoff"]["status"], "needs-human");
    assert_eq!(workspaces(&lab), Vec::<String>::new(), "what is published is safe");
    let path = lab.dev.envctl(["enter", &task, "--no-runtime"]).ok().stdout;
    assert_eq!(fs::read_to_string(format!("{}/made", path.trim())).unwrap(), "made\n");
}

#[test]
fn what_a_project_asks_for_is_agreed_to_before_anything_is_made() {
    let lab = Lab::new();
    lab.repo.write("envctl.toml", "[runtime]\nnetwork = \"host\"\n");
    let refused = run(&lab, &[], "true").code(125).says(&["host's network", "approve --digest"]);
    assert!(!refused.stderr.contains("@sha256:"), "{}", refused.stderr);
    assert_eq!(workspaces(&lab), Vec::<String>::new());
    run(&lab, &["--network", "isolated"], "true").ok();
    let digest = refused.stderr.split("--digest ").nth(1).unwrap().split_whitespace().next().unwrap();
    lab.agent.envctl(["approve", "--digest", digest]).ok();
    run(&lab, &[], "true").ok();
}

#[test]
fn a_failed_start_leaves_no_copy() {
    let lab = Lab::new();
    let nowhere = ["--publish", "--as", "t", "--store", "oci:/proc/no-such-store"];
    let ran = run(&lab, &nowhere, "echo it ran").code(125);
    assert_eq!((ran.stdout.as_str(), workspaces(&lab)), ("", Vec::new()));
    let bare = ["run", "--image", "oci:/no-such-folder:x", "--", "true"];
    lab.agent.envctl(bare).cwd(&lab.repo.path).code(125);
    lab.agent.envctl(["run", "--", "true"]).cwd(&lab.repo.path).code(125).says(&["which image"]);
    assert_eq!(workspaces(&lab), Vec::<String>::new());
    lab.agent.envctl(["status"]).ok();
}

#[test]
fn two_at_once_do_not_meet() {
    let lab = Lab::new();
    let image = lab.images.add("here", &ImageBuilder::busybox()).reference;
    let start = || {
        let script = "echo ready; read line; test ! -e mine; touch mine; exit 6";
        lab.agent.envctl(["run", "--image", &image, "--", "sh", "-c", script]).cwd(&lab.repo.path).spawn()
    };
    let mut both = [start(), start()];
    for child in &mut both {
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    }
    for mut child in both {
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(6));
    }
    assert_eq!(workspaces(&lab).len(), 2);
}

#[test]
fn inside_a_workspace_it_goes_on_from_there() {
    let lab = Lab::new();
    let task = super::task(&lab);
    let path = lab.dev.envctl(["enter", &task, "--no-runtime"]).ok().stdout;
    let path = path.trim();
    fs::write(format!("{path}/mine"), "human\n").unwrap();
    let run = |script: &str| lab.dev.envctl(["run", "--publish", "--", "sh", "-c", script]).cwd(path);
    run("cat mine; echo made >made").ok();
    let now = super::show(&lab, &task);
    assert!(now["identity"]["parent"].as_str().is_some(), "{now}");
    assert!(!std::path::Path::new(path).join("made").exists(), "it ran in a copy");
    // What this workspace lacks is not gone over from here.
    run("true").ok().says(&["which this checkout has not seen"]);
    let then = super::show(&lab, &task);
    assert_eq!((&then["digest"], then["beside"].as_array().unwrap().len()), (&now["digest"], 1));
}

#[test]
fn a_run_that_is_killed_loses_nothing() {
    let lab = Lab::new();
    let image = lab.images.add("here", &ImageBuilder::busybox()).reference;
    let script = "echo made >made; echo ready; sleep 1000";
    let words = ["run", "--image", &image, "--", "sh", "-c", script];
    let mut child = lab.agent.envctl(words).cwd(&lab.repo.path).spawn();
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // The kernel takes a moment to end what it ran.
    until("it is reaped", || lab.agent.envctl(["gc"]).ok().stderr.contains("Reaped"));
    let kept = workspaces(&lab);
    assert_eq!(fs::read_to_string(format!("{}/made", kept[0])).unwrap(), "made\n");
    let logs: Vec<_> = fs::read_dir(lab.agent.state().join("logs")).unwrap().flatten().collect();
    assert_eq!(fs::read_to_string(logs[0].path()).unwrap(), "ready\n", "its words are kept, too");
    assert_eq!(fs::read_dir(lab.agent.state().join("tmp")).unwrap().count(), 0);
}

#[test]
fn caches_are_made_once_for_all_runs_of_a_project() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    lab.repo.write(".gitignore", "deps\n");
    let setup = "mkdir -p deps; cat /proc/sys/kernel/random/uuid >deps/made";
    let cache = format!("[[cache]]\nname = \"deps\"\ninputs = [\"lock\"]\npath = \"deps\"\nsetup = \"{setup}\"\n");
    lab.repo.write("envctl.toml", cache);
    let first = run(&lab, &[], "cat deps/made; echo poison >deps/made").ok().stdout;
    lab.repo.write("another", "file");
    assert_eq!(run(&lab, &[], "cat deps/made").ok().stdout, first);
    // Each group of a batch has it, too.
    lab.agent.write("batch", "cat deps/made; echo x >deps/made\n\ncat deps/made\n");
    let image = lab.images.add("here", &ImageBuilder::busybox()).reference;
    let words = ["run", "--image", &image, "--batch", lab.agent.path("batch").to_str().unwrap()].map(str::to_owned);
    let ran = lab.agent.envctl(words).cwd(&lab.repo.path).ok();
    assert_eq!(ran.stdout, first.repeat(2));
    assert_eq!(workspaces(&lab), Vec::<String>::new());
}
