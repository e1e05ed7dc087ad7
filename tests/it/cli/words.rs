//! What a stranger writes is shown as what it is, on whatever way it comes, and
//! has an end.

use serde_json::json;

use crate::support::{Answer, Call, Liar, Trip, forge};

/// Turns text around, is seen by nobody, or changes the terminal.
const HIDDEN: [char; 20] = [
    '\u{1b}',
    '\u{7}',
    '\u{9b}',
    '\u{ad}',
    '\u{34f}',
    '\u{61c}',
    '\u{115f}',
    '\u{180e}',
    '\u{200b}',
    '\u{2028}',
    '\u{202e}',
    '\u{2060}',
    '\u{2066}',
    '\u{2800}',
    '\u{3164}',
    '\u{e000}',
    '\u{fe0f}',
    '\u{feff}',
    '\u{ffa0}',
    '\u{e0041}',
];

fn hidden() -> String {
    HIDDEN.iter().map(|c| format!("x{c}")).collect()
}

#[track_caller]
fn assert_plain(call: Call, says: &str) {
    let run = call.run();
    for text in [&run.stdout, &run.stderr] {
        assert!(!text.contains(HIDDEN), "{}", text.escape_debug());
    }
    assert!((run.stdout.clone() + &run.stderr).contains(says), "{run:?}");
}

#[test]
fn every_word_of_a_task_is_escaped_by_who_prints_it() {
    let trip = Trip::new();
    let task = forge(&trip, |forged| {
        let key = format!("sha256:{}", "1".repeat(64));
        forged.identity["caches"] = json!([{ "name": hidden() + "cache", "key": key, "digest": null }]);
        forged.identity["lockfiles"] = json!([hidden() + "lock"]);
        forged.identity["agent_identity"] = (hidden() + "agent").into();
        forged.identity["handoff"]["message"] = (hidden() + "message").into();
        forged.identity["handoff"]["command"] = (hidden() + "command").into();
    });
    let dev = &trip.lab.dev;
    assert_plain(dev.envctl(["enter", "--dry-run", "--no-input", &task]), "cache");
    for words in ["message", "agent", "command"] {
        assert_plain(dev.envctl(["show", &task]), words);
    }
    for verb in ["show", "log"] {
        assert_plain(dev.envctl([verb, &task, "--json"]), "\\u061c");
        assert_plain(dev.envctl([verb, &task, "--json"]), "\\udb40\\udc41");
    }
    assert_plain(dev.envctl(["log", &task]), "message");
    assert_plain(dev.envctl(["enter", "--no-runtime", "--no-input", &task]), "workspace");
    assert_plain(dev.envctl(["status"]), "workspace");
}

#[test]
fn an_error_of_megabytes_is_cut_and_says_so() {
    let trip = Trip::new();
    trip.publish(&trip.lab.repo);
    let answer = json!({ "mediaType": "x".repeat(4_000_000) }).to_string();
    let liar = Liar::over(&trip.lab.store, move |asked, honest| match asked.path.contains("/manifests/") {
        true => Answer::new(200, answer.clone()).header("content-type", "application/vnd.oci.image.manifest.v1+json"),
        false => honest,
    });
    let task = liar.task("t");
    for flags in [&[][..], &["--json"]] {
        let run = trip.lab.dev.envctl(["show", &task]).args(flags).code(5);
        assert!(run.stdout.len() + run.stderr.len() < 1 << 14, "{} bytes", run.stdout.len() + run.stderr.len());
        let all = run.stdout + &run.stderr;
        assert!(all.contains('\u{2026}') || all.contains("characters left out"), "{all}");
    }
}

#[test]
fn a_long_message_ends() {
    let trip = Trip::new();
    let task = forge(&trip, |forged| forged.identity["handoff"]["message"] = "m".repeat(200_000).into());
    for args in [&["show", &task][..], &["log", &task]] {
        let run = trip.lab.dev.envctl(args).ok();
        let all = run.stdout + &run.stderr;
        assert!(all.contains("mmm") && all.contains("characters left out"), "{args:?}");
        assert!(all.len() < 1 << 14, "{args:?}: {} bytes", all.len());
    }
}

#[test]
fn a_list_of_a_stranger_has_an_end_and_json_has_all_of_it() {
    let trip = Trip::new();
    let task = forge(&trip, |forged| {
        let lockfiles = (0..1500).map(|n| format!("{n}:sha256:{}", "1".repeat(64))).collect::<Vec<_>>();
        forged.identity["lockfiles"] = json!(lockfiles);
        let caches =
            (0..100).map(|n| json!({ "name": n.to_string(), "key": format!("sha256:{n:064}"), "digest": null }));
        forged.identity["caches"] = caches.collect();
    });
    let dev = &trip.lab.dev;
    let other = trip.publish(&trip.lab.repo);
    for words in [&["diff", &task, &other][..], &["show", &task]] {
        let run = dev.envctl(words).ok();
        assert!(run.stdout.len() < 300 << 10 && run.stdout.lines().count() <= 1001, "{words:?}: {}", run.stdout.len());
        let last = run.stdout.lines().last().unwrap();
        assert!(last.starts_with("... and ") && last.contains(" more lines; --json"), "{words:?}: {last}");
    }
    let whole = dev.envctl(["diff", &task, &other, "--json"]).ok().json();
    assert_eq!(whole["lockfiles"].as_array().unwrap().len(), 1500);
}
