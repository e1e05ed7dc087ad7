//! What a program inside cannot do, and what it cannot plant.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::support::{Entry, ImageBuilder, Lab, Layer, Repo};

both!(case_34_no_new_privileges_no_capabilities_a_filter);
fn case_34_no_new_privileges_no_capabilities_a_filter(lab: Lab) {
    for (user, capabilities) in [("dev", "0000000000000000"), ("0", "00000000000405fb")] {
        let program = Entry::program("suid", fs::read("/bin/busybox").unwrap()).mode(0o4755);
        let task = lab.publish(&ImageBuilder::busybox().user(user).layer(Layer::new([program])));
        let status = lab.sh(&task, "cat /proc/self/status; stat -c %a /suid");
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        assert_eq!((line("NoNewPrivs:"), line("Seccomp:")), ("1", "2"), "{status}");
        for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
            assert_eq!(line(set), capabilities, "{set} of {user}");
        }
        // Inherited by nobody, whatever the developer's own sets are.
        assert_eq!((line("CapInh:"), line("CapAmb:")), ("0000000000000000", "0000000000000000"));
        assert!(status.ends_with("\n755\n"), "{status}");
    }
}

both!(case_36_no_supplementary_group_where_there_are_several_ids);
fn case_36_no_supplementary_group_where_there_are_several_ids(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let groups = lab.sh(&task, "grep Groups: /proc/self/status");
    assert_eq!(groups.trim(), "Groups:");
}

both!(case_38_cgroups_cannot_be_written);
fn case_38_cgroups_cannot_be_written(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox().user("0"));
    let script = "find /sys -name cgroup.procs 2>/dev/null | head -n 3 | while read -r file; do
        (echo $$ >$file) 2>/dev/null && echo wrote $file; done
        (mkdir /sys/fs/cgroup/evil) 2>/dev/null && echo made; :";
    // With the host's network it is the host's /sys that is shown.
    for network in ["isolated", "host"] {
        let run = lab.dev.envctl(["enter", "--network", network, &task, "--", "sh", "-c", script]).ok();
        assert_eq!(run.stdout, "", "{network}");
    }
}

both!(what_is_mounted_in_sys_on_the_host_is_not_shown);
fn what_is_mounted_in_sys_on_the_host_is_not_shown(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox().user("0"));
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounted = table.lines().filter_map(|line| line.split(' ').nth(4).filter(|place| place.starts_with("/sys/")));
    let hidden = ["/sys/firmware", "/sys/kernel/slab", "/sys/kernel/mm/damon", "/sys/devices/virtual/powercap"];
    let all: Vec<&str> = mounted.chain(hidden).collect();
    let script = format!(
        "ls /sys/kernel | grep -q . && echo kernel; ls -A {} 2>/dev/null | grep -v '^$\\|:$'; :",
        all.join(" ")
    );
    for network in ["isolated", "host"] {
        let run = lab.dev.envctl(["enter", "--network", network, &task, "--", "sh", "-c", &script]).ok();
        // An empty folder stands where something was.
        assert_eq!(run.stdout, "kernel\n", "{network}");
    }
}

both!(namespaces_and_mounts_cannot_be_made);
fn namespaces_and_mounts_cannot_be_made(lab: Lab) {
    for user in ["dev", "0"] {
        let task = lab.publish(&ImageBuilder::busybox().user(user));
        let script = "for flag in -U -m -p -n -i -u; do unshare $flag true 2>/dev/null && echo unshared $flag; done
            mount -t tmpfs none /tmp 2>/dev/null && echo mounted; umount /tmp 2>/dev/null && echo unmounted
            hostname evil 2>/dev/null && echo named; :";
        assert_eq!(lab.sh(&task, script), "", "{user}");
    }
}

