//! Registries that fail without malice: they are asked again, a bounded
//! number of times.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::evidence::Shop;
use crate::support::{Answer, Asked, Entry, Habits, ImageBuilder, Lab, Layer, Liar, Modern, Way};

/// A task with a layer of some size, in the lab's layout.
fn task(lab: &Lab) -> (String, Layer) {
    let noise: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let layer = Layer::new([Entry::file("noise", noise)]);
    let image = ImageBuilder::busybox().layer(layer.clone());
    let task = lab.publish(&image);
    (task.rsplit_once(':').unwrap().1.to_owned(), layer)
}

fn is_blob(asked: &Asked, layer: &str) -> bool {
    asked.method == "GET" && asked.path.ends_with(layer)
}

#[test]
fn a_cut_blob_goes_on_where_it_was_cut() {
    let lab = Lab::new();
    let (task, layer) = task(&lab);
    let digest = layer.digest();
    let left = AtomicUsize::new(3);
    let name = digest.clone();
    let liar = Liar::over(&lab.store, move |asked, answer| {
        let cut = is_blob(asked, &name)
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if cut { answer.way(Way::Cut(700_000)) } else { answer }
    });
    assert_eq!(lab.sh(&liar.task(&task), "wc -c </noise"), "3000000\n");
    let asked = liar.asked();
    let blobs = asked.iter().filter(|asked| is_blob(asked, &digest));
    let ranges: Vec<_> = blobs.map(|asked| asked.headers.get("range").map(String::as_str)).collect();
    assert_eq!(ranges, [None, Some("bytes=700000-"), Some("bytes=1400000-"), Some("bytes=2100000-")]);
}

#[test]
fn a_registry_without_ranges_is_read_from_the_start() {
    let lab = Lab::new();
    let (task, layer) = task(&lab);
    let digest = layer.digest();
    let first = AtomicUsize::new(0);
    let store = lab.store.clone();
    let blob = std::fs::read(store.blob(&digest)).unwrap();
    let liar = Liar::over(&lab.store, move |asked, answer| {
        if !is_blob(asked, &digest) {
            return answer;
        }
        let whole = Answer::new(200, blob.clone());
        if first.fetch_add(1, Ordering::SeqCst) == 0 { whole.way(Way::Cut(1_000_000)) } else { whole }
    });
    assert_eq!(lab.sh(&liar.task(&task), "wc -c </noise"), "3000000\n");
}

#[test]
fn a_blob_that_is_pieced_together_wrongly_is_refused() {
    let lab = Lab::new();
    let (task, layer) = task(&lab);
    let digest = layer.digest();
    let first = AtomicUsize::new(0);
    let liar = Liar::over(&lab.store, move |asked, mut answer| {
        if !is_blob(asked, &digest) {
            return answer;
        }
        if first.fetch_add(1, Ordering::SeqCst) == 0 {
            return answer.way(Way::Cut(1_000_000));
        }
        answer.body.iter_mut().for_each(|byte| *byte ^= 1);
        answer
    });
    lab.enter(&liar.task(&task), &["true"]).code(125).says(&["error:", "does not match"]);
    assert_eq!(lab.report()["error"]["kind"], "integrity");
    assert!(lab.leftovers().is_empty(), "{:?}", lab.leftovers());
}

#[test]
fn a_busy_registry_is_asked_again_when_it_says() {
    let lab = Lab::new();
    let (task, _) = task(&lab);
    for (status, after) in [(429, Some("2")), (503, None), (502, None)] {
        let refused = AtomicUsize::new(2);
        let liar = Liar::over(&lab.store, move |_, answer| {
            if refused.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
                return answer;
            }
            let busy = Answer::new(status, "{}");
            after.map_or(busy.clone(), |after| busy.header("Retry-After", after))
        });
        let lab = lab.with_developer(crate::support::Home::new());
        let start = Instant::now();
        let run = lab.dev.envctl(["enter", &liar.task(&task), "--no-runtime"]).ok();
        if after.is_some() {
            assert!(start.elapsed().as_secs() >= 4, "it was told to wait");
            assert!(run.stderr.contains("Waiting"), "{}", run.stderr);
        }
    }
}

