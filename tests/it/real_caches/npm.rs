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
