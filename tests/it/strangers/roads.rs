//! Where a registry that was named tries to lead those who ask it, and how much
//! it says.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Answer, Home, ImageBuilder, Lab, Liar, Terminal, Way, sha256, until};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

struct Shop {
    lab: Lab,
    task: String,
}

impl Shop {
    fn new() -> Self {
        let lab = Lab::new();
        let task = lab.publish(&ImageBuilder::busybox()).rsplit_once(':').unwrap().1.to_owned();
        Shop { lab, task }
    }

    /// A developer with a login for the registry.
    fn developer(&self, liar: &Liar, login: serde_json::Value) -> Lab {
        let lab = self.lab.with_developer(Home::new());
        lab.dev.write("home/.docker/config.json", json!({ "auths": { liar.host.as_str(): login } }).to_string());
        lab
    }

    /// A service of this machine that takes whatever it is given.
    fn thief(&self) -> Liar {
        Liar::over(&self.lab.store, |_, _| Answer::new(201, r#"{"token": "x"}"#).header("Location", "/x"))
    }
}

fn port(liar: &Liar) -> &str {
    liar.host.rsplit_once(':').unwrap().1
}

#[test]
fn an_upload_goes_to_the_registry_itself() {
    let shop = Shop::new();
    let thief = shop.thief();
    for (status, place) in [
        (202, format!("http://{}/upload", thief.host)),
        (202, format!("http://localhost:{}/upload", port(&thief))),
        (202, "https://10.0.0.1/upload".into()),
        (202, "https://169.254.169.254/upload".into()),
        (202, "https://dev:word@example.com/upload".into()),
        (202, "ftp://example.com/upload".into()),
        (307, format!("http://{}/upload", thief.host)),
        (308, format!("http://localhost:{}/upload", port(&thief))),
    ] {
        let to = place.clone();
        let liar = Liar::over(&shop.lab.store, move |asked, answer| match asked.method.as_str() {
            "POST" | "PUT" => Answer::new(status, "").header("Location", to.as_str()),
            _ => answer,
        });
        shop.lab.repo.write("changed", &place);
        let image = shop.lab.images.add("i", &ImageBuilder::busybox()).reference;
        let args = ["publish", "other", "--store", &liar.store(), "--image", &image];
        shop.lab.agent.envctl(args).cwd(&shop.lab.repo.path).code(6).says(&["redirects to where envctl does not go"]);
        assert!(thief.asked().is_empty(), "{place}: {:?}", thief.asked());
    }
}

/// Neither does the content of a session that began well.
#[test]
fn an_upload_that_is_redirected_ends() {
    let shop = Shop::new();
    let thief = shop.thief();
    let to = format!("http://localhost:{}/upload", port(&thief));
    let liar = Liar::over(&shop.lab.store, move |asked, answer| match asked.method.as_str() {
        "POST" => Answer::new(202, "").header("Location", "/v2/acme/tasks/blobs/uploads/1"),
        "PUT" => Answer::new(307, "").header("Location", to.as_str()),
        _ => answer,
    });
    shop.lab.repo.write("changed", "x");
    let image = shop.lab.images.add("i", &ImageBuilder::busybox()).reference;
    let args = ["publish", "other", "--store", &liar.store(), "--image", &image];
    shop.lab.agent.envctl(args).cwd(&shop.lab.repo.path).code(6).says(&["redirects to where envctl does not go"]);
    assert!(thief.asked().is_empty(), "{:?}", thief.asked());
}

#[test]
fn a_claim_goes_to_the_registry_or_nowhere() {
    let shop = Shop::new();
    let thief = shop.thief();
    let place = format!("http://{}/v1/kv/owned", thief.host);
    for status in [202, 307] {
        let to = place.clone();
        let liar = Liar::over(&shop.lab.store, move |asked, answer| match asked.method.as_str() {
            "POST" | "PUT" => Answer::new(status, "").header("Location", to.as_str()),
            _ => answer,
        });
        let lab = shop.developer(&liar, json!({}));
        lab.enter(&liar.task(&shop.task), &["true"]).ok();
        until("a claim was tried", || liar.asked().iter().any(|asked| asked.method == "POST"));
        until("nothing is done in the background", || lab.dev.is_quiet());
        assert!(thief.asked().is_empty(), "{:?}", thief.asked());
    }
}

#[test]
fn a_token_service_is_followed_nowhere() {
    let shop = Shop::new();
    for status in [301, 302, 307, 308] {
        let thief = shop.thief();
        // The same name, another port: nowhere is nowhere.
        let to = format!("http://{}/token", thief.host);
        let liar = Liar::over(&shop.lab.store, move |asked, answer| {
            if asked.path.starts_with("/token") {
                return Answer::new(status, "").header("Location", to.as_str());
            }
            if asked.headers.contains_key("authorization") {
                return answer;
            }
            let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", asked.headers["host"]);
            Answer::new(401, "{}").header("WWW-Authenticate", realm)
        });
        for login in [json!({ "identitytoken": "refresh" }), json!({ "auth": "dTpw" })] {
            let lab = shop.developer(&liar, login);
            lab.dev.envctl(["show", &liar.task(&shop.task)]).code(6).says(&["token service", "redirects"]);
        }
        assert!(liar.asked().iter().any(|asked| String::from_utf8_lossy(&asked.body).contains("refresh")));
        assert!(thief.asked().is_empty(), "{:?}", thief.asked());
    }
}

#[test]
fn a_reading_is_not_led_to_a_service_of_this_machine() {
    let shop = Shop::new();
    let thief = shop.thief();
    for place in [
        format!("http://localhost:{}/x", port(&thief)),
        format!("http://[::1]:{}/x", port(&thief)),
        "https://10.0.0.1/x".into(),
        "https://169.254.169.254/x".into(),
    ] {
        let to = place.clone();
        let liar = Liar::over(&shop.lab.store, move |asked, answer| {
            if asked.path.contains("/blobs/") { Answer::new(307, "").header("Location", to.as_str()) } else { answer }
        });
        let lab = shop.developer(&liar, json!({}));
        lab.enter(&liar.task(&shop.task), &["true"]).code(125).says(&["redirects to where envctl does not go"]);
        assert!(thief.asked().is_empty(), "{place}");
    }
}

#[test]
fn a_list_of_tags_has_an_end() {
    let shop = Shop::new();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let liar = Liar::over(&shop.lab.store, move |asked, answer| {
        if !asked.path.contains("/tags/list") {
            return answer;
        }
        let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Answer::new(200, json!({ "tags": [format!("t{n}")] }).to_string()).header("Link", "<x>; rel=\"next\"")
    });
    let run = shop.lab.dev.envctl(["tasks", "--store", &liar.store()]).code(5);
    run.says(&["list of tags", "goes on after 1000 pages"]);
    assert_eq!(liar.asked().len(), 1000);
    let many = format!(r#"{{"tags": ["a"{}]}}"#, r#","a""#.repeat(600_000));
    let liar = Liar::over(&shop.lab.store, move |asked, answer| {
        if asked.path.contains("/tags/list") { Answer::new(200, many.as_str()) } else { answer }
    });
    shop.lab.dev.envctl(["tasks", "--store", &liar.store()]).code(5).says(&["more than 500000 tags"]);
}

/// Lists take no memory that a small machine does not have, however long they are.
#[test]
fn endless_lists_are_read_in_bounded_memory() {
    let shop = Shop::new();
    let (task, pages) = (shop.task.clone(), std::sync::atomic::AtomicUsize::new(0));
    let liar = Liar::over(&shop.lab.store, move |asked, answer| {
        let n = pages.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if asked.path.contains("/tags/list") {
            let tags: Vec<String> = (0..450_000_u64).map(|n| format!("{:x}", n * 7919)).chain([task.clone()]).collect();
            return Answer::new(200, json!({ "tags": tags }).to_string());
        }
        if !asked.path.contains("/referrers/") {
            return answer;
        }
        let entry = |at: usize| {
            let digest = sha256(&[n.to_le_bytes(), at.to_le_bytes()].concat());
            json!({ "mediaType": MANIFEST, "digest": digest, "size": 7, "annotations": { "a": "x".repeat(80) } })
        };
        let list =
            json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": (0..14_000).map(entry).collect::<Vec<_>>() });
        Answer::new(200, list.to_string()).header("Link", format!("<{}?n={n}>; rel=\"next\"", asked.path))
    });
    let binary = shop.lab.dev.binary().to_str().unwrap().to_owned();
    let limited = |words: &[&str]| {
        let script = "ulimit -v 1500000; export MALLOC_ARENA_MAX=2; exec \"$@\"";
        shop.lab.dev.call("sh", [&["-c", script, "sh", &binary], words].concat()).run()
    };
    let run = limited(&["artifacts", "ls", &liar.task(&shop.task)]);
    assert!(run.code == 0 && run.stderr.contains("left out: at least"), "{run:?}");
    let run = limited(&["tasks", "--store", &liar.store()]);
    assert!(run.code == 5 && run.stderr.contains("tags that it does not have"), "{run:?}");
}

/// A registry may say the same again and again: a task stays one task.
#[test]
fn a_tag_that_is_listed_twice_is_one_task() {
    let shop = Shop::new();
    let liar = Liar::over(&shop.lab.store, move |asked, answer| {
        if !asked.path.contains("/tags/list") {
            return answer;
        }
        let list: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let once: Vec<_> = list["tags"].as_array().unwrap().iter().flat_map(|tag| [tag, tag]).collect();
        let twice = [once.clone(), once].concat();
        Answer::new(200, json!({ "tags": twice }).to_string())
    });
    let listed = |store: &str| shop.lab.dev.envctl(["tasks", "--json", "--store", store]).ok().json()["tasks"].clone();
    let tasks = listed(&liar.store());
    assert_eq!(tasks.as_array().unwrap().len(), 1, "{tasks}");
}

/// However many it names, each is one request.
#[test]
fn tags_that_are_not_there_are_not_looked_for_without_end() {
    let shop = Shop::new();
    let tags: Vec<String> = (0..100_000).map(|n| format!("t{n}")).collect();
    let body = json!({ "tags": tags }).to_string();
    let liar = Liar::over(&shop.lab.store, move |asked, answer| {
        if asked.path.contains("/tags/list") { Answer::new(200, body.as_str()) } else { answer }
    });
    shop.lab.dev.envctl(["tasks", "--store", &liar.store()]).code(5).says(&["tags that it does not have"]);
    assert!(liar.asked().len() < 1200, "{}", liar.asked().len());
}

#[test]
fn what_drips_is_not_waited_for() {
    let shop = Shop::new();
    let end = format!("/manifests/{}", shop.task);
    let drips = |what: &'static str| {
        let end = end.clone();
        Liar::over(&shop.lab.store, move |asked, answer| {
            let here = if what == "manifest" { asked.path.ends_with(&end) } else { asked.path.contains(what) };
            if here { answer.way(Way::Drip) } else { answer }
        })
    };
    for what in ["manifest", "/blobs/"] {
        let liar = drips(what);
        let lab = shop.developer(&liar, json!({}));
        let began = Instant::now();
        let args = ["--net-timeout", "2", "enter", &liar.task(&shop.task), "--no-runtime"];
        lab.dev.envctl(args).code(7).says(&["too slowly", "--net-timeout"]);
        assert!(began.elapsed() < Duration::from_secs(30), "{what}: {:?}", began.elapsed());
    }
}

#[test]
fn a_stranger_s_words_in_an_error_have_an_end() {
    let shop = Shop::new();
    let end = format!("/manifests/{}", shop.task);
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    for document in [
        json!({ "mediaType": "x".repeat(4_000_000) }),
        json!({ "mediaType": manifest, "schemaVersion": "x".repeat(4_000_000) }),
        json!({ "mediaType": manifest, "schemaVersion": 2, "config": { "mediaType": "x", "size": 1, "digest": "x".repeat(4_000_000) } }),
    ] {
        let (end, body) = (end.clone(), document.to_string());
        let liar = Liar::over(&shop.lab.store, move |asked, answer| {
            if asked.path.ends_with(&end) {
                Answer::new(200, body.as_str()).header("Content-Type", manifest)
            } else {
                answer
            }
        });
        let run = shop.lab.dev.envctl(["show", &liar.task(&shop.task)]).run();
        assert!(run.code != 0 && run.stderr.len() < 16_384, "{} bytes", run.stderr.len());
    }
}

/// A pack, or artifacts, that say to be larger than the developer allows.
#[test]
fn what_is_larger_than_is_allowed_is_not_begun() {
    let shop = Shop::new();
    let task = format!("{}:{}", shop.lab.store.name(), shop.task);
    let enter = |task: &str| shop.lab.dev.envctl(["enter", "--no-runtime", "--no-input", task]);
    enter(&task).ok();
    shop.lab.repo.write("changed", "not committed");
    let other = shop.lab.publish(&ImageBuilder::busybox());
    shop.lab.agent.write("run.log", "long enough");
    shop.lab.agent.envctl(["artifacts", "add", &other, "--type", "logs"]).arg(shop.lab.agent.path("run.log")).ok();
    let config = shop.lab.dev.config().join("config.toml");
    shop.lab.dev.write(&config, "[workspace]\nmax_fetch = \"10\"\n");
    enter(&other).code(6).says(&["the snapshot's pack would be", "no more than 10 B may come", "max_fetch"]);
    let get = || shop.lab.dev.envctl(["artifacts", "get", &other]);
    get().code(6).says(&["the artifacts would be 11 B", "no more than 10 B may come"]);
    get().arg("--yes").code(6).says(&["the artifacts would be 11 B"]);
    // At a terminal it is the developer's decision, each time.
    let ask = |answer: &str| {
        let mut terminal = Terminal::open(&shop.lab.dev, &["artifacts", "get", &other], (24, 100));
        terminal.sees("the artifacts would be 11 B, and no more than 10 B may come at once. Fetch it all the same?");
        terminal.types(answer);
        terminal.ends()
    };
    assert_eq!(ask("n"), Some(6));
    assert_eq!(ask("y"), Some(0));
    shop.lab.dev.write(&config, "");
    enter(&other).ok();
    get().ok();
}