both!(case_30_the_program_itself_is_out_of_reach);
fn case_30_the_program_itself_is_out_of_reach(lab: Lab) {
    for user in ["dev", "0"] {
        let task = lab.publish(&ImageBuilder::busybox().user(user));
        let script = "cat /proc/1/exe >/dev/null 2>&1 && echo read; (echo x >/proc/1/exe) 2>/dev/null && echo wrote
            ls /proc/1/root/ 2>/dev/null; cat /proc/1/environ 2>/dev/null; cat /proc/1/mem 2>/dev/null; :";
        assert_eq!(lab.enter(&task, &["sh", "-c", script]).ok().stdout, "", "{user}");
    }
}

/// The developer's workspace of a task that was entered.
fn workspace(lab: &Lab) -> Repo {
    let path = lab.report()["workspace"].as_str().unwrap().to_owned();
    lab.repo.seen_by(&lab.dev, path)
}

both!(case_40_the_workspaces_own_git_folder_cannot_be_turned);
fn case_40_the_workspaces_own_git_folder_cannot_be_turned(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let script = "cd .git
        for file in config commondir objects/info/alternates hooks/post-checkout; do
            (echo evil >>$file) 2>/dev/null && echo wrote $file; done
        for name in config commondir hooks objects/info objects; do
            mv $name elsewhere 2>/dev/null && echo moved $name; rm -rf $name 2>/dev/null && echo removed $name; done
        cd ..; mv .git .old 2>/dev/null && echo moved git; ln -s /tmp .git/hooks/link 2>/dev/null && echo linked; :";
    assert_eq!(lab.sh(&task, script), "");
    let repo = workspace(&lab);
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
}

both!(case_40_a_prompt_in_a_workspace_obeys_nothing);
/// The prompt that git brings along puts what it reads of a rebase into what the shell
/// evaluates, as soon as somebody is in the folder.
fn case_40_a_prompt_in_a_workspace_obeys_nothing(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let script = "for git in .git n/.git; do mkdir -p $git/rebase-merge $git/refs $git/objects
        echo 'ref: refs/heads/x' >$git/HEAD.new; [ -e $git/HEAD ] || mv $git/HEAD.new $git/HEAD
        echo refs/heads/x >$git/rebase-merge/head-name; echo 5 >$git/rebase-merge/end; >$git/rebase-merge/interactive
        echo '$(touch evaluated)' >$git/rebase-merge/msgnum; done";
    let run = lab.enter(&task, &["sh", "-c", script]).ok();
    let repo = workspace(&lab);
    for git in [".git", "n/.git"] {
        let name = format!("{git}/rebase-merge/msgnum");
        assert!(run.stderr.contains(&format!("{name} was written inside and renamed")), "{}", run.stderr);
        assert!(!repo.path.join(&name).exists() && repo.path.join(git).join("rebase-merge/end").exists());
    }
}

both!(what_others_were_allowed_in_a_workspace_is_taken_back);
/// Another account could lay a configuration there, which git on the host would obey.
fn what_others_were_allowed_in_a_workspace_is_taken_back(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    lab.enter(&task, &["true"]).ok();
    let repo = workspace(&lab);
    let modes = || [".", ".git", ".git/refs"].map(|name| fs::metadata(repo.path.join(name)).unwrap().mode() & 0o777);
    let before = modes();
    let run = lab.enter(&task, &["chmod", "777", ".", ".git", ".git/refs"]).ok();
    assert_eq!(modes(), before);
    assert!(run.stderr.contains("other accounts could write to it, and cannot any more"), "{}", run.stderr);
}

