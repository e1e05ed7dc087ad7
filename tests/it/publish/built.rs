//! Images that an engine of the developer's builds from a Dockerfile: once for all
//! that decides what they are, here and for everybody who has the store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Home, ImageBuilder, Lab, Layout, RealDocker, until};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

/// The files of an example become the project.
fn take(lab: &Lab, example: &str) {
    let from = format!("{EXAMPLES}/{example}/.");
    assert!(Command::new("cp").args(["-r", &from, "."]).current_dir(&lab.repo.path).status().unwrap().success());
    lab.repo.commit(example);
    lab.repo.push();
}

/// One engine for all of it: its start is what costs time.
#[test]
fn a_dockerfile_is_built_once_for_everybody() {
    let docker = RealDocker::start();
    dockerfile(&docker.host());
    devcontainer(&docker.host());
}

/// A project whose image podman builds from what is in it; where podman keeps its own.
fn built_by_podman(lab: &Lab, steps: &str) -> String {
    let at = |name: &str| lab.agent.path(name).display().to_string();
    let (graph, run) = (at("graph"), at("run"));
    let settings = format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{graph}\"\nrunroot = \"{run}\"\n");
    lab.agent.write("storage.conf", settings);
    lab.repo.write("bin/sh", fs::read("/bin/busybox").unwrap());
    fs::set_permissions(lab.repo.path.join("bin/sh"), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["cat", "test"] {
        fs::copy(lab.repo.path.join("bin/sh"), lab.repo.path.join("bin").join(name)).unwrap();
    }
    lab.repo.write("Dockerfile", format!("FROM scratch\nCOPY bin /bin\nENV PATH=/bin\n{steps}"));
    at("storage.conf")
}

/// Where all steps were made before, podman copies the image from its own storage.
#[test]
fn podman_builds_for_another_store_what_it_has_built() {
    let lab = Lab::new();
    let conf = built_by_podman(&lab, "COPY said /said\n");
    lab.repo.write("said", "by podman\n");
    lab.repo.write("envctl.toml", "[toolchain]\nbuild = {}\n");
    lab.repo.commit("a build");
    lab.repo.push();
    for store in ["one", "two"] {
        let store = Layout::of(&lab.agent, store);
        let call = lab.agent.envctl(["publish", "task-1", "--build", "--store", &store.name()]).cwd(&lab.repo.path);
        let published = call.env("CONTAINERS_STORAGE_CONF", &conf).ok();
        assert!(published.stderr.contains("Building"), "{}", published.stderr);
        assert_eq!(lab.sh(&store.reference("task-1"), "cat /said"), "by podman\n");
    }
}

