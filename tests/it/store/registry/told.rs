//! What `ENVCTL_LOG` tells, and what it never does.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::access::base64;
use crate::support::{ImageBuilder, Lab, PASSWORD, RealRegistry, USER, Wants};

#[test]
fn what_envctl_does_is_told_to_whoever_asks_without_what_lets_it_in() {
    let registry = RealRegistry::that(Wants { password: true, ..Wants::default() });
    let login = base64(&format!("{USER}:{PASSWORD}"));
    for (name, lab) in [("root", Lab::new()), ("user", Lab::unprivileged())] {
        let store = registry.repository(name);
        let task = format!("{store}:task-1");
        let auth = json!({ "auths": { registry.host.as_str(): { "auth": login } } }).to_string();
        for home in [&lab.agent, &lab.dev] {
            home.write("home/.docker/config.json", &auth);
        }
        let told = |home: &crate::support::Home| {
            let path = home.path("home/log");
            let text = fs::read_to_string(&path).unwrap();
            for never in [PASSWORD, &login, "uthorization", "hunter2"] {
                assert!(!text.contains(never), "{never}: {text}");
            }
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            text
        };
        let image = lab.images.add("image", &ImageBuilder::busybox()).reference;
        let publish = lab.agent.envctl(["publish", "task-1", "--store", &store, "--image", &image]);
        publish.cwd(&lab.repo.path).env("ENVCTL_LOG", lab.agent.path("home/log")).ok();
        let text = told(&lab.agent);
        let put = format!("PUT http://{}/v2/{name}/manifests/task-1 ms=", registry.host);
        for line in ["envctl 0.1.0 publish process=", "git pack-objects", "status=201", &put, "done code=0"] {
            assert!(text.contains(line), "{line}: {text}");
        }

        // The words of the command are the developer's.
        let log = lab.dev.path("home/log");
        lab.enter(&task, &["sh", "-c", "exit 3 # hunter2"]).env("ENVCTL_LOG", &log).code(3);
        lab.dev.envctl(["show", &format!("{store}:none")]).env("ENVCTL_LOG", &log).code(3);
        let text = told(&lab.dev);
        for line in ["enter process=", "step resolve", "git fetch goes to file://", "step reset", "done code=3"] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(text.contains("show process=") && text.contains("ERROR") && text.contains("exit_code=3"), "{text}");

        // Who does not ask is told nothing, and who asks wrongly how to do it.
        let quiet = lab.enter(&task, &["true"]).ok();
        assert!(!quiet.stderr.contains("step "), "{quiet:?}");
        lab.enter(&task, &["true"]).env("ENVCTL_LOG", "stderr").ok().says(&["INFO step start"]);
        lab.enter(&task, &["true"]).env("ENVCTL_LOG", "debug").ok().says(&["ENVCTL_LOG is debug"]);
        assert_eq!(told(&lab.dev), text);
        lab.dev.envctl(["reset", "--all", "--yes"]).run();
    }
}
