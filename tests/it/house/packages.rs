//! What comes with the program: the licences of all packages that are compiled into it,
//! and whether each dependency is used.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::{root, texts};

/// Terms under which a package may be a part of envctl, as SPDX writes them. All of them
/// let a program be given on under its own licence, if theirs is named.
const ACCEPTED: [&str; 9] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// What cargo knows of this package and of those that it is built from here.
fn metadata() -> Value {
    let host = Command::new("rustc").arg("-vV").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new("cargo")
        .args(["metadata", "--locked", "--offline", "--format-version=1", "--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Whether what an SPDX expression asks for can be had: `OR` lets us choose, `AND` asks
/// for all, and binds closer. Old packages write `/` for `OR`.
fn is_accepted(expression: &str) -> bool {
    let inner = |text: &str| {
        let whole = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
        whole.map_or_else(|| ACCEPTED.contains(&text), is_accepted)
    };
    let all = |text: &str| parts(text, " AND ").iter().all(|part| inner(part));
    parts(&expression.replace('/', " OR "), " OR ").iter().any(|part| all(part))
}

/// Splits where no bracket is open.
fn parts<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let is_outside = |at: &usize| text[..*at].matches('(').count() == text[..*at].matches(')').count();
    let cuts = text.match_indices(word).map(|(at, _)| at).filter(is_outside);
    let (mut found, mut from) = (Vec::new(), 0);
    for at in cuts {
        found.push(&text[from..at]);
        from = at + word.len();
    }
    found.push(&text[from..]);
    found.into_iter().map(str::trim).collect()
}

#[test]
fn what_envctl_is_built_from_may_be_given_on() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "{}", packages.len());
    let other = packages.iter().filter(|package| !package["license"].as_str().is_some_and(is_accepted));
    let other: Vec<String> = other.map(|package| format!("{}: {}", package["name"], package["license"])).collect();
    assert!(other.is_empty(), "neither accepted nor refused yet: {other:#?}");
}

#[test]
fn each_dependency_is_used() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let own = packages.iter().find(|package| package["name"] == "envctl").unwrap();
    let words = |folder: &str| -> BTreeSet<String> {
        let code = texts(&root().join(folder)).into_iter().map(|(_, text)| text);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let code = code.flat_map(|text| {
            // A name in a comment uses nothing.
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            lines.flat_map(|line| line.split(move |c| !is_name(c)).map(str::to_owned)).collect::<Vec<_>>()
        });
        code.collect()
    };
    let (program, tests) = (words("src"), words("tests/it"));
    let dependencies = own["dependencies"].as_array().unwrap();
    assert!(dependencies.len() > 30, "{}", dependencies.len());
    let is_used = |dependency: &&Value| {
        let name = dependency["rename"].as_str().or(dependency["name"].as_str()).unwrap().replace('-', "_");
        let is_for_tests = dependency["kind"] == "dev";
        program.contains(&name) || (is_for_tests && tests.contains(&name)) || FOR_OTHERS.contains(&name.as_str())
    };
    let unused = dependencies.iter().filter(|dependency| !is_used(dependency));
    let unused: Vec<&Value> = unused.map(|dependency| &dependency["name"]).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

/// No code of ours names them: they say how a package that we use is built.
const FOR_OTHERS: [&str; 1] = ["libz_sys"];

#[test]
fn terms_are_read_as_they_are_meant() {
    for (expression, wanted) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0-only AND MIT", false),
        ("(GPL-3.0-only OR MIT) AND ISC", true),
        ("GPL-3.0-only OR MIT AND ISC", true),
        ("(MIT OR ISC) AND GPL-3.0-only", false),
        ("(MIT) AND (ISC)", true),
        ("", false),
    ] {
        assert_eq!(is_accepted(expression), wanted, "{expression}");
    }
}
