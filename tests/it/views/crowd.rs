//! Stores of many tasks: what a list of them costs, and that it is right.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::evidence::Shop;
use crate::support::{Crowd, Habits, Home, Modern, RealRegistry, Terminal, sha256};

fn list(shop: &Shop, args: &[&str]) -> Vec<Value> {
    let json = shop.dev(["tasks", "--store", &shop.store, "--json"]).args(args).ok().json();
    json["tasks"].as_array().unwrap().clone()
}

fn row<'a>(rows: &'a [Value], task: &str) -> &'a Value {
    rows.iter().find(|row| row["task"] == task).unwrap_or_else(|| panic!("no {task}"))
}

/// A shop in a registry with `count` tasks that nobody has listed yet.
fn crowded(habits: Habits, count: usize) -> (Modern, Crowd, Shop) {
    let registry = Modern::start(habits);
    let template = Shop::new();
    template.publish("template");
    let crowd = Crowd::of(&template.trip.lab.store, "template");
    for n in 0..count {
        crowd.join(&registry, n, 0);
    }
    let shop = Shop { trip: template.trip, store: registry.store() };
    (registry, crowd, shop)
}

const PAGED: Habits = Habits { referrers: true, deletes: true, page: 100, denies: 0 };

#[test]
fn ten_thousand_tasks_of_a_folder_are_one_look() {
    let shop = Shop::new();
    shop.publish("template");
    let store = &shop.trip.lab.store;
    Crowd::of(store, "template").fill(store, 10_000, true);
    // Nothing but the index is read: not one document of a task.
    let hidden = store.path.join("blobs.hidden");
    std::fs::rename(store.path.join("blobs"), &hidden).unwrap();
    let rows = list(&shop, &[]);
    assert_eq!(rows.len(), 10_001);
    assert_eq!(row(&rows, "crowd-00007")["message"], "what task 7 has to say in round 0");
    assert_eq!(list(&shop, &["--needs-human"]).len(), 3334);
    std::fs::rename(hidden, store.path.join("blobs")).unwrap();
    // And it goes on as a store; the checkout has not seen that task.
    shop.publishing("crowd-00007").arg("--yes").ok();
    assert_eq!(row(&list(&shop, &[]), "crowd-00007")["message"], Value::Null);
    shop.enter("crowd-00007");
}

/// Beside a tag there is a hint: it is used for what it is about, and nothing
/// else.
#[test]
fn what_is_beside_a_tag_must_belong_to_it() {
    let shop = Shop::new();
    shop.publishing("t").args(["--message", "true", "--status", "needs-human"]).ok();
    let store = &shop.trip.lab.store;
    let path = store.path.join("index.json");
    let original: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let lie = |edit: &dyn Fn(&mut Value)| {
        let mut index = original.clone();
        for entry in index["manifests"].as_array_mut().unwrap() {
            if entry["annotations"]["org.opencontainers.image.ref.name"] == "t" {
                edit(&mut entry["annotations"]);
            }
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, index.to_string()).unwrap();
        let rows = list(&shop, &[]);
        assert_eq!((rows.len(), &rows[0]["message"]), (1, &json!("true")));
    };
    let of = |edit: &dyn Fn(&mut Value)| {
        let entries = original["manifests"].as_array().unwrap();
        let text = entries.iter().find_map(|entry| entry["annotations"]["vnd.envctl.task.v1"].as_str()).unwrap();
        let mut summary: Value = serde_json::from_str(text).unwrap();
        summary["message"] = "false".into();
        edit(&mut summary);
        summary.to_string()
    };
    // Of another manifest, of another task, nonsense, and none.
    let other = format!("sha256:{}", "0".repeat(64));
    lie(&|annotations| {
        annotations["vnd.envctl.task.v1"] = of(&|summary| summary["manifest"] = other.as_str().into()).into()
    });
    lie(&|annotations| annotations["vnd.envctl.task.v1"] = of(&|summary| summary["task"] = "u".into()).into());
    lie(&|annotations| annotations["vnd.envctl.task.v1"] = "nonsense".into());
    lie(&|annotations| drop(annotations.as_object_mut().unwrap().remove("vnd.envctl.task.v1")));
}