/// A step that mounts it reads it, and nothing that is kept holds it.
#[test]
fn podman_builds_with_a_secret() {
    let lab = Lab::new();
    let value = "a-value-that-only-the-build-may-see";
    let steps = format!(
        "RUN --mount=type=secret,id=TOKEN test \"$(cat /run/secrets/TOKEN)\" = {}; echo $? >/same\n",
        "a-value-that-only-the-build-may-se$LAST"
    );
    let conf = built_by_podman(&lab, &steps.replace("RUN", "ENV LAST=e\nRUN"));
    lab.repo.write("envctl.toml", "[toolchain]\nbuild = { secrets = [\"TOKEN\"] }\n");
    lab.repo.commit("a build");
    lab.repo.push();
    lab.agent.write("config/envctl/config.toml", "[secrets]\nTOKEN = \"env:MY_TOKEN\"\n");
    let publish = || {
        let call = lab.agent.envctl(["publish", "task-1", "--build", "--store", &lab.store.name()]).cwd(&lab.repo.path);
        call.env("CONTAINERS_STORAGE_CONF", &conf).env("MY_TOKEN", value)
    };
    let refused = publish().code(6);
    let digest = refused.stderr.split("--digest ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    lab.agent.envctl(["approve", "--digest", &digest]).ok();
    publish().ok();
    assert_eq!(lab.sh(&lab.store.reference("task-1"), "cat /same"), "0\n");
    let found = lab.agent.call("grep", ["-rlaF", value, lab.agent.path("").to_str().unwrap()]).run().stdout;
    assert_eq!(found, "");
}

fn dockerfile(host: &str) {
    let lab = Lab::new();
    // Nobody fetches what the examples begin with.
    let base = lab.images.add("base", &ImageBuilder::busybox()).reference;
    let copy = ["copy", "--quiet", "--insecure-policy", "--dest-daemon-host", host, &base];
    lab.agent.call("skopeo", copy).arg("docker-daemon:debian:12-slim").ok();
    take(&lab, "dockerfile");
    let store = lab.store.name();
    let publish = |home: &Home, more: &[&str]| {
        let call = home.envctl(["publish", "task-1", "--store", &store]).args(more).cwd(&lab.repo.path);
        call.env("DOCKER_HOST", host)
    };
    // What a Dockerfile runs is run at somebody's word.
    publish(&lab.agent, &[]).code(6).says(&["the build of Dockerfile, which runs with a network", "--build"]);
    let builds = |home: &Home| publish(home, &["--build"]).ok().stderr.contains("Building");
    assert!(builds(&lab.agent));
    assert_eq!(lab.sh(&lab.store.reference("task-1"), "greet; echo $GREETING"), "Hello from the image\nHello\n");
    // Unchanged, also for a colleague; and what .dockerignore leaves out is no change.
    assert!(!builds(&lab.agent));
    lab.repo.write("notes.md", "other notes");
    assert!(!builds(&lab.agent) && !builds(&Home::new()));
    let tool = lab.repo.path.join("tools/greet");
    fs::write(&tool, fs::read_to_string(&tool).unwrap().replace("from the image", "once more")).unwrap();
    assert!(builds(&lab.agent) && !builds(&lab.agent));
    let fresh = lab.with_developer(Home::new());
    assert_eq!(fresh.sh(&lab.store.reference("task-1"), "greet"), "Hello once more\n");
    // A run without a task finds it in the configured store.
    let run = lab.agent.envctl(["run", "--store", &store, "--", "greet"]).cwd(&lab.repo.path);
    let run = run.env("DOCKER_HOST", host).ok();
    assert!(run.stdout == "Hello once more\n" && !run.stderr.contains("Building"), "{}", run.stderr);
    // A workspace goes on with its image, and builds at its developer's word.
    let workspace = fresh.report()["workspace"].as_str().unwrap().to_owned();
    fs::write(Path::new(&workspace).join("tools/greet"), "#!/bin/sh\necho changed\n").unwrap();
    let again = |more: &[&str]| {
        let call = fresh.dev.envctl(["publish", "--store", &store]).args(more).cwd(&workspace);
        call.env("DOCKER_HOST", host).ok().stderr
    };
    assert!(!again(&[]).contains("Building") && again(&["--build"]).contains("Building"));
    // An image could hold what .gitignore keeps out of the snapshot.
    lab.repo.write(".gitignore", "tools/.env\n");
    lab.repo.write("tools/.env", "TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012345\n");
    publish(&lab.agent, &["--build"]).code(6).says(&["tools/.env:1", ".dockerignore"]);
    let run = ["run", "--build", "--publish", "--as", "t", "--store", &store, "--", "true"];
    lab.agent.envctl(run).cwd(&lab.repo.path).env("DOCKER_HOST", host).run().says(&["tools/.env:1"]);
    lab.repo.write("tools/.env", "");
    // Secrets are named, agreed to, and in no word of the engine's.
    lab.repo.write("envctl.toml", "[toolchain]\nbuild = { secrets = [\"NPM_TOKEN\"] }\n");
    publish(&lab.agent, &["--build"])
        .code(6)
        .says(&["the secret NPM_TOKEN for the build of Dockerfile", "approve --digest"]);
    lab.repo.write("envctl.toml", "[toolchain]\nbuild = { context = \"tools\" }\n");
    publish(&lab.agent, &[]).code(3).says(&["there is no", "tools/Dockerfile"]);
    // The engine's last words.
    lab.repo.write("tools/Dockerfile", "FROM scratch\nCOPY none /\n");
    publish(&lab.agent, &["--build"]).code(1).says(&["was not built", "none", "all that was said"]);
    // Nobody is there to build.
    let path = lab.agent.path("empty");
    fs::create_dir(&path).unwrap();
    fs::copy("/usr/bin/git", path.join("git")).unwrap();
    let alone =
        publish(&lab.agent, &["--build"]).env("DOCKER_HOST", "unix:///nowhere").env("PATH", path.display().to_string());
    alone.code(7).says(&["nothing here can build", "docker does not run here", "--image"]);
    fs::remove_file(lab.repo.path.join("envctl.toml")).unwrap();
    let init = lab.agent.envctl(["init", "--dry-run"]).cwd(&lab.repo.path).ok().stdout;
    assert!(init.contains("\nbuild = { dockerfile = \"Dockerfile\" }"), "{init}");
    until("no copy of a context is left", || {
        fs::read_dir(lab.agent.path("cache/envctl/tmp")).map_or(0, Iterator::count) == 0
    });
}

/// Without an envctl.toml a devcontainer.json is read in its place.
fn devcontainer(host: &str) {
    let lab = Lab::new();
    take(&lab, "devcontainer");
    let store = lab.store.name();
    let call = |args: &[&str]| lab.agent.envctl(args).cwd(&lab.repo.path).env("DOCKER_HOST", host);
    let publish = || call(&["publish", "task-1", "--store", &store]);
    publish().code(6).says(&["the build of .devcontainer/Dockerfile"]);
    assert!(
        call(&["publish", "task-1", "--store", &store, "--build"])
            .ok()
            .stderr
            .contains("Building .devcontainer/Dockerfile")
    );
    assert!(!publish().ok().stderr.contains("Building"));
    let task = lab.store.reference("task-1");
    assert_eq!(lab.sh(&task, "greet-all; pwd"), "Good morning, in development\n/workspaces/remote\n");
    let doctor = call(&["doctor"]).run().stdout;
    for row in ["stands for an envctl.toml", "build: toolchain.build", "customizations: they are for an editor"] {
        assert!(doctor.contains(row), "{row}: {doctor}");
    }
    // The file of the project comes first.
    lab.repo.write("envctl.toml", "");
    publish().code(2).says(&["which image"]);
    assert!(call(&["doctor"]).run().stdout.contains("is not read: there is envctl.toml"));
    fs::remove_file(lab.repo.path.join("envctl.toml")).unwrap();
    let place = ".devcontainer/devcontainer.json";
    features(&lab, host);
    lab.repo.write(place, r#"{ "dockerComposeFile": "compose.yml", "service": "app" }"#);
    publish().code(2).says(&["[[service]]"]);
    // One that cannot be read stands in nobody's way, and is named.
    lab.repo.write(place, "{");
    publish().code(2).says(&["which image"]);
    assert!(call(&["doctor"]).run().stdout.contains("devcontainer.json: "));
    assert!(!lab.repo.path.join("here").exists());
}

/// What `devcontainer build` does, without its features: it is given what the image is,
/// and calls the engine that it is told.
const STAND_IN: &str = r#"#!/bin/sh
set -e
[ "$1 $2 $4 $6 $8" = "build --workspace-folder --config --image-name --docker-path" ]
cd "$3" && cd .devcontainer && [ -f devcontainer-lock.json ] && [ -x greet/install.sh ]
case "$(cat "$5")" in *initializeCommand*|*postCreate*) exit 9 ;; esac
label='[{ "remoteUser": "dev", "containerEnv": { "OF_LABEL": "1" }, "privileged": true }]'
printf "FROM debian:12-slim\nLABEL devcontainer.metadata='%s'\n" "$label" | "$9" build --tag "$7" -
"#;

/// Features are added by their own program, once for all that decides what comes of it.
fn features(lab: &Lab, host: &str) {
    let store = lab.store.name();
    let json = r#"{ "image": "debian:12-slim", "initializeCommand": "touch here", "postCreateCommand": "touch here",
                    "features": { "./greet": {} } }"#;
    lab.repo.write(".devcontainer/devcontainer.json", json);
    lab.repo.write(".devcontainer/devcontainer-lock.json", "{}");
    lab.repo.write(".devcontainer/greet/install.sh", "#!/bin/sh\n");
    let feature = lab.repo.path.join(".devcontainer/greet/install.sh");
    fs::set_permissions(&feature, fs::Permissions::from_mode(0o755)).unwrap();
    let publish = |more: &[&str]| {
        let call = lab.agent.envctl(["publish", "featured", "--store", &store]).args(more).cwd(&lab.repo.path);
        call.env("DOCKER_HOST", host)
    };
    publish(&[]).code(6).says(&["the build of .devcontainer/devcontainer.json"]);
    publish(&["--build"]).code(3).says(&["the program devcontainer", "@devcontainers/cli", "devcontainer build"]);
    let folder = lab.agent.path("programs");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("devcontainer"), STAND_IN).unwrap();
    fs::set_permissions(folder.join("devcontainer"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", folder.display());
    let built = || publish(&["--build"]).env("PATH", &path).ok().stderr;
    let said = built();
    assert!(said.contains("Building .devcontainer/devcontainer.json"), "{said}");
    assert!(said.contains("for what no runtime gives: privileged"), "{said}");
    // Who the label says, with the variables that it says.
    assert_eq!(lab.sh(&lab.store.reference("featured"), "id -un; echo $OF_LABEL"), "dev\n1\n");
    assert!(!built().contains("Building"));
    // What lies in the project decides, and what settles the versions.
    fs::write(&feature, "#!/bin/sh\ntrue\n").unwrap();
    assert!(built().contains("Building"));
    lab.repo.write(".devcontainer/devcontainer-lock.json", "{ }");
    assert!(built().contains("Building") && !built().contains("Building"));
    // A context that is large is given to nobody who does not agree.
    fs::write(&feature, format!("#!/bin/sh\n# {}\n", "x".repeat(2000))).unwrap();
    let config = lab.agent.config().join("config.toml");
    fs::create_dir_all(lab.agent.config()).unwrap();
    let before = fs::read_to_string(&config).unwrap_or_default();
    fs::write(&config, format!("{before}\n[build]\nmax_context = \"1K\"\n")).unwrap();
    publish(&["--build"]).env("PATH", &path).code(6).says(&["is large", "build.max_context", ".dockerignore"]);
    fs::write(&config, before).unwrap();
}
