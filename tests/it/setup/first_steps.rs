//! A new project, and a new machine.

use std::fs;

use crate::support::{Home, ImageBuilder, Lab, Terminal, until};

#[test]
fn init_proposes_what_the_lockfiles_suggest() {
    let lab = Lab::new();
    lab.repo.write("package-lock.json", "{}");
    lab.repo.write("package.json", "{}");
    lab.repo.write("go.sum", "");
    lab.repo.write("yarn.lock", "");
    lab.repo.write("api/requirements.txt", "");
    lab.repo.write("native/CMakeLists.txt", "");
    let image = lab.image_within("image", &ImageBuilder::busybox()).reference;
    let compose = "services:\n  app:\n    build: .\n    depends_on: [db]\n  db:\n    image: postgres:16\n    \
        command: [sleep, '100']\n    environment: { PORT: 05432, SEEN: $HOST }\n    volumes: ['./seed:/seed']\n";
    lab.repo.write("compose.yaml", compose);
    let init = || lab.agent.envctl(["init", "--image", &image, "--store", &lab.store.name()]).cwd(&lab.repo.path);
    let text = init().arg("--dry-run").ok().stdout;
    assert!(!lab.repo.path.join("envctl.toml").exists());
    let said =
        init().ok().says(&["yarn.lock: a cache is proposed", "go.sum", "api/requirements.txt: a cache is proposed"]);
    said.says(&[
        "package-lock.json: no cache is proposed for it; yarn.lock is taken",
        "native/CMakeLists.txt: no cache",
        "compose.yaml: the service db is proposed",
        "db: volumes: a folder",
        "db: environment.SEEN: it depends on the environment",
    ]);
    let written = fs::read_to_string(lab.repo.path.join("envctl.toml")).unwrap();
    assert_eq!(written, text);
    assert!(written.contains("[[service]]\nname    = \"db\"\nimage   = \"postgres:16\"\n"), "{written}");
    assert!(written.contains("command = [\"sleep\", \"100\"]\nenv     = { PORT = \"05432\" }\n"), "{written}");
    for part in ["preset = \"yarn\"\n", "preset = \"go\"\n", "preset = \"pip\"\ndir    = \"api\"\n"] {
        assert!(written.contains(part), "{part} in {written}");
    }
    init().code(2).says(&["is there already", "envctl init --dry-run"]);
    let outside = ["init", "--dry-run", "--image", "oci:../images"];
    lab.agent.envctl(outside).cwd(&lab.repo.path).code(2).says(&["cannot name it", "ENVCTL_IMAGE"]);
    // It is enough to publish with, where the images can be had.
    lab.repo.write("envctl.toml", written.replace("postgres:16", &image));
    let run = lab.agent.envctl(["publish", "first"]).cwd(&lab.repo.path).ok();
    assert!(run.stdout.contains("envctl enter"));
    lab.agent.envctl(["init"]).cwd("/").code(2).says(&["no git checkout"]);
}

#[test]
fn init_takes_over_a_devcontainer_and_says_what_becomes_of_each_field() {
    let lab = Lab::new();
    let image = lab.image_within("image", &ImageBuilder::busybox()).reference;
    let init =
        || lab.agent.envctl(["init", "--from", "devcontainer", "--store", &lab.store.name()]).cwd(&lab.repo.path);
    init().code(3).says(&["has no devcontainer.json"]);
    let text = format!(
        r#"// For the team
        {{
            "name": "shop", "image": "{image}", // pinned by publish
            "workspaceFolder": "/workspaces/${{localWorkspaceFolderBasename}}",
            "containerEnv": {{ "FLAVOUR": "quo\"ted\nline" }},
            "forwardPorts": [8080], "remoteUser": "dev", "hostRequirements": {{ "cpus": 4096 }},
            "initializeCommand": "touch initialized", "postCreateCommand": "touch created",
            "privileged": false,
        }}"#
    );
    lab.repo.write(".devcontainer/devcontainer.json", text);
    init().ok().says(&[
        "image: toolchain.image",
        "initializeCommand: it would run on this machine",
        "postCreateCommand: runtime.once",
        "remoteUser: toolchain.user",
    ]);
    let task = lab.agent.envctl(["publish", "first"]).cwd(&lab.repo.path).ok().stdout;
    let task = task.trim().strip_prefix("envctl enter ").unwrap();
    let script = "pwd; echo \"$FLAVOUR\"; ls; id -un; touch mine; stat -c %U mine";
    let expected = "/workspaces/remote\nquo\"ted\nline\nREADME\ncreated\nenvctl.toml\ndev\ndev\n";
    assert_eq!(lab.sh(task, script), expected);
    assert!(lab.dev.envctl(["show", task]).ok().stdout.contains("), as dev\n"));
    // Two of them, and no word which.
    lab.agent.call("git", ["rm", "-rqf", "--ignore-unmatch", "envctl.toml"]).cwd(&lab.repo.path).ok();
    fs::remove_file(lab.repo.path.join("envctl.toml")).unwrap();
    fs::rename(lab.repo.path.join(".devcontainer/devcontainer.json"), lab.repo.path.join("kept")).unwrap();
    for name in ["one", "two"] {
        lab.repo.write(format!(".devcontainer/{name}/devcontainer.json"), "{}");
    }
    init().code(2).says(&["there are several", ".devcontainer/one/devcontainer.json"]);
}