#[test]
fn a_registry_is_asked_once_for_each_task_and_then_no_more() {
    let (registry, crowd, shop) = crowded(PAGED, 300);
    // Some were published before, and their former identities are there.
    (100..150).for_each(|n| drop(crowd.join(&registry, n, 9)));
    assert_eq!(list(&shop, &[]).len(), 300);
    let first = registry.asked().len();
    assert!((300..330).contains(&first), "{first}");
    assert!(registry.tags().contains(&"index-v1".to_owned()));
    // Somebody else, later: the names of all tags, and the list.
    let other = shop.with_developer(Home::new());
    assert_eq!(list(&other, &["--needs-human"]).len(), 100);
    let asked = registry.asked();
    assert!(asked.len() <= 7 + 2, "{asked:#?}");
    // A publish keeps it: nothing more is asked for.
    shop.publishing("crowd-00003").args(["--yes", "--message", "published", "--status", "closed"]).ok();
    shop.publishing("brand-new").args(["--message", "also"]).ok();
    registry.asked();
    let rows = list(&other, &[]);
    assert_eq!(rows.len(), 301);
    assert_eq!(row(&rows, "crowd-00003")["status"], "closed");
    assert_eq!(row(&rows, "brand-new")["message"], "also");
    let asked = registry.asked();
    assert!(asked.len() <= 7 + 2, "{asked:#?}");
    // Those that another tool brought are noticed: two requests each.
    for n in 0..5 {
        crowd.join(&registry, n, 1);
    }
    crowd.join(&registry, 999, 1);
    let rows = list(&other, &[]);
    assert_eq!(rows.len(), 302);
    assert_eq!(row(&rows, "crowd-00002")["message"], "what task 2 has to say in round 1");
    let asked = registry.asked();
    assert!(asked.len() <= 7 + 2 + 12, "{asked:#?}");
    // Removed ones are gone from it.
    shop.dev(["tasks", "rm", "--yes", &shop.reference("crowd-00002")]).ok();
    assert!(list(&other, &[]).iter().all(|row| row["task"] != "crowd-00002"));
}

/// Images and tasks in one repository: what is no task is not asked for again.
#[test]
fn tags_that_are_no_tasks_are_asked_for_once() {
    let (registry, _, shop) = crowded(PAGED, 40);
    let image = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": format!("sha256:{}", "0".repeat(64)), "size": 2 },
        "layers": [] });
    for n in 0..30 {
        registry.put(&format!("v1.{n}"), "application/vnd.oci.image.manifest.v1+json", &image);
    }
    assert_eq!(list(&shop, &[]).len(), 40);
    registry.asked();
    assert_eq!(list(&shop, &[]).len(), 40);
    let asked = registry.asked();
    assert!(asked.len() <= 4, "{asked:#?}");
}

/// A list that is damaged, stale, hostile or not to be written is no harm.
#[test]
fn a_list_is_a_hint() {
    let (registry, _, shop) = crowded(PAGED, 40);
    let truth = list(&shop, &[]);
    let good = registry.document("index-v1");
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let edits: [&dyn Fn(&mut Value); 4] = [
        &|list| list["config"]["data"] = "e30=".into(),
        &|list| list["layers"][0]["digest"] = format!("sha256:{}", "0".repeat(64)).into(),
        &|list| list["manifests"] = json!([]),
        &|list| list["layers"][0]["size"] = (1u64 << 50).into(),
    ];
    for edit in edits {
        let mut bad = good.clone();
        edit(&mut bad);
        registry.put("index-v1", manifest, &bad);
        assert_eq!(list(&shop, &[]), truth);
    }
    // Somebody else's tag of that name stays theirs.
    let mut foreign = good.clone();
    foreign["artifactType"] = "application/vnd.example.index".into();
    registry.put("index-v1", manifest, &foreign);
    assert_eq!(list(&shop, &[]), truth);
    assert_eq!(registry.document("index-v1"), foreign);
    shop.publish("crowd-00001");
    assert_eq!(registry.document("index-v1"), foreign);
    // Rows that name no task of the store are not shown.
    registry.put("index-v1", manifest, &good);
    assert_eq!(list(&shop, &[]).len(), 40);
}

