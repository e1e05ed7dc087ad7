//! More than 10,000 files of npm's.

use std::fs;

use super::registries::CERTIFICATES;
use super::{Project, Registries, made_once_and_used_everywhere, project_file};
use crate::support::{Lab, prepared};

const LOCK: &str = include_str!("npm-lock.json");

/// The project's `npm test` without the check of types, which depends on when
/// the release was made.
const SUITE: &[&str] = &["sh", "-euc", "npm run --silent lint; node test/test.js"];

#[test]
fn a_real_npm_project() {
    let lab = Lab::new();
    let registries = Registries::for_developer(&lab);
    let cache = "name = \"npm\"\ninputs = [\"package-lock.json\"]\npath = \"node_modules\"\n\
                 setup = \"npm ci --ignore-scripts --no-audit --no-fund\"\n";
    lab.agent.write("package.tgz", fs::read(prepared().join("npm-project.tgz")).unwrap());
    let package = lab.agent.call("tar", ["-xzOf", "../package.tgz", "package/package.json"]).ok().stdout;
    // A dependency more, so that they have enough files.
    let larger = package.replace("\"faucet\":", "\"date-fns\": \"2.30.0\",\n    \"faucet\":");
    assert_ne!(package, larger);
    let more = [
        ("package.json", larger.as_str()),
        ("package-lock.json", LOCK),
        (CERTIFICATES, &registries.certificates),
        (".gitignore", "node_modules/\n"),
        ("envctl.toml", &project_file(&registries, cache)),
    ];
    let project = Project::of(lab, Some("npm-project.tgz"), &more);
    let poison = "echo 'throw new Error()' > node_modules/tape/index.js";
    let entries = made_once_and_used_everywhere(&project, SUITE, poison, "package-lock.json");
    assert!(entries > 10_000, "{entries}");
}

/// What npm downloads is kept with what it installs: npm links files there from beside,
/// and installs again without a network.
#[test]
fn a_small_project_by_the_preset_of_npm() {
    let lab = Lab::new();
    let registries = Registries::for_developer(&lab);
    let pad = serde_json::json!({
        "version": "1.3.0",
        "resolved": "https://registry.npmjs.org/left-pad/-/left-pad-1.3.0.tgz",
        "integrity": "sha512-XI5MPzVNApjAyhQzphX8BkmKsKUxD4LdyK24iZeQGinBN9yTQT3bFlCBy/aVx2HrNcqQGsdot8ghrjyrvMCoEA==",
    });
    let wanted = serde_json::json!({ "name": "shop", "version": "1.0.0", "dependencies": { "left-pad": "1.3.0" } });
    let packages = serde_json::json!({ "": wanted, "node_modules/left-pad": pad });
    let lock = serde_json::json!({ "name": "shop", "version": "1.0.0", "lockfileVersion": 3, "packages": packages });
    let more = [
        ("package.json", wanted.to_string()),
        ("package-lock.json", lock.to_string()),
        (CERTIFICATES, registries.certificates.clone()),
        (".gitignore", "node_modules/\n".to_owned()),
        ("envctl.toml", project_file(&registries, "preset = \"npm\"\n")),
    ];
    let project = Project::of(lab, None, &more.each_ref().map(|(name, text)| (*name, text.as_str())));
    let (task, lab) = (project.publish(), project.developer());
    let digest = super::asks(&lab, &task);
    lab.dev.envctl(["approve", "--digest", &digest]).ok();
    let script = "node -e 'require(\"left-pad\")'; rm -rf node_modules; npm ci --offline >/tmp/log 2>&1 || cat /tmp/log
        node -e 'require(\"left-pad\")'; ls ~/.npm/_cacache";
    let run = lab.enter(&task, &["sh", "-euc", script]).ok();
    assert!(run.stdout.contains("content-v2") && !run.stderr.contains("failed"), "{}{}", run.stdout, run.stderr);
}