/// A registry on a folder denies a blob while somebody else puts the same one.
#[test]
fn case_54_a_registry_that_denies_what_it_was_given_is_given_it_again() {
    let registry = Modern::start(Habits { denies: 1, ..Habits::default() });
    let shop = Shop::at(registry.store());
    shop.publish("t");
    let puts: Vec<String> = registry.asked().into_iter().filter(|asked| asked.starts_with("PUT ")).collect();
    let manifests = puts.iter().filter(|asked| asked.contains("/manifests/sha256:")).count();
    assert!(puts.len() >= 8 && manifests >= 2, "each blob and each manifest came twice: {puts:?}");
    shop.enter("t");
    // Not for ever.
    let registry = Modern::start(Habits { denies: usize::MAX, ..Habits::default() });
    Shop::at(registry.store()).publishing("t").code(1).says(&["answers 400", "no such thing"]);
    assert_eq!(registry.asked().iter().filter(|asked| asked.starts_with("PUT ")).count(), 5);
}

#[test]
fn it_is_not_asked_for_ever() {
    let lab = Lab::new();
    let (task, _) = task(&lab);
    let liar = Liar::over(&lab.store, |_, _| Answer::new(503, r#"{"errors":[{"message":"down for today"}]}"#));
    let run = lab.dev.envctl(["enter", &liar.task(&task), "--no-runtime"]).code(7);
    run.says(&["cannot answer now", "503", "down for today", "hint:"]);
    assert!(liar.asked().len() <= 5, "{}", liar.asked().len());
    // An hour is too long.
    let liar = Liar::over(&lab.store, |_, _| Answer::new(429, "{}").header("Retry-After", "3600"));
    lab.dev.envctl(["enter", &liar.task(&task), "--no-runtime"]).code(7).says(&["429"]);
    assert_eq!(liar.asked().len(), 1);
}

#[test]
fn a_dead_registry_and_a_silent_one() {
    let lab = Lab::new();
    let (task, _) = task(&lab);
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("{}/acme/tasks:{task}", listener.local_addr().unwrap())
    };
    for args in [vec!["enter", &gone, "--no-runtime"], vec!["show", &gone]] {
        lab.dev.envctl(args).code(7).says(&["error:", "does not answer", "refused", "hint:"]);
    }
    let silent = Liar::over(&lab.store, |_, answer| answer.way(Way::Silent));
    let start = Instant::now();
    let task = silent.task(&task);
    let run = lab.dev.envctl(["enter", &task, "--no-runtime", "--net-timeout", "1"]).code(7);
    run.says(&["does not answer in time", "--net-timeout"]);
    assert!(start.elapsed().as_secs() < 20);
    lab.dev.envctl(["enter", &task, "--offline"]).code(125).says(&["--offline"]);
}

#[test]
fn one_request_resolves_a_task() {
    let lab = Lab::new();
    let (task, _) = task(&lab);
    let liar = Liar::honest(&lab.store);
    lab.dev.envctl(["show", &liar.task(&task)]).ok();
    let asked = liar.asked();
    // The others are for who entered before, and for what was published beside it.
    let is_beside =
        |asked: &&Asked| ["claim-", "id-beside-"].iter().any(|tag| asked.path.contains(&format!("/manifests/{tag}")));
    assert_eq!(asked.iter().filter(|asked| !is_beside(asked)).count(), 1, "{asked:?}");
    assert_eq!(asked.len(), 3, "{asked:?}");
    lab.dev.write("config/envctl/config.toml", "claims = false\n");
    lab.dev.envctl(["show", &liar.task(&task)]).ok();
    assert_eq!(liar.asked().len(), 5, "{:?}", liar.asked());
}
