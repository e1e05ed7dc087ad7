//! What a project asks for takes effect with the developer's word alone.

use crate::evidence::Shop;
use crate::support::{ImageBuilder, Lab, RealRegistry, Terminal, copy};

/// A task whose project asks for this.
fn asking(lab: &Lab, project: &str) -> String {
    lab.repo.write("envctl.toml", project);
    lab.publish(&ImageBuilder::busybox())
}

/// The digest that a refused command prints.
fn digest(lab: &Lab, task: &str) -> String {
    let run = lab.enter(task, &["true"]).code(125).says(&["error:", "not approved", "envctl approve"]);
    assert_eq!(lab.report()["error"]["kind"], "policy");
    run.stderr.split("--digest ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

both!(nothing_happens_without_it);
fn nothing_happens_without_it(lab: Lab) {
    for project in [
        "[runtime]\nnetwork = \"host\"\n",
        "[runtime]\nnetwork = \"private\"\n",
        "[runtime]\nports = [\"3000=\"]\n",
        "[runtime]\nsecrets = [\"TOKEN\"]\n",
    ] {
        let task = asking(&lab, project);
        digest(&lab, &task);
        // Confirming questions is not approving.
        lab.dev.envctl(["enter", "--yes", &task, "--", "true"]).code(125).says(&["not approved"]);
        lab.dev.envctl(["enter", "--detach", &task]).code(6).says(&["not approved"]);
        lab.assert_baseline();
    }
    // A port of the host that is free for the taking, or the developer's own
    // word, needs none.
    let task = asking(&lab, "[runtime]\nports = [3000]\n");
    lab.enter(&task, &["true"]).ok();
    let task = asking(&lab, "[runtime]\nnetwork = \"host\"\n");
    lab.dev.envctl(["enter", "--network", "isolated", &task, "--", "true"]).ok();
    lab.dev.envctl(["enter", "--network", "host", &task, "--", "true"]).ok();
}

#[test]
fn it_is_for_the_content() {
    let lab = Lab::new();
    let task = asking(&lab, "[runtime]\nnetwork = \"host\"\n");
    let first = digest(&lab, &task);
    lab.dev.envctl(["approve", "--digest", &first]).ok();
    lab.enter(&task, &["true"]).ok();
    // More than was agreed to.
    let more = asking(&lab, "[runtime]\nnetwork = \"host\"\nports = [\"3000=\"]\n");
    let second = digest(&lab, &more);
    assert_ne!(first, second);
    lab.enter(&task, &["true"]).ok();
    let listed = lab.dev.envctl(["approve", "--list"]).ok().stdout;
    assert!(listed.contains(&first) && !listed.contains(&second), "{listed}");
    lab.dev.envctl(["approve", "--revoke", &first[..15]]).ok();
    digest(&lab, &task);
    lab.dev.envctl(["approve", "--revoke", &first]).code(3).says(&["nothing that was approved"]);
    // A program inside can ask for more, and gets nothing by it.
    let plain = asking(&lab, "");
    lab.sh(&plain, "printf '[runtime]\\nnetwork = \"host\"\\n' >envctl.toml");
    digest(&lab, &plain);
}

/// Whoever writes to a store chooses the image and the code that get it.
#[test]
fn it_is_for_the_store() {
    let lab = Lab::new();
    let task = asking(&lab, "[runtime]\nsecrets = [\"TOKEN:env\"]\n");
    lab.dev.write("config/envctl/config.toml", "[secrets]\nTOKEN = \"env:TOKEN\"\n");
    lab.dev.envctl(["approve", "--digest", &digest(&lab, &task)]).ok();
    let enter =
        |task: &str| lab.dev.envctl(["enter", task, "--", "sh", "-c", "echo $TOKEN"]).env("TOKEN", "hunter2-value");
    assert_eq!(enter(&task).ok().stdout, "hunter2-value\n");
    let other = lab.store.path.with_file_name("other-store");
    copy(&lab.store.path, &other);
    let (_, name) = task.rsplit_once(':').unwrap();
    enter(&format!("oci:{}:{name}", other.display())).code(125).says(&["not approved", "other-store"]);
}

#[test]
fn at_a_terminal_it_is_asked_once_and_what_is_new_is_marked() {
    let lab = Lab::new();
    let task = asking(&lab, "[runtime]\nports = [\"39871=\"]\n");
    let mut terminal = Terminal::open(&lab.dev, &["enter", &task], (24, 100));
    terminal.sees("the fixed port 39871=39871");
    terminal.sees("[y/N]");
    terminal.types("n");
    terminal.sees("Go on without all of this?");
    terminal.sees("[y/N]");
    terminal.types("n");
    assert_eq!(terminal.ends(), Some(125));
    // To go on without it is an answer, and agrees to nothing.
    let mut terminal = Terminal::open(&lab.dev, &["enter", &task], (24, 100));
    terminal.sees("[y/N]");
    terminal.types("n");
    terminal.sees("Go on without all of this?");
    terminal.sees("[y/N]");
    terminal.types("y");
    terminal.sees("the fixed port 39871=39871");
    terminal.sees("$ ");
    terminal.types("exit\r");
    assert_eq!(terminal.ends(), Some(0));
    let mut terminal = Terminal::open(&lab.dev, &["enter", &task], (24, 100));
    terminal.sees("[y/N]");
    terminal.types("y\r");
    terminal.sees("$ ");
    terminal.types("exit\r");
    assert_eq!(terminal.ends(), Some(0));
    lab.enter(&task, &["true"]).ok();
    let task = asking(&lab, "[runtime]\nports = [\"39871=\"]\nnetwork = \"host\"\n");
    lab.dev.envctl(["enter", &task, "--no-runtime"]).ok();
    let mut terminal = Terminal::open(&lab.dev, &["approve", &task], (24, 100));
    terminal.sees("the host's network, with everything that listens on this machine (new)");
    terminal.sees("[y/N]");
    terminal.types("y\r");
    terminal.sees("approved");
    assert_eq!(terminal.ends(), Some(0));
    lab.enter(&task, &["true"]).ok();
}

#[test]
fn scripts_go_on_without_it() {
    let lab = Lab::new();
    let project = "[runtime]\nnetwork = \"host\"\nsecrets = [\"TOKEN\"]\nports = [\"39872=\", 3000]\n\
                   [[cache]]\nname = \"deps\"\npath = \"deps\"\nsetup = \"echo x >deps/x\"\nnetwork = \"host\"\n";
    let task = asking(&lab, project);
    let name = digest(&lab, &task);
    let without = |script: &str| lab.dev.envctl(["enter", "--without-approvals", &task, "--", "sh", "-c", script]);
    let bare = "test ! -e /run/secrets/TOKEN && test ! -e deps/x && test -z \"$TOKEN\"";
    let run = without(bare).ok();
    for what in ["Without", "the host's network", "the secret TOKEN", "the fixed port 39872", "isolated network"] {
        assert!(run.stderr.contains(what), "{what}: {}", run.stderr);
    }
    assert!(run.stderr.contains("3000 inside") && run.stderr.contains("39872 inside"), "{}", run.stderr);
    digest(&lab, &task);
    // What was agreed to is not left out.
    lab.dev.envctl(["approve", "--digest", &name]).ok();
    lab.dev.write("config/envctl/config.toml", "[secrets]\nTOKEN = \"env:GIVEN\"\n");
    let run = without("test -e deps/x").env("GIVEN", "a-value-of-its-own").run();
    assert!(!run.stderr.contains("Without"), "{}", run.stderr);
    lab.assert_baseline();
}

/// Whoever writes to a registry could name any repository of this machine.
#[test]
fn a_folder_of_this_machine_that_a_registry_names() {
    let registry = RealRegistry::start();
    let shop = Shop::at(registry.repository("acme/tasks"));
    shop.publishing("t").ok();
    let dev = &shop.trip.lab.dev;
    std::fs::remove_file(dev.path("config/envctl/approvals.toml")).unwrap();
    let (task, url) = (shop.reference("t"), shop.trip.lab.repo.url());
    let enter = || shop.dev(["enter", &task, "--no-runtime"]);
    enter().code(6).says(&["a folder of this machine", &format!("envctl approve --host {url}")]);
    shop.dev(["approve", "--host", &url]).ok();
    enter().ok();
}

/// The address is the task's: git would go there with the developer's own keys.
#[test]
fn a_host_of_repositories_that_is_new() {
    let lab = Lab::new();
    lab.repo.git(&["remote", "set-url", "origin", "ssh://git@nowhere.invalid:22/shop.git"]);
    let task = lab.publish(&ImageBuilder::busybox());
    let enter = || lab.dev.envctl(["enter", &task, "--no-runtime"]);
    enter().code(6).says(&["nowhere.invalid", "envctl approve --host"]);
    lab.dev.envctl(["approve", "--host", "nowhere.invalid:22"]).ok();
    // Now it is asked, in vain.
    enter().env("GIT_SSH_COMMAND", "false").code(7);
    lab.dev.envctl(["approve", "--revoke", "nowhere.invalid:22"]).ok();
    enter().code(6);
    // Without TLS it could be anybody.
    lab.dev.envctl(["approve", "--host", "localhost:1"]).ok();
    lab.repo.git(&["remote", "set-url", "origin", "http://localhost:1/shop.git"]);
    let plain = lab.publish(&ImageBuilder::busybox());
    lab.dev.envctl(["enter", &plain, "--no-runtime"]).code(6).says(&["envctl approve --host http://localhost:1"]);
    // A rule of the developer's own is their word.
    let url = lab.repo.url();
    let rule = format!("[[url]]\nfrom = \"ssh://git@nowhere.invalid:22/shop.git\"\nto = \"{url}\"\n");
    lab.dev.write("config/envctl/config.toml", rule);
    enter().ok();
}

/// Whoever writes to another store chooses what else the build is given.
#[test]
fn a_build_that_was_agreed_to_for_one_store_is_not_for_another() {
    let lab = Lab::new();
    lab.repo.write("Dockerfile", "FROM scratch\n");
    lab.repo.write("envctl.toml", "[toolchain]\nbuild = { secrets = [\"TOKEN\"] }\n");
    let image = lab.images.add("base", &ImageBuilder::busybox()).reference;
    let other = format!("oci:{}", lab.agent.path("other").display());
    lab.dev.write("config/envctl/config.toml", "[secrets]\nTOKEN = \"env:TOKEN\"\n");
    let into = lab.dev.path("into").display().to_string();
    let aside = std::cell::Cell::new(0);
    let build = |store: &str| {
        lab.agent.envctl(["publish", "t", "--store", store, "--image", &image]).cwd(&lab.repo.path).ok();
        aside.set(aside.get() + 1);
        let _ = std::fs::rename(&into, lab.dev.path(format!("aside-{}", aside.get())));
        lab.dev.envctl(["enter", &format!("{store}:t"), "--no-runtime", "--into", &into]).ok();
        let publish = lab.dev.envctl(["publish", "--build"]).cwd(&into);
        publish.env("TOKEN", "x").env("DOCKER_HOST", "unix:///nowhere").run()
    };
    let run = build(&lab.store.name()).code(6).says(&["the secret TOKEN for the build of Dockerfile"]);
    let digest = run.stderr.split("--digest ").nth(1).unwrap().split([' ', ',']).next().unwrap().trim().to_owned();
    lab.dev.envctl(["approve", "--digest", &digest]).ok();
    let run = build(&lab.store.name());
    assert!(!run.stderr.contains("not approved"), "{run:?}");
    build(&other).code(6).says(&["the secret TOKEN for the build of Dockerfile", "other"]);
}
