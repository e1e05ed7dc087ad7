//! Who is let in: passwords, helpers, certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::{Call, ImageBuilder, Lab, RealRegistry, Terminal, Wants, until};

pub(super) fn base64(text: &str) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |bytes: &[u8]| {
        let word = bytes.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - bytes.len()));
        let digit =
            |n: usize| if n <= bytes.len() { digits[(word >> (18 - 6 * n) & 63) as usize] as char } else { '=' };
        (0..4).map(digit).collect::<String>()
    };
    text.as_bytes().chunks(3).map(group).collect()
}

/// An auth file that knows the registry.
fn auth_file(registry: &RealRegistry, password: &str) -> String {
    let user = crate::support::USER;
    json!({ "auths": { registry.host.as_str(): { "auth": base64(&format!("{user}:{password}")) } } }).to_string()
}

fn publishing(lab: &Lab, store: &str) -> Call {
    let image = lab.images.add("image", &ImageBuilder::busybox()).reference;
    lab.agent.envctl(["publish", "task-1", "--store", store, "--image", &image]).cwd(&lab.repo.path)
}

#[test]
fn a_password_is_found_where_others_keep_it() {
    let registry = RealRegistry::that(Wants { password: true, tls: false, ..Wants::default() });
    let store = registry.repository("acme/tasks");
    let lab = Lab::new();
    let says = ["denies access to acme/tasks", "log in", "docker login", &registry.host];
    publishing(&lab, &store).code(1).says(&says);
    lab.agent.write("home/.docker/config.json", auth_file(&registry, "wrong"));
    publishing(&lab, &store).code(1).says(&says);
    lab.agent.write("home/.docker/config.json", auth_file(&registry, crate::support::PASSWORD));
    publishing(&lab, &store).ok();

    let task = format!("{store}:task-1");
    let enter = || lab.enter(&task, &["true"]);
    enter().code(125).says(&says);
    // Podman's places, the one that is named, and docker's other one.
    let right = auth_file(&registry, crate::support::PASSWORD);
    for place in ["config/containers/auth.json", "runtime/containers/auth.json", "named.json", "docker/config.json"] {
        let lab = lab.with_developer(crate::support::Home::new());
        lab.dev.write(place, &right);
        let call = lab.enter(&task, &["sh", "-c", "cat ~/.docker/config.json; env"]);
        let call = call.env("XDG_RUNTIME_DIR", lab.dev.path("runtime"));
        let call = match place {
            "named.json" => call.env("REGISTRY_AUTH_FILE", lab.dev.path(place)),
            "docker/config.json" => call.env("DOCKER_CONFIG", lab.dev.path("docker")),
            _ => call,
        };
        let run = call.ok();
        // Nothing of it is inside, or in what is left outside.
        let secret = base64(&format!("{}:{}", crate::support::USER, crate::support::PASSWORD));
        assert!(!run.stdout.contains(&secret) && !run.stdout.contains("REGISTRY_AUTH"), "{}", run.stdout);
        for folder in [lab.dev.cache(), lab.dev.data(), lab.dev.state()] {
            let hits = lab.dev.call("grep", ["-rlE", &format!("{secret}|{}", crate::support::PASSWORD)]).arg(folder);
            assert_eq!(hits.run().stdout, "");
        }
    }
}

#[test]
fn a_credential_helper_is_asked() {
    let registry = RealRegistry::that(Wants { password: true, tls: false, ..Wants::default() });
    let store = registry.repository("acme/tasks");
    let lab = Lab::new();
    lab.agent
        .write("home/.docker/config.json", json!({ "credHelpers": { registry.host.as_str(): "vault" } }).to_string());
    publishing(&lab, &store).code(1).says(&["docker-credential-vault", "not on the PATH", &registry.host, "hint:"]);
    let helper = lab.agent.path("bin/docker-credential-vault");
    let (user, password) = (crate::support::USER, crate::support::PASSWORD);
    let script = format!(
        "#!/bin/sh\nread -r host\n[ \"$1 $host\" = 'get {}' ] || exit 1\nprintf '{{\"ServerURL\":\"x\",\"Username\":\"{user}\",\"Secret\":\"{password}\"}}'\n",
        registry.host
    );
    lab.agent.write(&helper, script);
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", lab.agent.path("bin").display());
    publishing(&lab, &store).env("PATH", &path).ok();
    lab.agent.write(&helper, "#!/bin/sh\necho 'the vault is locked'; exit 1\n");
    publishing(&lab, &store)
        .env("PATH", &path)
        .code(1)
        .says(&["docker-credential-vault failed", "docker-credential-vault get"]);
    // A helper may say the password, and fail then: nothing of it is repeated.
    lab.agent
        .write(&helper, "#!/bin/sh\necho '{\"Username\":\"u\",\"Secret\":\"hunter2\"}'; echo hunter2 >&2; exit 1\n");
    let run = publishing(&lab, &store).env("PATH", &path).code(1);
    assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
}

/// A place where tasks can be listed with what a helper says alone.
fn with_helper(script: &str) -> (RealRegistry, Lab, String) {
    let registry = RealRegistry::that(Wants { password: true, tls: false, ..Wants::default() });
    let lab = Lab::new();
    lab.agent
        .write("home/.docker/config.json", json!({ "credHelpers": { registry.host.as_str(): "vault" } }).to_string());
    let helper = lab.agent.path("bin/docker-credential-vault");
    lab.agent.write(&helper, format!("#!/bin/sh\ncd '{}'\n{script}", lab.agent.path("").display()));
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", lab.agent.path("bin").display());
    (registry, lab, path)
}

/// Who is named in a file has ended, or does within moments.
fn assert_ends(lab: &Lab, file: &str) {
    let pid = fs::read_to_string(lab.agent.path(file)).unwrap();
    // Who was killed may wait for its parent.
    let alive = || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "));
    until("the helper has ended", || !alive());
}