#[test]
fn doctor_says_what_works() {
    for home in [Home::new(), Home::unprivileged()] {
        let json = home.envctl(["doctor", "--json"]).ok().json();
        assert_eq!(json["ok"], true, "{json}");
        let health = |name: &str| {
            let checks = json["checks"].as_array().unwrap();
            checks.iter().find(|check| check["name"] == name).unwrap()["health"].clone()
        };
        assert_eq!(
            (health("user namespaces"), health("git"), health("folders")),
            ("ok".into(), "ok".into(), "ok".into())
        );
        let text = home.envctl(["doctor", "--store", "oci:/nonexistent"]).ok().stdout;
        assert!(text.contains("weak  store"), "{text}");
    }
    let home = Home::new();
    let text = home.envctl(["doctor"]).env("PATH", "/nonexistent").code(1).stdout;
    assert!(text.contains("bad   git") && text.contains("install git"), "{text}");
    // Of a configuration that nobody can read it says what is wrong, beside the rest.
    home.write("config/envctl/config.toml", "stor = 1\n");
    let text = home.envctl(["doctor"]).code(1).stdout;
    assert!(text.contains("bad   configuration") && text.contains("stor") && text.contains("folders"), "{text}");
}

#[test]
fn manual_pages_lie_where_man_looks_for_those_of_the_program() {
    let home = Home::new();
    home.mkdir("tools/bin");
    let program = home.path("tools/bin/envctl").display().to_string();
    home.call("cp", [home.binary().to_str().unwrap(), &program]).ok();
    let printed = home.call(&program, ["help", "--man"]).ok().stdout;
    let folder = home.path("tools/share/man/man1");
    assert_eq!(printed.trim_end(), folder.to_str().unwrap());
    assert!(folder.join("envctl.1").exists() && folder.join("envctl-enter.1").exists());
    if std::path::Path::new("/usr/bin/man").exists() {
        let path = format!("{}:/usr/bin:/bin", home.path("tools/bin").display());
        let found = home.call("man", ["-w", "envctl-enter"]).env("PATH", path).ok().stdout;
        assert_eq!(found.trim_end(), folder.join("envctl-enter.1").to_str().unwrap());
    }
    // Also beside a link to the program that is on the PATH.
    home.mkdir("links/bin");
    std::os::unix::fs::symlink(&program, home.path("links/bin/envctl")).unwrap();
    let path = format!("{}:/usr/bin:/bin", home.path("links/bin").display());
    let printed = home.call("sh", ["-c", "envctl help --man"]).env("PATH", path).ok().stdout;
    assert_eq!(printed.trim_end(), home.path("links/share/man/man1").to_str().unwrap());
    home.envctl(["help", "--man", "/proc/nowhere"]).code(1).says(&["cannot write manual pages", "--man DIR"]);
}

/// A list that can be narrowed, and one to choose from.
#[test]
fn which_task() {
    let lab = Lab::new();
    let image = lab.images.add("choice", &ImageBuilder::busybox()).reference;
    let store = lab.store.name();
    let publish = |name: &str, args: &[&str]| {
        let words = [&["publish", name, "--store", &store, "--image", &image], args].concat();
        lab.agent.envctl(words).cwd(&lab.repo.path).ok();
    };
    publish("stuck", &["--status", "needs-human", "--agent", "a", "--message", "help"]);
    publish("going", &["--agent", "b"]);
    let names = |args: &[&str]| {
        let listed = lab.dev.envctl(["tasks", "--store", &store, "--json"]).args(args).ok().json();
        let mut names: Vec<String> =
            listed["tasks"].as_array().unwrap().iter().map(|row| row["task"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(&[]), "going stuck");
    assert_eq!((names(&["--status", "working"]), names(&["--agent", "a"])), ("going".into(), "stuck".into()));
    assert_eq!((names(&["--since", "1h"]), names(&["--limit", "1"]).len()), ("going stuck".into(), 5));
    assert_eq!(names(&["--agent", "c"]), "");
    lab.dev.envctl(["enter", "--store", &store]).code(2).says(&["which task", "envctl tasks"]);
    let mut terminal = Terminal::open(&lab.dev, &["enter", "--store", &store], (24, 120));
    terminal.sees("Which task?");
    terminal.sees("stuck  needs-human");
    until("it is asked", || !terminal.modes().local_modes.contains(rustix::termios::LocalModes::ICANON));
    terminal.types("\r");
    terminal.sees("on main");
    terminal.sees("$ ");
    terminal.types("echo in-$ENVCTL_TASK; exit\r");
    terminal.sees("in-stuck");
    assert_eq!(terminal.ends(), Some(0));
    lab.assert_baseline();
}