/// Of many who publish at once each is listed, whatever became of the list.
#[test]
fn many_publish_into_one_list() {
    let registry = RealRegistry::start();
    let shop = Shop::at(registry.repository("acme/tasks"));
    for n in 0..17 {
        shop.publish(&format!("t-{n}"));
    }
    list(&shop, &[]);
    let repos: Vec<_> = (0..6).map(|n| shop.trip.lab.repo.clone_to(&format!("publisher-{n}"), &[])).collect();
    let children: Vec<_> = repos
        .iter()
        .enumerate()
        .map(|(n, repo)| shop.publishing(&format!("new-{n}")).cwd(&repo.path).args(["--message", "new"]).spawn())
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let rows = list(&shop, &[]);
    assert_eq!(rows.len(), 23);
    assert_eq!(rows.iter().filter(|row| row["message"] == "new").count(), 6);
    registry.stop();
}

#[test]
fn tasks_are_removed_and_their_identities_stay() {
    let registry = RealRegistry::start();
    let modern = Modern::start(Habits::default());
    for shop in [Shop::new(), Shop::at(registry.repository("acme/tasks")), Shop::at(modern.store())] {
        for task in ["a", "b", "c"] {
            shop.trip.lab.repo.write("of", task);
            shop.publish(task);
        }
        let digest = shop.show("a")["digest"].as_str().unwrap().to_owned();
        let (a, b) = (shop.reference("a"), shop.reference("b"));
        let rm = |args: &[&str]| shop.dev(["tasks", "rm"]).args(args);
        // Nobody is asked, and nothing happens.
        let run = rm(&[&a, &b]).code(2).says(&["removing", &a, &b, "nobody to ask", "--yes"]);
        assert_eq!(run.stdout, "");
        rm(&["--yes", &shop.reference("nowhere"), &a]).code(3).says(&["no task nowhere"]);
        rm(&["--yes", &format!("{}@{digest}", shop.store)]).code(2).says(&["not a task"]);
        assert_eq!(list(&shop, &[]).len(), 3);
        let run = rm(&["--yes", &a, &b]).ok();
        assert!(run.stdout.contains(&format!("{a} removed; its identities stay: {}@{digest}", shop.store)), "{run:?}");
        let left: BTreeSet<String> =
            list(&shop, &[]).iter().map(|row| row["task"].as_str().unwrap().to_owned()).collect();
        assert_eq!(left, ["c".to_owned()].into());
        shop.dev(["show", &a]).code(3);
        // By its digest it is entered as ever.
        let by_digest = format!("{}@{digest}", shop.store);
        shop.dev(["enter", &by_digest, "--no-runtime"]).ok();
        // Its name is free.
        shop.publish("a");
        assert_eq!(shop.show("a")["identity"]["parent"], Value::Null);
        let json = rm(&["--yes", "--json", &a]).ok().json();
        assert_eq!(json["removed"][0]["task"], a.as_str());
    }
    registry.stop();
}

#[test]
fn a_person_is_asked_first() {
    let shop = Shop::new();
    let task = shop.publish("t");
    let mut terminal = Terminal::open(&shop.trip.lab.dev, &["tasks", "rm", &task], (24, 200));
    terminal.sees("Removing");
    terminal.sees(&format!("Remove {task} for everybody"));
    terminal.types("n");
    assert_eq!(terminal.ends(), Some(2));
    shop.show("t");
    let mut terminal = Terminal::open(&shop.trip.lab.dev, &["tasks", "rm", &task], (24, 200));
    terminal.sees("Remove ");
    terminal.types("y");
    assert_eq!(terminal.ends(), Some(0));
    shop.dev(["show", &task]).code(3);
}