both!(where_others_get_at_a_workspace_they_cannot_write_to_it_after_a_run);
/// With `--into` it may lie in a folder that all can pass.
fn where_others_get_at_a_workspace_they_cannot_write_to_it_after_a_run(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let place = lab.dev.path("place");
    let into = place.to_str().unwrap();
    lab.dev.envctl(["enter", "--into", into, &task, "--", "sh", "-c", "mkdir -p a/b; echo x >a/b/file"]).ok();
    let script = "chmod 777 a a/b .git/refs; chmod 666 a/b/file .git/HEAD .git/index; chmod 711 .";
    let run = lab.dev.envctl(["enter", &task, "--", "sh", "-c", script]).ok();
    let mode = |path: &str| fs::metadata(place.join(path)).unwrap().mode() & 0o022;
    for path in ["a", "a/b", ".git/refs", "a/b/file", ".git/HEAD", ".git/index"] {
        assert_eq!(mode(path), 0, "{path}: {}", run.stderr);
    }
    assert!(run.stderr.contains("and cannot any more"), "{}", run.stderr);
}

both!(case_40_a_planted_repository_is_put_out_of_gits_way);
fn case_40_a_planted_repository_is_put_out_of_gits_way(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    lab.sh(&task, "true");
    let repo = workspace(&lab);
    // The developer's own stays as it is.
    repo.git(&["init", "--quiet", "mine"]);
    repo.git(&["-C", "mine", "config", "alias.st", "status"]);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let script = "mkdir -p sub/.git/objects sub/.git/refs sub/.git/hooks bare/objects bare/refs
        printf '[core]\\n\\trepositoryformatversion = 0\\n\\tfsmonitor = touch /tmp/evil\\n' | tee sub/.git/config >bare/config
        # In one step: what lies there may be put out of the way at once.
        echo '#!/bin/sh' >sub/hook; chmod +x sub/hook; mv sub/hook sub/.git/hooks/post-checkout
        echo 'ref: refs/heads/main' | tee sub/.git/HEAD >bare/HEAD";
    let run = lab.enter(&task, &["sh", "-euc", script]).ok();
    for planted in ["sub/.git/config", "sub/.git/hooks", "bare/config"] {
        assert!(run.stderr.contains(&format!("{planted} was written inside and renamed")), "{}", run.stderr);
        assert!(!repo.path.join(planted).exists(), "{planted}");
        assert!(repo.path.join(format!("{planted}.envctl-quarantine")).exists(), "nothing is lost");
    }
    assert_eq!(repo.git(&["-C", "mine", "config", "alias.st"]), "status");
}

both!(case_40_what_a_killed_owner_left_is_found_by_the_next_command);
/// An owner that is killed cannot look; the next command does.
fn case_40_what_a_killed_owner_left_is_found_by_the_next_command(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let plant = "mkdir -p sub/.git/objects sub/.git/refs; echo x >sub/.git/HEAD
        printf '[core]\\n\\thooksPath = /tmp\\n' >sub/.git/config";
    let alive = crate::support::Alive::start(&lab, &task, "");
    // An owner that lives looks at what appears.
    let owner = alive.owner.id().to_string();
    assert!(std::process::Command::new("kill").args(["-STOP", &owner]).status().unwrap().success());
    lab.dev.envctl(["exec", &task, "--", "sh", "-c", plant]).ok();
    alive.kill_owner().assert_gone();
    let run = lab.dev.envctl(["status"]).ok();
    assert!(run.stderr.contains("sub/.git/config was written inside"), "{}", run.stderr);
}

#[test]
fn commits_made_inside_carry_the_developers_name() {
    // Their own git configuration names them; nothing else of it is inside.
    let lab = Lab::new();
    lab.dev.write("home/.gitconfig", "[user]\n\tname = Dev Eloper\n\temail = dev@example.org\n[alias]\n\tx = y\n");
    let task = lab.publish(&ImageBuilder::busybox());
    let enter = lab.dev.envctl(["enter", &task, "--", "cat", ".git/config"]);
    let config = enter.env("GIT_CONFIG_GLOBAL", lab.dev.path("home/.gitconfig")).ok().stdout;
    assert!(config.contains("name = Dev Eloper") && config.contains("email = dev@example.org"), "{config}");
    assert!(!config.contains("alias"), "{config}");
}
