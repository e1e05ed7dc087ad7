//! The main road through a real registry, and roads between the two kinds of
//! store.

use crate::support::{Facts, Home, ImageBuilder, Lab, Layout, RealRegistry};

/// Publishes the lab's checkout to a registry; what `enter` takes.
fn publish(lab: &Lab, store: &str, image: &str, task: &str) -> String {
    let args = ["publish", task, "--store", store, "--image", image, "--status", "needs-human"];
    let run = lab.agent.envctl(args).cwd(&lab.repo.path).ok();
    let reference = format!("{store}:{task}");
    assert_eq!(run.stdout, format!("envctl enter {reference}\n"));
    reference
}

fn busy(lab: &Lab) {
    lab.repo.write("committed", "c");
    lab.repo.commit("never pushed");
    lab.repo.write("staged", "s");
    lab.repo.git(&["add", "staged"]);
    lab.repo.write("README", "changed\n");
    lab.repo.write("untracked", "u");
}

#[test]
fn the_main_road() {
    let registry = RealRegistry::start();
    for (name, lab) in [("root", Lab::new()), ("user", Lab::unprivileged())] {
        busy(&lab);
        let store = registry.repository(&format!("acme/{name}"));
        let image = lab.images.add("image", &ImageBuilder::busybox()).reference;
        let task = publish(&lab, &store, &image, "task-1");
        assert_eq!(lab.sh(&task, "cat README; echo $ENVCTL_TASK"), "changed\ntask-1\n");
        let workspace = lab.repo.seen_by(&lab.dev, lab.report()["workspace"].as_str().unwrap());
        Facts::of(&lab.repo).assert_same(&Facts::of(&workspace));
        assert_eq!(lab.report()["receipt"]["baseline"], true);
        let rows = lab.dev.envctl(["tasks", "--store", &store, "--json"]).ok().json();
        assert_eq!(rows["tasks"].as_array().unwrap().len(), 1, "{rows}");
        assert_eq!(rows["tasks"][0]["status"], "needs-human");
        let shown = lab.dev.envctl(["show", &task, "--json"]).ok().json();
        assert_eq!(shown["here"]["warm"], true, "{shown}");
        // Published again, it has a parent; the developer stays where they are.
        lab.repo.write("more", "m");
        publish(&lab, &store, &image, "task-1");
        let again = lab.dev.envctl(["show", &task, "--json"]).ok().json();
        assert_eq!(again["identity"]["parent"], shown["digest"]);
        assert_eq!(lab.sh(&task, "ls more 2>/dev/null || echo none"), "none\n");
        let exact = format!("{store}@{}", shown["digest"].as_str().unwrap());
        assert_eq!(lab.sh(&exact, "cat untracked"), "u");
        let other = if lab.dev.is_unprivileged() { Home::unprivileged() } else { Home::new() };
        assert_eq!(lab.with_developer(other).sh(&task, "cat more"), "m");
    }
    registry.stop();
}

#[test]
fn warm_needs_no_registry() {
    let registry = RealRegistry::start();
    let lab = Lab::new();
    let image = lab.images.add("image", &ImageBuilder::busybox()).reference;
    let task = publish(&lab, &registry.repository("acme/x"), &image, "task-1");
    lab.sh(&task, "true");
    registry.stop();
    assert_eq!(lab.sh(&task, "echo warm"), "warm\n");
    let json = lab.dev.envctl(["tasks", "--store", task.rsplit_once(':').unwrap().0, "--json"]).code(7).json();
    assert_eq!(json["error"]["kind"], "unreachable");
}

