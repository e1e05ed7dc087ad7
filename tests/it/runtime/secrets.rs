//! Secrets reach the inside and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Alive, ImageBuilder, Lab};

const PROJECT: &str = "[runtime]\nsecrets = [\"ONE\", \"TWO:file\", \"THREE:env\", \"NONE\"]\n";

/// Values that stand nowhere else on this machine.
struct Values([String; 3]);

impl Values {
    fn new() -> Self {
        let number = std::process::id();
        Values(["first", "second", "third"].map(|name| format!("{name}-{number}-value")))
    }

    /// The developer's configuration: a variable, a file, a command.
    fn configure(&self, lab: &Lab) {
        let text = "[secrets]\nONE = \"env:MY_ONE\"\nTWO = \"file:two.txt\"\nTHREE = \"cmd:printf '%s\\n' \\\"$MY_THREE\\\"\"\n";
        lab.dev.write("config/envctl/config.toml", text);
        lab.dev.write("config/envctl/two.txt", format!("{}\n", self.0[1]));
    }

    fn given(&self, call: crate::support::Call) -> crate::support::Call {
        call.env("MY_ONE", &self.0[0]).env("MY_THREE", &self.0[2])
    }

    /// Files below a folder that hold one of the values.
    fn found_in(&self, folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                found.extend(self.found_in(&entry.path()));
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes);
                if self.0.iter().any(|value| text.contains(value.as_str())) {
                    found.push(entry.path());
                }
            }
        }
        found
    }
}

/// A task whose project wants secrets, and that has leave to.
fn approved(lab: &Lab, values: &Values) -> String {
    lab.repo.write("envctl.toml", PROJECT);
    values.configure(lab);
    let task = lab.publish(&ImageBuilder::busybox());
    let refused = values.given(lab.dev.envctl(["enter", &task, "--", "true"])).code(125);
    let digest = refused.stderr.split("--digest ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    lab.dev.envctl(["approve", "--digest", &digest]).ok();
    task
}

both!(case_46_they_are_inside_and_nowhere_else);
fn case_46_they_are_inside_and_nowhere_else(lab: Lab) {
    let values = Values::new();
    let task = approved(&lab, &values);
    let script = "echo $ONE ${TWO-unset} $THREE ${NONE-unset}; cat /run/secrets/ONE /run/secrets/TWO; echo
        ls /run/secrets; stat -c '%a %U' /run/secrets/TWO; (echo x >/run/secrets/new) 2>/dev/null || echo full";
    let run = values.given(lab.enter(&task, &["sh", "-c", script])).ok();
    let [one, two, three] = &values.0;
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[0], format!("{one} unset {three} unset"));
    assert_eq!(lines[1], format!("{one}{two}"));
    assert_eq!(&lines[2..], ["ONE", "TWO", "400 dev", "full"]);
    assert!(run.stderr.contains("NONE") && run.stderr.contains("no source"), "{}", run.stderr);
    // Neither the words of the command, nor the report, nor any file.
    assert!(values.0.iter().all(|value| !run.stderr.contains(value.as_str())), "{}", run.stderr);
    let report = lab.report();
    assert!(values.0.iter().all(|value| !report.to_string().contains(value.as_str())), "{report}");
    assert_eq!(report["receipt"]["secrets"], serde_json::json!({ "removed": 3, "left": 0 }));
    assert_eq!(report["receipt"]["exposed"], serde_json::json!([]));
    // What would be said with a value in it is said without.
    let said = values.given(lab.enter(&task, &[one])).code(127).stderr;
    assert!(said.contains("[secret]") && !said.contains(one.as_str()), "{said}");
    let alive = {
        let script = "echo ready; sleep 1000; :";
        let call = values.given(lab.dev.envctl(["enter", &task, "--", "sh", "-c", script]));
        let mut child = call.spawn();
        let mut line = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        child
    };
    let status = lab.dev.envctl(["status", "--json"]).ok();
    assert!(values.0.iter().all(|value| !status.stdout.contains(value.as_str())), "{}", status.stdout);
    let joined = lab.dev.envctl(["exec", &task, "--", "sh", "-c", "echo $ONE"]).ok();
    assert_eq!(joined.stdout.trim(), one, "those who join have them as well");
    let mut alive = alive;
    alive.kill().unwrap();
    alive.wait().unwrap();
    lab.dev.envctl(["reset", &task]).ok();
    let own = lab.dev.path("config/envctl/two.txt");
    assert_eq!(values.found_in(&lab.dev.path("")), [own]);
    lab.assert_baseline();
}

