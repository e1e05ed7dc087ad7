//! A task that several publish who have not seen each other: nobody's work goes
//! over another's, and both are offered.

use std::fs;

use rustix::termios::LocalModes;
use serde_json::Value;

use super::moved::from;
use crate::evidence::Shop;
use crate::support::{Facts, Home, RealRegistry, Repo, Terminal, until};

/// What `tasks` says of a task.
#[track_caller]
fn row(shop: &Shop, task: &str) -> Value {
    let listed = shop.dev(["tasks", "--store", &shop.store, "--json"]).ok().json();
    let rows = listed["tasks"].as_array().unwrap().clone();
    rows.into_iter().find(|row| row["task"] == task).unwrap()
}

/// All identities that are offered of a task, its own first.
#[track_caller]
fn offered(shop: &Shop, task: &str) -> Vec<String> {
    let row = row(shop, task);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let beside = row["beside"].as_array().unwrap().iter().map(|line| text(&line["identity"]));
    [text(&row["identity"])].into_iter().chain(beside).collect()
}

/// 07: over a colleague's newer one, from the agent's checkout and from another
/// machine.
#[test]
fn an_agent_publishes_beside_what_it_has_not_seen() {
    let registry = RealRegistry::start();
    for shop in [Shop::new(), Shop::at(registry.repository("acme/tasks"))] {
        shop.publishing("t").args(["--agent", "one"]).ok();
        let workspace = shop.enter("t");
        workspace.write("fixed", "x");
        from(&shop, &workspace, &["--message", "fixed it"]).ok();
        let theirs = shop.show("t");
        shop.trip.lab.repo.write("more", "another\n");
        let run = shop.publishing("t").args(["--agent", "one", "--message", "went on", "--json"]).ok();
        let published = run.json();
        let run = run.says(&["which this checkout has not seen", "fixed it"]);
        assert_eq!(published["beside"]["identity"], theirs["digest"]);
        let second = published["identity"].as_str().unwrap().to_owned();
        let reference = format!("{}@{second}", shop.store);
        assert_eq!(published["enter"], format!("envctl enter {reference}"), "{}", run.stderr);
        // The task is what it was, and everybody is told of the other.
        let shown = shop.show("t");
        assert_eq!(shown["digest"], theirs["digest"]);
        assert_eq!(shown["beside"][0]["reference"], reference.as_str());
        assert_eq!(offered(&shop, "t"), [theirs["digest"].as_str().unwrap(), &second]);
        let plain = shop.dev(["tasks", "--store", &shop.store]).ok().says(&["t has more than one line"]);
        assert!(plain.stdout.contains("beside it") && plain.stdout.contains("went on"), "{}", plain.stdout);
        let plain = shop.dev(["show", &shop.reference("t")]).ok().stdout;
        assert!(plain.contains(&format!("beside     {reference} by one")), "{plain}");
        let other = shop.with_developer(Home::new());
        let report = other.trip.lab.dev.path("report.json");
        let run = other.trip.entering(&shop.reference("t")).args(["--report", report.to_str().unwrap()]).ok();
        let run = run.says(&["another line", "went on", &format!("envctl enter {reference}"), "envctl diff"]);
        let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
        assert_eq!(report["beside"][0]["identity"], second.as_str(), "{}", run.stderr);
        // Either can be entered, and both compared.
        let entered = other.trip.enter(&reference);
        Facts::of(&shop.trip.lab.repo).assert_same(&Facts::of(&entered));
        let diff = shop.dev(["diff", &shop.reference("t"), "--beside", "--json"]).ok().json();
        assert_eq!((&diff["a"]["identity"], &diff["b"]["identity"]), (&theirs["digest"], &Value::from(&*second)));
        let paths: Vec<&str> =
            diff["changes"]["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["fixed", "more"], "{}", diff["changes"]);

        // The agent goes on on its own line, and so does the colleague.
        shop.trip.lab.repo.write("more", "y");
        let third = shop.publishing("t").arg("--json").ok().json();
        assert_eq!(shop.show("t")["digest"], theirs["digest"]);
        assert_eq!(offered(&shop, "t")[1..], [third["identity"].as_str().unwrap()]);
        workspace.write("fixed", "y");
        from(&shop, &workspace, &[]).ok();
        let task = shop.show("t");
        assert_eq!(task["identity"]["parent"], theirs["digest"]);
        // Another machine knows of neither.
        let elsewhere = shop.trip.lab.repo.clone_to("elsewhere", &[]);
        let args = ["publish", "t", "--store", &shop.store, "--image", &shop.trip.image];
        let stranger = Home::new();
        let copy = stranger.path("checkout");
        fs::rename(&elsewhere.path, &copy).unwrap();
        stranger.envctl(args).cwd(&copy).ok().says(&["which this checkout has not seen"]);
        assert_eq!(shop.show("t")["digest"], task["digest"]);
        assert_eq!(offered(&shop, "t").len(), 3);

        // Who takes up the agent's line ends it by going over the task with it.
        let taken = other.trip.enter(&format!("{}@{}", shop.store, third["identity"].as_str().unwrap()));
        taken.write("merged", "x");
        from(&other, &taken, &["--yes"]).ok();
        let merged = shop.show("t");
        assert_eq!(merged["identity"]["parent"], third["identity"]);
        assert_eq!(offered(&shop, "t").len(), 2, "the stranger's is left");
        // A line that is closed is offered no more.
        stranger.envctl(args).args(["--status", "closed"]).cwd(&copy).ok();
        assert_eq!(offered(&shop, "t"), [merged["digest"].as_str().unwrap()]);
        let run = other.trip.lab.dev.envctl(["diff", &shop.reference("t"), "--beside"]);
        run.code(2).says(&["one line only"]);
        // And all of them go with the task.
        shop.trip.lab.repo.write("more", "z");
        shop.publishing("t").ok();
        assert_eq!(offered(&shop, "t").len(), 2);
        shop.dev(["tasks", "rm", &shop.reference("t"), "--yes"]).run();
    }
    registry.stop();
}

/// A line that waits for a human is seen wherever a task is named: in the list of those
/// that wait, among those to choose from, and by who comes back to the other one.
#[test]
fn a_line_that_waits_for_a_human_is_told_wherever_one_chooses() {
    let shop = Shop::new();
    shop.publishing("t").ok();
    let workspace = shop.enter("t");
    workspace.write("fixed", "x");
    let hand_back = from(&shop, &workspace, &["--status", "handed-back", "--message", "fixed it"]);
    hand_back.env("GIT_AUTHOR_NAME", "Dev Dan").env("GIT_AUTHOR_EMAIL", "dan@example.com").ok();
    assert_eq!(shop.show("t")["identity"]["agent_identity"], "Dev Dan", "who answered");
    shop.trip.lab.repo.write("more", "y");
    shop.publishing("t").args(["--agent", "one", "--status", "needs-human", "--message", "or not?"]).ok();
    let list = |args: &[&str]| shop.dev(["tasks", "--store", &shop.store]).args(args).ok().stdout;
    let waiting = list(&["--needs-human"]);
    assert!(waiting.starts_with("t, beside it  needs-human") && waiting.trim_end().ends_with("or not?"), "{waiting}");
    assert_eq!(waiting.lines().count(), 1, "{waiting}");
    assert_eq!(list(&[]).lines().count(), 2);
    let back = shop.trip.entering(&shop.reference("t")).ok();
    back.says(&[
        "1 other line of it needs a human, as the store said",
        &format!("envctl show {}", shop.reference("t")),
    ]);
    let mut terminal =
        Terminal::open(&shop.trip.lab.dev, &["enter", "--store", &shop.store, "--no-runtime"], (24, 120));
    terminal.sees("t, another line by one  needs-human");
    until("it is asked", || !terminal.modes().local_modes.contains(LocalModes::ICANON));
    terminal.types("\r");
    terminal.sees("-sha256-");
    assert_eq!(terminal.ends(), Some(0));
    // When it is closed, nobody is told any more.
    shop.trip.lab.repo.write("more", "z");
    shop.publishing("t").args(["--agent", "one", "--status", "closed"]).ok();
    list(&[]);
    let back = shop.trip.entering(&shop.reference("t")).ok();
    assert!(!back.stderr.contains("needs a human"), "{}", back.stderr);
}

/// Whoever sits at a terminal is told and asked.
#[test]
fn a_person_is_asked() {
    let shop = Shop::new();
    shop.publishing("t").ok();
    let workspace = shop.enter("t");
    workspace.write("fixed", "x");
    from(&shop, &workspace, &["--message", "fixed it"]).ok();
    let theirs = shop.show("t");
    let checkout = shop.trip.lab.repo.path.to_str().unwrap().to_owned();
    let ask = |answer: &str| {
        let binary = shop.trip.lab.agent.binary().display();
        let publish = format!("publish t --store {} --image {}", shop.store, shop.trip.image);
        let mut terminal = Terminal::shell(&shop.trip.lab.agent, &format!("cd {checkout} && {binary} {publish}"), "sh");
        terminal.sees("fixed it");
        terminal.sees("What do you want to do?");
        terminal.sees("stop: publish nothing");
        until("it is asked", || !terminal.modes().local_modes.contains(LocalModes::ICANON));
        answer.chars().for_each(|_| terminal.types("\x1b[B"));
        terminal.types("\r");
        terminal
    };
    // The first answer, the second, the third: how often the arrow goes down.
    let mut terminal = ask("vv");
    terminal.sees("has moved since this checkout published it");
    assert_eq!(terminal.ends(), Some(6));
    assert_eq!(shop.show("t")["digest"], theirs["digest"]);
    assert_eq!(offered(&shop, "t").len(), 1);
    let mut terminal = ask("");
    terminal.sees("and both are there: envctl show");
    assert_eq!(terminal.ends(), Some(0));
    assert_eq!(shop.show("t")["digest"], theirs["digest"]);
    assert_eq!(offered(&shop, "t").len(), 2);
    // What was published beside goes on as what the task is.
    shop.trip.lab.repo.write("more", "y");
    let mut terminal = ask("v");
    terminal.sees("envctl enter");
    assert_eq!(terminal.ends(), Some(0));
    assert_eq!(offered(&shop, "t").len(), 1);
}

/// Many at once, none of whom has seen another: all of them are there.
#[test]
fn a_race_loses_nobody() {
    let registry = RealRegistry::start();
    for shop in [Shop::new(), Shop::at(registry.repository("acme/tasks"))] {
        shop.publishing("begin").ok();
        let agents: Vec<(Home, Repo)> = (0..5)
            .map(|n| {
                let home = Home::new();
                let clone = shop.trip.lab.repo.clone_to(&format!("clone-{n}"), &[]);
                clone.write("own", n.to_string());
                (home, clone)
            })
            .collect();
        let mut published: Vec<String> = std::thread::scope(|scope| {
            let publish = |(home, clone): &(Home, Repo)| {
                let args = ["publish", "t", "--store", &shop.store, "--image", &shop.trip.image, "--json"];
                home.envctl(args).cwd(&clone.path).ok().json()["identity"].as_str().unwrap().to_owned()
            };
            let threads: Vec<_> = agents.iter().map(|agent| scope.spawn(move || publish(agent))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut found = offered(&shop, "t");
        published.sort();
        found.sort();
        assert_eq!(found, published);
    }
    registry.stop();
}
