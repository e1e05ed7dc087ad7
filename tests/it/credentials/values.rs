//! Values that are known to be secret do not travel in any spelling.

use super::{published, refused, shown};
use crate::support::{Home, Repo, Trip};

const VALUE: &str = "correct horse/battery \"staple\" 7";

/// The project asks for a secret, and the user says where it is.
fn with_secret(source: &str) -> Trip {
    let trip = Trip::new();
    trip.lab.repo.write("envctl.toml", "[runtime]\nsecrets = [\"SERVICE_LOGIN\"]\n");
    trip.lab.repo.commit("project");
    trip.lab.repo.push();
    trip.lab.agent.write("config/envctl/config.toml", format!("[secrets]\nSERVICE_LOGIN = {source:?}\n"));
    trip.lab.agent.write("config/envctl/login", format!("{VALUE}\n"));
    trip
}

fn encoded(home: &Home, program: &str, script: &str) -> String {
    home.call(program, ["-c", script, VALUE]).ok().stdout
}

#[test]
fn case_48_a_value_is_found_in_every_spelling() {
    let trip = with_secret("file:login");
    let (repo, home) = (&trip.lab.repo, &trip.lab.agent);
    let python = |expression: &str| {
        encoded(home, "python3", &format!("import sys,json,base64,urllib.parse as u;v=sys.argv[1];print({expression})"))
    };
    let base64 = encoded(home, "sh", "printf 'user:%s' \"$0\" | base64 -w 20");
    for (path, content) in [
        ("plain.txt", format!("one\nthe login is {VALUE}.\n")),
        ("base64.yaml", format!("one\ndata: |\n  {}\n", base64.trim_end().replace('\n', "\n  "))),
        ("shifted.txt", format!("one\n{}", python("base64.urlsafe_b64encode(b'x'+v.encode()).decode()"))),
        ("url.txt", format!("one\nhttps://u:{}@a.example\n", python("u.quote(v,safe='')").trim_end())),
        ("path.txt", format!("one\n{}", python("u.quote(v)"))),
        ("form.txt", format!("one\n{}", python("u.quote_plus(v)"))),
        ("quoted.json", format!("one\n{}", python("json.dumps({'v': v})"))),
    ] {
        repo.write(path, content);
    }
    repo.write("binary.dat", [b"\0\x01\xff", VALUE.as_bytes(), b"\0"].concat());
    let (_, details) = refused(&trip, repo, &[], &[VALUE]);
    let lines = shown(&details);
    let expected = [
        "base64.yaml:3 injected-secret",
        "binary.dat injected-secret",
        "form.txt:2 injected-secret",
        "path.txt:2 injected-secret",
        "plain.txt:2 injected-secret",
        "quoted.json:2 injected-secret",
        "shifted.txt:2 injected-secret",
        "url.txt:2 injected-secret",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn case_48_every_source_of_a_secret_counts() {
    for source in ["file:login", "env:THE_LOGIN", "cmd:cat \"$XDG_CONFIG_HOME\"/envctl/login"] {
        let trip = with_secret(source);
        trip.lab.repo.write("a.txt", VALUE);
        let run = trip.publishing(&trip.lab.repo, "t").env("THE_LOGIN", VALUE).arg("--json").code(6);
        assert_eq!(shown(run.json()["error"]["details"].as_array().unwrap()), ["a.txt:1 injected-secret"], "{source}");
        assert!(!run.stdout.contains("battery") && !run.stderr.contains("battery"));
    }
    // A source that fails is named, and is no reason to stop.
    let trip = with_secret("cmd:exit 3");
    trip.publishing(&trip.lab.repo, "t").ok().says(&["the value of SERVICE_LOGIN is not looked for"]);
}

#[test]
fn case_48_what_the_environment_calls_a_secret() {
    let trip = Trip::new();
    let value = "q7Rt2mXw9LcV4zKp";
    trip.lab.repo.write("out.log", format!("logged in with {value}\n"));
    published(trip.publishing(&trip.lab.repo, "t").env("BUILD_NUMBER", value));
    let publishing = || trip.publishing(&trip.lab.repo, "u").env("DEPLOY_TOKEN", value);
    let run = publishing().arg("--json").code(6);
    assert_eq!(shown(run.json()["error"]["details"].as_array().unwrap()), ["out.log:1 injected-secret"]);
    assert!(!run.stdout.contains(value) && !run.stderr.contains(value));
    published(publishing().arg("--redact"));
}

#[test]
fn case_48_a_value_in_names_and_words() {
    type Plant = fn(&Repo);
    let plants: [(Plant, &str); 4] = [
        (|repo| repo.write("dir/a-hunter2-hunter2/x", "x"), "the name of a file"),
        (|repo| drop(repo.git(&["checkout", "--quiet", "-b", "agent/hunter2-hunter2"])), "the list of paths"),
        (
            |repo| drop(repo.git(&["commit", "--quiet", "--allow-empty", "-m", "is hunter2-hunter2"])),
            "the message of commit",
        ),
        (
            |repo| {
                repo.git(&["config", "core.sparseCheckout", "true"]);
                repo.git(&["config", "core.sparseCheckoutCone", "false"]);
                repo.write(".git/info/sparse-checkout", "/*\n!/hunter2-hunter2/\n");
            },
            "the list of paths",
        ),
    ];
    for (plant, place) in plants {
        let trip = with_secret("file:login");
        trip.lab.agent.write("config/envctl/login", "hunter2-hunter2");
        plant(&trip.lab.repo);
        let run = trip.publishing(&trip.lab.repo, "t").code(6).says(&[place, "injected-secret"]);
        assert!(!run.stderr.contains("hunter2") && trip.lab.store.tags().is_empty(), "{}", run.stderr);
    }
}

#[test]
fn case_48_no_comment_allows_a_known_value() {
    let trip = with_secret("file:login");
    trip.lab.repo.write("a.py", format!("x = '{VALUE}' # envctl:allow gitleaks:allow\n"));
    let (_, details) = refused(&trip, &trip.lab.repo, &[], &[VALUE]);
    assert_eq!(shown(&details), ["a.py:1 injected-secret"]);
    // Beyond what the rules look at.
    trip.lab.repo.write("a.py", format!("{}{VALUE}", "\n".repeat(17 << 20)));
    let (_, details) = refused(&trip, &trip.lab.repo, &[], &[VALUE]);
    assert_eq!(details.len(), 1);
}
