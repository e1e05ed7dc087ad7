//! A task that moved while somebody worked on it.

use serde_json::Value;

use crate::evidence::Shop;
use crate::support::{Call, Facts, Home, RealRegistry, Repo, Trip};

pub(super) fn from(shop: &Shop, workspace: &Repo, args: &[&str]) -> Call {
    shop.dev(["publish"]).args(args).cwd(&workspace.path)
}

/// The agent's own checkout knows what it published.
#[test]
fn a_checkout_does_not_bury_what_was_handed_back() {
    let shop = Shop::new();
    shop.publishing("t").ok();
    shop.publishing("t").ok();
    let workspace = shop.enter("t");
    workspace.write("fixed", "x");
    from(&shop, &workspace, &["--status", "handed-back", "--message", "fixed it"]).ok();
    let theirs = shop.show("t");
    shop.publishing("t").ok().says(&["which this checkout has not seen", "handed-back", "fixed it"]);
    assert_eq!(shop.show("t")["digest"], theirs["digest"]);
    // Where it goes on from theirs it may.
    shop.publishing("t").args(["--fork", "t-other"]).ok();
    shop.publishing("t-other").ok();
    // Another checkout knows of nothing; with a word it goes over it.
    let other = shop.trip.lab.repo.clone_to("elsewhere", &[]);
    shop.trip.publishing(&other, "t").ok().says(&["which this checkout has not seen"]);
    assert_eq!(shop.show("t")["digest"], theirs["digest"]);
    let third = shop.trip.lab.repo.clone_to("third", &[]);
    shop.trip.publishing(&third, "t").arg("--yes").ok();
    assert_eq!(shop.show("t")["identity"]["parent"], theirs["digest"]);
}

/// One that is moved is the same; a copy of it is another.
#[test]
fn a_checkout_that_is_moved_still_knows_what_it_published() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    trip.publishing(repo, "t").ok();
    let folder = repo.path.file_name().unwrap().to_str().unwrap();
    trip.lab
        .agent
        .call("sh", ["-c", &format!("cp -a {folder} copied && mv {folder} moved")])
        .cwd(repo.path.parent().unwrap())
        .ok();
    let moved = repo.seen_by(&trip.lab.agent, repo.path.with_file_name("moved"));
    let copied = repo.seen_by(&trip.lab.agent, repo.path.with_file_name("copied"));
    moved.write("more", "x");
    assert!(!trip.publishing(&moved, "t").ok().stderr.contains("Beside"));
    copied.write("more", "y");
    trip.publishing(&copied, "t").ok().says(&["Beside"]);
    // Each knows itself from then on.
    moved.write("more", "z");
    assert!(!trip.publishing(&moved, "t").ok().stderr.contains("Beside"));
    // And who comes to where one was has published nothing.
    envctl::disk::remove::tree(&moved.path).unwrap();
    std::fs::rename(&copied.path, &moved.path).unwrap();
    trip.publishing(&moved, "t").ok().says(&["Beside"]);
}

#[test]
fn a_task_that_moved_is_not_overwritten() {
    let registry = RealRegistry::start();
    for shop in [Shop::new(), Shop::at(registry.repository("acme/tasks"))] {
        shop.publishing("t").args(["--agent", "agent-one", "--message", "the first"]).ok();
        let first = shop.show("t");
        let workspace = shop.enter("t");
        workspace.write("mine", "x");
        // The agent goes on meanwhile.
        shop.trip.lab.repo.write("theirs", "x");
        let args = ["--agent", "agent-two", "--message", "the second", "--status", "needs-human"];
        shop.publishing("t").args(args).ok();
        let second = shop.show("t");

        let run = from(&shop, &workspace, &["--json"]).ok();
        let beside = run.json();
        let run = run.says(&["which this checkout has not seen", "agent-two", "the second", "needs-human"]);
        assert_eq!(beside["beside"]["identity"], second["digest"], "{}", run.stderr);
        assert_eq!(shop.show("t")["digest"], second["digest"]);
        let ours = beside["identity"].as_str().unwrap();

        // Beside it.
        from(&shop, &workspace, &["--fork", "t-mine"]).ok();
        let fork = shop.show("t-mine");
        assert_eq!(fork["identity"]["task_id"], "t-mine");
        assert_eq!(fork["identity"]["parent"], ours);
        assert_eq!(shop.show("t")["digest"], second["digest"]);
        let other = shop.with_developer(Home::new());
        Facts::of(&workspace).assert_same(&Facts::of(&other.enter("t-mine")));
        from(&shop, &workspace, &["--fork", "t"]).code(2).says(&["already"]);
        from(&shop, &workspace, &["--fork", "t-mine"]).code(2).says(&["already"]);
        // On the fork one goes on as ever.
        workspace.write("more", "x");
        from(&shop, &workspace, &["t-mine"]).ok();
        assert_eq!(shop.show("t-mine")["identity"]["parent"], fork["digest"]);
        // Until somebody else does.
        let theirs = other.enter("t-mine");
        theirs.write("other", "x");
        from(&other, &theirs, &[]).ok().says(&["which this checkout has not seen"]);
        from(&shop, &workspace, &["t"]).ok().says(&["which this checkout has not seen"]);
        assert_eq!(shop.show("t")["digest"], second["digest"]);
        assert_ne!(first["digest"], second["digest"]);
        // Or one takes theirs.
        let refreshed = shop.dev(["enter", &shop.reference("t"), "--no-runtime", "--refresh"]).ok().stdout;
        let refreshed = workspace.seen_by(&shop.trip.lab.dev, refreshed.trim());
        from(&shop, &refreshed, &[]).ok();
        assert_eq!(shop.show("t")["identity"]["parent"], second["digest"]);
    }
    registry.stop();
}

/// One's own publishes are no move.
#[test]
fn a_workspace_is_published_again_and_again() {
    let shop = Shop::new();
    shop.publish("t");
    let workspace = shop.enter("t");
    let mut parent = shop.show("t")["digest"].clone();
    for n in 0..3 {
        workspace.write("n", format!("{n}"));
        from(&shop, &workspace, &[]).ok();
        let shown = shop.show("t");
        assert_eq!(shown["identity"]["parent"], parent);
        parent = shown["digest"].clone();
        // Entering again changes nothing of that.
        shop.enter("t");
    }
    // And in a folder of one's own choice.
    let into = shop.trip.lab.dev.path("into");
    shop.dev(["enter", &shop.reference("t"), "--no-runtime", "--into", into.to_str().unwrap()]).ok();
    let own = workspace.seen_by(&shop.trip.lab.dev, &into);
    for n in 0..2 {
        own.write("n", format!("own {n}"));
        from(&shop, &own, &[]).ok();
    }
    from(&shop, &workspace, &[]).ok().says(&["which this checkout has not seen"]);
}

#[test]
fn a_checkout_is_forked_too() {
    let shop = Shop::new();
    shop.publish("t");
    let first = shop.show("t");
    shop.publishing("t").args(["--fork", "u"]).ok();
    assert_eq!(shop.show("u")["identity"]["parent"], first["digest"]);
    assert_eq!(shop.show("t")["digest"], first["digest"]);
    shop.publishing("nowhere").args(["--fork", "v"]).code(2).says(&["no task nowhere"]);
    // A new name alone begins anew.
    let workspace = shop.enter("t");
    from(&shop, &workspace, &["w"]).ok();
    assert_eq!(shop.show("w")["identity"]["parent"], Value::Null);
}
