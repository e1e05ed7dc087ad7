//! What lies under `examples/` works as it is.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Call, Home, ImageBuilder, Lab};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A person who has envctl on the PATH and knows the store.
fn with_envctl(lab: &Lab, home: &Home, call: Call) -> Call {
    let folder = home.binary().parent().unwrap().display().to_string();
    call.env("PATH", format!("{folder}:/usr/bin:/bin")).env("ENVCTL_STORE", lab.store.name())
}

fn handoff(lab: &Lab, shell: &str) -> Call {
    let script = ". \"$0\"; en-handoff";
    with_envctl(lab, &lab.dev, lab.dev.call(shell, ["-c", script, &format!("{ROOT}/examples/aliases.sh")]))
}

#[test]
fn an_agent_s_wrapper_and_a_developer_s_aliases() {
    let lab = Lab::new();
    let image = lab.images.add("image", &ImageBuilder::busybox()).reference;
    handoff(&lab, "bash").code(3).says(&["no task waits"]);
    let wrapper = |task: &str, command: &[&str]| {
        let call = lab.agent.call(format!("{ROOT}/examples/agent-wrapper"), [task]).args(command).cwd(&lab.repo.path);
        with_envctl(&lab, &lab.agent, call).env("ENVCTL_IMAGE", &image)
    };
    lab.repo.write("check.sh", "#!/bin/sh\necho \"checking $*\"; exit 7\n");
    fs::set_permissions(lab.repo.path.join("check.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    // Nothing is published when nothing fails.
    wrapper("fine", &["true"]).ok();
    handoff(&lab, "bash").code(3);
    let run = wrapper("stuck", &["./check.sh", "all"]).code(7);
    assert!(run.stdout.contains(&format!("envctl enter {}", lab.store.reference("stuck"))), "{}", run.stdout);
    let shown = lab.dev.envctl(["show", &lab.store.reference("stuck"), "--json"]).ok().json();
    assert_eq!(shown["identity"]["handoff"]["status"], "needs-human");
    assert_eq!(shown["identity"]["handoff"]["command"], "./check.sh all");
    let run = handoff(&lab, "bash").code(7);
    assert_eq!(run.stdout, "checking all\n");
    assert!(run.stderr.contains("baseline   yes"), "{}", run.stderr);
    lab.assert_baseline();
    // The newest of several.
    lab.repo.write("check.sh", "#!/bin/sh\necho newer; exit 3\n");
    wrapper("newer", &["./check.sh"]).code(3);
    assert_eq!(handoff(&lab, "bash").code(3).stdout, "newer\n");
}

#[test]
fn a_pull_request_is_sealed_and_a_protected_branch_gives_to_all() {
    let lab = Lab::new();
    let image = lab.images.add("image", &ImageBuilder::busybox()).reference;
    let setup = "cat /proc/sys/kernel/random/uuid > deps/id";
    lab.repo.write("envctl.toml", format!("[[cache]]\nname = \"deps\"\npath = \"deps\"\nsetup = \"{setup}\"\n"));
    lab.repo.write(".gitignore", "deps\n");
    lab.repo.commit("settings");
    lab.repo.push();
    let seal = |task: &str, protected: &str| {
        let call = lab.agent.call(format!("{ROOT}/examples/seal-on-pull-request"), [task]).cwd(&lab.repo.path);
        with_envctl(&lab, &lab.agent, call).env("ENVCTL_IMAGE", &image).env("PROTECTED", protected).ok()
    };
    seal("pr-1", "").says(&["Pushed", "(task scope)"]);
    let task = |task: &str| lab.store.reference(task);
    let first = lab.sh(&task("pr-1"), "cat deps/id");
    assert_eq!(lab.report()["caches"][0]["found"], "fetched");
    seal("pr-1", "");
    seal("main", "1").says(&["Pushed", "(project scope)"]);
    seal("pr-2", "");
    let given = lab.sh(&task("pr-2"), "cat deps/id");
    assert_ne!(given, first);
    assert_eq!(lab.report()["caches"][0]["scope"], "project");
}