both!(a_file_of_the_workspace_that_holds_one_is_named);
fn a_file_of_the_workspace_that_holds_one_is_named(lab: Lab) {
    let values = Values::new();
    let task = approved(&lab, &values);
    let script = "mkdir -p d; echo \"token = $ONE\" >d/config; cp /run/secrets/TWO copy; echo innocent >other";
    let run = values.given(lab.enter(&task, &["sh", "-c", script])).ok();
    assert!(run.stderr.contains("d/config in the workspace"), "{}", run.stderr);
    assert!(values.0.iter().all(|value| !run.stderr.contains(value.as_str())));
    assert_eq!(lab.report()["receipt"]["exposed"], serde_json::json!(["copy", "d/config"]));
    assert_eq!(lab.report()["receipt"]["unsearched"], 0);
    // They stay known when their values are not, until somebody writes to them.
    let workspace = lab.dev.envctl(["workspace", "path", &task]).ok().stdout.trim_end().to_owned();
    let publish = || lab.dev.envctl(["publish", "later", "--store", &lab.store.name()]).cwd(&workspace);
    publish().code(6).says(&["copy:1: injected-secret", "d/config: left-by-a-run"]);
    fs::write(format!("{workspace}/copy"), "innocent").unwrap();
    fs::remove_file(format!("{workspace}/d/config")).unwrap();
    publish().ok();
    // Another run does not change them, and says nothing.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let again = values.given(lab.enter(&task, &["true"])).ok();
    assert!(!again.stderr.contains("d/config"), "{}", again.stderr);
}

#[test]
fn without_them_and_with_a_source_that_fails() {
    let lab = Lab::new();
    let values = Values::new();
    let task = approved(&lab, &values);
    let run = lab.enter(&task, &["sh", "-c", "echo x"]).code(125);
    assert!(run.stderr.contains("ONE") && run.stderr.contains("--no-secrets"), "{}", run.stderr);
    lab.dev
        .envctl(["enter", "--no-secrets", &task, "--", "sh", "-c", "test -z \"$ONE\" && ! test -e /run/secrets"])
        .ok();
    lab.assert_baseline();
}

both!(the_developers_own_state_is_not_visible);
/// Nothing of the developer's own is there unless it is named.
fn the_developers_own_state_is_not_visible(lab: Lab) {
    let secret = "of-the-developer-alone";
    for path in
        ["home/.docker/config.json", "home/.config/gh/hosts.yml", "home/.git-credentials", "home/.ssh/id_ed25519"]
    {
        lab.dev.write(path, secret);
    }
    let task = lab.publish(&ImageBuilder::busybox());
    let agent = lab.dev.path("agent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&agent).unwrap();
    let find = "grep -rlF of-the-developer-alone / --exclude-dir=proc --exclude-dir=sys 2>/dev/null; env";
    let call = lab.enter(&task, &["sh", "-c", find]).env("SSH_AUTH_SOCK", &agent);
    let run = call.env("GH_TOKEN", secret).env("GIT_ASKPASS", secret).ok();
    assert!(!run.stdout.contains(secret) && !run.stdout.contains("SSH_AUTH_SOCK"), "{}", run.stdout);
    drop(listener);
}

/// Neither many folders nor closed ones hide a value, and what cannot be read
/// is counted.
#[test]
fn what_cannot_be_searched_is_never_taken_for_clean() {
    let lab = crate::support::Lab::unprivileged();
    let values = Values::new();
    let task = approved(&lab, &values);
    let script = "mkdir many closed; cd many; i=0; while [ $i -lt 600 ]; do mkdir d$i; i=$((i+1)); done; cd ..
        echo $ONE | tee many/d0/file many/d599/file closed/file >unreadable; chmod 0300 closed; chmod 0 unreadable";
    let report = lab.dev.path("narrow.json");
    let words = ["enter", "--report", report.to_str().unwrap(), &task, "--", "sh", "-c", script];
    let binary = lab.dev.binary().to_str().unwrap();
    let call = lab.dev.call("sh", ["-c", "ulimit -n 256; exec \"$@\"", "sh", binary]).args(words);
    let run = values.given(call).ok();
    let report: serde_json::Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let expected = serde_json::json!(["closed/file", "many/d0/file", "many/d599/file"]);
    assert_eq!((&report["receipt"]["exposed"], &report["receipt"]["unsearched"]), (&expected, &1.into()));
    assert!(run.stderr.contains("could not be searched"), "{}", run.stderr);
}

both!(an_owner_that_is_killed_leaves_none);
fn an_owner_that_is_killed_leaves_none(lab: Lab) {
    let values = Values::new();
    let task = approved(&lab, &values);
    // Through a runtime that nobody cleans up after.
    let call = values.given(lab.dev.envctl(["enter", "--detach", "--json", &task]));
    let lease = call.ok().json();
    assert_eq!(lease["secrets"], serde_json::json!(["ONE", "TWO", "THREE"]));
    let pid = rustix::process::Pid::from_raw(lease["owner"]["pid"].as_i64().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let reset = lab.dev.envctl(["reset", &task, "--json"]).ok().json();
    // Nobody was left who knew the values.
    let receipt = &reset["receipts"][0];
    assert_eq!((&receipt["exposed"], &receipt["secrets"]["left"]), (&serde_json::Value::Null, &0.into()), "{receipt}");
    assert_eq!(values.found_in(&lab.dev.path("")), [lab.dev.path("config/envctl/two.txt")]);
    let _ = Alive::start_with(&lab, &["--no-secrets"], &task, "").kill_owner();
}