#[test]
fn an_image_on_a_registry() {
    let registry = RealRegistry::start();
    let lab = Lab::new();
    let local = lab.images.add("image", &ImageBuilder::busybox()).reference;
    let remote = registry.repository("acme/image");
    let to = format!("docker://{remote}:v1");
    lab.agent.call("skopeo", ["copy", "--insecure-policy", "--dest-tls-verify=false", &local, &to]).ok();
    // Another registry than that of the store: one word for it, remembered.
    lab.dev.envctl(["approve", "--host", &registry.host]).ok();
    // Wherever the task is kept: the identity names the image's own place.
    for store in [lab.store.name(), registry.repository("acme/tasks")] {
        let task = publish(&lab, &store, &format!("{remote}:v1"), "task-1");
        let shown = lab.dev.envctl(["show", &task, "--json"]).ok().json();
        let pinned = shown["identity"]["toolchain"]["image"].as_str().unwrap();
        assert!(pinned.starts_with(&format!("{remote}@sha256:")), "{pinned}");
        assert_eq!(shown["identity"]["toolchain"]["pinned"], "at-publish");
        assert_eq!(lab.sh(&task, "echo $FLAVOUR"), "busybox\n");
        let task = publish(&lab, &store, pinned, "task-2");
        assert_eq!(lab.sh(&task, "echo $FLAVOUR"), "busybox\n");
    }
    let missing = ["publish", "t", "--store", &lab.store.name(), "--image", &format!("{remote}:v2")];
    lab.agent.envctl(missing).cwd(&lab.repo.path).code(3).says(&["no image v2", &remote]);
    let missing = ["publish", "t", "--store", &lab.store.name(), "--image", &registry.repository("acme/none:v2")];
    lab.agent.envctl(missing).cwd(&lab.repo.path).code(3).says(&["no image v2"]);
}

/// All tags of a task's store, copied by somebody else's tool.
fn copy(lab: &Lab, tags: &[String], from: impl Fn(&str) -> String, to: impl Fn(&str) -> String) {
    for tag in tags {
        let options = [
            "copy",
            "--all",
            "--preserve-digests",
            "--insecure-policy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
        ];
        let options = options.map(str::to_owned).into_iter().chain([from(tag), to(tag)]);
        lab.agent.call("skopeo", options).ok();
    }
}

#[test]
fn skopeo_carries_tasks_both_ways() {
    let registry = RealRegistry::start();
    let lab = Lab::new();
    busy(&lab);
    let image = lab.images.add("image", &ImageBuilder::busybox()).reference;

    // From a folder to a registry.
    publish(&lab, &lab.store.name(), &image, "task-1");
    let there = registry.repository("acme/copied");
    let docker = |repository: &str| {
        let repository = repository.to_owned();
        move |tag: &str| format!("docker://{repository}:{tag}")
    };
    copy(&lab, &lab.store.tags(), |tag| lab.store.reference(tag), docker(&there));
    let one = lab.with_developer(Home::new());
    assert_eq!(one.sh(&format!("{there}:task-1"), "cat untracked"), "u");

    // From a registry to a folder.
    let home = registry.repository("acme/home");
    publish(&lab, &home, &image, "task-2");
    let folder = Layout::of(&lab.agent, "back");
    let tags = lab.agent.call("skopeo", ["list-tags", "--tls-verify=false", &format!("docker://{home}")]).ok().json();
    let tags: Vec<String> = tags["Tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().into()).collect();
    assert_eq!(tags.len(), 3, "{tags:?}");
    copy(&lab, &tags, docker(&home), |tag| folder.reference(tag));
    let two = lab.with_developer(Home::new());
    assert_eq!(two.sh(&folder.reference("task-2"), "cat untracked"), "u");
    let workspace = two.repo.seen_by(&two.dev, two.report()["workspace"].as_str().unwrap());
    Facts::of(&lab.repo).assert_same(&Facts::of(&workspace));
}

#[test]
fn the_loser_of_a_race_is_told() {
    let registry = RealRegistry::start();
    let lab = Lab::new();
    let store = registry.repository("acme/race");
    let image = lab.images.add("image", &ImageBuilder::busybox()).reference;
    publish(&lab, &store, &image, "task-1");
    let before = lab.dev.envctl(["show", &format!("{store}:task-1"), "--json"]).ok().json();
    // Many at once: whoever did not win says so, and is reachable.
    let runs: Vec<_> = (0..6)
        .map(|n| {
            let message = format!("publisher {n}");
            let args = ["publish", "task-1", "--store", &store, "--image", &image, "--message", &message];
            lab.agent.envctl(args).cwd(&lab.repo.path).spawn()
        })
        .collect();
    let mut codes = Vec::new();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        let code = output.status.code();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(code == Some(0) || (code == Some(1) && said.contains("another publish moved")), "{code:?}: {said}");
        codes.push(code);
        if let Some((_, rest)) = said.split_once("reachable as ") {
            let exact = rest.split(';').next().unwrap();
            lab.dev.envctl(["show", exact]).ok();
        }
    }
    assert!(codes.contains(&Some(0)), "{codes:?}");
    let after = lab.dev.envctl(["show", &format!("{store}:task-1"), "--json"]).ok().json();
    assert_ne!(after["digest"], before["digest"]);
}
