//! Registries that content leads to are asked with the developer's word alone.

use serde_json::json;

use crate::support::{Answer, Entry, Home, ImageBuilder, Lab, Layer, Liar, Terminal};

/// A registry with the tasks of a lab, which wants a password.
fn registry(lab: &Lab) -> Liar {
    Liar::over(&lab.store, |asked, answer| {
        if asked.headers.get("authorization").map(String::as_str) == Some("Basic dTpw") {
            return answer;
        }
        Answer::new(401, "{}").header("WWW-Authenticate", "Basic realm=\"x\"")
    })
}

fn login(home: &Home, liar: &Liar) {
    home.write("home/.docker/config.json", json!({ "auths": { liar.host.as_str(): { "auth": "dTpw" } } }).to_string());
}

/// A task in a folder whose image is on a registry of its own.
fn with_image_elsewhere(lab: &Lab) -> (String, Liar) {
    let image = lab.images.add("dev", &ImageBuilder::busybox());
    let elsewhere = Liar::over(&lab.images, |asked, answer| {
        if asked.headers.get("authorization").map(String::as_str) == Some("Basic dTpw") {
            return answer;
        }
        Answer::new(401, "{}").header("WWW-Authenticate", "Basic realm=\"x\"")
    });
    login(&lab.agent, &elsewhere);
    login(&lab.dev, &elsewhere);
    let name = format!("{}@{}", elsewhere.store(), image.digest);
    let args = ["publish", "t", "--store", &lab.store.name(), "--image", &name, "--status", "needs-human"];
    lab.agent.envctl(args).cwd(&lab.repo.path).ok();
    (lab.store.reference("t"), elsewhere)
}

both!(the_image_of_a_task_is_not_asked_for_at_a_registry_that_nobody_approved);
fn the_image_of_a_task_is_not_asked_for_at_a_registry_that_nobody_approved(lab: Lab) {
    let (task, elsewhere) = with_image_elsewhere(&lab);
    let before = elsewhere.asked().len();
    let says = ["the image of the task", "not approved", &format!("envctl approve --host oci://{}", elsewhere.host)];
    lab.enter(&task, &["true"]).code(125).says(&says);
    assert_eq!(lab.report()["error"]["kind"], "policy");
    lab.dev.envctl(["--yes", "enter", &task, "--", "true"]).code(125).says(&says);
    lab.dev.envctl(["prefetch", &task]).code(6).says(&says);
    lab.dev.envctl(["run", &task, "--", "true"]).code(125).says(&says);
    // A plan asks nobody, and says so.
    lab.dev.envctl(["enter", "--dry-run", &task]).ok().says(&["is not approved"]);
    let watch = ["prefetch", "--watch", "--rounds", "1", "--store", &lab.store.name()];
    lab.dev.envctl(watch).ok().says(&["not approved"]);
    // Nor where somebody could be asked: a watch has nobody there.
    let mut terminal = Terminal::open(&lab.dev, &watch, (24, 80));
    terminal.sees("not approved");
    assert_eq!(terminal.ends(), Some(0));
    assert_eq!(elsewhere.asked().len(), before, "{:?}", elsewhere.asked());
    // One word, remembered.
    lab.dev.envctl(["approve", "--host", &elsewhere.host]).ok();
    lab.enter(&task, &["true"]).ok();
    assert!(elsewhere.asked().len() > before);
    // What is here needs nobody.
    lab.dev.envctl(["approve", "--revoke", &elsewhere.host]).ok();
    lab.enter(&task, &["true"]).ok();
}

#[test]
fn the_image_that_a_project_names_is_not_asked_for_either() {
    let lab = Lab::new();
    let (_, elsewhere) = with_image_elsewhere(&lab);
    let before = elsewhere.asked().len();
    let image = format!("{}:dev", elsewhere.store());
    lab.repo.write("envctl.toml", format!("[toolchain]\nimage = \"{image}\"\n"));
    let publish = ["publish", "other", "--store", &lab.store.name()];
    let says = ["the image that the project names", "not approved"];
    lab.agent.envctl(publish).cwd(&lab.repo.path).code(6).says(&says);
    lab.agent.envctl(["run", "--", "true"]).cwd(&lab.repo.path).code(125).says(&says);
    assert_eq!(elsewhere.asked().len(), before);
    // The developer's own word, for this once or from here on.
    lab.agent.envctl(publish).args(["--image", &image]).cwd(&lab.repo.path).ok();
    lab.agent.envctl(["run", "--image", &image, "--", "true"]).cwd(&lab.repo.path).ok();
    lab.agent.envctl(["approve", "--host", &elsewhere.host]).ok();
    lab.agent.envctl(publish).cwd(&lab.repo.path).ok();
    lab.agent.envctl(["run", "--", "true"]).cwd(&lab.repo.path).ok();
}

