//! What `publish` collects, and what comes along with a workspace.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use envctl::env::Env;
use envctl::handoff::{App, GlobalOptions, expire_artifacts};
use envctl::ui::{Color, Ui};
use serde_json::Value;

use super::Shop;
use crate::support::{Home, ImageBuilder, Lab};

const RULES: &str = r#"[artifacts]
collect = [
    { path = "reports/**/*.xml", type = "test-results" },
    { path = "**/*.log", type = "logs" },
]
"#;

fn names(rows: &[Value]) -> Vec<String> {
    let mut names: Vec<String> = rows.iter().map(|row| row["path"].as_str().unwrap_or("?").to_owned()).collect();
    names.sort();
    names
}

#[test]
fn publish_attaches_what_the_project_names() {
    let shop = Shop::new();
    let repo = &shop.trip.lab.repo;
    repo.write("envctl.toml", RULES);
    repo.write(".gitignore", "reports/\n*.log\n");
    for file in ["reports/a/unit.xml", "reports/b/unit.xml", "reports/readme.txt", "run.log", "deep/er/run.log"] {
        repo.write(file, file);
    }
    repo.write(".git/run.log", "git's own");
    let outside = shop.trip.lab.agent.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret.log"), "secret").unwrap();
    symlink(&outside, repo.path.join("linked")).unwrap();
    symlink(outside.join("secret.log"), repo.path.join("link.log")).unwrap();
    let call = shop.publishing("t").args(["--command", "npm test", "--exit-code", "1", "--json"]);
    let published = call.ok().json();
    let expected = ["deep/er/run.log", "reports/a/unit.xml", "reports/b/unit.xml", "run.log"];
    assert_eq!(names(published["artifacts"].as_array().unwrap()), expected);
    let listed = shop.ls("t");
    assert_eq!(names(&listed), expected);
    for row in &listed {
        assert_eq!((row["command"].as_str(), row["exit_code"].as_i64()), (Some("npm test"), Some(1)));
        let expected = if row["path"].as_str().unwrap().ends_with(".xml") { "test-results" } else { "logs" };
        assert_eq!(row["artifact_type"], expected);
    }
    // Two of each name: both are there.
    let folder = PathBuf::from(shop.dev(["artifacts", "get", &shop.reference("t")]).ok().stdout.trim());
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["run-2.log", "run.log", "unit-2.xml", "unit.xml"]);
}

#[test]
fn what_is_too_much_is_said_and_stays() {
    let shop = Shop::new();
    let repo = &shop.trip.lab.repo;
    repo.write("envctl.toml", RULES);
    repo.write(".gitignore", "*.log\n");
    for n in 0..503 {
        repo.write(format!("{n:03}.log"), "x");
    }
    let run = shop
        .publishing("t")
        .ok()
        .says(&["not attached: 3 files, 500.log, 501.log, 502.log (no more than 500 files are taken)"]);
    assert!(run.stderr.contains("Attached 500 artifacts"), "{}", run.stderr);
    assert_eq!(shop.ls("t").len(), 500);
    // All of them are in one manifest.
    let store = &shop.trip.lab.store;
    let list = store.tags().into_iter().find(|tag| tag.starts_with("sha256-")).unwrap();
    assert_eq!(store.document(&list)["manifests"].as_array().unwrap().len(), 1);
}

#[test]
fn small_evidence_comes_along_with_a_workspace() {
    let shop = Shop::new();
    shop.publish("t");
    shop.add("t", "run.log", "what happened", &["--type", "logs"]).ok();
    shop.add("t", "large.log", vec![b'x'; (1 << 20) + 1], &["--type", "logs"]).ok();
    shop.add("t", "tool", "x", &["--type", "binary"]).ok();
    let task = shop.reference("t");
    let report = shop.dev(["enter", &task, "--no-runtime", "--json"]).ok().json();
    let folder = PathBuf::from(report["artifacts"].as_str().unwrap());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(folder.join("run.log")).unwrap(), "what happened");
    let steps: Vec<&str> = report["steps"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert!(steps.contains(&"fetch.artifacts"), "{steps:?}");
    // Without the store, and without a look at it.
    fs::rename(&shop.trip.lab.store.path, shop.trip.lab.agent.path("gone")).unwrap();
    let report = shop.dev(["enter", &task, "--no-runtime", "--json"]).ok().json();
    assert_eq!(report["artifacts"].as_str(), folder.to_str());
    // A store that cannot tell of them stops nobody.
    fs::rename(shop.trip.lab.agent.path("gone"), &shop.trip.lab.store.path).unwrap();
    let list = shop.trip.lab.store.tags().into_iter().find(|tag| tag.starts_with("sha256-")).unwrap();
    shop.trip.lab.store.swap(&shop.trip.lab.store.digest_of(&list), None);
    let other = shop.with_developer(Home::new());
    let run = other.dev(["enter", &task, "--no-runtime", "--json"]).ok().says(&["without the task's artifacts"]);
    assert_eq!(run.json()["artifacts"], Value::Null);
}