#[test]
fn identities_are_removed_where_that_is_asked_for() {
    let registry = RealRegistry::start();
    let modern = Modern::start(Habits::default());
    for shop in [Shop::new(), Shop::at(registry.repository("acme/tasks")), Shop::at(modern.store())] {
        let digest = |task: &str| format!("{}@{}", shop.store, shop.show(task)["digest"].as_str().unwrap());
        shop.publish("origin");
        let origin = digest("origin");
        shop.publishing("origin").args(["--fork", "t"]).ok();
        let mut own = vec![digest("t")];
        shop.add("t", "log", "x", &["--type", "logs"]).ok();
        let entered = shop.dev(["enter", &shop.reference("t"), "--no-runtime"]).ok().stdout;
        for n in 0..2 {
            shop.trip.lab.repo.write("n", format!("{n}"));
            shop.publish("t");
            own.push(digest("t"));
        }
        // A line beside it may hold as well what should not have been published.
        let beside = shop.dev(["publish", "--json"]).cwd(entered.trim_end()).ok().json();
        own.push(format!("{}@{}", shop.store, beside["identity"].as_str().unwrap()));
        shop.publishing("t").args(["--fork", "fork"]).ok();
        let run = shop.dev(["tasks", "rm", "--yes", "--identities", &shop.reference("t")]).ok();
        assert!(run.stdout.contains("removed, with 4 identities"), "{run:?}");
        let other = shop.with_developer(Home::new());
        for gone in &own {
            other.dev(["show", gone]).code(3);
        }
        // Where it comes from, and what comes of it.
        shop.dev(["show", &origin]).ok();
        let log = shop.dev(["log", &shop.reference("fork"), "--json"]).ok().json();
        assert_eq!((log["identities"].as_array().unwrap().len(), &log["end"]), (1, &json!("gone")));
        other.dev(["enter", &shop.reference("fork"), "--no-runtime"]).ok();
    }
    registry.stop();
}

/// Whoever may set tags has nobody else remove a task for them.
#[test]
fn a_removal_takes_nothing_that_only_a_tag_gives_to_the_task() {
    for planted in ["list", "identity"] {
        let modern = Modern::start(Habits { referrers: false, ..Habits::default() });
        let shop = Shop::at(modern.store());
        shop.publish("x");
        shop.trip.lab.repo.write("other", "other");
        shop.publish("prod");
        shop.dev(["enter", &shop.reference("x"), "--no-runtime"]).ok();
        let tag = match planted {
            "list" => sha256(&serde_json::to_vec(&modern.document("x")).unwrap()).replace(':', "-"),
            _ => shop.show("x")["digest"].as_str().unwrap().replace("sha256:", "id-"),
        };
        modern.put(&tag, "application/vnd.oci.image.manifest.v1+json", &modern.document("prod"));
        let run = shop.dev(["tasks", "rm", "--yes", "--identities", &shop.reference("x")]).run();
        // What is in the place of a list is no list: that is an error.
        assert_eq!(run.code, if planted == "list" { 5 } else { 0 }, "{run:?}");
        let other = shop.with_developer(Home::new());
        other.dev(["show", &shop.reference("prod")]).ok();
        other.dev(["show", &shop.reference("x")]).code(3);
    }
}

/// A registry that deletes nothing says so, and the task is where it was.
#[test]
fn a_registry_that_forbids_it() {
    let modern = Modern::start(Habits { deletes: false, ..Habits::default() });
    let shop = Shop::at(modern.store());
    shop.publish("t");
    let before = shop.show("t");
    let run = shop.dev(["tasks", "rm", "--yes", &shop.reference("t")]).code(1);
    run.says(&["does not delete", "nothing is deleted here", "the registry's own tools"]);
    assert_eq!(shop.show("t")["digest"], before["digest"]);
    assert_eq!(list(&shop, &[]).len(), 1);
}

/// What is no task is not removed by this verb; what is a damaged one is.
#[test]
fn other_tags_are_not_removed() {
    let shop = Shop::new();
    shop.publish("t");
    let store = &shop.trip.lab.store;
    store.add("v1.0", &crate::support::ImageBuilder::busybox());
    shop.dev(["tasks", "rm", "--yes", &shop.reference("v1.0")]).code(5).says(&["not an envctl identity"]);
    assert!(store.tags().contains(&"v1.0".to_owned()));
    store.swap(&store.digest_of("t"), Some(b"damaged"));
    let run = shop.dev(["tasks", "rm", "--yes", &shop.reference("t")]).ok();
    assert!(run.stderr.contains("damaged"), "{}", run.stderr);
    assert!(!store.tags().contains(&"t".to_owned()));
}