both!(a_store_that_a_checkout_names_gets_no_login_unasked);
fn a_store_that_a_checkout_names_gets_no_login_unasked(lab: Lab) {
    lab.publish(&ImageBuilder::busybox());
    let there = registry(&lab);
    login(&lab.agent, &there);
    let image = lab.images.add("dev", &ImageBuilder::busybox()).reference;
    lab.repo.write("envctl.toml", format!("store = \"{}\"\n", there.store()));
    let in_checkout = |args: &[&str]| lab.agent.envctl(args).cwd(&lab.repo.path);
    let says = ["is named by this checkout alone", &format!("envctl approve --host oci://{}", there.host)];
    for args in [
        &["tasks"] as &[&str],
        &["show", "task-1"],
        &["enter", "task-1", "--no-runtime"],
        &["enter", "task-1", "--dry-run"],
        &["prefetch", "task-1"],
        &["publish", "new", "--image", &image],
        &["artifacts", "ls", "task-1"],
    ] {
        in_checkout(args).code(6).says(&says);
    }
    in_checkout(&["prefetch", "--watch", "--rounds", "1"]).ok().says(&says[..1]);
    assert!(there.asked().is_empty(), "{:?}", there.asked());
    // The developer's own store comes first, however it is named.
    lab.agent.write("config/envctl/config.toml", format!("store = \"{}\"\n", lab.store.name()));
    assert!(in_checkout(&["tasks"]).ok().stdout.contains("task-1"));
    assert!(there.asked().is_empty(), "{:?}", there.asked());
    lab.agent.write("config/envctl/config.toml", "");
    in_checkout(&["tasks", "--store", &there.store()]).ok();
    assert!(!there.asked().is_empty());
    lab.agent.envctl(["approve", "--host", &format!("oci://{}", there.host)]).ok();
    assert!(in_checkout(&["tasks"]).ok().stdout.contains("task-1"));
}

/// Agreeing to what a project asks for is agreeing to the stores of its
/// fixtures; nothing else is.
#[test]
fn a_fixture_is_not_asked_for_at_a_registry_that_nobody_approved() {
    let lab = Lab::new();
    let elsewhere = registry(&lab);
    login(&lab.dev, &elsewhere);
    let source = format!("{}@sha256:{}", elsewhere.store(), "1".repeat(64));
    lab.repo.write("envctl.toml", format!("[[fixture]]\nname = \"rows\"\nsource = \"{source}\"\npath = \"/rows\"\n"));
    let task = lab.publish(&ImageBuilder::busybox());
    lab.dev.envctl(["prefetch", &task]).ok();
    let run = lab.enter(&task, &["true"]).code(125).says(&["fixtures from", "not approved"]);
    lab.dev.envctl(["enter", "--dry-run", &task]).ok();
    assert!(elsewhere.asked().is_empty(), "{:?}", elsewhere.asked());
    let digest = run.stderr.split("--digest ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    lab.dev.envctl(["approve", "--digest", &digest]).ok();
    lab.enter(&task, &["true"]).code(125).says(&["cannot fetch the fixture rows"]);
    assert!(!elsewhere.asked().is_empty());
}

both!(an_image_that_is_here_is_used_only_for_a_store_that_has_it);
/// What the image of another project left in the cache is for those whose store has it.
fn an_image_that_is_here_is_used_only_for_a_store_that_has_it(lab: Lab) {
    let image = lab.images.add("private", &ImageBuilder::busybox());
    let other = format!("oci:{}", lab.agent.path("other").display());
    for (task, store) in [("first", lab.store.name()), ("second", other.clone())] {
        let words = ["publish", task, "--store", &store, "--image", &image.reference];
        lab.agent.envctl(words).cwd(&lab.repo.path).ok();
    }
    lab.enter(&lab.store.reference("first"), &["true"]).ok();
    let blob = lab.agent.path("other/blobs/sha256").join(image.digest.trim_start_matches("sha256:"));
    let kept = std::fs::read(&blob).unwrap();
    std::fs::remove_file(&blob).unwrap();
    for _ in 0..2 {
        lab.enter(&format!("{other}:second"), &["true"]).code(125);
    }
    lab.agent.write(&blob, &kept);
    lab.enter(&format!("{other}:second"), &["true"]).ok();
    // The same for a service; what was entered once in vain is not here for that.
    let third = format!("oci:{}", lab.agent.path("third").display());
    let image = lab.image_within("private", &ImageBuilder::busybox());
    let service = format!("[[service]]\nname = \"db\"\ncommand = [\"sleep\", \"9\"]\nimage = {:?}\n", image.reference);
    lab.repo.write("envctl.toml", service);
    let base = ImageBuilder::busybox().layer(Layer::new([Entry::file("base", "x")]));
    let base = lab.images.add("base", &base).reference;
    let words = ["publish", "t", "--store", &third, "--image", &base];
    lab.agent.envctl(words).cwd(&lab.repo.path).ok();
    let blob = lab.agent.path("third/blobs/sha256").join(image.digest.trim_start_matches("sha256:"));
    std::fs::remove_file(&blob).unwrap();
    for _ in 0..2 {
        lab.enter(&format!("{third}:t"), &["true"]).code(125);
    }
    lab.agent.write(&blob, kept);
    lab.enter(&format!("{third}:t"), &["true"]).ok();
}