const SLOW: &str = "sleep 1000 & echo $! >sleeper\necho $$ >helper\nwait\n";

#[test]
fn a_credential_helper_that_never_answers_is_ended_and_named() {
    let (registry, lab, path) = with_helper(SLOW);
    let tasks = ["tasks", "--store", &registry.repository("acme/tasks"), "--net-timeout", "2"];
    let says = ["docker-credential-vault did not answer", &registry.host, "within 2s", "docker-credential-vault get"];
    lab.agent.envctl(tasks).env("PATH", &path).code(7).says(&says);
    assert_ends(&lab, "helper");
    assert_ends(&lab, "sleeper");
    lab.agent.write(lab.agent.path("bin/docker-credential-vault"), "no program\n");
    lab.agent.envctl(tasks).env("PATH", &path).code(1).says(&["docker-credential-vault cannot be started", "version"]);
}

#[test]
fn a_credential_helper_ends_with_envctl() {
    let (registry, lab, path) = with_helper(SLOW);
    let tasks = ["tasks", "--store", &registry.repository("acme/tasks")];
    let mut envctl = lab.agent.envctl(tasks).env("PATH", &path).spawn();
    until("the helper runs", || lab.agent.path("helper").exists());
    envctl.kill().unwrap();
    envctl.wait().unwrap();
    assert_ends(&lab, "helper");
    assert_ends(&lab, "sleeper");
}

#[test]
fn a_credential_helper_asks_on_the_terminal_where_somebody_may_be_asked() {
    let (registry, lab, path) =
        with_helper("(echo 'your PIN?' >/dev/tty) 2>/dev/null && echo yes >has-terminal\nexit 1\n");
    let store = registry.repository("acme/tasks");
    let script = format!("PATH={path}; export PATH; exec \"$0\" \"$@\" tasks --store {store} $WORDS");
    for (words, asks) in [("--no-input", false), ("", true)] {
        let script = script.replace("$WORDS", words);
        let mut terminal = Terminal::shell(&lab.agent, &script, lab.agent.binary().to_str().unwrap());
        terminal.ends();
        assert_eq!(lab.agent.path("has-terminal").exists(), asks, "{words:?}");
        assert_eq!(terminal.rest().contains("your PIN?"), asks, "{words:?}");
    }
}

#[test]
fn tls_with_an_authority_of_ones_own() {
    let registry = RealRegistry::that(Wants { password: true, tls: true, ..Wants::default() });
    let store = registry.repository("acme/tasks");
    let lab = Lab::new();
    for home in [&lab.agent, &lab.dev] {
        home.write("home/.docker/config.json", auth_file(&registry, crate::support::PASSWORD));
    }
    // Loopback is plain unless the user says otherwise.
    let settings = |line: String| format!("[registries.\"{}\"]\n{line}\n", registry.host);
    lab.agent.write("config/envctl/config.toml", settings("plain_http = false".into()));
    publishing(&lab, &store).code(7).says(&["cannot prove who it is", "registries", "ca = "]);
    let ca = settings(format!("ca = \"{}\"", registry.ca().display()));
    for home in [&lab.agent, &lab.dev] {
        home.write("config/envctl/config.toml", &ca);
    }
    publishing(&lab, &store).ok();
    assert_eq!(lab.sh(&format!("{store}:task-1"), "echo in"), "in\n");
    // A file that is no certificate.
    let wrong = settings(format!("ca = \"{}\"", lab.agent.path("home/.docker/config.json").display()));
    lab.agent.write("config/envctl/config.toml", wrong);
    publishing(&lab, &store).code(2).says(&["holds no certificate"]);
    lab.agent.write("config/envctl/config.toml", settings("ca = \"/nowhere/ca.pem\"".into()));
    publishing(&lab, &store).code(1).says(&["/nowhere/ca.pem"]);
}

#[test]
fn tls_where_there_is_none() {
    let registry = RealRegistry::start();
    let lab = Lab::new();
    let config = format!("[registries.\"{}\"]\nplain_http = false\n", registry.host);
    lab.agent.write("config/envctl/config.toml", config);
    publishing(&lab, &registry.repository("acme/x")).code(7).says(&["does not speak TLS", "plain_http = true"]);
}

/// Attaching, listing and removing are let in by the same password.
#[test]
fn evidence_and_removal_with_a_password() {
    let registry = RealRegistry::that(Wants { password: true, tls: true, ..Wants::default() });
    let lab = Lab::new();
    for home in [&lab.agent, &lab.dev] {
        let settings = format!("[registries.\"{}\"]\nca = \"{}\"\n", registry.host, registry.ca().display());
        home.write("config/envctl/config.toml", settings);
    }
    let store = registry.repository("acme/tasks");
    let task = format!("{store}:task-1");
    lab.agent.write("home/.docker/config.json", auth_file(&registry, crate::support::PASSWORD));
    publishing(&lab, &store).ok();
    lab.agent.write("log", "x");
    lab.agent.envctl(["artifacts", "add", &task, "--type", "logs"]).arg(lab.agent.path("log")).ok();
    for args in [&["artifacts", "ls", &task] as &[&str], &["log", &task], &["tasks", "rm", "--yes", &task]] {
        lab.dev.envctl(args).code(1).says(&["denies access"]);
    }
    lab.dev.write("home/.docker/config.json", auth_file(&registry, crate::support::PASSWORD));
    assert_eq!(lab.dev.envctl(["artifacts", "ls", &task]).ok().stdout.lines().count(), 1);
    lab.dev.envctl(["tasks", "rm", "--yes", "--identities", &task]).ok();
    lab.dev.envctl(["show", &task]).code(3);
    registry.stop();
}