#[test]
fn evidence_of_a_workspace_is_of_the_identity_that_was_entered() {
    let shop = Shop::new();
    let task = shop.publish("t");
    let first = shop.show("t");
    let workspace = shop.enter("t");
    shop.trip.lab.repo.write("more", "x");
    shop.publish("t");
    workspace.write("out.log", "mine");
    let add = |at: &Path| {
        let file = workspace.path.join("out.log");
        let call = shop.dev(["artifacts", "add", &task, "--type", "logs", "--json"]).arg(file);
        call.cwd(at).ok().json()["identity"].clone()
    };
    assert_eq!(add(&workspace.path), first["digest"]);
    assert_eq!(add(&shop.trip.lab.dev.path("home")), shop.show("t")["digest"]);
}

#[test]
fn what_cannot_be_attached() {
    let shop = Shop::new();
    let task = shop.publish("t");
    let add = |file: &str| shop.dev(["artifacts", "add", &task, file, "--type", "logs"]);
    add("nothing").code(1).says(&["cannot read", "nothing"]);
    add("/dev").code(2).says(&["is no file"]);
    add("/dev/null").code(2).says(&["is no file"]);
    shop.dev(["artifacts", "add", &task, "x", "--type", "poem"]).code(2).says(&["test-results", "screenshot"]);
    shop.dev(["artifacts", "ls", &shop.reference("nowhere")]).code(3);
    assert!(shop.ls("t").is_empty());
}

/// Local copies go by age, and never while a runtime uses them.
#[test]
fn local_copies_expire() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    lab.agent.write("log", "x");
    lab.agent.envctl(["artifacts", "add", &task]).arg(lab.agent.path("log")).args(["--type", "logs"]).ok();
    lab.enter(&task, &["true"]).ok();
    let content = lab.dev.data().join("artifacts/content");
    let copies = || fs::read_dir(&content).unwrap().count();
    assert_eq!(copies(), 1);
    let expire = |years: i64, dry: bool| {
        let root = |name: &str| Some(lab.dev.path(name));
        let env = Env {
            home: root("home"),
            xdg_config_home: root("config"),
            xdg_cache_home: root("cache"),
            xdg_data_home: root("data"),
            xdg_state_home: root("state"),
            test_now: Some(4_000_000_000 + years * 31_536_000),
            ..Env::default()
        };
        let ui = Ui::new(&env, true, false, false, Color::Never);
        let app = App::new(env, ui, GlobalOptions::default()).unwrap();
        expire_artifacts(&app, dry).unwrap()
    };
    // A runtime that is alive.
    let mut child = lab.dev.envctl(["enter", &task, "--", "cat"]).spawn();
    crate::support::until("the runtime is there", || {
        let status = lab.dev.envctl(["status", "--json"]).ok().json();
        !status["leases"].as_array().unwrap().is_empty()
    });
    assert!(expire(0, false).artifacts.is_empty());
    drop(child.stdin.take());
    child.wait().unwrap();
    let planned = expire(0, true);
    assert_eq!((planned.artifacts.len(), planned.bytes, copies()), (1, 1, 1));
    assert_eq!(expire(0, false), planned);
    assert_eq!(copies(), 0);
    assert_eq!(fs::read_dir(lab.dev.data().join("artifacts/identities")).unwrap().count(), 0);
    // By `gc`, too.
    lab.dev.envctl(["artifacts", "get", &task]).ok();
    assert_eq!(copies(), 1);
    // The first collection believes the clock.
    let _ = fs::remove_file(lab.dev.state().join("last-gc"));
    let gc = lab.dev.envctl(["gc", "--json"]).env("ENVCTL_TEST_NOW", "4000000000").ok().json();
    assert!(gc["removed"].as_array().unwrap().iter().any(|removed| removed["kind"] == "artifact"), "{gc}");
    assert_eq!(copies(), 0);
    // The store has its own.
    lab.dev.envctl(["artifacts", "verify", &task]).ok();
}
